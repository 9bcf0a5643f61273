#!/usr/bin/python3
"""Everything that `make test` runs, and the one line at its end: N passed, N failed, N skipped.

    run_tests.py [PART...]        default: all of

includes  the edges between rooms
lint      tests/lint
unit      the ASan and UBSan build: every cmocka test, and every fuzz target's seeds
threads   the threaded rooms' unit tests in the TSan build
cli       pytest of the commands, and of what the documents say, with the ASan build
wire      pytest against real servers, with the ASan build
wire-threads   those of them marked `threads`, with the TSan build
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/lint")]

ASAN = ROOT / "build-asan"
TSAN = ROOT / "build-tsan"
# Rooms whose code runs on several threads.
THREADED = ("base/", "net/", "audit/", "limit/", "identity/", "database/", "gateway/", "admin/")
PYTEST_NOTHING_COLLECTED = 5
GOOD = {"OK", "EXPECTEDFAIL"}
SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=99",
}
FAILED_CASES = re.compile(r"^\[  FAILED  \] (\d+) test\(s\), listed below", re.M)
SKIPPED_CASES = re.compile(r"^\[  SKIPPED \] (\d+) test\(s\), listed below", re.M)


class Count:
    """What one part, or all of them, came to."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(*command, **environment):
    print("$", *command, flush=True)
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, env={**os.environ, **environment}
    ).returncode


def configure(folder, sanitizers):
    if (folder / "build.ninja").exists():
        return True
    return run("meson", "setup", folder.name, f"-Db_sanitize={sanitizers}", "-Db_lundef=false") == 0


def introspect(folder):
    text = subprocess.check_output(["meson", "introspect", "--tests", folder.name], cwd=ROOT)
    return json.loads(text)


# -- meson -----------------------------------------------------------------------------------


def count_cases(result):
    """The cmocka cases within one program; a program that says none, such as a replay of seeds,
    is one case itself.  A crash is a failure beside what it had counted."""
    text = result.get("stdout", "") + "\n" + result.get("stderr", "")
    count = Count(
        passed=len(re.findall(r"^\[       OK \]", text, re.M)),
        failed=sum(map(int, FAILED_CASES.findall(text))),
        skipped=sum(map(int, SKIPPED_CASES.findall(text))),
    )
    if result["result"] == "SKIP":
        return Count(skipped=1)
    if result["result"] not in GOOD:
        count.failed = max(count.failed, 1)
    elif count.passed + count.skipped == 0:
        count.passed = 1
    return count


def meson_tests(folder, names=()):
    log = folder / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    run(
        *("meson", "test", "-C", folder.name, "--no-rebuild", "--print-errorlogs"),
        *("--num-processes", str(os.cpu_count() or 1), *names),
        **SANITIZER_ENVIRONMENT,
    )
    if not log.exists():
        return Count(failed=1)
    total = Count()
    for line in log.read_text().splitlines():
        total.add(count_cases(json.loads(line)))
    return total


def unit():
    if not configure(ASAN, "address,undefined") or run("ninja", "-C", ASAN.name) != 0:
        return Count(failed=1)
    return meson_tests(ASAN)


def threads():
    if not configure(TSAN, "thread"):
        return Count(failed=1)
    chosen = [test for test in introspect(TSAN) if test["name"].startswith(THREADED)]
    targets = [str(pathlib.Path(test["cmd"][0]).relative_to(TSAN)) for test in chosen]
    if run("ninja", "-C", TSAN.name, *targets) != 0:
        return Count(failed=1)
    return meson_tests(TSAN, [test["name"] for test in chosen])


# -- the rest --------------------------------------------------------------------------------


def pytest(folder, *options, tests=("tests/wire",)):
    """The tests against the program of one build."""
    targets = ("src/cli/sallyport", "tests/wire/newer/sallyport-newer")
    if run("ninja", "-C", folder.name, *targets) != 0:
        return Count(failed=1)
    report = folder / f"{pathlib.Path(tests[0]).name}.xml"
    report.unlink(missing_ok=True)
    code = run(
        *("/usr/bin/python3", "-m", "pytest", "-q", "-rs", "--durations=10", "--color=no"),
        *("-p", "no:cacheprovider", f"--junit-xml={report}", *options, *tests),
        SALLYPORT_BINARY=str(folder / "src/cli/sallyport"),
        SALLYPORT=str(folder / "src/cli/sallyport"),
        PYTHONDONTWRITEBYTECODE="1",
    )
    if not report.exists():
        return Count(failed=1)
    suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
    number = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    failed = number["failures"] + number["errors"]
    if code not in (0, PYTEST_NOTHING_COLLECTED):
        failed = max(failed, 1)
    passed = max(0, number["tests"] - number["skipped"] - failed)
    return Count(passed, failed, number["skipped"])


def cli():
    if not configure(ASAN, "address,undefined"):
        return Count(failed=1)
    return pytest(ASAN, tests=("tests/cli", "tests/docs"))


def wire():
    if not configure(ASAN, "address,undefined"):
        return Count(failed=1)
    return pytest(ASAN)


def wire_threads():
    if not configure(TSAN, "thread"):
        return Count(failed=1)
    return pytest(TSAN, "-m", "threads")


def report(name, problems):
    for problem in problems:
        print(problem)
    print(f"{name}: {len(problems)} problems", flush=True)
    return Count(failed=1) if problems else Count(passed=1)


def includes():
    import check_includes

    return report("includes", list(check_includes.problems()))


def lint():
    import lint as habits

    total = Count()
    for name, problems in habits.checks():
        total.add(report(name, problems))
    return total


PARTS = {
    "includes": includes,
    "lint": lint,
    "unit": unit,
    "threads": threads,
    "cli": cli,
    "wire": wire,
    "wire-threads": wire_threads,
}


def main():
    chosen = sys.argv[1:] or list(PARTS)
    for name in chosen:
        if name not in PARTS:
            sys.exit(__doc__)
    total = Count()
    summary = []
    for name in chosen:
        print(f"== {name}", flush=True)
        began = time.monotonic()
        count = PARTS[name]()
        summary.append(f"   {name:13} {count}  ({time.monotonic() - began:.0f} s)")
        total.add(count)
    print("==", *summary, sep="\n")
    print(total, flush=True)
    sys.exit(1 if total.failed else 0)


if __name__ == "__main__":
    main()
