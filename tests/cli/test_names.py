"""Names of files that are no text: they work, and are shown escaped, in every locale."""

import os
import subprocess
from pathlib import Path

import pytest

from lab.mounts import BLOCK, PROJECT, MountedSystem, command, end_servers, make_image
from lab.mounts import vfioccw as in_utf8
from lab.waits import SOON

NAME = os.fsdecode(b"a-\xff-\xc3\xa9.img")
"""A byte that is not UTF-8, and a letter that is not ASCII."""
SHOWN = "a-\\xff-é.img"
LOCALES = {
    "C": {"LC_ALL": "C"},
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "latin-1": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
}


def vfioccw(locale: str, *words: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*words),
        env={**os.environ, "PYTHONPATH": str(PROJECT), **LOCALES[locale]},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=SOON, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("locale", LOCALES)
def test_a_name_that_is_not_utf8_is_an_image_and_is_shown_escaped(
    tmp_path: Path, locale: str
) -> None:
    image = make_image(tmp_path / NAME)
    point = tmp_path / "mnt"
    point.mkdir()
    done = vfioccw(locale, "mount", point, "--device", f"fba@0.0.0313:{image}")
    assert (done.returncode, done.stderr) == (0, b"")
    system = MountedSystem(point, image)
    try:
        assert system.state()["medium"] == f"{tmp_path}/{SHOWN}"
        other = make_image(tmp_path / os.fsdecode(b"\xfe.img"))
        assert vfioccw(locale, "add", point, f"fba@0.0.0314:{other}").returncode == 0
        listed = vfioccw(locale, "ls", point)
        assert listed.returncode == 0
        assert b"a-\\xff-" in listed.stdout
        assert b"/\\xfe.img" in listed.stdout
        done = vfioccw(locale, "read", f"{point}/0.0.0313", "--count", 1)
        assert done.stdout == image.read_bytes()[:BLOCK]
        again = vfioccw(locale, "add", point, f"fba@0.0.0315:{image}\u2028")
        assert (again.returncode, again.stderr.count(b"\n")) == (1, 1)
        assert b"a-\\xff-" in again.stderr
        assert b"Traceback" not in again.stderr
        assert vfioccw(locale, "umount", point).returncode == 0
    finally:
        system.give_up()


@pytest.mark.parametrize("locale", LOCALES)
def test_what_is_said_of_such_a_name_is_one_line_without_a_traceback(
    tmp_path: Path, locale: str
) -> None:
    image = tmp_path / NAME
    made = vfioccw(locale, "image", "create", "fba", image, "--blocks", 8)
    assert (made.returncode, made.stderr) == (0, b"")
    assert made.stdout.startswith(f"{tmp_path}/a-\\xff-".encode())
    checked = vfioccw(locale, "image", "check", image)
    assert checked.returncode == 0
    assert b"/a-\\xff-" in checked.stdout
    for words in (("image", "info"), ("mount",), ("ls",), ("run",)):
        failed = vfioccw(locale, *words, tmp_path / NAME / "below")
        assert failed.returncode == 1
        assert failed.stderr.count(b"\n") == 1
        assert b"a-\\xff-" in failed.stderr
        assert b"bug" not in failed.stderr


@pytest.mark.parametrize("locale", LOCALES)
def test_a_mount_point_and_device_files_may_have_any_name(tmp_path: Path, locale: str) -> None:
    point, shown = tmp_path / os.fsdecode(b"m-\xff"), f"{tmp_path}/m-\\xff"
    point.mkdir()
    disk, tape, link = (
        tmp_path / os.fsdecode(b"\xfe." + kind) for kind in (b"ckd", b"aws", b"tty")
    )
    assert vfioccw(locale, "image", "create", "3390", disk, "--cylinders", 1).returncode == 0
    assert vfioccw(locale, "image", "create", "tape", tape).returncode == 0
    for image in (disk, tape):
        info = vfioccw(locale, "image", "info", image)
        assert (info.returncode, info.stderr) == (0, b"")
        assert info.stdout.startswith(b"kind: ")
    try:
        done = vfioccw(locale, "mount", point, "--device", f"3390@0.0.0190:{disk}")
        assert (done.returncode, done.stderr) == (0, b"")
        for spec in (f"3490@0.0.0181:{tape}", f"3215@0.0.0009:{link}"):
            added = vfioccw(locale, "add", point, spec)
            assert (added.returncode, added.stderr) == (0, b"")
        assert link.is_char_device()
        listed = vfioccw(locale, "ls", point)
        assert (listed.returncode, listed.stderr) == (0, b"")
        media = sorted(line.rsplit(b"/")[-1] for line in listed.stdout.splitlines()[1:])
        assert media == [b"\\xfe.aws", b"\\xfe.ckd", b"\\xfe.tty"]
        paths = vfioccw(locale, "chp", "list", point)
        assert (paths.returncode, paths.stderr) == (0, b"")
        again = vfioccw(locale, "mount", point, "--device", f"3390@0.0.0190:{disk}")
        assert is_one_line_of(again, f"{shown}: busy")
        with (point / "0.0.0190" / "state").open():
            assert is_one_line_of(vfioccw(locale, "umount", point), f"{shown}: busy: in use by")
        gone = vfioccw(locale, "remove", f"{point}/0.0.0009")
        assert (gone.returncode, gone.stderr) == (0, b"")
        assert not link.is_symlink()
        assert vfioccw(locale, "umount", point).returncode == 0
    finally:
        end_servers(point)
    failed = vfioccw(locale, "umount", point)
    assert is_one_line_of(failed, f"{shown}: not mounted")


def is_one_line_of(done: subprocess.CompletedProcess[bytes], words: str) -> bool:
    """Whether the command failed with one line for a person that begins with *words*."""
    return (
        done.returncode == 1
        and done.stderr.startswith(b"vfioccw: " + words.encode())
        and done.stderr.count(b"\n") == 1
    )


def test_a_name_with_a_letter_of_another_script_is_shown_as_it_is(tmp_path: Path) -> None:
    done = in_utf8("image", "create", "fba", tmp_path / "диск.img", "--blocks", 8)
    assert done.stdout.startswith(f"{tmp_path}/диск.img: ")
