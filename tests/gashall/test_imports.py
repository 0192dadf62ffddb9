"""A hall that only encodes cards needs no database, no tables, no second engine."""

import subprocess
import sys

import pytest

import gashall

HEAVY = ("alembic", "cryptography", "sqlalchemy", "rich", "construct", "crcmod", "serial", "demandlib", "pandas")

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {heavy}:
            raise ModuleNotFoundError('blocked: ' + name, name=name)
sys.meta_path.insert(0, Block())
"""


def run(source):
    return subprocess.run(
        [sys.executable, "-c", BLOCK.format(heavy=HEAVY) + source],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "source",
    [
        "from gashall import encode, encode_card, decode_card, KeyFileSigner, GasError",
        "from gashall import ChipReader, FileReader, Reader",
        "import gashall.units, gashall.errors, gashall.signer, gashall.cli",
        "import gashall; dir(gashall)",
        "from gashall import encode_identity, encode_card, viewer\n"
        "import pathlib, tempfile\n"
        "path = pathlib.Path(tempfile.mkdtemp()) / 'card.bin'\n"
        "path.write_bytes(encode_card(encode_identity(region=1, card=1)))\n"
        "sys.exit(viewer.command(['show', str(path), '--json']))",
    ],
)
def test_light_parts_need_no_extra(source):
    result = run(source)
    assert result.returncode == 0, result.stderr


def test_heavy_part_says_what_is_missing():
    result = run(
        "from importlib.metadata import EntryPoint\n"
        "from gashall import cli\n"
        "sys.exit(cli.run(EntryPoint('sell', 'gashall.services:Hall', cli.GROUP), []))"
    )
    assert result.returncode == 1
    assert "pip install 'icgas[hall]'" in result.stderr


def test_name_that_needs_an_extra_says_which():
    for name in ("Hall", "Ledger"):
        result = run(f"from gashall import {name}")
        assert result.returncode == 1
        assert "ModuleNotFoundError" in result.stderr and "pip install 'icgas[hall]'" in result.stderr


def test_exports_are_all_there_and_no_others():
    assert sorted(gashall.__all__) == list(gashall.__all__) == dir(gashall)
    for name in gashall.__all__:
        assert getattr(gashall, name).__name__ == name
    with pytest.raises(AttributeError):
        gashall.nothing  # noqa: B018
