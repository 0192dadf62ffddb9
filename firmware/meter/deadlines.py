# Several time rules, one deadline: what passes between two events costs one addition and one compare.
#
# The core is told how much powered time has passed; it never reads a clock. Each rule has a slot with the
# milliseconds it still has to wait. Only when the nearest of them is over, or a slot changes, are all settled.

from array import array

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

WINDOW = const(0)  # the minute after a card or key in which the valve may move to open
REFILL = const(1)  # a token comes back
DISPLAY = const(2)  # the display turns back, or goes dark
SLOTS = const(3)

_IDLE = const(-1)
_FAR = const(3600000)  # settle at least once an hour, so that no sum grows past a small integer


class Deadlines:
    """Slots of waiting milliseconds, each at most 2**30 - 1; longer rules count hours."""

    def __init__(self) -> None:
        self._left = array("i", [_IDLE] * SLOTS)
        self._passed = 0
        self._nearest = _FAR

    def set(self, slot: int, milliseconds: int) -> None:
        """Start or restart ``slot``."""
        self._settle()
        self._left[slot] = milliseconds
        self._find()

    def clear(self, slot: int) -> None:
        """Stop ``slot``. Costs nothing now: at worst the next settling comes too early."""
        self._left[slot] = _IDLE

    def runs(self, slot: int) -> bool:
        """Whether ``slot`` is waiting."""
        return self._left[slot] != _IDLE

    def left(self, slot: int) -> int:
        """Milliseconds ``slot`` still waits, 0 if it does not run."""
        return max(0, self._left[slot] - self._passed)

    @property
    def next(self) -> int:
        """Milliseconds until the nearest deadline: as long as that the board may sleep."""
        return max(0, self._nearest - self._passed)

    def advance(self, milliseconds: int) -> bool:
        """Time has passed. True if a deadline may be over: ask ``expired`` for each."""
        self._passed += milliseconds
        return self._passed >= self._nearest

    def expired(self, slot: int) -> bool:
        """Whether ``slot`` has run out; it is stopped by the asking."""
        self._settle()
        over = self._left[slot] == 0
        if over:
            self._left[slot] = _IDLE
        self._find()
        return over

    def _settle(self) -> None:
        passed, self._passed = self._passed, 0
        if passed:
            left = self._left
            for slot in range(SLOTS):
                if left[slot] != _IDLE:
                    left[slot] = max(0, left[slot] - passed)

    def _find(self) -> None:
        self._nearest = min([left for left in self._left if left != _IDLE] + [_FAR])
