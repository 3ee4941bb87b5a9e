"""The channel subsystem: subchannels, I/O instructions, and the interpreter of channel programs.

It knows no region, no errno and no FUSE: instructions give condition codes, programs end in an
SCSW.
"""
