"""What /status/ready tells a load balancer: 503 when nothing could be answered, 200 otherwise."""

import json
import signal
import threading

import served
from bed.postgres import free_port, wait_until

SLOW = served.route(
    "slow",
    "select pg_catalog.pg_sleep(:seconds)::text as slept",
    parameters={"seconds": {"type": "double precision", "from": "query"}},
    result="one",
)
RUNNING = (
    "select count(*) from pg_stat_activity where query like '%pg_sleep%'"
    " and usename = 'app' and state = 'active'"
)


def with_issuers(bed, issuer, *issuers):
    config = json.loads(served.config(bed, issuer, [served.service(bed, [SLOW])]))
    first = config["issuers"][0]
    config["issuers"] = [{**first, "name": name, "issuer": url} for name, url in issuers]
    return json.dumps(config)


def nowhere():
    return f"https://127.0.0.1:{free_port()}"


def answering(gateway):
    """The status server's answer of a gateway that need not be ready."""

    def try_it():
        assert gateway.process.poll() is None, gateway.log_text()
        try:
            return gateway.status("/status/ready")
        except OSError:
            return None

    return wait_until(try_it, 30, "the status server")


def test_a_node_whose_only_issuer_never_gave_keys_is_not_ready(bed, issuer, gateway):
    lonely = gateway(start=False, config=with_issuers(bed, issuer, ("dev", nowhere())))
    lonely.launch()
    answer = answering(lonely)
    assert answer.status == 503
    assert answer.json["ready"] is False and answer.json["degraded"] is False
    assert [(m["reason"], m["name"]) for m in answer.json["missing"]] == [("issuer_keys", "dev")]
    assert lonely.status("/status/live").status == 200


def test_one_issuer_without_keys_beside_another_is_a_warning(bed, issuer, gateway):
    config = with_issuers(bed, issuer, ("dev", issuer.issuer), ("away", nowhere()))
    served_by = gateway(config=config)
    answer = served_by.status("/status/ready")
    assert answer.status == 200 and answer.json["missing"] == []
    assert answer.json["degraded"] is True
    assert [(w["reason"], w["name"]) for w in answer.json["warnings"]] == [("issuer_keys", "away")]
    assert served_by.get("/slow?seconds=0", served_by.mint("alice")).status == 200


def test_a_draining_node_is_not_ready_while_its_last_call_runs(bed, issuer, gateway):
    ending = gateway(config=with_issuers(bed, issuer, ("dev", issuer.issuer)))
    token = ending.mint("alice")
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(ending.get("/slow?seconds=1.5", token)), daemon=True
    )
    caller.start()
    wait_until(lambda: bed.superuser_sql(RUNNING).strip() == "1", 20, "the slow call")
    ending.process.send_signal(signal.SIGQUIT)

    def draining():
        answer = ending.status("/status/ready")
        return answer if answer.status == 503 else None

    answer = wait_until(draining, 10, "503 of a draining node")
    assert [m["reason"] for m in answer.json["missing"]] == ["draining"]
    caller.join(20)
    assert answers[0].status == 200


def test_a_stop_that_overtakes_a_quit_ends_cleanly(bed, issuer, gateway):
    config = with_issuers(bed, issuer, ("dev", issuer.issuer))
    for _ in range(3):
        ending = gateway(config=config)
        ending.process.send_signal(signal.SIGQUIT)
        wait_until(lambda one=ending: '"stopping"' in one.log_text(), 10, "the quit")
        ending.stop()
