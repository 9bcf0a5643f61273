#!/usr/bin/python3
"""Reads an exposition on standard input with Prometheus's own parser and prints each sample in one
canonical line, "kind name{label='value', …} number", sorted; what the parser refuses is an error.
"""

import sys

from prometheus_client.parser import text_string_to_metric_families

lines = []
seen = set()
for family in text_string_to_metric_families(sys.stdin.buffer.read().decode("utf-8")):
    if family.name in seen:
        sys.exit(f"{family.name} comes twice")
    seen.add(family.name)
    if not family.documentation:
        sys.exit(f"{family.name} has no help")
    for sample in family.samples:
        labels = ", ".join(f"{name}={value!r}" for name, value in sample.labels.items())
        lines.append(f"{family.type} {sample.name}{{{labels}}} {sample.value!r}")
if len(lines) != len({line.rpartition(" ")[0] for line in lines}):
    sys.exit("a series comes twice")
print("\n".join(sorted(lines)))
