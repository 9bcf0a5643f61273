/* Each mistake with its exact message and place: the negative twins of test_entities.c. */
#include "config_test.h"

#define V "_format_version: '3.0'\n"
/* A service with one route of one method and path; what is wrong goes at the end. */
#define SERVICE V "services:\n- {name: a, url: postgres://u@127.0.0.1/d, sslmode: disable}\n"
#define ROUTE(parts)                                                                               \
    SERVICE "routes:\n- name: r\n  service: a\n  methods: [GET]\n" parts                           \
            "roles: [{name: x, when: {subject: s}, services: [a], database_role: d, "              \
            "allow: [{routes: '*'}]}]\n"
#define SQL "  statement: {sql: select 1, parameters: {"
#define ROLE(parts) SERVICE "roles:\n- name: r\n" parts
#define WHEN "  when: {subject: s}\n"
#define ISSUER(parts) V "issuers:\n- {name: i, issuer: 'https://i', audience: [a], " parts "}\n"
#define PLUGIN(parts) V "plugins:\n- {name: " parts "}\n"
#define DB(parts) V "services:\n- {name: a, " parts "}\n"

static const struct {
    const char *yaml;
    const char *said;
} cases[] = {
    /* YAML */
    {"", "1:0 error: the file is empty\n"},
    {"a: [1\n", "2:1 error: did not find expected ',' or ']', while parsing a flow sequence\n"},
    {"a:\n\tb: 1\n", "2:1 error: a tab cannot indent a line; use blanks\n"},
    {"a: &x 1\n", "1:4 error: YAML anchors, aliases and tags are not supported\n"},
    {"a: *x\n", "1:4 error: YAML anchors, aliases and tags are not supported\n"},
    {"a: !!int 1\n", "1:4 error: YAML anchors, aliases and tags are not supported\n"},
    {"<<: {a: 1}\n", "1:1 error: merge keys ('<<') are not supported\n"},
    {V "'<<': 1\n", "2:1 error: unknown field '<<' in the file\n"},
    {"a: 'b\nc: 1\n",
     "1:4 error: found unexpected end of stream, while scanning a quoted scalar\n"},
    {"a: 1\nb\nc: 1\n", "2:1 error: could not find expected ':', while scanning a simple key\n"},
    {"? [a]\n: b\n", "1:3 error: a key must be a plain text\n"},
    {"a: 1\n--- \nb: 1\n", "3:1 error: the file must hold one document\n"},
    {"a: \"\\0\"\n", "1:4 error: a value may not hold a NUL character\n"},
    {"a: 1\nb: \xff\n", "2:0 error: not a text in UTF-8: invalid leading UTF-8 octet\n"},
    {"a: {b: {c: {d: {e: {f: {g: {h: {i: {j: {k: {l: {m: {n: {o: {p: {q: {r: {s: {t: {u: {v: {w: "
     "{x: {y: 1}}}}}}}}}}}}}}}}}}}}}}}}}",
     "1:96 error: the file is nested too deeply\n"},
    {V "roles: []\nroles: []\n", "3:1 error: 'roles' stands here a second time; the first is on "
                                 "line 2\n"},
    {"[]\n", "1:1 error: the file must be a mapping of fields\n"},
    /* the top level */
    {"roles: []\n", "1:1 error: the file has no '_format_version'\n"},
    {"_format_version: 2.1\n", "1:18 error: '_format_version': must be \"3.0\"\n"},
    {V "servises: []\n", "2:1 error: unknown field 'servises' in the file; did you mean "
                         "'services'?\n"},
    {V "quux: 1\n", "2:1 error: unknown field 'quux' in the file\n"},
    {V "upstreams: []\n",
     "2:1 error: 'upstreams' is known from Kong, but not supported yet by this version\n"},
    /* consumers */
    {V "consumers:\n- tags: [a]\n",
     "3:3 error: consumer has neither 'username' nor 'custom_id'\n"},
    {V "consumers:\n- username: a\n- username: a\n  custom_id: c\n- custom_id: c\n",
     "4:13 error: the username 'a' stands here a second time; the first is on line 3\n"
     "6:14 error: the custom_id 'c' stands here a second time; the first is on line 5\n"},
    {V "consumers:\n- username: ''\n- username: \"a\\tb\"\n",
     "3:13 error: 'username': must not be empty\n"
     "4:13 error: 'username': must not hold control characters\n"},
    {V "consumers:\n- username: a\n  keyauth_credentials: []\n",
     "4:3 error: 'keyauth_credentials' is known from Kong, but not supported yet by this "
     "version\n"},
    {ISSUER("consumer_by: [username]"),
     "3:62 error: 'consumer_by' means nothing without 'consumer_claim'\n"},
    {ISSUER("consumer_optional: true"),
     "3:68 error: 'consumer_optional' means nothing without 'consumer_claim'\n"},
    {ISSUER("consumer_claim: sub, consumer_optional: true, consumer_by: []"),
     "3:108 error: 'consumer_by' must not be empty\n"},
    {ISSUER("consumer_claim: sub, consumer_optional: true, consumer_by: name"),
     "3:108 error: 'consumer_by': 'name' is not one of id, username, custom_id\n"},
    {ISSUER("consumer_claim: sub"),
     "3:0 warning: the tokens of the issuer 'i' must name a consumer, and there is none: all are "
     "refused\n"},
    {ISSUER("jwks_file: /dev/null") "consumers:\n- username: b\n- custom_id: c\n  plugins:\n"
     "  - {name: request-termination}\nplugins:\n"
     "- {name: request-termination, consumer: b}\n- {name: request-termination}\n",
     "10:0 warning: the plugin 'request-termination' of the consumer 'b' binds nobody: no issuer "
     "has a 'consumer_claim'; plugins of consumers: 2\n"},
    {ISSUER("consumer_claim: sub") "consumers:\n- username: b\n  plugins:\n"
     "  - {name: request-termination}\n", ""},
    {V "roles: {}\n", "2:8 error: 'roles' must be a list, each item beginning with '- '\n"},
    {V "roles: [1]\n", "2:9 error: role must be a mapping of fields\n"},
    /* plugins */
    {PLUGIN("rate-limitng"), "3:10 error: there is no plugin 'rate-limitng'; did you mean "
                             "'rate-limiting'?\n"},
    {PLUGIN("quux"), "3:10 error: there is no plugin 'quux'\n"},
    {PLUGIN("jwt"), "3:10 error: there is no plugin 'jwt': 'issuers' say whose tokens prove who "
                    "calls\n"},
    {PLUGIN("acl"), "3:10 error: there is no plugin 'acl': 'roles' say who may call what, also by "
                    "consumers\n"},
    {PLUGIN("http-log"), "3:10 error: there is no plugin 'http-log': the audit log records every "
                         "call\n"},
    {PLUGIN("prometheus"), "3:10 error: there is no plugin 'prometheus': /metrics of "
                           "status_listen has the numbers\n"},
    {PLUGIN("cors"), "3:10 error: the plugin 'cors' is known from Kong, but not supported yet by "
                     "this version\n"},
    {V "plugins:\n- tags: [a]\n", "3:3 error: plugin has no 'name'\n"},
    {PLUGIN("request-termination, consumer_group: x"),
     "3:31 error: 'consumer_group' is known from Kong, but not supported yet by this version\n"},
    {PLUGIN("request-termination, service: nix"), "3:40 error: there is no service 'nix'\n"},
    {PLUGIN("request-termination, consumer: {username: nix}"),
     "3:52 error: there is no consumer 'nix'\n"},
    {PLUGIN("request-termination, route: {id: nix}"), "3:43 error: there is no route 'nix'\n"},
    {PLUGIN("request-termination, route: {path: nix}"),
     "3:38 error: 'route' must read {name: NAME} or {id: ID}\n"},
    {PLUGIN("request-termination, protocols: [tcp]"),
     "3:42 error: 'protocols' has neither http nor https: the plugin would never run\n"},
    {PLUGIN("request-termination}\n- {name: request-termination, enabled: false"),
     "4:0 error: a second plugin 'request-termination' for the same calls; the first is on line "
     "3\n"},
    {PLUGIN("ip-restriction"), "3:3 error: ip-restriction needs 'allow' or 'deny'\n"},
    {PLUGIN("ip-restriction, config: {allow: []}"),
     "3:42 error: 'allow' must not be empty; leave it out to ask nothing\n"},
    {PLUGIN("ip-restriction, config: {deny: [10.0.0.0/33]}"),
     "3:42 error: 'deny': must be an IP address or a CIDR range like 10.0.0.0/8\n"},
    {PLUGIN("ip-restriction, config: {whitelist: ['::1'], deny: '::1'}"),
     "3:35 error: 'whitelist' is known from Kong, but not supported yet by this version\n"},
    {PLUGIN("request-size-limiting, config: {alowed_payload_size: 1}"),
     "3:42 error: unknown field 'alowed_payload_size' in request-size-limiting; did you mean "
     "'allowed_payload_size'?\n"},
    {PLUGIN("rate-limiting"),
     "3:3 error: rate-limiting needs 'second', 'minute', 'hour', 'day', 'month' or 'year'\n"},
    {PLUGIN("rate-limiting, config: {second: 9, hour: 8}"),
     "3:51 error: the limit for hour(8) cannot be lower than the limit for second(9)\n"},
    {PLUGIN("rate-limiting, config: {hour: 8, policy: redis}"),
     "3:51 error: 'policy': only 'local' is supported: each node counts by itself; 'cluster' and "
     "'redis' are not\n"},
    {PLUGIN("rate-limiting, config: {hour: 8, limit_by: header}"),
     "3:33 error: limit_by header needs 'header_name'\n"},
    {PLUGIN("rate-limiting, config: {hour: 8, path: /x}"),
     "3:49 error: 'path' means nothing without limit_by path\n"},
    {PLUGIN("rate-limiting, config: {hour: 0}"),
     "3:40 error: 'hour': must be from 1 to 1000000000000\n"},
    {PLUGIN("request-termination, config: {message: a, body: b}"),
     "3:49 error: 'message' excludes 'body' and 'content_type'\n"},
    {PLUGIN("request-termination, config: {content_type: a}"),
     "3:54 error: 'content_type' needs a 'body'\n"},
    {PLUGIN("request-termination, config: {echo: true}"),
     "3:46 error: 'echo' is not supported: it would give the caller's token away\n"},
    {PLUGIN("request-termination, config: {status_code: 304}"),
     "3:53 error: a 304 has no content, and a refusal has\n"},
    {SERVICE "  \n- {name: b, url: postgres://u@127.0.0.1/d, sslmode: disable, plugins: [{name: "
             "request-termination, service: a}]}\n",
     "5:0 error: 'service' may not stand in a plugin that stands in one\n"},
    {V "consumers:\n- {username: u, plugins: [{name: request-termination, consumer: u}]}\n",
     "3:0 error: 'consumer' may not stand in a plugin that stands in one\n"},
    {ROUTE("  paths: [/a]\n" SQL "}}\n  plugins:\n  - {name: request-termination, route: r}\n"),
     "11:0 error: 'route' may not stand in a plugin that stands in one\n"},
    {SERVICE "- {name: b, url: postgres://u@127.0.0.1/d, sslmode: disable, routes: [{name: r, "
             "methods: [GET], paths: [/r], statement: {sql: select 1}}]}\n"
             "roles: [{name: x, when: {subject: s}, services: [b], database_role: d, "
             "allow: [{routes: '*'}]}]\n"
             "plugins: [{name: request-termination, service: a, route: r}]\n",
     "6:0 error: the route 'r' is not of the service 'a': the plugin would never run\n"},
    {SERVICE "- {name: b, id: 5b2f4d1e-0a63-4f5e-8f0e-0a6f3c1d2e10, url: postgres://u@127.0.0.1/d, "
             "sslmode: disable}\n- {name: 5b2f4d1e-0a63-4f5e-8f0e-0a6f3c1d2e10, url: "
             "postgres://u@127.0.0.1/d, sslmode: disable, plugins: [{name: "
             "request-termination}]}\n",
     "4:0 error: the id '5b2f4d1e-0a63-4f5e-8f0e-0a6f3c1d2e10' is the name of another service\n"},
    {V "consumers:\n- {username: u, id: 5b2f4d1e-0a63-4f5e-8f0e-0a6f3c1d2e10}\n"
       "- {username: 5b2f4d1e-0a63-4f5e-8f0e-0a6f3c1d2e10}\n",
     "4:0 error: the username '5b2f4d1e-0a63-4f5e-8f0e-0a6f3c1d2e10' is the id of another "
     "consumer, on line 3\n"},
    {PLUGIN("request-termination, config: {body: a, content_type: \"a\\r\\nb: c\"}"),
     "3:63 error: 'content_type': must not hold control characters\n"},
    {PLUGIN("request-termination, config: {message: \"a\\nb\"}"),
     "3:49 error: 'message': must not hold control characters\n"},
    {PLUGIN("rate-limiting, config: {hour: 8, limit_by: header, header_name: 'a b'}"),
     "3:74 error: 'header_name': must be a header's name\n"},
    {PLUGIN("rate-limiting, config: {hour: 8, limit_by: path, path: orders}"),
     "3:65 error: 'path': must begin with '/', and have no empty segment\n"},
    {PLUGIN("rate-limiting, config: {hour: 8, limit_by: path, path: /a//b}"),
     "3:65 error: 'path': must begin with '/', and have no empty segment\n"},
    {PLUGIN("rate-limiting, config: {hour: 8, limit_by: path, path: /%6frder}"),
     "3:65 error: 'path': must be as it reads decoded, without '%' and '?'\n"},
    {PLUGIN("request-termination, instance_name: a}\n- {name: rate-limiting, instance_name: a, "
            "config: {hour: 1}"),
     "4:40 error: the instance_name 'a' stands here a second time; the first is on line 3\n"},
    /* scalars */
    {ISSUER("leeway_s: '5'"), "3:59 error: 'leeway_s' must be a number, without quotes\n"},
    {ISSUER("leeway_s: 0x5"), "3:59 error: 'leeway_s': must be a whole number\n"},
    {ISSUER("leeway_s: 301"), "3:59 error: 'leeway_s': must be from 0 to 300\n"},
    {ISSUER("leeway_s: [5]"), "3:59 error: 'leeway_s' must be a single value\n"},
    {ISSUER("preset: Okta"), "3:57 error: 'preset': 'Okta' is not one of generic, cognito, okta, "
                             "entra; did you mean 'okta'?\n"},
    {ISSUER("groups_claim: ''"), "3:63 error: 'groups_claim': must not be empty\n"},
    {ISSUER("algorithms: [none]"),
     "3:62 error: 'algorithms': 'none' is not one of RS256, RS384, RS512, PS256, PS384, PS512, "
     "ES256, ES384, ES512, EdDSA\n"},
    {ISSUER("tags: [~]"), "3:56 error: 'tags' holds an empty item\n"},
    {ISSUER("tags: {a: b}"), "3:55 error: 'tags' must be a list of values\n"},
    {ISSUER("id: 0B0E5C54-7F4D-4D7F-9F0E-3F6F2B8F1A11"),
     "3:53 error: 'id': must be a UUID, in lower case\n"},
    {ISSUER("tags: '{vault://env/NONE}'"),
     "3:55 error: the environment variable 'NONE' is not set\n"},
    {ISSUER("tags: '{vault://aws/x}'"),
     "3:55 error: secrets of AWS cannot be read here\n"},
    {ISSUER("tags: '{vault://env/9}'"), "3:55 error: a reference must read {vault://env/NAME}, "
                                        "NAME being an environment variable\n"},
    {ISSUER("tags: 'x {vault://env/PW}'"),
     "3:55 error: 'tags': a {vault://…} reference must be the whole value\n"},
    {ISSUER("leeway_s: '{vault://env/PW}'"),
     "3:59 error: 'leeway_s': what the reference stands for is not a valid value\n"},
    /* issuers */
    {V "issuers: [{name: i, issuer: 'https://i'}]\n",
     "2:11 error: issuer 'i' has neither 'audience' nor 'clients': tokens made for another API "
     "would be taken\n"},
    {V "issuers: [{name: i, issuer: 'http://i', audience: a}]\n",
     "2:29 error: 'issuer': must begin with https:// (http:// only to loopback)\n"},
    {ISSUER("jwks_uri: https://i/k, jwks_file: k"),
     "3:83 error: jwks_uri and jwks_file exclude each other\n"},
    {ISSUER("jwks_file: missing.json"), "3:60 error: the file 'missing.json' cannot be read\n"},
    {ISSUER("ca_file: /missing"), "3:58 error: the file '/missing' cannot be read\n"},
    {V "issuers:\n- {name: i, issuer: 'https://i', audience: a}\n"
       "- {name: i, issuer: 'https://i', audience: a}\n",
     "4:10 error: the issuer 'i' stands here a second time; the first is on line 3\n"
     "4:21 error: the issuer 'https://i' stands here a second time; the first is on line 3\n"},
    {V "issuers: [{name: 'a b', issuer: 'https://i', audience: a}]\n",
     "2:18 error: 'name': may hold only letters, digits, '.', '_', '~' and '-'\n"},
    /* services */
    {DB("url: 'mysql://u@h/d'"),
     "3:18 error: 'url': must read postgres://USER@HOST:PORT/DATABASE\n"},
    {DB("sslmode: require"), "3:3 error: service has no host, neither in 'url' nor as 'host'\n"
                             "3:3 error: service has no user, neither in 'url' nor as 'user'\n"
                             "3:3 error: service has no database, neither in 'url' nor as "
                             "'database'\n"},
    {DB("url: 'postgres://h/d'"),
     "3:18 error: service has no user, neither in 'url' nor as 'user'\n"},
    {DB("url: 'postgres://u:s3cret@h/d'"),
     "3:18 error: 'url': no password may stand in it; write a reference like "
     "postgres://USER:{vault://env/NAME}@HOST/DATABASE, or the field 'password'\n"},
    {DB("url: 'postgres://u:{vault://env/NONE}@h/d'"),
     "3:18 error: 'url': the environment variable 'NONE' is not set\n"},
    {DB("url: 'postgres://u@h:0/d'"),
     "3:18 error: 'url': its port must be a number from 1 to 65535\n"},
    {DB("url: 'postgres://u@h/d?sslmode=require'"),
     "3:18 error: 'url': must not hold '?' or '#'; write sslmode and the like as fields\n"},
    {DB("url: 'postgres://u%00@h/d'"), "3:18 error: 'url': its user is not well encoded\n"},
    {DB("url: 'postgres://u@h/d', host: h"), "3:44 error: 'host' stands in the url already\n"},
    {DB("url: 'postgres://u@h/d', password: hunter2"),
     "3:48 error: 'password' must be a reference like \"{vault://env/NAME}\": no secret stands in "
     "this file\n"},
    {DB("url: 'postgres://u@h/d', sslmode: prefer"),
     "3:47 error: 'sslmode': 'prefer' is not one of disable, require, verify-ca, verify-full\n"},
    {DB("url: 'postgres://u@h/d', sslmode: disable"),
     "3:47 error: sslmode disable is for loopback only; allow_plaintext: true would let it reach "
     "'h'\n"},
    {DB("url: 'postgres://u@h/d', sslrootcert: rdss"),
     "3:51 error: 'sslrootcert': must be rds, system, rds+system, or a file with a '/' or '.' in "
     "its name\n"},
    {DB("url: 'postgres://u@h/d', sslrootcert: missing.pem"),
     "3:51 error: the file 'missing.pem' cannot be read\n"},
    {DB("url: 'postgres://u@h/d', iam_auth: yes"),
     "3:48 error: 'iam_auth' must be a mapping of fields, or true or false\n"},
    {DB("url: 'postgres://u@h/d', iam_auth: true"),
     "3:48 warning: the AWS region cannot be told from the host name, and AWS_REGION is not set: "
     "the profile, ECS or the instance will be asked for it; or write iam_auth: {region: …}\n"},
    {DB("url: 'postgres://u@h/d', sslmode: require, iam_auth: {region: r}"),
     "3:47 error: iam_auth needs sslmode verify-full: the token must not reach another server\n"},
    {DB("url: 'postgres://u@h/d', iam_auth: {region: r}, password: '{vault://env/PW}'"),
     "3:71 error: a password and iam_auth exclude each other\n"},
    {DB("url: 'postgres://u@h/d', iam_auth: {region: r, role_session_name: xy}"),
     "3:79 warning: 'role_session_name' has no effect without assume_role_arn\n"},
    {DB("url: 'postgres://u@x.eu-west-1.rds.amazonaws.com/d', iam_auth: {region: r}"),
     "3:76 warning: the region 'r' is not that of the host name, 'eu-west-1'\n"},
    {DB("url: 'postgres://u@h/d', iam_auth: {region: r}, pool: {login_rate: 200}"),
     "3:80 error: 'login_rate': RDS takes fewer than 200 new IAM logins a second\n"},
    {DB("url: 'postgres://u@h/d', sslmode: require, read: {iam_auth: {region: r}}"),
     "3:62 error: iam_auth needs sslmode verify-full: the token must not reach another server\n"},
    {DB("url: 'postgres://u@h/d', iam_auth: {region: r, hostname: x}, read: {host: z}"),
     "3:80 error: read names a host of its own and so needs an iam_auth.hostname of its own\n"},
    {DB("url: 'postgres://u@h/d', search_path: [pg_temp]"),
     "3:52 error: 'search_path': pg_temp is put last by itself and must not be listed\n"},
    {DB("url: 'postgres://u@h/d', retries: 5"),
     "3:38 error: 'retries' is known from Kong, but not supported yet by this version\n"},
    {DB("url: 'postgres://u@h/d', pool: {max_conections: 5}"),
     "3:45 error: unknown field 'max_conections' in pool; did you mean 'max_connections'?\n"},
    /* routes */
    {ROUTE("  paths: [/a]\n"), "5:3 error: route has no 'statement'\n"},
    {ROUTE("  paths: [/a]\n  statement: {}\n"), "9:14 error: 'statement' has no 'sql'\n"},
    {ROUTE("  paths: []\n  statement: {sql: select 1}\n"),
     "8:10 error: 'paths' must not be empty\n"},
    {ROUTE("  paths: [a]\n  statement: {sql: select 1}\n"),
     "8:11 error: 'paths': must begin with '/'\n"},
    {ROUTE("  paths: ['~/a']\n  statement: {sql: select 1}\n"),
     "8:11 error: 'paths': regular expressions ('~') are not supported yet by this version\n"},
    {ROUTE("  paths: [/a//b]\n  statement: {sql: select 1}\n"),
     "8:11 error: 'paths': must not hold '//'\n"},
    {ROUTE("  paths: [/a/../b]\n  statement: {sql: select 1}\n"),
     "8:11 error: 'paths': must not hold the segments '.' and '..'\n"},
    {ROUTE("  paths: ['/a/x{id}']\n  statement: {sql: select 1}\n"),
     "8:11 error: 'paths': a {name} must be a whole segment between two '/'\n"},
    {ROUTE("  paths: ['/a/{1d}']\n  statement: {sql: select 1}\n"),
     "8:11 error: 'paths': a {name} in a path must be letters, digits and '_', not beginning with a "
     "digit\n"},
    {ROUTE("  paths: ['/a/{id}/{id}']\n" SQL "id: {type: text, from: path}}}\n"),
     "8:11 error: 'paths': {id} stands twice in '/a/{id}/{id}'\n"},
    {ROUTE("  paths: ['/a/{id}']\n  statement: {sql: select 1}\n"),
     "8:11 error: 'paths': no parameter 'id' with from: path takes {id}\n"},
    {ROUTE("  paths: ['/a/{id}']\n" SQL "id: {type: text, from: query}}}\n"),
     "8:11 error: 'paths': no parameter 'id' with from: path takes {id}\n"},
    {ROUTE("  paths: ['/{id}', '/b']\n" SQL "id: {type: text, from: path}}}\n"),
     "9:0 error: the parameter 'id' comes from the path, but '/b' has no {id}\n"},
    {ROUTE("  paths: [/a]\n" SQL "p: {type: text, from: cookie}}}\n"),
     "9:65 error: 'from': must be path, query, body, claim.NAME or header.NAME\n"},
    {ROUTE("  paths: [/a]\n" SQL "p: {type: text, from: claim.}}}\n"),
     "9:65 error: 'from': must be path, query, body, claim.NAME or header.NAME\n"},
    {ROUTE("  paths: [/a]\n" SQL "p: {type: text, from: header.Cookie}}}\n"),
     "9:65 error: 'from': the header 'Cookie' carries credentials and cannot be bound\n"},
    {ROUTE("  paths: [/a]\n" SQL "p: {type: text, from: body}}}\n"),
     "9:0 error: the parameter 'p' comes from the body, which GET and HEAD do not have\n"},
    {ROUTE("  paths: [/a]\n" SQL "p: {type: text, from: query, default: x, required: true}}}\n"),
     "9:94 error: 'required': true and a default exclude each other\n"},
    {ROUTE("  paths: [/a]\n" SQL "p: {type: text, from: query, required: yes}}}\n"),
     "9:82 error: 'required': must be true or false\n"},
    {ROUTE("  paths: [/a]\n" SQL "p: {type: text, from: query, name: q}}}\n"),
     "9:72 error: unknown field 'name' in parameter\n"},
    {ROUTE("  paths: [/a]\n" SQL "p: {from: query}}}\n"), "9:46 error: 'p' has no 'type'\n"},
    {ROUTE("  paths: ['/{p}']\n" SQL "p: {type: text, from: path, default: ''}}}\n"),
     "9:46 error: a path parameter is always there: it takes no default and no required: false\n"},
    {ROUTE("  paths: [/a]\n  hosts: [h]\n  statement: {sql: select 1}\n"),
     "9:3 error: 'hosts' is known from Kong, but not supported yet by this version\n"},
    {ROUTE("  paths: [/a]\n  rate_burst: 2\n  statement: {sql: select 1}\n"),
     "9:15 error: 'rate_burst': has no effect without a rate_limit\n"},
    {ROUTE("  paths: [/a]\n  statement: {sql: select 1}\n- name: q\n  methods: [GET]\n  paths: "
           "[/b]\n  statement: {sql: select 1}\n"),
     "10:0 error: the route 'q' names no service; write service: {name: NAME}\n"},
    {ROUTE("  paths: ['/{a}/x']\n" SQL "a: {type: text, from: path}}}\n"
           "- name: q\n  service: {name: a}\n  methods: [POST, GET]\n  paths: ['/{b}/x']\n" SQL
           "b: {type: text, from: path}}}\n"),
     "10:0 error: the route 'q' takes GET /{b}/x, as 'r' on line 5 does\n"},
    {SERVICE "routes: [{name: r, service: b, methods: [GET], paths: [/a], statement: {sql: x}}]\n",
     "4:29 error: there is no service 'b'\n"},
    {SERVICE "routes: [{name: r, service: {id: b}, methods: [GET], paths: [/a], statement: {sql: "
             "x}}]\n",
     "4:0 error: the route 'r' names no service; write service: {name: NAME}\n"
     "4:29 error: 'service' must read {name: NAME}\n"},
    {SERVICE "routes: [{name: r, service: a, methods: [GET], paths: [/a], statement: {sql: x}}]\n",
     "4:0 warning: no role allows the route 'r': nobody can call it\n"},
    /* roles */
    {ROLE("  when: {}\n  services: [a]\n  database_role: d\n  allow: [{routes: '*'}]\n"),
     "6:9 error: 'when' must ask something: this role would hold for every caller\n"},
    {ROLE("  when: {groups: []}\n  services: [a]\n  database_role: d\n  allow: [{routes: '*'}]\n"),
     "6:9 error: 'when' must ask something: this role would hold for every caller\n"
     "6:18 error: 'groups' must not be empty; leave it out to ask nothing\n"},
    {ROLE("  services: [a]\n  database_role: d\n  allow: [{routes: '*'}]\n"),
     "5:3 error: role has no 'when'\n"},
    {ROLE(WHEN "  services: []\n  database_role: d\n  allow: [{routes: '*'}]\n"),
     "7:13 error: 'services' must not be empty\n"},
    {ROLE(WHEN "  services: [a]\n  database_role: d\n  allow: []\n"),
     "9:10 error: 'allow' must not be empty\n"},
    {ROLE(WHEN "  services: [a]\n  database_role: NONE\n  allow: [{routes: '*'}]\n"),
     "8:18 error: 'database_role': 'none' would leave the statement to the login itself\n"},
    {ROLE(WHEN "  services: [a]\n  database_role: d\n  allow: [{routes: [nix]}]\n"),
     "9:21 error: there is no route 'nix'\n"},
    {ROLE("  when: {issuer: nix}\n  services: ['*']\n  database_role: d\n  allow: [{routes: '*'}]\n"),
     "6:18 error: there is no issuer 'nix'\n7:14 error: there is no service '*'\n"},
    {ROLE(WHEN "  services: [a]\n  database_role: d\n  allow: [{routes: '*', methods: []}]\n"),
     "9:34 error: 'methods' must not be empty; leave it out for all methods\n"},
    {ROLE(WHEN "  services: [a]\n  database_role: d\n  allow: [{routes: q}]\n"
               "routes:\n- {name: q, service: b, methods: [GET], paths: [/a], statement: {sql: x}}\n"
               "- {name: p, service: a, methods: [GET], paths: [/b], statement: {sql: x}}\n"),
     "11:22 error: there is no service 'b'\n"
     "12:0 warning: no role allows the route 'p': nobody can call it\n"},
};

