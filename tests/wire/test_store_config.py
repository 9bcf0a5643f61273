"""Files and the configuration in PostgreSQL: import, export, diff."""

import json
import os
import random
import re
import select
import signal
import subprocess

import psycopg2
import pytest
import yaml
from bed.postgres import wait_until
from stored import assert_done, logins, store  # noqa: F401 (fixtures)

KINDS = ("vaults", "issuers", "consumers", "services", "roles", "plugins")
OWNERS = {"services": "service", "consumers": "consumer", "routes": "route"}
OWN = ("id", "created_at", "updated_at")


@pytest.fixture
def tables(store):  # noqa: F811
    assert_done(store.migrations("bootstrap"))
    return store


def write(store, name, document):  # noqa: F811
    path = store.folder / name
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def exported(store, name="-"):  # noqa: F811
    got = store.run("config", "db_export", name)
    assert got.returncode == 0, got.stderr
    return got.stdout


def diff(store, path):  # noqa: F811
    got = store.run("config", "diff", path)
    assert got.returncode in (0, 2), got.stderr
    assert (got.returncode == 2) == bool(got.stdout)
    return got.stdout.splitlines()


def diff_of(store, name="changed.yaml"):  # noqa: F811
    got = store.run("config", "diff", store.folder / name, environment=SECRET)
    assert got.stderr == ""
    return got.stdout


SMALL = {
    "_format_version": "3.0",
    "issuers": [{"name": "okta", "issuer": "https://example.okta.com", "audience": ["api"],
                 "consumer_claim": "sub", "consumer_optional": True}],
    "services": [
        {
            "name": "shop",
            "url": "postgres://app@shop.example.com/shop",
            "password": "{vault://env/SHOP_PASSWORD}",
            "sslrootcert": "ca/shop.pem",
            "routes": [
                {"name": "order", "methods": ["GET"], "paths": ["/orders/{id}"], "tags": ["a", "b"],
                 "statement": {"sql": "select :id", "read_only": True, "parameters": {
                     "id": {"type": "bigint", "from": "path"}}}},
                {"name": "orders", "methods": ["GET"], "paths": ["/orders"],
                 "statement": {"sql": "select\n  1 -- \u20ac \u2028 \u0085 \"quoted\" \\"}},
            ],
        }
    ],
    "roles": [
        {"name": "reader", "when": {"issuer": "okta", "groups": ["readers"]}, "services": "shop",
         "database_role": "orders_reader", "allow": [{"routes": ["*"]}]},
        {"name": "one", "when": {"issuer": ["okta"], "subject": ["x"]}, "services": ["shop"],
         "database_role": "orders_reader", "allow": [{"routes": "order"}]},
    ],
}
SECRET = {"SHOP_PASSWORD": "hunter2"}


@pytest.fixture
def small(tables):
    (tables.folder / "ca").mkdir()
    (tables.folder / "ca/shop.pem").write_text("")
    path = write(tables, "small.yaml", SMALL)
    got = tables.run("config", "db_import", path, environment=SECRET)
    assert got.returncode == 0, got.stderr
    assert got.stdout.splitlines() == [
        "+ issuer okta", "+ service shop", "+ route order", "+ route orders", "+ role reader",
        "+ role one", "import successful"]
    return tables


def again(store, change):  # noqa: F811
    """SMALL with a change, imported; what it printed."""
    document = json.loads(json.dumps(SMALL))
    change(document)
    path = write(store, "changed.yaml", document)
    got = store.run("config", "diff", path, environment=SECRET)
    done = store.run("config", "db_import", path, environment=SECRET)
    assert done.returncode == 0, done.stderr
    assert got.stdout.splitlines() == done.stdout.splitlines()[:-1]
    return done.stdout.splitlines()[:-1]


