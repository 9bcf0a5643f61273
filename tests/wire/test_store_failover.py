"""The writer of the stored configuration fails over, as in a cluster of RDS: nodes follow it within
a second of the new one accepting, and serve all the while."""

import contextlib
import datetime
import re
import threading
import time

import harness
import pytest
from bed.postgres import PostgresBed, Standby, wait_until
from names import Names
from stored import Store, assert_done

LISTENS = "LOG:  statement: listen sallyport"


@pytest.fixture(scope="module")
def primary(bed, issuer, tmp_path_factory):
    """A server of its own for the configuration, with one that holds the shop; the shop's data
    stay where they are."""
    with PostgresBed(keys=bed.keys, database="filled") as running:
        running.address = "127.0.0.1"
        running.superuser_sql("create role kong login; grant rds_iam to kong")
        running.superuser_sql("alter database filled owner to kong")
        filled = Store(running, tmp_path_factory.mktemp("filled"), "filled")
        filled.environment = {}
        assert_done(filled.migrations("bootstrap"))
        feed(filled, harness.config_for(bed, issuer))
        yield running


@pytest.fixture
def names(primary, tmp_path):
    return Names(tmp_path, **{primary.hostname: "127.0.0.1"})


@pytest.fixture
def store(primary, names, tmp_path, request):
    """A database that holds the shop.  By files: with pages that the log has, the first numbers of
    a copied sequence are not logged, and a replica would give them out once more."""
    if primary.process.poll() is not None:
        primary.resume()
    if primary.superuser_sql("select pg_is_in_recovery()") == "t\n":
        primary.promote()  # An earlier test failed on its way.
    name = "store_" + str(abs(hash(request.node.name)) % 10**9)
    primary.superuser_sql(
        f"create database {name} template filled strategy file_copy owner kong", "postgres"
    )
    made = Store(primary, tmp_path, name)
    made.write_conf(pg_host=primary.hostname, pg_iam_auth_hostname=None)
    made.environment = names.environment()
    return made


def feed(store, text):
    path = store.folder / "shop.yaml"
    path.write_text(text)
    got = store.run("config", "db_import", path, environment=store.environment)
    assert got.returncode == 0, got.stderr


@pytest.fixture
def standby(primary, store):
    with Standby(primary) as running:
        yield running


@pytest.fixture
def nodes(gateway, store, primary, names, bed):
    """Makes them: with IAM on both connections, the read-only one to the standby's own endpoint."""

    def make(count=2, reader=True):
        ro = {
            "pg_ro_host": "127.0.0.2",
            "pg_ro_iam_auth": "on",
            "pg_ro_iam_auth_hostname": primary.hostname,
        }
        return [
            gateway(
                environment=bed.keys[0].environment() | names.environment(),
                node={
                    "database": "postgres",
                    "declarative_config": "",
                    "pg_host": primary.hostname,
                    "pg_port": primary.port,
                    "pg_database": store.name,
                    "pg_iam_auth": "on",
                    "lua_ssl_trusted_certificate": primary.ca.file,
                    **(ro if reader else {}),
                },
            )
            for _ in range(count)
        ]

    return make


def with_orders_at(bed, issuer, path):
    """The shop with its list of orders at another place; single ones stay where traffic goes."""
    text = harness.config_for(bed, issuer)
    return text.replace('paths: ["/orders"]', f'paths: ["/{path}"]')


def store_status(served):
    return served.status("/status").json["store"]


def wait_for_state(served, state):
    wait_until(lambda: store_status(served)["state"] == state, 30, f"a store that is {state}")


def events(served, name):
    return [record for record in served.log() if record["event"] == name]


def time_of(record):
    said = datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00"))
    return said.timestamp()


