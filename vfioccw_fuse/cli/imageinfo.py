"""What `vfioccw image info` and `check` say of a medium: rows for people, and keys for programs."""

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ..devices.fba.codes import BLOCK
from ..devices.identify import Kind, identify_file

if TYPE_CHECKING:
    from ..devices.identify import Identity

_LABEL_BLOCK = 1  # where a Linux or CMS FBA volume has its label: block/partitions/ibm.c
_LABELS = {"VOL1": "a standard label", "LNX1": "a Linux label", "CMS1": "a CMS label"}
_PC_TABLE = slice(510, 512), b"\x55\xaa"


class Info(NamedTuple):
    """What is known of an image."""

    rows: list[tuple[str, str]]
    """Name and value, for people."""
    data: dict[str, Any]
    """The same for programs."""


class Examined(NamedTuple):
    """What a check has found."""

    lines: list[str]
    """For people."""
    damaged: bool
    """Something is wrong with the image."""
    data: dict[str, Any]
    """The same for programs."""


def in_use(file: str) -> str:
    """Who uses an image, `in use by PID 1234 (vfioccw)`; empty if nobody does."""
    from ..devices.locks import users

    try:
        who = users(file)
    except FileNotFoundError:
        return ""  # who looks at it says what is wrong
    return f"in use by {who}" if who else ""


def look(file: str) -> Info:
    """What *file* is; UserError for what is no medium of ours."""
    found = identify_file(file)
    match found.kind:
        case Kind.CKD:
            info = _ckd(file)
        case Kind.TAPE | Kind.EMPTY:
            info = _tape(file)
        case Kind.RAW:
            info = _raw(found)
        case _:
            raise found.refusal()
    used = in_use(file)
    rows = [("locked", used)] if used else []
    return Info(info.rows + rows, {"file": file, **info.data, "in_use": used})


def _ckd(file: str) -> Info:
    """What a CKD image is, and what is on it."""
    from ..devices.eckd import volume

    found = volume.info(file)
    rows = [
        ("kind", f"ECKD disk (3390-{found.model}), CKD image"),
        ("size", f"{found.size} bytes"),
        ("cylinders", f"{found.cylinders} of {found.heads} tracks"),
        ("in use", f"{found.allocated} bytes on its file system"),
        ("serial", found.serial),
        ("layout", found.layout),
        ("volume", found.volser or "(no label)"),
    ]
    if found.block_size:
        rows.append(("blocks", f"{found.block_size} bytes, {found.blocks_per_track} a track"))
    if found.unwritten:
        rows.append(("unwritten", f"{found.unwritten}; for Hercules: vfioccw image fill"))
    if len(found.paths) > 1:
        rows.insert(1, ("files", ", ".join(found.paths)))
    data = {
        "kind": "ckd",
        "model": f"3390-{found.model}",
        "files": list(found.paths),
        "size": found.size,
        "allocated": found.allocated,
        "cylinders": found.cylinders,
        "heads": found.heads,
        "serial": found.serial,
        "layout": found.layout,
        "volume": found.volser,
        "block_size": found.block_size,
        "blocks_per_track": found.blocks_per_track,
        "unwritten": found.unwritten,
    }
    return Info(rows, data)


def _raw(found: "Identity") -> Info:
    """What is on a raw disk."""
    with open(found.path, "rb", buffering=0) as image:
        head = image.read(2 * BLOCK)
        allocated = os.fstat(image.fileno()).st_blocks * 512
    label = _label(head)
    blocks = found.size // BLOCK
    rows = [
        ("kind", "FBA disk (9336), raw"),
        ("size", f"{found.size} bytes"),
        ("blocks", f"{blocks} of {BLOCK} bytes"),
        ("in use", f"{allocated} bytes on its file system"),
        ("label", label),
    ]
    data = {
        "kind": "raw",
        "model": "9336",
        "size": found.size,
        "allocated": allocated,
        "blocks": blocks,
        "block_size": BLOCK,
        "label": label,
    }
    return Info(rows, data)


def _tape(file: str) -> Info:
    """What is on a tape."""
    from ..devices.tape.aws import AwsTape

    tape = AwsTape.open(file, readonly=True)
    try:
        found = tape.survey()
    finally:
        tape.close()
    size = tape.medium.size_at_open
    rows = [
        ("kind", "tape, AWS image" if size else "blank tape, an empty file"),
        ("blocks", " + ".join(str(blocks) for blocks in found.blocks) + " (file by file)"),
        ("marks", str(found.marks)),
        ("longest", f"{found.longest} bytes"),
    ]
    damage = None
    if found.trouble is not None:
        damage = {"what": found.trouble.value, "offset": found.offset}
        rows.append(("damage", f"{found.trouble.value} at offset {found.offset}"))
    data = {
        "kind": "tape",
        "size": size,
        "tape_files": list(found.blocks),
        "marks": found.marks,
        "longest": found.longest,
        "damage": damage,
    }
    return Info(rows, data)


def examine(file: str) -> Examined:
    """Check *file*; UserError for what is no medium of ours."""
    found = identify_file(file)
    match found.kind:
        case Kind.CKD:
            return _examine_ckd(file)
        case Kind.TAPE | Kind.EMPTY:
            damage = _tape(file).data["damage"]
            said = f"{damage['what']} at offset {damage['offset']}" if damage else ""
            data = _checked(file, "tape", [damage] if damage else [], damaged=bool(damage))
            return Examined([f"{file}: {said or 'all blocks are well'}"], bool(damage), data)
        case Kind.RAW:
            line = f"{file}: {found.size // BLOCK} blocks; an FBA image has nothing else to check"
            return Examined([line], False, _checked(file, "raw", [], damaged=False))
        case _:
            raise found.refusal()


def _examine_ckd(file: str) -> Examined:
    from ..devices.eckd import volume
    from .output import progress

    with progress(file) as told:
        problems = volume.check(file, told)
    damaged = any(problem.severity is volume.Severity.ERROR for problem in problems)
    lines = [*map(str, problems), f"{file}: {'damaged' if damaged else 'all tracks are well'}"]
    found = [
        {
            "cylinder": problem.cylinder,
            "head": problem.head,
            "severity": problem.severity.value,
            "what": problem.what,
        }
        for problem in problems
    ]
    return Examined(lines, damaged, _checked(file, "ckd", found, damaged=damaged))


def _checked(
    file: str, kind: str, problems: list[dict[str, Any]], *, damaged: bool
) -> dict[str, Any]:
    return {"file": file, "kind": kind, "damaged": damaged, "problems": problems}


def _label(head: bytes) -> str:
    """Say which volume label or partition table the first two blocks *head* show."""
    label = head[_LABEL_BLOCK * BLOCK : _LABEL_BLOCK * BLOCK + 10].decode("cp037")
    if label[:4] in _LABELS:
        return f"{label[:4]}, {_LABELS[label[:4]]}, volume {label[4:].strip() or '(no name)'}"
    where, mark = _PC_TABLE
    if head[where] == mark:
        return "none; block 0 holds a PC boot record or partition table"
    return "none"
