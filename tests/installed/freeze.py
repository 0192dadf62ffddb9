"""Freezes this version's meter: its .mpy build, its factory memory and the published vectors.

    python tests/installed/freeze.py

writes ``tests/installed/<version>/``. A frozen folder is a meter that hangs on a wall: it is never made again, and
every later version must go on serving it (test_installed.py). Run it once, when a version is released.
"""

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from gashall.signer import KeyFileSigner
from gasrig import mpy
from gasrig.parts import Fram
from meter.factory import create
from meter.meter import Settings

HERE = Path(__file__).parent
VECTORS = HERE.parents[1] / "protocol" / "vectors"

# The meter of every frozen version; drive.py knows the same.
ROOT = bytes(range(32))
REGION = 0xFFFF
METER = "00000000000017"
LANE_LENGTH = 256


def freeze(folder: Path) -> None:
    """Write the meter of this version into ``folder``, which must not exist."""
    folder.mkdir()
    sizes = mpy.compile_tree(mpy.firmware_files(), folder / "lib")
    memory, key_memory = Fram(0x1000 + LANE_LENGTH), Fram(128)
    key, tool_key = KeyFileSigner(ROOT, REGION).meter_keys(METER, 1)
    values = {"meter": METER, "region": REGION, "key_version": 1, "key": key, "tool_key": tool_key}
    create(memory, key_memory, Settings(1, LANE_LENGTH), values)
    (folder / "memory.bin").write_bytes(memory.cells)
    (folder / "keys.bin").write_bytes(key_memory.cells)
    shutil.copytree(VECTORS, folder / "vectors", ignore=shutil.ignore_patterns("*.py", "*.md", "__pycache__"))
    shutil.copyfile(HERE / "drive.py", folder / "drive.py")
    print(f"{folder.name}: {sum(sizes.values())} bytes of .mpy in {len(sizes)} modules")


if __name__ == "__main__":
    target = HERE / version("icgas")
    if target.exists():
        sys.exit(f"{target.name} is frozen already: a meter in the field is not made again")
    freeze(target)
