"""What a scenario may say, as a JSON schema, and what is wrong with one that says something else.

The schema (JSON Schema 2020-12) is what `vfioccw run --schema` prints, for editors. Its
descriptions say what a value must be: a complaint is the place of a value and its description.
Recorded values have their place in it as well; `tests/vectors/README.md` says what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from ..devices.catalog import TYPES
from ..errors import UserError, shortened
from ..memory.backing import LARGEST
from ..memory.paging import PAGE
from ..regions.constants import IRB_SIZE, ORB_SIZE, SCHIB_SIZE

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

Json = dict[str, Any]

MEMORY_SIZE: Final = 2 << 20
"""Bytes of storage unless a scenario says otherwise."""
LONGEST_DELAY: Final = 3_600_000
"""Most milliseconds of a delay: an hour."""
CONFIDENCE: Final = {
    "agreed": "two emulators did the same",
    "single": "one emulator was asked",
    "disputed": "two emulators differ: as either of them will do",
    "suspect": "the emulator is thought to be wrong: a difference is no failure",
}
"""How far a recording is to be trusted: word and meaning."""
_INTERRUPTION = 12  # bytes that an I/O interruption stores at 184
_SHA256 = 32


def _hexadecimal(size: int) -> Json:
    """*size* bytes as digits, which may have blanks between bytes."""
    return {
        "description": f"{size} bytes as hexadecimal digits",
        "type": "string",
        "pattern": f"^ *([0-9a-fA-F]{{2}} *){{{size}}}$",
    }


def _whole(least: int, most: int, unit: str = "a number") -> Json:
    return {
        "description": f"{unit}, {least} to {most}",
        "type": "integer",
        "minimum": least,
        "maximum": most,
    }


def _text(what: str) -> Json:
    return {"description": what, "type": "string"}


def _list(what: str, items: Json, least: int = 0) -> Json:
    return {"description": what, "type": "array", "items": items, "minItems": least}


def _object(
    what: str, properties: Json, required: Iterable[str] = (), *, more: bool = False
) -> Json:
    """An object of *properties*; others are errors unless there may be *more*."""
    return {
        "description": what,
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": more,
    }


def _or_null(schema: Json) -> Json:
    return {
        **schema,
        "type": [schema["type"], "null"],
        "description": f"{schema['description']}, or null",
    }


_NUMBER: Final = 1 << 63
_ADDRESS: Final = {
    "description": "an address, 0 or more",
    "type": "integer",
    "minimum": 0,
}
_BYTES: Final = {
    "description": "bytes as hexadecimal digits",
    "type": "string",
    "pattern": "^ *([0-9a-fA-F]{2} *)*$",
}
_PIECE: Final = {
    "description": "an address and the bytes from there on: [65536, \"e4200014\"]",
    "type": "array",
    "prefixItems": [_ADDRESS, _BYTES],
    "minItems": 2,
    "maxItems": 2,
}
_MEMORY: Final = _list("a list of [address, bytes as hexadecimal digits]", _PIECE)
_CC: Final = _or_null(_whole(0, 3, "a condition code"))
_CODE: Final = _whole(0, 0xFFFF, "a program-interruption code")

_ENDED: Final = {"cc": _CC, "program_interrupt": _CODE}
_PROGRAM: Final = {
    "ccws": _list(
        "a list of CCWs as vfioccw ssch --ccw takes them, such as \"sense-id,sli,20\"",
        _text("a CCW as vfioccw ssch --ccw takes it, such as \"sense-id,sli,20\""),
        1,
    ),
    "format": _whole(0, 1, "the format of the CCWs"),
    "prefetch": {"description": "true or false", "type": "boolean"},
    "idaw": _whole(1, 2, "the format of the IDAWs"),
    "lpm": _whole(0, 0xFF, "a logical-path mask"),
    "key": _whole(0, 15, "a storage key"),
    "intparm": _whole(0, 0xFFFFFFFF, "an interruption parameter"),
}
"""What an ssch says instead of an ORB."""
_READ: Final = _list(
    "what CCWs have read",
    _object(
        "a CCW's number, and the bytes it has read",
        {"ccw": _whole(1, _NUMBER), "address": _ADDRESS, "data": _BYTES},
        ("ccw", "data"),
    ),
)
_OPERATIONS: Final[dict[str, Json]] = {
    "ssch": {"orb": _hexadecimal(ORB_SIZE), **_PROGRAM, "memory": _MEMORY, **_ENDED},
    "hsch": _ENDED,
    "csch": _ENDED,
    "rsch": _ENDED,
    "xsch": _ENDED,
    "msch": {
        "schib": _hexadecimal(SCHIB_SIZE),
        "mods": {"description": "what was modified, for people", "type": "object"},
        **_ENDED,
    },
    "stsch": {
        "schib": _hexadecimal(SCHIB_SIZE),
        "schib_dont_care": _hexadecimal(SCHIB_SIZE),
        **_ENDED,
    },
    "tsch": {
        "irb": _or_null(_hexadecimal(IRB_SIZE)),
        "irb_dont_care": _hexadecimal(IRB_SIZE),
        "read": _READ,
        **_ENDED,
    },
    "store": {"memory": _MEMORY},
    "wait": {
        "interrupt": _or_null(_hexadecimal(_INTERRUPTION)),
        "interrupt_dont_care": _hexadecimal(_INTERRUPTION),
    },
    "delay": {
        "ms": {
            "description": f"milliseconds, 0 to {LONGEST_DELAY}",
            "type": "number",
            "minimum": 0,
            "maximum": LONGEST_DELAY,
        }
    },
}
"""The steps: operation, and what it may have, operands before results."""
_OPERANDS: Final = {"msch": ("schib",), "store": ("memory",), "delay": ("ms",)}
"""What an operation needs; of an ssch see `_step`."""


def _step(*, operands: bool) -> Json:
    """A step; without *operands* one of a second opinion, which has results alone."""
    cases = []
    for name, properties in _OPERATIONS.items():
        needed = _OPERANDS.get(name, ()) if operands else ()
        case = _object(f"what {name} has", {"op": {}, **properties}, needed)
        if name == "ssch" and operands:
            case["dependentRequired"] = {key: ["ccws"] for key in (*_PROGRAM, "memory")}
            case["if"] = {"required": ["ccws"]}
            case["else"] = {"description": "orb or ccws is missing", "required": ["orb"]}
        cases.append({"if": {"properties": {"op": {"const": name}}}, "then": case})
    return {
        "description": "a step: an object with op, such as {\"op\": \"wait\"}",
        "type": "object",
        "required": ["op"],
        "properties": {"op": {"description": "an instruction, or what else happens",
                              "enum": list(_OPERATIONS)}},
        "allOf": cases,
    }  # fmt: skip


_ALTERNATIVE: Final = _object(
    "the second opinion: its steps, memory_after and image_sha256_after",
    {
        "steps": _list("a list of steps", {"$ref": "#/$defs/outcome"}),
        "memory_after": _MEMORY,
        "image_sha256_after": _hexadecimal(_SHA256),
    },
    ("steps", "memory_after", "image_sha256_after"),
)
_DEVICE: Final = _object(
    "an object with type and, if there is a medium, image",
    {
        "type": {"description": "a device type", "enum": list(TYPES)},
        "image": {
            **_text("the name of an image in images.json, or of a file beside the scenario"),
            "minLength": 1,
        },
        "csense": {"description": "concurrent sense: true or false", "type": "boolean"},
        "schid": _text("the id of a subchannel that does not exist"),
    },
    ("type",),
)
_SCENARIO: Final = _object(
    "a scenario: an object with device and steps",
    {
        "$schema": _text("the address of a schema"),
        "name": _text("what it is called"),
        "group": _text("to which it is counted in a summary"),
        "notes": _text("for people"),
        "device": _DEVICE,
        "memory_size": {
            **_whole(PAGE, LARGEST, f"a number of bytes, a multiple of {PAGE}"),
            "multipleOf": PAGE,
        },
        "memory": _MEMORY,
        "steps": _list("a list of steps", {"$ref": "#/$defs/step"}),
        "memory_after": _MEMORY,
        "memory_dont_care": _list(
            "a list of [address, length, why]",
            {
                "description": "[address, length, why]",
                "type": "array",
                "prefixItems": [_ADDRESS, _ADDRESS],
                "minItems": 2,
            },
        ),
        "image_after": _object(
            "an object with sha256_after",
            {"sha256_after": _hexadecimal(_SHA256)},
            ("sha256_after",),
            more=True,
        ),
        "image_dont_care": _text("why the medium is not compared"),
        "confidence": {"description": "how far it is trusted", "enum": list(CONFIDENCE)},
        "suspect": _list("a list of reasons", _text("a reason")),
        "alt_3_13": _ALTERNATIVE,
        "dispute_note": _text("for people"),
        "tags": _list("a list of words", _text("a word")),
        "needs": _list("a list of words", _text("a word")),
        "nondeterministic": _text("for people"),
    },
    ("device", "steps"),
)
SCHEMA: Final[Json] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Scenarios of vfioccw run",
    "description": "a scenario, or a list of them",
    "type": ["object", "array"],
    "if": {"type": "array"},
    "then": {"items": {"$ref": "#/$defs/scenario"}},
    "else": {"$ref": "#/$defs/scenario"},
    "$defs": {
        "scenario": _SCENARIO,
        "step": _step(operands=True),
        "outcome": _step(operands=False),
    },
}
"""A file of scenarios: one, or a list."""


def check(file: str, loaded: Any) -> None:
    """UserError in one line, with *file* and the place, if *loaded* is no file of scenarios."""
    wrong = next(_validator().iter_errors(loaded), None)
    if wrong is None:
        return
    path = list(wrong.absolute_path)
    number = None
    if isinstance(loaded, list) and path and isinstance(first := path[0], int):
        number = first
        del path[0]
    source = loaded if number is None else loaded[number]
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    said = [label(file, source, number), where.lstrip("."), *_complaint(wrong)]
    raise UserError(": ".join(filter(None, said)))


def label(file: str, source: Any, number: int | None) -> str:
    """What a scenario is called in a complaint: *file*, *number* from 0 in a list, its name."""
    words = [] if number is None else [f"scenario {number + 1}"]
    name = source.get("name") if isinstance(source, dict) else None
    if isinstance(name, str):
        words.append(f'"{shortened(name)}"')
    return f"{file}: {' '.join(words)}" if words else file


def _validator() -> Validator:
    """What checks by the schema; a whole number is no 1.0, and no number is infinite."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    def whole(_checker: object, value: object) -> bool:
        return type(value) is int

    def number(_checker: object, value: object) -> bool:
        return type(value) is int or (type(value) is float and math.isfinite(value))

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", whole).redefine("number", number)
    made: Validator = extend(Draft202012Validator, type_checker=types)(SCHEMA)  # type: ignore[no-untyped-call]
    return made


