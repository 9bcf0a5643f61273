"""Property: of a random valid configuration with exactly one mistake in it, config parse, check and
config db_import say the file, the line and the field of exactly that one, and nothing is changed.

The line comes from PyYAML's own marks of the file, not from the program under test.
"""

import os
import random
import re
import subprocess

import harness
import pytest
import yaml
from stored import logins, store  # noqa: F401 (fixtures)
from test_store_config import SECRET, Maker, exported, tables, write  # noqa: F401 (fixtures)

SEED = int(os.environ.get("SALLYPORT_TEST_SEED", 0)) or random.SystemRandom().getrandbits(32)


class Dumper(yaml.SafeDumper):
    """Several lines as a block, as people write SQL."""

    def ignore_aliases(self, data):
        return True


def as_block(dumper, text):
    block = "\n" in text and text.isprintable() is False and text.replace("\n", "").isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if block else None)


Dumper.add_representer(str, as_block)


def at(node, path):
    """(key's node, value's node) of what stands at the path."""
    key = None
    for part in path:
        if isinstance(part, int):
            key, node = None, node.value[part]
        else:
            key, node = next((k, v) for k, v in node.value if k.value == part)
    return key, node


def without_plugins(node):
    if isinstance(node, dict):
        node.pop("plugins", None)
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, (dict, list)):
            without_plugins(child)


class Case:
    """A valid document to be damaged; the first two services have two routes at least."""

    def __init__(self, seed, kind):
        self.random = random.Random(f"{seed} {kind}")
        maker = Maker(self.random.getrandbits(32))
        self.document = maker.document()
        while len(self.document["services"]) < 2:
            self.document["services"] += maker.document()["services"]
        for i, service in enumerate(self.document["services"]):
            service["url"] = f"postgres://u{i}@h{i}.example.com/d"
            while len(service["routes"]) < 2:
                service["routes"].append(maker.route())
        without_plugins(self.document)  # they name entities that other damage takes away
        while len(self.document["roles"]) < 2:
            self.document["roles"].append({
                "name": maker.name(), "when": {"groups": ["g"]}, "database_role": "r",
                "services": [self.document["services"][0]["name"]], "allow": [{"routes": ["*"]}]})
        names = [r["name"] for s in self.document["services"] for r in s["routes"]]
        for issuer in self.document["issuers"]:
            issuer.pop("consumer_claim", None)
        assert len(names) == len(set(names))

    def pick(self, *lists):
        """The path to an item of a list in a list …, by chance."""
        path, node = [], self.document
        for name in lists:
            i = self.random.randrange(len(node[name]))
            path += [name, i]
            node = node[name][i]
        return path

    def of(self, path):
        node = self.document
        for part in path:
            node = node[part]
        return node

    def route(self):
        return self.pick("services", "routes")

    def parameter(self):
        path = [*self.route(), "statement", "parameters"]
        return [*path, self.random.choice(list(self.of(path)))]


def put(case, path, value):
    case.of(path[:-1])[path[-1]] = value
    return path


# Each damages the case and returns (the path of what is wrong, "key" or "value", words).


def unknown_field(case):
    path = case.random.choice([
        lambda: [], lambda: case.pick("services"), case.route, case.parameter,
        lambda: case.pick("roles"), lambda: case.pick("issuers"),
        lambda: [*case.route(), "statement"], lambda: [*case.pick("roles"), "when"],
        lambda: [*case.pick("roles"), "allow", 0]])()
    entity = case.of(path)
    members = list(entity.items())
    members.insert(case.random.randint(0, len(members)), ("zcolour", "red"))
    entity.clear()
    entity.update(members)
    return [*path, "zcolour"], "key", "unknown field 'zcolour' in"


def wrong_type(case):
    field, value, words = case.random.choice([
        ([*case.pick("services"), "url"], ["x"], "'url' must be a single value"),
        ([*case.pick("services"), "name"], {"a": 1, "b": 2}, "'name' must be a single value"),
        ([*case.route(), "statement"], "select 1", "'statement' must be a mapping of fields"),
        ([*case.pick("roles"), "allow"], {"routes": "*"}, "'allow' must be a list"),
        ([*case.route(), "methods"], {"GET": True}, "'methods' must be a list of values"),
        ([*case.route(), "statement", "parameters"], ["p0"],
         "'parameters' must be a mapping from names"),
        ([*case.route(), "statement", "read_only"], "yes", "'read_only' must be true or false"),
        ([*case.pick("services"), "max_rows"], "10", "'max_rows' must be a number"),
        ([*case.pick("issuers"), "leeway_s"], [1], "'leeway_s' must be a single value"),
    ])
    if field[-1] == "name":  # whoever named it would be at fault, too
        forget_names(case)
    if field[-1] == "parameters":
        case.of(field[:-1])["sql"] = "select 1"
    return put(case, field, value), "value", words