def assert_followed(server, store, served, since, before=0):
    """Every node LISTENs on the server within a second of the time; by the server's own log."""
    count = before + len(served)
    lines = server.wait_for_log(f"db={store.name} app=sallyport {LISTENS}", count=count)
    late = [server.log_time(line) - since for line in lines[before:]]
    assert max(late) < 1, late
    for one in served:
        wait_for_state(one, "listening")
        wait_until(lambda: store_status(one)["writer"] == server.address, 10, "its address")
        assert store_status(one)["last_error"] is None
    return late


def committed(server, store):
    """When the latest import was committed: its transaction may have begun long before."""
    said = f"user=kong db={store.name} app=sallyport LOG:  statement: "
    made = server.wait_for_log(said + "insert into sallyport_revisions")[-1]
    process = re.search(r"\[\d+\]", made)[0]
    return server.log_time(server.wait_for_log(f"{process} {said}commit")[-1])


def assert_served_within_a_second(server, store, served, bed, issuer, path):
    """An import at the name is served, from the server, by every node."""
    feed(store, with_orders_at(bed, issuer, path))
    since = committed(server, store)
    for one in served:
        token = one.mint("alice")
        wait_until(lambda: one.get(f"/{path}", token).status == 200, 20, f"/{path}")
        took = wait_until(  # The log's line comes a moment after the routes.
            lambda: [
                time_of(record) - since
                for record in events(one, "configuration_loaded")
                if time_of(record) > since
            ],
            10,
            "the load",
        )
        assert took[0] < 1, took


@contextlib.contextmanager
def traffic(served):
    """Calls go on at every node meanwhile, and none is lost."""
    ended = threading.Event()
    said = [[] for _ in served]

    def call(one, statuses):
        connection = one.connect()
        token = one.mint("alice")
        while not ended.is_set():
            statuses.append(one.get("/orders/2", token, connection=connection).status)
        connection.close()

    callers = [
        threading.Thread(target=call, args=(one, statuses), daemon=True)
        for one, statuses in zip(served, said)
    ]
    for caller in callers:
        caller.start()
    try:
        yield
        wait_until(lambda: min(map(len, said)) > 50, 30, "the calls")
    finally:
        ended.set()
        for caller in callers:
            caller.join(60)
    for statuses in said:
        assert set(statuses) == {200}, statuses[-5:]


def test_nodes_follow_the_writer_to_the_replica_that_is_promoted(
    primary, standby, names, store, nodes, bed, issuer
):
    served = nodes()
    for one in served:
        wait_for_state(one, "listening")
        assert (store_status(one)["writer"], store_status(one)["reader"]) == (
            "127.0.0.1", "127.0.0.2")
    asked = len(primary.log_lines("from sallyport_routes"))
    with traffic(served):
        feed(store, with_orders_at(bed, issuer, "first"))
        commands = len(primary.log_lines("from sallyport_routes")) - asked
        for one in served:
            token = one.mint("alice")
            wait_until(lambda: one.get("/first", token).status == 200, 20, "what was imported")
        # What the nodes read they read from the replica.
        assert len(primary.log_lines("from sallyport_routes")) == asked + commands
        assert len(standby.log_lines("from sallyport_routes")) >= 2

        standby.wait_until_it_has_all()
        primary.kill()
        for one in served:
            wait_until(lambda: store_status(one)["state"] == "polling", 10, "the loss")
            assert store_status(one)["last_error"]
        [late] = nodes(count=1)  # One that starts meanwhile reads the replica.
        assert late.get("/first", late.mint("alice")).status == 200
        promoted = standby.promote()
        names.move({primary.hostname: standby.address})
        followed = max(promoted, time.time())
        served.append(late)
        assert_followed(standby, store, served, followed)
        assert_served_within_a_second(standby, store, served, bed, issuer, "second")
    for one in served[:2]:
        # A pause by chance goes before the next attempt: nobody was asked in a tight loop.
        assert len(events(one, "store_unreachable")) == 1
        assert len(events(one, "store_reachable")) == 1


