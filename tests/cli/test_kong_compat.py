"""A whole kong.conf: what loads, what is told of it, and what stays an error."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import kong_conf  # noqa: E402

PROGRAM = os.environ.get("SALLYPORT", os.path.join(ROOT, "build/src/cli/sallyport"))
PLAIN = (
    "0.0.0.0:8000 is not loopback and has no TLS, so tokens would cross the network in clear; write"
    " '{0}0.0.0.0:8000 ssl, 0.0.0.0:8443 ssl' (with ssl_cert and ssl_cert_key), or '{0}127.0.0.1:"
    "8000, 0.0.0.0:8443 ssl', or, where something in front ends TLS, '{1}'\n")
CERTIFICATES = "".join(
    f"error: '{name}': is needed by an address with ssl: unlike Kong, sallyport makes no "
    "certificate of its own\n" for name in ("ssl_cert", "ssl_cert_key"))


def run(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("SALLYPORT_", "KONG_", "AWS_"))}
    return subprocess.run([PROGRAM, *map(str, arguments)], env={**clean, **environment},
                          capture_output=True, text=True, check=False)


def line_of(conf, name):
    lines = [line.split(" = ")[0] for line in conf.read_text().splitlines()]
    return lines.index(name) + 1


def idle(output):
    """[(place, name, group)] of what config show lists below the properties."""
    assert output.count("# without effect here:\n") == 1
    rows = output.split("# without effect here:\n")[1].splitlines()
    found = [re.fullmatch(r"# (.*?:\d+): (\w+): ([^:]+): .{10,}", row) for row in rows]
    assert all(found), rows
    return [(row[1], row[2], row[3]) for row in found]


def test_a_whole_kong_conf_lacks_only_what_would_be_dangerous(tmp_path):
    conf = tmp_path / "kong.conf"
    conf.write_text(kong_conf.whole())
    got = run("check", "--kong-compat", conf)
    shown = run("config", "show", "--kong-compat", "-c", conf)
    assert shown.returncode == 1 and "prefix = " not in shown.stdout
    count = len(idle(shown.stdout))
    assert count > 200
    warning = f"{conf}: warning: {count} of Kong's settings have no effect here ("
    lines = got.stderr.splitlines(keepends=True)
    assert got.returncode == 1 and got.stdout == ""
    assert "".join(lines[:3]) == (
        f"{conf}:{line_of(conf, 'proxy_listen')}: error: 'proxy_listen': "
        + PLAIN.format("proxy_listen = ", "allow_plaintext = on") + CERTIFICATES)
    assert lines[3].startswith(warning) and lines[3].endswith(
        "; 'sallyport config show --kong-compat' lists them\n") and len(lines[3]) < 700
    assert lines[4:] == ["Error: 3 mistakes in the configuration\n"]
    # A file with Kong's defaults written out means what an empty one does.
    conf.write_text("")
    empty = run("check", "--kong-compat", conf)
    assert empty.returncode == 1
    assert empty.stderr == (
        "error: 'proxy_listen', Kong's default: "
        + PLAIN.format("proxy_listen = ", "allow_plaintext = on") + CERTIFICATES
        + "Error: 3 mistakes in the configuration\n")


def test_with_the_line_that_the_message_gives_it_loads_and_tells_what_is_idle(tmp_path):
    conf = tmp_path / "kong.conf"
    (tmp_path / "door.crt").write_text("")
    (tmp_path / "door.key").write_text("")
    conf.write_text(kong_conf.whole(
        proxy_listen="127.0.0.1:8000, 0.0.0.0:8443 ssl", ssl_cert="door.crt",
        ssl_cert_key="door.key", prefix=tmp_path))
    got = run("config", "show", "--kong-compat", "-c", conf)
    assert got.returncode == 0 and got.stderr.count("\n") == 1, got.stderr
    counts = dict(re.findall(r"([A-Za-z][A-Za-z ]*) (\d+)[,)]", got.stderr.split("here (")[1]))
    rows = idle(got.stdout)
    assert sum(map(int, counts.values())) == len(rows) > 200
    for group, count in counts.items():
        assert [row[2] for row in rows].count(group) == int(count), group
    for place, name, _ in rows:
        assert place == f"{conf}:{line_of(conf, name)}"
    names = {name for _, name, _ in rows}
    properties = dict(re.findall(r"^(\w+) = (.*?) +# ", got.stdout, re.M))
    for name, value in kong_conf.DEFAULTS.items():
        assert (name in names) + (name in properties) == 1 or value == "" or name in (
            "status_listen", "pg_ssl_required"), name
    assert properties["prefix"] == str(tmp_path) and properties["database"] == "postgres"
    assert properties["kong_compat"] == "on" and properties["log_level"] == "notice"
    # What it prints is a configuration that says the same, in Kong's form too.
    again = tmp_path / "again.conf"
    again.write_text(got.stdout)
    second = run("config", "show", "-c", again)
    assert second.returncode == 0
    assert second.stderr == (
        f"{again}: warning: 2 of Kong's settings have no effect here (database connections 1, files"
        " 1); 'sallyport config show --kong-compat' lists them\n")
    assert dict(re.findall(r"^(\w+) = (.*?) +# ", second.stdout, re.M)) == properties


def test_without_the_switch_it_stays_an_error(tmp_path):
    conf = tmp_path / "kong.conf"
    conf.write_text("proxy_listen = 127.0.0.1:8000 reuseport\nquux = 1\nnginx_user = kong kong\n")
    got = run("config", "show", "-c", conf)
    assert got.returncode == 1
    assert got.stderr == (
        f"{conf}:1: error: 'proxy_listen': 'reuseport' is not a flag of an address; 'ssl' is the "
        "only one\n"
        f"{conf}:2: error: 'quux': there is no such property\n"
        f"{conf}:3: warning: 'nginx_user': is known from Kong, but not supported yet by this "
        "version; it has no effect\nError: the configuration has mistakes\n")


def test_a_container_s_environment_is_enough(tmp_path):
    environment = {
        "KONG_PREFIX": str(tmp_path), "KONG_DATABASE": "off", "KONG_ADMIN_LISTEN": "127.0.0.1:8001",
        "KONG_PROXY_LISTEN": "0.0.0.0:8000 reuseport, 0.0.0.0:8443 http2 ssl",
        "KONG_NGINX_WORKER_PROCESSES": "2", "KONG_PORT_8000_TCP": "tcp://10.0.0.1:8000"}
    got = run("config", "show", **environment, SALLYPORT_KONG_COMPAT="on")
    assert got.returncode == 1
    assert got.stderr.splitlines()[0] == (
        "error: KONG_PROXY_LISTEN in the environment: " + PLAIN.format(
            "KONG_PROXY_LISTEN=", "SALLYPORT_ALLOW_PLAINTEXT=on").rstrip())
    got = run("config", "show", **environment, SALLYPORT_KONG_COMPAT="on",
              SALLYPORT_PROXY_LISTEN="127.0.0.1:8000")
    assert got.returncode == 0, got.stderr
    assert got.stderr == (
        "warning: 4 of Kong's settings have no effect here (Admin API and Kong Manager 1, addresses"
        " 1, nginx 1, unknown names 1); 'sallyport config show --kong-compat' lists them\n")
    assert "\n# KONG_ADMIN_LISTEN: Admin API and Kong Manager: there is no Adm" in got.stdout
    assert "\n# KONG_PORT_8000_TCP: unknown names: there is no such property\n" in got.stdout
    assert f"prefix = {tmp_path} " in got.stdout


def test_a_slip_is_told_by_itself_and_the_rest_counted(tmp_path):
    conf = tmp_path / "kong.conf"
    conf.write_text("kong_compat = on\nproxy_listen = off\npg_iam_aut = on\nmine = 1\n"
                    "admin_gui_header_bg_color = #ff0000\n")
    got = run("config", "show", "-c", conf)
    assert got.returncode == 0
    assert got.stderr == (
        f"{conf}:3: warning: 'pg_iam_aut': there is no such property; did you mean 'pg_iam_auth'?\n"
        f"{conf}: warning: 1 of Kong's settings have no effect here (unknown names 1); 'sallyport "
        "config show --kong-compat' lists them\n")
    assert "= postgres                                             # Kong's default\n" in got.stdout


def test_every_command_with_a_configuration_takes_it(tmp_path):
    conf = tmp_path / "kong.conf"
    conf.write_text("proxy_listen = off\nlog_level = crit\nmem_cache_size = 128m\n"
                    f"prefix = {tmp_path}\ndatabase = off\ndeclarative_config = a.yaml\n")
    (tmp_path / "a.yaml").write_text('_format_version: "3.0"\n')
    for words, code in ((["check"], 0), (["prepare"], 0), (["config", "show"], 0),
                        (["vault", "get", "env/HOME"], 0), (["health"], 1), (["stop"], 1),
                        (["quit"], 1), (["drain"], 1), (["reload"], 1),
                        (["setup", "shop", "--sql"], 1), (["rotate", "x", "--dry-run"], 1),
                        (["audit", "verify"], 1),
                        (["migrations", "list", "--db-timeout=1"], 1),
                        (["config", "db_export", "-"], 1)):
        got = run(*words, "-c", conf, "--kong-compat", KONG_PG_PORT="1")
        assert got.returncode == code, (words, got)
        assert "log_level" not in got.stderr, (words, got)
        # Without the switch the file's log level is a mistake.
        bad = run(*words, "-c", conf, KONG_PG_PORT="1")
        assert "'log_level': 'crit' is not one of" in bad.stderr, (words, bad)