def test_what_refers_is_a_foreign_key_and_secrets_stay_references(small):
    assert small.sql("select r.name, s.name from sallyport_routes r join sallyport_services s"
                     " on s.id = service_id order by 1") == "order|shop\norders|shop"
    assert small.sql("select r.name, s.name from sallyport_roles r join sallyport_role_services"
                     " on role_id = r.id join sallyport_services s on s.id = service_id"
                     " order by 1") == "one|shop\nreader|shop"
    assert small.sql("select r.name, t.name from sallyport_roles r join sallyport_role_routes"
                     " on role_id = r.id join sallyport_routes t on t.id = route_id") == "one|order"
    assert small.sql("select count(*) from sallyport_role_issuers") == "2"
    assert small.sql("select tags from sallyport_routes where name = 'order'") == "{a,b}"
    with pytest.raises(Exception, match="sallyport_routes_service_id_fkey"):
        small.sql("delete from sallyport_services")
    dump = small.sql("select string_agg(definition::text, ' ') from sallyport_services")
    assert "{vault://env/SHOP_PASSWORD}" in dump and "hunter2" not in dump
    assert f'"{small.folder}/ca/shop.pem"' in dump


def test_an_import_says_once_that_a_plugin_binds_nobody(small):
    document = {**SMALL, "consumers": [
        {"username": "app", "plugins": [{"name": "request-termination"}]}]}
    document["issuers"] = [{n: v for n, v in document["issuers"][0].items() if "consumer" not in n}]
    path = small.folder / "bound.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    line = path.read_text().splitlines().index("  - name: request-termination") + 1
    said = (f"{path}:{line}: warning: the plugin 'request-termination' of the consumer 'app' binds "
            "nobody: no issuer has a 'consumer_claim'; plugins of consumers: 1\n")
    for arguments in (("check", path), ("config", "db_import", path)):
        got = small.run(*arguments, environment=SECRET)
        assert (got.returncode, got.stderr) == (0, said), arguments


def test_an_export_is_the_same_configuration(small):
    got = yaml.safe_load(exported(small))
    wanted = json.loads(json.dumps(SMALL))
    wanted["services"][0]["sslrootcert"] = f"{small.folder}/ca/shop.pem"
    assert strip(got) == strip(wanted)
    assert all(e["created_at"] > 1.7e9 for kind in KINDS for e in got.get(kind, []))


def test_a_diff_says_what_an_import_would_change_and_the_import_does_it(small):
    path = small.folder / "small.yaml"
    got = small.run("config", "diff", path, environment=SECRET)
    assert_done(got)
    assert got.stdout == ""
    assert small.sql("select count(*) from sallyport_revisions") == "1"
    got = small.run("config", "db_import", path, environment=SECRET)
    assert got.stdout == "nothing to change\nimport successful\n"
    assert small.sql("select count(*) from sallyport_revisions") == "1"

    def change(document):
        service = document["services"][0]
        service["routes"][0]["methods"] = ["GET", "HEAD"]
        service["routes"][0]["tags"] = ["b"]
        service["routes"][1]["name"] = "all"
        document["roles"].reverse()
        del document["issuers"][0]["audience"]
        document["issuers"][0]["clients"] = ["web"]

    order = small.sql("select id from sallyport_routes where name = 'order'")
    assert again(small, change) == [
        "~ issuer okta: clients, audience", "~ route order: methods, tags", "+ route all",
        "- route orders", "~ the order of roles"]
    assert small.sql("select id from sallyport_routes where name = 'order'") == order
    assert small.sql("select name from sallyport_roles order by ordinal") == "one\nreader"
    assert small.sql("select count(*) from sallyport_revisions") == "2"
    back = again(small, lambda document: None)
    assert back[-1] == "~ the order of roles" and len(back) == 5


