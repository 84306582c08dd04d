"""Verify the marks of a log against the drawing in include/log/record.h.

    seals.py LOG [always|everysec]

LOG was closed by a clean stop of a server with that --sync (always unless said). Prints
the count of seals; exits 1 and says what is wrong and where otherwise. Written from the
drawing alone: it shares no code with the server, the CRC least of all.
"""
import re
import sys

HEADER_BYTES = 16
OPENING = re.compile(
    rb"6b762d73746f7265(?P<version>[0-9a-f]{4})(?P<id>[0-9a-f]{16})(?P<generation>[0-9a-f]{16})"
    rb"(?P<older>[0-9a-f]{16})(?P<older_length>[0-9a-f]{12})(?P<sum>[0-9a-f]{8})"
)
SEAL = re.compile(
    rb"5ea1(?P<id>[0-9a-f]{16})(?P<durable>[0-9a-f]{12})(?P<chain>[0-9a-f]{8})(?P<sum>[0-9a-f]{8})"
)
DRAINED = re.compile(rb"d4a1(?P<id>[0-9a-f]{16})(?P<older>[0-9a-f]{16})(?P<sum>[0-9a-f]{8})")
CHECKSUM_DIGITS = 8

# CRC-32C: the Castagnoli polynomial with its bits reversed, a table entry per byte.
TABLE = []
for entry in range(256):
    for _ in range(8):
        entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
    TABLE.append(entry)


def crc32c(data, crc=0):
    """The CRC of what came before, if any, continued over data."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def require(truth, offset, what):
    if not truth:
        sys.exit(f"offset {offset}: {what}")


def number(mark, field):
    return int(mark[field], 16)


def require_checksum(data, offset, text_bytes, mark):
    covered = data[offset : offset + HEADER_BYTES + text_bytes - CHECKSUM_DIGITS]
    expected = crc32c(offset.to_bytes(8, "big") + covered)
    require(number(mark, "sum") == expected, offset, f"checksum is not {expected:08x}")


def verify(data, sync_always):
    offset = seals = chain = chained = mark_end = seal_end = 0
    log_id = last_seal = None
    while offset < len(data):
        require(offset + HEADER_BYTES <= len(data), offset, "cut inside a header")
        key_bytes = int.from_bytes(data[offset : offset + 8], "big")
        value_bytes = int.from_bytes(data[offset + 8 : offset + 16], "big")
        end = offset + HEADER_BYTES + key_bytes + value_bytes
        require(end <= len(data), offset, "cut inside a record")
        require(offset == 0 or log_id, offset, "no opening record before this")
        last_seal = None
        if key_bytes == 0:
            text = data[offset + HEADER_BYTES : end]
            mark = (OPENING if offset == 0 else SEAL).fullmatch(text) or DRAINED.fullmatch(text)
            require(mark, offset, f"an empty key, but no mark: {text[:40]}")
            require_checksum(data, offset, value_bytes, mark)
            if offset == 0:
                require(mark.re is OPENING, 0, "no opening record")
                require(number(mark, "version") == 1, 0, "format version is not 1")
                require(number(mark, "id") != 0, 0, "log id is zero")
                require(number(mark, "generation") >= 1, 0, "generation is zero")
                log_id = mark["id"]
            require(mark["id"] == log_id, offset, "the mark of another log")
            if mark.re is SEAL:
                chain = crc32c(data[chained:offset], chain)
                chained = offset
                durable = number(mark, "durable")
                require(number(mark, "chain") == chain, offset, f"chain is not {chain:08x}")
                # A batch and its seal are one write: the batch cannot have been durable.
                require(durable <= mark_end, offset, "says that its own batch is durable")
                require(
                    durable >= seal_end or not sync_always, offset,
                    "written before the seal in front of it was durable",
                )
                seal_end = end
                last_seal = (offset, durable)
                seals += 1
            mark_end = end
        offset = end
    require(last_seal, len(data), "the log does not end with a seal")
    require(last_seal[0] == last_seal[1], last_seal[0], "says that not all before it is durable")
    return seals


def main():
    with open(sys.argv[1], "rb") as log:
        print(verify(log.read(), sys.argv[2:] != ["everysec"]))


main()
