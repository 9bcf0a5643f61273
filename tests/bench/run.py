#!/usr/bin/python3
"""make bench: the HTTP door beside pgbench, nginx and fastify, in one run on one machine.

    run.py [--rounds N] [--seconds N] [--clients 8,64,128] [--pool N] [--workers N] [--profile]
           [--only NAME,…]

Never part of the tests.  Rounds are interleaved: each measures every subject once, so that what
else the machine does falls on all of them alike; medians are shown, ratios first.  What it
prints also goes to build/bench.json.  docs/BENCHMARKS.md explains the method.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import measure  # noqa: E402
import routes  # noqa: E402
import sessions  # noqa: E402
import subjects  # noqa: E402

ROOT = HERE.parents[1]
ALGORITHMS = ("RS256", "ES256", "EdDSA")
IDLE_CLIENTS = 1000
WARM_UP_SECONDS = 2
PROFILE_SECONDS = 5


def say(text=""):
    print(text, flush=True)


# -- the rounds ------------------------------------------------------------------------------


def start_subjects(bed, options):
    """Those that can run here; the first is what others are compared with."""
    makers = {
        "pgbench": lambda: subjects.Pgbench(bed),
        "sallyport": lambda: subjects.Sallyport(bed, options.workers),
        "nginx": lambda: subjects.Nginx(bed),
        "fastify": lambda: subjects.Fastify(bed),
    }
    running = {}
    for short, make in makers.items():
        if options.only and short not in options.only:
            continue
        try:
            running[short] = make()
        except subjects.Skipped as reason:
            say(f"skipped {short}: {reason}")
    return running


def measure_once(bed, subject, clients, seconds):
    def now():
        own = {"server": measure.cpu_seconds(subject.pid)} if subject.pid else {}
        return {**own, "postgres": bed.backend_cpu()}

    before = now()
    load = subject.load(clients, seconds)
    after = now()
    return load, {name: after[name] - before[name] for name in after}


def run_rounds(bed, running, options):
    plan = []
    for short, subject in running.items():
        counts = [bed.pool] if short == "pgbench" else options.clients
        plan += [(measure.Row(short, count), subject) for count in counts]
    for subject in running.values():
        subject.load(bed.pool, WARM_UP_SECONDS)
    for number in range(options.rounds):
        for row, subject in plan:
            load, cpu = measure_once(bed, subject, row.clients, options.seconds)
            row.add(load, cpu)
            say(f"round {number + 1}: {row.subject} with {row.clients}: {load.rate:,.0f}/s")
    return [row.summary() for row, _ in plan]


# -- memory ----------------------------------------------------------------------------------


def idle_client_kib(subject, count):
    """Resident memory per client that has made one request and stays, in KiB."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = (
        "GET /accounts/1 HTTP/1.1\r\nHost: localhost\r\n"
        + (f"Authorization: Bearer {subject.token}\r\n" if subject.token else "")
        + "\r\n"
    ).encode()
    before = measure.memory_kib(subject.pid)
    held = []
    try:
        for _ in range(count):
            plain = socket.create_connection(("127.0.0.1", subject.port), 30)
            held.append(context.wrap_socket(plain, server_hostname="localhost"))
            held[-1].sendall(request)
            if not held[-1].recv(65536).startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{subject.name} does not answer 200 to an idle client")
        return (measure.memory_kib(subject.pid) - before) / count
    finally:
        for one in held:
            one.close()


def memory(subject):
    return {
        "rss_kib": measure.memory_kib(subject.pid),
        "idle_client_kib": idle_client_kib(subject, IDLE_CLIENTS),
    }


# -- one operation ---------------------------------------------------------------------------


def bench_programs():
    """The folder of the small C programs: beside the sallyport that is measured."""
    return subjects.harness.binary().parents[2] / "tests/bench"


def small_benches(bed):
    folder = bench_programs()
    results = json.loads(subprocess.check_output([str(folder / "bench_mint")]))
    results.update(json.loads(subprocess.check_output([str(folder / "bench_sessions")])))
    jwks = bed.folder / "jwks.json"
    jwks.write_text(json.dumps(bed.issuer.keys.jwks()))
    for algorithm in ALGORITHMS:
        token = bed.issuer.mint("caller", algorithm=algorithm)
        text = subprocess.check_output(
            [str(folder / "bench_verify"), bed.issuer.issuer, "api://bench", str(jwks)]
            + [token, algorithm]
        )
        results[algorithm] = json.loads(text)
    return results


