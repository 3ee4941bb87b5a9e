"""A trace for https://ui.perfetto.dev, in Chrome's trace event format (its JSON array).

A subchannel is a track. A start function is a slice from its SSCH to the interruption that ends it,
each command a slice in it, and each area that data went to a slice in that; other instructions and
interruptions are instants. The file is written as it happens, and what is there can be opened
whenever that ends. Its times are microseconds since the trace began.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from ...css.transfer import INPUT
from .seen import Seen, ends_a_start

_PROCESS: Final = 1
"""All tracks are one process to Perfetto: processes would be sorted apart."""
_LEFT_OUT: Final = frozenset({"ns", "event", "name"})
"""Keys of an event that are no arguments of its slice: time and name are there."""


class _Track:
    """One subchannel."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.last = 0
        """When something happened last, in ns: what ends next has begun by then."""
        self.started = False
        """A start function goes on."""
        self.chained: list[Seen] = []
        """CCWs of a command that has not ended."""
        self.begun = 0
        """When that command began, in ns."""


class PerfettoFile:
    """Writes events, each when it is there."""

    def __init__(self, write: Callable[[str], object], title: str) -> None:
        """*write* gets the file piece by piece; *title*: what was traced."""
        self._write = write
        self._tracks: dict[str, _Track] = {}
        self._separator = "[\n"
        self._put("M", 0, 0, "process_name", {"name": title})

    def see(self, event: Seen) -> None:
        """Write what *event* adds."""
        track = self._tracks.get(event.subchannel)
        if track is None:
            track = self._begin(event)
        event = event._replace(ns=max(event.ns, track.last))
        if event.what == "ccw":
            self._ccw(track, event)
        else:
            self._end_command(track)
            self._other(track, event)
        track.last = event.ns

    def close(self) -> None:
        """End what goes on, and the file."""
        end = max((track.last for track in self._tracks.values()), default=0)
        for track in self._tracks.values():
            self._end_command(track)
            self._end_start(track, end)
        self._write("\n]\n")

    def _begin(self, event: Seen) -> _Track:
        track = self._tracks[event.subchannel] = _Track(len(self._tracks) + 1)
        track.last = event.ns
        name = f"{event.subchannel} {event.device}".rstrip()
        self._put("M", track.number, 0, "thread_name", {"name": name})
        self._put("M", track.number, 0, "thread_sort_index", {"sort_index": track.number})
        return track

    def _put(
        self, phase: str, track: int, ns: int, name: str = "", args: dict[str, Any] | None = None
    ) -> None:
        found: dict[str, Any] = {"ph": phase, "pid": _PROCESS, "tid": track, "ts": ns / 1000}
        if name:
            found["name"] = name
        if phase == "i":
            found["s"] = "t"
        if args:
            found["args"] = args
        self._write(f"{self._separator}{json.dumps(found)}")
        self._separator = ",\n"

    def _ccw(self, track: _Track, event: Seen) -> None:
        if not track.chained:
            track.begun = track.last
        track.chained.append(event)
        if event.fields["status"]:
            self._end_command(track)

    def _end_command(self, track: _Track) -> None:
        chained, track.chained = track.chained, []
        if not chained:
            return
        last = chained[-1]
        self._put("B", track.number, track.begun, last.fields["name"], _arguments(last))
        begun = track.begun
        for ccw in chained:
            moved = ccw.fields.get("moved", 0)
            if moved:
                way = "in" if INPUT[ccw.command] else "out"
                data = {"cda": f"{ccw.fields['cda']:08x}"}
                if "pieces" in ccw.fields:
                    data["pieces"] = ccw.fields["pieces"]
                self._put("B", track.number, begun, f"{moved} bytes {way}", data)
                self._put("E", track.number, ccw.ns)
            begun = ccw.ns
        self._put("E", track.number, last.ns)

    def _other(self, track: _Track, event: Seen) -> None:
        if event.what == "ssch" and event.fields.get("cc") == 0:
            self._end_start(track, event.ns)
            track.started = True
            self._put("B", track.number, event.ns, "start", _arguments(event))
            return
        name = "interruption" if event.what == "irb" else event.what
        self._put("i", track.number, event.ns, name, _arguments(event))
        if event.what == "irb" and ends_a_start(event):
            self._end_start(track, event.ns)

    def _end_start(self, track: _Track, ns: int) -> None:
        if track.started:
            self._put("E", track.number, ns)
        track.started = False


def _arguments(event: Seen) -> dict[str, Any]:
    """What Perfetto shows beside a slice."""
    found = {name: value for name, value in event.fields.items() if name not in _LEFT_OUT}
    for name in ("address", "cda"):
        if name in found:
            found[name] = f"{found[name]:08x}"
    for name in ("code", "flags", "status"):
        if name in found:
            found[name] = f"{found[name]:02x}"
    return {"words": event.words, **found}
