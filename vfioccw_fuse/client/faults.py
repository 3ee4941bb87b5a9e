"""What can go wrong for a client, one exception for each thing that it may want to tell apart."""

from ..regions import descriptions
from ..regions.descriptions import EVERY_DEVICE, DeviceWords
from ..regions.layouts import Irb


class ClientError(Exception):
    """Any of the exceptions below."""


class RequestFailed(ClientError, OSError):
    """A request failed with an errno that is no condition code; the subchannel is as before.

    `errno` and `strerror` are those of the system call. QEMU gives its guest condition code 0 and
    a made-up unit exception here; a client that is to find the error wants the errno.
    """

    def __init__(self, request: str, number: int, words: str) -> None:
        """*request* (`"ssch"`...) failed with errno *number*, in words *words*."""
        super().__init__(number, f"{request}: {words}")
        self.request = request
        """The instruction or the region access: `"ssch"`, `"hsch"`, `"io_region"`..."""


class Unsupported(ClientError):
    """The interface of this subchannel does not offer what was asked for."""


class Refused(ClientError):
    """An instruction that had to succeed ended with a condition code other than 0."""

    def __init__(self, instruction: str, cc: int) -> None:
        """*instruction* (`"ssch"`...) ended with condition code *cc*."""
        meaning = {1: "status pending", 2: "status pending or busy", 3: "not operational"}[cc]
        super().__init__(f"{instruction}: condition code {cc}, {meaning}")
        self.instruction = instruction
        """`"ssch"`, `"hsch"` or `"csch"`."""
        self.cc = cc
        """1 to 3. From an errno alone, 1 and 2 cannot be told apart: both are 2."""


class NoInterruption(ClientError):
    """A channel program did not end in time; it was cleared, and the subchannel is idle again."""


class ProgramFailed(ClientError):
    """A channel program ended otherwise than with channel end and device end alone."""

    def __init__(self, irb: Irb, sense: bytes, device: DeviceWords = EVERY_DEVICE) -> None:
        """*irb* concluded the program; *sense* is what the device gave after a unit check.

        *device*: what its commands and sense bits are called.
        """
        words = descriptions.line_irb(irb, device)
        if sense and not descriptions.sense_of(irb):
            words += f"; {descriptions.line_sense(sense, device)}"
        super().__init__(f"the channel program failed: {words}")
        self.irb = irb
        """The interruption-response block that concluded the program."""
        self.sense = sense
        """Sense data, empty unless the device presented unit check."""
