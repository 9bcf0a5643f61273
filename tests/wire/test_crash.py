"""kill -9 under load: what was answered stands in the audit, and the next start works at once."""

import asyncio
import json
import random

from raw_http import AsyncConnection, json_request, request

ROUNDS = 8
CLIENTS = 12


async def client(gateway, number, answered, enough):
    """Calls without a pause until the gateway is gone; keeps what it saw answered in full."""
    chance = random.Random(number)
    token = gateway.mint("bob", sub=f"crash-{number}")
    try:
        connection = await AsyncConnection.open(gateway)
        while True:
            if chance.random() < 0.3:
                data = json_request(
                    "POST", "/orders", token, {"customer": f"crash-{number}", "total": "1"}
                )
            else:
                data = request("GET", f"/orders?limit={chance.randrange(1, 50)}", token)
            connection.send(data * chance.choice([1, 1, 3]))
            answer = await connection.answer()
            if answer is None:
                return
            answered.append((f"crash-{number}", answer))
            if len(answered) >= enough[0]:
                enough[1].set()
    except OSError:
        return


async def load_until_killed(gateway, count):
    """Kills the gateway in the middle of the load, once `count` calls were answered."""
    answered = []
    enough = (count, asyncio.Event())
    clients = [
        asyncio.create_task(client(gateway, number, answered, enough))
        for number in range(CLIENTS)
    ]
    await asyncio.wait_for(enough[1].wait(), 30)
    gateway.kill()
    await asyncio.wait_for(asyncio.gather(*clients), 30)
    return answered


def check_answers(gateway, answered):
    by_request = {}
    for record in gateway.audit():
        by_request.setdefault(record.get("request_id"), []).append(record)
    for subject, answer in answered:
        records = by_request[answer.request_id]
        assert [record["kind"] for record in records] == ["intent", "outcome"], records
        assert records[0]["subject"] == subject, records
        assert records[1]["status"] == answer.status, records


def test_after_kill_9_under_load_every_answered_call_has_both_events(gateway):
    chance = random.Random(9)
    served = gateway()
    total = torn = 0
    for number in range(ROUNDS):
        answered = asyncio.run(load_until_killed(served, chance.randrange(20, 200)))
        total += len(answered)
        assert {answer.status for _, answer in answered} == {200}
        check_answers(served, answered)
        verified = served.run("audit", "verify", "--dir", served.audit_folder)
        # The kill may hit the middle of a write; verify names that line, and nothing else.
        bad = [line for line in verified.stdout.splitlines() if line.startswith("BAD")]
        assert all("[torn_line]" in line for line in bad), verified.stdout
        assert verified.returncode == (1 if bad else 0), verified.stdout
        torn += len(bad)
        served.start()
    assert total > ROUNDS * 20
    # A clean end leaves nothing to note about the last run; the killed ones stay noted.
    assert served.get("/orders/1", served.mint("bob")).status == 200
    served.stop()
    verified = served.run("audit", "verify", "--dir", served.audit_folder)
    assert verified.stdout.count("BAD") == torn, verified.stdout
    assert "stand after the last anchor of their run" in verified.stdout
    assert len({record["boot"] for record in served.audit()}) == ROUNDS + 1


def test_after_a_kill_verify_still_names_a_torn_line_and_every_change(gateway):
    served = gateway()
    asyncio.run(load_until_killed(served, 50))
    verify = ("audit", "verify", "--dir", served.audit_folder)
    assert served.run(*verify).returncode == 0
    file = max(served.audit_folder.glob("*-w1-*.jsonl"), key=lambda path: path.stat().st_size)
    whole = file.read_bytes()
    lines = whole.split(b"\n")
    record = json.loads(lines[2])
    changed = lines[2].replace(record["kind"].encode(), b"intend")
    for damaged in (
        [*lines[:-1], b'{"time":"2026-'],
        [*lines[:2], changed, *lines[3:]],
        [*lines[:2], *lines[3:]],
        [*lines[:2], lines[3], lines[2], *lines[4:]],
    ):
        file.write_bytes(b"\n".join(damaged))
        found = served.run(*verify)
        assert found.returncode == 1, found.stdout
        assert file.name in found.stdout
    file.write_bytes(whole)
    assert served.run(*verify).returncode == 0
