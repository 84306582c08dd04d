#!/usr/bin/env python3
"""Which branches of the program would anybody miss? One at a time is taken always or never.

    tests/mutate.py SAMPLE [SEED] [PATTERN]     so many of them, chosen by SEED (1), in the
                                                files whose path has PATTERN in it

Each source of src/ is compiled to assembly, without what would hide a branch of the source
from it. In a copy of the tree one conditional jump becomes none, or one that is always
taken; then the tests run until one fails: those named after the file, the world with its
saved scripts and fixed seeds, all the others, the world's scripts with every failure;
of each kind the short ones first. A program that the file is no part of is passed over.
A failing test, a crash and a time limit kill a mutant. Survivors are told with file, line
and text, and are either listed with a reason in tests/mutate.txt, or a failure. What is
listed is tried no more.

Assertions are left out: their failing side is what no test should see. The same SAMPLE,
SEED and compiler give the same mutants. Two run at once. What each became stands in
build/mutate/report.
"""
import concurrent.futures
import filecmp
import hashlib
import os
import platform
import queue
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

PLACE = "build/mutate"
WORKERS = 2
FLAGS = ("-O1 -fno-inline -fno-if-conversion -fno-if-conversion2 -fno-ssa-phiopt "
         "-fno-jump-tables -fno-tree-switch-conversion -fno-reorder-blocks")
LISTED = "tests/mutate.txt"
WORLD = "build/world/world"
WORLD_SEEDS = 3000
EVERY = ["tests/world/every/f63_compaction_and_image.world",
         "tests/world/every/f94_batches_and_stops.world"]
LONG = ["build/tests/test_corpus"]  # made smaller
CLIENT = ["build/kv-store", "build/kv"]
SECONDS_MORE = 10  # than a few times what a program takes without a mutant
MEMORY_BYTES = 3 << 30

DRIVING = r"test_server_\w+$"  # tests of a program of its own

# Files that no test is named after, and the tests that see most of them.
NEAR = {"chunks": "index", "load": "recover|store", "part": "index", "place": "recover|store",
        "room": "compact_room", "torn": "recover", "transaction": "store",
        "upkeep": "store|image", "worth": "compact"}

JUMP = re.compile(r"\tj(?!mp\b)([a-z]+)\t(\.L\w+)$")
LOCATION = re.compile(r"\t\.loc (\d+) (\d+)")
FILE = re.compile(r'\t\.file (\d+) "([^"]*)"(?: "([^"]*)")?')
LABEL = re.compile(r"(\.L\w+|\w+):")


class Mutant:
    """A jump of an assembly file, by its line, that is taken always or never.

    place: file and line of the source, and which of the jumps of that line it is.
    """

    def __init__(self, source, at, is_always, place, target):
        self.source, self.at, self.is_always = source, at, is_always
        self.file, self.line, self.number = place
        self.target = target

    def key(self, seed):
        name = f"{seed}:{self.source}:{self.at}:{self.is_always}"
        return hashlib.sha256(name.encode()).hexdigest()

    def text(self):
        with open(f"{PLACE}/plain/{self.file}", encoding="utf-8") as lines:
            return lines.read().split("\n")[self.line - 1].strip()

    def way(self):
        return "always" if self.is_always else "never"

    def reason(self, reasons):
        """Why it is listed: all jumps of its line, or this one; None if neither is."""
        for way in (self.way(), f"{self.way()} {self.number}"):
            if (self.file, way, self.text()) in reasons:
                return reasons[self.file, way, self.text()]
        return None

    def __str__(self):
        return (f"{self.file}:{self.line}: jump {self.number} {self.way()} goes on at "
                f"{self.target}: {self.text()}")


def assemble(place, source):
    """The lines of assembly of a source."""
    command = ["make", "--no-print-directory", "-s", "-C", place, "BUILD=build",
               f"CFLAGS={FLAGS} -g", f"build/{source[:-2]}.s"]
    subprocess.run(command, check=True)
    with open(f"{place}/build/{source[:-2]}.s", encoding="utf-8") as file:
        return file.read().split("\n")


