#!/usr/bin/env python3
"""Power cuts on the kernel's own file systems. Run by tests/power/run.sh, which builds the
programs in C.

    power.py DISK PROGRAM WITNESS OUT [--seconds N] [--seed N] [--states N] [--kinds A,B]
             [--cost] [--prove] [--repeat DIRECTORY]
             [--sync-us N --run COMMAND...]

A load runs on a file system on a disk that keeps a record. For a point in the record the
disk is put together as a loss of power may leave it, the file system mounted, the program
started, and what it holds compared with what had been answered and what had been sent.
Some states are compared, too, with the rules by which tests/world/disk.c makes them.
Some states are recorded again, while the program starts on them, and lose power once more.
"""
import argparse
import collections
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time

import cost
import history
import kernel
import slow
from filesystem import KINDS, Disk, Mounted
from judge import Task, judge
from load import Load, Nudges
from record import BLOCK_BYTES, Record, Remains, copy_sparse
from rules import Rules, Witness
from server import Violation

STATES_OF_A_RECORDING = 100
STATES_OF_A_SECOND_RECORDING = 8
POINTS_OF_A_ROUND = 20
TURNS = 5  # so many recordings, when time is short
ACTIONS_OF_A_RECORDING = 40
EVERYSEC_SECONDS = 3.2
DEPTH_MAX = 3
# --sync, and whether states are compared with the rules; one with everysec takes seconds.
PLANS = (("always", False), ("always", True), ("everysec", False), ("always", False),
         ("everysec", True))
AGAIN_CHANCE = 0.02
VIOLATIONS_MAX = 3


PHASES = {
    "start": "within a start", "compaction": "a compaction", "image": "saving an image",
    "space": "making space ahead", "stop": "a stop", "again": "what followed a loss before",
    "everysec": "with everysec",
}
SEEN = {
    "old": "an older log was there", "torn": "a torn tail",
    "unanswered": "unanswered commands",
    "untorn": "the file system could be mounted only without torn blocks",
}
RULES_SEEN = ("not compared", "names pending", "names missing", "content pending",
              "content older", "lengths between", "sectors of zeros", "sectors of garbage")


class Figures(collections.Counter):
    """What was counted on one kind of file system."""

    def line(self, kind):
        return (f"{kind}: {self['states']} states at {self['points']} points of "
                f"{self['recordings']} recordings, {self['violations']} violations")

    def details(self):
        """Where the points lay, and what was seen, in lines."""
        yield "points", [f"{text} {self[key]}" for key, text in PHASES.items() if self[key]]
        yield "found", [f"{text} {self[key]}" for key, text in SEEN.items() if self[key]]
        yield f"{self['compared']} compared with the rules", [
            f"{key} {self[key]}" for key in RULES_SEEN if self[key]]


class Run:
    """Everything that one call of this program does, on one kind of file system."""

    def __init__(self, arguments, kind, work):
        self.arguments, self.kind, self.work = arguments, kind, work
        self.figures = Figures()
        self.end = None
        self.base = f"{work}/{kind.name}.base"
        self.preload = None
        self.plans = PLANS
        self.states_max = None
        self.turn_seconds = math.inf
        kind.make_image(self.base)

    def is_over(self):
        if self.figures["violations"] >= VIOLATIONS_MAX:
            return True
        if self.states_max is not None:
            return self.figures["states"] >= self.states_max
        return time.monotonic() >= self.end

    def explore(self):
        number = 0
        if self.states_max is None:
            self.turn_seconds = (self.end - time.monotonic()) / TURNS
        while not self.is_over():
            seed = f"{self.arguments.seed}/{self.kind.name}/{number}"
            dice = random.Random(seed)
            sync, is_witnessed = self.plans[number % len(self.plans)]
            recording = Recording(self, dice, seed, sync)
            recording.is_witnessed = is_witnessed
            recording.make(self.base)
            recording.lose_power(STATES_OF_A_RECORDING)
            recording.close()
            number += 1


