#include "gateway/proof.h"

#include "base/buf.h"

enum {
    BLOCK_BYTES = 16 * 1024,
    ARENA_MAX_BYTES = 16 * 1024 * 1024,
    TEXTS_MAX_BYTES = 1024 * 1024, /* of all views and policies that one statement reaches */
    NAMES_MAX_BYTES = 1024 * 1024,
    TEXT_ARRAY_OID = 1009,
};

/*
 * Rows of (kind, what, text): 'text' to be judged, anything else an objection.
 *
 * reached: what the names stand for; what a view's rule and a policy for reading name; partitions
 * and other children.  A materialized view is storage: what made it ran at its REFRESH.
 * Of the other things that a rule or a policy depends on, those stand in the list that run no code;
 * of the types only enums, since the input of a domain or range may call what its owner wrote.
 */
static const uint32_t question_types[] = {TEXT_ARRAY_OID};

const struct db_statement proof_question = {
    .sql = VIEW(
        "with recursive named as materialized (\n"
        "    select n as name, pg_catalog.to_regclass(n)::pg_catalog.oid as oid\n"
        "    from pg_catalog.unnest($1) as n\n"
        "), reached (oid) as (\n"
        "    select named.oid from named where named.oid is not null\n"
        "    union\n"
        "    select next.oid from reached cross join lateral (\n"
        "        select d.refobjid as oid from pg_catalog.pg_class c\n"
        "        join pg_catalog.pg_rewrite w on w.ev_class = c.oid\n"
        "        join pg_catalog.pg_depend d\n"
        "            on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid\n"
        "            and d.objid = w.oid\n"
        "            and d.refclassid\n"
        "                = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid\n"
        "        where c.oid = reached.oid and c.relkind = 'v'\n"
        "        union all\n"
        "        select d.refobjid from pg_catalog.pg_policy p\n"
        "        join pg_catalog.pg_depend d\n"
        "            on d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid\n"
        "            and d.objid = p.oid\n"
        "            and d.refclassid\n"
        "                = 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid\n"
        "        where p.polrelid = reached.oid and p.polcmd in ('r', '*')\n"
        "        union all\n"
        "        select i.inhrelid from pg_catalog.pg_inherits i\n"
        "        where i.inhparent = reached.oid\n"
        "    ) next\n"
        "), relations as materialized (\n"
        "    select c.oid, c.relkind from reached join pg_catalog.pg_class c\n"
        "    on c.oid = reached.oid\n"
        "), makers (classid, objid) as (\n"
        "    select 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid, w.oid\n"
        "    from relations r join pg_catalog.pg_rewrite w on w.ev_class = r.oid\n"
        "    where r.relkind = 'v'\n"
        "    union all\n"
        "    select 'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid, p.oid\n"
        "    from relations r join pg_catalog.pg_policy p on p.polrelid = r.oid\n"
        "    where p.polcmd in ('r', '*')\n"
        ")\n"
        "select 'missing', n.name, null::pg_catalog.text from named n where n.oid is null\n"
        "union all\n"
        "select 'elsewhere', pg_catalog.pg_describe_object(\n"
        "    'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, r.oid, 0), null\n"
        "from relations r where r.relkind not in ('r', 'p', 'v', 'm', 'S', 't', 'c', 'i', 'I')\n"
        "union all\n"
        "select 'code', pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0), null\n"
        "from makers m join pg_catalog.pg_depend d\n"
        "    on d.classid = m.classid and d.objid = m.objid\n"
        "where d.refclassid not in ('pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid,\n"
        "    'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid,\n"
        "    'pg_catalog.pg_collation'::pg_catalog.regclass::pg_catalog.oid,\n"
        "    'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid)\n"
        "and not (d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid\n"
        "    and exists (select from pg_catalog.pg_type t\n"
        "                where t.oid = d.refobjid and t.typtype = 'e'))\n"
        "union all\n"
        "select 'text', pg_catalog.pg_describe_object(\n"
        "    'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, r.oid, 0),\n"
        "    pg_catalog.pg_get_viewdef(r.oid)\n"
        "from relations r where r.relkind = 'v'\n"
        "union all\n"
        "select 'text', pg_catalog.pg_describe_object(\n"
        "    'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid, p.oid, 0),\n"
        "    pg_catalog.concat('select (', pg_catalog.pg_get_expr(p.polqual, p.polrelid), ')')\n"
        "from relations r join pg_catalog.pg_policy p on p.polrelid = r.oid\n"
        "where p.polcmd in ('r', '*') and p.polqual is not null\n"
        "order by 1, 2"),
    .types = question_types,
    .parameter_count = COUNT_OF(question_types),
    .read_only = true,
};

