"""Which tracks of a volume the programs in progress work on, where several do so at a time.

The control unit of a parallel access volume compares extents: a program whose extent meets that of
another waits for it if either may write, by its file mask. Readers do not wait for each other, and
disjoint extents not at all. Programs wait in the order in which they came, so that none is passed
by. A program has its extent from the first track that comes under its heads on, and a program that
defined none the whole volume, until its chain ends.
"""

from __future__ import annotations

import trio

from ...strand import on_strand, park


class ExtentClaim:
    """The tracks of one program."""

    __slots__ = ("_claims", "_first", "_last", "_over", "_writes")

    def __init__(
        self, claims: dict[ExtentClaim, None], first: int, last: int, writes: bool
    ) -> None:
        self._claims = claims
        self._first = first
        self._last = last
        self._writes = writes
        self._over: trio.Event | None = None

    def meets(self, other: ExtentClaim) -> bool:
        """Whether the two programs must not run at the same time."""
        return (
            (self._writes or other._writes)
            and self._first <= other._last
            and other._first <= self._last
        )

    async def wait(self) -> None:
        """Wait until it has ended."""
        if self in self._claims:
            if self._over is None:
                self._over = trio.Event()
            await self._over.wait()

    def end(self) -> None:
        """The chain has ended: who waits for it goes on."""
        del self._claims[self]
        if self._over is not None:
            self._over.set()


class ExtentsInUse:
    """The extents on one volume, in the order in which their programs came."""

    __slots__ = ("_claims",)

    def __init__(self) -> None:
        self._claims: dict[ExtentClaim, None] = {}

    def take(self, first: int, last: int, writes: bool) -> ExtentClaim:
        """Claim the tracks *first* to *last*; waits for those before it that it meets.

        *writes*: the file mask permits writes. Off a strand it waits for nobody.
        """
        claim = ExtentClaim(self._claims, first, last, writes)
        before = [other for other in self._claims if other.meets(claim)]
        self._claims[claim] = None
        try:
            for other in before:
                while other in self._claims and on_strand():
                    park(other)
        except BaseException:
            # The program was ended while it waited.
            claim.end()
            raise
        return claim
