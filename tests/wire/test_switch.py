"""From a password to IAM and back by a reload, under load: the store's connections (pg_…, pg_ro_…)
and a service's login, in the order of docs/MIGRATING-FROM-KONG.md; and in the wrong one."""

import json
import re
import signal
import threading

import harness
import pytest
import served as shop
from bed.postgres import wait_until
from stored import Store, assert_done

SECRET = "hunter2-and-more"
# Of the store and of the service: a user by password, and a second one by IAM.
STORE, STORE_IAM, STORE_RO, STORE_RO_IAM = "sw_kong", "sw_kong_iam", "sw_ro", "sw_ro_iam"
APP, APP_IAM = "sw_app", "sw_app_iam"
USERS = (STORE, STORE_IAM, STORE_RO, STORE_RO_IAM, APP, APP_IAM)
WHO = "select session_user::text as login, current_user::text as role, :n::int as n"
SLOW = "select session_user::text as login, current_user::text as role, :n::int as n from" \
       " pg_sleep(0.2)"


@pytest.fixture(scope="module")
def users(bed):
    """All have a password; who is a member of rds_iam logs in by IAM only, as on RDS."""
    hba = bed.data / "pg_hba.conf"
    before = hba.read_text()
    lines = before.splitlines()
    [pam] = [i for i, line in enumerate(lines) if "+rds_iam" in line]
    lines.insert(pam + 1, f"hostssl all {','.join(USERS)} 127.0.0.1/32 scram-sha-256")
    hba.write_text("\n".join(lines) + "\n")
    script = ["set password_encryption = 'scram-sha-256';"]
    for user in USERS:
        script.append(f"create role {user} login noinherit password '{SECRET}';")
    script += [
        f"alter role {STORE} inherit; alter role {STORE_IAM} inherit;",
        f"grant orders_reader, orders_writer to {APP};",
        "select pg_reload_conf()",
    ]
    bed.superuser_script("\n".join(script))
    yield
    end_backends(bed)
    bed.superuser_script("".join(f"drop role {user};" for user in USERS))
    hba.write_text(before)
    bed.superuser_sql("select pg_reload_conf()")


def end_backends(bed):
    names = ",".join(USERS)
    bed.superuser_sql("select pg_terminate_backend(pid) from pg_stat_activity"
                      f" where usename = any('{{{names}}}')")
    wait_until(lambda: not any(shop.backends(bed, user) for user in USERS), 20, "the ends")


@pytest.fixture
def grants(bed, users):
    """What tests grant and revoke, taken back at their end."""

    def run(text):
        bed.superuser_sql(text)

    yield run
    run(f"revoke rds_iam from {', '.join(USERS)}; revoke orders_reader, orders_writer from"
        f" {APP_IAM}")


@pytest.fixture
def fed(bed, users, tmp_path, issuer):
    """The store's tables, which STORE owns and made, hold the shop."""
    name = "switch_store"
    bed.superuser_sql(f"create database {name} owner {STORE}")
    store = Store(bed, tmp_path, name)
    store.write_conf(**conf_of(bed, pg_user=STORE, pg_password=SECRET))
    assert_done(store.migrations("bootstrap", iam=False))
    store.sql(f"grant {STORE} to {STORE_IAM};"
              f" grant usage on schema public to {STORE_RO}, {STORE_RO_IAM};"
              f" grant select on all tables in schema public to {STORE_RO}, {STORE_RO_IAM}")
    feed(store, configuration(bed, issuer))
    yield store
    bed.superuser_sql(f"drop database {name} with (force)")


def conf_of(bed, **more):
    """The store by password, as kong.conf says it."""
    return {
        "pg_host": "localhost",
        "pg_port": bed.port,
        "pg_ssl": "on",
        "pg_iam_auth_hostname": None,
        "lua_ssl_trusted_certificate": bed.ca.file,
        **more,
    }


