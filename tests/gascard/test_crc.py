"""gascard.crc against crcmod, and the portable tests."""

import random

import pytest
from portable_crc import *  # noqa: F403

from gascard.crc import crc16


@pytest.mark.needs("crcmod")
def test_crc_agrees_with_crcmod():
    from crcmod.predefined import mkPredefinedCrcFun

    reference = mkPredefinedCrcFun("x-25")
    dice = random.Random(1)
    for length in range(260):
        data = dice.randbytes(length)
        assert crc16(data) == reference(data)
