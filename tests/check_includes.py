#!/usr/bin/python3
"""Holds every #include in src/ to the allowed edges between rooms.

A room may include itself, and the rooms that the table names.  A header whose name ends in
internal.h stays in its room.  Some libraries belong to few rooms.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]

# room: (number, rooms it may include).  An edge points to a lower number, so there is no cycle.
ROOMS = {
    "base": (0, ""),
    "model": (1, "base"),
    "crypto": (1, "base"),
    "json": (1, "base"),
    "http": (2, "base"),
    "pg": (2, "base crypto"),
    "net": (2, "base crypto"),
    "aws": (3, "base crypto json"),
    "identity": (3, "base crypto json model"),
    "config": (3, "base model"),
    "limit": (4, "base model"),
    "policy": (4, "base model"),
    "sql_pg": (4, "base model"),
    "plugins": (5, "base model limit"),
    "audit": (5, "base crypto json model"),
    "database": (6, "base model net pg aws crypto"),
    "store": (6, "base model crypto json aws config limit"),
    "gateway": (
        7,
        "base model crypto json http pg net aws identity config limit policy sql_pg plugins audit "
        "database store",
    ),
    "admin": (
        8,
        "base model crypto json http pg net aws identity config limit policy sql_pg plugins audit "
        "database store gateway",
    ),
    "cli": (
        9,
        "base model crypto json http pg net aws identity config limit policy sql_pg plugins audit "
        "database store gateway admin",
    ),
}

# header, as a pattern: the rooms that may include it.
LIBRARIES = {
    r"uv\.h": "net database gateway admin cli",
    r"curl/.*": "net cli",
    r"yaml\.h": "config",
    r"pg_query.*": "sql_pg",
    r"libpq-fe\.h": "store cli",
    r"openssl/.*": "base crypto net database store",
    r"(sys/socket|netinet/.*|netdb)(\.h)?": "base net database store gateway admin cli",
    r"arpa/inet\.h": "base crypto net config database gateway admin cli",
}

# Codecs and policy: no input, output, clock or log (docs/ARCHITECTURE.md).
PURE = ("json", "http", "pg", "plugins", "policy", "sql_pg")
IMPURE_HEADERS = r"(unistd|fcntl|sys/.*|poll|pthread|uv|curl/.*|stdio)\.h|base/fetch\.h"
LOGS = re.compile(r"\blog_(debug|info|notice|warn|error)\s*\(")

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)


def check_table():
    for room, (number, allowed) in ROOMS.items():
        for other in allowed.split():
            if ROOMS[other][0] >= number:
                yield f"the table lets {room} include {other}, which is not of a lower number"


def check_library(place, room, header):
    for pattern, rooms in LIBRARIES.items():
        if re.fullmatch(pattern, header) and room not in rooms.split():
            yield f"{place}: <{header}> belongs to {rooms}"


def check_own(place, room, header):
    parts = header.split("/")
    if len(parts) != 2 or parts[0] not in ROOMS:
        yield f'{place}: "{header}" is not ROOM/FILE'
        return
    other = parts[0]
    if other == room:
        return
    if other not in ROOMS[room][1].split():
        yield f"{place}: {room} may not include {other}"
    if parts[1].endswith("internal.h"):
        yield f"{place}: {header} stays in its room"


def check_file(path, room):
    text = path.read_text()
    for found in INCLUDE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        place = f"{path.relative_to(ROOT)}:{line}"
        if found[1] == "<" or any(re.fullmatch(name, found[2]) for name in LIBRARIES):
            yield from check_library(place, room, found[2])
        else:
            yield from check_own(place, room, found[2])
        if room in PURE and re.fullmatch(IMPURE_HEADERS, found[2]):
            yield f"{place}: {room} does no input, output or time: {found[2]}"
    if room in PURE:
        for found in LOGS.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield f"{path.relative_to(ROOT)}:{line}: {room} does not log"


def problems():
    yield from check_table()
    for folder in sorted((ROOT / "src").iterdir()):
        if not folder.is_dir():
            continue
        if folder.name not in ROOMS:
            yield f"src/{folder.name} is not a room of the table"
            continue
        for path in sorted(folder.rglob("*.[ch]")):
            yield from check_file(path, folder.name)


def print_table():
    for room, (number, allowed) in ROOMS.items():
        print(f"{number}  {room:9} {allowed}")


def main():
    if sys.argv[1:] == ["--table"]:
        return print_table()
    found = list(problems())
    for problem in found:
        print(problem)
    print(f"includes: {len(found)} problems")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
