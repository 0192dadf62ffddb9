"""Fixtures of the hall's tests; what they are made of stands in paper.py, which the tests import by name."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gashall.signer import KeyFileSigner

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("paper", "windows")

from paper import REGION, ROOT, Desk  # noqa: E402


@pytest.fixture(scope="session")
def signer() -> KeyFileSigner:
    return KeyFileSigner(ROOT, REGION)


@pytest.fixture
def desk(tmp_path: Path, signer: KeyFileSigner) -> Iterator[Desk]:
    folder = tmp_path / "desk"
    os.mkdir(folder)
    desk = Desk(folder, signer)
    yield desk
    desk.close()