# -- the profile -----------------------------------------------------------------------------


def profile(bed, options):
    """The functions that cost most, by perf; by callgrind where perf may not look."""
    clients = max(options.clients)
    if shutil.which("perf"):
        text = profile_with_perf(bed, options, clients)
        if text:
            return text
        say("perf may not look here; callgrind takes a while")
    if not shutil.which("valgrind"):
        return "neither perf nor valgrind can be used here"
    return profile_with_callgrind(bed, options, clients)


def profile_with_perf(bed, options, clients):
    data = bed.folder / "perf.data"
    subject = subjects.Sallyport(bed, options.workers)
    calls = []
    try:
        record = subprocess.Popen(
            ["perf", "record", "-q", "-g", "-F", "499", "-o", str(data), "-p", str(subject.pid)],
            stderr=subprocess.DEVNULL,
        )
        subject.load(clients, PROFILE_SECONDS)
        if record.poll() is None:
            record.send_signal(signal.SIGINT)
        record.wait(60)
        calls = calls_per_request(bed, subject, clients)
    finally:
        subject.stop()
    syscalls = [
        line for line in perf_report(data, "--children", "-F", "overhead_children,symbol")
        if re.search(r" (__x64_sys|ksys|__sys)_\w+$", line)
    ]
    parts = {
        "by program and library": perf_report(data, "--no-children", "-F", "overhead,dso"),
        "system calls, with all they lead to": syscalls,
        "system calls a request, counted by strace": calls,
        "functions": perf_report(data, "--no-children", "-F", "overhead,dso,symbol"),
    }
    return "\n".join(
        f"{name}:\n" + "\n".join(lines[:25]) for name, lines in parts.items() if lines
    )


def calls_per_request(bed, subject, clients):
    """How often each system call is made for one request; strace slows it, but does not change
    what is asked of the kernel much."""
    if not shutil.which("strace"):
        return []
    counts = bed.folder / "strace"
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", "-q", "-o", str(counts), "-p", str(subject.pid)],
        stderr=subprocess.DEVNULL,
    )
    load = subject.load(clients, PROFILE_SECONDS)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(30)
    lines = []
    for line in counts.read_text().splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
            each = int(fields[3]) / load.requests
            if each >= 0.01:
                lines.append(f"{each:10.2f}  {fields[-1]}")
    return sorted(lines, reverse=True)


def perf_report(data, *how):
    """The lines of a report that begin with a percentage."""
    report = ["perf", "report", "--stdio", "-g", "none", "--percent-limit", "0.5"]
    done = subprocess.run([*report, *how, "-i", str(data)], capture_output=True, text=True)
    return [line.rstrip() for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]


def profile_with_callgrind(bed, options, clients):
    data = bed.folder / "callgrind.out"
    wrapper = bed.folder / "sallyport-callgrind"
    program = subjects.harness.binary()
    wrapper.write_text(
        f"#!/bin/sh\nexec valgrind -q --tool=callgrind --callgrind-out-file={data} "
        f'{program} "$@"\n'
    )
    wrapper.chmod(0o755)
    subject = subjects.Sallyport(bed, options.workers, program=wrapper)
    try:
        subject.load(clients, PROFILE_SECONDS)
    finally:
        subject.stop()
    done = subprocess.run(
        ["callgrind_annotate", "--threshold=80", str(data)], capture_output=True, text=True
    )
    lines = [line.rstrip() for line in done.stdout.splitlines() if "%)" in line]
    return "\n".join(lines[:40])


# -- the table -------------------------------------------------------------------------------


def rate(row):
    return row["rate"]


def frugality(row):
    """Requests for a second of CPU, of everybody who took part: the rate that a machine gives
    when it does nothing else and none of it is idle."""
    return 1e6 / sum(row["cpu_us"].values())


def ratios(rows, worth):
    """The first numbers to read: the door against the others at the same number of clients."""
    found = []
    by_name = {(row["subject"], row["clients"]): row for row in rows}
    direct = [row for row in rows if row["subject"] == "pgbench"]
    for row in rows:
        if row["subject"] != "sallyport":
            continue
        others = {"pgbench": direct[0] if direct else None}
        for name in ("fastify", "nginx"):
            others[name] = by_name.get((name, row["clients"]))
        found.append(
            {
                "clients": row["clients"],
                **{
                    name: round(worth(row) / worth(other), 3)
                    for name, other in others.items()
                    if other
                },
            }
        )
    return found


