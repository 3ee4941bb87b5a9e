"""What the mount costs in time and space, measured beside a null device in C (`scripts/bench`).

One module a bench; each has ``run(report, options)``. `servers` builds the C programs and starts
and ends mounts, `report` prints figures and remembers which target was missed. Nothing here imports
the product: it is measured from outside, by its files and its command line.
"""
