"""The attack on a running mount, `scripts/soak`: everything that clients can do to it, at once.

From the ground up: `plan` is what a run was told, `board` where a process says what it does,
`media` the devices, `ledger` which writes were acknowledged. Clients are processes: `writers` whose
writes are checked, `attackers` that do what `files`, `programs`, `messages` and `mutants` have,
`prober` which measures how long a NOP takes. `server` is the mount, `crew` the processes, `report`
what is said, and `rounds` lets it all happen, kills, and looks at what is left.
"""
