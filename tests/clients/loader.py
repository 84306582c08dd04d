"""Kill a server in the middle of a load, and judge what is there afterwards.

    loader.py load PORT PID FIRST COUNT KILL_AFTER
        send COUNT numbered SETs from FIRST on; after KILL_AFTER replies kill PID with
        SIGKILL; print how many were answered `success` before the connection broke
    loader.py judge PORT FIRST COUNT ACKED
        exit 0 if the first ACKED of them are there, and of the rest, in order, some whole
        ones and then none
"""
import os
import signal
import socket
import sys
import threading

SECONDS_MAX = 300
SUCCESS = b"success\n"


def value(number):
    """Lengths differ, so that a record in the wrong place cannot look right."""
    return b"%d " % number + b"x" * (number % 97)


def send(connection, data):
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the server is dead, as intended


def load(port, pid, first, count, kill_after):
    requests = b"".join(b"SET n%d %s\n" % (n, value(n)) for n in range(first, first + count))
    got = bytearray()
    with socket.create_connection(("127.0.0.1", port), SECONDS_MAX) as connection:
        threading.Thread(target=send, args=(connection, requests), daemon=True).start()
        killed = False
        try:
            while part := connection.recv(1 << 16):
                got += part
                if not killed and len(got) >= kill_after * len(SUCCESS):
                    os.kill(pid, signal.SIGKILL)
                    killed = True
        except ConnectionResetError:
            pass
    acked = len(got) // len(SUCCESS)
    if not killed or got[: acked * len(SUCCESS)] != SUCCESS * acked:
        sys.exit("a reply was not success" if killed else "the load ended before the kill")
    print(acked)


def judge(port, first, count, acked):
    numbers = range(first, first + count)
    with socket.create_connection(("127.0.0.1", port), SECONDS_MAX) as connection:
        requests = b"".join(b"GET n%d\n" % n for n in numbers)
        threading.Thread(target=send, args=(connection, requests), daemon=True).start()
        with connection.makefile("rb") as replies:
            got = [reply.rstrip(b"\n") for reply in replies]
    if len(got) != count:
        sys.exit(f"{len(got)} replies to {count} questions")
    there = next((i for i, n in enumerate(numbers) if got[i] != value(n)), count)
    if there < acked:
        sys.exit(f"n{first + there} was acknowledged, now it is {got[there][:60]}")
    for i in range(there, count):
        if got[i] != b"no value stored":
            sys.exit(f"n{first + there} is missing, but n{first + i} is {got[i][:60]}")


def main():
    numbers = [int(argument) for argument in sys.argv[2:]]
    {"load": load, "judge": judge}[sys.argv[1]](*numbers)


main()
