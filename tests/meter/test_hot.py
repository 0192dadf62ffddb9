"""The portable debit (meter.hot) against a tally kept the slow way; the VMs compare the twins."""

import importlib.util
import random
from array import array
from itertools import product
from pathlib import Path

import pytest

from meter import hot

ORIGIN = 0x10
SIZE = 0x80


def load_portable():
    spec = importlib.util.spec_from_file_location("portable_hot", Path(__file__).with_name("portable_hot.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Mapped:
    def __init__(self, odds=None):
        self.buffer = bytearray(SIZE)

    def image(self):
        return self.buffer


class Method:
    """A memory that refuses a write when ``odds()`` says so, before it has written anything."""

    def __init__(self, odds=None):
        self.data = bytearray(SIZE)
        self.odds = odds or (lambda: False)
        self.writes = []

    def put(self, address, value):
        if self.odds():
            raise OSError(5)
        self.data[address] = value
        self.writes.append((address, 1))

    def fill(self, address, value, count):
        if self.odds():
            raise OSError(5)
        self.data[address : address + count] = bytes([value]) * count
        self.writes.append((address, count))

    def image(self):
        return self.data


class Oracle:
    """The rule as written: one pulse, one byte at its place, then the count, then the slow path at STOP."""

    def __init__(self, lane, stops, capacity):
        self.memory = bytearray(SIZE)
        self.count, self.stop, self.marker, self.lane = 0, stops[0], 0xA5, lane
        self.slow = slow_path(stops, capacity)
        self.calls = []

    def pulse(self):
        row, column = divmod(self.count, 4)
        self.memory[ORIGIN + (column * self.lane + row if self.lane else self.count)] = self.marker
        self.count += 1
        if self.count == self.stop:
            self.calls.append(self.count)
            self.count, self.stop, self.marker = self.slow(self.count, self.marker, len(self.calls))


def slow_path(stops, capacity):
    """A full tally is closed by a checkpoint: place 0 and the other marker. The next stop lies ahead."""

    def slow(count, marker, calls):
        if count == capacity:
            count, marker = 0, marker ^ 0xFF
        stop = stops[calls % len(stops)]
        return count, stop if count < stop <= capacity else capacity, marker

    return slow


class Rig:
    def __init__(self, memory, lane, stops, capacity):
        self.cells = array("i", [0, stops[0], 0xA5, ORIGIN, lane])
        self.memory = memory
        self.slow = slow_path(stops, capacity)
        self.calls = []
        self.pulse = hot.plain_pulse(self.cells, memory, self.reached)
        self.pulses = hot.plain_pulses(self.cells, memory, self.reached)

    def reached(self):
        cells = self.cells
        self.calls.append(cells[hot.COUNT])
        count, stop, marker = self.slow(cells[hot.COUNT], cells[hot.MARKER], len(self.calls))
        cells[hot.COUNT], cells[hot.STOP], cells[hot.MARKER] = count, stop, marker

    def agrees(self, oracle):
        assert self.memory.image() == oracle.memory
        assert self.calls == oracle.calls
        assert list(self.cells) == [oracle.count, oracle.stop, oracle.marker, ORIGIN, oracle.lane]


def feed(rig, oracle, batches):
    for count in batches:
        if count is None:
            rig.pulse()
            oracle.pulse()
        else:
            rig.pulses(count)
            for _ in range(count):
                oracle.pulse()
        rig.agrees(oracle)


@pytest.mark.parametrize("kind", [Mapped, Method])
@pytest.mark.parametrize("lane", [0, 2])
def test_every_small_batch_and_stop_leaves_what_single_pulses_leave(kind, lane):
    for first, second in product(range(1, 9), repeat=2):
        for batches in product((None, 0, 1, 2, 3, 7, 20), repeat=3):
            feed(Rig(kind(), lane, (first, second), 8), Oracle(lane, (first, second), 8), batches)


@pytest.mark.parametrize("kind", [Mapped, Method])
@pytest.mark.parametrize("lane", [0, 25])
@pytest.mark.parametrize("seed", range(20))
def test_random_batches_and_stops_leave_what_single_pulses_leave(kind, lane, seed):
    chance = random.Random(seed)
    stops = [chance.randint(1, 100) for _ in range(7)]
    batches = [chance.choice((None, 0, 1, chance.randint(1, 40), chance.randint(1, 300))) for _ in range(60)]
    feed(Rig(kind(), lane, stops, 100), Oracle(lane, stops, 100), batches)


@pytest.mark.parametrize("lane", [0, 25])
@pytest.mark.parametrize("seed", range(20))
def test_refused_write_leaves_the_count_at_what_is_written(lane, seed):
    chance = random.Random(seed)
    stops = [chance.randint(1, 100) for _ in range(7)]
    rig, oracle = Rig(Method(lambda: chance.random() < 0.2), lane, stops, 100), Oracle(lane, stops, 100)
    refused = 0
    for _ in range(200):
        count = chance.choice((None, 1, 5, 30))
        pulses_before = sum(size for _, size in rig.memory.writes)
        try:
            rig.pulse() if count is None else rig.pulses(count)
        except OSError:
            refused += 1
        for _ in range(sum(size for _, size in rig.memory.writes) - pulses_before):
            oracle.pulse()
        rig.agrees(oracle)
    assert refused > 10


def test_one_lane_batch_writes_once_a_stretch():
    rig = Rig(Method(), 0, (10, 64), 64)
    rig.pulses(70)
    assert rig.memory.writes == [(ORIGIN, 10), (ORIGIN + 10, 54), (ORIGIN, 6)]


def test_four_lane_batch_writes_single_bytes_in_order():
    rig = Rig(Method(), 16, (64,), 64)
    rig.pulses(6)
    assert rig.memory.writes == [(ORIGIN + at, 1) for at in (0, 16, 32, 48, 1, 17)]


@pytest.mark.parametrize("call", ["pulse", "pulses"])
def test_byte_is_in_the_tally_before_the_count_rises(call):
    seen = []

    class Watching(Method):
        def put(self, address, value):
            seen.append(rig.cells[hot.COUNT])

        def fill(self, address, value, count):
            seen.append(rig.cells[hot.COUNT])

    rig = Rig(Watching(), 0, (64,), 64)
    rig.cells[hot.COUNT] = 3
    rig.pulse() if call == "pulse" else rig.pulses(4)
    assert seen == [3]


def test_raising_slow_path_leaves_the_pulse_recorded():
    def reached():
        raise OSError(5)

    cells = array("i", [4, 5, 0x5A, ORIGIN, 0])
    memory = Mapped()
    with pytest.raises(OSError):
        hot.plain_pulses(cells, memory, reached)(9)
    assert cells[hot.COUNT] == 5
    assert memory.buffer[ORIGIN + 4 : ORIGIN + 6] == b"\x5a\x00"


def test_twins_agree_here_too():
    portable = load_portable()
    assert portable.check_twins() > 5000


@pytest.mark.parametrize("lane", [0, 16])
def test_batch_ends_where_the_slow_path_closes_the_register(lane):
    memory = bytearray(0x2000)

    class Mapped:
        buffer = memory

    cells = array("i", [0, 5, 0xA5, 0x1000, lane])
    reached = []
    hot.plain_pulses(cells, Mapped(), lambda: reached.append(cells[hot.COUNT]))(64)
    assert (cells[hot.COUNT], reached, memory.count(0xA5)) == (5, [5], 5)
