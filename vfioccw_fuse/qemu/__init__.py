"""An unmodified QEMU as a client: the library loaded into it, and what has to be around it.

The C files in `preload` answer QEMU's VFIO calls, `build` compiles them, `options` makes QEMU's
options, `run` starts QEMU and puts everything back at its end. Nothing here knows the server: like
any client this room sees the files of a mount.
"""
