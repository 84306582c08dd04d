"""The program under test as a process, and a client of it."""
import os
import select
import signal
import socket
import subprocess
import time

from history import KEYS, value_of

ANSWER_SECONDS_MAX = 60
COMPACTION_ANSWERS_MAX = 20_000
COMPACTION_PAUSE_S = 0.003  # a client at rest leaves the time to the compaction


class Violation(Exception):
    """Something that the program must never do."""


class Server:
    """One run of the program, from its start to its end."""

    def __init__(self, program, log, sync, preload=None):
        self.environment = dict(os.environ)
        if preload:
            self.environment.update(preload)
        self.program, self.log = program, log
        self.process = subprocess.Popen(
            [program, "--file", log, "--port", "0", "--sync", sync],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=self.environment)
        self.told = b""
        self.port = None

    def hear(self):
        """What it says next; nothing at its end."""
        stderr = self.process.stderr.fileno()
        if not select.select([stderr], [], [], ANSWER_SECONDS_MAX)[0]:
            raise Violation(f"the server is silent: {self.told.decode(errors='replace')}")
        more = os.read(stderr, 65536)
        self.told += more
        return more

    def await_ready(self):
        """Until it listens."""
        while self.port is None:
            if not self.hear():
                status = self.process.wait()
                raise Violation(f"the start ended with status {status}: "
                                f"{self.told.decode(errors='replace')}")
            for line in self.told.split(b"\n")[:-1]:
                if b": listening on " in line:
                    self.port = int(line.rsplit(b":", 1)[1])
        return self

    def kill(self):
        self.process.kill()
        self.finish()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.finish()
        if status != 0:
            raise Violation(f"a clean stop ended with status {status}: "
                            f"{self.told.decode(errors='replace')}")

    def finish(self):
        while self.hear():
            pass
        self.process.stderr.close()
        return self.process.wait()


class Client:
    """One connection."""

    def __init__(self, server):
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port))
        self.socket.settimeout(ANSWER_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""

    def close(self):
        self.socket.close()

    def send(self, data):
        """Whether it arrives, the answers will tell."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass

    def receive(self):
        """Whatever there is next; nothing when the server is gone."""
        try:
            return self.socket.recv(1 << 20)
        except TimeoutError as error:
            raise Violation("no answer comes") from error
        except ConnectionError:
            return b""

    def lines(self, count):
        """So many whole lines."""
        parts = [self.input]
        found = self.input.count(b"\n")
        while found < count:
            more = self.receive()
            if not more:
                raise Violation("the server closed a connection: "
                                f"{self.server.process.poll()}")
            parts.append(more)
            found += more.count(b"\n")
        lines = b"".join(parts).split(b"\n")
        self.input = b"\n".join(lines[count:])
        return lines[:count]

    def ask(self, command):
        self.send(command + b"\n")
        return self.lines(1)[0]

    def figures(self):
        """What STATS tells."""
        self.send(b"STATS\n")
        figures = {}
        while True:
            line = self.lines(1)[0]
            if not line:
                return figures
            name, figure = line.split(b" ", 1)
            figures[name.decode()] = figure.decode()

    def compact(self):
        """One more compaction, from its beginning to its end."""
        count = int(self.figures()["compactions"])
        self.begin_compaction()
        self.await_compaction(count)

    def begin_compaction(self):
        answer = self.ask(b"COMPACT")
        if answer != b"success":
            raise Violation(f"an answer to COMPACT: {answer}")

    def await_compaction(self, count):
        """Until more than so many have ended, and none is under way."""
        for _ in range(COMPACTION_ANSWERS_MAX):
            if int(self.figures()["compactions"]) > count and \
                    not os.path.exists(self.server.log + ".old"):
                return
            time.sleep(COMPACTION_PAUSE_S)
        raise Violation("a compaction does not end")

    def world(self):
        """Every key and the number of its value."""
        self.send(b"".join(b"GET %s\n" % key.encode() for key in KEYS) + b"COUNT\n")
        *values, count = self.lines(len(KEYS) + 1)
        world = {}
        for key, value in zip(KEYS, values):
            if value != b"no value stored":
                world[key] = number_of(key, value)
        if int(count) != len(world):
            raise Violation(f"COUNT is {count.decode()}, {len(world)} keys have values")
        return world


def number_of(key, value):
    digits = value.split(b":", 1)[0]
    if not digits.isdigit() or value != value_of(int(digits)):
        raise Violation(f"{key} holds a value that no client sent: {value[:80]}")
    return int(digits)


def run_offline(program, log, option):
    """An offline mode, which has to succeed; returns what it prints."""
    done = subprocess.run([program, "--file", log, option], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise Violation(f"{option} ended with status {done.returncode}: "
                        f"{done.stderr.decode(errors='replace')}")
    return done.stdout


def dumped_world(program, log):
    """What --dump prints, as a world."""
    world = {}
    for line in run_offline(program, log, "--dump").split(b"\n")[:-1]:
        word, key, value = line.split(b" ", 2)
        if word != b"SET" or key.decode() in world:
            raise Violation(f"--dump prints {line[:80]}")
        world[key.decode()] = number_of(key.decode(), value)
    return world
