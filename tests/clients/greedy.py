"""Clients that send everything before they read anything.

    greedy.py sets PORT COUNT           send COUNT SETs, then read COUNT replies
    greedy.py gets PORT BYTES COUNT     store a value of so many bytes, ask for it COUNT
                                        times, then read all of the replies
    greedy.py quit PORT BYTES           ask for a value of so many bytes and QUIT, then go
                                        on sending before reading the reply

Exits 0 if every reply is the right one, and says on stderr what was wrong otherwise.
"""
import socket
import sys

REPLY_SECONDS_MAX = 300
READ_BYTES = 1 << 20
SMALL_RECEIVE_BYTES = 4096
SENT_AFTER_QUIT_BYTES = 30000


def read_all(connection, expected_bytes):
    """Everything until the server closes; more than expected is kept, to be seen."""
    parts, total = [], 0
    while total <= expected_bytes:
        part = connection.recv(READ_BYTES)
        if not part:
            break
        parts.append(part)
        total += len(part)
    return b"".join(parts)


def require_equal(got, expected):
    if got == expected:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), len(got))
    sys.exit(f"{len(got)} bytes of {len(expected)}, wrong from byte {at}: {got[at:at + 60]}")


def converse(port, requests, expected):
    with socket.create_connection(("127.0.0.1", port), REPLY_SECONDS_MAX) as connection:
        connection.sendall(requests)
        connection.shutdown(socket.SHUT_WR)
        require_equal(read_all(connection, len(expected)), expected)


def send_after_quit(port, value):
    """A server that just closes would answer what comes after QUIT with a reset, and the
    reset would destroy the part of the reply that has not been read yet. With so small
    a receive buffer that is most of it."""
    with socket.socket() as connection:
        connection.settimeout(REPLY_SECONDS_MAX)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_RECEIVE_BYTES)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET large\nQUIT\n")
        connection.recv(1, socket.MSG_PEEK)
        connection.sendall(b"x" * SENT_AFTER_QUIT_BYTES)
        require_equal(read_all(connection, len(value) + 1), value + b"\n")


def large_value(value_bytes):
    return (b"0123456789abcde " * (value_bytes // 16 + 1))[:value_bytes]


def store(port, value):
    converse(port, b"SET large " + value + b"\n", b"success\n")


def main():
    work, port, numbers = sys.argv[1], int(sys.argv[2]), [int(n) for n in sys.argv[3:]]
    if work == "sets":
        (count,) = numbers
        requests = b"".join(b"SET greedy%d value%d\n" % (i, i) for i in range(count))
        converse(port, requests, b"success\n" * count)
    elif work == "gets":
        value_bytes, count = numbers
        value = large_value(value_bytes)
        store(port, value)
        converse(port, b"GET large\n" * count, (value + b"\n") * count)
    elif work == "quit":
        value = large_value(*numbers)
        store(port, value)
        send_after_quit(port, value)
    else:
        sys.exit(f"what is {work}?")


try:
    main()
except OSError as error:
    sys.exit(f"the connection failed: {error}")
