"""Write files that a server may be pointed at: logs as the original program wrote them,
without any marks, and files that are no logs at all.

    fixtures.py DIRECTORY
"""
import os
import sys


def record(key, value):
    return len(key).to_bytes(8, "big") + len(value).to_bytes(8, "big") + key + value


TOMBSTONE = b"\0"

# One of everything that the original could write.
GOOD = b"".join(
    record(key, value)
    for key, value in [
        (b"plain", b"an ordinary value"),
        (b"one", b"1"),
        (b"zero-digit", b"0"),
        (b"empty", b""),
        (b"gone", b"was here"),
        (b"", b"stored under the empty key"),
        (b"over", b"old"),
        ("ключ-é".encode(), "naïve ☃".encode()),
        (b"spaces", b"  two  words "),
        (b"gone", TOMBSTONE),
        (b"never", TOMBSTONE),
        (b"nul", b"before\0after"),
        (b"nuls", b"\0\0"),
        (b"back", b"first"),
        (b"back", TOMBSTONE),
        (b"back", b"again"),
        (b"over", b"a new value, longer than the old one"),
        (b"hex", b"deadbeef"),
        (b"carriage", b"return\r"),
        (b"last", b"z"),
    ]
)
LAST = record(b"unfinished-key", b"unfinished value")

FIXTURES = {
    "good": GOOD,
    "single": record(b"a", b"1"),
    "long-key": record(b"plain", b"kept") + record(b"k" * 65535, b"the longest key"),
    "torn-header": GOOD + LAST[:5],
    "torn-value": GOOD + LAST[:-1],
    "torn-length": GOOD + b"\xff" * 16 + b"junk",
    "too-long-key": GOOD + record(b"k" * 65536, b"v"),
    "empty-file": b"",
    "zeros": bytes(16),
    "text": b"# Not a log\nfile = kv.log\nport = 7878\n" * 10,
    "only-torn": LAST[:-1],
    "bad-key": record(b"\xff\xfe", b"a value under a key that is not UTF-8"),
}


def main():
    for name, data in FIXTURES.items():
        with open(os.path.join(sys.argv[1], name), "xb") as file:
            file.write(data)
        with open(os.path.join(sys.argv[1], name + ".whole"), "xb") as file:
            file.write(str(len(GOOD)).encode() if name.startswith("torn-") else b"")


main()
