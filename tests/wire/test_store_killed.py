"""kill -9 of an import and of migrations at random points of what they say to the database, and a
crash of the database itself: what stands there is the state of before or of after, never between.

The point is a number of the client's bytes, by chance: a proxy forwards so many and no more.
"""

import os
import random
import signal
import socket
import subprocess
import threading

import harness
import pytest
import yaml
from bed.postgres import wait_until
from stored import Store, logins, store  # noqa: F401 (fixtures)
from test_store_config import SECRET, Maker, exported, strip, write  # noqa: F401
from test_store_newer import newer

SEED = int(os.environ.get("SALLYPORT_TEST_SEED", 0)) or random.SystemRandom().getrandbits(32)
ROUNDS = 3


class Stop:
    """Forwards to the server; of the client's bytes only so many as `limit`."""

    def __init__(self, port):
        self.server_port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.begin(None)
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self, limit):
        self.limit, self.count, self.reached = limit, 0, threading.Event()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.server_port))
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            threading.Thread(target=self._forth, args=(client, server), daemon=True).start()

    def _forth(self, client, server):
        try:
            while data := client.recv(65536):
                room = len(data) if self.limit is None else max(self.limit - self.count, 0)
                server.sendall(data[:room])
                self.count += len(data[:room])
                if room < len(data):
                    self.reached.set()  # and what follows is thrown away
        except OSError:
            pass
        self._end(server)

    def _back(self, server, client):
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            pass
        self._end(client)

    @staticmethod
    def _end(connection):
        try:  # The other thread waits on it: closing alone would end nothing.
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Victim:
    """Runs commands of keeper, who owns the tables, through the proxy."""

    def __init__(self, store, stop):  # noqa: F811
        self.store, self.stop = store, stop
        self.chance = random.Random(SEED)
        folder = store.folder / "through"
        folder.mkdir()
        self.through = Store(store.bed, folder, store.name)
        self.through.write_conf(
            "pg_user = keeper", "pg_password = hunter2", "pg_ssl = on", pg_host="localhost",
            pg_port=stop.port, pg_iam_auth_hostname=None)

    def start(self, *arguments, limit=None, program=None):
        self.stop.begin(limit)
        command, environment = self.through.command(
            *arguments, iam=False, environment=SECRET, program=program)
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def run(self, *arguments, program=None):
        """To its end; how many bytes it sent."""
        running = self.start(*arguments, program=program)
        said = running.communicate(timeout=120)
        assert running.returncode == 0, said
        return self.stop.count

    def run_to(self, limit, *arguments, program=None):
        """Until it has sent so many bytes; it waits for an answer, or has just ended."""
        running = self.start(*arguments, limit=limit, program=program)
        wait_until(lambda: self.stop.reached.is_set() or running.poll() is not None, 60,
                   "its point")
        return running

    def kill(self, running):
        running.send_signal(signal.SIGKILL)
        running.communicate()
        self.wait_for_its_end()

    def wait_for_its_end(self):
        wait_until(lambda: not self.store.sql(
            "select pid from pg_stat_activity where usename = 'keeper' and"
            f" datname = '{self.store.name}'"), 60, "its backend's end")

    def points(self, total):
        """Random ones, and the last byte: the commit is on its way."""
        return [self.chance.randrange(1, total) for _ in range(ROUNDS - 1)] + [total - 1]

    def state(self):
        """Tables, columns, functions and migrations, as the catalog has them."""
        return self.store.sql(
            "select 'column', table_name || '.' || column_name from information_schema.columns"
            " where table_schema = 'public' union all"
            " select 'function', proname from pg_proc where proname like 'sallyport%' union all"
            " select 'trigger', tgname from pg_trigger where tgname like 'sallyport%'"
            " order by 1, 2") + "\n" + self.migrations()

    def migrations(self):
        if "sallyport_migrations" not in self.store.tables():
            return "none"
        return self.store.sql(
            "select name, finished_at is not null from sallyport_migrations union all"
            " select name, null from sallyport_migrations_pending order by 1")


@pytest.fixture
def victim(store):  # noqa: F811
    store.sql("grant all on schema public to keeper; grant keeper to kong")
    # The bed's is off: what was committed would not outlive a crash.
    store.sql(f"alter database {store.name} set synchronous_commit = on")
    stop = Stop(store.bed.port)
    yield Victim(store, stop)
    stop.close()


def document(store):  # noqa: F811
    return strip(yaml.safe_load(exported(store)))


def revisions(store):  # noqa: F811
    return store.sql("select count(*) from sallyport_revisions")


def two_files(victim):
    """Two configurations; the first is imported; how many bytes the second's import sends."""
    victim.run("migrations", "bootstrap")
    chance = random.Random(SEED)
    paths = [write(victim.store, f"{i}.yaml", Maker(chance.getrandbits(32)).document())
             for i in range(2)]
    victim.run("config", "db_import", paths[0])
    before = document(victim.store)
    total = victim.run("config", "db_import", paths[1])
    after = document(victim.store)
    victim.run("config", "db_import", paths[0])
    assert document(victim.store) == before != after
    return paths, before, after, total