def forget_names(case):
    """Nothing refers to a service, a route or an issuer by name any more."""
    case.document["roles"] = []


def missing_field(case):
    path, field = case.random.choice([
        (case.pick("services"), "name"), (case.route(), "name"), (case.route(), "methods"),
        (case.route(), "paths"), (case.route(), "statement"),
        ([*case.route(), "statement"], "sql"), (case.parameter(), "type"),
        (case.parameter(), "from"), (case.pick("roles"), "name"), (case.pick("roles"), "when"),
        (case.pick("roles"), "services"), (case.pick("roles"), "database_role"),
        (case.pick("roles"), "allow"), ([*case.pick("roles"), "allow", 0], "routes")])
    if field == "name" and path[0] == "services":
        forget_names(case)
    del case.of(path)[field]
    return path, "value", f"has no '{field}'"


def no_such_name(case):
    role = case.pick("roles")
    field, kind = case.random.choice([
        ([*role, "services"], "service"), ([*role, "allow", 0, "routes"], "route"),
        ([*role, "when", "issuer"], "issuer"), ([*role, "when", "consumers"], "consumer")])
    listed = case.of(field[:-1]).get(field[-1]) or []
    listed = [listed] if isinstance(listed, str) else list(listed)
    put(case, field, [*listed, "zzzzzzzzzz"])
    return [*field, len(listed)], "value", f"there is no {kind} 'zzzzzzzzzz'"


def name_twice(case):
    kind = case.random.choice(["services", "roles"])
    if kind == "services":
        forget_names(case)
    first, second = sorted(case.random.sample(range(len(case.document[kind])), 2))
    case.document[kind][second]["name"] = case.document[kind][first]["name"]
    return [kind, second, "name"], "value", f"the {kind[:-1]} '{case.document[kind][first]['name']}"


def id_twice(case):
    kind = case.random.choice(["services", "roles"])
    first, second = sorted(case.random.sample(range(len(case.document[kind])), 2))
    for i in first, second:
        case.document[kind][i]["id"] = "11111111-2222-4333-8444-555555555555"
    return [kind, second, "id"], "value", "the id '11111111-2222-4333-8444-555555555555'"


def out_of_range(case):
    field, value = case.random.choice([
        ([*case.pick("services"), "max_rows"], 0),
        ([*case.pick("services"), "max_response_bytes"], 1023),
        ([*case.pick("services"), "port"], 65536),
        ([*case.pick("issuers"), "leeway_s"], case.random.choice([-1, 301])),
        ([*case.pick("roles"), "priority"], case.random.choice([-1000001, 1000001])),
        ([*case.route(), "rate_limit"], 1000001),
        ([*case.route(), "statement", "timeout_ms"], 99999999999999999999)])
    if field[-1] == "port":
        del case.of(field[:-1])["url"]
        case.of(field[:-1]).update(host="h.example.com", user="u", database="d")
    return put(case, field, value), "value", f"'{field[-1]}'"


def pool_out_of_range(case):
    path = [*case.pick("services"), "pool"]
    put(case, path, {"shared_depth": 2, "max_connections": case.random.choice([0, 10001])})
    return [*path, "max_connections"], "value", "'max_connections'"


def not_one_of_the_words(case):
    field, value = case.random.choice([
        ([*case.route(), "statement", "result"], "some"), ([*case.route(), "methods"], ["FETCH"]),
        ([*case.pick("services"), "sslmode"], "maybe")])
    put(case, field, value)
    where = [*field, 0] if isinstance(value, list) else field
    return where, "value", f"'{field[-1]}'"


def bad_url(case):
    field, value = case.random.choice([
        ([*case.pick("services"), "url"], "mysql://u@h/d"),
        ([*case.pick("services"), "url"], "postgres://u@h:99999/d"),
        ([*case.pick("services"), "url"], "postgres://u:secret@h/d"),
        ([*case.pick("issuers"), "issuer"], "http://i.example.com"),
        ([*case.pick("issuers"), "jwks_uri"], "ftp://i.example.com/keys")])
    if "secret@" in value:
        del case.of(field[:-1])["password"]
    return put(case, field, value), "value", f"'{field[-1]}'"


def bad_name(case):
    field, value = case.random.choice([
        ([*case.pick("roles"), "name"], "a b"), ([*case.route(), "paths"], ["orders"]),
        ([*case.pick("roles"), "id"], "not-a-uuid")])
    put(case, field, value)
    where = [*field, 0] if isinstance(value, list) else field
    return where, "value", f"'{field[-1]}'"


def a_literal_secret(case):
    return put(case, [*case.pick("services"), "password"], "hunter2"), "value", "'password' must be"


