#include "sql_pg/sql_analysis.h"

#include <stdlib.h>

/*
 * Functions of pg_catalog in PostgreSQL 15 that leave nothing behind on the session, change no data
 * and run no text as SQL.  Immutable or stable in pg_proc, but for random, gen_random_uuid and the
 * clocks.  Left out on purpose though harmless at a glance: set_config, setseed, nextval, lastval,
 * pg_sleep (holds a shared connection), pg_notify, everything of advisory locks, large objects and
 * files, and query_to_xml, ts_stat, ts_rewrite and their kin, which run a text as a query.  Sorted.
 */
static const char *const known[] = {
    "abs", "acos", "acosd", "acosh", "age", "array_agg", "array_append", "array_cat", "array_dims",
    "array_fill", "array_length", "array_lower", "array_ndims", "array_position",
    "array_positions", "array_prepend", "array_remove", "array_replace", "array_to_json",
    "array_to_string", "array_to_tsvector", "array_upper", "ascii", "asin", "asind", "asinh",
    "atan", "atan2", "atan2d", "atand", "atanh", "avg", "bernoulli", "bit_and", "bit_count",
    "bit_length", "bit_or", "bit_xor", "bool_and", "bool_or", "bound_box", "box", "btrim",
    "cardinality", "cbrt", "ceil", "ceiling", "center", "char_length", "character_length", "chr",
    "circle", "clock_timestamp", "concat", "concat_ws", "convert", "convert_from", "convert_to",
    "corr", "cos", "cosd", "cosh", "cot", "cotd", "count", "covar_pop", "covar_samp", "cume_dist",
    "current_database", "current_schema", "current_schemas", "current_setting", "date", "date_bin",
    "date_part", "date_trunc", "datemultirange", "daterange", "decode", "degrees", "dense_rank",
    "diameter", "div", "encode", "enum_first", "enum_last", "enum_range", "every", "exp",
    "extract", "factorial", "family", "first_value", "float4", "float8", "floor", "format",
    "format_type", "gcd", "gen_random_uuid", "generate_series", "generate_subscripts", "get_bit",
    "get_byte", "has_any_column_privilege", "has_column_privilege", "has_schema_privilege",
    "has_table_privilege", "height", "host", "hostmask", "inet_client_addr", "inet_client_port",
    "inet_merge", "inet_same_family", "inet_server_addr", "inet_server_port", "initcap", "int2",
    "int4", "int4multirange", "int4range", "int8", "int8multirange", "int8range", "interval",
    "is_normalized", "isempty", "isfinite", "json_agg", "json_array_elements",
    "json_array_elements_text", "json_array_length", "json_build_array", "json_build_object",
    "json_each", "json_each_text", "json_extract_path", "json_extract_path_text", "json_object",
    "json_object_agg", "json_object_keys", "json_populate_record", "json_populate_recordset",
    "json_strip_nulls", "json_to_record", "json_to_recordset", "json_to_tsvector", "json_typeof",
    "jsonb_agg", "jsonb_array_elements", "jsonb_array_elements_text", "jsonb_array_length",
    "jsonb_build_array", "jsonb_build_object", "jsonb_contained", "jsonb_contains", "jsonb_each",
    "jsonb_each_text", "jsonb_exists", "jsonb_exists_all", "jsonb_exists_any",
    "jsonb_extract_path", "jsonb_extract_path_text", "jsonb_insert", "jsonb_object",
    "jsonb_object_agg", "jsonb_object_keys", "jsonb_path_exists", "jsonb_path_exists_tz",
    "jsonb_path_match", "jsonb_path_match_tz", "jsonb_path_query", "jsonb_path_query_array",
    "jsonb_path_query_array_tz", "jsonb_path_query_first", "jsonb_path_query_first_tz",
    "jsonb_path_query_tz", "jsonb_populate_record", "jsonb_populate_recordset", "jsonb_pretty",
    "jsonb_set", "jsonb_set_lax", "jsonb_strip_nulls", "jsonb_to_record", "jsonb_to_recordset",
    "jsonb_to_tsvector", "jsonb_typeof", "justify_days", "justify_hours", "justify_interval",
    "lag", "last_value", "lcm", "lead", "left", "length", "like_escape", "line", "ln", "log",
    "log10", "lower", "lower_inc", "lower_inf", "lpad", "lseg", "ltrim", "make_date",
    "make_interval", "make_time", "make_timestamp", "make_timestamptz", "masklen", "max", "md5",
    "min", "min_scale", "mod", "mode", "multirange", "netmask", "network", "normalize", "now",
    "npoints", "nth_value", "ntile", "num_nonnulls", "num_nulls", "numeric", "nummultirange",
    "numnode", "numrange", "octet_length", "overlaps", "overlay", "parse_ident", "path",
    "percent_rank", "percentile_cont", "percentile_disc", "pg_backend_pid", "pg_client_encoding",
    "pg_collation_for", "pg_column_size", "pg_has_role", "pg_is_in_recovery", "pg_size_bytes",
    "pg_size_pretty", "pg_typeof", "phraseto_tsquery", "pi", "plainto_tsquery", "point", "polygon",
    "popen", "position", "pow", "power", "querytree", "quote_ident", "quote_literal",
    "quote_nullable", "radians", "radius", "random", "range_agg", "range_intersect_agg",
    "range_merge", "rank", "regexp_count", "regexp_instr", "regexp_like", "regexp_match",
    "regexp_matches", "regexp_replace", "regexp_split_to_array", "regexp_split_to_table",
    "regexp_substr", "regr_avgx", "regr_avgy", "regr_count", "regr_intercept", "regr_r2",
    "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "repeat", "replace", "reverse", "right",
    "round", "row_number", "row_to_json", "rpad", "rtrim", "scale", "set_bit", "set_byte",
    "setweight", "sha224", "sha256", "sha384", "sha512", "sign", "similar_escape",
    "similar_to_escape", "sin", "sind", "sinh", "slope", "split_part", "sqrt", "starts_with",
    "statement_timestamp", "stddev", "stddev_pop", "stddev_samp", "string_agg", "string_to_array",
    "string_to_table", "strip", "strpos", "substr", "substring", "sum", "system", "tan", "tand",
    "tanh", "text", "timeofday", "timestamp", "timestamptz", "timezone", "to_ascii", "to_char",
    "to_date", "to_hex", "to_json", "to_jsonb", "to_number", "to_timestamp", "to_tsquery",
    "to_tsvector", "transaction_timestamp", "translate", "trim_array", "trim_scale", "trunc",
    "ts_delete", "ts_filter", "ts_headline", "ts_rank", "ts_rank_cd", "tsmultirange",
    "tsquery_phrase", "tsrange", "tstzmultirange", "tstzrange", "tsvector_to_array", "unistr",
    "unnest", "upper", "upper_inc", "upper_inf", "var_pop", "var_samp", "variance",
    "websearch_to_tsquery", "width", "width_bucket", "xml", "xml_is_well_formed",
    "xml_is_well_formed_content", "xml_is_well_formed_document", "xmlagg", "xmlcomment",
    "xmlexists", "xpath", "xpath_exists",
};

static int compare(const void *name, const void *row)
{
    return view_cmp(*(const struct view *)name, view_str(*(const char *const *)row));
}

bool sql_function_is_known(struct view name)
{
    return bsearch(&name, known, COUNT_OF(known), sizeof known[0], compare) != NULL;
}