def test_consumers_are_told_apart_by_what_they_have(small):
    def first(document):
        document["consumers"] = [{"username": "u", "tags": ["gold"]}, {"custom_id": "u"},
                                 {"username": "v", "custom_id": "w"}]
        document["roles"][0]["when"]["consumers"] = ["v", "u"]

    assert again(small, first) == ["+ consumer u", "+ consumer u", "+ consumer v",
                                   "~ role reader: when"]
    ids = small.sql("select id from sallyport_consumers order by ordinal").splitlines()
    assert small.sql("select username, custom_id from sallyport_consumers order by ordinal"
                     ) == "u|\n|u\nv|w"
    assert small.sql("select r.name, c.username from sallyport_role_consumers"
                     " join sallyport_roles r on r.id = role_id"
                     " join sallyport_consumers c on c.id = consumer_id"
                     " order by 2") == "reader|u\nreader|v"
    with pytest.raises(Exception, match="sallyport_role_consumers_consumer_id_fkey"):
        small.sql("delete from sallyport_consumers where username = 'v'")
    for broken in ("insert into sallyport_consumers (id, username, created_at, updated_at, ordinal,"
                   " definition) values (gen_random_uuid(), 'u', 0, 0, 0, '{}')",
                   "update sallyport_consumers set definition = '{\"custom_id\": \"u\"}'"
                   " where username = 'v'",
                   "update sallyport_consumers set username = null where username = 'u'"):
        with pytest.raises(Exception, match="violates (unique|check) constraint"):
            small.sql(broken)

    def second(document):
        """Two swap names by their ids; the one without a name is known by its custom_id."""
        first(document)
        document["consumers"] = [{"custom_id": "u", "tags": ["new"]},
                                 {"username": "u", "id": ids[2]}, {"username": "v", "id": ids[0]}]
        document["roles"][0]["when"]["consumers"] = ["v", ids[2]]

    assert again(small, second) == [
        "~ consumer u: tags", "~ consumer u (was v): username, custom_id",
        "~ consumer v (was u): username, tags", "~ role reader: when"]
    assert small.sql("select id from sallyport_consumers order by ordinal").splitlines() == [
        ids[1], ids[2], ids[0]]
    assert sorted(small.sql("select consumer_id from sallyport_role_consumers").splitlines()
                  ) == sorted([ids[0], ids[2]])
    assert again(small, lambda document: None) == [
        "- consumer u", "- consumer u", "- consumer v", "~ role reader: when"]


def test_plugins_are_rows_that_go_with_whom_they_are_for(small):
    def first(document):
        document["consumers"] = [{"username": "u", "plugins": [
            {"name": "rate-limiting", "config": {"hour": 5}}]}, {"custom_id": "c"}]
        document["services"][0]["plugins"] = [{"name": "request-size-limiting"}]
        document["services"][0]["routes"][0]["plugins"] = [
            {"name": "ip-restriction", "instance_name": "edge", "config": {"deny": "10.0.0.0/8"}}]
        document["plugins"] = [
            {"name": "rate-limiting", "route": "order", "consumer": {"username": "u"},
             "service": "shop", "config": {"hour": 6}},
            {"name": "request-termination", "enabled": False}]

    assert again(small, first) == [
        "+ consumer u", "+ consumer c",
        "+ plugin rate-limiting (service shop, route order, consumer u)",
        "+ plugin request-termination", "+ plugin rate-limiting (consumer u)",
        "+ plugin request-size-limiting (service shop)", "+ plugin ip-restriction (route order)"]
    assert diff_of(small) == ""
    assert small.sql(
        "select p.name, s.name, r.name, c.username, p.instance_name from sallyport_plugins p"
        " left join sallyport_services s on s.id = service_id"
        " left join sallyport_routes r on r.id = route_id"
        " left join sallyport_consumers c on c.id = consumer_id"
        " order by p.ordinal").splitlines() == [
            "rate-limiting|shop|order|u|", "request-termination||||", "rate-limiting|||u|",
            "request-size-limiting|shop|||", "ip-restriction||order||edge"]
    for broken in ("update sallyport_plugins set route_id = null, service_id = null"
                   " where name = 'rate-limiting'",
                   "update sallyport_plugins set definition = '{\"instance_name\": \"edge\"}'",
                   "update sallyport_plugins set route_id = gen_random_uuid()"
                   " where name = 'ip-restriction'"):
        with pytest.raises(Exception, match="violates (unique|foreign key) constraint"):
            small.sql(broken)
    ids = small.sql("select id from sallyport_plugins order by ordinal").splitlines()

    def second(document):
        """Two swap whom they are for, by their ids; a consumer without a username has one."""
        first(document)
        document["consumers"][1]["plugins"] = [
            {"name": "request-termination", "enabled": False}]
        del document["consumers"][0]["plugins"]
        document["plugins"] = [
            {"name": "rate-limiting", "consumer": "u", "id": ids[0], "config": {"hour": 6}},
            {"name": "rate-limiting", "route": "order", "consumer": {"username": "u"},
             "service": "shop", "id": ids[2], "config": {"hour": 5}}]

    c = small.sql("select id from sallyport_consumers where custom_id = 'c'")
    assert again(small, second) == [
        "~ plugin rate-limiting (consumer u) (was rate-limiting (service shop, route order,"
        " consumer u)): service, route",
        "~ plugin rate-limiting (service shop, route order, consumer u) (was rate-limiting"
        " (consumer u)): service, route",
        f"+ plugin request-termination (consumer {c})", "- plugin request-termination"]
    small.sql("delete from sallyport_consumers where custom_id = 'c'")
    assert small.sql("select count(*) from sallyport_plugins where name = 'request-termination'"
                     ) == "0"


