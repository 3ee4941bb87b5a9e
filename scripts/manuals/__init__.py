"""The man pages of `vfioccw`: a page for each command, from what its help says."""