class Recording:
    """A load on a disk that keeps a record, and the losses of power in it.

    depth: how many losses of power its disk has seen already.
    """

    def __init__(self, run, dice, seed, sync, depth=0):
        self.run, self.dice, self.seed = run, dice, seed
        self.sync, self.depth = sync, depth
        self.kind = run.kind
        self.options = dice.choice(self.kind.options)
        self.work = f"{run.work}/depth{depth}"
        os.makedirs(self.work, exist_ok=True)
        self.image, self.log = f"{self.work}/image", f"{self.work}/record"
        self.state = f"{self.work}/state"
        self.directory = f"{self.work}/mounted"
        self.base = self.load = self.record = self.remains = None
        self.state_loop = None
        self.witness = self.rules = self.root = None
        self.is_witnessed = False

    def make(self, base, segment=None):
        """segment: what is known of the base, if it is no fresh file system."""
        self.base = base
        self.run.figures["recordings"] += 1
        copy_sparse(base, self.image)
        open(self.log, "wb").close()
        disk = Disk(self.run.arguments.disk, f"{self.work}/disk", self.image, self.log,
                    self.dice.choice((0, 0, 0, 300)))
        mounted = Mounted(self.kind, disk.loop, self.directory, self.options)
        self.root = os.stat(self.directory).st_ino
        self.load = Load(self.directory, self.log, self.run.arguments.program, self.dice,
                         self.sync, self.preload())
        if segment is not None:
            self.load.segments = [segment]
        nudges = Nudges(self.directory, random.Random(self.seed + "/nudges"))
        nudges.start()
        try:
            if self.depth > 0:
                self.load.run_short()
            else:
                self.load.kills = self.witness is None  # a call that is cut off leaves doubt
                self.load.run(ACTIONS_OF_A_RECORDING,
                              EVERYSEC_SECONDS if self.sync == "everysec" else 0)
        except Violation as violation:
            self.report(str(violation), self.image, None)
        finally:
            self.load.abandon()
            nudges.close()
            mounted.close()
            disk.close()
        self.record = Record(self.log)
        if self.witness:
            self.rules = Rules(Witness(self.witness, self.root), self.run.figures)
        self.load.phases.extend(self.record.phases())

    def preload(self):
        """What the program runs with while it is recorded."""
        if not self.is_witnessed:
            return self.run.preload
        self.witness = f"{self.work}/witness"
        open(self.witness, "wb").close()
        return {"LD_PRELOAD": self.run.arguments.witness, "KV_POWER_WITNESS": self.witness,
                "KV_POWER_RECORD": self.log, **(self.run.preload or {})}

    def close(self):
        self.record.close()

    # ---- Points ----

    def points(self, count):
        """Anywhere; within something special; at the moment of an answer."""
        entries = len(self.record.entries)
        answers = [command[3] for segment in self.load.segments
                   for command in segment.commands if command[3] is not None]
        kinds = collections.defaultdict(list)
        for what, begin, end in self.load.phases:
            kinds[what].append((begin, end))
        for _ in range(count):
            way = self.dice.randrange(10)
            if way < 4 or not kinds:
                yield self.dice.randrange(entries + 1)
            elif way < 7 or not answers:
                begin, end = self.dice.choice(kinds[self.dice.choice(list(kinds))])
                yield self.record.entry_at(self.dice.randint(begin, end))
            else:
                yield self.record.entry_at(self.dice.choice(answers))

    def count_point(self, point):
        figures, place = self.run.figures, self.record.place(point)
        for what in {what for what, begin, end in self.load.phases if begin <= place < end}:
            figures[what] += 1
        figures["everysec"] += self.sync == "everysec"
        figures["again"] += self.depth > 0

    def lose_power(self, count):
        """In rounds, since a disk is put together from the beginning of the record on."""
        open(self.state, "wb").close()
        os.truncate(self.state, self.kind.size)
        self.state_loop = kernel.Loop(self.state, False, self.run.work)
        turn_end = time.monotonic() + self.run.turn_seconds
        while count > 0 and not self.run.is_over() and time.monotonic() < turn_end:
            self.lose_power_in_turn(min(count, POINTS_OF_A_ROUND))
            count -= POINTS_OF_A_ROUND
        self.state_loop.close()

    def lose_power_in_turn(self, count):
        self.remains = Remains(self.base, self.record, f"{self.work}/durable")
        previous = None
        for point in sorted(self.points(count)):
            if self.run.is_over():
                break
            self.run.figures["points"] += point != previous
            previous = point
            self.try_state(point)
        self.remains.close()

    # ---- States ----

    def task(self, point):
        place = self.record.place(point)
        segment = history.segment_at(self.load.segments, place)
        bounds = segment.bounds(place, self.record.time_ns(point))
        return Task(segment, bounds, self.sync)

    def try_state(self, point):
        state_seed = f"{self.seed}/{self.depth}/{point}/{self.run.figures['states']}"
        dice = random.Random(state_seed + "/judge")
        task = self.task(point)
        self.run.figures["states"] += 1
        self.count_point(point)
        mounted = self.mount_state(point, state_seed)
        if mounted is None:
            return
        if self.depth + 1 < DEPTH_MAX and dice.random() < AGAIN_CHANCE:
            mounted.close()
            self.build(point, state_seed)
            self.record_again(task, state_seed)
        else:
            self.judge_state(mounted, task, point, state_seed)

    def build(self, point, state_seed):
        self.remains.build(point, random.Random(state_seed), self.tear_bytes, self.state)
        self.state_loop.forget_cache()

    def mount_state(self, point, state_seed):
        """A file system that counts on whole blocks gets them, where it cannot mount."""
        for self.tear_bytes in (self.kind.tear_bytes, BLOCK_BYTES):
            self.build(point, state_seed)
            try:
                return Mounted(self.kind, self.state_loop, self.directory, self.options)
            except OSError as error:
                self.run.figures["untorn"] += self.tear_bytes < BLOCK_BYTES
                failure = error
        self.build(point, state_seed)
        self.report(f"the file system itself cannot be mounted: {failure}", self.state,
                    point)
        return None

    def judge_state(self, mounted, task, point, state_seed):
        dice = random.Random(state_seed + "/judge")
        failure = None
        try:
            if self.rules is not None:
                excluded = self.rules.check(self.directory, self.record.place(point))
                if excluded:
                    raise Violation("the rules exclude this: " + "; ".join(excluded[:5]))
            seen = judge(self.directory, task, self.run.arguments.program, dice)
            self.run.figures.update(seen)
        except Violation as violation:
            failure = violation
        mounted.close()
        if failure is not None:
            self.build(point, state_seed)
            self.report(str(failure), self.state, point, task)

    def record_again(self, task, state_seed):
        """Start on a state on a disk that keeps a record, and lose power once more."""
        base = f"{self.work}/again"
        copy_sparse(self.state, base)
        again = Recording(self.run, random.Random(state_seed), state_seed, self.sync,
                          self.depth + 1)
        again.options = self.options
        again.make(base, task.segment.frozen(task.least, task.most))
        again.lose_power(STATES_OF_A_SECOND_RECORDING)
        again.close()
        os.unlink(base)

    # ---- Violations ----

    def report(self, what, image, point, task=None):
        self.run.figures["violations"] += 1
        if self.run.preload is not None:
            return  # it is wanted
        place = "while recording" if point is None else f"point {point}"
        print(f"VIOLATION on {self.kind.name} ({self.options or 'defaults'}), --sync "
              f"{self.sync}, seed {self.seed}, {self.depth} losses of power before, "
              f"{place}:\n  {what}", flush=True)
        fields = {"kind": self.kind.name, "options": self.options, "seed": self.seed,
                  "point": point, "what": what}
        if task is not None:
            fields["task"] = task.to_json()
        self.keep(image, fields)

    def keep(self, image, fields):
        """What a repeat needs, and who looks for the cause."""
        name = self.seed.replace("/", "-")
        kept = f"{self.run.arguments.out}/{name}-{self.run.figures['violations']}"
        os.makedirs(kept, exist_ok=True)
        copy_sparse(image, f"{kept}/image")
        copy_sparse(self.base, f"{kept}/base")
        shutil.copyfile(self.log, f"{kept}/record")
        with open(f"{kept}/violation.json", "w", encoding="ascii") as file:
            json.dump(fields, file, indent=1)
        print(f"  kept in {kept}; make check-power REPEAT={kept}", flush=True)