def test_a_plugin_outlives_those_whom_it_was_for(small):
    """Known by its id, it is given to another in the import that takes the first away."""
    ids = [f"5b2f4d1e-0a63-4f5e-8f0e-0a6f3c1d2e{n}" for n in (10, 11, 12)]

    def plugins(*owners):
        return [{"name": "ip-restriction", "id": id, "config": {"deny": "10.0.0.0/8"}, **owner}
                for id, owner in zip(ids, owners)]

    def first(document):
        other = {"name": "other", "url": "postgres://app@shop.example.com/other",
                 "password": "{vault://env/SHOP_PASSWORD}", "sslrootcert": "system",
                 "routes": [{"name": "gone", "methods": ["GET"], "paths": ["/gone"],
                             "statement": {"sql": "select 1"}}]}
        document["services"].append(other)
        document["roles"][0]["services"] = ["shop", "other"]
        document["consumers"] = [{"username": "u"}, {"username": "v"}]
        document["plugins"] = plugins({"service": "other"}, {"route": "gone"}, {"consumer": "v"})

    def second(document):
        document["consumers"] = [{"username": "u"}]
        document["plugins"] = plugins({"service": "shop"}, {"route": "order"}, {"consumer": "u"})

    again(small, first)
    assert [line for line in again(small, second) if "plugin" in line] == [
        f"~ plugin ip-restriction ({kind} {now}) (was ip-restriction ({kind} {was})): {kind}"
        for kind, was, now in (("service", "other", "shop"), ("route", "gone", "order"),
                               ("consumer", "v", "u"))]
    assert small.sql("select id from sallyport_plugins order by ordinal").splitlines() == ids
    assert diff_of(small) == ""

    def third(document):
        """New rows of the same names: what names them did not change, and goes to them."""
        second(document)
        for n, one in enumerate((document["services"][0], document["services"][0]["routes"][0],
                                 document["consumers"][0])):
            one["id"] = f"00000000-0000-4000-8000-00000000000{n}"

    assert sorted(again(small, third)) == [
        "+ consumer u", "+ route order", "+ service shop",
        "- consumer u", "- route order", "- service shop"]
    assert small.sql(
        "select coalesce(service_id, route_id, consumer_id) from sallyport_plugins order by ordinal"
    ).splitlines() == [f"00000000-0000-4000-8000-00000000000{n}" for n in range(3)]
    assert diff_of(small) == ""


def test_a_plugin_for_each_of_many_consumers_is_imported_in_time(small):
    """Each finds its consumer by an index: the statement has 5 s."""
    path = write(small, "x.yaml", dict(SMALL, consumers=[
        {"username": f"u{i}", "plugins": [{"name": "rate-limiting", "config": {"hour": 5}}]}
        for i in range(5000)]))
    assert_done(small.run("config", "db_import", path, environment=SECRET), "import successful")
    assert small.sql("select count(distinct consumer_id) from sallyport_plugins") == "5000"


