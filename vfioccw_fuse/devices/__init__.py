"""Device models: what a control unit and its medium do with one CCW command.

A device knows command codes, its medium and its sense data. It knows nothing of regions, FUSE, the
FSM or of how a channel finds storage: data goes through a `DataTransfer`.
"""
