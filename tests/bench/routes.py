#!/usr/bin/python3
"""A configuration of many routes: what it costs to make it ready, and those who call meanwhile.

    routes.py [--routes N] [--roles N] [--seconds N] [--clients N] [--write FILE]

--write only writes such a configuration.
"""

import argparse
import datetime
import itertools
import json
import pathlib
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import measure  # noqa: E402
import subjects  # noqa: E402

from bed.postgres import wait_until  # noqa: E402
from stored import Store  # noqa: E402

SERVICES = 10
NAMES = {
    "issuer": "https://localhost/",
    "ca": "/etc/ssl/certs/ca-certificates.crt",
    "port": 5432,
    "region": "eu-west-1",
    "hostname": "bench.cluster-abc.eu-west-1.rds.amazonaws.com",
    "pool": 8,
}
HEAD = (HERE / "sallyport.yaml.in").read_text()


CHANGED = {(n % SERVICES, n) for n in range(10)}


def route(service, n, mark=""):
    """One of many: three parameters, a statement of some 200 bytes, no two alike."""
    return f"""\
  - name: s{service}-thing-{n}
    methods: [GET]
    paths: ["/s{service}/things-{n}/{{id}}"]
    statement:
      sql: |
        select a.aid, a.abalance{mark}, a.bid, a.filler -- {n}
        from pgbench_accounts a join pgbench_accounts b on b.aid = a.aid and b.bid = a.bid
        where a.aid = :id and a.filler <> :tenant and a.abalance > {n} - :days * 2
        order by a.abalance desc limit 100
      parameters:
        id: {{type: bigint, from: path}}
        tenant: {{type: text, from: claim.tenant_id}}
        days: {{type: integer, from: query, default: "7"}}
      result: many
      read_only: true
"""


def service(index, count, changed):
    text = f"""\
- name: s{index}
  url: postgres://app@127.0.0.1:@port@/bench
  sslmode: verify-full
  sslrootcert: @ca@
  iam_auth: {{region: @region@, hostname: @hostname@}}
  search_path: [public]
  pool: {{max_connections: 2}}
  routes:
"""
    return text + "".join(
        route(index, n, " + 0" if (index, n) in changed else "") for n in range(count)
    )


def role(n):
    return f"""\
- name: role-{n}
  priority: {n % 3}
  when: {{issuer: dev, groups: [group-{n}]}}
  services: [s{n % SERVICES}]
  database_role: accounts_reader
  allow: [{{routes: [s{n % SERVICES}-thing-{n}, "*"]}}]
"""


