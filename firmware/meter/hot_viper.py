# The debit of one pulse in machine code (viper): the twin of `meter.hot`, which imports it where the VM has viper.
#
# Only the common case is here: the place is inside the buffer and the count does not become STOP. Everything else
# goes to the portable twin, which records that pulse from its beginning, so there is one slow path and one set of
# errors. Why it looks as it does (measured on the unix VM; docs/DESIGN.md, goals):
#   - Calls dominate, so state is reached by closure, and no global is named: one global name costs an exception frame.
#   - Addresses are closed over as integers; `ptr32(int(a))` is a cheap conversion, `ptr32(array)` asks for the buffer
#     protocol each time. They stay good because the collector does not move, the portable twin closed over beside
#     them holds the objects, and neither array is ever resized.
#   - A put is called as the plain function of its class: no bound method is unpacked.
#   - At most five closed names and arguments together: beyond, a closure's call takes heap.

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

    put = _function(memory, "put")

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
        n = s[_COUNT]
        if n + 1 == s[_STOP]:
            plain()
        elif s[_MARKER] == 0xA5:  # a literal argument is made an object when this is compiled
            put(memory, s[_ORIGIN] + n, 0xA5)
            s[_COUNT] = n + 1
        else:
            put(memory, s[_ORIGIN] + n, s[_MARKER])
            s[_COUNT] = n + 1

    return one


def _function(memory, name):
    # The plain function behind memory.name, called with memory first; also for a part that has it from elsewhere.
    if name not in getattr(memory, "__dict__", ()):
        function = getattr(type(memory), name, None)
        if function is not None:
            return function
    bound = getattr(memory, name)
    return lambda _, address, value: bound(address, value)


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
        place = s[_ORIGIN] + n
        if count <= 0 or n + count >= s[_STOP] or place < 0 or place + count > int(size):
            plain(count)
        else:
            s[_COUNT] = n + count
            marker = s[_MARKER]
            at = int(base) + place
            end = at + count
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

    return pulses
