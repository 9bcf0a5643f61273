#include "sql_pg/sql_walk.h"

enum { MAX_DEPTH = 8192 }; /* messages within each other; SQL_MAX_OPERATORS gives less than half */

/* The CTEs of one WITH clause that can be named at the present place. */
struct sql_scope {
    const struct sql_scope *outer;
    const PgQuery__WithClause *with;
    size_t visible;
};

static void walk(struct sql_walk *w, const ProtobufCMessage *message);

/* What protobuf-c reads from absent strings is "" and never NULL, but a tree is a tree. */
static struct view text_of(const char *text)
{
    return text != NULL ? view_str(text) : VIEW("");
}

static struct view string_node(const PgQuery__Node *node)
{
    if (node == NULL || node->node_case != PG_QUERY__NODE__NODE_STRING)
        return VIEW("");
    return text_of(node->string->sval);
}

static struct view copied(struct sql_walk *w, struct view text)
{
    if (text.len == 0)
        return (struct view){NULL, 0};
    struct view copy = arena_copy(w->arena, text);
    if (copy.data == NULL)
        w->out_of_memory = true;
    return copy;
}

/* An array of the arena, doubled when it is full; false: no room. */
static bool make_room(struct sql_walk *w, void **items, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return true;
    const size_t more = *room > 0 ? *room * 2 : 8;
    void *larger = arena_array(w->arena, more, size);
    if (larger == NULL) {
        w->out_of_memory = true;
        return false;
    }
    if (count > 0)
        memcpy(larger, *items, count * size);
    *items = larger;
    *room = more;
    return true;
}

static void add_function(struct sql_walk *w, struct view schema, struct view name)
{
    for (size_t i = 0; i < w->function_count; i++) {
        if (view_eq(w->functions[i].schema, schema) && view_eq(w->functions[i].name, name))
            return;
    }
    void *items = w->functions;
    if (!make_room(w, &items, w->function_count, &w->function_room, sizeof *w->functions))
        return;
    w->functions = items;
    const bool built_in = schema.len == 0 || view_is(schema, "pg_catalog");
    w->functions[w->function_count++] = (struct sql_function){
        copied(w, schema), copied(w, name), built_in && sql_function_is_known(name)};
}

/* The last part of a name is the function's, the one before the schema. */
static void add_function_of_parts(struct sql_walk *w, PgQuery__Node **parts, size_t count)
{
    if (count == 0)
        return;
    struct view schema = count > 1 ? string_node(parts[count - 2]) : VIEW("");
    add_function(w, schema, string_node(parts[count - 1]));
}

static void add_relation(struct sql_walk *w, struct view schema, struct view name, bool read,
                         bool written)
{
    for (size_t i = 0; i < w->relation_count; i++) {
        struct sql_relation *known = &w->relations[i];
        if (view_eq(known->schema, schema) && view_eq(known->name, name)) {
            known->read |= read;
            known->written |= written;
            return;
        }
    }
    void *items = w->relations;
    if (!make_room(w, &items, w->relation_count, &w->relation_room, sizeof *w->relations))
        return;
    w->relations = items;
    w->relations[w->relation_count++] =
        (struct sql_relation){copied(w, schema), copied(w, name), read, written};
}

static bool is_cte(const struct sql_walk *w, struct view name)
{
    for (const struct sql_scope *scope = w->scope; scope != NULL; scope = scope->outer) {
        for (size_t i = 0; i < scope->visible; i++) {
            const PgQuery__Node *node = scope->with->ctes[i];
            if (node->node_case == PG_QUERY__NODE__NODE_COMMON_TABLE_EXPR &&
                view_eq(text_of(node->common_table_expr->ctename), name))
                return true;
        }
    }
    return false;
}

static void see_target(struct sql_walk *w, const PgQuery__RangeVar *range, bool read)
{
    if (range == NULL)
        return;
    /* Only what is being made has this persistence. */
    if (view_is(text_of(range->relpersistence), "t") ||
        view_starts_with(text_of(range->schemaname), VIEW("pg_temp")))
        w->temporary = true;
    add_relation(w, text_of(range->schemaname), text_of(range->relname), read, true);
}

