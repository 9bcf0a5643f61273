"""What the README's table says works today and no other test shows: each seen once."""

import threading

import served
from bed.postgres import wait_until

ORDER = served.route("order", "select id from sales.orders where id = :id", "/orders/{id}",
                     parameters={"id": {"type": "bigint", "from": "path"}}, result="one")
WHO = served.route("who", "select session_user as login, current_user as role", result="one")
SLOW = served.route("slow", "select pg_catalog.pg_sleep(1.5) is null as no", read_only=False)


def config(bed, issuer, routes, **service):
    return served.config(bed, issuer, [served.service(bed, routes, **service)])


def is_slow_running(bed):
    return any("pg_sleep" in b["query"] and b["state"] == "active" for b in served.backends(bed))


def test_reads_go_to_the_read_endpoint_and_writes_do_not(gateway, bed, issuer):
    bed.superuser_script("create role app_ro login noinherit; grant rds_iam to app_ro;"
                         "grant orders_reader, orders_writer to app_ro;")
    writes = served.route("writer", "select session_user as login", method="POST", result="one")
    read = {"url": f"postgres://app_ro@127.0.0.1:{bed.port}/{bed.database}",
            "iam_auth": {"region": bed.region, "hostname": bed.hostname}}
    try:
        one = gateway(config=config(bed, issuer, [WHO, writes], read=read))
        token = one.mint("bob")
        assert one.get("/who", token).json["login"] == "app_ro"
        assert one.post("/writer", token).json["login"] == "app"
        one.stop()
    finally:
        bed.superuser_sql("drop role app_ro")


def test_a_caller_too_fast_is_429_and_others_are_not(gateway, bed, issuer):
    one = gateway(config=config(bed, issuer, [{**WHO, "rate_limit": 1, "rate_burst": 2}]))
    alice, bob = one.mint("alice"), one.mint("bob")
    statuses = [one.get("/who", alice) for _ in range(4)]
    refused = [answer for answer in statuses if answer.status == 429]
    assert refused and all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert [answer.status for answer in statuses[:2]] == [200, 200]
    assert one.get("/who", bob).status == 200


def test_a_full_queue_is_503_with_retry_after(gateway, bed, issuer):
    pool = {"max_connections": 1, "max_waiting": 1}
    one = gateway(config=config(bed, issuer, [SLOW], pool=pool), node={"workers": 1})
    token = one.mint("alice")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(one.get("/slow", token)))
               for _ in range(2)]
    # What is prepared in the background at the start takes its place in the queue, too.
    wait_until(lambda: "statements_prepared" in one.log_text(), 20, "the prepared statements")
    threads[0].start()
    wait_until(lambda: is_slow_running(bed), 20, "the slow call")
    threads[1].start()
    waiting = 'sallyport_pool_waiting{service="shop"} 1'
    wait_until(lambda: waiting in one.status("/metrics").body.decode(), 20, "a call that waits")
    refused = one.get("/slow", token)
    assert refused.status == 503 and int(refused.headers["retry-after"]) >= 1
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200, 200]


def test_a_reload_keeps_connections_and_calls_and_refuses_a_bad_file(gateway, bed, issuer):
    one = gateway(config=config(bed, issuer, [ORDER, SLOW]))
    token = one.mint("alice")
    kept = one.connect()
    assert one.get("/orders/2", token, connection=kept).status == 200
    assert one.get("/who", token, connection=kept).status == 404
    answers = []
    slow = threading.Thread(target=lambda: answers.append(one.get("/slow", token)))
    slow.start()
    wait_until(lambda: is_slow_running(bed), 20, "the slow call")

    one.write_config(config(bed, issuer, [ORDER, SLOW, WHO]))
    assert one.run("reload", "-c", one.node_file).returncode == 0
    wait_until(lambda: one.get("/who", token, connection=kept).status == 200, 20, "the new route")
    slow.join()
    assert answers[0].status == 200

    one.write_config(config(bed, issuer, [ORDER]).replace("select id", "selct id"))
    said = one.run("reload", "-c", one.node_file)
    assert said.returncode == 1 and 'syntax error at or near "selct"' in said.stderr
    one.process.send_signal(1)  # SIGHUP, past the command's own check
    wait_until(lambda: [r["applied"] for r in one.audit() if r["kind"] == "config_change"]
               == [True, True, False], 20, "the refusal")
    assert one.get("/who", token, connection=kept).status == 200
    kept.close()