def leads_to_an_assertion(lines, at):
    """Whether the code from there on is the failure of one."""
    for line in lines[at:at + 40]:
        if "__assert_fail" in line:
            return True
        if re.match(r"\t(ret|jmp|call|j[a-z]+)\b", line):
            return False
    return False


def first_line(lines, at, fallback):
    """The line of the source that the code from there on is of."""
    for line in lines[at:at + 40]:
        found = LOCATION.match(line)
        if found:
            return int(found[2])
    return fallback


def find_mutants(source, lines):
    labels = {}
    for at, line in enumerate(lines):
        found = LABEL.match(line)
        if found:
            labels[found[1]] = at
    files, jumps, mutants = {}, {}, []
    file, number = source, 0
    for at, line in enumerate(lines):
        found = FILE.match(line)
        if found:
            name = found[3] if found[3] else found[2]
            files[found[1]] = os.path.relpath(name) if os.path.isabs(name) else name
        found = LOCATION.match(line)
        if found:
            file, number = files.get(found[1], source), int(found[2])
        found = JUMP.match(line)
        if not found or not re.match(r"(src|include)/", file) or number == 0:
            continue
        if lines[at + 1].startswith("\tmovaps\t%xmm0,"):
            continue  # how the compiler begins a function with "...", no branch of the source
        target = labels.get(found[2])
        if (target is None or leads_to_an_assertion(lines, target) or
                leads_to_an_assertion(lines, at + 1)):
            continue
        goes_on = first_line(lines, target, number)
        jumps[file, number] = jumps.get((file, number), 0) + 1
        place = file, number, jumps[file, number]
        for is_always in (False, True):
            mutants.append(Mutant(source, at, is_always, place, goes_on))
    return mutants


class Cost:
    """What the tests take without a mutant, in seconds, and so with one at most."""

    def __init__(self):
        self.processor, self.clock = {}, {}

    def note(self, command, usage, seconds):
        self.processor[tuple(command)] = usage.ru_utime + usage.ru_stime
        self.clock[tuple(command)] = seconds

    def of(self, command):
        return self.clock.get(tuple(command), 0)

    def processor_seconds(self, command):
        return int(SECONDS_MORE + 4 * self.processor.get(tuple(command), 60))

    def clock_seconds(self, command):
        return 6 * SECONDS_MORE + 10 * self.clock.get(tuple(command), 60)


