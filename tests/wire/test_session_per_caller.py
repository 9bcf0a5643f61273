"""Every caller logs in by an IAM session of its own: on the data path nothing of one session ever
serves another's call.

Who really logged in is PostgreSQL's to say: its PAM module writes the access key id of each backend
that it let in, and the double of STS knows whose session it gave that key to.
"""

import asyncio
import os
import re
import signal
import subprocess
import threading

import harness
import pytest

from bed.postgres import AccessKey, wait_until
from doubles.aws import Sts
from raw_http import AsyncConnection, request
from test_markers import CONFIG, TABLES, Caller, Killer

ROLE = "arn:aws:iam::123456789012:role/shop"
IAM = "iam_auth: {region: @region@, hostname: @hostname@"
POOL = "pool: {max_connections: 4, shared_depth: 8, login_rate: 100, max_waiting: 200}"
SECONDS = 8
SUFFIX = r"-[a-z2-7]{26}"


class ChoosyRoles(Sts):
    """STS that refuses sessions of some names, as a trust policy on sts:RoleSessionName does."""

    def __init__(self, **options):
        super().__init__(**options)
        self.refused_names = set()
        self.asked = []

    def _assume(self, action, form, *more):
        if form["RoleSessionName"] in self.refused_names:
            return self._error(403, "AccessDenied", f"not authorized to perform sts:{action}")
        self.asked.append({**form, "Action": action})
        return super()._assume(action, form, *more)


@pytest.fixture
def sts(bed):
    before = list(bed.keys)
    lock = threading.Lock()

    def tell(session):
        key = AccessKey(session.access_key_id, session.secret_access_key, session.session_token)
        with lock:
            bed.set_keys([*bed.keys, key])

    double = ChoosyRoles(on_mint=tell)
    double.base = AccessKey.fresh()
    double.know(double.base.access_key_id, double.base.secret_access_key)
    yield double
    double.close()
    bed.set_keys(before)


def environment(sts):
    return {
        **sts.environment(),
        "AWS_ACCESS_KEY_ID": sts.base.access_key_id,
        "AWS_SECRET_ACCESS_KEY": sts.base.secret_access_key,
    }


@pytest.fixture
def shop(bed, issuer, gateway, sts):
    """Makes a gateway of the markers' routes, with this iam_auth, and connections at most."""
    bed.superuser_script("drop schema if exists marks cascade;" + TABLES)

    def make(iam='role_session_name: "{subject}"', connections=4, pool="", config=CONFIG):
        config = config.replace(IAM, f'{IAM}, assume_role_arn: "{ROLE}", {iam}')
        config = config.replace(
            POOL, POOL.replace("max_connections: 4", f"max_connections: {connections}{pool}")
        )
        return gateway(
            config=harness.config_for(bed, issuer, config), environment=environment(sts)
        )

    yield make
    bed.superuser_script("drop schema marks cascade")


def logged_in(bed):
    """{backend pid: access key id}, by PostgreSQL."""
    line = re.compile(r"pam_rds_iam\[(\d+)\]: accepted user=app access_key_id=(\w+)")
    return {int(pid): key for pid, key in line.findall("\n".join(bed.log_lines("accepted")))}


def names_of(sts):
    """{access key id: session name}, by STS."""
    return {s.access_key_id: s.arn.rsplit("/", 1)[1] for s in sts.minted}


def calls(records):
    """(intent, outcome) of each call."""
    intents = {r["request_id"]: r for r in records if r["kind"] == "intent"}
    return [(intents[r["request_id"]], r) for r in records if r["kind"] == "outcome"
            and r["request_id"] in intents]


def check_whose(bed, sts, gateway, name_of=lambda subject: subject):
    """Every call that reached a backend reached one of its own caller's session; how many did."""
    keys, names, checked = logged_in(bed), names_of(sts), 0
    for intent, outcome in calls(gateway.audit()):
        pid = outcome.get("backend_pid")
        if not pid:
            continue
        assert names[keys[pid]] == name_of(intent["subject"]), (intent, outcome)
        assert outcome["access_key_id"] == keys[pid]
        checked += 1
    return checked


def check_login_events(bed, sts, gateway):
    """Each login event closes the gap between CloudTrail and the database's log."""
    keys = logged_in(bed)
    arns = {session.access_key_id: session.arn for session in sts.minted}
    events = [r for r in gateway.audit() if r["kind"] == "login"]
    assert events
    for event in events:
        assert event["database_user"] == "app"
        assert event["access_key_id"] == keys[event["backend_pid"]]
        assert event["iam_arn"] == arns[event["access_key_id"]]
    return events


