#!/usr/bin/python3
"""What an IAM session for each caller costs: callers of whom each logs in by its own, against a
pool that has room for all of them, and for a part.

    sessions.py [--seconds N] [--pool N] [--clients N] [--callers 8,16,…] [--login-rate N]

Every request is one caller's by chance, which is the worst case: the next one's caller is seldom
the one who has the connection.  `shared` is the same load with one session for all.
"""

import argparse
import pathlib
import re
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import measure  # noqa: E402
import subjects  # noqa: E402

from bed.postgres import AccessKey  # noqa: E402
from doubles.aws import Sts  # noqa: E402

ROLE = "arn:aws:iam::123456789012:role/bench"
IAM = "iam_auth: {region: @region@, hostname: @hostname@}"
SCRIPT = """
local tokens = {%s}
local requests = {}
function init()
   math.randomseed(os.time())
   for i, token in ipairs(tokens) do
      requests[i] = wrk.format("GET", "/accounts/" .. i, {Authorization = "Bearer " .. token})
   end
end
function request() return requests[math.random(#requests)] end
"""


def base_credentials(bed):
    """STS, and who may assume roles; what it gives out, PostgreSQL knows."""
    lock = threading.Lock()

    def tell(session):
        key = AccessKey(session.access_key_id, session.secret_access_key, session.session_token)
        with lock:
            bed.postgres.set_keys([*bed.postgres.keys, key])

    sts = Sts(on_mint=tell)
    key = AccessKey.fresh()
    sts.know(key.access_key_id, key.secret_access_key)
    environment = {
        **sts.environment(),
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
    }
    return sts, environment


def logins(gateway):
    text = gateway.status("/metrics").body.decode()
    return sum(map(int, re.findall(r'^sallyport_logins_total\{[^}]*"ok"[^}]*\} (\d+)', text, re.M)))


def measure_one(bed, options, name, callers):
    """(calls/s, p50 ms, p99 ms, logins/s) of so many callers under this session name."""
    sts, environment = base_credentials(bed)
    template = (HERE / "sallyport.yaml.in").read_text()
    template = template.replace("@pool@", f"{bed.pool}, login_rate: {options.login_rate}")
    template = template.replace(
        IAM, f'{IAM[:-1]}, assume_role_arn: "{ROLE}", role_session_name: "{name}"}}'
    )
    gateway = subjects.harness.Sallyport(
        bed.postgres,
        bed.issuer,
        config=subjects.harness.config_for(bed.postgres, bed.issuer, template),
        node={"workers": 0, "log_level": "warn"},
        environment=environment,
    )
    tokens = [
        bed.issuer.mint("caller", sub=f"caller-{n}", expires_in=3600) for n in range(callers)
    ]
    script = bed.folder / "sessions.lua"
    script.write_text(SCRIPT % ", ".join(f'"{token}"' for token in tokens))
    try:
        gateway.start()
        url = f"https://localhost:{gateway.proxy_port}"
        measure.wrk(url, options.clients, 2, script)
        before = logins(gateway)
        load = measure.wrk(url, options.clients, options.seconds, script)
        made = logins(gateway) - before
        gateway.close()
    finally:
        sts.close()
    return {
        "sessions": "shared" if name == "bench" else "per caller",
        "callers": callers,
        "rate": load.rate,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "logins": made / options.seconds,
    }


def compare(bed, options):
    rows = [measure_one(bed, options, "bench", options.callers[-1])]
    rows += [measure_one(bed, options, "{subject}", count) for count in options.callers]
    return rows


def show(rows, pool, say=print):
    say(f"sessions, with {pool} connections:")
    for row in rows:
        say(
            f"  {row['sessions']:10s} {row['callers']:5d} callers {row['rate']:10,.0f}/s  "
            f"p50 {row['p50_ms']:8.2f} ms  p99 {row['p99_ms']:8.2f} ms  "
            f"{row['logins']:6.1f} logins/s"
        )


def parse_options(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--pool", type=int, default=8)
    parser.add_argument("--login-rate", type=int, default=150, help="RDS takes fewer than 200")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument(
        "--callers",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[4, 8, 16, 64],
    )
    return parser.parse_args(arguments)


def main():
    options = parse_options()
    with subjects.Bed(options.pool) as bed:
        show(compare(bed, options), options.pool)


if __name__ == "__main__":
    main()
