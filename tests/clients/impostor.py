"""A server that is no kv-store, or a bad one, for one client after another.

    impostor.py BEHAVIOUR

Prints its port once it listens. What it does with each client:

    closes      ends at once, having read what came
    resets      resets the connection once something came
    silent      takes everything and says nothing
    half        answers half a line and ends
    success     `success` and no LF
    http        answers as a web server does
    echo        says what it hears
    stops       the first of two replies, or half of one, then the end
    pauses      one reply, and then nothing, without an end
    many        a reply for each line, and one more
    twice       says that a key is there twice
    endless     keys without an empty line behind them
    empty       an empty line, as at the end of a list
    evicts      the first of two replies, or none, and that its time was up
    full        takes no connection until it reads a line, and says then that there is 1
                of everything
"""
import socket
import struct
import sys

BEHAVIOUR = sys.argv[1]
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html></html>\n"


def hear(connection):
    heard = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            return heard
        heard += piece
        if BEHAVIOUR == "pauses":
            return heard


def answer(connection):
    heard = hear(connection)
    if BEHAVIOUR == "resets":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif BEHAVIOUR == "silent":
        connection.recv(1)
        sys.stdin.read()
    elif BEHAVIOUR == "pauses":
        connection.sendall(b"1\n")
        sys.stdin.read()
    connection.sendall({
        "half": b"12",
        "success": b"success",
        "http": HTTP,
        "echo": heard,
        "stops": b"1\n" if heard.count(b"\n") == 2 else b"1",
        "many": b"1\n" * (heard.count(b"\n") + 1),
        "twice": b"2\nno value stored\n" if heard.count(b"\n") == 2 else b"",
        "endless": b"a\nb\nc\n",
        "empty": b"\n",
        "full": b"1\n" * heard.count(b"\n"),
        "evicts": (b"1\n" if heard.count(b"\n") == 2 else b"") + b"error: idle too long\n",
    }.get(BEHAVIOUR, b""))


def main():
    with socket.create_server(("127.0.0.1", 0)) as server:
        if BEHAVIOUR == "full":
            server.listen(0)  # which is one place, and it is taken
            first = socket.create_connection(server.getsockname())
        print(server.getsockname()[1], flush=True)
        if BEHAVIOUR == "full":
            sys.stdin.readline()
            first.close()
        while True:
            connection, _ = server.accept()
            with connection:
                try:
                    answer(connection)
                except OSError:
                    pass  # the client had enough


main()