def no_such_variable(case):
    field = [*case.pick("services"), "password"]
    return put(case, field, "{vault://env/NOT_THERE}"), "value", "NOT_THERE"


def rate_burst_alone(case):
    route = case.route()
    case.of(route).pop("rate_limit", None)
    return put(case, [*route, "rate_burst"], 3), "value", "'rate_burst': has no effect"


def a_default_and_required(case):
    path = case.parameter()
    case.of(path).update({"default": "x", "required": True})
    return [*path, "required"], "value", "'required': true and a default exclude each other"


def a_body_of_get(case):
    path = case.parameter()
    case.of(path)["from"] = "body"
    case.of(path[:4])["methods"] = "GET"
    return path, "value", "comes from the body, which GET and HEAD do not have"


def iam_and_password(case):
    path = case.pick("services")
    case.of(path)["iam_auth"] = True
    case.of(path)["url"] = "postgres://u@h.abc.eu-west-1.rds.amazonaws.com/d"
    return [*path, "password"], "value", "iam_auth"


def two_routes_for_one_request(case):
    first, second = case.document["services"][0]["routes"][:2]
    first["methods"] = second["methods"] = ["GET"]
    second["paths"] = first["paths"]
    return ["services", 0, "routes", 1], "value", "as '" + first["name"]


def a_route_of_another_service(case):
    other = case.document["services"][1]
    role = case.document["roles"][0]
    role["services"] = [case.document["services"][0]["name"]]
    role["allow"] = [{"routes": ["*"]}, {"routes": [other["routes"][0]["name"]]}]
    return ["roles", 0, "allow", 1], "value", "which it does not list in 'services'"


def sql_of(case, lines, wrong, words):
    """A statement whose line number `wrong` (0: where it begins) is at fault."""
    path = [*case.route(), "statement", "sql"]
    case.of(path[:-1])["parameters"] = {}
    case.of(path[:-1]).pop("read_only", None)
    put(case, path, "\n".join(lines))
    return path, wrong, words


def bad_sql(case):
    return case.random.choice([
        lambda: sql_of(case, ["select 1,", "  2", "form x y z", "where true"], 2, "syntax error"),
        lambda: sql_of(case, ["select 1;", "select 2"], 1, "more than one statement"),
        lambda: sql_of(case, ["begin"], None, "a route's transaction is the gateway's"),
        lambda: sql_of(case, ["select 1", "where :nobody = 1"], 1, "is not declared: nobody"),
        lambda: sql_of(case, ["selec 1"], None, "syntax error"),
        lambda: sql_of(case, ["select 1", "", "  'never ends"], 2, "quot"),
    ])()


def a_write_that_is_read_only(case):
    path, _, _ = sql_of(case, ["delete from t", "where true"], 0, "")
    case.of(path[:-1])["read_only"] = True
    return path, 0, "read_only is true, but the statement writes"


def a_parameter_that_is_not_used(case):
    path, _, _ = sql_of(case, ["select 1"], None, "")
    case.of(path[:-1])["parameters"] = {"idle": {"type": "text", "from": "query"}}
    return [*path[:-1], "parameters", "idle"], "value", "parameter idle does not occur in the sql"


def an_unknown_type(case):
    path = case.parameter()
    case.of(path)["type"] = "colour"
    case.of(path).pop("default", None)
    return path, "value", "unknown type"


DAMAGES = [
    unknown_field, wrong_type, missing_field, no_such_name, name_twice, id_twice, out_of_range,
    pool_out_of_range, not_one_of_the_words, bad_url, bad_name, a_literal_secret, no_such_variable,
    rate_burst_alone, a_default_and_required, a_body_of_get, iam_and_password,
    two_routes_for_one_request, a_route_of_another_service, bad_sql, a_write_that_is_read_only,
    a_parameter_that_is_not_used, an_unknown_type]


def damaged(case, damage):
    """(the file's bytes, the line, words of the message)"""
    path, where, words = damage(case)
    text = yaml.dump(case.document, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=10**6)
    key, value = at(yaml.compose(text), path)
    if where == "key":
        line = key.start_mark.line
    elif isinstance(where, int):
        line = value.start_mark.line + (1 + where if value.style == "|" else 0)
    else:
        line = value.start_mark.line
    return text.encode(), line + 1, words


# -- of the text, which no document shows ---------------------------------------------------------


def lines_of(case):
    return yaml.dump(
        case.document, Dumper=Dumper, allow_unicode=False, sort_keys=False, width=10**6
    ).splitlines()


def a_line(case, lines, wanted):
    return case.random.choice([i for i, line in enumerate(lines) if re.match(wanted, line)])


