"""The record that `disk` keeps, and the disks that a loss of power may leave of it.

A place in time is a length of the record. At a place everything before the last sync is
on the disk; of the writes after it any subset is, some of them torn between sectors.
"""
import bisect
import mmap
import os
import struct

ENTRY = struct.Struct("=QQII")
KIND_WRITE, KIND_SYNC = 1, 2
CHUNK_BYTES = 65536
SECTOR_BYTES = 512
BLOCK_BYTES = 4096
IMAGE_MAGIC = b"kvindex1"
SPACE_BYTES_MIN = 32768


class Record:
    """All entries of a finished record."""

    def __init__(self, path):
        self.entries = []  # (kind, offset, length, where the bytes are)
        self.ends = []  # the place behind each
        self.times_ns = []
        self.syncs = []  # numbers of entries
        with open(path, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            self.bytes = mmap.mmap(file.fileno(), length, prot=mmap.PROT_READ)
        at = 0
        while at < length:
            time_ns, offset, count, kind = ENTRY.unpack_from(self.bytes, at)
            at += ENTRY.size
            if kind == KIND_SYNC:
                self.syncs.append(len(self.entries))
            self.entries.append((kind, offset, count, at))
            at += count
            self.ends.append(at)
            self.times_ns.append(time_ns)

    def entry_at(self, place):
        """How many entries end at a place or before it."""
        return bisect.bisect_right(self.ends, place)

    def durable(self, point):
        """How many of the first `point` entries are on the disk for certain."""
        number = bisect.bisect_left(self.syncs, point)
        return self.syncs[number - 1] + 1 if number > 0 else 0

    def place(self, point):
        return self.ends[point - 1] if point > 0 else 0

    def time_ns(self, point):
        return self.times_ns[point - 1] if point > 0 else self.times_ns[0]

    def phases(self):
        """What the writes themselves tell: an image of the index, space made ahead."""
        for number, (kind, _, length, at) in enumerate(self.entries):
            if kind != KIND_WRITE:
                continue
            data = self.bytes[at:at + length]
            if data.startswith(IMAGE_MAGIC):
                yield "image", self.place(number), self.behind_syncs(number, 3)
            elif length >= SPACE_BYTES_MIN and not data.strip(b"\0"):
                yield "space", self.place(number), self.behind_syncs(number, 1)

    def behind_syncs(self, number, count):
        """The place behind so many syncs from an entry on."""
        sync = bisect.bisect_left(self.syncs, number) + count - 1
        return self.ends[self.syncs[min(sync, len(self.syncs) - 1)]]

    def close(self):
        self.bytes.close()


def data_chunks(fd, length):
    """The numbers of all chunks of a sparse file that may hold something."""
    chunks = set()
    at = 0
    while at < length:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(fd, begin, os.SEEK_HOLE)
        chunks.update(range(begin // CHUNK_BYTES, (at - 1) // CHUNK_BYTES + 1))
    return chunks


def copy_sparse(source, target):
    """Copy a file, leaving out what is zero."""
    with open(source, "rb") as file, open(target, "wb") as copy:
        length = os.fstat(file.fileno()).st_size
        copy.truncate(length)
        for chunk in sorted(data_chunks(file.fileno(), length)):
            data = os.pread(file.fileno(), CHUNK_BYTES, chunk * CHUNK_BYTES)
            if data.strip(b"\0"):
                os.pwrite(copy.fileno(), data, chunk * CHUNK_BYTES)


class Remains:
    """Makes the disks of one record; points have to come in ascending order."""

    def __init__(self, base, record, scratch):
        self.record = record
        copy_sparse(base, scratch)
        self.file = open(scratch, "r+b")
        self.length = os.fstat(self.file.fileno()).st_size
        self.chunks = data_chunks(self.file.fileno(), self.length)
        self.bytes = mmap.mmap(self.file.fileno(), self.length)
        self.applied = 0

    def close(self):
        self.bytes.close()
        self.file.close()
        os.unlink(self.file.name)

    def advance(self, count):
        """Put the first `count` entries on the disk."""
        for kind, offset, length, at in self.record.entries[self.applied:count]:
            if kind == KIND_WRITE and length > 0:
                self.bytes[offset:offset + length] = self.record.bytes[at:at + length]
                last = (offset + length - 1) // CHUNK_BYTES
                self.chunks.update(range(offset // CHUNK_BYTES, last + 1))
        self.applied = max(self.applied, count)

    def build(self, point, dice, tear_bytes, target):
        """Write a disk as it may be at a point to the file `target`."""
        durable = self.record.durable(point)
        self.advance(durable)
        with open(target, "r+b") as file:
            file.truncate(0)
            file.truncate(self.length)
            view = memoryview(self.bytes)
            for begin, end in runs(self.chunks):
                os.pwrite(file.fileno(), view[begin * CHUNK_BYTES:end * CHUNK_BYTES],
                          begin * CHUNK_BYTES)
            view.release()
            for offset, data in self.surviving(durable, point, dice, tear_bytes):
                os.pwrite(file.fileno(), data, offset)

    def surviving(self, durable, point, dice, tear_bytes):
        """The writes since the last sync that reached the disk, whole or in part."""
        writes = [entry for entry in self.record.entries[durable:point]
                  if entry[0] == KIND_WRITE and entry[2] > 0]
        kept = choose(len(writes), dice)
        tear_chance = dice.choice((0, 0, 0.1, 0.5))
        for number, (_, offset, length, at) in enumerate(writes):
            if not kept[number]:
                continue
            data = self.record.bytes[at:at + length]
            if length > tear_bytes and dice.random() < tear_chance:
                yield from torn(offset, data, dice, tear_bytes)
            else:
                yield offset, data


def runs(chunks):
    """Neighbouring chunks as ranges."""
    begin = end = None
    for chunk in sorted(chunks):
        if chunk != end:
            if begin is not None:
                yield begin, end
            begin = chunk
        end = chunk + 1
    if begin is not None:
        yield begin, end


def choose(count, dice):
    """Which of so many writes survive: any subset, the plain ones more often."""
    way = dice.randrange(8)
    cut = dice.randrange(count + 1)
    if way == 0:
        return [True] * count
    if way == 1:
        return [False] * count
    if way == 2:
        return [number < cut for number in range(count)]
    if way == 3:
        return [number >= cut for number in range(count)]
    if way == 4:
        return [number != cut for number in range(count)]
    if way == 5:
        return [number == cut for number in range(count)]
    chance = dice.choice((0.1, 0.5, 0.9))
    return [dice.random() < chance for _ in range(count)]


def torn(offset, data, dice, tear_bytes):
    """Parts of a write: its beginning, its end, or any of its sectors."""
    sectors = (len(data) + tear_bytes - 1) // tear_bytes
    cut = dice.randrange(1, sectors) * tear_bytes if sectors > 1 else 0
    way = dice.randrange(3)
    if way == 0:
        yield offset, data[:cut]
    elif way == 1:
        yield offset + cut, data[cut:]
    else:
        for sector in range(sectors):
            if dice.random() < 0.5:
                at = sector * tear_bytes
                yield offset + at, data[at:at + tear_bytes]