def limit(processor_seconds):
    os.setsid()
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_CPU, (processor_seconds, processor_seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


class Worker:
    """A copy of the tree in which one mutant at a time is built and tested."""

    def __init__(self, number, seed, cost):
        self.place = os.path.abspath(f"{PLACE}/{number}")
        self.cost = cost
        self.memory = f"/dev/shm/kv-mutate-{os.getpid()}-{number}"
        if not os.path.isdir("/dev/shm"):
            self.memory = f"{self.place}/tmp"
        self.environment = dict(os.environ, TMPDIR=self.memory, KV_TEST_SEED=str(seed),
                                KV_STORE_PROGRAM="build/kv-store")
        for name in ("JOURNAL_STREAM", "NOTIFY_SOCKET"):
            self.environment.pop(name, None)
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(f"{PLACE}/plain", self.place, symlinks=True)

    def make(self, targets):
        command = ["make", "--no-print-directory", "-s", "BUILD=build", f"CFLAGS={FLAGS}",
                   *targets]
        done = subprocess.run(command, cwd=self.place, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)

    def run(self, command, is_measured=False):
        """Returns why it failed, or None."""
        shutil.rmtree(self.memory, ignore_errors=True)
        os.makedirs(self.memory)
        last_run, failure, began = "", None, time.monotonic()
        environment = dict(self.environment)
        if command[0] in LONG:
            environment["KV_TEST_SLOW"] = "1"
        with subprocess.Popen(command, cwd=self.place, env=environment, text=True,
                              errors="replace", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              preexec_fn=lambda: limit(
                                  self.cost.processor_seconds(command))) as program:
            clock = Alarm(program.pid, self.cost.clock_seconds(command))
            for line in program.stdout:
                found = re.match(r"\[ RUN      \] (\w+)", line)
                last_run = found[1] if found else last_run
                found = re.match(r"not ok (.*)", line)
                if found and failure is None:
                    failure = found[1]  # of a script, which ends its own programs
                found = re.match(r"\[  FAILED  \] (\w+)", line)
                if found or "VIOLATION" in line:
                    failure = found[1] if found else line.split("VIOLATION", 1)[1].strip()
                    break
            end(program.pid)
            _, status, usage = os.wait4(program.pid, 0)
            program.returncode = os.waitstatus_to_exitcode(status)
            clock.stop()
        shutil.rmtree(self.memory, ignore_errors=True)
        if is_measured:
            self.cost.note(command, usage, time.monotonic() - began)
        if failure is None and program.returncode != 0:
            failure = f"{last_run} (status {program.returncode})"
        return failure

    def is_changed(self, command):
        """Whether a program is another one than without the mutant."""
        if command[0] == "bash" or re.search(DRIVING, command[0]):
            return True
        return not filecmp.cmp(f"{self.place}/{command[0]}", f"{PLACE}/plain/{command[0]}",
                               shallow=False)

    def judge(self, mutant, plain, groups):
        """Returns the test that fails, or None."""
        stem = mutant.source[:-2]
        lines = list(plain)
        cond = JUMP.match(lines[mutant.at])
        lines[mutant.at] = f"\tjmp\t{cond[2]}" if mutant.is_always else "\tnop"
        with open(f"{self.place}/build/{stem}.mutant.s", "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        subprocess.run(["cc", "-c", "-o", f"{self.place}/build/{stem}.o",
                        f"{self.place}/build/{stem}.mutant.s"], check=True)
        try:
            for targets, commands in groups:
                self.make(targets)
                for command in sorted(commands, key=self.cost.of):
                    failure = self.run(command) if self.is_changed(command) else None
                    if failure is not None:
                        name = command[1] if command[0] == "bash" else command[0]
                        return f"{os.path.basename(name)}: {failure}"
            return None
        finally:
            shutil.copy2(f"{PLACE}/plain/build/{stem}.o", f"{self.place}/build/{stem}.o")
            os.utime(f"{self.place}/build/{stem}.o")


