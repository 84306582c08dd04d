"""What the kernel offers and Python's library does not: namespaces, mounts, loop devices.

Loop devices are set up so that the kernel takes them away with their last user, and
mounts are made in a namespace of their own: nothing stays behind even after a kill -9.
"""
import ctypes
import fcntl
import os
import signal
import struct
import traceback

LIBC = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
PR_SET_PDEATHSIG = 1

LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LOOP_CLR_FD = 0x4C01
LO_FLAGS_AUTOCLEAR = 4
LO_FLAGS_DIRECT_IO = 16
LOOP_MAJOR = 7
# struct loop_config: fd, block_size, struct loop_info64 with only its flags set, 64 bytes.
LOOP_CONFIG = "II" "5Q3I" "I" "160x" "16x" "64x"

BLKFLSBUF = 0x1261
BTRFS_IOC_FORGET_DEV = 1 << 30 | 4096 << 16 | 0x94 << 8 | 5
SYNC_FILE_RANGE_WRITE = 2


def call(name, *arguments):
    """Call a function of libc that returns a negative number when it fails."""
    result = getattr(LIBC, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def mount(source, target, kind, options=""):
    call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(0),
         options.encode())


def unmount(target):
    call("umount2", target.encode(), 0)


def sync_file_system(fd):
    call("syncfs", fd)


def begin_writing(fd):
    """Ask for what is dirty to be written, without a sync, as the kernel may any time."""
    call("sync_file_range", fd, ctypes.c_int64(0), ctypes.c_int64(0), SYNC_FILE_RANGE_WRITE)


def confined(body):
    """Run body() as the first process of namespaces of its own; return its exit status.

    When this process is told to end, or is killed, everything within is killed, and with
    it go its mounts and loop devices.
    """
    child = 0

    def end(number, _frame):
        if child > 0:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    call("unshare", CLONE_NEWNS | CLONE_NEWPID)
    call("mount", b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None)
    child = os.fork()
    if child == 0:
        # The parent's end, however it comes, is the end of all.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        call("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
        status = 1
        try:
            mount("proc", "/proc", "proc")  # of the processes in here
            status = body()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


class Loop:
    """A loop device on a file, until close() or the end of the process."""

    def __init__(self, path, is_direct, node_directory):
        flags = LO_FLAGS_AUTOCLEAR | (LO_FLAGS_DIRECT_IO if is_direct else 0)
        backing = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.path, self.fd = configure(backing, flags, node_directory)
        finally:
            os.close(backing)

    def forget_cache(self):
        """Nothing that was read before the file changed is believed any more."""
        fcntl.ioctl(self.fd, BLKFLSBUF)

    def close(self):
        os.close(self.fd)


def configure(backing, flags, node_directory):
    """Take a free loop device; another process may take the same one first."""
    with open("/dev/loop-control", "rb", buffering=0) as control:
        for attempt in range(100):
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            path = f"/dev/loop{number}"
            if not os.path.exists(path):
                path = f"{node_directory}/loop{number}"
                if not os.path.exists(path):
                    os.mknod(path, 0o600 | 0o060000, os.makedev(LOOP_MAJOR, number))
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            config = struct.pack(LOOP_CONFIG, backing, 0, 0, 0, 0, 0, 0, 0, 0, 0, flags)
            try:
                fcntl.ioctl(fd, LOOP_CONFIGURE, config)
                return path, fd
            except OSError:
                os.close(fd)
                if attempt == 99:
                    raise
    raise OSError("no free loop device")


def forget_btrfs(device):
    """Btrfs remembers unmounted devices, and prefers the newest copy of a file system."""
    try:
        with open("/dev/btrfs-control", "rb", buffering=0) as control:
            name = bytearray(struct.pack("q4088s", 0, device.encode()))
            fcntl.ioctl(control, BTRFS_IOC_FORGET_DEV, name)
    except OSError:
        pass  # it was not remembered, or there is no such thing to ask