def test_an_import_that_is_killed_anywhere_is_done_or_not(victim):
    paths, before, after, total = two_files(victim)
    for limit in victim.points(total):
        count = int(revisions(victim.store))
        victim.kill(victim.run_to(limit, "config", "db_import", paths[1]))
        got = document(victim.store)
        assert got in (before, after), (SEED, limit)
        assert int(revisions(victim.store)) == count + (got == after), (SEED, limit)
        if got == after:
            victim.run("config", "db_import", paths[0])
    victim.run("config", "db_import", paths[1])
    assert document(victim.store) == after


def killed_anywhere(victim, prepare, arguments, program=None):
    """Both states of the command, from whole runs; then kills, of which each leaves one of them."""
    prepare()
    before = victim.state()
    total = victim.run(*arguments, program=program)
    after = victim.state()
    assert before != after
    for limit in victim.points(total):
        prepare()
        assert victim.state() == before
        victim.kill(victim.run_to(limit, *arguments, program=program))
        got = victim.state()
        assert got in (before, after), (SEED, limit, arguments, got)
        if got == before:
            victim.run(*arguments, program=program)
        assert victim.state() == after, (SEED, limit, arguments)


def empty(victim):
    victim.wait_for_its_end()
    victim.store.sql("drop owned by keeper cascade; grant all on schema public to keeper;"
                     " grant connect on database \"" + victim.store.name + "\" to keeper")


def test_a_bootstrap_that_is_killed_anywhere_made_all_or_nothing(victim):
    killed_anywhere(victim, lambda: empty(victim), ("migrations", "bootstrap"))


def test_a_reset_that_is_killed_anywhere_dropped_all_or_nothing(victim):
    def prepare():
        empty(victim)
        victim.run("migrations", "bootstrap")

    killed_anywhere(victim, prepare, ("migrations", "reset", "--yes"))


def test_up_and_finish_that_are_killed_anywhere_ran_whole_or_not(victim):
    def bootstrapped():
        empty(victim)
        victim.run("migrations", "bootstrap")

    def pending():
        bootstrapped()
        victim.run("migrations", "up", program=newer())

    killed_anywhere(victim, bootstrapped, ("migrations", "up"), program=newer())
    killed_anywhere(victim, pending, ("migrations", "finish"), program=newer())


def second_waits(victim, *arguments, program=None):
    """Another one, which waits for the lock that the first has."""
    command, environment = victim.store.command(
        *arguments, iam=False, environment=SECRET, program=program)
    environment |= {"KONG_PG_USER": "keeper", "KONG_PG_PASSWORD": "hunter2", "KONG_PG_SSL": "on",
                    "KONG_PG_HOST": "localhost", "KONG_PG_IAM_AUTH_HOSTNAME": ""}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    wait_until(lambda: running.poll() is not None or victim.store.sql(
        "select pid from pg_stat_activity where wait_event = 'advisory'"), 60, "the second's wait")
    return running


@pytest.mark.parametrize("what", ["bootstrap", "up", "import"])
def test_who_waits_goes_on_when_the_one_with_the_lock_is_killed(victim, what):
    arguments, program = ("migrations", what), newer()
    if what == "import":
        paths, before, after, total = two_files(victim)
        arguments, program = ("config", "db_import", paths[1]), None
    else:
        if what == "up":
            victim.run("migrations", "bootstrap")
        total = victim.run(*arguments, program=program)
        after = victim.state()
        empty(victim)
        if what == "up":
            victim.run("migrations", "bootstrap")
    for limit in range(total - 150, 0, -total // 16):  # the last point where it has the lock
        first = victim.run_to(limit, *arguments, program=program)
        if victim.store.sql("select pid from pg_locks where locktype = 'advisory' and granted"):
            break
        victim.kill(first)
    assert first.poll() is None
    second = second_waits(victim, *arguments, program=program)
    assert second.poll() is None, second.communicate()
    victim.kill(first)
    said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert (document(victim.store) if what == "import" else victim.state()) == after


def test_a_crash_of_the_database_leaves_it_whole(victim):
    paths, before, after, total = two_files(victim)
    bed = victim.store.bed
    for limit in victim.points(total):
        running = victim.run_to(limit, "config", "db_import", paths[1])
        bed.process.send_signal(signal.SIGQUIT)  # immediate: as after a power loss
        bed.process.wait(30)
        bed.resume()
        out, words = running.communicate(timeout=60)
        got = document(victim.store)
        assert got in (before, after), (SEED, limit)
        assert running.returncode == 1 or got == after, (SEED, limit, out, words)
        assert (running.returncode == 1) == ("Error: " in words), (SEED, limit, out, words)
        assert not harness.SANITIZER.search(words), words
        if got == after:
            victim.run("config", "db_import", paths[0])
    victim.run("config", "db_import", paths[1])
    assert document(victim.store) == after