def not_utf8(case, lines):
    i = a_line(case, lines, r"  database_role: r$")
    return [*map(str.encode, lines[:i]), lines[i].encode() + b"\xff",
            *map(str.encode, lines[i + 1:])], i, "not a text in UTF-8"


def a_tab(case, lines):
    i = a_line(case, lines, r"  database_role: r$")
    return lines[:i] + ["\t" + lines[i].lstrip()] + lines[i + 1:], i, "tab"


def a_key_twice(case, lines):
    i = a_line(case, lines, r"  database_role: r$")
    return lines[:i] + [lines[i], lines[i]] + lines[i + 1:], i + 1, "'database_role' stands here a"


def too_little_indented(case, lines):
    i = a_line(case, lines, r"  database_role: r$")
    return lines[:i] + [lines[i][1:]] + lines[i + 1:], i, ""


def an_anchor(case, lines):
    i = a_line(case, lines, r"  database_role: r$")
    return lines[:i] + ["  database_role: &r r"] + lines[i + 1:], i, "anchors"


def a_quote_without_end(case, lines):
    return lines + ['zlast: "never ends'], len(lines), "quoted scalar"


TEXT_DAMAGES = [not_utf8, a_tab, a_key_twice, too_little_indented, an_anchor, a_quote_without_end]


def damaged_text(case, damage):
    lines, i, words = damage(case, lines_of(case))
    lines = [line.encode() if isinstance(line, str) else line for line in lines]
    return b"\n".join([*lines, b""]), i + 1, words


# -- the property ---------------------------------------------------------------------------------


def assert_one_mistake(got, path, line, words, note):
    errors = [text for text in got.stderr.splitlines() if re.search(r": error: ", text)]
    assert got.returncode == 1, (note, got.stderr)
    assert len(errors) == 1, (note, line, errors)
    assert re.match(rf"{re.escape(str(path))}:{line}:", errors[0]), (note, line, errors)
    assert words in errors[0], (note, words, errors)
    assert "hunter2" not in got.stderr and ":secret@" not in got.stderr, note
    assert not harness.SANITIZER.search(got.stderr), got.stderr


@pytest.fixture
def run(tmp_path):
    def command(*arguments):
        clean = {n: v for n, v in os.environ.items() if not n.startswith(("SALLYPORT_", "KONG_"))}
        return subprocess.run([str(harness.binary()), *map(str, arguments)], capture_output=True,
                              text=True, env=clean | SECRET, timeout=60)

    return command


def cases(seed):
    for damage in DAMAGES:
        yield damage.__name__, damaged(Case(seed, damage.__name__), damage)
    for damage in TEXT_DAMAGES:
        yield damage.__name__, damaged_text(Case(seed, damage.__name__), damage)


@pytest.mark.parametrize("seed", [1, SEED])
def test_one_mistake_is_refused_with_its_line(run, tmp_path, seed):
    for name, (content, line, words) in cases(seed):
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(content)
        note = f"SALLYPORT_TEST_SEED={seed} {name}"
        assert_one_mistake(run("config", "parse", path), path, line, words, note)


def test_check_says_the_same_and_without_the_damage_all_is_well(run, tmp_path):
    node = tmp_path / "sallyport.conf"
    for name, (content, line, words) in random.Random(SEED).sample(list(cases(SEED)), 12):
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(content)
        node.write_text(f"database = off\ndeclarative_config = {path}\n"
                        "proxy_listen = 127.0.0.1:1\nallow_plaintext = on\n")
        note = f"SALLYPORT_TEST_SEED={SEED} {name}"
        assert_one_mistake(run("check", "-c", node), path, line, words, note)
    for damage in random.Random(SEED).sample(DAMAGES, 5):
        path = tmp_path / "good.yaml"
        path.write_text(yaml.dump(Case(SEED, damage.__name__).document, Dumper=Dumper))
        got = run("config", "parse", path)
        assert got.returncode == 0, (SEED, damage.__name__, got.stderr)


def test_an_import_of_a_mistake_changes_nothing(tables):  # noqa: F811
    write(tables, "good.yaml", Maker(SEED).document())
    got = tables.run("config", "db_import", tables.folder / "good.yaml", environment=SECRET)
    assert got.returncode == 0, (SEED, got.stderr)
    before = exported(tables)
    for name, (content, line, words) in random.Random(SEED).sample(list(cases(SEED)), 8):
        path = tables.folder / f"{name}.yaml"
        path.write_bytes(content)
        got = tables.run("config", "db_import", path, environment=SECRET)
        assert got.stdout == ""
        assert_one_mistake(got, path, line, words, f"SALLYPORT_TEST_SEED={SEED} {name}")
    assert exported(tables) == before
    assert tables.sql("select count(*) from sallyport_revisions") == "1"
