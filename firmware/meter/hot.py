# The debit of one pulse: its byte in the tally, then the count, then one compare. Here in portable bytecode;
# where the VM has viper the twins of `meter.hot_viper` take the names `make_pulse` and `make_pulses`.
#
# All state is one array('i') of cells, so that both twins, the store and the meter see the same count:
#   COUNT   pulses recorded in this generation of the tally, and so the next place
#   STOP    the count at which the hot path is left: nearest of alarm, zero, tally full, end of range
#   MARKER  the byte this generation writes, A5 or 5A
#   ORIGIN  address of the tally; LANE: length of each of four lanes, 0 for one lane. Both fixed once made
# The store comes first and memory after: a put that raises leaves COUNT as it was, the pulse is not counted.
# `reached()` is called whenever COUNT has become STOP; it may change COUNT, STOP, MARKER (a checkpoint does).
# What it raises passes through, and the pulse before it stays recorded. If it leaves COUNT at STOP the register
# takes no more, and a batch ends there.
#
# A memory is mapped if it has a `buffer` (a bytearray or a memoryview of bytes, never resized); otherwise it
# has `put(address, value)` and `fill(address, value, count)`. Neither callable may be entered again from
# itself: an interrupt only counts, the main loop debits. MicroPython takes heap at every call of a closure
# with more than five closed names and arguments together, or of a frame over eleven words (locals and working
# stack): hence the short bodies.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from meter.parts import Memory

COUNT = const(0)
STOP = const(1)
MARKER = const(2)
ORIGIN = const(3)
LANE = const(4)

# Pulses one write may cover: what a cut in the middle of it can garble. Recovery rests on this (meter.store).
WRITE_MOST = const(64)

_RUN = const(16)  # bytes of one slice store


def plain_pulse(cells: "array[int]", memory: "Memory", reached: "Callable[[], None]") -> "Callable[[], None]":
    """Make ``pulse()``, which records one pulse. Portable twin."""
    origin = cells[ORIGIN]
    lane = cells[LANE]
    buffer = getattr(memory, "buffer", None)
    if buffer is not None:

        def mapped() -> None:  # hot: no allocation
            n = cells[COUNT]
            place = (n & 3) * lane + (n >> 2) if lane else n
            buffer[origin + place] = cells[MARKER]
            n += 1
            cells[COUNT] = n
            if n == cells[STOP]:
                reached()

        return mapped

    put = memory.put

    def method() -> None:  # hot: no allocation
        n = cells[COUNT]
        place = (n & 3) * lane + (n >> 2) if lane else n
        put(origin + place, cells[MARKER])
        n += 1
        cells[COUNT] = n
        if n == cells[STOP]:
            reached()

    return method


def plain_pulses(cells: "array[int]", memory: "Memory", reached: "Callable[[], None]") -> "Callable[[int], None]":
    """Make ``pulses(count)``: as that many single pulses; on one lane one write for up to WRITE_MOST of them.

    If a write raises OSError, COUNT stays at the beginning of what it covers. Portable twin."""
    if cells[LANE]:
        pulse = plain_pulse(cells, memory, reached)

        def four(count: int) -> None:  # hot: no allocation
            while count > 0 and cells[COUNT] != cells[STOP]:
                pulse()
                count -= 1

        return four

    buffer = getattr(memory, "buffer", None)
    fill = memory.fill if buffer is None else _filler(buffer)
    origin = cells[ORIGIN]

    def one(count: int) -> None:  # hot: no allocation
        while count > 0:
            n = cells[COUNT]
            stretch = cells[STOP] - n
            if not stretch:
                return
            if stretch < 0 or stretch > count:
                stretch = count
            if stretch > WRITE_MOST:
                stretch = WRITE_MOST
            fill(origin + n, cells[MARKER], stretch)
            n += stretch
            cells[COUNT] = n
            count -= stretch
            if n == cells[STOP]:
                reached()

    return one


def _filler(buffer: bytearray) -> "Callable[[int, int, int], None]":
    # A run made beforehand, because a slice read allocates and a slice store does not.
    run = bytearray(_RUN)

    def fill(at: int, value: int, count: int) -> None:  # hot: no allocation
        if at < 0 or at + count > len(buffer):
            raise IndexError  # a slice store would stretch a bytearray instead
        if run[0] != value:
            _mark(run, value)  # another generation
        while count >= _RUN:
            buffer[at : at + _RUN] = run
            at += _RUN
            count -= _RUN
        while count:
            buffer[at] = value
            at += 1
            count -= 1

    return fill


def _mark(run: bytearray, value: int) -> None:
    for i in range(len(run)):
        run[i] = value


make_pulse = plain_pulse
make_pulses = plain_pulses
try:
    from meter.hot_viper import make_pulse, make_pulses  # noqa: F401
except (SyntaxError, ImportError, AttributeError, ValueError):
    # In this order: the compiler has no viper; the build left the module out, or this is CPython; CPython
    # beside a package that calls itself micropython; a .mpy for another machine. The portable twins stay.
    pass
