"""Tape drives 3420, 3480 and 3490 on files in the AWS format.

`codes` has their commands and sense bits, `aws` is the medium, `drive` what all drives do, `sense`
what goes wrong and how each family says so, `paths` path groups; `t3420`, `t3480` and `t3490` are
the drives.
"""
