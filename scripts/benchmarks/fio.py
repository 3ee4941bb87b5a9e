"""fio in a guest: requests of 4 KiB at random places of a disk, past the page cache."""

import json

from benchmarks.servers import BenchError
from vfioccw_fuse.guest.machine import Guest

MIXES = ("randread", "randwrite")
"""What fio is asked to do (its option `rw`)."""
SECONDS = 5
"""How long it does so."""


def iops(guest: Guest, disk: str, mix: str, depth: int) -> float:
    """Let fio do *mix* on the block device *disk* for `SECONDS`, *depth* requests at a time.

    Gives its requests a second; the mean time of one is *depth* by that, since as many are always
    under way. BenchError if one failed.
    """
    shown = guest.check(
        "fio --thread --eta=never --output-format=json --gtod_reduce=1 --name=load "
        f"--filename=/dev/{disk} --direct=1 --ioengine=libaio --iodepth={depth} --bs=4k "
        f"--rw={mix} --norandommap --randseed=313 --time_based --runtime={SECONDS}",
        60 + 10 * SECONDS,
    )
    [job] = json.loads(shown[shown.index("{") :])["jobs"]
    if job["error"]:
        raise BenchError(f"fio had an error on {disk}: {shown}")
    return float(job["read"]["iops"] + job["write"]["iops"])
