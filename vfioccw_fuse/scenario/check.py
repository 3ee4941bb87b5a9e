"""Compare what a scenario did with the values that were recorded for it.

The masks of a recorded scenario (`..._dont_care`: 1 bits are not compared) are honoured, and where
two recordings disagree (`alt_3_13`) either will do. `tests/vectors/README.md` says what is masked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..regions import descriptions

Json = dict[str, Any]

ONLY_INTERMEDIATE: Final = 0x09
SUSPENDED: Final = 0x20

_USUAL_MASKS: Final = {
    # LPUM, ESW from byte 20 on and the measurement words never count.
    "irb": "00" * 13 + "ff" + "00" * 6 + "ff" * 12 + "00" * 32 + "ff" * 32,
    "schib": "ff" * 52,
    "interrupt": "ffffffff00000000ffffffff",
}


def is_recorded(scenario: Json) -> bool:
    """Whether *scenario* has recorded values to compare with."""
    return "memory_after" in scenario and any("cc" in step for step in scenario["steps"])


def failed(recorded: Json) -> bool:
    """Whether *recorded*, from which there is a difference, fails by it: a suspect one does not."""
    return bool(recorded.get("confidence", "agreed") != "suspect")


def differences(recorded: Json, done: Json) -> list[str]:
    """What differs, in words; empty if nothing does."""
    found = _differences(recorded, done)
    other = recorded.get("alt_3_13")
    if found and other is not None and not _differences(_alternative(recorded, other), done):
        return []
    return found


def _alternative(recorded: Json, other: Json) -> Json:
    """The second opinion of a disputed scenario as a scenario of its own."""
    steps = []
    for number, step in enumerate(other["steps"]):
        first = recorded["steps"][number] if number < len(recorded["steps"]) else {}
        if first.get("op") != step["op"]:
            first = {}
        masks = {
            f"{key}_dont_care": first.get(f"{key}_dont_care", mask)
            for key, mask in _USUAL_MASKS.items()
            if step.get(key)
        }
        masks.pop("interrupt_dont_care", None)
        if step.get("interrupt"):
            masks["interrupt_dont_care"] = _USUAL_MASKS["interrupt"]
        memory = {"memory": first.get("memory", [])} if step["op"] == "store" else {}
        steps.append({**step, **masks, **memory})
    image = {"sha256_after": other["image_sha256_after"]}
    return {
        **recorded,
        "steps": steps,
        "memory_after": other["memory_after"],
        "image_after": image,
    }


def _differences(recorded: Json, done: Json) -> list[str]:
    wanted, got = list(recorded["steps"]), list(done["steps"])
    if "timing" in recorded.get("tags", []):
        wanted, got = _without_intermediate(wanted), _without_intermediate(got)
    wanted, got = _without_idle_waits(wanted), _without_idle_waits(got)
    found = []
    names = [[step["op"] for step in steps] for steps in (wanted, got)]
    if names[0] != names[1]:
        found.append(f"steps {' '.join(names[1])}, recorded {' '.join(names[0])}")
    for number, (want, have) in enumerate(zip(wanted, got, strict=False)):
        if want["op"] != have["op"]:
            break
        found.extend(f"step {number} {want['op']}: {text}" for text in _step(want, have))
    found.extend(_memory(recorded, done))
    image = recorded.get("image_after")
    if (
        image
        and not recorded.get("image_dont_care")
        and done["image_after"]["sha256_after"] != image["sha256_after"]
    ):
        found.append("the medium's contents differ")
    return found


def _without_intermediate(steps: list[Json]) -> list[Json]:
    """Leave out intermediate status, which may come alone or with the status that follows it."""
    kept: list[Json] = []
    for step in steps:
        if step["op"] == "tsch" and step.get("irb"):
            ctrl = bytes.fromhex(step["irb"])[3]
            if ctrl & 0x0F == ONLY_INTERMEDIATE and not ctrl & SUSPENDED:
                if kept and kept[-1]["op"] == "wait":
                    kept.pop()
                continue
        kept.append(step)
    while (
        len(kept) > 1
        and kept[-1]["op"] == "tsch"
        and kept[-1].get("cc") == 1
        and kept[-2]["op"] == "wait"
        and not kept[-2].get("interrupt")
    ):
        del kept[-2:]
    return kept


def _without_idle_waits(steps: list[Json]) -> list[Json]:
    """Leave out waits at the end that no interruption ended."""
    kept = list(steps)
    while kept and kept[-1]["op"] == "wait" and not kept[-1].get("interrupt"):
        kept.pop()
    return kept


def _step(want: Json, have: Json) -> Iterable[str]:
    if "cc" in want and want["cc"] != have.get("cc"):
        yield f"condition code {have.get('cc')}, recorded {want['cc']}"
    if want.get("irb"):
        yield from _bytes(want, have, "irb")
    if want.get("schib") and "schib_dont_care" in want:
        yield from _bytes(want, have, "schib")
    if want["op"] == "wait":
        if bool(want.get("interrupt")) != bool(have.get("interrupt")):
            yield f"interruption {have.get('interrupt')}, recorded {want.get('interrupt')}"
        elif want.get("interrupt"):
            yield from _bytes(want, have, "interrupt")


def _bytes(want: Json, have: Json, key: str) -> Iterable[str]:
    """Compare one masked structure; each field that differs is told."""
    if not have.get(key):
        yield f"no {key}"
        return
    mask = bytes.fromhex(want.get(f"{key}_dont_care", ""))
    wanted, got = bytes.fromhex(want[key]), bytes.fromhex(have[key])
    mask = mask.ljust(len(wanted), b"\0")
    seen = bytes(g & ~m & 0xFF | w & m for w, g, m in zip(wanted, got, mask, strict=True))
    if seen != wanted:
        fields = list(_fields(key, wanted, seen)) or [f"{seen.hex()}, recorded {wanted.hex()}"]
        yield from (f"{key} {field}" for field in fields)


def _fields(key: str, wanted: bytes, got: bytes) -> Iterable[str]:
    """The fields in which two structures differ: found value, recorded value."""
    if key == "interrupt":
        return
    describe = descriptions.describe_irb if key == "irb" else descriptions.describe_schib
    for have, want in zip(describe(got), describe(wanted), strict=False):
        if have.value != want.value:
            yield f"{have.field} {_beside(have, want)}, recorded {_beside(want, have)}"


def _beside(row: descriptions.Row, other: descriptions.Row) -> str:
    """The value of *row*, with those of its words that *other* has not."""
    others = other.meaning.split(", ")
    words = [word for word in row.meaning.split(", ") if word and word not in others]
    return f"{row.value} ({', '.join(words)})" if words else row.value


def _picture(scenario: Json, changes: Iterable[tuple[int, str]]) -> tuple[dict[int, int], ...]:
    """Storage before and after, as far as anything was ever put there: address to byte."""
    before: dict[int, int] = {}

    def put(into: dict[int, int], address: int, data: str) -> None:
        into.update(enumerate(bytes.fromhex(data), start=address))

    for address, data in scenario.get("memory", []):
        put(before, address, data)
    for step in scenario["steps"]:
        for address, data in step.get("memory", []):
            put(before, address, data)
    after = dict(before)
    for address, data in changes:
        put(after, address, data)
    return before, after


def _memory(recorded: Json, done: Json) -> Iterable[str]:
    before, wanted = _picture(recorded, recorded["memory_after"])
    _, got = _picture(recorded, done["memory_after"])
    ignored = [
        range(address, address + length)
        for address, length, *_ in recorded.get("memory_dont_care", [])
    ]
    wrong = [
        address
        for address in sorted(wanted.keys() | got.keys())
        if not any(address in area for area in ignored)
        and wanted.get(address, before.get(address, 0)) != got.get(address, before.get(address, 0))
    ]
    if wrong:
        first = wrong[0]
        yield (
            f"storage: {len(wrong)} bytes differ, the first at {first:x}: "
            f"{got.get(first, before.get(first, 0)):02x}, "
            f"recorded {wanted.get(first, before.get(first, 0)):02x}"
        )
