"""What a service manager does: hold a listening socket, and start the program on it.

    handover.py PROGRAM LOG

Prints the port, then for each line on standard input stops the program and starts it
anew, and prints its exit status; at the end of input it stops it for good.
"""

import os
import signal
import socket
import sys


def start(listener, program, log):
    """Return once it is ready: only then does it take signals."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(tell, 2)
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
        os.execv(program, [program, "--file", log])
    os.close(tell)
    with os.fdopen(told, "rb") as lines:
        lines.readline()
    return pid


def stop(pid):
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main():
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    pid = start(listener, *sys.argv[1:])
    print(listener.getsockname()[1], flush=True)
    for _ in sys.stdin:
        status = stop(pid)
        pid = start(listener, *sys.argv[1:])
        print(status, flush=True)
    sys.exit(stop(pid))


main()
