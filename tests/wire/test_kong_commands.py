"""What a Kong operator's probes, stop hooks and entrypoints call, on a running node."""

import subprocess
import threading
import time

import harness
import kong_conf
import pytest
from bed.postgres import wait_until
from stored import assert_done, logins, store  # noqa: F401 (fixtures)
from test_operations import RUNNING, with_slow
from test_store_newer import by_newer, newer
from test_store_served import feed, node


def command(served, *words, prefix="-p"):
    """As a hook in the container runs it: by the prefix, without a file."""
    more = {"KONG_PREFIX": str(served.prefix)} if prefix == "environment" else {}
    by_option = ["-p", str(served.prefix)] if prefix == "-p" else []
    return subprocess.run(
        [str(served.program), *words, *by_option], env=served._environment() | more,
        capture_output=True, text=True, timeout=60)


def said(got):
    assert not harness.SANITIZER.search(got.stderr), got.stderr
    return got.returncode, got.stdout, got.stderr


class Call(threading.Thread):
    """A call that takes its time, already at the database."""

    def __init__(self, served, seconds):
        super().__init__()
        self.served, self.path, self.status = served, f"/slow?seconds={seconds}", None
        self.token = served.mint("alice")
        self.start()
        bed = served.bed
        wait_until(lambda: bed.superuser_sql(RUNNING) == "1\n", 20, "the slow call")

    def run(self):
        try:
            self.status = self.served.get(self.path, self.token).status
        except OSError:
            self.status = "none"


def reap(served):
    """A process that has ended holds its prefix no more, but its parent has to hear of it."""
    reaper = threading.Thread(target=served.process.wait)
    reaper.start()
    return reaper


