"""Power-ups that are not played twice: the figures are those of playing each, and a firmware cannot hide behind it."""

from zlib import crc32

import pytest

from gascard import frames
from gascard.codec import unpack
from gascard.records import REPORT_DATA
from gascard.tools import FINAL, FINAL_AT
from gasrig import sharing
from gasrig.checkers import read_store
from gasrig.cut import Cutter
from gasrig.flows import Player, new_tool
from gasrig.handset import RecordedMeter
from gasrig.recorder import STORE
from gasrig.sharing import StateOutsideError, remembered
from gasrig.states import Sameness, Stored
from gasrig.targets import open_target
from meter import account, events, meter, store
from meter.layouts import ACCOUNT_AT, COPY_SIZE

ODD = b"\xa5\xa5"  # at the end of a copy: garbage that the fault models leave


def cut(flow, whole=False, **options):
    with open_target("cpython") as target:
        cutter = Cutter(target, whole=whole, **options)
        return cutter.run(flow), cutter


@pytest.mark.parametrize(
    "flow, shard",
    [
        ("first load", (2, 15)),  # records, keys, log
        ("batch", (1, 20)),  # tally
        ("checkpoint", (1, 20)),
        ("lockout take", (3, 20)),
        ("setting", (4, 30)),
        ("keys from the factory", (4, 12)),
        ("clear", (6, 30)),  # final records
    ],
)
def test_shared_power_ups_give_the_figures_of_playing_each(flow, shard):
    mine, cutter = cut(flow, shard=shard)
    whole, other = cut(flow, whole=True, shard=shard)
    assert other.shares is None
    assert mine == whole and mine.states > 300
    assert (cutter.states, cutter.fired) == (other.states, other.fired)
    assert cutter.shares.shared > cutter.shares.played


@pytest.mark.parametrize(
    "flow, shard",
    [
        ("first load", (5, 100)),
        ("checkpoint", (4, 40)),  # two read a torn checkpoint, and each names the other
    ],
)
def test_shared_power_ups_of_a_second_cut_give_the_figures_of_playing_each(flow, shard):
    mine, cutter = cut(flow, depth=2, shard=shard)
    whole, _ = cut(flow, whole=True, depth=2, shard=shard)
    assert mine == whole and mine.fired > 1000
    assert cutter.shares.shared > cutter.shares.played


@pytest.mark.parametrize("option", [{"whole": True}, {"case": "fram/1 gas/0/CLEAN 0"}])
def test_nothing_is_shared_where_it_is_not_to_be(option):
    with open_target("cpython") as target:
        assert Cutter(target).shares is not None
        assert Cutter(target, **option).shares is None


def test_nothing_is_shared_on_a_vm(vm_name):
    with open_target(vm_name) as target:
        assert Cutter(target).shares is None


# --- firmware that does something else for garbage it should not heed, where sharing might miss it

REAL_LOAD = store.Pair.load


def odd(memory):
    raw = bytearray(COPY_SIZE)
    found = False
    for place in ACCOUNT_AT:
        memory.read_into(place, raw)
        found |= raw.endswith(ODD)
    return found


def looks_again(self, real=meter.Meter._set_limits):
    if odd(self.memory):
        raise store.StoreFault(0)
    real(self)


def looks_past_the_memory(self, real=meter.Meter._set_limits):
    if any(self.memory.cells[place : place + COPY_SIZE].endswith(ODD) for place in ACCOUNT_AT):
        raise store.StoreFault(0)
    real(self)


def keeps_it_to_itself(self):
    whole = REAL_LOAD(self)
    self.odd = self._places == ACCOUNT_AT and odd(self._memory)
    return whole


def counts_itself(self):
    whole = REAL_LOAD(self)
    # Equal to the eye, 0 and False, and not the same.
    self._alike = self._alike or (0 if self._places == ACCOUNT_AT and odd(self._memory) else False)
    return whole


def keeps_it_in_the_memory(self):
    whole = REAL_LOAD(self)
    if self._places == ACCOUNT_AT:
        self._memory.odd = odd(self._memory)
    return whole


def fill(self, copy, raw):
    # It returns nothing and leaves nothing in its object: all that it says stands in what it was given.
    self._memory.read_into(self._places[copy], raw)


def has_it_filled(self, copy):
    raw = bytearray(COPY_SIZE)
    self.fill(copy, raw)
    if self._places == ACCOUNT_AT and raw.endswith(ODD):
        raise store.StoreFault(0)
    end = COPY_SIZE - 4
    return raw if crc32(raw[:end]) == int.from_bytes(raw[end:], "big") else None


def keeps_it_in_the_class(self):
    whole = REAL_LOAD(self)
    if self._places == ACCOUNT_AT:
        type(self).odd = odd(self._memory)
    return whole


