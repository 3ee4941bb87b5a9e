"""The ground floor: what the bytes of a vfio-ccw subchannel mean, and nothing of who moves them.

One file a concern: `constants` has the numbers, `layouts` the structures (declared once, in
Construct), `codec` the fast reading and writing derived from them, `table` which regions and
interrupts an interface has, `descriptions` the words for people.  `README.md` is the reference,
byte by byte.

Nothing here may import anything of ours, do I/O, or know a device: the server and every client
stand on this package alone.
"""
