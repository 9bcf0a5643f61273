"""`sslrootcert: rds` stands for the file that the node names, and for no other."""

import shutil
import signal
import threading

import pytest

import harness
import served
from bed.ca import Authority
from bed.postgres import wait_until

SLOW = served.route(
    "slow",
    "select pg_catalog.pg_sleep(:seconds)::text as slept, pg_backend_pid() as pid",
    parameters={"seconds": {"type": "double precision", "from": "query"}},
    result="one",
)
RUNNING = (
    "select count(*) from pg_stat_activity where query like '%pg_sleep%'"
    " and usename = 'app' and state = 'active'"
)


def config_with_rds(bed, issuer):
    text = harness.config_for(bed, issuer)
    line = f"  sslrootcert: {bed.ca.file}\n"
    assert line in text
    return text.replace(line, "  sslrootcert: rds\n")


def test_rds_is_the_file_that_the_node_names(gateway, bed, issuer):
    one = gateway(config=config_with_rds(bed, issuer), node={"rds_ca_bundle": bed.ca.file})
    assert one.get("/orders/2", one.mint("alice")).status == 200


def test_without_the_file_nothing_is_served(gateway, bed, issuer):
    one = gateway(
        start=False,
        config=config_with_rds(bed, issuer),
        node={"rds_ca_bundle": bed.folder / "no-such-bundle.pem"},
    )
    one.launch()
    assert one.process.wait(60) == 1
    one.process = None
    said = "service shop: sslrootcert rds: the file of trusted certificates cannot be read"
    assert said in one.log_text()
    bundle = bed.folder / "no-such-bundle.pem"
    assert f"{said}: rds_ca_bundle = {bundle}\n" in one.log_text()


def test_a_service_with_a_reader_is_named_once(gateway, bed, issuer):
    text = config_with_rds(bed, issuer)
    line = "  sslrootcert: rds\n"
    one = gateway(
        start=False,
        config=text.replace(line, line + "  read: {port: 1}\n"),
        node={"rds_ca_bundle": bed.folder / "no-such-bundle.pem"},
    )
    one.launch()
    assert one.process.wait(60) == 1
    one.process = None
    assert one.log_text().count("service shop: sslrootcert rds: ") == 1


def reload(gateway):
    """Reloads, and waits until that is done."""

    def changes():
        return sum(record["kind"] == "config_change" for record in gateway.audit())

    before = changes()
    done = gateway.run("reload", "-c", gateway.node_file)
    assert done.returncode == 0, done
    wait_until(lambda: changes() > before, 20, "the reload")


@pytest.mark.parametrize("named", ["as rds", "by its path"])
def test_a_file_that_changed_under_its_name_counts_from_the_next_reload(
    gateway, bed, issuer, tmp_path, named
):
    """No call is dropped for it, and without a change no connection to the database is either."""
    bundle = tmp_path / "bundle.pem"
    shutil.copy(bed.ca.file, bundle)
    roots = "rds" if named == "as rds" else str(bundle)
    config = served.config(bed, issuer, [served.service(bed, [SLOW], sslrootcert=roots)])
    one = gateway(config=config, node={"rds_ca_bundle": bundle})
    token = one.mint("alice")

    def backend():
        answer = one.get("/slow?seconds=0", token)
        return answer.status, answer.json.get("pid")

    wait_until(lambda: any(r["event"] == "statements_prepared" for r in one.log()), 20, "preparing")
    first = backend()
    assert first[0] == 200
    reload(one)
    assert first[1] in [kept["pid"] for kept in served.backends(bed)], "the same connections"

    shutil.copy(Authority(tmp_path, "another authority").file, bundle)
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(one.get("/slow?seconds=1.5", token)), daemon=True
    )
    caller.start()
    wait_until(lambda: bed.superuser_sql(RUNNING).strip() == "1", 20, "the slow call")
    reload(one)
    assert one.get("/slow?seconds=0", token).status == 503, "the server is not trusted any more"
    caller.join(20)
    assert answers[0].status == 200

    shutil.copy(bed.ca.file, bundle)
    reload(one)
    assert wait_until(lambda: backend()[0] == 200, 20, "the recovery")

    bundle.unlink()
    one.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: any(r["event"] == "configuration_refused" for r in one.log()), 20, "the refusal"
    )
    assert backend()[0] == 200, "the configuration before goes on"