static const char *const variables[] = {"PW=hunter2", NULL};

static void every_mistake_is_named_with_its_place(void **state)
{
    struct buf said;
    size_t wrong = 0;
    (void)state;

    buf_init(&said, 1 << 16);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct test_config t;
        test_config_init(&t, variables);
        err e = test_parse(&t, "x.yaml", view_str(cases[i].yaml));
        test_describe(&t.d, &said);
        if (strcmp(test_said(&said), cases[i].said) != 0) {
            test_show_difference(i, view_str(cases[i].yaml), &said, cases[i].said);
            wrong++;
        }
        bool refused = strstr(cases[i].said, " error: ") != NULL;
        assert_true(refused == is_fault(e, &config_invalid));
        assert_true(refused || !failed(e));
        test_config_clear(&t);
    }
    buf_clear(&said);
    assert_int_equal(wrong, 0);
}

static void no_message_shows_a_secret(void **state)
{
    struct buf said;
    (void)state;

    buf_init(&said, 1 << 16);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct test_config t;
        test_config_init(&t, variables);
        bool bad = failed(test_parse(&t, "x.yaml", view_str(cases[i].yaml)));
        test_describe(&t.d, &said);
        assert_true(bad || strstr(test_said(&said), "error") == NULL);
        assert_null(strstr(test_said(&said), "hunter2"));
        assert_null(strstr(test_said(&said), "s3cret"));
        test_config_clear(&t);
    }
    buf_clear(&said);
}

