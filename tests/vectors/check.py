"""Compare a result of some implementation with a recorded program, honouring its masks.

A result is {"steps": as many as the recording has, with cc / irb / schib / interrupt,
"memory_after": [[address, hex], ...], "image_sha256": hex or None}. `check` gives the differences,
an empty list if there is none; `check_any` also accepts the second opinion of a disputed program.
A result without a SCHIB or an image hash that the recording has differs.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

INTERMEDIATE_ALONE = 0x09
SUSPENDED = 0x20
IRB_DONT_CARE = "00" * 13 + "ff" + "00" * 6 + "ff" * 12 + "00" * 32 + "ff" * 32
SCHIB_DONT_CARE = "ff" * 52
INTERRUPT_DONT_CARE = "ffffffff00000000ffffffff"


def masked(expected: str, found: str, dont_care: str) -> list[int]:
    """Indexes of the bytes that differ in a bit that counts."""
    a, b, mask = bytes.fromhex(expected), bytes.fromhex(found), bytes.fromhex(dont_care)
    return [k for k in range(len(mask)) if (a[k] ^ b[k]) & ~mask[k] & 0xFF]


def storage(vector: Json, changes: list[list[Any]]) -> tuple[dict[int, int], dict[int, int]]:
    """Storage before (memory and `store` steps) and after *changes*, byte by address."""
    before: dict[int, int] = {}

    def put(where: dict[int, int], address: int, data: str) -> None:
        where.update(enumerate(bytes.fromhex(data), start=address))

    for address, data in vector["memory"]:
        put(before, address, data)
    for step in vector["steps"]:
        for address, data in step.get("memory", []) if step["op"] == "store" else []:
            put(before, address, data)
    after = dict(before)
    for address, data in changes:
        put(after, address, data)
    return before, after


def _only_intermediate(step: Json) -> bool:
    if step["op"] != "tsch" or not step.get("irb"):
        return False
    control = int(step["irb"][6:8], 16)
    return control & 0x0F == INTERMEDIATE_ALONE and not control & SUSPENDED


def _without_intermediate(steps: list[Json]) -> list[Json]:
    """Leave out PCI and initial status: they may come alone or merged with the ending status."""
    kept: list[Json] = []
    for step in steps:
        if not _only_intermediate(step):
            kept.append(step)
        elif kept and kept[-1]["op"] == "wait":
            kept.pop()
    while (
        len(kept) > 1
        and (kept[-1]["op"], kept[-1].get("cc")) == ("tsch", 1)
        and kept[-2]["op"] == "wait"
        and not kept[-2].get("interrupt")
    ):
        del kept[-2:]
    return kept


def _without_idle_waits(steps: list[Json]) -> list[Json]:
    kept = list(steps)
    while kept and kept[-1]["op"] == "wait" and not kept[-1].get("interrupt"):
        kept.pop()
    return kept


def _compare_step(number: int, expected: Json, found: Json) -> list[str]:
    where = f"step {number} {expected['op']}"
    different: list[str] = []
    if "cc" in expected and expected["cc"] != found.get("cc"):
        different.append(f"{where}: cc {found.get('cc')}, expected {expected['cc']}")
    for what in ("irb", "schib"):
        mask = expected.get(f"{what}_dont_care")
        if not expected.get(what) or mask is None:
            continue
        if not found.get(what):
            different.append(f"{where}: no {what}")
        elif bad := masked(expected[what], found[what], mask):
            different.append(
                f"{where}: {what} bytes {bad}: {found[what]}, expected {expected[what]}"
            )
    if expected["op"] == "wait":
        seen, wanted = found.get("interrupt"), expected.get("interrupt")
        if bool(seen) != bool(wanted) or (
            wanted and seen and masked(wanted, seen, expected["interrupt_dont_care"])
        ):
            different.append(f"{where}: interruption {seen}, expected {wanted}")
    return different


def check(vector: Json, result: Json) -> list[str]:
    """The differences between *result* and the recording."""
    expected, found = vector["steps"], result["steps"]
    if "timing" in vector.get("tags", []):
        expected, found = _without_intermediate(expected), _without_intermediate(found)
    expected, found = _without_idle_waits(expected), _without_idle_waits(found)
    different: list[str] = []
    wanted, done = ([step["op"] for step in steps] for steps in (expected, found))
    if wanted != done:
        different.append(f"steps: expected {' '.join(wanted)}, got {' '.join(done)}")
    for number, (one, other) in enumerate(zip(expected, found, strict=False)):
        if one["op"] != other["op"]:
            break
        different += _compare_step(number, one, other)
    before, after = storage(vector, vector["memory_after"])
    _, seen = storage(vector, result["memory_after"])
    ignored = {
        address
        for start, length, _ in vector.get("memory_dont_care", [])
        for address in range(start, start + length)
    }
    bad = sorted(
        address
        for address in (after.keys() | seen.keys()) - ignored
        if after.get(address, before.get(address, 0)) != seen.get(address, before.get(address, 0))
    )
    if bad:
        different.append(f"memory: {len(bad)} bytes differ, the first at {bad[0]:x}")
    if (
        vector.get("image_after")
        and not vector.get("image_dont_care")
        and result.get("image_sha256") != vector["image_after"]["sha256_after"]
    ):
        different.append("image contents differ")
    return different


def check_any(vector: Json, result: Json) -> list[str]:
    """As `check`, but a result like the second opinion of a disputed program is right too."""
    different = check(vector, result)
    if not different or "alt_3_13" not in vector:
        return different
    other = vector["alt_3_13"]
    steps: list[Json] = []
    for number, step in enumerate(other["steps"]):
        twin = vector["steps"][number] if number < len(vector["steps"]) else {}
        masks = twin if twin.get("op") == step["op"] else {}
        new = dict(step)
        if step.get("irb"):
            new["irb_dont_care"] = masks.get("irb_dont_care", IRB_DONT_CARE)
        if step.get("schib"):
            new["schib_dont_care"] = masks.get("schib_dont_care", SCHIB_DONT_CARE)
        if step.get("interrupt"):
            new["interrupt_dont_care"] = INTERRUPT_DONT_CARE
        if step["op"] == "store":
            new["memory"] = masks.get("memory", [])
        steps.append(new)
    alternative = {
        **vector,
        "steps": steps,
        "memory_after": other["memory_after"],
        "image_after": {"sha256_after": other["image_sha256_after"]},
    }
    return [] if not check(alternative, result) else different
