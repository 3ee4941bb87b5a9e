"""What the client stands on."""

import subprocess
import sys


def test_it_imports_regions_and_nothing_else_of_ours():
    code = (
        "import sys, vfioccw_fuse.client\n"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] == 'vfioccw_fuse'))"
    )
    run = [sys.executable, "-c", code]
    ours = subprocess.run(run, capture_output=True, check=True, text=True).stdout.split()
    assert "vfioccw_fuse.client" in ours
    others = {name.split(".")[1] for name in ours if "." in name}
    assert others == {"client", "regions"}
