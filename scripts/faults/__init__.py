"""A Linux guest's data under random faults: fio in the guest, and things go wrong.

`inject` switches faults, delays, unsolicited status and channel paths of a mount, `load` has what
runs in the guest, `rounds` brings both together and judges: no block may be wrong, and the guest
must come back by itself when the faults are over.
"""


class FaultsError(Exception):
    """The guest did not come back, or it or the mount could not be asked; why is in the text."""