def writes_it_down(self):
    whole = REAL_LOAD(self)
    if self._places == ACCOUNT_AT and odd(self._memory):
        self._memory.write(0x0F00, b"\x01")
    return whole


def then_faults(look):
    def save_state(self, real=meter.Meter.save_state):
        if look(self):
            raise store.StoreFault(0)
        real(self)

    return save_state


# What is put in the place of what.
ATTACKS = {
    "looks again": [(meter.Meter, "_set_limits", looks_again)],
    "looks past the memory": [(meter.Meter, "_set_limits", looks_past_the_memory)],
    "keeps it to itself": [
        (store.Pair, "load", keeps_it_to_itself),
        (meter.Meter, "save_state", then_faults(lambda core: core.account.odd)),
    ],
    "another type of the same value": [
        (store.Pair, "load", counts_itself),
        (meter.Meter, "save_state", then_faults(lambda core: core.account._alike is not bool(core.account._alike))),
    ],
    "keeps it in the memory": [
        (store.Pair, "load", keeps_it_in_the_memory),
        (meter.Meter, "save_state", then_faults(lambda core: core.memory.odd)),
    ],
    "fills what it was given": [(store.Pair, "fill", fill), (store.Pair, "_read", has_it_filled)],
    "keeps it in the class": [
        (store.Pair, "load", keeps_it_in_the_class),
        (account.Account, "odd", False),
        (meter.Meter, "save_state", then_faults(lambda core: core.account.odd)),
    ],
    "writes it down": [(store.Pair, "load", writes_it_down)],
}


@pytest.mark.parametrize("name", ATTACKS)
def test_firmware_that_heeds_garbage_is_found_as_by_playing_each(monkeypatch, name):
    for home, attribute, fault in ATTACKS[name]:
        monkeypatch.setattr(home, attribute, fault, raising=attribute not in ("odd", "fill"))
    mine, _ = cut("first load", shard=(1, 6))
    whole, _ = cut("first load", whole=True, shard=(1, 6))
    assert mine == whole and mine.violations


def test_firmware_that_leaves_something_elsewhere_is_not_shared(monkeypatch):
    # Nothing tells of it in the reader's own object, class or module: at the end of the flow it is seen.
    def load(self):
        if self._places == ACCOUNT_AT and odd(self._memory):
            events.LAST = b"odd"
        return REAL_LOAD(self)

    monkeypatch.setattr(store.Pair, "load", load)
    monkeypatch.setattr(events, "LAST", b"", raising=False)
    with pytest.raises(StateOutsideError, match="LAST"):
        cut("first load", shard=(1, 6))


# --- what is computed in the firmware's stead, and what is not looked at


def test_sum_of_the_library_is_the_firmwares_and_stands_in_for_it():
    firmware = frames.crc16
    data = bytes(value * 7 % 256 for value in range(300))
    with remembered():
        assert frames.crc16 is not firmware
        for start, end in ((0, -1), (3, 3), (1, 64), (17, 300)):
            assert frames.crc16(data, start, end) == firmware(data, start, end)
    assert frames.crc16 is firmware


def test_firmware_with_a_sum_of_its_own_sums_up_for_itself(monkeypatch):
    def short(data, start=0, end=-1, real=frames.crc16):
        return real(data, start, end) & 0xFF7F

    monkeypatch.setattr(sharing, "crc16", short)
    monkeypatch.setattr(frames, "crc16", short)
    with remembered():
        assert frames.crc16 is short


def stored(card=b""):
    with open_target("cpython") as target:
        player = Player(RecordedMeter(target))
        player.step(("build", {"lane_length": 64}))
        return Stored(player.meter.memory(0x1040), player.meter.keys(), card, 0, 0, 0, 0)


def test_log_has_no_part_in_what_a_memory_means():
    state = stored()
    other = state.torn(STORE, 0x0400, bytes(range(1, 256)) * 11)
    assert read_store(other.cells, other.keys, 1, 64) == read_store(state.cells, state.keys, 1, 64)
    same = Sameness(1, 64, 4000)
    assert same.behaviour(other) == same.behaviour(state)
    assert same.state(other) != same.state(state)


def test_torn_final_records_of_a_transfer_card_are_one_only_to_a_meter():
    bare = bytes(new_tool("transfer out", {}).dump())
    frame = frames.build(REPORT_DATA, unpack(REPORT_DATA, bytes(REPORT_DATA.size)), FINAL, 1, 0xFFFF, bytes(16))
    cards = [bare[:FINAL_AT] + frame[:end] + bare[FINAL_AT + end :] for end in (0, 20, 40, len(frame))]
    none, torn, more, whole = [stored(card) for card in cards]
    same = Sameness(1, 64, 4000)
    assert same.behaviour(none) == same.behaviour(torn) == same.behaviour(more) != same.behaviour(whole)
    assert len({same.state(state) for state in (none, torn, more, whole)}) == 4
