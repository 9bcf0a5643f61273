#!/usr/bin/python3
"""Habits that a grep can hold: banned functions, memcmp only where allowed, ceilings on length
and width, no sleeps in tests, no leftover markers.

What is over a ceiling today stands in ratchet.json with its number, which may only shrink: a
larger one fails.  --update lowers the file to what is there, and never raises or adds.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RATCHET = pathlib.Path(__file__).with_name("ratchet.json")

FUNCTION_LINES = 90
FILE_LINES = 700
COLUMNS = 100

BANNED = (
    "strcpy strcat strncat stpcpy sprintf vsprintf gets atoi atol atoll atof alloca strtok "
    "asctime ctime gmtime localtime system popen tmpnam mktemp setjmp longjmp rand "
    "srand scanf sscanf fscanf"
).split()
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
MEMCMP = re.compile(r"\b(?:memcmp|bcmp)\s*\(")
SLEEP = re.compile(r"\b(?:time\.sleep|asyncio\.sleep|usleep|nanosleep|sleep|uv_sleep)\s*\(")
# Written apart, so that this file does not find itself.
MARKERS = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")

COMMENT_OR_TEXT = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S
)


def files(*patterns):
    """Files that git knows or would add, without vectors and seeds."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z", *patterns],
        capture_output=True,
        check=True,
    ).stdout.decode()
    skipped = re.compile(r"(^|/)(vectors|corpus)/")
    names = sorted(name for name in listed.split("\0") if name and not skipped.search(name))
    return [name for name in names if (ROOT / name).is_file()]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def code_of(name):
    """C text with comments and literals blanked, lines kept."""

    def blank(found):
        return re.sub(r"[^\n]", " ", found[0])

    return COMMENT_OR_TEXT.sub(blank, text_of(name))


def matches(pattern, name, text):
    for found in pattern.finditer(text):
        yield f"{name}:{text.count(chr(10), 0, found.start()) + 1}", found


def banned_functions():
    for name in files("*.c", "*.h"):
        for place, found in matches(BANNED_CALL, name, code_of(name)):
            yield f"{place}: this project does without {found[1]}()"


def leftover_markers():
    for name in files("*.c", "*.h", "*.py", "*.sh", "*.build", "Makefile", "*.sql", "*.in"):
        for place, found in matches(MARKERS, name, text_of(name)):
            yield f"{place}: {found[1]}"


def layout():
    for name in files("*.c", "*.h", "*.py", "*.build"):
        for number, line in enumerate(text_of(name).splitlines(), 1):
            if line != line.rstrip() or "\t" in line:
                yield f"{name}:{number}: a tab or blanks at the end"


# -- ratchets: {what: number} each -----------------------------------------------------------


def memcmp_calls():
    """memcmp stops at the first difference: never for a secret (base/secret.h compares those).
    Each file that has some is known by their number, so a new one is read before it is let in."""
    counts = {}
    for name in files("src/*.c", "src/*.h"):
        count = len(MEMCMP.findall(code_of(name)))
        if count:
            counts[name] = count
    return counts


def functions_of(name):
    """(name, lines) of each function: its brace stands alone on a line, and so does the end."""
    lines = code_of(name).split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            head = " ".join(lines[max(0, start - 4) : start])
            names = re.findall(r"(\w+)\s*\(", head.rpartition(";")[2].rpartition("}")[2])
            yield (names[0] if names else f"line {start}"), number - start + 1
            start = None


def sleeps_in_tests():
    """A test waits on the condition.  A few wait a random moment on purpose, to leave at any."""
    found = {}
    for name in files("tests/*.c", "tests/*.h", "tests/*.py", "tests/*.sh"):
        text = code_of(name) if name.endswith((".c", ".h")) else text_of(name)
        count = len(SLEEP.findall(text))
        if count:
            found[name] = count
    return found


def wide_lines():
    """Files with lines over the limit, and how many."""
    found = {}
    for name in files("*.c", "*.h", "*.py", "*.build"):
        count = sum(len(line) > COLUMNS for line in text_of(name).splitlines())
        if count:
            found[name] = count
    return found


def long_functions():
    found = {}
    for name in files("*.c"):
        for function, lines in functions_of(name):
            if lines > FUNCTION_LINES:
                found[f"{name}:{function}"] = lines
    return found


def long_files():
    counts = {name: text_of(name).count("\n") for name in files("*.c", "*.h", "*.py")}
    return {name: count for name, count in counts.items() if count > FILE_LINES}


RATCHETS = {
    "memcmp_calls": memcmp_calls,
    "sleeps_in_tests": sleeps_in_tests,
    "wide_lines": wide_lines,
    "long_functions": long_functions,
    "long_files": long_files,
}


def against(known, now):
    for what in sorted(known.keys() | now.keys()):
        allowed, seen = known.get(what, 0), now.get(what, 0)
        if seen > allowed:
            yield f"{what}: {seen}, {allowed} allowed"


def checks():
    """Name of each check with the list of its findings."""
    yield "banned functions", list(banned_functions())
    yield "leftover markers", list(leftover_markers())
    yield "layout", list(layout())
    known = json.loads(RATCHET.read_text())
    for name, count in RATCHETS.items():
        yield name.replace("_", " "), list(against(known.get(name, {}), count()))


def update():
    known = json.loads(RATCHET.read_text())
    for name, count in RATCHETS.items():
        now = count()
        known[name] = {
            what: min(allowed, now[what])
            for what, allowed in known[name].items()
            if what in now
        }
    RATCHET.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def main():
    if sys.argv[1:] == ["--update"]:
        return update()
    bad = 0
    for name, found in checks():
        for problem in found:
            print(problem)
        print(f"{name}: {len(found)} problems")
        bad += bool(found)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
