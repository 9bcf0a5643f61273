"""Kong's commands where nothing runs: words, options and exit codes.  On a running node:
tests/wire/test_kong_commands.py."""
import contextlib
import fcntl
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import threading

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("SALLYPORT", os.path.join(ROOT, "build/src/cli/sallyport"))

F_OFD_SETLK = 37  # of Linux


def run(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("SALLYPORT_", "KONG_", "AWS_"))}
    got = subprocess.run([PROGRAM, *map(str, arguments)], env={**clean, **environment},
                         capture_output=True, text=True, check=False)
    return got.returncode, got.stdout, got.stderr


@pytest.fixture(name="conf")
def served_nothing(tmp_path):
    path = tmp_path / "kong.conf"
    path.write_text(f"prefix = {tmp_path}/prefix\ndeclarative_config = a.yaml\n")
    (tmp_path / "a.yaml").write_text('_format_version: "3.0"\n')
    return path


@pytest.mark.parametrize("command", ["health", "stop", "quit", "reload", "drain"])
def test_where_nothing_runs_every_command_says_so(conf, command, tmp_path):
    expected = (1, "", f"Error: sallyport is not running in {tmp_path}/prefix\n")
    assert run(command, "-c", conf) == expected
    assert run(command, "--conf", conf) == expected
    assert run(command, "-p", f"{tmp_path}/prefix/") == expected
    assert run(command, f"--prefix={tmp_path}/prefix") == expected
    assert run(command, KONG_PREFIX=f"{tmp_path}/prefix") == expected
    # The command line goes before the environment and the file.
    assert run(command, "-c", conf, "-p", "/elsewhere", KONG_PREFIX="/other") == (
        1, "", "Error: sallyport is not running in /elsewhere\n")
    code, out, err = run(command, "extra")
    assert (code, out) == (1, "") and err.startswith(f"usage: sallyport {command}")


