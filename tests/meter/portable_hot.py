# The portable and the machine-code debit must do the same, and neither may allocate. Runs on every VM and on
# CPython: `check_twins()` and `check_no_allocation()` return what they covered, or raise AssertionError.

import sys
from array import array

import meter.hot as hot

try:
    import micropython

    assert micropython.heap_lock  # a package of this name on CPython has none
except (ImportError, AttributeError):
    micropython = None

ORIGIN = 16
CAPACITY = 24


class Mapped:
    def __init__(self):
        self.buffer = bytearray(64)

    def image(self):
        return bytes(self.buffer)


class Method:
    """Fails at the put or fill with number ``fails``, counted from zero."""

    def __init__(self, fails=-1):
        self.data = bytearray(64)
        self.fails = fails

    def _due(self):
        self.fails -= 1
        if self.fails == -1:
            raise OSError(5)

    def put(self, address, value):
        self._due()
        self.data[address] = value

    def fill(self, address, value, count):
        self._due()
        for i in range(count):
            self.data[address + i] = value

    def image(self):
        return bytes(self.data)


class Offset(Method):
    """A part whose put is its own, not its class's."""

    def __init__(self, fails=-1):
        super().__init__(fails)
        self.put = self._put

    def _put(self, address, value):
        self._due()
        self.data[address] = value


class View(Mapped):
    """A part mapped at an odd address inside something larger."""

    def __init__(self):
        self.whole = bytearray(70)
        self.buffer = memoryview(self.whole)[3:67]

    def image(self):
        return bytes(self.whole)


class Rig:
    """One debit path with its cells, its memory, and a slow path that checkpoints and moves STOP."""

    def __init__(self, pulse, pulses, memory, lane, stops):
        self.cells = array("i", [0, stops[0], 0xA5, ORIGIN, lane])
        self.memory = memory
        self.stops = stops
        self.calls = []
        self.pulse = pulse(self.cells, memory, self.reached)
        self.pulses = pulses(self.cells, memory, self.reached)

    def reached(self):
        cells = self.cells
        self.calls.append(cells[hot.COUNT])
        if cells[hot.COUNT] == CAPACITY:
            cells[hot.COUNT] = 0
            cells[hot.MARKER] ^= 0xFF
        stop = self.stops[len(self.calls) % len(self.stops)]
        if stop <= cells[hot.COUNT]:
            stop = CAPACITY
        cells[hot.STOP] = stop

    def run(self, batches):
        """Do the batches (0 is one single pulse); a failed one is given up. How many failed."""
        failed = 0
        for count in batches:
            try:
                if count:
                    self.pulses(count)
                else:
                    self.pulse()
            except OSError:
                failed += 1
        return failed

    def seen(self):
        return list(self.cells), self.memory.image(), self.calls


STOPS = ((24,), (1, 2, 3, 24), (5, 24), (24, 7, 8, 23, 24), (12, 13))
LANES = (0, 6)


def check_twins():
    """All memories, lanes, stops, batches and failures: both twins leave the same behind. Number of runs."""
    runs = 0
    plain = hot.plain_pulse, hot.plain_pulses
    made = hot.make_pulse, hot.make_pulses
    for lane in LANES:
        for stops in STOPS:
            for first in range(27):
                for second in (0, 1, 3, 11, 24, 70):
                    batches = (first, second, first, 0, second, 0)
                    for kind in (Mapped, View):
                        a, b = Rig(*plain, kind(), lane, stops), Rig(*made, kind(), lane, stops)
                        assert a.run(batches) == b.run(batches) == 0
                        assert a.seen() == b.seen(), (kind, lane, stops, batches)
                        runs += 1
                for kind in (Method, Offset):
                    for fails in (-1, 0, 1, 2, 9):
                        batches = (0, first, 0, 0, first, 5)
                        a = Rig(*plain, kind(fails), lane, stops)
                        b = Rig(*made, kind(fails), lane, stops)
                        assert a.run(batches) == b.run(batches)
                        assert a.seen() == b.seen(), (kind, lane, stops, batches, fails)
                        runs += 1
    check_outside()
    return runs


def check_outside():
    """A count run away from its buffer is an IndexError, never a write somewhere else."""
    for pulse, pulses in ((hot.plain_pulse, hot.plain_pulses), (hot.make_pulse, hot.make_pulses)):
        for count, batch in ((48, 1), (40, 9), (1 << 20, 1), (1 << 20, 64)):
            rig = Rig(pulse, pulses, Mapped(), 0, (0,))
            rig.cells[hot.COUNT] = count
            try:
                rig.pulses(batch)
            except IndexError:
                assert rig.seen() == ([count, 0, 0xA5, ORIGIN, 0], bytes(64), [])
            else:
                raise AssertionError("batch outside")
            if count < 48:
                continue
            try:
                rig.pulse()
            except IndexError:
                assert rig.seen() == ([count, 0, 0xA5, ORIGIN, 0], bytes(64), [])
            else:
                raise AssertionError("pulse outside")


class Quiet:
    """A slow path without allocation."""

    def __init__(self):
        self.cells = None

    def reached(self):
        self.cells[hot.COUNT] = 0
        self.cells[hot.MARKER] ^= 0xFF


def check_no_allocation():
    """Neither twin takes heap, by heap_lock and, where there is one, mem_total. Number of paths."""
    if micropython is None:
        return 0
    total = getattr(micropython, "mem_total", None)
    paths = 0
    for pulse, pulses in ((hot.plain_pulse, hot.plain_pulses), (hot.make_pulse, hot.make_pulses)):
        for kind in (Mapped, View, Method, Offset):
            for lane in LANES:
                quiet = Quiet()
                memory = kind()
                cells = quiet.cells = array("i", [0, CAPACITY, 0xA5, ORIGIN, lane])
                reached = quiet.reached
                drive = (pulse(cells, memory, reached), pulses(cells, memory, reached))
                _drive(drive)
                failed = None
                before = total() if total else 0
                between = total() if total else 0
                _drive(drive)
                after = total() if total else 0
                assert after - between == between - before, (kind, lane, after - between)
                micropython.heap_lock()
                try:
                    _drive(drive)
                except MemoryError:
                    failed = kind
                finally:
                    micropython.heap_unlock()
                assert failed is None, (failed, lane)
                paths += 1
    return paths


def _drive(drive):
    pulse, pulses = drive
    for _ in range(3 * CAPACITY):
        pulse()
    for count in range(3 * CAPACITY):
        pulses(count)


def test_twins_agree():
    assert check_twins() > 5000


def test_neither_twin_takes_heap():
    assert check_no_allocation() == (16 if micropython else 0)


def main():
    twins = "portable" if hot.make_pulse is hot.plain_pulse else "viper"
    print(sys.implementation.name, twins, check_twins(), "runs,", check_no_allocation(), "paths without heap")


if __name__ == "__main__":
    main()