def test_the_name_alone_says_that_the_writer_has_moved(
    primary, standby, names, store, nodes, bed, issuer
):
    """The old writer stays, with the connections open: first it answers, then it hangs."""
    served = nodes(reader=False)
    for one in served:
        wait_for_state(one, "listening")
    standby.wait_until_it_has_all()
    tried = len(primary.log_lines(f"db={store.name} app=sallyport {LISTENS}"))
    with traffic(served):
        standby.promote()
        names.move({primary.hostname: standby.address})
        assert_followed(standby, store, served, time.time())
        assert_served_within_a_second(standby, store, served, bed, issuer, "moved")
        left = "select count(*) from pg_stat_activity where usename = 'kong'"
        wait_until(lambda: primary.superuser_sql(left) == "0\n", 10, "the old connections' end")
        with standby.frozen():
            names.move({primary.hostname: primary.address})
            assert_followed(primary, store, served, time.time(), before=tried)
            # What the writer of now says holds, though it be older than what was served.
            for one in served:
                token = one.mint("alice")
                wait_until(lambda: one.get("/moved", token).status == 404, 10, "what is there")
            assert_served_within_a_second(primary, store, served, bed, issuer, "back")
    for one in served:
        assert [(r["from"], r["to"]) for r in events(one, "store_moved")] == [
            (primary.address, standby.address), (standby.address, primary.address)]
        assert events(one, "store_unreachable") == []


@pytest.mark.threads
def test_a_writer_that_became_a_standby_is_noticed_and_so_is_its_promotion(
    primary, names, store, nodes, bed, issuer
):
    """The name stays; the server restarts as a standby, and is promoted."""
    served = nodes(reader=False)
    for one in served:
        wait_for_state(one, "listening")
    listened = f"db={store.name} app=sallyport {LISTENS}"
    authorized = f"connection authorized: user=kong database={store.name}"
    with traffic(served):
        primary.demote()
        for one in served:
            wait_for_state(one, "polling")
            assert "a standby, or a writer that was demoted" in store_status(one)["last_error"]
            assert store_status(one)["writer"] == "127.0.0.1"
            [said] = events(one, "store_not_listening")
            assert said["address"] == "127.0.0.1"
        path = store.folder / "shop.yaml"
        path.write_text(with_orders_at(bed, issuer, "later"))
        got = store.run("config", "db_import", path, environment=store.environment)
        assert got.returncode == 1
        assert "Error: the server that pg_host names only reads (a standby" in got.stderr
        for arguments in (["reset", "-y"], ["bootstrap", "-f"]):
            got = store.migrations(*arguments, environment=store.environment)
            assert got.returncode == 1 and "only reads (a standby" in got.stderr, got.stderr

        tried, logins = len(primary.log_lines(listened)), len(primary.log_lines(authorized))
        promoted = primary.promote()
        assert_followed(primary, store, served, promoted, before=tried)
        # They stayed where they were: it cost no login.
        assert len(primary.log_lines(authorized)) == logins
        assert_served_within_a_second(primary, store, served, bed, issuer, "later")


def test_a_standby_among_the_names_addresses_is_left_for_the_writer(
    primary, standby, names, store, nodes, bed, issuer
):
    """As where one name has every member; the writer changes place, the addresses do not."""
    names.move({primary.hostname: ["127.0.0.2", "127.0.0.1", "127.0.0.3"]})
    served = nodes(reader=False)
    for one in served:
        wait_for_state(one, "listening")
        assert store_status(one)["writer"] == primary.address
    standby.wait_until_it_has_all()
    with traffic(served):
        primary.kill()
        for one in served:
            wait_until(lambda: store_status(one)["writer"] == standby.address, 10, "the standby")
            wait_for_state(one, "polling")
        tried = len(standby.log_lines(f"db={store.name} app=sallyport {LISTENS}"))
        assert_followed(standby, store, served, standby.promote(), before=tried)
        assert_served_within_a_second(standby, store, served, bed, issuer, "among")
