"""meter.store: the portable tests, and the whole search."""

import portable_store
import pytest
from portable_store import *  # noqa: F403
from portable_store import GARBAGE, CutEeprom, CutFram, brute


@pytest.mark.parametrize("generation", [0, 1, 0xFFFE, 0xFFFF])
def test_one_lane_every_count_every_byte(generation):
    fired, wrong = brute(CutFram, 1, 64, generation, 0, 64 + 64 + 5)
    assert fired > 5000
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("start, pulses", [(0, 14), (120, 12), (245, 16)])
@pytest.mark.parametrize("generation", [0, 0xFFFF])
@pytest.mark.parametrize("kind", [CutEeprom, CutFram])
def test_four_lanes_every_byte(kind, generation, start, pulses):
    fired, wrong = brute(kind, 4, 64, generation, start, pulses)
    assert fired > 150
    assert not wrong, wrong[:5]


def test_four_lanes_every_count():
    fired, wrong = brute(CutEeprom, 4, 64, 1, 0, 256 + 8)
    assert fired > 20000
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("batch", [2, 3, 7, 16, 64])
def test_one_lane_batches_every_byte(batch):
    fired, wrong = brute(CutFram, 1, 64, 3, 33, 64 + batch, batch=batch)
    assert fired > 500
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("batch", [16, 64, 100])
def test_one_lane_batches_over_several_pages(batch):
    fired, wrong = brute(CutFram, 1, 192, 3, 20, 200, batch=batch)
    assert fired > 1000
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("batch, pulses, least", [(64, 128, 30000), (16, 80, 6000)])
def test_one_lane_batches_second_cut_at_every_byte(batch, pulses, least, monkeypatch):
    monkeypatch.setattr(portable_store, "second_cuts", range)
    fired, wrong = brute(CutFram, 1, 192, 3, 20, pulses, batch=batch)
    assert fired > least
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("lanes", [1, 4])
def test_lanes_of_several_pages(lanes):
    kind = CutEeprom if lanes == 4 else CutFram
    for start in (lanes * 64 - 3, lanes * 192 - 3):
        fired, wrong = brute(kind, lanes, 192, 5, start, 6, torns=(0xFF, 0x5A, 0xA5))
        assert fired > 20
        assert not wrong, wrong[:5]


def test_one_lane_on_a_memory_that_garbles_pages_fails():
    fired, wrong = brute(CutEeprom, 1, 64, 0, 10, 3, torns=GARBAGE, deep=False)
    assert fired and any(case[5] is not None and abs(case[5] - case[4]) > 1 for case in wrong)