def test_older_nodes_are_given_nothing_that_they_would_leave_out(small):
    """Until the migration is finished there may be some, to whom a plugin says nothing."""
    small.sql("delete from sallyport_migrations where name = '005_plugins';"
              " insert into sallyport_migrations_pending (name, after)"
              " values ('005_plugins', '003_consumers')")
    path = write(small, "x.yaml", dict(SMALL, plugins=[{"name": "request-termination"}]))
    got = small.run("config", "db_import", path, environment=SECRET)
    assert got.returncode == 1
    assert "nodes of the older version do not know what a plugin is" in got.stderr
    assert small.sql("select count(*) from sallyport_plugins") == "0"
    assert again(small, lambda document: document.update(consumers=[{"username": "u"}])) == [
        "+ consumer u"]  # their migration is finished
    assert_done(small.migrations("finish"))
    assert_done(small.run("config", "db_import", path, environment=SECRET),
                "+ plugin request-termination")


def test_an_import_is_whole_or_nothing(small):
    """Whatever in the database keeps a row out: without a plugin more would be allowed."""
    small.sql("create function keep_out() returns trigger language plpgsql as"
              " 'begin return null; end'; create trigger keep_out before insert on"
              " sallyport_plugins for each row execute function keep_out()")
    document = dict(SMALL, plugins=[{"name": "request-termination"}])
    got = small.run("config", "db_import", write(small, "x.yaml", document), environment=SECRET)
    assert got.returncode == 1
    assert "0 of the 1 rows for each plugin read back" in got.stderr
    assert small.sql("select count(*) from sallyport_revisions") == "1"


def test_an_id_makes_a_rename_and_two_may_swap_their_names(small):
    ids = dict(line.split("|") for line in small.sql(
        "select name, id from sallyport_routes").splitlines())

    def swap(document):
        routes = document["services"][0]["routes"]
        for route in routes:
            route["id"] = ids[route["name"]]
        routes[0]["name"], routes[1]["name"] = routes[1]["name"], routes[0]["name"]

    assert again(small, swap) == ["~ route orders (was order): name",
                                  "~ route order (was orders): name"]
    assert dict(line.split("|") for line in small.sql(
        "select name, id from sallyport_routes").splitlines()) == {
            "order": ids["orders"], "orders": ids["order"]}
    # The role that allows it follows the name, as the file says.
    assert small.sql("select route_id from sallyport_role_routes") == ids["orders"]


def test_nodes_are_told_at_the_commit(small):
    listener = psycopg2.connect(small.bed.superuser_dsn(small.name))
    listener.autocommit = True
    listener.cursor().execute("listen sallyport")
    again(small, lambda document: document["roles"].pop())
    select.select([listener], [], [], 30)
    listener.poll()
    assert [note.payload for note in listener.notifies] == ["2"]
    listener.close()


def test_a_mistake_names_its_line_and_changes_nothing(small):
    before = exported(small)
    text = "\n".join(["_format_version: \"3.0\"", "services:", "- name: shop",
                      "  url: postgres://app@h/d", "  colour: red", ""])
    path = write(small, "bad.yaml", text)
    for action in ("db_import", "diff"):
        got = small.run("config", action, path)
        assert got.returncode == 1 and got.stdout == ""
        assert f"{path}:5:3: error: unknown field 'colour' in service" in got.stderr
    assert exported(small) == before


def test_the_tables_must_be_there_and_of_this_version(store):  # noqa: F811
    path = write(store, "empty.yaml", {"_format_version": "3.0"})
    for arguments in (("db_import", path), ("diff", path), ("db_export", "-")):
        got = store.run("config", *arguments)
        assert got.returncode == 1 and "needs bootstrapping" in got.stderr
    assert_done(store.migrations("bootstrap"))
    assert_done(store.run("config", "db_import", path), "nothing to change")
    store.sql("insert into sallyport_migrations (name) values ('999_later')")
    got = store.run("config", "db_export", "-")
    assert got.returncode == 1 and "999_later" in got.stderr and got.stdout == ""


def test_an_export_overwrites_no_file(small):
    path = small.folder / "export.yaml"
    assert_done(small.run("config", "db_export", path))
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_text()
    got = small.run("config", "db_export", path)
    assert (got.returncode, got.stderr) == (1, f"Error: {path}: File exists\n")
    assert path.read_text() == before


