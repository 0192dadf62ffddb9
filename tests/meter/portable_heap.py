# No pulse takes heap: every function marked "hot: no allocation" and the paths through a real meter that call them.
#
# Two meters, because each misses something: heap_lock does not see a frame too long for the VM's own stack, and
# mem_total does not exist on every VM. CPython has neither; there the paths are only run.


from gascard.records import TOTAL_MAX
from gasrig.parts import CardSlot, Fram, MappedFram, Panel, ValveMotor
from meter.account import Account
from meter.factory import create
from meter.layouts import BOUND
from meter.meter import Meter, Settings

try:
    import micropython
except ImportError:
    micropython = None
if not hasattr(micropython, "heap_lock"):
    micropython = None  # CPython beside a package of that name

PULSES = 1500


class Store:
    """A memory behind methods that take no heap themselves, as a driver's must not."""

    def __init__(self, size):
        self.cells = bytearray(size)

    def read_into(self, address, buffer):
        for i in range(len(buffer)):
            buffer[i] = self.cells[address + i]

    def write(self, address, data):
        for i in range(len(data)):
            self.cells[address + i] = data[i]

    def put(self, address, value):
        self.cells[address] = value

    def fill(self, address, value, count):
        while count:
            self.cells[address] = value
            address += 1
            count -= 1


def meter_on(memory, lanes):
    """A bound meter with gas for ever, no threshold near."""
    settings = Settings(lanes, 4096 // lanes)
    keys = Fram(128)
    create(memory, keys, settings, {"meter": "00000000000017"})
    account = Account(memory)
    account.load()
    account.values["state"] = BOUND
    account.values["binding"] = 1
    account.values["sequence"] = 1
    account.values["bought_total"] = TOTAL_MAX
    account.save()
    meter = Meter(memory, keys, ValveMotor(), CardSlot(), Panel(), settings)
    assert meter.boot(0, 0) == 0
    return meter


def singly(meter):
    pulse = meter.pulse
    n = PULSES
    while n:
        pulse()
        n -= 1


def in_batches(meter):
    pulses = meter.pulses
    n = PULSES // 50
    while n:
        pulses(50)
        n -= 1


def by_reeds(meter):
    reeds = meter.reeds  # not its method: a bound method kept is an object made
    n = PULSES
    while n:
        reeds.edge(1)
        reeds.edge(3)
        reeds.edge(2)
        reeds.edge(3)
        reeds.edge(2)
        if reeds.edge(0):
            meter.pulse()
        n -= 1


def heap_taken(path, meter):
    """Bytes that ``path`` took by mem_total (0 where there is none); -1 if it ran into the locked heap."""
    total = getattr(micropython, "mem_total", None)
    taken = 0
    if total:
        total()
        before = total()
        between = total()
        path(meter)
        after = total()
        taken = (after - between) - (between - before)
    else:
        path(meter)
    if micropython:
        micropython.heap_lock()
        try:
            path(meter)
        except MemoryError:
            taken = -1
        finally:
            micropython.heap_unlock()
    return taken


def paths_measured():
    """(what, bytes) for every path a pulse can take."""
    found = []
    for lanes in (1, 4):
        for memory in (Store(0x2000), MappedFram(0x2000)):
            for path in (singly, in_batches, by_reeds):
                meter = meter_on(memory, lanes)
                counted = meter.register.value
                found.append(((type(memory).__name__, lanes, path.__name__), heap_taken(path, meter)))
                assert meter.register.value >= counted + PULSES
    return found


def test_no_pulse_takes_heap():
    found = paths_measured()
    assert len(found) == 12
    for what, taken in found:
        assert taken == 0, (what, taken)


def test_the_measure_sees_an_allocation():
    def careless(meter):
        for i in range(10):
            meter.reeds = [i, i]

    class Holder:
        reeds = None

    if micropython:
        assert heap_taken(careless, Holder()) != 0
