"""Guest storage: the ranges that a subchannel's channel programs may address, and their backing."""
