"""The presentation: one vfio-ccw device after the other as files of a FUSE mount.

It decides names, inodes, modes and who may wait; what a read or write means is the driver's matter.
"""