static void a_role_may_only_allow_routes_of_its_services(void **state)
{
    static const char text[] =
        SERVICE "- name: b\n  url: postgres://u@127.0.0.1/d\n  sslmode: disable\n  routes:\n"
                "  - {name: r, methods: [GET], paths: [/a], statement: {sql: x}}\n"
                "roles:\n- {name: x, when: {subject: s}, services: [a], database_role: d, "
                "allow: [{routes: r}]}\n";
    struct test_config t;
    struct buf said;
    (void)state;

    buf_init(&said, 1 << 16);
    test_config_init(&t, variables);
    assert_true(is_fault(test_parse(&t, "x.yaml", view_str(text)), &config_invalid));
    test_describe(&t.d, &said);
    assert_string_equal(test_said(&said),
                        "8:0 warning: no role allows the route 'r': nobody can call it\n"
                        "10:0 error: role 'x' allows the route 'r' of the service 'b', which it "
                        "does not list in 'services'\n");
    test_config_clear(&t);
    buf_clear(&said);
}

static void the_number_of_messages_is_bounded(void **state)
{
    struct test_config t;
    struct buf text;
    size_t shown = 0;
    (void)state;

    buf_init(&text, 1 << 20);
    buf_add_str(&text, V "roles:\n");
    for (int i = 0; i < 5000; i++)
        buf_add_str(&text, "- 1\n");
    test_config_init(&t, variables);
    assert_true(is_fault(test_parse(&t, "x.yaml", buf_view(&text)), &config_invalid));
    assert_int_equal(t.d.errors, 5000);
    for (const struct diagnostic *e = t.d.first; e != NULL; e = e->next)
        shown++;
    assert_int_equal(shown, 100);
    assert_text(t.d.first->text, "there are more mistakes than are shown");
    test_config_clear(&t);
    buf_clear(&text);
}

static void a_file_that_is_not_there_is_unreadable(void **state)
{
    struct test_config t;
    (void)state;

    test_config_init(&t, variables);
    err e = entities_load(&t.arena, "/nowhere/x.yaml", NULL, &t.e, &t.d);
    assert_true(is_fault(e, &config_unreadable));
    assert_int_equal(t.d.errors, 1);
    assert_text(t.d.first->file, "/nowhere/x.yaml");
    assert_text(t.d.first->text, "cannot be read: No such file or directory");
    test_config_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_is_named_with_its_place),
        cmocka_unit_test(no_message_shows_a_secret),
        cmocka_unit_test(a_role_may_only_allow_routes_of_its_services),
        cmocka_unit_test(the_number_of_messages_is_bounded),
        cmocka_unit_test(a_file_that_is_not_there_is_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
