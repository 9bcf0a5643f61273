"""`sallyport config show`: every property, its value, and whence it comes."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("SALLYPORT", os.path.join(ROOT, "build/src/cli/sallyport"))


def show(conf, *more, **environment):
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(("SALLYPORT_", "KONG_"))}
    return subprocess.run([PROGRAM, "config", "show", "-c", str(conf), *more],
                          env={**clean, **environment}, capture_output=True, text=True,
                          check=False)


def properties(text):
    """name -> (value, origin)"""
    lines = [re.fullmatch(r"(\w+) = (.*?) +# (.*)", line) for line in text.splitlines()]
    assert all(lines)
    return {line[1]: (line[2], line[3]) for line in lines}


def test_each_value_comes_with_its_place(tmp_path):
    conf = tmp_path / "sallyport.conf"
    conf.write_text("# the node\nprefix = run\nlog_level = warn\nallow_plaintext = on\n"
                    "proxy_listen = 127.0.0.1:1, [::1]:2\nnode_name = a\\#b\n")
    got = show(conf, SALLYPORT_LOG_LEVEL="debug", KONG_LOG_LEVEL="info", KONG_PREFIX="/k",
               SALLYPORT_AUDIT_ROTATE_BYTES="1m")
    assert got.returncode == 0 and got.stderr == ""
    said = properties(got.stdout)
    assert said["log_level"] == ("debug", "SALLYPORT_LOG_LEVEL in the environment")
    assert said["prefix"] == ("/k", "KONG_PREFIX in the environment")
    assert said["allow_plaintext"] == ("on", f"{conf}:4")
    assert said["proxy_listen"] == ("127.0.0.1:1, [::1]:2", f"{conf}:5")
    assert said["node_name"] == ("a\\#b", f"{conf}:6")
    assert said["audit_rotate_bytes"] == ("1048576", "SALLYPORT_AUDIT_ROTATE_BYTES in the "
                                                     "environment")
    assert said["audit_directory"] == ("/k/audit", "default")
    assert said["status_listen"] == ("127.0.0.1:8007", "default")
    assert said["ssl_cert"] == ("", "default")


def test_the_store_s_properties_tell_what_they_inherit_and_what_iam_raises(tmp_path):
    conf = tmp_path / "kong.conf"
    conf.write_text("pg_user = sallyport\npg_password = hunter2\npg_ro_host = ro.example.com\n"
                    "pg_ro_port = 6432\n")
    got = show(conf, KONG_PG_RO_IAM_AUTH="on", SALLYPORT_PG_RO_PASSWORD="other")
    assert got.returncode == 0 and "hunter2" not in got.stdout and "other" not in got.stdout
    assert got.stderr == (
        "warning: SALLYPORT_PG_RO_PASSWORD in the environment: is ignored with pg_ro_iam_auth = on:"
        " a token takes its place; remove it\n")
    said = properties(got.stdout)
    assert said["pg_password"] == ("******", f"{conf}:2")
    assert said["pg_ro_password"] == ("", "SALLYPORT_PG_RO_PASSWORD in the environment")
    assert said["pg_iam_auth"] == ("off", "default")
    assert said["pg_ro_iam_auth"] == ("on", "KONG_PG_RO_IAM_AUTH in the environment")
    assert said["pg_ssl"] == ("off", "default")
    assert said["pg_ro_ssl"] == ("on", "from pg_ro_iam_auth")
    assert said["pg_ro_user"] == ("sallyport", "from pg_user")
    assert said["pg_ro_port"] == ("6432", f"{conf}:4")
    assert said["pg_ro_iam_auth_role_session_name"] == ("KongPostgres", "default")
    assert said["pg_pool_size"] == ("", "default")


def test_the_vaults_of_the_node_are_kongs(tmp_path):
    conf = tmp_path / "sallyport.conf"
    conf.write_text("vault_aws_region = eu-west-1\nvault_aws_ttl = 300\nvault_env_prefix = X_\n"
                    "vault_aws_decode_base64 = on\n")
    got = show(conf, KONG_VAULT_AWS_REGION="eu-west-2", SALLYPORT_VAULT_AWS_TTL="600",
               KONG_VAULT_AWS_ENDPOINT_URL="https://sm.example")
    assert got.returncode == 0 and got.stderr == ""
    said = properties(got.stdout)
    assert said["vault_aws_region"] == ("eu-west-2", "KONG_VAULT_AWS_REGION in the environment")
    assert said["vault_aws_ttl"] == ("600", "SALLYPORT_VAULT_AWS_TTL in the environment")
    assert said["vault_aws_endpoint_url"] == ("https://sm.example", "KONG_VAULT_AWS_ENDPOINT_URL "
                                                                    "in the environment")
    assert said["vault_aws_decode_base64"] == ("on", f"{conf}:4")
    assert said["vault_env_prefix"] == ("X_", f"{conf}:3")
    assert said["vault_aws_role_session_name"] == ("KongVault", "default")
    assert said["vault_aws_resurrect_ttl"] == ("100000000", "default")
    assert said["vault_aws_neg_ttl"] == ("0", "default")


def test_a_reference_is_shown_as_written_never_what_it_stands_for(tmp_path):
    secret = tmp_path / "name"
    secret.write_text("a-secret-name\n")
    secret.chmod(0o600)
    conf = tmp_path / "sallyport.conf"
    by_file = "{vault://file/" + str(secret).replace("/", "%2F") + "}"
    conf.write_text(f"node_name = {by_file}\npg_password = {{vault://env/PW}}\n"
                    "pg_user = {vault://aws/db/username}\n")
    got = show(conf, PW="hunter2")
    assert got.returncode == 0
    assert got.stderr == (
        f"{conf}:3: warning: 'pg_user': the secret of AWS was not read; "
        "check --secrets reads it\n"
    )
    assert "a-secret-name" not in got.stdout and "hunter2" not in got.stdout
    said = properties(got.stdout)
    assert said["node_name"] == (by_file, f"{conf}:1")
    assert said["pg_password"] == ("{vault://env/PW}", f"{conf}:2")


def test_what_it_prints_is_a_configuration_that_says_the_same(tmp_path):
    conf = tmp_path / "sallyport.conf"
    conf.write_text("prefix = run\nnode_name = a\\#b # a comment\nworkers = 3\n")
    first = show(conf)
    again = tmp_path / "again.conf"
    again.write_text(first.stdout)
    second = show(again)
    assert second.returncode == 0 and second.stderr == ""
    assert {name: value for name, (value, _) in properties(second.stdout).items()} == \
        {name: value for name, (value, _) in properties(first.stdout).items()}


def test_a_broken_file_shows_its_mistakes_and_no_values(tmp_path):
    conf = tmp_path / "sallyport.conf"
    conf.write_text("workers = many\n")
    got = show(conf)
    assert got.returncode == 1 and got.stdout == "" and f"{conf}:1:" in got.stderr
    assert show(conf, "more").returncode == 1
