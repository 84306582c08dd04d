"""A reader of logs that knows one paragraph and nothing else:

    A log is a sequence of records: u64 big-endian key length, u64 big-endian value
    length, key, value. A value that is the single byte 0x00 is a tombstone. A later
    record replaces an earlier one with the same key. The empty key is no one's.

    reader.py LOG...    print `key value` lines of the live data, oldest log first

It shares no code with the server, on purpose: what both agree on is the format. An
incomplete last record is not a record.
"""
import sys

HEADER_BYTES = 16
TOMBSTONE = b"\0"


def records(data):
    at = 0
    while at + HEADER_BYTES <= len(data):
        key_end = at + HEADER_BYTES + int.from_bytes(data[at : at + 8], "big")
        value_end = key_end + int.from_bytes(data[at + 8 : at + 16], "big")
        if value_end > len(data):
            return
        yield data[at + HEADER_BYTES : key_end], data[key_end:value_end]
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
