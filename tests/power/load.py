"""The load under which a record is made: writes of all kinds, compactions, stops, kills.

It notes with each command at which place of the record it was sent and answered, and in
which parts of the record something special was under way.
"""
import os
import threading
import time

import kernel
from history import HEAVY, HEAVY_KEYS, KEYS, LARGE, Segment, difference, value_of
from server import Client, Server, Violation

ACTIONS = {
    "lone": 30, "batch": 25, "heavy": 10, "large": 4, "sync": 4, "compact": 6,
    "compact_alone": 4, "stop": 4, "kill": 5, "kill_start": 3,
}
LOG_FILES = ("kv.log", "kv.log.new", "kv.log.old", "kv.log.index")
IMAGE_SECONDS_MAX = 0.05


class Load:
    """One client of one server on a file system whose disk keeps a record."""

    def __init__(self, directory, record, program, dice, sync, preload=None):
        self.directory, self.record = directory, record
        self.program, self.dice = program, dice
        self.sync, self.preload = sync, preload
        self.segments = [Segment(0, {}, sync == "always")]
        self.phases = []  # (what, first place, last place)
        self.server = self.client = None
        self.next_number = dice.randrange(1, 1 << 20) * 1_000_000
        self.compaction_place = None
        self.kills = True

    @property
    def segment(self):
        return self.segments[-1]

    @property
    def log(self):
        return f"{self.directory}/kv.log"

    def place(self):
        return os.stat(self.record).st_size

    def end_phase(self, what, begin):
        self.phases.append((what, begin, self.place()))

    # ---- Starts and ends ----

    def start(self):
        """After it, what the store holds is known, and durable."""
        begin = self.place()
        self.server = Server(self.program, self.log, self.sync, self.preload)
        self.server.await_ready()
        self.client = Client(self.server)
        world = self.client.world()
        self.end_phase("start", begin)
        old = self.segment
        if old.find(world, old.answered, len(old.commands)) is None:
            raise Violation("a start while recording: " + difference(
                old, world, old.answered, len(old.commands)))
        self.segments.append(Segment(self.place(), world, self.sync == "always"))

    def stop(self):
        begin = self.place()
        self.client.close()
        self.server.stop()
        self.end_phase("stop", begin)
        self.settle()
        self.end_compaction()

    def settle(self):
        """All that was answered is durable from here on."""
        segment = self.segment
        if segment.answered == len(segment.commands):
            segment.send(None, 0, self.place())
            segment.answer(1, self.place(), time.monotonic_ns())

    def kill(self):
        """While commands are on their way, if the dice say so."""
        if not self.kills:
            self.stop()
            return
        if self.dice.random() < 0.8:
            self.send(self.random_commands(self.dice.choice((1, 3, 20, 100, 400))))
        time.sleep(self.dice.choice((0, 0.0002, 0.001, 0.004)) * self.dice.random())
        self.server.process.kill()
        self.gather()
        self.client.close()
        self.server.finish()
        self.end_compaction()

    def kill_starts(self):
        begin = self.place()
        for _ in range(self.dice.randrange(1, 4) if self.kills else 0):
            server = Server(self.program, self.log, self.sync, self.preload)
            time.sleep(self.dice.random() * 0.008)
            server.kill()
        self.end_phase("start", begin)

    # ---- Commands ----

    def number(self, kind):
        self.next_number += 1
        return self.next_number * 16 + kind

    def random_command(self):
        if self.dice.random() < 0.15:
            return self.dice.choice(KEYS), 0
        number = self.number(self.dice.randrange(LARGE))
        return self.dice.choice(KEYS[HEAVY_KEYS:]), number

    def random_commands(self, count):
        return [self.random_command() for _ in range(count)]

    def send(self, commands):
        """As one piece; its answers are still to come."""
        place = self.place()
        lines = []
        for key, number in commands:
            self.segment.send(key, number, place)
            if number:
                lines.append(b"SET %s %s\n" % (key.encode(), value_of(number)))
            elif key is None:
                lines.append(b"SYNC\n")
            else:
                lines.append(b"DELETE %s\n" % key.encode())
        self.client.send(b"".join(lines))

    def gather(self):
        """Take answers until all are there, or the server is gone."""
        segment = self.segment
        while segment.answered < len(segment.commands):
            more = self.client.receive()
            place, time_ns = self.place(), time.monotonic_ns()
            if not more:
                return
            # Cut off in a kill, the last line may be a part.
            lines = (self.client.input + more).split(b"\n")
            self.client.input = lines.pop()
            if any(line != b"success" for line in lines):
                raise Violation(f"an answer to a write: {lines[:3]}")
            segment.answer(len(lines), place, time_ns)

    def write(self, commands):
        self.send(commands)
        self.gather()
        if self.segment.answered < len(self.segment.commands):
            raise Violation(f"the server closed a connection: {self.server.told}")

    # ---- Actions ----

    def lone(self):
        for _ in range(self.dice.randrange(1, 6)):
            self.write([self.random_command()])

    def batch(self):
        self.write(self.random_commands(self.dice.choice((2, 5, 20, 100, 300))))

    def heavy(self):
        self.write([(self.dice.choice(KEYS[:HEAVY_KEYS]), self.number(HEAVY))
                    for _ in range(self.dice.randrange(1, 4))])

    def large(self):
        key = self.dice.choice(KEYS[HEAVY_KEYS:HEAVY_KEYS + 3])
        self.write([(key, self.number(LARGE))])

    def sync_all(self):
        self.write([(None, 0)])

    def compact(self):
        """It goes on while other actions follow."""
        if self.compaction_place is None:
            self.compaction_place = self.place()
        self.client.begin_compaction()

    def compact_alone(self):
        """Until it is done and, if it comes, the image of the index behind it."""
        before = identity(self.log + ".index")
        count = int(self.client.figures()["compactions"])
        self.compact()
        self.client.await_compaction(count)
        self.end_compaction()
        end = time.monotonic() + IMAGE_SECONDS_MAX
        while identity(self.log + ".index") == before and time.monotonic() < end:
            self.client.figures()

    def end_compaction(self):
        if self.compaction_place is not None:
            self.end_phase("compaction", self.compaction_place)
            self.compaction_place = None

    def act(self, action):
        if action == "stop":
            self.stop()
            self.start()
        elif action == "kill":
            self.kill()
            self.start()
        elif action == "kill_start":
            self.kill()
            self.kill_starts()
            self.start()
        elif action == "sync":
            self.sync_all()
        else:
            getattr(self, action)()

    def run(self, count, seconds_min=0):
        """From a first start to an end: so many actions, for so long at least."""
        end = time.monotonic() + seconds_min
        self.start()
        self.write([(key, self.number(HEAVY)) for key in KEYS[:HEAVY_KEYS]])
        while count > 0 or time.monotonic() < end:
            [action] = self.dice.choices(list(ACTIONS), ACTIONS.values())
            self.act(action)
            count -= 1
            if self.dice.random() < 0.003:
                time.sleep(1.1)  # longer than a rest that gets a seal of its own
        self.finish()

    def run_short(self):
        """On what a loss of power left: starts, and little else."""
        if self.dice.random() < 0.6:
            self.kill_starts()
        self.start()
        for action in self.dice.choices(("lone", "batch", "compact", "heavy"), k=3):
            self.act(action)
        self.finish()

    def finish(self):
        if self.dice.random() < 0.5:
            self.stop()
        else:
            self.kill()

    def abandon(self):
        if self.server is not None:
            self.server.process.kill()
            self.server.process.wait()


def identity(path):
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


class Nudges(threading.Thread):
    """What else happens there: others sync their files, the kernel writes back."""

    def __init__(self, directory, dice):
        super().__init__(daemon=True)
        self.directory, self.dice = directory, dice
        self.pause_s = dice.choice((0.001, 0.005, 0.02, 10))
        self.over = threading.Event()

    def run(self):
        with open(f"{self.directory}/other", "wb") as other:
            while not self.over.wait(self.dice.random() * self.pause_s):
                way = self.dice.randrange(10)
                if way < 4:
                    other.write(b"x" * self.dice.randrange(1, 9000))
                    other.flush()
                    os.fsync(other.fileno())
                elif way < 9:
                    self.write_back(self.dice.choice(LOG_FILES))
                else:
                    kernel.sync_file_system(other.fileno())

    def write_back(self, name):
        try:
            fd = os.open(f"{self.directory}/{name}", os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            kernel.begin_writing(fd)
        finally:
            os.close(fd)

    def close(self):
        self.over.set()
        self.join()