def test_what_somebody_wrote_past_the_program_does_not_survive_an_import(small):
    small.sql("update sallyport_issuers set definition = '{\"colour\": \"red\"}'")
    document = json.loads(json.dumps(SMALL))
    document["roles"].pop()
    # The import puts the issuer right, too: it makes the tables hold what the file says.
    path = write(small, "changed.yaml", document)
    got = small.run("config", "db_import", path, environment=SECRET)
    assert got.returncode == 0
    assert got.stdout.splitlines()[:2] == [
        "~ issuer okta: audience, consumer_claim, consumer_optional, issuer, colour", "- role one"]


def test_an_import_sees_what_was_done_while_it_waited_for_its_turn(small):
    """Though the login's transactions are, by default, of a level that keeps their first view."""
    small.sql("alter role kong set default_transaction_isolation = 'repeatable read'")
    try:
        with psycopg2.connect(small.bed.superuser_dsn(small.name)) as other:
            other.cursor().execute("select pg_advisory_xact_lock(1396788304, hashtext('public'))")
            command, environment = small.command(
                "config", "db_import", small.folder / "small.yaml", environment=SECRET)
            running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            waiting = ("select pid from pg_stat_activity where usename = 'kong'"
                       " and wait_event = 'advisory'")
            wait_until(lambda: small.sql(waiting), 60, "the import's wait")
            small.sql("delete from sallyport_roles where name = 'one'")
        said, _ = running.communicate(timeout=60)
    finally:
        small.sql("alter role kong reset default_transaction_isolation")
    assert said.splitlines() == ["+ role one", "import successful"]


def test_an_import_that_would_not_read_back_is_taken_back(small):
    before = exported(small)
    small.sql("create function spoil() returns trigger language plpgsql as"
              " $$ begin new.definition := '{\"colour\": \"red\"}'; return new; end $$;"
              " create trigger spoil before update on sallyport_issuers for each row"
              " execute function spoil()")
    document = json.loads(json.dumps(SMALL))
    document["issuers"][0]["leeway_s"] = 7
    got = small.run("config", "db_import", write(small, "changed.yaml", document),
                    environment=SECRET)
    assert got.returncode == 1 and got.stdout == ""
    assert re.search(r"^the store:\d+:\d+: error: unknown field 'colour' in issuer", got.stderr,
                     re.M)
    assert exported(small) == before


# -- properties ----------------------------------------------------------------------------------


def strip(document):
    """Without what the store adds, one value as a list of one, times and ids left out; each route
    with its service, each plugin with whom it is for."""
    made = {}
    ids = {e["id"]: e.get("username") or e.get("name") or e["id"] for e in everything(document)
           if "id" in e}

    def name_of(reference):
        if isinstance(reference, dict):
            [reference] = reference.values()
        return ids.get(reference, reference)

    def keep(kind, entity, **owner):
        called = entity.get("id")
        entity = {k: v for k, v in (entity | owner).items() if k not in OWN}
        routes, plugins = entity.pop("routes", None) or [], entity.pop("plugins", None) or []
        for field in OWNERS.values():
            if field in entity:
                entity[field] = name_of(entity[field])
        name = entity.get({"vaults": "prefix", "consumers": "username"}.get(kind, "name"))
        if kind == "plugins":
            name = (name, *(entity.get(field) for field in OWNERS.values()))
        made[kind, name or ("custom_id", entity.get("custom_id"))] = entity
        for route in routes:
            keep("routes", route, service=name)
        for one in plugins:
            keep("plugins", one, **{OWNERS[kind]: name or called})

    for kind in (*KINDS, "routes"):
        for entity in document.get(kind) or []:
            keep(kind, entity)
    return made


def everything(document, kinds=(*KINDS, "routes")):
    for kind in kinds:
        for entity in document.get(kind) or []:
            yield entity
            yield from everything(entity, ("routes", "plugins"))


WORDS = ["on", "no", "null", "~", "1", "-1", "1.50", "0x1f", "017", "1e3", "a: b", "- a", "#",
         "a #b", "'", '"', "\\", "{x}", "[", "%", "@", "`", "é", "\u20ac", "\u2028", "\ufeff",
         "\x7f", "\x85", "\U0001f600", "a\tb", " a ", "|", ">", "true", "yes", "select\n1\n", "<<",
         "=", "?"]


