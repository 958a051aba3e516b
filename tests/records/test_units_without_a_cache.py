"""Units work where nothing can be written."""

import os
import subprocess
import sys


def test_units_need_no_place_to_write():
    script = "from ipex_pd.units import factor; print(factor('mg', 'g'))"
    surroundings = {**os.environ, "XDG_CACHE_HOME": "/proc/none", "HOME": "/proc/none"}
    done = subprocess.run([sys.executable, "-c", script], env=surroundings, capture_output=True, text=True, check=True)
    assert float(done.stdout) == 0.001
