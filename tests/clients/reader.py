"""A reader of logs that knows one paragraph and nothing else:

    A log is a sequence of records: u64 big-endian key length, u64 big-endian value
    length, key, value. A value that is the single byte 0x00 is a tombstone. A later
    record replaces an earlier one with the same key. The empty key is no one's.

    reader.py LOG...    print `key value` lines of the live data, oldest log first

It shares no code with the server, on purpose: what both agree on is the format. An
incomplete last record is not a record.
"""
import struct
import sys

HEADER = struct.Struct(">QQ")
TOMBSTONE = b"\0"


def records(data):
    at = 0
    while at + HEADER.size <= len(data):
        key_bytes, value_bytes = HEADER.unpack_from(data, at)
        key_end = at + HEADER.size + key_bytes
        value_end = key_end + value_bytes
        if value_end > len(data):
            return
        yield data[at + HEADER.size : key_end], data[key_end:value_end]
        at = value_end


def main():
    live = {}
    for path in sys.argv[1:]:
        with open(path, "rb") as log:
            for key, value in records(log.read()):
                if value == TOMBSTONE:
                    live.pop(key, None)
                elif key:
                    live[key] = value
    sys.stdout.buffer.writelines(b"%s %s\n" % item for item in live.items())


main()