/* ---- The question's parameter ---- */

/* A character of an array element's quoted text: PostgreSQL 15, 8.15.6. */
static void add_in_array(struct buf *b, char c)
{
    if (c == '"' || c == '\\')
        buf_add_char(b, '\\');
    buf_add_char(b, c);
}

static void add_identifier(struct buf *b, struct view name)
{
    add_in_array(b, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '"')
            add_in_array(b, '"');
        add_in_array(b, name.data[i]);
    }
    add_in_array(b, '"');
}

struct view proof_relations(struct arena *arena, const struct sql_analysis *statement)
{
    struct buf b;

    buf_init(&b, NAMES_MAX_BYTES);
    buf_add_char(&b, '{');
    for (size_t i = 0; i < statement->relation_count; i++) {
        const struct sql_relation *r = &statement->relations[i];
        buf_add_str(&b, i > 0 ? ",\"" : "\"");
        if (r->schema.len > 0) {
            add_identifier(&b, r->schema);
            buf_add_char(&b, '.');
        }
        add_identifier(&b, r->name);
        buf_add_char(&b, '"');
    }
    buf_add_char(&b, '}');
    struct view text = {NULL, 0};
    if (!buf_failed(&b))
        text = arena_copy(arena, buf_view(&b));
    buf_clear(&b);
    return text;
}

/* ---- The answer ---- */

static bool object(struct proof *p, struct view what, const char *why, struct view more)
{
    bool both = why[0] != '\0' && more.len > 0;

    p->against = arena_printf(&p->arena, "%.*s: %s%s%.*s", VIEW_ARG(what), why, both ? " " : "",
                              VIEW_ARG(more));
    if (p->against.data == NULL)
        p->against = VIEW("out of memory");
    return false;
}

static bool judge_text(struct proof *p, struct view what, struct view text)
{
    struct sql_analysis a;

    p->text_bytes += text.len;
    if (p->text_bytes > TEXTS_MAX_BYTES)
        return object(p, what, "too much to be judged", VIEW(""));
    err e = sql_analyse(&p->arena, text, &a);
    if (failed(e))
        return object(p, what, "", a.message.data != NULL ? a.message : view_str(e.fault->text));
    for (size_t i = 0; i < a.function_count; i++) {
        if (!a.functions[i].known)
            return object(p, what, "calls", a.functions[i].name);
    }
    if (!a.leaves_no_trace || !a.reads_only)
        return object(p, what, "may leave a trace", VIEW(""));
    arena_reset(&p->arena);
    return true;
}

static bool take_columns(struct result_sink *sink, const struct column *columns, size_t count)
{
    (void)sink;
    (void)columns;
    return count == 3;
}

static bool take_row(struct result_sink *sink, const struct cell *cells, size_t count)
{
    struct proof *p = CONTAINER_OF(sink, struct proof, sink);

    if (count != 3 || cells[0].kind != CELL_TEXT || cells[1].kind != CELL_TEXT)
        return object(p, VIEW("the catalog"), "gave an answer of another shape", VIEW(""));
    if (view_is(cells[0].text, "missing"))
        return object(p, cells[1].text, "there is no such relation", VIEW(""));
    if (view_is(cells[0].text, "elsewhere"))
        return object(p, cells[1].text, "its rows come from elsewhere", VIEW(""));
    if (!view_is(cells[0].text, "text"))
        return object(p, cells[1].text, "is run by a view or a policy", VIEW(""));
    if (cells[2].kind != CELL_TEXT)
        return object(p, cells[1].text, "has no text", VIEW(""));
    return judge_text(p, cells[1].text, cells[2].text);
}

static const struct result_sink_ops judge = {.columns = take_columns, .row = take_row};

void proof_init(struct proof *p)
{
    *p = (struct proof){.sink = {&judge}, .against = {NULL, 0}};
    arena_init(&p->arena, BLOCK_BYTES, ARENA_MAX_BYTES);
}

void proof_clear(struct proof *p)
{
    arena_clear(&p->arena);
}
