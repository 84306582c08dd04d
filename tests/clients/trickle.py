"""A client that sends a byte ten times a second and never ends its line.

    trickle.py PORT

Prints what the server says until it closes, and gives up after 300 seconds. A first
whole command is answered before anything is printed, so that the caller knows from the
line `connected` that this client is the one being served.
"""
import socket
import sys
import time

SECONDS_MAX = 300
BYTE_SECONDS = 0.1


def main():
    deadline = time.monotonic() + SECONDS_MAX
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), SECONDS_MAX) as connection:
        connection.sendall(b"EXISTS nothing\n")
        if connection.recv(100) != b"0\n":
            sys.exit("the first command was not answered")
        print("connected", flush=True)
        connection.settimeout(BYTE_SECONDS)
        while time.monotonic() < deadline:
            try:
                reply = connection.recv(100)
                sys.stdout.write(reply.decode())
                if not reply:
                    return
            except socket.timeout:
                connection.sendall(b"G")
    sys.exit("the server never closed the connection")


main()