def login(bed, user=APP, iam=False):
    """What a service says of its login; the port that the token is signed for is the url's."""
    if iam:
        return {"user": user, "iam_auth": {"region": bed.region, "hostname": bed.hostname}}
    return {"user": user, "password": "{vault://env/SWITCH_PASSWORD}"}


def configuration(bed, issuer, path="/who", host="127.0.0.1", **of_login):
    routes = [
        shop.route("who", WHO, path=f"{path}/{{n}}",
                   parameters={"n": {"type": "integer", "from": "path"}}, result="one"),
        shop.route("slow", SLOW, path=f"{path}-slow/{{n}}",
                   parameters={"n": {"type": "integer", "from": "path"}}, result="one"),
        shop.route("write", WHO, path=f"{path}", method="POST",
                   parameters={"n": {"type": "integer", "from": "body"}}, result="one"),
    ]
    made = shop.service(bed, routes, password=None)
    del made["password"]
    made["url"] = f"postgres://{host}:{bed.port}/{bed.database}"
    made |= of_login or login(bed)
    return shop.config(bed, issuer, [made])


def feed(store, text):
    path = store.folder / "shop.yaml"
    path.write_text(text)
    got = store.run("config", "db_import", path, iam=False,
                    environment=store.bed.keys[0].environment() | {"SWITCH_PASSWORD": SECRET})
    assert got.returncode == 0, got.stderr + got.stdout


def environment(bed):
    return bed.keys[0].environment() | {"SWITCH_PASSWORD": SECRET}


class Load:
    """Callers who ask without end: reads, writes, and slow ones that a reload meets half way.
    Every answer must be 200, with what was asked for."""

    def __init__(self, gateway, callers=5):
        self.gateway = gateway
        self.over = threading.Event()
        self.answers, self.wrong, self.logins = 0, [], []
        self.tokens = {name: gateway.mint(name) for name in ("alice", "bob")}
        self.threads = [threading.Thread(target=self._call, args=(i,)) for i in range(callers)]

    def _ask(self, i, n, connection):
        if i == 0:
            return self.gateway.get(f"/who-slow/{n}", self.tokens["alice"], connection=connection)
        if i == 1:
            return self.gateway.post("/who", self.tokens["bob"], {"n": n}, connection=connection)
        return self.gateway.get(f"/who/{n}", self.tokens["alice"], connection=connection)

    def _call(self, i):
        connection, n = self.gateway.connect(), i * 10**6
        role = "orders_writer" if i == 1 else "orders_reader"
        try:
            while not self.over.is_set():
                n += 1
                answer = self._ask(i, n, connection)
                said = answer.json
                if (answer.status, said.get("n"), said.get("role")) != (200, n, role):
                    self.wrong.append((answer.status, said))
                self.logins.append(said.get("login"))
                self.answers += 1
        except Exception as error:  # a connection that was cut, too
            self.wrong.append(repr(error))
        finally:
            connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.wait_for(30)
        return self

    def wait_for(self, more):
        """So many answers later; nothing was lost until then."""
        end = self.answers + more
        wait_until(lambda: self.answers >= end or self.wrong, 60, "answers")
        assert not self.wrong

    def latest_logins(self):
        self.wait_for(30)
        at = len(self.logins)
        self.wait_for(30)
        return set(self.logins[at:])

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert not self.wrong, self.wrong[:3]


def reload(gateway):
    before = len(events(gateway, "configuration_loaded"))
    got = gateway.run("reload", "-c", gateway.node_file)
    assert got.returncode == 0 and "restart:" not in got.stdout, got.stderr + got.stdout
    wait_until(lambda: len(events(gateway, "configuration_loaded")) > before, 30, "a load")


def events(gateway, name):
    return [record for record in gateway.log() if record["event"] == name]


def store_status(gateway):
    return gateway.status("/status").json["store"]


def wait_until_listening(gateway):
    wait_until(lambda: store_status(gateway)["state"] == "listening", 30, "a store that listens")


