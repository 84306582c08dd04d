"""File systems: how one is made and mounted, and what its makers count on of a disk."""
import os
import subprocess
import time

import kernel
from record import copy_sparse

MIB = 1 << 20


class Kind:
    """A kind of file system.

    options: what it is mounted with, one of them each time; each may leave another disk.
    tear_bytes: what it counts on a disk to write whole. Its own structures have checksums
    over that much and no second copy, so a tear within would be its end and not ours.
    """

    def __init__(self, name, size, make, options, tear_bytes):
        self.name, self.size, self.make = name, size, make
        self.options, self.tear_bytes = options, tear_bytes

    def make_image(self, path):
        with open(path + ".full", "wb") as file:
            file.truncate(self.size)
        # Smaller than its makers advise for use: so much is copied for each state.
        environment = dict(os.environ, TEST_DIR="1", TEST_DEV="1", QA_CHECK_FS="1")
        subprocess.run(self.make + [path + ".full"], check=True, env=environment,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        copy_sparse(path + ".full", path)
        os.unlink(path + ".full")


KINDS = {
    "ext4": Kind(
        "ext4", 96 * MIB,
        ["mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-N", "512", "-E",
         "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
        ["", "", "noauto_da_alloc", "commit=1", "nodelalloc", "data=writeback",
         "data=journal"], 512),
    "xfs": Kind(
        "xfs", 96 * MIB, ["mkfs.xfs", "-q", "-f", "-K", "-l", "size=6m"],
        ["", "", "logbsize=256k", "wsync"], 512),
    "btrfs": Kind(
        "btrfs", 160 * MIB, ["mkfs.btrfs", "-q", "-f", "-K"],
        ["", "", "commit=1", "flushoncommit", "compress-force=zstd"], 4096),
}


class Mounted:
    """A file system on a loop device, mounted."""

    def __init__(self, kind, loop, directory, options):
        self.directory = directory
        if kind.name == "btrfs":
            kernel.forget_btrfs(loop.path)
        os.makedirs(directory, exist_ok=True)
        kernel.mount(loop.path, directory, kind.name, options)

    def close(self):
        unmount(self.directory)


def unmount(directory):
    """A user that has just ended may still be on its way out."""
    for attempt in range(1000):
        try:
            kernel.unmount(directory)
            return
        except OSError:
            if attempt == 999:
                raise
            time.sleep(0.002)


class Disk:
    """The disk that keeps a record, as a loop device."""

    def __init__(self, program, directory, image, record, sync_us=0):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.process = subprocess.Popen(
            [program, directory, image, record, str(sync_us)], stdin=subprocess.DEVNULL)
        while not os.path.exists(f"{directory}/disk"):
            if self.process.poll() is not None:
                raise OSError(f"the disk ended with status {self.process.returncode}")
            time.sleep(0.001)
        self.loop = kernel.Loop(f"{directory}/disk", True, os.path.dirname(directory))

    def close(self):
        self.loop.close()
        unmount(self.directory)
        self.process.wait()