def show(results):
    say()
    say(results["machine"])
    if results["load_average"] > 0.5:
        say(f"It was busy with other things (load {results['load_average']:.1f} before the start):")
        say("trust the second block of ratios more than the first, and no absolute number.")
    for title, lines in (
        ("requests a second", results["ratios"]),
        ("requests for a second of everybody's CPU", results["ratios_by_cpu"]),
    ):
        say()
        say(f"sallyport's {title}, as a multiple of the others'")
        for line in lines:
            parts = [f"{name} {line[name]:.2f}" for name in ("pgbench", "fastify", "nginx")
                     if name in line]
            say(f"  {line['clients']:4d} clients   " + "   ".join(parts))
    say()
    heads = ("subject", "clients", "per second", "lowest", "highest", "p50 ms", "p99 ms")
    say(f"{heads[0]:10s} {heads[1]:>7s} " + " ".join(f"{head:>10s}" for head in heads[2:])
        + "   CPU us per request: server, postgres, client")
    for row in results["rows"]:
        numbers = [row["rate"], row["rate_lowest"], row["rate_highest"]]
        times = [row["p50_ms"], row["p99_ms"]]
        cpu = row["cpu_us"]
        say(
            f"{row['subject']:10s} {row['clients']:7d} "
            + " ".join(f"{number:10,.0f}" for number in numbers)
            + " "
            + " ".join("         -" if t is None else f"{t:10.2f}" for t in times)
            + "   "
            + "  ".join(
                f"{cpu[name]:6.1f}" if name in cpu else "     -"
                for name in ("server", "postgres", "client")
            )
        )
    say()
    for name, one in results["memory"].items():
        say(f"{name}: {one['rss_kib'] / 1024:.1f} MiB resident, "
            f"{one['idle_client_kib']:.1f} KiB more per idle TLS client")
    one = results.get("operations")
    if one:
        say(f"token mint: {one['mint_us']:.2f} us "
            f"({one['mint_with_key_derivation_us']:.2f} us with the day's key derived)")
        hits, assumed = 1e6 / one["session_hit_us"], 1e6 / one["session_assume_us"]
        say(f"session of a caller: {hits:,.0f} a second from the cache, {assumed:,.0f} a second "
            f"obtained without the network, {one['session_bytes'] / 1024:.1f} KiB each")
        for algorithm in ALGORITHMS:
            cost = one[algorithm]
            say(f"{algorithm:5s} token: {cost['verify_us']:.1f} us whole, of which OpenSSL "
                f"{cost['openssl_us']:.1f}; repeated {cost['repeated_us']:.2f} us")
    say()
    sessions.show(results["sessions"], results["options"]["pool"], say)
    say()
    routes.show(results["routes"], say)
    if results.get("profile"):
        say()
        say("where sallyport's time goes, in percent of its own:")
        say(results["profile"])


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} cores, {model}, Linux {platform.release()}"


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument(
        "--clients",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[8, 64, 128],
    )
    parser.add_argument("--pool", type=int, default=8, help="backend connections of each")
    parser.add_argument("--workers", type=int, default=0, help="sallyport's; 0: one a core")
    parser.add_argument("--only", type=lambda text: text.split(","), help="these subjects")
    parser.add_argument("--profile", action="store_true", help="and where the time goes")
    return parser.parse_args()


def run(options):
    load_average = os.getloadavg()[0]
    with subjects.Bed(options.pool) as bed:
        running = start_subjects(bed, options)
        try:
            rows = run_rounds(bed, running, options)
            sizes = {
                short: memory(subject)
                for short, subject in running.items()
                if short in ("sallyport", "fastify")
            }
        finally:
            for subject in running.values():
                subject.stop()
        return {
            "machine": machine(),
            "options": vars(options),
            "load_average": load_average,
            "ratios": ratios(rows, rate),
            "ratios_by_cpu": ratios(rows, frugality),
            "rows": rows,
            "memory": sizes,
            "operations": small_benches(bed),
            "sessions": sessions.compare(bed, sessions.parse_options([])),
            "routes": routes.compare(bed, routes.parse_options([])),
            "profile": profile(bed, options) if options.profile else None,
        }


def main():
    options = parse_options()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    results = run(options)
    show(results)
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build/bench.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
