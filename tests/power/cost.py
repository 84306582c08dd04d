"""What one durable SET, sent alone, asks of the disk: writes, bytes, syncs."""
import os
import statistics

from filesystem import Disk, Mounted
from record import KIND_SYNC, KIND_WRITE, Record, copy_sparse
from server import Client, Server

WRITES = 300
VALUE = b"v" * 100


def table(arguments, work):
    print(f"one durable SET of 100 bytes, sent alone; median of {WRITES} (mean)")
    print(f"{'':8}{'writes':>16}{'bytes':>20}{'syncs':>16}")
    for kind in arguments.usable:
        counts = measure(arguments, kind, work)
        cells = [f"{statistics.median(column):.0f} ({statistics.mean(column):.1f})"
                 for column in zip(*counts)]
        print(f"{kind.name:8}{cells[0]:>16}{cells[1]:>20}{cells[2]:>16}", flush=True)
    return 0


def measure(arguments, kind, work):
    """For each SET what the disk saw until the next one was sent."""
    image, log = f"{work}/image", f"{work}/record"
    kind.make_image(f"{work}/base")
    copy_sparse(f"{work}/base", image)
    open(log, "wb").close()
    disk = Disk(arguments.disk, f"{work}/disk", image, log)
    mounted = Mounted(kind, disk.loop, f"{work}/mounted", "")
    server = Server(arguments.program, f"{work}/mounted/kv.log", "always").await_ready()
    client = Client(server)
    places = []
    for number in range(WRITES + 1):
        places.append(os.stat(log).st_size)
        assert client.ask(b"SET key%d %s" % (number, VALUE)) == b"success"
    client.close()
    server.stop()
    mounted.close()
    disk.close()
    record = Record(log)
    counts = []
    for begin, end in zip(places[:-1], places[1:]):
        entries = record.entries[record.entry_at(begin):record.entry_at(end)]
        writes = [entry for entry in entries if entry[0] == KIND_WRITE]
        counts.append((len(writes), sum(entry[2] for entry in writes),
                       sum(entry[0] == KIND_SYNC for entry in entries)))
    record.close()
    os.unlink(log)
    return counts