def end(process_group):
    """A program, and whatever it started."""
    try:
        os.killpg(process_group, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Alarm:
    """What waits for ever takes no processor time: it is ended by the clock."""

    def __init__(self, process_group, seconds):
        self.timer = threading.Timer(seconds, end, [process_group])
        self.timer.daemon = True
        self.timer.start()

    def stop(self):
        self.timer.cancel()


def tests_of(place):
    """The programs that `make check` runs, but the world, which comes by itself."""
    names = [name[:-2] for directory in ("unit", "server")
             for name in sorted(os.listdir(f"{place}/tests/{directory}"))
             if re.fullmatch(r"test_\w+\.c", name)]
    return [f"build/tests/{name}" for name in names] + ["build/fuzz/replay"]


def groups_of(source, tests, seed, place):
    """What is built and run, the quickest to notice first; what takes long only where it
    is about that part of the program."""
    word = os.path.basename(source)[:-2]
    seeds = ["--violations", "1", "--seed", str(seed), "--seeds", str(WORLD_SEEDS)]
    world = ([WORLD], [[WORLD], [WORLD, *seeds]])
    if word == "kv":
        return [world, (CLIENT, [["bash", "tests/clients/kv.sh", CLIENT[0]]])]
    room = os.path.basename(os.path.dirname(source))
    names = f"{word}|{room}|{NEAR.get(word, word)}"
    near = [test for test in tests if re.search(rf"test_({names})(_|$)", test)]
    server = [test for test in tests if re.search(DRIVING, test) and test not in near]
    far = [test for test in tests if test not in near + server + LONG]
    groups = [([*near, CLIENT[0]], [[test] for test in near]),
              world,
              (far, [[test] for test in far])]
    if re.match(r"src/(net/|offline/|\w+\.c)", source):
        groups.append(([*server, CLIENT[0]], [[test] for test in server]))
    if word == "main":
        groups.append((CLIENT, [["bash", "tests/clients/operations.sh", CLIENT[0]]]))
    if re.match(r"src/(file|log|engine)/", source):
        groups.append((LONG, [[test] for test in LONG]))
        groups.append(([], [[WORLD, "--violations", "1", "--every", script]
                            for script in EVERY if os.path.exists(f"{place}/{script}")]))
    return [group for group in groups if group[1]]


def listed():
    """What is known to make no difference: file, way and text of a line, with a reason."""
    reasons = {}
    with open(LISTED, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                name, way, text, reason = line.rstrip("\n").split(" | ", 3)
                reasons[name, way, text] = reason
    return reasons


def prepare(pattern):
    shutil.rmtree(PLACE, ignore_errors=True)
    place = f"{PLACE}/plain"
    os.makedirs(f"{place}/build")
    shutil.copy2("Makefile", place)
    for name in ("src", "include", "tests"):
        shutil.copytree(name, f"{place}/{name}", symlinks=True)
    tests = tests_of(place)
    subprocess.run(["nice", "make", "--no-print-directory", "-s", f"-j{WORKERS}", "-C",
                    place, "BUILD=build", f"CFLAGS={FLAGS}", WORLD, *CLIENT,
                    *tests], check=True)
    sources = sorted(os.path.relpath(os.path.join(directory, name), place)
                     for directory, _, names in os.walk(f"{place}/src")
                     for name in names if name.endswith(".c"))
    assembly = {source: assemble(place, source) for source in sources if pattern in source}
    return assembly, tests


def main():
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    pattern = sys.argv[3] if len(sys.argv) > 3 else ""
    if platform.machine() not in ("x86_64", "AMD64"):
        sys.exit("mutate: knows only the jumps of x86-64")
    assembly, tests = prepare(pattern)
    mutants = [mutant for source, lines in assembly.items()
               for mutant in find_mutants(source, lines)]
    total = len(mutants)
    mutants = sorted(mutants, key=lambda mutant: mutant.key(seed))[:count]
    cost, reasons, workers = Cost(), listed(), queue.Queue()
    for number in range(WORKERS):
        workers.put(Worker(number, seed, cost))
    groups = {source: groups_of(source, tests, seed, f"{PLACE}/plain")
              for source in assembly}

    def measure(command):
        worker = workers.get()
        failure = worker.run(command, is_measured=True)
        workers.put(worker)
        return failure and f"{command} fails without a mutant: {failure}"

    def check(pool):
        commands = {tuple(command): command
                    for source in sorted({mutant.source for mutant in mutants})
                    for _, commands in groups[source] for command in commands}
        for failure in pool.map(measure, commands.values()):
            if failure is not None:
                pool.shutdown(wait=False, cancel_futures=True)
                sys.exit(f"mutate: {failure}")

    def judge(mutant):
        reason = mutant.reason(reasons)
        if reason is not None:
            return mutant, reason, f"listed: {reason}"
        worker = workers.get()
        start = time.monotonic()
        killer = worker.judge(mutant, assembly[mutant.source], groups[mutant.source])
        workers.put(worker)
        return mutant, killer, f"{time.monotonic() - start:.0f} s: {killer or 'SURVIVED'}"

    survivors, known = [], 0
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool, \
            open(f"{PLACE}/report", "w", encoding="utf-8") as report:
        check(pool)
        for done in concurrent.futures.as_completed(
                [pool.submit(judge, mutant) for mutant in mutants]):
            mutant, killer, told = done.result()
            known += told.startswith("listed")
            if killer is None:
                survivors.append(mutant)
                print(f"SURVIVED {mutant}", flush=True)
            print(f"{mutant}\n    {told}", file=report, flush=True)
    line = (f"mutate: {len(mutants)} of {total} mutants, seed {seed}: "
            f"{len(survivors)} survived, {known} are listed with a reason")
    print(line)
    if os.environ.get("KV_RAN"):
        with open(os.environ["KV_RAN"], "a", encoding="utf-8") as ran:
            print(line, file=ran)
    for number in range(WORKERS):
        shutil.rmtree(f"{PLACE}/{number}", ignore_errors=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
