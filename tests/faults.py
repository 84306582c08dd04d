#!/usr/bin/env python3
"""Print which tests stand for each row of the table in faults.md.

Fails if a row has neither a test nor a line in faults-without-test.txt, or if that file
names a test that does not exist or a row that has a test of its own, or a test a row that
does not exist.

A test stands for a row if its name carries the number (f30_..., f48_f54_...), or if a
comment of a script names it (F30), the world's scripts included.
"""
import collections
import glob
import os
import re
import sys

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


table = re.findall(r"^\| F(\d+) \| ([^|]*) \| .* \|$", read("faults.md"), re.M)
without = dict(re.findall(r"^F(\d+): (.*)$", read("faults-without-test.txt"), re.M))
functions = {}  # the file of each
for path in sorted(glob.glob("*/*.c")):
    for name in re.findall(r"^static void (\w+)\(void \*\*state\)", read(path), re.M):
        functions[name] = path
found = collections.defaultdict(set)  # by row: tests, with their files
for name, path in functions.items():
    for number in re.findall(r"f(\d+)_", re.match(r"(?:f\d+_)*", name)[0]):
        found[number].add(f"{name} ({path})")
# Of scripts, and of the program that is no cmocka test.
for path in [*glob.glob("clients/*.sh"), "server/torture.c", *glob.glob("world/every/*.world"),
             *glob.glob("world/found/*.world")]:
    for comment in re.findall(r"^ *(?:#|\*|/\*).*", read(path), re.M):
        for number in re.findall(r"\bF(\d+)\b", comment):
            found[number].add(f"comment ({path})")

problems = []
for number, fault in table:
    print(f"F{number} {fault}")
    for test in sorted(found[number]):
        print(f"  {test}")
    if number in without and found[number]:
        problems.append(f"F{number} has a test; its line in faults-without-test.txt can go")
    elif number in without:
        print(f"  {without[number]}")
        for name in without[number].partition("covered by ")[2].split():
            if name not in functions:
                problems.append(f"F{number}: there is no test {name}")
    elif not found[number]:
        problems.append(f"F{number} has neither a test nor a line in faults-without-test.txt")
rows = [number for number, _ in table]
problems += [f"no such row: F{number}: {min(tests)}"
             for number, tests in found.items() if tests and number not in rows]
problems += [f"faults.md: two rows are F{number}" for number in set(rows) if rows.count(number) > 1]
for problem in problems:
    print(f"faults: {problem}", file=sys.stderr)
covered = sum(line.startswith("covered by ") for line in without.values())
line = (f"faults: {len(rows)} rows, {sum(bool(found[row]) for row in rows)} with a test of their own, "
        f"{covered} covered by others, {len(without) - covered} without, {len(problems)} problems")
print(line)
with open(os.environ.get("KV_RAN", os.devnull), "a", encoding="utf-8") as ran:
    print(line, file=ran)
sys.exit(1 if problems or not rows else 0)