# -- the store's connections ---------------------------------------------------------------------


class Node:
    """A node of the store whose sallyport.conf is edited as an operator does."""

    def __init__(self, fed, gateway, issuer, **more):
        self.fed, self.issuer, self.imports = fed, issuer, 0
        self.own = {"database": "postgres", "declarative_config": "", "pg_database": fed.name}
        self.said = {**conf_of(fed.bed), "pg_user": STORE, "pg_password": SECRET, **more}
        self.gateway = gateway(node={**self.own, **self.shown()}, environment=environment(fed.bed))
        self.kept = [line for line in self.gateway.node_file.read_text().splitlines()
                     if not line.startswith(("pg_", "lua_"))]
        wait_until_listening(self.gateway)

    def shown(self):
        return {name: value for name, value in self.said.items() if value is not None}

    def say(self, **changes):
        """Edits the file; None removes a line."""
        self.said |= changes
        lines = [f"{name} = {value}" for name, value in self.shown().items()]
        lines.append(f"pg_database = {self.fed.name}")
        self.gateway.node_file.write_text("\n".join([*self.kept, *lines, ""]))

    def reload(self):
        reload(self.gateway)

    def import_is_served(self, load):
        """An import by somebody is served, and nobody misses a request meanwhile."""
        self.imports += 1
        text = json.loads(configuration(self.fed.bed, self.issuer))
        text["services"][0]["routes"].append(
            shop.route("new", "select 1 as one", path=f"/new{self.imports}", result="one"))
        feed(self.fed, json.dumps(text))
        token = load.tokens["alice"]
        wait_until(lambda: self.gateway.get(f"/new{self.imports}", token).status == 200, 20,
                   "the import")
        load.wait_for(10)


def by_iam(bed, side, user):
    return {f"{side}_iam_auth": "on", f"{side}_iam_auth_hostname": bed.hostname,
            f"{side}_user": user, f"{side}_password": None}


def by_password(side, user):
    return {f"{side}_iam_auth": "off", f"{side}_iam_auth_hostname": None, f"{side}_user": user,
            f"{side}_password": SECRET}


def authenticated(bed, user, database, since=0):
    """How the database saw the user log in, from its log: [method], the oldest first."""
    methods, by_pid = [], {}
    for line in bed.log_lines()[since:]:
        pid = re.search(r"\[(\d+)\]", line)
        method = re.search(r"connection authenticated: identity=\"[^\"]*\" method=(\S+)", line)
        if pid and method:
            by_pid[pid[1]] = method[1]
        if f"connection authorized: user={user} database={database}" in line:
            methods.append(by_pid.get(pid[1]))
    return methods


def log_size(bed):
    return len(bed.log_lines())


@pytest.mark.threads
def test_the_read_write_connection_changes_to_iam_and_back(fed, gateway, bed, issuer, grants):
    """A second user with the same grants and rds_iam; both users may log in at every moment."""
    node = Node(fed, gateway, issuer)
    assert set(authenticated(bed, STORE, fed.name)) == {"scram-sha-256"}
    with Load(node.gateway) as load:
        node.import_is_served(load)
        grants(f"grant rds_iam to {STORE_IAM}")
        node.say(**by_iam(bed, "pg", STORE_IAM))
        node.reload()
        wait_until_listening(node.gateway)
        methods = authenticated(bed, STORE_IAM, fed.name)
        assert len(methods) >= 2 and set(methods) == {"pam"}  # the command's, and the node's
        node.import_is_served(load)

        since = log_size(bed)
        node.say(**by_password("pg", STORE))
        node.reload()
        wait_until_listening(node.gateway)
        wait_until(lambda: not users_of(bed, fed.name) & {STORE_IAM}, 20, "the end of IAM's")
        assert set(authenticated(bed, STORE, fed.name, since)) == {"scram-sha-256"}
        assert not authenticated(bed, STORE_IAM, fed.name, since)
        node.import_is_served(load)
    assert not events(node.gateway, "store_unreachable")