def repeat(arguments, work):
    """Judge a kept state again."""
    with open(f"{arguments.repeat}/violation.json", encoding="ascii") as file:
        fields = json.load(file)
    kind = KINDS[fields["kind"]]
    copy_sparse(f"{arguments.repeat}/image", f"{work}/state")
    loop = kernel.Loop(f"{work}/state", False, work)
    mounted = Mounted(kind, loop, f"{work}/mounted", fields["options"])
    try:
        judge(f"{work}/mounted", Task.from_json(fields["task"]), arguments.program,
              random.Random(fields["seed"]))
        print("no violation this time")
        return 0
    except Violation as violation:
        print(f"VIOLATION: {violation}")
        return 1
    finally:
        mounted.close()
        loop.close()


def explore(arguments, work):
    violations = 0
    for number, kind in enumerate(arguments.usable):
        run = Run(arguments, kind, work)
        if arguments.states:
            run.states_max = arguments.states // len(arguments.usable)
        left = arguments.deadline - time.monotonic()
        run.end = time.monotonic() + left / (len(arguments.usable) - number)
        run.explore()
        tell(run.figures.line(kind.name))
        for title, items in run.figures.details():
            print(f"    {title}: {', '.join(items)}", flush=True)
        violations += run.figures["violations"]
    return 1 if violations else 0


