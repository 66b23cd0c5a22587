"""`make damage-test`: 200 random bytes of a folder of results are changed, one after the other.

Each must be noticed, its file named and set aside, and made again, with the same table. See results/damage_test.json.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from splitleak.store import write_json

CHECKOUT = Path(__file__).parents[2]
BYTES = 200
TEST = "tests/jobs/test_any_byte.py::test_any_one_byte_is_noticed_named_and_mended"


def main() -> None:
    """Run the test with BYTES places; its exit status is the one of this program."""
    start = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-x", "-q", TEST]
    ended = subprocess.run(command, cwd=CHECKOUT, env=os.environ | {"SPLITLEAK_BYTES": str(BYTES)}, check=False)
    if ended.returncode == 0:
        result = {"bytes_changed": BYTES, "noticed_named_and_mended": BYTES, "machine": platform.machine()}
        write_json(CHECKOUT / "results/damage_test.json", result | {"seconds": round(time.monotonic() - start)})
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
