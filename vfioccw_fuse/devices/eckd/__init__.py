"""ECKD disks: a 3390 behind a 3990 or 2107 control unit, on CKD images of the Hercules format.

From the bottom up: `codes` (commands and sense bits), `geometry` and `track` (what a track is),
`image` (tracks in files), `volume` and `labels` (whole images: make one, look at it, check it),
`sense` and `control_unit` (what the device says of itself), `pav` (base and aliases of a volume),
`extents` (who works where on it), `operations` (what the domain of a Locate Record has),
`orientation` (where the heads are and what the program may do), then the commands: `locate`,
`control`, `search`, `read`, `write`, `subsystem`; `device` puts them together, and so does `alias`,
without a volume.
"""