def _complaint(wrong: ValidationError) -> list[str]:
    """What is wrong, a part for each that stands between colons."""
    value: Any = wrong.instance
    asked: Any = wrong.validator_value
    schema = wrong.schema
    assert isinstance(schema, dict)
    match wrong.validator:
        case "required":
            if "properties" not in schema:
                return [schema["description"]]
            missing = next(name for name in asked if name not in value)
            return [f"{missing} is missing"]
        case "dependentRequired":
            name = next(name for name, others in asked.items()
                        if name in value and not set(others) <= set(value))  # fmt: skip
            return [f"{name} goes with {asked[name][0]} alone"]
        case "additionalProperties":
            known = list(schema["properties"])
            name = next(name for name in value if name not in known)
            return [shortened(name), f"unknown{_meant(name, known)}; one of {', '.join(known)}"]
        case "enum":
            words = asked
            meant = _meant(value, words)
            return [f"{_shown(value)} is none{meant}; one of {', '.join(words)}"]
        case _:
            return [f"{schema['description']}; not {_shown(value)}"]


def _meant(word: object, words: list[str]) -> str:
    near = get_close_matches(word, words, 1) if isinstance(word, str) else []
    return f", did you mean {near[0]}?" if near else ""


def _shown(value: object) -> str:
    """*value*, shortly."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    if type(value) is int and abs(value) >= _NUMBER:
        return "so large a number"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST: Final = 40
"""Characters of a value that a complaint shows."""
