"""What was sent, what was answered, and when: what a store may hold at a place in time.

Commands of one client are executed in order, so what is found after a loss of power must
be the outcome of some number of them: at least those that were durable by then, at most
those that had been sent. A number stands for a value (see value_of), 0 for none.
"""
import functools
import random

# With --sync everysec a second may be lost; the rest is for a machine that is busy.
EVERYSEC_LOST_NS = 2_000_000_000

HEAVY_KEYS = 12
KEYS = [f"key{number}" for number in range(60)]
POOL = bytes(random.Random(1).choices(range(33, 127), k=1 << 20))
SIZES = (10, 40, 100, 100, 200, 600, 4200, 9000)
SIZE_HEAVY, SIZE_LARGE = 60_000, 700_000
LARGE, HEAVY = 14, 15  # what the low four bits of a number say of its value's length


@functools.lru_cache(maxsize=512)
def value_of(number):
    """Length and bytes follow from the number."""
    dice = random.Random(number)
    kind = number % 16
    if kind == HEAVY:
        length = dice.randrange(SIZE_HEAVY // 3, SIZE_HEAVY)
    elif kind == LARGE:
        length = dice.randrange(SIZE_HEAVY, SIZE_LARGE)
    else:
        length = dice.randrange(SIZES[kind % len(SIZES)])
    begin = dice.randrange(len(POOL) - length)
    return b"%d:" % number + POOL[begin:begin + length]


class Segment:
    """Commands that follow a moment at which it was known what the store holds.

    A command is [key, number, place when sent, place and time when answered]; its key is
    None if it is a SYNC or a clean stop: then all before it is durable.
    """

    def __init__(self, place, world, syncs_always):
        self.place = place
        self.world = dict(world)
        self.syncs_always = syncs_always
        self.commands = []
        self.answered = 0

    def send(self, key, number, place):
        self.commands.append([key, number, place, None, None])

    def answer(self, count, place, time_ns):
        for command in self.commands[self.answered:self.answered + count]:
            command[3:] = place, time_ns
        self.answered += count

    def final(self):
        """The world after every command."""
        return self.after(len(self.commands))

    def after(self, count):
        world = dict(self.world)
        for key, number, *_ in self.commands[:count]:
            apply(world, key, number)
        return world

    def bounds(self, place, time_ns):
        """How many commands have to be there, and how many may be."""
        least = most = 0
        for number, (key, _, sent, answered, answered_ns) in enumerate(self.commands):
            if sent < place:
                most = number + 1
            if answered is None or answered > place:
                continue
            if self.syncs_always or key is None or \
                    time_ns - answered_ns > EVERYSEC_LOST_NS:
                least = number + 1
        # What changed nothing, as a DELETE without a key, needs no write to be answered.
        return least, max(least, most)

    def find(self, world, least, most):
        """The number of commands whose outcome is this world, or None."""
        model = self.after(least)
        if model == world:
            return least
        for number in range(least, most):
            apply(model, *self.commands[number][:2])
            if model == world:
                return number + 1
        return None

    def frozen(self, least, most):
        """The same range for every place, for what is recorded on what this one left."""
        segment = Segment(-1, self.after(least), True)
        segment.commands = [[key, number, -1, None, None]
                            for key, number, *_ in self.commands[least:most]]
        return segment


def apply(world, key, number):
    if number:
        world[key] = number
    elif key is not None:
        world.pop(key, None)


def segment_at(segments, place):
    """The one that tells what may be there at a place."""
    found = segments[0]
    for segment in segments:
        if segment.place <= place:
            found = segment
    return found


def difference(segment, world, least, most):
    """In words, for a violation."""
    lines = [f"{least} commands had to be there, {most} were sent"]
    model = segment.after(least)
    for key in KEYS:
        possible = {model.get(key, 0)}
        possible.update(command[1] for command in segment.commands[least:most]
                        if command[0] == key)
        if world.get(key, 0) not in possible:
            lines.append(f"{key} holds {world.get(key, 0)}, may be {sorted(possible)}")
    if len(lines) == 1:
        lines.append("each key alone is possible, but not all together")
    return "\n  ".join(lines[:8])
