# The debit of one pulse in machine code (viper): twin of `meter.hot`, which imports it where viper exists.
#
# Only the common case is here: the place is inside the buffer and the count does not become STOP. Everything
# else goes to the portable twin, which records that pulse from its beginning: there is one slow path and one
# set of errors, and a count run wild is an IndexError, not a write over the heap. Measured, and hence:
#   - Calls dominate: all state is in the closure. No global is named; that costs an exception frame a call.
#   - Addresses are closed over as integers: `ptr32(int(a))` converts cheaply, `ptr32(array)` goes through the
#     buffer protocol each time. They stay good because the collector moves nothing, the portable twin closed
#     over beside them keeps the objects alive, and neither is ever resized.
#   - A put is called as the plain function of its class, so that no bound method is unpacked.
#   - At most five closed names and arguments together (meter.hot).

# ruff: noqa: F821
# mypy: ignore-errors

import micropython
from micropython import const
from uctypes import addressof

_COUNT = const(0)
_STOP = const(1)
_MARKER = const(2)
_ORIGIN = const(3)
_LANE = const(4)


def make_pulse(cells, memory, reached):
    """Make ``pulse()``, which records one pulse; as `meter.hot.plain_pulse`."""
    from meter.hot import plain_pulse

    plain = plain_pulse(cells, memory, reached)
    state = addressof(cells)
    if getattr(memory, "buffer", None) is not None:
        base = addressof(memory.buffer)
        size = len(memory.buffer)

        @micropython.viper
        def mapped():  # hot: no allocation
            s = ptr32(int(state))
            n = s[_COUNT]
            place = s[_ORIGIN]
            if s[_LANE]:
                place += (n & 3) * s[_LANE] + (n >> 2)
            else:
                place += n
            n += 1
            if n == s[_STOP] or uint(place) >= uint(size):
                plain()
            else:
                ptr8(int(base))[place] = s[_MARKER]
                s[_COUNT] = n

        return mapped

    put = _put_of(memory)

    if cells[_LANE]:

        @micropython.viper
        def four():  # hot: no allocation
            s = ptr32(int(state))
            n = s[_COUNT]
            if n + 1 == s[_STOP]:
                plain()
            else:
                put(memory, s[_ORIGIN] + (n & 3) * s[_LANE] + (n >> 2), s[_MARKER])
                s[_COUNT] = n + 1

        return four

    @micropython.viper
    def one():  # hot: no allocation
        s = ptr32(int(state))
        if s[_COUNT] + 1 == s[_STOP]:
            plain()
        elif s[_MARKER] == 0xA5:  # a literal argument became an object when this was compiled
            put(memory, s[_ORIGIN] + s[_COUNT], 0xA5)
            s[_COUNT] += 1
        elif s[_MARKER] == 0x5A:
            put(memory, s[_ORIGIN] + s[_COUNT], 0x5A)
            s[_COUNT] += 1
        else:
            plain()

    return one


def _put_of(memory):
    # The function behind memory.put, called with memory first; also for a part whose put is not its class's.
    if "put" not in getattr(memory, "__dict__", ()):
        function = getattr(type(memory), "put", None)
        if function is not None:
            return function
    put = memory.put
    return lambda _, address, value: put(address, value)


def make_pulses(cells, memory, reached):
    """Make ``pulses(count)``, the same as that many single pulses; as `meter.hot.plain_pulses`."""
    from meter.hot import plain_pulses

    plain = plain_pulses(cells, memory, reached)
    if getattr(memory, "buffer", None) is None or cells[_LANE]:
        return plain  # the writes themselves are the cost
    state = addressof(cells)
    base = addressof(memory.buffer)
    size = len(memory.buffer)

    @micropython.viper
    def pulses(count: int):  # hot: no allocation
        s = ptr32(int(state))
        n = s[_COUNT]
        at = s[_ORIGIN] + n
        if count <= 0 or n + count >= s[_STOP] or at < 0 or at + count > int(size):
            plain(count)
        else:
            at += int(base)
            end = at + count
            marker = s[_MARKER]
            while at < end and at & 3:
                ptr8(at)[0] = marker
                at += 1
            word = marker * 0x01010101
            while end - at >= 4:
                ptr32(at)[0] = word
                at += 4
            while at < end:
                ptr8(at)[0] = marker
                at += 1
            s[_COUNT] = n + count

    return pulses
