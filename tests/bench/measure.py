"""What a measurement is made of: CPU and memory of processes, and the two load generators."""

import dataclasses
import os
import pathlib
import re
import statistics
import subprocess
import threading

TICK = os.sysconf("SC_CLK_TCK")
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def _stat(pid):
    """Fields of /proc/PID/stat from the state on; see proc(5)."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_seconds(pid):
    """User and system time of a process, its living children, and those it has reaped."""
    own = _stat(pid)
    total = sum(map(int, own[11:15])) / TICK
    for child in children(pid):
        try:
            total += sum(map(int, _stat(child)[11:13])) / TICK
        except OSError:
            pass  # it has just ended and is counted with its parent next time
    return total


def memory_kib(pid, field="VmRSS"):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1])


@dataclasses.dataclass
class Load:
    """One run of a load generator."""

    rate: float  # requests or transactions a second
    p50_ms: float | None
    p99_ms: float | None
    requests: float
    client_cpu_s: float
    max_ms: float | None = None


def _run(command, environment=None):
    """Runs a load generator; its output and the CPU seconds it took."""
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # wait4 is ours to call, so the pipes are read beside it.
    said = {}
    readers = [
        threading.Thread(target=lambda pipe=pipe, name=name: said.update({name: pipe.read()}))
        for name, pipe in (("out", process.stdout), ("err", process.stderr))
    ]
    for reader in readers:
        reader.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for reader in readers:
        reader.join()
    process.stdout.close()
    process.stderr.close()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]}: {said['err'] or said['out']}")
    return said["out"], usage.ru_utime + usage.ru_stime


def _milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * UNITS[unit]


def wrk(url, clients, seconds, script, token=None):
    """Keep-alive requests over so many connections, on one thread."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "--timeout=10s"]
    command += ["-s", script]
    if token:
        command += ["-H", f"Authorization: Bearer {token}"]
    text, cpu = _run([*command, url])
    for problem in ("Non-2xx or 3xx responses", "Socket errors"):
        if problem in text:
            raise RuntimeError(f"wrk on {url}: {text}")
    percentile = dict(re.findall(r"^\s+(50|99)%\s+(\S+)\s*$", text, re.M))
    if len(percentile) != 2:
        raise RuntimeError(f"wrk on {url}: {text}")
    return Load(
        rate=float(re.search(r"^Requests/sec:\s+([\d.]+)", text, re.M)[1]),
        p50_ms=_milliseconds(percentile["50"]),
        p99_ms=_milliseconds(percentile["99"]),
        requests=float(re.search(r"(\d+) requests in", text)[1]),
        client_cpu_s=cpu,
        max_ms=_milliseconds(re.search(r"^\s+Latency\s+\S+\s+\S+\s+(\S+)", text, re.M)[1]),
    )


def pgbench(program, dsn, clients, seconds, environment):
    """Select-only transactions of prepared statements, on one thread."""
    command = [program, "-S", "-M", "prepared", "-n", "-c", clients, "-j", 1, "-T", seconds, dsn]
    text, cpu = _run(command, environment)
    return Load(
        rate=float(re.search(r"^tps = ([\d.]+)", text, re.M)[1]),
        p50_ms=None,  # it says an average only
        p99_ms=None,
        requests=float(re.search(r"actually processed: (\d+)", text)[1]),
        client_cpu_s=cpu,
    )


@dataclasses.dataclass
class Row:
    """A subject at a number of clients, over all rounds."""

    subject: str
    clients: int
    rates: list = dataclasses.field(default_factory=list)
    p50_ms: list = dataclasses.field(default_factory=list)
    p99_ms: list = dataclasses.field(default_factory=list)
    cpu_us: dict = dataclasses.field(default_factory=dict)  # process: microseconds a request

    def add(self, load, cpu):
        self.rates.append(load.rate)
        for samples, value in ((self.p50_ms, load.p50_ms), (self.p99_ms, load.p99_ms)):
            if value is not None:
                samples.append(value)
        for name, seconds in {**cpu, "client": load.client_cpu_s}.items():
            self.cpu_us.setdefault(name, []).append(seconds / load.requests * 1e6)

    def summary(self):
        def middle(samples):
            return statistics.median(samples) if samples else None

        return {
            "subject": self.subject,
            "clients": self.clients,
            "rate": middle(self.rates),
            "rate_lowest": min(self.rates),
            "rate_highest": max(self.rates),
            "p50_ms": middle(self.p50_ms),
            "p99_ms": middle(self.p99_ms),
            "cpu_us": {name: middle(samples) for name, samples in self.cpu_us.items()},
        }
