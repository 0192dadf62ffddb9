"""meter.lockout: the portable tests, and an attacker with his hand on the plug."""

import pytest
from portable_judging import MINUTES, Stand, card
from portable_lockout import *  # noqa: F403
from portable_store import CLEAN, GARBAGE, CutEeprom, CutFram, Fuse, PowerCut

from gascard import codes
from meter.factory import create_lockout
from meter.lockout import CARDS, REFILL_MINUTES, TOKENS_FULL, Lockout

FORGED = {"key": b"another key....."}
REFILL_MS = REFILL_MINUTES * 60000


@pytest.mark.parametrize("kind", [CutFram, CutEeprom])
def test_cut_at_every_byte_of_take_gives_no_judgement_away(kind):
    # The verdict is what the attacker wants: count how many he gets before the bucket is empty.
    cuts = 0
    for torn in (CLEAN, *GARBAGE):
        for at in range(8):
            memory = kind(0x400)
            create_lockout(memory)
            verdicts = 0
            for turn in range(40):
                lockout = Lockout(memory)
                lockout.recover()
                memory.fuse = Fuse(at, torn) if turn % 3 else Fuse()
                try:
                    if lockout.take(CARDS):
                        verdicts += 1
                        if turn % 2:
                            lockout.failed(CARDS)
                except PowerCut:
                    cuts += 1
                memory.fuse = Fuse()
            lockout = Lockout(memory)
            lockout.recover()
            assert verdicts <= TOKENS_FULL, (torn, at)
            assert lockout.tokens[CARDS] == 0 or verdicts < TOKENS_FULL
    assert cuts > 100


@pytest.mark.parametrize("powered_minutes", [0, 1, 29])
def test_power_cycling_never_yields_more_than_the_tokens(powered_minutes):
    stand = Stand()
    stand.pass_time(9 * REFILL_MS)
    assert stand.meter.lockout.tokens[CARDS] == TOKENS_FULL
    forged = card(**FORGED)
    judged = 0
    for _ in range(60):
        assert stand.boot() == codes.OK
        stand.pass_time(powered_minutes * 60000)
        judged += stand.visit(forged) == codes.MAC
    # The good card at the binding took no token, but its figure is stored.
    assert judged == TOKENS_FULL - 1
    assert stand.visit(forged) == codes.LOCKED_OUT


def test_tokens_return_with_powered_time_only():
    stand = Stand()
    forged = card(**FORGED)
    for turn in range(TOKENS_FULL):
        assert stand.visit(forged) == codes.MAC, turn
    good = card()
    stored = stand.dump()
    for _ in range(3):
        assert stand.visit(good) == codes.LOCKED_OUT
        assert not stand.slot.powered and stand.panel.text == "L 30"
    assert stand.dump() == stored
    stand.meter.clock(MINUTES + 525600)  # a year on the clock is no time at all
    assert stand.visit(good) == codes.LOCKED_OUT
    stand.pass_time(REFILL_MS - 60001)
    assert stand.visit(good) == codes.LOCKED_OUT
    assert stand.panel.text == "L  2"
    stand.pass_time(60001)
    assert stand.meter.lockout.tokens[CARDS] == 1
    assert stand.visit(good) == codes.OK
    assert stand.meter.lockout.tokens[CARDS] == 1
    stand.pass_time(20 * REFILL_MS)
    assert stand.meter.lockout.full


def test_empty_bucket_does_not_power_the_slot():
    stand = Stand()
    stand.meter.lockout.tokens[CARDS] = 0
    powered = []
    stand.slot.power_on = lambda: powered.append(1)
    assert stand.visit(card()) == codes.LOCKED_OUT
    assert not powered
    stand.meter.lockout.tokens[CARDS] = 1
    stand.visit(card())
    assert powered


@pytest.mark.parametrize(
    "changed",
    [{"meter": "00000000000018"}, {"binding": 2}, {"replacement": 1}, {"pulse_weight": 1}, {"flags": 0x80}],
)
def test_strangers_cards_cost_no_token(changed):
    stand = Stand()
    for _ in range(20):
        assert stand.visit(card(**FORGED, **changed)) not in (codes.MAC, codes.LOCKED_OUT)
    assert stand.meter.lockout.tokens[CARDS] == TOKENS_FULL


def test_a_year_of_tries_is_what_the_rule_says():
    stand = Stand()
    forged = card(**FORGED)
    judged = 0
    for _ in range(48 * 20):  # twenty days, a try each half hour and more where there is a token
        while stand.visit(forged) == codes.MAC:
            judged += 1
        stand.pass_time(REFILL_MS)
    assert judged <= TOKENS_FULL + 48 * 20
    assert judged > 900