static void see_range(struct sql_walk *w, const PgQuery__RangeVar *range)
{
    if (w->relations_written) {
        see_target(w, range, true);
        return;
    }
    const struct view schema = text_of(range->schemaname), name = text_of(range->relname);
    if (schema.len > 0 || !is_cte(w, name))
        add_relation(w, schema, name, true, false);
}

static void see_operator(struct sql_walk *w, PgQuery__Node **parts, size_t count)
{
    if (count > 1 && !view_is(string_node(parts[count - 2]), "pg_catalog"))
        w->unknown_operator = true;
}

/* A field of a message, whatever its label; `skip` is a submessage that was visited already. */
static void walk_field(struct sql_walk *w, const ProtobufCMessage *message,
                       const ProtobufCFieldDescriptor *field, const void *skip)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return;
    const char *base = (const char *)message;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        const size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
        ProtobufCMessage *const *items =
            *(ProtobufCMessage *const *const *)(const void *)(base + field->offset);
        for (size_t i = 0; i < count; i++)
            walk(w, items[i]);
        return;
    }
    const ProtobufCMessage *child =
        *(ProtobufCMessage *const *)(const void *)(base + field->offset);
    if (child != NULL && (const void *)child != skip)
        walk(w, child);
}

static void walk_fields(struct sql_walk *w, const ProtobufCMessage *message, const void *skip_a,
                        const void *skip_b)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const void *skip = skip_a;
        if (skip_b != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE &&
            field->label != PROTOBUF_C_LABEL_REPEATED &&
            *(const void *const *)(const void *)((const char *)message + field->offset) == skip_b)
            skip = skip_b;
        walk_field(w, message, field, skip);
    }
}

/*
 * A statement with its WITH clause: a CTE sees those before it, or with RECURSIVE all of its
 * clause; the statement sees all.  `target` is visited by the caller: it is never a CTE.
 */
static void walk_scoped(struct sql_walk *w, const ProtobufCMessage *statement,
                        const PgQuery__WithClause *with, const void *target)
{
    struct sql_scope scope = {w->scope, with, 0};
    if (with != NULL) {
        w->scope = &scope;
        for (size_t i = 0; i < with->n_ctes; i++) {
            scope.visible = with->recursive ? with->n_ctes : i;
            walk(w, &with->ctes[i]->base);
        }
        scope.visible = with->n_ctes;
    }
    walk_fields(w, statement, with, target);
    w->scope = scope.outer;
}

static void see_select(struct sql_walk *w, const PgQuery__SelectStmt *select)
{
    const bool written = w->relations_written;
    w->relations_written = false;
    if (select->n_locking_clause > 0)
        w->writes = true;
    if (select->into_clause != NULL) {
        w->into = w->writes = true;
        see_target(w, select->into_clause->rel, false);
    }
    walk_scoped(w, &select->base, select->with_clause, select->into_clause);
    w->relations_written = written;
}

static void see_insert(struct sql_walk *w, const PgQuery__InsertStmt *insert)
{
    w->writes = true;
    see_target(w, insert->relation,
               insert->n_returning_list > 0 || insert->on_conflict_clause != NULL);
    walk_scoped(w, &insert->base, insert->with_clause, insert->relation);
}

static void see_drop(struct sql_walk *w, const PgQuery__DropStmt *drop)
{
    w->concurrently |= drop->concurrent;
    for (size_t i = 0; i < drop->n_objects; i++) {
        const PgQuery__Node *object = drop->objects[i];
        if (object->node_case != PG_QUERY__NODE__NODE_LIST || object->list->n_items == 0)
            continue;
        PgQuery__Node **parts = object->list->items;
        const size_t count = object->list->n_items;
        add_relation(w, count > 1 ? string_node(parts[count - 2]) : VIEW(""),
                     string_node(parts[count - 1]), false, true);
    }
}

