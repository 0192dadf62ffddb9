# The token buckets (RULES 3), in memory and in the store.

from gasrig.parts import Fram
from meter.factory import create_lockout
from meter.layouts import LOCKOUT, LOCKOUT_AT, LOCKOUT_PLACES, LOCKOUT_STRIDE
from meter.lockout import CARDS, SERVICE, TOKENS_FULL, Lockout
from meter.store import StoreFault, write_small

SIZE = 0x400


def made():
    memory = Fram(SIZE)
    create_lockout(memory)
    return memory, booted(memory)


def booted(memory):
    lockout = Lockout(memory)
    lockout.recover()
    return lockout


def test_new_meter_has_full_buckets():
    memory, lockout = made()
    assert list(lockout.tokens) == [TOKENS_FULL, TOKENS_FULL] and lockout.full


def test_success_writes_once_and_never_again():
    memory, lockout = made()
    writes = memory.writes
    for _ in range(5):
        assert lockout.take(CARDS)
        assert lockout.stored[CARDS] == TOKENS_FULL - 1
    assert memory.writes == writes + 1
    assert lockout.tokens[CARDS] == TOKENS_FULL and lockout.full


def test_stored_is_below_the_tokens_while_a_card_is_judged():
    memory, lockout = made()
    for tokens in range(TOKENS_FULL, 0, -1):
        assert lockout.tokens[CARDS] == tokens
        assert lockout.take(CARDS)
        assert booted(memory).tokens[CARDS] == tokens - 1
        lockout.failed(CARDS)
    writes = memory.writes
    assert not lockout.take(CARDS) and memory.writes == writes
    assert lockout.take(SERVICE)  # a bucket of its own


def test_cut_between_take_and_verdict_costs_the_token():
    memory, lockout = made()
    judged = 0
    for _ in range(50):
        lockout = booted(memory)
        if lockout.take(CARDS):
            judged += 1  # and the power goes before failed()
    assert judged == TOKENS_FULL


def test_refill_gives_one_back_and_stores_it():
    memory, lockout = made()
    for _ in range(TOKENS_FULL):
        lockout.take(CARDS)
        lockout.failed(CARDS)
    for tokens in range(1, TOKENS_FULL + 1):
        lockout.refill()
        assert lockout.tokens[CARDS] == tokens == booted(memory).tokens[CARDS]
        assert lockout.tokens[SERVICE] == TOKENS_FULL
        assert lockout.full == (tokens == TOKENS_FULL)
    lockout.refill()
    assert lockout.tokens[CARDS] == TOKENS_FULL


def test_ring_goes_round_and_wraps():
    for start in (0, 0xFFF0):
        memory, lockout = made()
        lockout._number = start
        for _ in range(LOCKOUT_PLACES):
            lockout.refill()
        for step in range(40):
            lockout.take(CARDS)
            lockout.failed(CARDS)
            again = booted(memory)
            assert again.tokens[CARDS] == lockout.tokens[CARDS], (start, step)
            lockout.refill()
            assert booted(memory).tokens[CARDS] == TOKENS_FULL, (start, step)


def test_entry_in_the_wrong_place_does_not_count():
    memory, lockout = made()
    values = {"number": 17, "cards": 3, "service": 3}
    write_small(memory, LOCKOUT_AT + 2 * LOCKOUT_STRIDE, LOCKOUT, values)
    assert booted(memory).tokens[CARDS] == TOKENS_FULL


def test_entry_never_holds_more_than_a_bucket():
    memory, lockout = made()
    values = {"number": 17, "cards": 200, "service": 9}
    write_small(memory, LOCKOUT_AT + 1 * LOCKOUT_STRIDE, LOCKOUT, values)
    assert list(booted(memory).tokens) == [TOKENS_FULL, TOKENS_FULL]


def test_unreadable_ring_starts_empty():
    lockout = booted(Fram(SIZE))
    assert list(lockout.tokens) == [0, 0]
    assert not lockout.take(CARDS)
    lockout.refill()
    assert lockout.tokens[CARDS] == 1 and lockout.take(CARDS)


def test_take_that_cannot_be_stored_judges_nothing():
    memory, lockout = made()

    def refuse(address, data):
        raise OSError(5)

    memory.write = refuse
    try:
        lockout.take(CARDS)
        raise ValueError("taken")
    except StoreFault:
        pass