# With these taken from the program (witness.c), violations have to be found. File systems
# make most names durable on their own, so the last one is left to the rules: they say that
# a name is durable that is not.
PROOFS = (
    ("no-fdatasync", ("always", False)),
    ("reply-first", ("always", False)),
    ("no-fdatasync", ("everysec", False)),
    ("no-directory-sync", ("always", True)),
)


def prove(arguments, work):
    """Take a sync from the program, and see it found."""
    missed = 0
    for fault, plan in PROOFS:
        for kind in arguments.usable:
            began = time.monotonic()
            run = Run(arguments, kind, work)
            run.end = began + arguments.seconds
            run.preload = {"LD_PRELOAD": arguments.witness, "KV_POWER_FAULT": fault}
            run.plans = (plan,)
            run.explore()
            found = run.figures["violations"]
            missed += found == 0
            tell(f"{fault}, --sync {plan[0]}, {kind.name}: "
                 f"{'found' if found else 'NOT FOUND'} within {run.figures['states']} "
                 f"states, {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


def tell(line):
    """Something that the end of `make test` is to show too."""
    print(f"check-power: {line}", flush=True)
    if os.environ.get("KV_RAN"):
        with open(os.environ["KV_RAN"], "a", encoding="utf-8") as ran:
            ran.write(f"check-power: {line}\n")


def not_run_status():
    """Not a failure of `make test`, which tells of it; asked for by itself, it is one."""
    return 0 if os.environ.get("KV_RAN") else 1


def usable(arguments, work):
    """The kinds of file systems that can be mounted here; tells of the others."""
    kinds = []
    for name in arguments.kinds:
        image = f"{work}/probe"
        try:
            KINDS[name].make_image(image)
            disk = Disk(arguments.disk, f"{work}/probe.disk", image, "-")
            try:
                Mounted(KINDS[name], disk.loop, f"{work}/probe.mounted", "").close()
            finally:
                disk.close()
            kinds.append(KINDS[name])
        except (OSError, subprocess.CalledProcessError) as error:
            tell(f"did not run on {name}: {error}")
    return kinds


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("disk")
    parser.add_argument("program")
    parser.add_argument("witness")
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(1 << 32)))
    parser.add_argument("--states", type=int)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--repeat", metavar="DIRECTORY")
    parser.add_argument("--sync-us", type=int, default=1000)
    parser.add_argument("--run", nargs=argparse.REMAINDER)
    return parser.parse_args()


def body(arguments):
    work = f"{arguments.out}/work"
    os.makedirs(work, exist_ok=True)
    # In memory, and gone with the namespace.
    kernel.mount("none", work, "tmpfs", "mode=700,size=8g")
    arguments.deadline = time.monotonic() + arguments.seconds
    if arguments.repeat:
        return repeat(arguments, work)
    if arguments.run:
        return slow.run(arguments, work)
    arguments.usable = usable(arguments, work)
    if not arguments.usable:
        return not_run_status()
    if arguments.cost:
        return cost.table(arguments, work)
    print(f"check-power: seed {arguments.seed}", flush=True)
    return prove(arguments, work) if arguments.prove else explore(arguments, work)


if __name__ == "__main__":
    parsed = parse()
    try:
        sys.exit(kernel.confined(lambda: body(parsed)))
    except OSError as refusal:
        tell(f"did not run: {refusal}")
        sys.exit(not_run_status())