class Budget(threading.Thread):
    """Looks all the time at how many connections the gateway says it has."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway = gateway
        self.most = 0
        self.ended = threading.Event()

    def run(self):
        line = re.compile(r'^sallyport_pool_connections\{[^}]*state="(\w+)"\} (\d+)', re.M)
        while not self.ended.wait(0.02):
            text = self.gateway.status("/metrics").body.decode()
            self.most = max(self.most, sum(int(n) for _, n in line.findall(text)))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


async def call_all(bed, gateway, count):
    tally = {}
    callers = [Caller(number, gateway, tally) for number in range(count)]
    await asyncio.gather(*(caller.read_calmly(5) for caller in callers[:8]))
    with Killer(bed) as killer:
        until = asyncio.get_running_loop().time() + SECONDS
        await asyncio.gather(*(caller.run(until) for caller in callers))
    return callers, tally, killer.killed


@pytest.mark.threads
def test_no_call_ever_runs_on_anothers_session(bed, sts, shop):
    one = shop()
    with Budget(one) as budget:
        callers, tally, killed = asyncio.run(call_all(bed, one, 24))
    print(tally, "killed", killed, "logins", len(logged_in(bed)))
    for kind in ("read", "write", "large", "heavy", "slow"):
        assert tally.get((kind, 200), 0) > 0, tally
    assert killed > 5 and tally["left"] > 20, tally
    assert 0 < budget.most <= 4
    one.stop()
    assert check_whose(bed, sts, one) > 60
    events = check_login_events(bed, sts, one)
    assert {event["iam_arn"].rsplit("/", 1)[1] for event in events} == {c.mark for c in callers}
    # A session for each caller, not one for each login.
    assert sorted(form["RoleSessionName"] for form in sts.asked) == sorted(
        caller.mark for caller in callers
    )
    assert len(events) > len(callers)
    assert all(form["SourceIdentity"] == form["RoleSessionName"] for form in sts.asked)
    for caller in callers:  # no starvation
        assert any(status == 200 for _, status, _ in caller.answered), caller.mark


async def _take_turns(gateway, count, rounds):
    async def caller(number):
        connection = await AsyncConnection.open(gateway)
        token = gateway.mint("alice", sub=f"turn-{number:02d}")
        for _ in range(rounds):
            connection.send(request("GET", f"/read/{number}", token))
            answer = await asyncio.wait_for(connection.answer(), 30)
            assert answer.status == 200, answer
            assert answer.json["mark"] == f"turn-{number:02d}"
        connection.vanish()

    await asyncio.gather(*(caller(number) for number in range(count)))


def test_a_pool_of_one_serves_every_caller_in_its_turn(bed, sts, shop):
    one = shop(connections=1)
    asyncio.run(_take_turns(one, 12, 4))
    one.stop()
    assert check_whose(bed, sts, one) == 48
    assert len(sts.asked) == 12
    # Nobody waited while others had many turns: between two of a caller's calls no other has more
    # than a few.
    order = [intent["subject"] for intent, outcome in sorted(
        calls(one.audit()), key=lambda pair: pair[1]["time"])]
    first_of = {subject: order.index(subject) for subject in set(order)}
    assert max(first_of.values()) < 36, order


def test_one_callers_denial_is_nobody_elses(bed, sts, shop):
    one = shop(connections=2)
    sts.refused_names.add("eve")
    alice, eve = one.mint("alice", sub="ann"), one.mint("alice", sub="eve")
    assert one.get("/read/1", alice).status == 200
    denied = one.get("/read/1", eve)
    assert (denied.status, denied.headers["content-type"]) == (403, "application/problem+json")
    assert denied.json["type"].endswith("session_denied")
    assert b"sts" not in denied.body and b"AccessDenied" not in denied.body
    assert one.get("/read/1", alice).status == 200
    assert len(check_login_events(bed, sts, one)) == 1  # eve took nobody's connection
    failure = next(r for r in one.audit() if r["kind"] == "login_failure")
    assert "AccessDenied" in failure["detail"], failure
    intent = next(r for r in one.audit(denied.request_id) if r["kind"] == "intent")
    outcome = next(r for r in one.audit(denied.request_id) if r["kind"] == "outcome")
    assert (intent["subject"], outcome["reason"]) == ("eve", "session_denied")
    told = subprocess.run(
        [harness.binary(), "audit", "explain", "--dir", one.audit_folder, denied.request_id],
        capture_output=True, text=True, timeout=60,
    )
    assert re.search(
        r"\n  login      none was had; the last to marks that failed: \S+, aws_session_refused, "
        r"STS, role \S+: status 403 AccessDenied: ", told.stdout
    ), told.stdout
    shown = one.status("/status").json
    assert [(s["reachable"], s["last_error"]) for s in shown["services"]] == [(True, None)]
    assert [f["per_caller"] for f in shown["aws_sessions"]["failing"]] == [True]
    ready = one.status("/status/ready")
    assert (ready.status, ready.json["warnings"], ready.json["degraded"]) == (200, [], False)
    sts.refused_names.clear()
    wait_until(lambda: one.get("/read/1", eve).status == 200, 60, "the session once it is allowed")


def test_when_sts_refuses_the_gateway_no_caller_is_denied(bed, sts, shop):
    one = shop(connections=2)
    ann, ben = one.mint("alice", sub="ann"), one.mint("alice", sub="ben")
    assert one.get("/read/1", ann).status == 200
    known = dict(sts.known)
    sts.known.clear()
    refused = one.get("/read/1", ben)
    assert refused.status == 503 and refused.json["type"].endswith("session_unavailable")
    failure = next(r for r in one.audit() if r["kind"] == "login_failure")
    assert failure["reason"] == "aws_session_signer_refused"
    assert "InvalidClientTokenId" in failure["detail"]
    assert one.get("/read/1", ann).status == 200
    sts.known.update(known)
    wait_until(lambda: one.get("/read/1", ben).status == 200, 60, "the session of ben")


def test_names_are_cleaned_but_never_shared(bed, sts, shop):
    one = shop(iam='role_session_name: "{subject}", tags: {team: "{role}", who: "{subject}"}')
    subjects = ["auth0|4", "auth0_4", "auth0/4", "x" * 70, "x" * 71]
    for subject in subjects:
        assert one.get("/read/1", one.mint("alice", sub=subject)).status == 200
    names = [form["RoleSessionName"] for form in sts.asked]
    assert names[1] == "auth0_4" and re.fullmatch("auth0_4" + SUFFIX, names[0])
    assert re.fullmatch("auth0_4" + SUFFIX, names[2]) and len(set(names)) == 5
    assert all(len(name) <= 64 for name in names)
    tags = [
        {tag["Key"]: tag["Value"] for tag in form["Tags"]} for form in sts.asked
    ]
    assert [tag["team"] for tag in tags] == ["reader"] * 5
    assert [tag["who"] for tag in tags[1:]] == subjects[1:]
    assert re.fullmatch("auth0_4" + SUFFIX, tags[0]["who"])
    one.stop()
    name_of = dict(zip(subjects, names))
    assert check_whose(bed, sts, one, name_of.get) == 5


def test_callers_of_one_role_may_share_a_session(bed, sts, shop):
    one = shop(iam='role_session_name: "shop-{role}"')
    for subject in ("ann", "ben", "cid"):
        assert one.get("/read/1", one.mint("alice", sub=subject)).status == 200
    assert one.get("/read/1", one.mint("bob", sub="dan")).status == 200
    names = [form["RoleSessionName"] for form in sts.asked]
    assert names == ["shop-reader", "shop-writer"]
    assert len(check_login_events(bed, sts, one)) == 2


def test_the_callers_own_token_assumes_the_role(bed, sts, shop):
    one = shop(iam="web_identity: caller")
    tokens = {name: one.mint("alice", sub=name) for name in ("ann", "ben")}
    sts.web_tokens.update(tokens.values())
    for name, token in tokens.items():
        for _ in range(3):
            assert one.get("/read/1", token).status == 200
    assert [(f["Action"], f["RoleSessionName"], f["WebIdentityToken"]) for f in sts.asked] == [
        ("AssumeRoleWithWebIdentity", name, token) for name, token in tokens.items()
    ]
    stranger = one.mint("alice", sub="cid")  # STS does not know its issuer's token
    assert one.get("/read/1", stranger).status in (403, 503)
    one.stop()
    assert check_whose(bed, sts, one) == 6
    texts = [one.log_text()]
    texts += [path.read_text(errors="replace") for path in one.audit_folder.rglob("*")]
    for token in [*tokens.values(), stranger]:
        assert not any(token.rsplit(".", 1)[1] in text for text in texts)


def test_a_crash_of_the_server_is_survived(bed, sts, shop):
    one = shop(connections=2)
    tokens = [one.mint("alice", sub=f"crash-{n}") for n in range(3)]
    for token in tokens:
        assert one.get("/read/1", token).status == 200
    pid = bed.superuser_sql("select pid from pg_stat_activity where usename = 'app' limit 1")
    os.kill(int(pid), signal.SIGKILL)  # PostgreSQL ends every backend and recovers
    for token in tokens:
        wait_until(lambda: one.get("/read/1", token).status == 200, 60, "calls after the crash")
    one.stop()
    assert check_whose(bed, sts, one) >= 6
