"""Fixed-block disks: `codes` has their commands and sense bits, `device` the models."""
