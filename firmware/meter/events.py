# The event log: a ring of small entries, each with its own checksum, so that a cut costs at most the one in flight.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from meter.layouts import EVENT, EVENT_PLACES, EVENTS_AT
from meter.store import read_small, write_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from meter.parts import Memory

BOOT = const(1)
POWER_FAILING = const(2)
BOUND = const(3)
LOADED = const(4)
REFUSED = const(5)
VALVE_OPENED = const(6)
VALVE_SHUT = const(7)
VALVE_FAULT = const(8)
ALARM = const(9)
ZERO = const(10)
REGISTER_END = const(12)
SCRUBBED = const(13)
FAULT = const(14)
REPORT_NOT_WRITTEN = const(15)
GUARD = const(16)
EXERCISED = const(17)
BATTERY = const(18)
BROWN_OUT = const(19)
VALVE_SLOW = const(20)
SELF_TEST = const(21)
ENDED = const(22)  # these four by tool cards
TEST_GAS = const(23)
SET = const(24)
KEYED = const(25)

_SIZE = const(16)
_AT_ONCE = const(16)  # entries read together at power-up: four pages
_NUMBER_MAX = const(0xFFFFFF)  # numbers never wrap: after sixteen million events the log is closed


class Events:
    """The ring. Numbers rise for the life of the meter; entry n lies at place n modulo EVENT_PLACES."""

    def __init__(self, memory: "Memory") -> None:
        self._memory = memory
        self.number = 0

    def _address(self, number: int) -> int:
        return EVENTS_AT + number % EVENT_PLACES * _SIZE

    def recover(self) -> None:
        """Find the newest entry: from the last place down, so that few older ones have to be checked as well."""
        self.number = 0
        entries = bytearray(_SIZE * _AT_ONCE)
        blank = bytes(_SIZE * _AT_ONCE)  # as the factory leaves them
        for first in range(EVENT_PLACES - _AT_ONCE, -1, -_AT_ONCE):
            self._memory.read_into(self._address(first), entries)
            if entries == blank:
                continue
            for i in range(_AT_ONCE - 1, -1, -1):
                at = i * _SIZE
                if (entries[at] << 16 | entries[at + 1] << 8 | entries[at + 2]) > self.number:
                    values = self.read(first + i)
                    if values:
                        self.number = values["number"]

    def read(self, number: int) -> "dict | None":
        """The entry at the place of ``number``: a dict, or None if none is whole there."""
        values = read_small(self._memory, self._address(number), EVENT)
        return values if values and values["number"] else None

    def note(self, kind: int, detail: int, register: int, minutes: int) -> None:
        """Append an entry. ``detail`` 0..65535 by kind (SPEC 10.5), ``minutes`` the clock's."""
        if self.number >= _NUMBER_MAX:
            return
        self.number += 1
        values = {"number": self.number, "kind": kind, "detail": detail & 0xFFFF}
        values["register"], values["time"] = register, minutes
        write_small(self._memory, self._address(self.number), EVENT, values)
