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
 * Rows of (kind, what, text): 'text' to be judged; before them 'function', a user's name that the
 * texts may call, since its own text is among them and no built-in has that name; anything else is
 * an objection.
 *
 * reached: what the names stand for, and from there what a view's rule, a policy for reading or a
 * function depends on; partitions and other children.  A materialized view is storage: what made
 * it ran at its REFRESH.  Of what is reached, those on the list run no code; of types only enums,
 * since the input of a domain or a range may call what its owner wrote.  Functions of the form
 * RETURN expression have a text whose meaning was bound when they were made, and pg_depend has all
 * of a user's that it calls; but of a default the text is not there to be judged.
 */
static const uint32_t question_types[] = {TEXT_ARRAY_OID};

const struct db_statement proof_question = {
    .sql = VIEW(
        "with recursive kinds as materialized (\n"
        "    select 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid as class,\n"
        "        'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid as rewrite,\n"
        "        'pg_catalog.pg_policy'::pg_catalog.regclass::pg_catalog.oid as policy,\n"
        "        'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid as proc,\n"
        "        'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid as type\n"
        "), named as materialized (\n"
        "    select n as name, pg_catalog.to_regclass(n)::pg_catalog.oid as oid\n"
        "    from pg_catalog.unnest($1) as n\n"
        "), reached (classid, objid) as (\n"
        "    select k.class, n.oid from kinds k, named n where n.oid is not null\n"
        "    union\n"
        "    select next.classid, next.objid\n"
        "    from reached r cross join kinds k cross join lateral (\n"
        "        select d.refclassid as classid, d.refobjid as objid\n"
        "        from pg_catalog.pg_depend d\n"
        "        where d.classid = r.classid and d.objid = r.objid\n"
        "            and r.classid in (k.rewrite, k.policy, k.proc)\n"
        "        union all\n"
        "        select k.rewrite, w.oid from pg_catalog.pg_class c\n"
        "        join pg_catalog.pg_rewrite w on w.ev_class = c.oid\n"
        "        where r.classid = k.class and c.oid = r.objid and c.relkind = 'v'\n"
        "        union all\n"
        "        select k.policy, p.oid from pg_catalog.pg_policy p\n"
        "        where r.classid = k.class and p.polrelid = r.objid\n"
        "            and p.polcmd in ('r', '*')\n"
        "        union all\n"
        "        select k.class, i.inhrelid from pg_catalog.pg_inherits i\n"
        "        where r.classid = k.class and i.inhparent = r.objid\n"
        "    ) next\n"
        "), texts (classid, objid, body) as materialized (\n"
        "    select k.class, c.oid, pg_catalog.pg_get_viewdef(c.oid)\n"
        "    from reached r join kinds k on r.classid = k.class\n"
        "    join pg_catalog.pg_class c on c.oid = r.objid where c.relkind = 'v'\n"
        "    union all\n"
        "    select k.policy, p.oid, pg_catalog.concat('select (',\n"
        "        pg_catalog.pg_get_expr(p.polqual, p.polrelid), ')')\n"
        "    from reached r join kinds k on r.classid = k.policy\n"
        "    join pg_catalog.pg_policy p on p.oid = r.objid where p.polqual is not null\n"
        "    union all\n"
        "    select k.proc, p.oid, pg_catalog.concat('select (',\n"
        "        pg_catalog.substr(s.body, 8), ')')\n"
        "    from reached r join kinds k on r.classid = k.proc\n"
        "    join pg_catalog.pg_proc p on p.oid = r.objid\n"
        "    cross join lateral pg_catalog.pg_get_function_sqlbody(p.oid) as s (body)\n"
        "    where p.prosqlbody is not null and p.prokind = 'f' and p.pronargdefaults = 0\n"
        "        and pg_catalog.starts_with(s.body, 'RETURN ')\n"
        ")\n"
        "select 'missing' as kind, n.name as what, null::pg_catalog.text as body\n"
        "from named n where n.oid is null\n"
        "union all\n"
        "select 'elsewhere', pg_catalog.pg_describe_object(r.classid, r.objid, 0), null\n"
        "from reached r join kinds k on r.classid = k.class\n"
        "join pg_catalog.pg_class c on c.oid = r.objid\n"
        "where c.relkind not in ('r', 'p', 'v', 'm', 'S', 't', 'c', 'i', 'I')\n"
        "union all\n"
        "select 'code', pg_catalog.pg_describe_object(r.classid, r.objid, 0), null\n"
        "from reached r cross join kinds k\n"
        "where r.classid not in (k.class, k.rewrite, k.policy,\n"
        "    'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid,\n"
        "    'pg_catalog.pg_collation'::pg_catalog.regclass::pg_catalog.oid,\n"
        "    'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid)\n"
        "and not (r.classid = k.type and exists (\n"
        "    select from pg_catalog.pg_type t where t.oid = r.objid and t.typtype = 'e'))\n"
        "and not (r.classid = k.proc and exists (\n"
        "    select from texts t where t.classid = k.proc and t.objid = r.objid))\n"
        "union all\n"
        "select 'function', p.proname::pg_catalog.text, null\n"
        "from texts t join kinds k on t.classid = k.proc\n"
        "join pg_catalog.pg_proc p on p.oid = t.objid\n"
        "where not exists (select from pg_catalog.pg_proc b where b.proname = p.proname\n"
        "    and b.pronamespace\n"
        "        = 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid)\n"
        "union all\n"
        "select 'text', pg_catalog.pg_describe_object(t.classid, t.objid, 0), t.body\n"
        "from texts t\n"
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

struct proof_function {
    const struct proof_function *next;
    struct view name;
};

static bool allow_function(struct proof *p, struct view name)
{
    struct proof_function *f = ARENA_ARRAY(&p->arena, 1, struct proof_function);

    if (f == NULL)
        return object(p, name, "out of memory", VIEW(""));
    *f = (struct proof_function){p->functions, arena_copy(&p->arena, name)};
    p->functions = f;
    return true;
}

static bool is_allowed(const struct proof *p, const struct sql_function *called)
{
    const struct proof_function *f = p->functions;

    while (!called->known && f != NULL && !view_eq(f->name, called->name))
        f = f->next;
    return called->known || f != NULL;
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
        if (!is_allowed(p, &a.functions[i]))
            return object(p, what, "calls", a.functions[i].name);
    }
    /* Operators that are not PostgreSQL's own were an objection already. */
    if (!a.implicit_safe || !a.reads_only)
        return object(p, what, "may leave a trace", VIEW(""));
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
    if (view_is(cells[0].text, "function"))
        return allow_function(p, cells[1].text);
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
