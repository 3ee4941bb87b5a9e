"""Figures for people: one a line, with its target and whether it holds."""

from dataclasses import dataclass, field


@dataclass
class Report:
    """Prints figures as they come and counts the targets."""

    held: int = 0
    missed: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begin a group of figures."""
        print(f"\n{text}", flush=True)

    def columns(self, *names: str) -> None:
        """Name the columns of the `row`s that follow: what is compared, then their ratio."""
        print(f"  {'':<34}" + "".join(f"{name:>9}" for name in (*names, "ratio")), flush=True)

    def row(self, name: str, peer: float, ours: float, at_least: float | None = None) -> None:
        """Print the peer's time, ours and peer/ours, which a target may want *at_least* so high."""
        ratio = peer / ours
        line = f"  {name:<34}{peer:>9.1f}{ours:>9.1f}{ratio:>9.2f}"
        if at_least is not None:
            line += self._verdict(name, f">= {at_least:.2f}", ratio >= at_least)
        print(line, flush=True)

    def figure(
        self, name: str, value: float, unit: str, at_most: float | None = None, digits: int = 1
    ) -> None:
        """Print one figure, which a target may want *at_most* so high."""
        line = f"  {name:<34}{value:>9.{digits}f} {unit:<8}"
        if at_most is not None:
            line += self._verdict(name, f"<= {at_most:g} {unit}", value <= at_most)
        print(line, flush=True)

    def at_least(self, name: str, value: float, unit: str, bound: float) -> None:
        """Print one figure that a target wants to be *bound* or more."""
        line = f"  {name:<34}{value:>9.2f} {unit:<8}"
        print(line + self._verdict(name, f">= {bound:g} {unit}", value >= bound), flush=True)

    def note(self, text: str) -> None:
        """Print a line that has no target."""
        print(f"  {text}", flush=True)

    def failure(self, bench: str, why: str) -> None:
        """Print that a whole bench did not work; its targets count as one that was missed."""
        self.missed.append(bench)
        print(f"  {bench} did not work: {why}", flush=True)

    def close(self) -> int:
        """Print the sum; the exit status: 0 if every target held, else 1."""
        print(f"\n{self.held} targets hold, {len(self.missed)} missed", end="")
        print(": " + ", ".join(self.missed) if self.missed else "")
        return 1 if self.missed else 0

    def _verdict(self, name: str, target: str, holds: bool) -> str:
        if holds:
            self.held += 1
        else:
            self.missed.append(name)
        return f"   target {target}: {'holds' if holds else 'MISSED'}"
