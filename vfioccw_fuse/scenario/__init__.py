"""Scenarios: a device, storage and a list of I/O instructions as JSON, run without a mount."""
