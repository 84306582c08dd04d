"""The values that a Redis has for the keys on stdin, a line each, to the byte.

    redis_values.py SOCKET <KEYS

redis-cli would split its own input at spaces and quotes, so this asks by itself. A key
that is not there, or anything unexpected, is an error.
"""
import socket
import sys

SECONDS_MAX = 300


def value(replies):
    head = replies.readline()
    if not head.startswith(b"$") or head.startswith(b"$-"):
        sys.exit(f"no value: {head}")
    length = int(head[1:])
    data = replies.read(length + 2)
    if len(data) != length + 2 or not data.endswith(b"\r\n"):
        sys.exit("a value cut short")
    return data[:-2]


def main():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS_MAX)
        connection.connect(sys.argv[1])
        replies = connection.makefile("rb")
        for line in sys.stdin.buffer:
            key = line.removesuffix(b"\n")
            connection.sendall(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key))
            sys.stdout.buffer.write(value(replies) + b"\n")


main()
