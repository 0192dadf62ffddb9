"""meter.meter: the portable tests, and batches of any size over any thresholds."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from portable_meter import *  # noqa: F403
from portable_meter import bench, same_in_batches

from gascard.records import SHUT_REGISTER_END, TOTAL_MAX
from gasrig.bench import MEMORY_EEPROM, MEMORY_FRAM, MEMORY_MAPPED

MEMORIES = [(MEMORY_FRAM, 1), (MEMORY_EEPROM, 4), (MEMORY_MAPPED, 1), (MEMORY_MAPPED, 4)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(MEMORIES),
    st.lists(st.integers(0, 200), max_size=8),
    st.one_of(st.integers(0, 300), st.integers(TOTAL_MAX - 900, TOTAL_MAX)),
    st.integers(0, 400),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_batches_are_the_same_as_single_pulses_anywhere(kind, batches, register, bought, alarm, overdraft):
    memory, lanes = kind
    bought = min(bought, TOTAL_MAX - register)
    same_in_batches(
        batches,
        memory=memory,
        lanes=lanes,
        register=register,
        bought_total=bought,
        alarm=alarm,
        overdraft=overdraft,
    )


@pytest.mark.parametrize("bought", range(6))
@pytest.mark.parametrize("alarm", range(6))
@pytest.mark.parametrize("overdraft", range(3))
def test_batches_are_the_same_in_the_small(bought, alarm, overdraft):
    for first in range(1, 9):
        for second in (1, 4):
            same_in_batches([first, second], bought_total=bought, alarm=alarm, overdraft=overdraft)


def test_a_life_of_batches_keeps_the_register_to_the_pulse():
    dice = random.Random(5)
    for memory, lanes in MEMORIES:
        made = bench(memory=memory, lanes=lanes, bought_total=50000)
        told = 0
        for _ in range(120):
            count = dice.choice([1, 2, 5, 63, 64, 65, 200])
            made.meter.pulses(count)
            told += count
            if dice.random() < 0.2:
                made.power_off(dice.random() < 0.5)
                made.power_on()
                assert made.meter.register.scrubbed == 0
            assert made.meter.register.value == told
            assert made.meter.remaining == 50000 - told


def test_a_pulse_past_the_end_is_not_counted_by_a_function_kept_from_before():
    made = bench(register=TOTAL_MAX - 3, bought_total=3)
    kept = made.meter.pulses
    kept(100)
    kept(100)
    assert made.meter.register.value == TOTAL_MAX
    assert made.meter.reasons & SHUT_REGISTER_END
