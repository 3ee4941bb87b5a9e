"""Evidence that the mount does what the mailing-list thread on halt and clear asks for.

``scripts/thread-table`` executes each row of the thread's table on a mount, ``scripts/interfaces``
sends one client against all four interfaces. It runs the installed product from outside, by its
commands and files.
"""
