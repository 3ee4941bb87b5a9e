"""Unit record: the card reader 3505, the card punch 3525 and the printer 1403, on plain files.

`codes` has their commands and sense bits; `reader`, `punch` and `printer` are the devices,
`output` the file that the last two write.
"""
