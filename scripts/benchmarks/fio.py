"""fio in a guest: requests of 4 KiB at random places of a disk, past the page cache."""

import json

from benchmarks.servers import BenchError
from vfioccw_fuse.guest.machine import Guest

MIXES = ("randread", "randwrite")
"""What fio is asked to do (its option `rw`)."""
SECONDS = 5
"""How long it does so."""


def start(guest: Guest, disk: str, mix: str, depth: int, seconds: int = SECONDS) -> None:
    """Let fio do *mix* on the block device *disk*, *depth* requests at a time; see `result`."""
    guest.send(
        "fio --thread --eta=never --output-format=json --gtod_reduce=1 --name=load "
        f"--filename=/dev/{disk} --direct=1 --ioengine=libaio --iodepth={depth} --bs=4k "
        f"--rw={mix} --norandommap --randseed=313 --time_based --runtime={seconds}"
    )


def result(guest: Guest, disk: str, seconds: int = SECONDS) -> float:
    """Wait for what `start` began, and give its requests a second.

    The mean time of one is the depth by that, since as many are always under way. BenchError if one
    failed.
    """
    status, shown = guest.result(60 + 10 * seconds)
    if status:
        raise BenchError(f"fio on {disk} ended with {status}: {shown}")
    [job] = json.loads(shown[shown.index("{") :])["jobs"]
    if job["error"]:
        raise BenchError(f"fio had an error on {disk}: {shown}")
    return float(job["read"]["iops"] + job["write"]["iops"])


def iops(guest: Guest, disk: str, mix: str, depth: int) -> float:
    """The requests a second of one run, from its start to its `result`."""
    start(guest, disk, mix, depth)
    return result(guest, disk)
