"""An ordinary user: mount, QEMU and server without any privilege."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import IMPORTS, PROJECT
from tests.qemu.conftest import digest, make_eckd, make_fba
from vfioccw_fuse.guest.parts import Parts

USER = "nobody"
INSIDE = """
import os, sys
from pathlib import Path
from vfioccw_fuse.guest.machine import Options, booted
from lab.mounts import vfioccw
place = Path(sys.argv[1])
assert os.getuid() != 0
def do(*words):
    done = vfioccw(*words)
    assert done.returncode == 0, done.stderr
mnt = place / "mnt"
mnt.mkdir()
do("mount", mnt, "--device", f"fba@0.0.0313:{place}/fba", "--device", f"3390@0.0.0314:{place}/ckd")
backend = ("-object", "memory-backend-ram,id=own,size=512M", "-machine", "memory-backend=own")
for qemu in ((), backend):
    with booted(Options(devices=[f"{mnt}/0.0.0313", f"{mnt}/0.0.0314"], qemu=qemu)) as guest:
        fba, ckd = guest.check("online 0.0.0313; online 0.0.0314").split()
        print(guest.check(f"md5sum < /dev/{fba}; dd if=/dev/{ckd} of=/dev/null bs=48k 2>&1"))
        assert guest.power_off() == 0
        assert guest.errors() == ""
do("umount", mnt)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may reach, with a cache of guest parts."""
    parts = Parts()
    with tempfile.TemporaryDirectory(prefix="user-") as name:
        path = Path(name)
        own = Parts(path / "cache" / "vfioccw" / parts.cache.name)
        own.cache.mkdir(parents=True)
        for part in (parts.kernel(), parts.modules(), parts.busybox()):
            assert part is not None
            shutil.copy(part, own.cache)
        make_fba(path / "fba")
        make_eckd(path / "ckd", 2)
        yield path


def run_inside(place: Path, *before: str) -> str:
    done = subprocess.run(
        [*before, sys.executable, "-c", INSIDE, str(place)],
        env={
            **os.environ, "XDG_CACHE_HOME": str(place / "cache"), "HOME": str(place),
            "PYTHONPATH": IMPORTS,
        },
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False,
        cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def reachable_by_others(path: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))


def test_an_ordinary_user_may_do_all_of_it(place: Path) -> None:
    if os.getuid() == 0:
        if not reachable_by_others(PROJECT):
            pytest.skip(f"{USER} cannot reach the project: its directories are closed to others")
        user = pwd.getpwnam(USER)
        for path in (place, *place.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
        # In a mount namespace of its own /dev/fuse is as systems for users have it.
        node = f"mknod -m 666 {place}/fuse c 10 229 && mount --bind {place}/fuse /dev/fuse"
        become = f"setpriv --reuid={user.pw_uid} --regid={user.pw_gid} --clear-groups"
        said = run_inside(
            place, "unshare", "--mount", "sh", "-c", f'{node} && exec {become} "$@"', "sh"
        )
    else:
        said = run_inside(place)
    assert said.count(digest(place / "fba")) == 2