static bool walk_statement_message(struct sql_walk *w, const ProtobufCMessage *m)
{
    const void *type = m->descriptor;
    const void *typed = m; /* through void: each struct begins with the message */
    if (type == &pg_query__select_stmt__descriptor) {
        see_select(w, typed);
    } else if (type == &pg_query__insert_stmt__descriptor) {
        see_insert(w, typed);
    } else if (type == &pg_query__update_stmt__descriptor) {
        const PgQuery__UpdateStmt *update = typed;
        w->writes = true;
        see_target(w, update->relation, true);
        walk_scoped(w, m, update->with_clause, update->relation);
    } else if (type == &pg_query__delete_stmt__descriptor) {
        const PgQuery__DeleteStmt *delete = typed;
        w->writes = true;
        see_target(w, delete->relation, true);
        walk_scoped(w, m, delete->with_clause, delete->relation);
    } else if (type == &pg_query__merge_stmt__descriptor) {
        const PgQuery__MergeStmt *merge = typed;
        w->writes = true;
        see_target(w, merge->relation, true);
        walk_scoped(w, m, merge->with_clause, merge->relation);
    } else {
        return false;
    }
    return true;
}

/* What is to be noted of the message itself; true when its fields were dealt with too. */
static bool see(struct sql_walk *w, const ProtobufCMessage *m)
{
    const void *type = m->descriptor;
    const void *typed = m;
    if (type == &pg_query__func_call__descriptor) {
        const PgQuery__FuncCall *call = typed;
        add_function_of_parts(w, call->funcname, call->n_funcname);
    } else if (type == &pg_query__range_var__descriptor) {
        see_range(w, typed);
    } else if (type == &pg_query__param_ref__descriptor) {
        const PgQuery__ParamRef *param = typed;
        if (param->number > 0 && (unsigned)param->number > w->max_parameter)
            w->max_parameter = (unsigned)param->number;
    } else if (type == &pg_query__a__expr__descriptor) {
        const PgQuery__AExpr *expr = typed;
        see_operator(w, expr->name, expr->n_name);
    } else if (type == &pg_query__sub_link__descriptor) {
        const PgQuery__SubLink *link = typed;
        see_operator(w, link->oper_name, link->n_oper_name);
    } else if (type == &pg_query__sort_by__descriptor) {
        const PgQuery__SortBy *sort = typed;
        see_operator(w, sort->use_op, sort->n_use_op);
    } else if (type == &pg_query__range_table_sample__descriptor) {
        const PgQuery__RangeTableSample *sample = typed;
        add_function_of_parts(w, sample->method, sample->n_method);
    } else if (type == &pg_query__locking_clause__descriptor) {
        return true; /* names aliases, not tables */
    } else if (type == &pg_query__into_clause__descriptor) {
        const PgQuery__IntoClause *into = typed; /* of CREATE TABLE AS */
        see_target(w, into->rel, false);
        return true;
    } else if (type == &pg_query__index_stmt__descriptor) {
        w->concurrently |= ((const PgQuery__IndexStmt *)typed)->concurrent;
    } else if (type == &pg_query__partition_cmd__descriptor) {
        w->concurrently |= ((const PgQuery__PartitionCmd *)typed)->concurrent;
    } else if (type == &pg_query__drop_stmt__descriptor) {
        see_drop(w, typed);
    } else {
        return walk_statement_message(w, m);
    }
    return false;
}

static void walk(struct sql_walk *w, const ProtobufCMessage *message)
{
    if (message == NULL || w->out_of_memory || w->too_deep)
        return;
    if (++w->depth > MAX_DEPTH) {
        w->too_deep = true;
    } else if (message->descriptor == &pg_query__node__descriptor) {
        /* One of some 250 fields: straight to the one that is set. */
        const PgQuery__Node *node = (const void *)message;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(message->descriptor, node->node_case);
        if (field != NULL)
            walk_field(w, message, field, NULL);
    } else if (!see(w, message)) {
        walk_fields(w, message, NULL, NULL);
    }
    w->depth--;
}

void sql_walk_statement(struct sql_walk *w, const PgQuery__Node *statement)
{
    walk(w, &statement->base);
}
