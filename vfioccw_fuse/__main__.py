"""`python -m vfioccw_fuse` is the command `vfioccw`."""

from vfioccw_fuse.cli import main

if __name__ == "__main__":
    main()
