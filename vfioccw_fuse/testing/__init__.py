"""For tests of your own: a pytest plugin that mounts subchannels, and clears away behind a test.

pytest finds the plugin where vfioccw is installed. Its fixtures:

- `vfioccw_subchannel`: a client (`vfioccw_fuse.client.Subchannel`) of a device on a mount of its
  own, an FBA disk or what the mark `vfioccw_device` says;
- `vfioccw_mount`: a function that mounts devices and gives a `mounts.Mounted`;
- `vfioccw_image`: a function that makes a medium and gives its path;
- `vfioccw_guest`: a function that boots an s390x Linux on them and gives its console.

The mark `vfioccw_fault` switches a fault on. Everything of a test is in its `tmp_path`, so tests
may run at the same time; a mount ends with its test, and with pytest, however that ends.
"""
