"""What tests, benchmarks and evidence share: mounts, their processes, waits, and a bare client.

`mounts` mounts by the real command and ends it; `processes` is what /proc tells; `waits` waits for
what happens, never for a time; `programs` packs requests and channel programs; `client` has nothing
but system calls. Nothing here uses what it is to judge: no layout of `regions`, no product client.
"""