def users_of(bed, database):
    return set(bed.superuser_sql("select usename from pg_stat_activity where datname ="
                                 f" '{database}'").split())


def test_the_read_only_connection_changes_by_itself(fed, gateway, bed, issuer, grants):
    """IAM for pg_ro_… with a password for pg_…, then the other way round, then neither."""
    node = Node(fed, gateway, issuer, pg_ro_host="localhost", pg_ro_user=STORE_RO)
    with Load(node.gateway) as load:
        node.import_is_served(load)
        grants(f"grant rds_iam to {STORE_RO_IAM}, {STORE_IAM}")
        for rw, ro in ((by_password("pg", STORE), by_iam(bed, "pg_ro", STORE_RO_IAM)),
                       (by_iam(bed, "pg", STORE_IAM), by_password("pg_ro", STORE_RO)),
                       (by_iam(bed, "pg", STORE_IAM), by_iam(bed, "pg_ro", STORE_RO_IAM)),
                       (by_password("pg", STORE), by_password("pg_ro", STORE_RO))):
            since = log_size(bed)
            node.say(**rw, **ro)
            node.reload()
            wait_until_listening(node.gateway)
            wanted = {STORE_IAM if rw["pg_iam_auth"] == "on" else STORE,
                      STORE_RO_IAM if ro["pg_ro_iam_auth"] == "on" else STORE_RO}
            wait_until(lambda: users_of(bed, fed.name) - {"postgres"} == wanted, 20, str(wanted))
            for user in wanted:
                method = "pam" if user in (STORE_IAM, STORE_RO_IAM) else "scram-sha-256"
                assert set(authenticated(bed, user, fed.name, since)) == {method}
            node.import_is_served(load)
    assert not events(node.gateway, "store_unreachable")


def test_the_same_user_may_be_granted_rds_iam_while_nodes_are_connected(
        fed, gateway, bed, issuer, grants):
    """The connections that are there go on between the grant and the reload, and back."""
    node = Node(fed, gateway, issuer)
    with Load(node.gateway) as load:
        since = log_size(bed)
        grants(f"grant rds_iam to {STORE}")
        load.wait_for(30)
        node.say(**by_iam(bed, "pg", STORE))
        node.reload()
        wait_until_listening(node.gateway)
        assert set(authenticated(bed, STORE, fed.name, since)) == {"pam"}
        since = log_size(bed)
        grants(f"revoke rds_iam from {STORE}")
        load.wait_for(30)
        node.say(**by_password("pg", STORE))
        node.reload()
        wait_until_listening(node.gateway)
        assert set(authenticated(bed, STORE, fed.name, since)) == {"scram-sha-256"}
        node.import_is_served(load)
    assert not events(node.gateway, "store_unreachable")


# -- a service's login ---------------------------------------------------------------------------


def audited(gateway, kind="login"):
    return [r for r in gateway.audit() if r["kind"] == kind]


def switch_by_file(gateway, fed, text):
    gateway.write_config(text)
    reload(gateway)


def switch_by_store(gateway, fed, text):
    before = len(events(gateway, "configuration_loaded"))
    feed(fed, text)
    wait_until(lambda: len(events(gateway, "configuration_loaded")) > before, 30, "a load")


@pytest.fixture(params=["file", "store"])
def serving(request, gateway, bed, issuer, users):
    """(a gateway by password, how its configuration is changed)"""
    if request.param == "file":
        one = gateway(config=configuration(bed, issuer), environment=environment(bed))
        return one, lambda text: switch_by_file(one, None, text)
    fed = request.getfixturevalue("fed")
    one = Node(fed, gateway, issuer).gateway
    return one, lambda text: switch_by_store(one, fed, text)