def template(routes, roles, changed=()):
    """sallyport.yaml.in with so many routes more, which nobody calls, and roles; of those
    `changed`, (service, number), the statement is another."""
    head, roles_at, tail = HEAD.partition("\nroles:\n")
    services = "".join(service(i, routes // SERVICES, set(changed)) for i in range(SERVICES))
    return head + services + roles_at + tail + "".join(role(n) for n in range(roles))


def fill(text, **names):
    for name, value in names.items():
        text = text.replace(f"@{name}@", str(value))
    return text


# -- making it ready -----------------------------------------------------------------------------


def made_ready(folder, options):
    """What bench_snapshot says: of this thread's time, in a process that does nothing else."""
    program = subjects.harness.binary().parents[2] / "tests/bench/bench_snapshot"
    paths = [folder / "routes.yaml", folder / "changed.yaml"]
    for path, changed in zip(paths, ((), CHANGED)):
        path.write_text(fill(template(options.routes, options.roles, changed), **NAMES))
    return json.loads(subprocess.check_output([str(program), *map(str, paths)]))


# -- those who call meanwhile --------------------------------------------------------------------


def events(gateway, name):
    return [record for record in gateway.log() if record["event"] == name]


def start_node(bed, config, **node):
    gateway = subjects.harness.Sallyport(
        bed.postgres, bed.issuer, config=config,
        node={"workers": 0, "log_level": "notice", "keepalive_timeout_ms": 600000, **node})
    gateway.start()
    wait_until(lambda: events(gateway, "statements_prepared"), 600, "all statements prepared")
    return gateway


def load(bed, gateway, options):
    token = bed.issuer.mint("caller", expires_in=3600)
    url = f"https://localhost:{gateway.proxy_port}"
    return measure.wrk(url, options.clients, options.seconds, subjects.SCRIPT, token)


def row(name, loads, took_ms):
    return {
        "changes": name,
        "rate": sum(one.rate for one in loads) / len(loads),
        "p50_ms": sorted(one.p50_ms for one in loads)[len(loads) // 2],
        "p99_ms": sorted(one.p99_ms for one in loads)[len(loads) // 2],
        "max_ms": max(one.max_ms for one in loads),
        "took_ms": took_ms,
    }


def seconds_of(record):
    return datetime.datetime.fromisoformat(record["time"].replace("Z", "+00:00")).timestamp()


def while_changing(bed, gateway, options, change, loaded):
    """The load while the configuration changes about once a second; how long each change took."""
    ended = threading.Event()
    took = []

    def changes():
        for n in itertools.count():
            if ended.wait(1):
                return
            count = len(events(gateway, "configuration_loaded"))
            began = change(n)
            wait_until(lambda: len(events(gateway, "configuration_loaded")) > count, 60, "a load")
            took.append(1000 * (loaded(gateway) - began))

    changer = threading.Thread(target=changes)
    changer.start()
    result = load(bed, gateway, options)
    ended.set()
    changer.join()
    return result, took


def middle(values):
    return sorted(values)[len(values) // 2]


def reloaded(bed, options, configs):
    """None, and a SIGHUP a second after ten statements have changed, by turns."""
    gateway = start_node(bed, configs[0])
    quiet, busy, took = [], [], []

    def change(n):
        gateway.write_config(configs[(n + 1) % 2])
        began = time.time()
        gateway.process.send_signal(signal.SIGHUP)
        return began

    def loaded(gateway):
        return seconds_of(events(gateway, "configuration_loaded")[-1])

    load(bed, gateway, options)
    for _ in range(options.rounds):
        quiet.append(load(bed, gateway, options))
        result, some = while_changing(bed, gateway, options, change, loaded)
        busy.append(result)
        took += some
    memory = measure.memory_kib(gateway.process.pid)
    gateway.close()
    return [row("none", quiet, None), row("reload", busy, middle(took))], memory


# -- the store -----------------------------------------------------------------------------------


def timed(store, *arguments, expected=0):
    began = time.monotonic()
    got = store.run(*arguments)
    if got.returncode != expected:
        raise RuntimeError(f"{arguments}: {got.stderr}")
    return time.monotonic() - began


def stored(bed, options, configs):
    """How long the commands take, and a change until it is served, with and without a load."""
    postgres = bed.postgres
    postgres.superuser_sql("create role kong login; grant rds_iam to kong")
    postgres.superuser_sql("create database routes owner kong")
    store = Store(postgres, bed.folder, "routes")
    paths = [bed.folder / "routes-0.yaml", bed.folder / "routes-1.yaml"]
    for path, config in zip(paths, configs):
        path.write_text(config)
    seconds = {
        "bootstrap": timed(store, "migrations", "bootstrap"),
        "import": timed(store, "config", "db_import", paths[0]),
        "diff": timed(store, "config", "diff", paths[1], expected=2),
        "import of ten changes": timed(store, "config", "db_import", paths[1]),
        "export": timed(store, "config", "db_export", bed.folder / "routes-export.yaml"),
    }
    node = {
        "database": "postgres", "declarative_config": "", "pg_host": "127.0.0.1",
        "pg_port": postgres.port, "pg_database": "routes", "pg_user": "kong", "pg_iam_auth": "on",
        "pg_iam_auth_hostname": postgres.hostname, "lua_ssl_trusted_certificate": postgres.ca.file}
    gateway = start_node(bed, configs[0], **node)

    def change(n):
        timed(store, "config", "db_import", paths[n % 2])
        return time.time()  # a moment after its commit

    def loaded(gateway):
        return seconds_of(events(gateway, "configuration_loaded")[-1])

    result, took = while_changing(bed, gateway, options, change, loaded)
    gateway.close()
    return seconds, row("import", [result], middle(took))


# -- the whole -----------------------------------------------------------------------------------


def compare(bed, options):
    plain = template(options.routes, options.roles)
    configs = [
        subjects.harness.config_for(bed.postgres, bed.issuer, text.replace("@pool@", str(bed.pool)))
        for text in (plain, template(options.routes, options.roles, CHANGED))
    ]
    rows, memory_kib = reloaded(bed, options, configs)
    seconds, by_import = stored(bed, options, configs)
    return {
        "ready": made_ready(bed.folder, options),
        "rows": [*rows, by_import],
        "memory_kib": memory_kib,
        "seconds": seconds,
    }


def show(results, say=print):
    ready = results["ready"]
    say(f"{ready['routes']:,} routes, a file of {ready['bytes'] / 2**20:.1f} MiB, made ready in "
        f"{ready['first_ms']:.0f} ms of CPU at first, {ready['again_ms']:.0f} ms again, "
        f"{ready['changed_ms']:.0f} ms with {len(CHANGED)} statements changed")
    say(f"  of which YAML {ready['yaml_ms']:.0f} ms, checks "
        f"{ready['entities_ms'] - ready['yaml_ms']:.0f} ms; "
        f""
        f"{ready['snapshot_bytes'] / 2**20:.1f} MiB, given back in {ready['release_ms']:.1f} ms;"
        f" the node has {results['memory_kib'] / 1024:.0f} MiB")
    for one in results["rows"]:
        took = f"  served after {one['took_ms']:5.0f} ms" if one["took_ms"] else ""
        say(f"  changes: {one['changes']:7s} {one['rate']:10,.0f}/s  p50 {one['p50_ms']:6.2f} ms  "
            f"p99 {one['p99_ms']:6.2f} ms  max {one['max_ms']:7.2f} ms{took}")
    say("  " + ", ".join(f"{name} {took:.1f} s" for name, took in results["seconds"].items()))


def parse_options(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--routes", type=int, default=10000)
    parser.add_argument("--roles", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--pool", type=int, default=8)
    parser.add_argument("--write", type=pathlib.Path)
    return parser.parse_args(arguments)


def main():
    options = parse_options()
    if options.write:
        options.write.write_text(fill(template(options.routes, options.roles), **NAMES))
        return
    with subjects.Bed(options.pool) as bed:
        show(compare(bed, options))


if __name__ == "__main__":
    main()
