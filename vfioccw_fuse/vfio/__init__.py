"""The vfio-ccw driver: regions, requests, FSM and interrupts, as drivers/s390/cio/vfio_ccw_*.c.

It turns region accesses into I/O instructions and condition codes into errnos. It knows no FUSE.
"""