@pytest.mark.threads
def test_a_service_changes_to_iam_and_back(serving, bed, issuer, grants):
    """A second user; its grants come first, the reload after them."""
    one, switch = serving
    with Load(one) as load:
        assert load.latest_logins() == {APP}
        grants(f"grant rds_iam to {APP_IAM}; grant orders_reader, orders_writer to {APP_IAM}")
        since = log_size(bed)
        switch(configuration(bed, issuer, **login(bed, APP_IAM, iam=True)))
        wait_until(lambda: not shop.backends(bed, APP), 30, "the end of the password's")
        assert load.latest_logins() == {APP_IAM}
        assert set(authenticated(bed, APP_IAM, bed.database, since)) == {"pam"}
        [event] = {(r["auth_method"], r["access_key_id"]) for r in audited(one)
                   if r["database_user"] == APP_IAM}
        assert event == ("iam", bed.keys[0].access_key_id)

        since = log_size(bed)
        switch(configuration(bed, issuer))
        wait_until(lambda: not shop.backends(bed, APP_IAM), 30, "the end of IAM's")
        assert load.latest_logins() == {APP}
        assert set(authenticated(bed, APP, bed.database, since)) == {"scram-sha-256"}
        assert {r["auth_method"] for r in audited(one) if r["database_user"] == APP} == {
            "scram-sha-256-plus"}
    assert not audited(one, "login_failure")


@pytest.mark.threads
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_service_whose_own_user_is_granted_rds_iam_goes_on_until_the_reload(
        gateway, bed, issuer, users, grants, host):
    """The connections that are there serve on, though no login by password succeeds any more;
    where the reload changes the address, too, they serve what they have begun."""
    one = gateway(config=configuration(bed, issuer, host=host), environment=environment(bed))
    with Load(one) as load:
        load.wait_for(100)
        grants(f"grant rds_iam to {APP}")
        load.wait_for(200)
        switch_by_file(one, None, configuration(bed, issuer, **login(bed, APP, iam=True)))
        wait_until(lambda: {r["auth_method"] for r in audited(one)[-1:]} == {"iam"}, 30, "IAM")
        load.wait_for(100)
        grants(f"revoke rds_iam from {APP}")
        load.wait_for(200)
        switch_by_file(one, None, configuration(bed, issuer, host=host))
        wait_until(lambda: audited(one)[-1]["auth_method"] == "scram-sha-256-plus", 30, "SCRAM")
        load.wait_for(100)


# -- the wrong order -----------------------------------------------------------------------------


def latest_failure(gateway):
    return wait_until(lambda: audited(gateway, "login_failure"), 20, "a refusal")[-1]


def last_login(gateway):
    return audited(gateway)[-1]["auth_method"]


@pytest.mark.threads
def test_a_service_by_iam_before_its_grant_goes_on_and_says_what_is_missing(
        serving, bed, issuer, grants):
    """By the connections that it has; and it changes by itself once the grant is there."""
    one, switch = serving
    with Load(one) as load:
        grants(f"grant orders_reader, orders_writer to {APP_IAM}")
        switch(configuration(bed, issuer, **login(bed, APP_IAM, iam=True)))
        failure = latest_failure(one)
        assert (failure["auth_method"], failure["database_user"]) == ("iam", APP_IAM)
        assert (failure["reason"], failure["sqlstate"]) == ("pg_login_refused", "28P01")
        assert failure["detail"] == (
            f'password authentication failed for user "{APP_IAM}"; the server wants a password and'
            f" no token: GRANT rds_iam TO the user {APP_IAM}")
        assert "GRANT rds_iam" in one.status("/status").json["services"][0]["last_error"]
        assert load.latest_logins() == {APP}
        grants(f"grant rds_iam to {APP_IAM}")
        wait_until(lambda: last_login(one) == "iam", 30, "the login")
        wait_until(lambda: not shop.backends(bed, APP), 30, "the end of the password's")
        assert load.latest_logins() == {APP_IAM}
        assert one.status("/status").json["services"][0]["last_error"] is None


