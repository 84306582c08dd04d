"""Whether the program makes of a disk what it has to."""
import os

from history import Segment, difference
from server import Client, Server, Violation, dumped_world, run_offline


def judge(directory, task, program, dice):
    """Start on what is there; raises Violation. Returns what was seen, for the figures.

    task: the segment, how many of its commands have to be there and may be, and the sync.
    """
    log = f"{directory}/kv.log"
    seen = set()
    names = os.listdir(directory)
    seen.update(word for word in ("old", "new", "index") if f"kv.log.{word}" in names)
    servers = []

    def start():
        servers.append(Server(program, log, task.sync))
        return servers[-1].await_ready()

    try:
        server = start()
        if b".torn." in server.told:
            seen.add("torn")
        world = Client(server).world()
        count = task.segment.find(world, task.least, task.most)
        if count is None:
            raise Violation(difference(task.segment, world, task.least, task.most))
        if count > task.least:
            seen.add("unanswered")
        if dice.random() < 0.3:
            end(server, dice)
            run_offline(program, log, "--verify")
            server = start()
        finish(server, world, log, program)
    finally:
        for server in servers:
            server.process.kill()
            server.process.wait()
    return seen


def end(server, dice):
    if dice.random() < 0.5:
        server.stop()
    else:
        server.kill()


def finish(server, world, log, program):
    """A further compaction, a clean stop, and what the offline modes say of it."""
    client = Client(server)
    client.compact()
    if client.world() != world:
        raise Violation("a compaction changed what is stored")
    client.close()
    server.stop()
    run_offline(program, log, "--verify")
    if dumped_world(program, log) != world:
        raise Violation("--dump prints something else than is served")
    left = [name for name in (".old", ".new") if os.path.exists(log + name)]
    if left:
        raise Violation(f"left behind after a compaction and a stop: {left}")


class Task:
    """What is known of a disk."""

    def __init__(self, segment, bounds, sync):
        self.segment, self.sync = segment, sync
        self.least, self.most = bounds

    def to_json(self):
        return {"world": self.segment.after(self.least), "sync": self.sync,
                "commands": [command[:2] for command in
                             self.segment.commands[self.least:self.most]]}

    @staticmethod
    def from_json(fields):
        segment = Segment(-1, fields["world"], True)
        for key, number in fields["commands"]:
            segment.send(key, number, -1)
        return Task(segment, (0, len(segment.commands)), fields["sync"])
