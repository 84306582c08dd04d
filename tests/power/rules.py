"""Whether a real file system ever leaves what the rules of tests/world/disk.h exclude.

The rules, of what a loss of power leaves of one directory: of the names, any subset of the
changes since the directory was last synced; of each file a length that it had since it was
last synced, or a multiple of a sector between these; each sector in a version that it had
since then, and where none of them was written, zeros or garbage. What was synced is there.

`witness.c` notes what the program does; a state is compared with that before a start.
"""
import collections
import itertools
import os
import struct

ENTRY = struct.Struct("=6Q")
(KIND_CREATE, KIND_WRITE, KIND_TRUNCATE, KIND_RENAME, KIND_UNLINK, KIND_SYNC,
 KIND_SYNCED) = range(1, 8)
SECTOR = 512
NAMES_FULL_MAX = 14  # every subset of so many changes of names is tried, none of more
OTHERS = ("other", "lost+found", "kv.log.lock")  # not the program's, or without content


class Witness:
    """What the program did, in order; a file gets a number of its own when it is made."""

    def __init__(self, path, directory_inode):
        self.changes = []  # (kind, file, place, offset, bytes or names)
        self.syncs = collections.defaultdict(list)  # (changes before it, place after)
        self.inode_of = {}
        self.directory_inode = directory_inode
        with open(path, "rb") as file:
            self.read(file.read())

    def read(self, data):
        file_of, begun, at = {}, {}, 0
        while at < len(data):
            kind, inode, place, offset, length, second_length = ENTRY.unpack_from(data, at)
            at += ENTRY.size
            first = data[at:at + length]
            second = data[at + length:at + length + second_length]
            at += length + second_length
            if kind == KIND_CREATE:
                file_of[inode] = len(self.inode_of) + 1
                self.inode_of[file_of[inode]] = inode
            file = 0 if inode == self.directory_inode else file_of.get(inode)
            if kind == KIND_SYNC:
                begun[file] = len(self.changes)
            elif kind == KIND_SYNCED:
                self.syncs[file].append((begun[file], place))
            else:
                self.changes.append((kind, file, place, offset, (first, second)))

    def settled(self, file, place):
        """How many of all changes came before the last sync of a file that had returned."""
        counts = [count for count, after in self.syncs[file] if after <= place]
        return counts[-1] if counts else 0

    def names_changes(self, place):
        """Those that are certain, and those that may be there."""
        settled = self.settled(0, place)
        certain, pending = [], []
        for number, (kind, file, before, _, names) in enumerate(self.changes):
            if kind in (KIND_CREATE, KIND_RENAME, KIND_UNLINK) and before < place:
                (certain if number < settled else pending).append((kind, file, names))
        return certain, pending

    def content_changes(self, file, place):
        settled = self.settled(file, place)
        certain, pending = [], []
        for number, (kind, whose, before, offset, (data, _)) in enumerate(self.changes):
            if whose == file and kind in (KIND_WRITE, KIND_TRUNCATE) and before < place:
                (certain if number < settled else pending).append((kind, offset, data))
        return certain, pending


def apply_name(names, change):
    kind, file, (first, second) = change
    if kind == KIND_CREATE:
        names[first] = file
        return
    if names.get(first) == file:
        del names[first]
    if kind == KIND_RENAME:
        names[second] = file


def apply_content(content, change):
    kind, offset, data = change
    if kind == KIND_TRUNCATE:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
    else:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset:offset + len(data)] = data


class Rules:
    """Compares states with the rules; counts what was seen."""

    def __init__(self, witness, figures):
        self.witness, self.figures = witness, figures
        self.seen = None  # of the state that is compared

    def check(self, directory, place):
        """Returns what the rules exclude, in words."""
        found = {}
        for entry in os.scandir(directory):
            if entry.name not in OTHERS:
                found[entry.name.encode()] = entry.inode()
        if len(self.witness.names_changes(place)[1]) > NAMES_FULL_MAX:
            self.figures["not compared"] += 1
            return []
        self.figures["compared"] += 1
        contents = {}
        for name in found:
            with open(f"{directory}/{name.decode()}", "rb") as file:
                contents[name] = file.read()
        wrong = [f"names {found} are no subset of the changes: "
                 f"{self.witness.names_changes(place)}"]
        # An inode's number is used again: which file it was, the content has to tell.
        best = None
        for names, pending, missing in self.matching_names(found, place):
            self.seen = collections.Counter({"names pending": pending > 0,
                                             "names missing": missing > 0})
            excluded = [f"{name.decode()}: {what}" for name, file in names.items()
                        for what in self.match_content(contents[name], file, place)]
            rank = len(excluded), self.seen["sectors of garbage"]
            if best is None or rank < best:
                best, wrong, seen = rank, excluded, self.seen
            if best == (0, 0):
                break
        if best is not None:
            self.figures.update(seen)
        return wrong

    def matching_names(self, found, place):
        """The files that the names may lead to: some subset of changes gives these names."""
        certain, pending = self.witness.names_changes(place)
        pending = [change for change in pending
                   if change[2][0].decode() not in OTHERS]
        durable = {}
        for change in certain:
            apply_name(durable, change)
        for other in OTHERS:
            durable.pop(other.encode(), None)
        for missing in range(len(pending) + 1):
            for left_out in itertools.combinations(range(len(pending)), missing):
                names = dict(durable)
                for number, change in enumerate(pending):
                    if number not in left_out:
                        apply_name(names, change)
                if {name: self.witness.inode_of[file]
                        for name, file in names.items()} == found:
                    yield names, len(pending), missing

    def match_content(self, content, file, place):
        certain, pending = self.witness.content_changes(file, place)
        durable = bytearray()
        for change in certain:
            apply_content(durable, change)
        images = [bytes(durable)]
        for change in pending:
            apply_content(durable, change)
            images.append(bytes(durable))
        known = min([len(images[0])] + [offset for kind, offset, _ in pending
                                        if kind == KIND_TRUNCATE])
        wrong = self.match_length(len(content), images)
        if pending:
            self.seen["content pending"] += 1
            self.seen["content older"] += content != images[-1]
        if content in images:
            return wrong
        for begin in range(0, len(content), SECTOR):
            sector = content[begin:begin + SECTOR]
            if not any(image[begin:begin + len(sector)].ljust(len(sector), b"\0") == sector
                       for image in images):
                wrong += self.match_unwritten(sector, begin, known, images[0])
        return wrong

    def match_length(self, length, images):
        lengths = {len(image) for image in images}
        if length in lengths:
            return []
        self.seen["lengths between"] += 1
        if length % SECTOR == 0 and min(lengths) < length < max(lengths):
            return []
        return [f"length {length}, had {sorted(lengths)}"]

    def match_unwritten(self, sector, begin, known, durable):
        """A sector in no version that it had."""
        kept = max(0, min(len(sector), known - begin))
        if sector[:kept] != durable[begin:begin + kept]:
            return [f"what was synced at {begin} is not there"]
        rest = sector[kept:]
        what = "garbage" if rest.strip(b"\0") else "zeros"
        self.seen[f"sectors of {what}"] += 1
        return []