@pytest.mark.parametrize("prefix", ["-p", "environment"])
def test_probes_and_the_stop_hook_of_a_container(gateway, prefix):
    served = gateway()
    healthy = (0, f"sallyport is healthy at {served.prefix}\n", "")
    gone = (1, "", f"Error: sallyport is not running in {served.prefix}\n")
    assert said(command(served, "health", prefix=prefix)) == healthy
    reaper = reap(served)
    began = time.monotonic()
    hook = subprocess.Popen(
        [str(served.program), "quit", "--wait=2", "--timeout=5", "-p", str(served.prefix)],
        env=served._environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # It serves on while the hook waits, and is healthy and ready.
    assert served.get("/orders/2", served.mint("alice")).status == 200
    assert served.status("/status/ready").status == 200
    assert said(command(served, "health", prefix=prefix)) == healthy
    assert time.monotonic() - began < 2
    out, err = hook.communicate(timeout=20)
    assert (hook.returncode, out, err) == (0, "sallyport stopped (gracefully)\n", "")
    assert 2 <= time.monotonic() - began < 5
    reaper.join(20)
    assert served.process.returncode == 0
    for words in (["health"], ["stop"], ["quit", "-t", "1", "-w", "1"], ["drain"]):
        assert said(command(served, *words, prefix=prefix)) == gone


def test_quit_gives_calls_the_time_that_it_was_told(bed, issuer, gateway):
    served = gateway(config=with_slow(harness.config_for(bed, issuer)),
                     node={"shutdown_timeout_ms": 300})
    call = Call(served, 2)
    reaper = reap(served)
    assert said(command(served, "quit", "-t", "20")) == (0, "sallyport stopped (gracefully)\n", "")
    call.join(20)
    reaper.join(20)
    assert call.status == 200
    assert not list(served.prefix.glob("sallyport.quit"))


def test_quit_s_timeout_ends_it_and_is_no_failure(bed, issuer, gateway):
    served = gateway(config=with_slow(harness.config_for(bed, issuer)),
                     node={"shutdown_timeout_ms": 60000})
    call = Call(served, 30)
    reaper = reap(served)
    began = time.monotonic()
    got = command(served, "quit", "--timeout", "1")
    assert said(got) == (0, "Timeout, sallyport stopped forcefully\n", "")
    assert time.monotonic() - began < 10
    call.join(20)
    reaper.join(20)
    assert call.status != 200 and served.process.returncode == 0
    wait_until(lambda: bed.superuser_sql(RUNNING) == "0\n", 20, "the statement's end")


def test_quit_notices_that_the_node_has_gone_while_it_waited(gateway):
    served = gateway()
    hook = subprocess.Popen(
        [str(served.program), "quit", "-w", "50", "--v", "-p", str(served.prefix)],
        env=served._environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "waiting 50 seconds before quitting" not in hook.stderr.readline():
        assert hook.poll() is None
    served.stop()
    out, err = hook.communicate(timeout=20)
    assert (hook.returncode, out, err) == (0, "", "sallyport stopped while waiting (unexpected)\n")


def test_a_drained_node_serves_but_is_not_ready_until_it_starts_again(gateway):
    served = gateway()
    assert said(command(served, "drain")) == (
        0, "sallyport's status successfully changed to 'draining'\n", "")
    ready = served.status("/status/ready")
    assert (ready.status, ready.json["missing"]) == (503, [{"reason": "draining"}])
    assert served.status("/status/live").status == 200
    assert served.get("/orders/2", served.mint("alice")).status == 200
    assert said(command(served, "health"))[0] == 0
    served.stop()
    served.start()
    assert served.status("/status/ready").status == 200


def test_another_s_number_in_the_pid_file_costs_that_one_nothing(gateway):
    served = gateway()
    number = served.prefix / "sallyport.pid"
    odd = (f"Warning: {number} does not name the process that holds its lock, which is "
           f"{served.process.pid}; that one is meant\n")
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            number.write_text(f"{stranger.pid}\n")
            got = served.run("reload", "-c", served.node_file)
            assert (got.returncode, got.stderr) == (0, odd)
            wait_until(lambda: [r for r in served.log() if r["event"] == "configuration_loaded"],
                       20, "the reload")
            reaper = reap(served)
            assert said(command(served, "quit")) == (0, "sallyport stopped (gracefully)\n", odd)
            reaper.join(20)
            assert served.process.returncode == 0 and stranger.poll() is None
        finally:
            stranger.kill()


def test_restart_serves_in_the_place_of_what_ran(gateway):
    served = gateway()
    first = served.process
    text = served.node_file.read_text()
    # A mistake costs nobody anything.
    served.node_file.write_text(text + "bogus = 1\n")
    got = served.run("restart", "-c", served.node_file)
    assert (got.returncode, got.stdout) == (1, "") and "'bogus'" in got.stderr
    served.node_file.write_text(text)
    served.write_config("routes: [")
    assert served.run("restart", "-c", served.node_file).returncode == 1
    assert first.poll() is None and served.is_ready()

    served.write_config(harness.config_for(served.bed, served.issuer))
    served.node_file.write_text(text + "plugins = bundled\n")
    reaper = reap(served)
    output = served.folder / "restarted"
    with open(output, "wb") as out, open(served.stderr_file, "ab") as err:
        served.process = subprocess.Popen(
            [str(served.program), "restart", "-c", str(served.node_file)],
            env=served._environment(), stdout=out, stderr=err)
    reaper.join(20)
    assert first.returncode == 0
    wait_until(served.is_ready, 30, "the restarted node")
    assert output.read_text() == "sallyport stopped\n"
    assert served.log_text().count("'plugins': is known from Kong") == 1
    assert served.get("/orders/2", served.mint("alice")).status == 200
    served.stop()
    # Kong's starts too when nothing runs.
    with open(served.stderr_file, "ab") as err:
        served.process = subprocess.Popen(
            [str(served.program), "restart", "-c", str(served.node_file)],
            env=served._environment(), stdout=err, stderr=err)
    wait_until(served.is_ready, 30, "the started node")


def test_prepare_makes_the_prefix_and_checks_what_a_start_needs(gateway):
    served = gateway(start=False)
    prefix = served.folder / "a/b/c"
    options = ["-c", str(served.node_file), "-p", str(prefix)]
    assert said(served.run("prepare", *options)) == (0, "", "")
    assert prefix.stat().st_mode & 0o777 == 0o700
    assert said(served.run("prepare", *options)) == (0, "", "")
    assert sorted(path.name for path in prefix.iterdir()) == []
    text = served.node_file.read_text()
    served.node_file.write_text(text.replace("declarative_config =", "# declarative_config ="))
    assert said(served.run("prepare", *options)) == (
        1, "", "error: there is nothing to serve: give a YAML file, or set declarative_config\n"
        "Error: 1 mistake in the configuration\n")
    served.node_file.write_text(text)
    blocked = served.folder / "blocked"
    blocked.write_text("")
    assert said(served.run("prepare", "-c", served.node_file, "-p", blocked / "x")) == (
        1, "", f"Error: the prefix {blocked}/x could not be made: Not a directory\n")
    served.write_config("nonsense: 1")
    got = served.run("prepare", *options)
    assert got.returncode == 1 and "unknown field 'nonsense'" in got.stderr


def test_start_runs_migrations_but_leaves_an_empty_database(
    store, gateway, bed, issuer  # noqa: F811
):
    served = gateway(node=node(store), start=False)
    start = ["start", "-c", str(served.node_file), "--run-migrations"]
    got = served.run(*start)
    assert got.returncode == 1 and "run 'sallyport migrations bootstrap'" in got.stderr
    assert_done(store.migrations("bootstrap"))
    feed(store, harness.config_for(bed, issuer))

    served.program = newer()
    got = subprocess.run([str(newer()), *start[:-1]], env=served._environment(),
                         capture_output=True, text=True, timeout=60)
    needs_up = got.returncode == 1
    with open(served.stderr_file, "ab") as err:
        served.process = subprocess.Popen(
            [str(newer()), *start, "--lock-timeout", "20", "--db-timeout", "20"],
            env=served._environment(), stdout=err, stderr=err)
    wait_until(served.is_ready, 30, "the newer node")
    assert needs_up, got.stderr
    [migrated] = [r for r in served.log() if r["event"] == "migrated"]
    assert migrated["migrations"] == 2
    listed = by_newer(store, "list")
    assert listed.returncode == 4 and "998_things" in listed.stdout


def test_a_whole_kong_conf_serves(bed, gateway):
    served = gateway(start=False)
    ours = dict(line.split(" = ", 1) for line in served.node_file.read_text().splitlines())
    del ours["log_format"], ours["workers"]
    prefix = ours.pop("prefix")
    conf = served.folder / "kong.conf"
    conf.write_text(kong_conf.whole(
        **ours | {"log_level": "info",
                  "proxy_listen": f"127.0.0.1:{served.proxy_port} http2 ssl reuseport",
                  "status_listen": f"127.0.0.1:{served.status_port} reuseport backlog=16384"}))
    with open(served.stderr_file, "ab") as err:
        served.process = subprocess.Popen(
            [str(served.program), "start", "-c", str(conf), "-p", prefix, "--kong-compat"],
            env=served._environment() | {"SALLYPORT_LOG_FORMAT": "json"}, stdout=err, stderr=err)
    wait_until(served.is_ready, 30, "the node")
    assert served.log_text().count("of Kong's settings have no effect here") == 1
    assert served.get("/orders/2", served.mint("alice")).status == 200
    assert said(command(served, "health")) == (0, f"sallyport is healthy at {prefix}\n", "")
    # What the node reads again, it reads as it was told to at its start.
    got = served.run("reload", "-c", conf, "-p", prefix, "--kong-compat")
    assert got.returncode == 0 and "changed, and in force" not in got.stdout, got
    loaded = lambda: [r for r in served.log() if r["event"] == "configuration_loaded"]  # noqa: E731
    wait_until(loaded, 20, "the reload")
    assert not [r for r in served.log() if r["event"] == "restart_needed"]
    assert not [r for r in served.log() if r["level"] in ("warn", "error")]
    assert served.get("/orders/2", served.mint("alice")).status == 200