def test_a_number_of_before_is_nobody_s(tmp_path):
    """A node that has claimed the prefix and not yet said who it is: the number is a stranger's."""
    with subprocess.Popen(["sleep", "60"]) as stranger, \
            open(tmp_path / "sallyport.pid", "w+", encoding="ascii") as pid:
        pid.write(f"{stranger.pid}\n")
        pid.flush()
        fcntl.fcntl(pid, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
        try:
            for command in ("stop", "quit", "health"):
                assert run(command, "-p", tmp_path) == (
                    1, "", f"Error: sallyport is not running in {tmp_path}\n")
            assert stranger.poll() is None
        finally:
            stranger.kill()


@contextlib.contextmanager
def running(prefix):
    """A process that holds the prefix as a node does."""
    holds = ("import fcntl, os, signal, struct\n"
             f"pid = open({str(prefix / 'sallyport.pid')!r}, 'w+')\n"
             "print(os.getpid(), file=pid, flush=True)\n"
             "fcntl.fcntl(pid, fcntl.F_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 1, 1, 0))\n"
             "print(flush=True)\nsignal.pause()\n")
    with subprocess.Popen(["/usr/bin/python3", "-c", holds], stdout=subprocess.PIPE) as node:
        try:
            node.stdout.readline()
            yield node
        finally:
            node.kill()


def test_only_who_holds_the_lock_is_signalled(tmp_path):
    """The number in the file is for people: anybody who may write there can write another's."""
    number = tmp_path / "sallyport.pid"
    with running(tmp_path) as node, subprocess.Popen(["sleep", "60"]) as stranger:
        odd = (f"Warning: {number} does not name the process that holds its lock, which is "
               f"{node.pid}; that one is meant\n")
        healthy = f"sallyport is healthy at {tmp_path}\n"
        try:
            assert run("health", "-p", tmp_path) == (0, healthy, "")
            for text in ("", "-1\n", f"{stranger.pid}\n"):
                number.write_text(text)
                assert run("health", "-p", tmp_path) == (0, healthy, odd)
            reaper = threading.Thread(target=node.wait)
            reaper.start()
            assert run("stop", "-p", tmp_path) == (0, "sallyport stopped\n", odd)
            reaper.join(20)
            assert node.returncode == -signal.SIGTERM and stranger.poll() is None
        finally:
            stranger.kill()


def on_a_full_disk(prefix, *words):
    """Where no byte can be written: Python has SIGXFSZ ignored, so that it is an error."""
    def no_bytes():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    got = subprocess.run([PROGRAM, *words, "-p", str(prefix)], capture_output=True, text=True,
                         check=False, preexec_fn=no_bytes, restore_signals=False)
    return got.returncode, got.stdout, got.stderr


def test_a_word_that_could_not_be_written_is_not_left(tmp_path):
    refused = (1, "", f"Error: {tmp_path}/sallyport.drain: File too large\n")
    with running(tmp_path) as node:
        assert on_a_full_disk(tmp_path, "drain") == refused
        assert os.listdir(tmp_path) == ["sallyport.pid"]
        # Nor is one of before taken back.
        assert run("drain", "-p", tmp_path)[0] == 0
        assert on_a_full_disk(tmp_path, "drain") == refused
        assert sorted(os.listdir(tmp_path)) == ["sallyport.drain", "sallyport.pid"]
        assert (tmp_path / "sallyport.drain").read_text() == "1\n"
        reaper = threading.Thread(target=node.wait)
        reaper.start()
        on_a_full_disk(tmp_path, "quit", "-t", "1")
        reaper.join(20)
        assert sorted(os.listdir(tmp_path)) == ["sallyport.drain", "sallyport.pid"]


NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_prefix_that_may_not_be_read_is_not_one_where_nothing_runs():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program, prefix = os.path.join(folder, "sallyport"), os.path.join(folder, "prefix")
        shutil.copy(PROGRAM, program)
        os.mkdir(prefix, 0o700)
        for command in ("health", "stop", "quit", "drain", "reload", "restart"):
            words = [program, command, "-p", prefix]
            if command in ("reload", "restart"):
                conf = os.path.join(folder, "a.conf")
                with open(conf, "w", encoding="ascii") as file:
                    file.write(f"prefix = {prefix}\ndeclarative_config = {folder}/a.yaml\n")
                with open(os.path.join(folder, "a.yaml"), "w", encoding="ascii") as file:
                    file.write('_format_version: "3.0"\n')
                words += ["-c", conf]
            got = subprocess.run(words, capture_output=True, text=True, check=False,
                                 cwd=folder, user=NOBODY, group=NOBODY, extra_groups=[],
                                 env={"PATH": os.environ["PATH"]})
            assert (got.returncode, got.stdout, got.stderr) == (
                1, "", f"Error: {prefix}/sallyport.pid: Permission denied\n"), command


def test_kong_s_default_prefix_is_where_a_container_looks():
    code, out, err = run("health", SALLYPORT_KONG_COMPAT="on", KONG_PROXY_LISTEN="off")
    assert (code, out, err) == (1, "", "Error: sallyport is not running in /usr/local/kong\n")
    # What its probe's own environment lacks is said, and it is looked for all the same.
    code, out, err = run("health", "--kong-compat")
    assert (code, out) == (1, "")
    assert err.endswith("Error: sallyport is not running in /usr/local/kong\n")


def test_quit_takes_kong_s_times_and_no_others(conf):
    assert run("quit", "-c", conf, "-t", "5", "-w", "0")[0] == 1
    for words in (["-t", "x"], ["--wait=-1"], ["--timeout=1e3"], ["-w"], ["-t", "86401"]):
        code, out, err = run("quit", "-c", conf, *words)
        assert (code, out) == (1, "") and "usage: sallyport quit" in err, words
    for command in ("stop", "health", "reload"):
        code, _, err = run(command, "-c", conf, "-t", "5")
        assert code == 1 and f"usage: sallyport {command}" in err


def test_check_takes_the_file_as_kong_s_does(conf):
    valid = (0, f"configuration at {conf} is valid\n", "")
    assert run("check", conf) == valid == run("check", "-c", conf)
    code, out, err = run("check", conf, "-c", conf)
    assert (code, out) == (1, "") and err.startswith("usage: sallyport check")
    conf.write_text("pg_port = x\nlog_level = y\n")
    assert run("check", conf) == (
        1, "", f"{conf}:1: error: 'pg_port': must be a port number, from 1 to 65535\n"
        f"{conf}:2: error: 'log_level': 'y' is not one of debug, info, notice, warn, error\n"
        "Error: 2 mistakes in the configuration\n")
    assert run("check", f"{conf}.not.there.conf") == (
        1, "", f"{conf}.not.there.conf: error: cannot be read: No such file or directory\n"
        "Error: 1 mistake in the configuration\n")


def test_verbose_says_which_file_was_read_and_debug_every_property(conf, tmp_path):
    first = (f"[verbose] reading config file at {conf}\n"
             f"[verbose] prefix in use: {tmp_path}/prefix\n")
    assert run("check", conf, "--v")[2] == first == run("check", conf, "-v")[2]
    conf.write_text(conf.read_text() + "pg_password = hunter2\n")
    for option in ("--vv", "-vv"):
        _, _, err = run("check", conf, option)
        assert err.startswith(first) and "hunter2" not in err
        assert f"[debug] prefix = {tmp_path}/prefix\n" in err
        assert "[debug] pg_password = ******\n" in err
    _, _, err = run("health", "--v", "-p", tmp_path)
    assert err.startswith("[verbose] no config file, skip loading\n") or os.path.exists(
        "/etc/sallyport/sallyport.conf")


def test_vault_get_takes_both_forms(conf, tmp_path):
    for reference in ("env/test", "{vault://env/test}", "env/TEST"):
        assert run("vault", "get", reference, TEST="hello") == (0, "hello\n", "")
        assert run("vault", "get", reference, "-c", conf, TEST="hello") == (0, "hello\n", "")
    assert run("vault", "get", "env/creds/user", CREDS='{"user": "alice"}') == (0, "alice\n", "")
    code, out, err = run("vault", "get", "env/not-there")
    assert (code, out) == (1, "") and err.startswith("Error: ")
    code, out, err = run("vault", "get")
    assert (code, out) == (1, "") and err.startswith("usage: sallyport vault get")
    conf.write_text("vault_env_prefix = MY_\n")
    assert run("vault", "get", "env/test", "-c", conf, "-p", tmp_path, MY_TEST="x") == (
        0, "x\n", "")


def test_version_and_all_that_belongs_to_it():
    code, out, err = run("version")
    assert (code, err) == (0, "") and re.fullmatch(r"sallyport \d+\.\d+\.\d+\n", out)
    code, every, err = run("version", "-a")
    assert (code, err) == (0, "")
    names = re.findall(r"^(\w+): \d+\.\d+\S*$", every, re.M)
    assert names == ["sallyport", "OpenSSL", "libcurl", "libpq", "libuv"]
    assert run("version", "--all")[1] == every
    assert run("version", "-x")[0] == 1


def test_what_is_not_there_is_an_error_with_exit_code_1(conf):
    for words in (["start", "-c", conf, "--nginx-conf", "x"], ["prepare", "--nginx-conf=x"],
                  ["hybrid", "gen_cert"], ["roar"], []):
        code, out, err = run(*words)
        assert (code, out) == (1, "") and "usage: sallyport" in err, words
    for command in ("start", "restart", "prepare", "drain"):
        code, out, err = run(command, "--help")
        assert (code, err) == (0, "") and out.startswith(f"usage: sallyport {command} [OPTION...]")
        assert "--kong-compat" in out and "--prefix" in out
