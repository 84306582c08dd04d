"""A command on ext4 on a disk with a slow sync, for benchmarks that compare programs.

Its environment names a directory there (BENCH_DIR), and says so (BENCH_SLOW_DISK).
"""
import os
import subprocess

from filesystem import KINDS, Disk, Mounted

DISK_BYTES = 3 << 30


def run(arguments, work):
    """Returns the exit status of the command."""
    image = f"{work}/image"
    with open(image, "wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E",
                    "nodiscard,lazy_itable_init=0,lazy_journal_init=0", image], check=True)
    disk = Disk(arguments.disk, f"{work}/disk", image, "-", arguments.sync_us)
    os.setpriority(os.PRIO_PROCESS, disk.process.pid, -20)  # a disk waits for no processor
    mounted = Mounted(KINDS["ext4"], disk.loop, f"{work}/mounted", "")
    environment = dict(os.environ, BENCH_DIR=f"{work}/mounted", BENCH_SLOW_DISK="1")
    try:
        return subprocess.run(arguments.run, check=False, env=environment).returncode
    finally:
        mounted.close()
        disk.close()