class Maker:
    """Random configurations that are valid, from a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.names = 0

    def name(self):
        self.names += 1
        return self.random.choice(["a", "on", "null", "x.y", "A-b", "1", "0x1"]) + f"~{self.names}"

    def text(self):
        return "".join(self.random.choice(WORDS) for _ in range(self.random.randint(1, 3)))

    def printable(self):
        return "".join(c for c in self.text() if c >= " " and c not in "\x7f\x85") or "x"

    def maybe(self, entity, **fields):
        for name, value in fields.items():
            if self.random.random() < 0.5:
                entity[name] = value() if callable(value) else value
        return entity

    def meta(self, entity):
        bits = self.random.getrandbits
        return self.maybe(
            entity, tags=lambda: [self.printable() for _ in range(self.random.randint(1, 3))],
            id=lambda: "%08x-%04x-8%03x-8%03x-%012x" % (bits(32), bits(16), bits(12), bits(12),
                                                       bits(48)),
            created_at=lambda: bits(30), updated_at=lambda: bits(30))

    def route(self):
        parameters = {f"p{i}": self.maybe({"type": "text", "from": "query"}, default=self.text)
                      for i in range(self.random.randint(1, 3))}
        sql = "select " + ", ".join(":" + name for name in parameters)
        sql += self.random.choice(["", "\n", "\n -- \u2028", " /* \\ \" ' # : */"])
        name = self.name()
        return self.meta(self.maybe(
            {"name": name, "methods": self.random.choice(["GET", ["GET", "POST"]]),
             "paths": [f"/{name}"], "statement": self.maybe(
                 {"sql": sql, "parameters": parameters}, read_only=True, max_rows=7,
                 result="affected")},
            rate_limit=lambda: self.random.randint(1, 9)))

    def consumer(self):
        names = {"username": self.name(), "custom_id": self.name() + self.printable()}
        for name in self.random.choice([[], ["username"], ["custom_id"]]):
            del names[name]
        return self.meta(names)

    def plugin(self, taken, *scope, **names):
        """One for the scope, of a kind that it has not yet; None when it has them all."""
        bits = self.random.randint
        configs = {
            "ip-restriction": {"allow": ["10.0.0.0/8", "::1"], "status": 404},
            "request-size-limiting": {"allowed_payload_size": bits(1, 9), "size_unit": "bytes"},
            "rate-limiting": {"minute": bits(1, 9), "hour": 9, "error_message": self.printable()},
            "request-termination": {"body": self.text(), "status_code": bits(400, 599)},
        }
        free = [name for name in configs if (name, scope) not in taken]
        if not free:
            return None
        name = self.random.choice(free)
        taken.add((name, scope))
        return self.meta(self.maybe(
            {"name": name, "config": configs[name], **names}, enabled=lambda: False,
            instance_name=self.name, protocols=lambda: ["http", "https"]))

    def plugins(self, consumers, services):
        """Of all scopes, in the lists of what they are for or beside them, by name and by id."""
        taken, beside = set(), []
        routes = [r for s in services for r in s["routes"]]
        for _ in range(self.random.randint(0, 8)):
            some = {"consumer": self.random.choice([None, *consumers]),
                    "service": self.random.choice([None, *services]),
                    "route": self.random.choice([None, *routes])}
            if some["route"] and some["service"] and some["route"] not in some["service"]["routes"]:
                some["service"] = None
            if some["consumer"] and not {"id", "username"} & some["consumer"].keys():
                some["consumer"] = None
            owners = {field: e for field, e in some.items() if e is not None}
            scope = tuple(id(some[field]) for field in sorted(some))
            nest = self.random.choice([None, *owners])
            names = {field: self.refer(e) for field, e in owners.items() if field != nest}
            one = self.plugin(taken, *scope, **names)
            if one is not None and nest:
                owners[nest].setdefault("plugins", []).append(one)
            elif one is not None:
                beside.append(one)
        return beside

    def refer(self, entity):
        field = "username" if "username" in entity else "name"
        field = self.random.choice([f for f in (field, "id") if f in entity])
        return self.random.choice([entity[field], {field: entity[field]}])

    def document(self):
        issuers = [self.meta(self.maybe(
            {"name": self.name(), "issuer": f"https://i{i}.example.com",
             "audience": self.printable()},
            leeway_s=5, groups_claim=self.printable, consumer_claim=self.printable))
            for i in range(self.random.randint(1, 3))]
        consumers = [self.consumer() for _ in range(self.random.randint(0, 4))]
        known = [c[n] for c in consumers for n in ("username", "id") if n in c]
        services = [self.meta(self.maybe(
            {"name": self.name(), "url": f"postgres://u{i}@h{i}.example.com/d",
             "password": "{vault://env/SHOP_PASSWORD}",
             "routes": [self.route() for _ in range(self.random.randint(0, 3))]},
            pool={"max_connections": 3}, search_path=["a b", "on"], max_response_bytes=4096))
            for i in range(self.random.randint(1, 3))]
        roles = []
        for service in services:
            roles.append(self.meta(self.maybe(
                {"name": self.name(), "services": [service["name"]], "database_role": "r",
                 "when": self.maybe({"issuer": issuers[0]["name"]},
                                    groups=lambda: [self.printable()],
                                    consumers=lambda: list(known) or None,
                                    claims=lambda: {self.printable(): [self.printable()]}),
                 "allow": [{"routes": [r["name"] for r in service["routes"]] or ["*"]}]},
                priority=lambda: self.random.randint(-3, 3))))
        self.random.shuffle(roles)
        plugins = self.plugins(consumers, services)
        return {"_format_version": "3.0", "issuers": issuers, "consumers": consumers,
                "services": services, "roles": roles, "plugins": plugins}


SEEDS = [1, 2, 3, 4, 5, random.SystemRandom().getrandbits(32)]


def test_random_configurations_survive_import_and_export(tables):
    for seed in SEEDS:
        document = Maker(seed).document()
        path = write(tables, f"{seed}.yaml", document)
        done = tables.run("config", "db_import", path, environment=SECRET)
        assert done.returncode == 0, (seed, done.stderr)
        text = exported(tables)
        assert strip(yaml.safe_load(text)) == strip(document), seed
        for kind in KINDS[1:]:
            for entity, got in zip(document[kind], yaml.safe_load(text).get(kind, [])):
                assert {n: entity[n] for n in OWN if n in entity}.items() <= got.items(), seed
        export = write(tables, f"{seed}-export.yaml", text)
        for file in (path, export):
            got = tables.run("config", "diff", file, environment=SECRET)
            assert (got.returncode, got.stdout) == (0, ""), (seed, got.stderr)
        assert_done(tables.migrations("bootstrap", "-f"))
        again_ = tables.run("config", "db_import", export, environment=SECRET)
        assert again_.returncode == 0, (seed, again_.stderr)
        assert exported(tables) == text, seed


# -- interruptions -------------------------------------------------------------------------------


def test_a_killed_import_leaves_the_store_as_it_was(small):
    before = exported(small)
    document = Maker(7).document()
    path = write(small, "seven.yaml", document)
    for table in ("issuers", "consumers", "services", "routes", "roles", "role_services",
                  "role_consumers", "plugins", "revisions"):
        with psycopg2.connect(small.bed.superuser_dsn(small.name)) as other:
            other.cursor().execute(f"lock sallyport_{table} in share mode")
            command, environment = small.command("config", "db_import", path, environment=SECRET)
            running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            wait_until(lambda: small.sql(
                "select pid from pg_stat_activity where usename = 'kong' and"
                f" datname = '{small.name}' and wait_event_type = 'Lock'"), 60, "the import's wait")
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            other.rollback()
        wait_until(lambda: not small.sql("select pid from pg_stat_activity where usename = 'kong'"
                                         f" and datname = '{small.name}'"), 60, "its backend's end")
        assert exported(small) == before, table
    got = small.run("config", "db_import", path, environment=SECRET)
    assert got.returncode == 0, got.stderr