@pytest.mark.threads
def test_a_service_by_password_before_its_revoke_goes_on_and_says_what_is_in_the_way(
        gateway, bed, issuer, users, grants):
    grants(f"grant rds_iam to {APP}")
    one = gateway(config=configuration(bed, issuer, **login(bed, APP, iam=True)),
                  environment=environment(bed))
    with Load(one) as load:
        switch_by_file(one, None, configuration(bed, issuer))
        failure = latest_failure(one)
        assert failure["detail"] == (
            f'PAM authentication failed for user "{APP}"; the server wants the password in clear,'
            " as RDS does of members of rds_iam, who log in by IAM only: set iam_auth, or REVOKE"
            f" rds_iam FROM the user {APP}")
        assert failure["database_user"] == APP and SECRET not in json.dumps(one.audit())
        load.wait_for(100)
        grants(f"revoke rds_iam from {APP}")
        wait_until(lambda: last_login(one) == "scram-sha-256-plus", 30, "the login")
        load.wait_for(100)


def test_the_pool_is_full_and_the_new_login_is_tried_all_the_same(
        gateway, bed, issuer, users, grants):
    """One connection more than max_connections, for as long as the trial takes."""
    text = json.loads(configuration(bed, issuer))
    text["services"][0]["pool"] = {"max_connections": 1}
    grants(f"grant rds_iam to {APP_IAM}; grant orders_reader, orders_writer to {APP_IAM}")
    one = gateway(config=json.dumps(text), environment=environment(bed))
    with Load(one) as load:
        assert load.latest_logins() == {APP}
        for key in ("password", "user"):
            del text["services"][0][key]
        text["services"][0] |= login(bed, APP_IAM, iam=True)
        switch_by_file(one, None, json.dumps(text))
        wait_until(lambda: not shop.backends(bed, APP), 30, "the end of the password's")
        assert load.latest_logins() == {APP_IAM}
        assert len(shop.backends(bed, APP_IAM)) == 1


def test_a_password_is_not_sent_in_clear_to_whom_was_not_verified(
        gateway, bed, issuer, users, grants):
    """sslmode: require.  What a grant does to it is said all the same."""
    grants(f"grant rds_iam to {APP}")
    one = gateway(config=configuration(bed, issuer, **login(bed), sslmode="require"),
                  environment=environment(bed))
    assert one.get("/who/1", one.mint("alice")).status == 503
    failure = latest_failure(one)
    assert failure["reason"] == "pg_cleartext_refused"
    assert failure["detail"].endswith(f"REVOKE rds_iam FROM the user {APP}")


def test_the_store_in_the_wrong_order_says_what_to_do_and_recovers(
        fed, gateway, bed, issuer, grants):
    node = Node(fed, gateway, issuer)
    with Load(node.gateway) as load:
        for user, change, wanted, wrong, right in (
                (STORE_IAM, by_iam(bed, "pg", STORE_IAM), "GRANT rds_iam TO",
                 None, f"grant rds_iam to {STORE_IAM}"),
                (STORE, by_password("pg", STORE), "REVOKE rds_iam FROM",
                 f"grant rds_iam to {STORE}", f"revoke rds_iam from {STORE}")):
            if wrong:
                grants(wrong)
            node.say(**change)
            got = node.gateway.run("reload", "-c", node.gateway.node_file)
            assert got.returncode == 1 and f"{wanted} the user {user}" in got.stderr
            # What the command would keep from the node, a hangup does not.
            node.gateway.process.send_signal(signal.SIGHUP)
            wait_until(lambda: f"{wanted} the user {user}" in (
                store_status(node.gateway)["last_error"] or ""), 30, "what to do")
            load.wait_for(20)
            grants(right)
            wait_until_listening(node.gateway)
            load.wait_for(20)
        node.import_is_served(load)
