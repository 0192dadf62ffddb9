# Two reeds on the counter's last wheel become pulses: A closes, B closes, A opens, B opens is one turn.
#
# Each change of one reed is a quarter step forward or back. A bounce goes back and forth and cancels itself, a
# wheel turned back runs into debt that must be paid before the next pulse counts, one dead reed never gets past
# a quarter, and both reeds changing at once is no wheel but a magnet. Runs in the interrupt: allocates nothing.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

REED_A = const(1)
REED_B = const(2)

SENSOR_A = const(1)  # reed A has not moved while B swung
SENSOR_B = const(2)
SENSOR_BOTH = const(4)  # both changed at once
SENSOR_BACK = const(8)  # turned back by more than a whole turn

_DEBT_MOST = const(-4)  # quarter steps
_SWINGS = const(16)  # changes of one reed, the other still, before it is called dead: more than any bounce

# Where each pair of levels stands in the turn, by value of the two level bits.
_QUARTER = b"\x00\x01\x03\x02"


class Reeds:
    """The decoder. ``fault`` collects SENSOR_ bits; dead reeds that live again leave it, the rest stay."""

    def __init__(self, levels: int = 0) -> None:
        self._levels = levels
        # Quarter steps since the last pulse; negative: turned back. At power-up the levels themselves say where the
        # wheel stands in its turn, so that no pulse is lost or made by a power cut in the middle of one.
        self._position = _QUARTER[levels]
        self._swings = 0
        self._moved = 0
        self.fault = 0
        # How often each sort has been found. Only the interrupt writes them: the core compares.
        self.backs = 0
        self.wrongs = 0
        self.held = False  # both closed at once, and neither has moved since

    # hot: no allocation
    def edge(self, levels: int) -> bool:
        """The two reeds now read ``levels`` (REED_A | REED_B where closed). True: one pulse is complete."""
        changed = levels ^ self._levels
        if not changed:
            return False
        step = (_QUARTER[levels] - _QUARTER[self._levels]) & 3
        self._levels = levels
        self.held = step == 2 and levels == 3
        if step == 2:
            self._found(SENSOR_BOTH)
            return False
        if changed == self._moved:
            self._swings += 1
            if self._swings >= _SWINGS:
                self._found(SENSOR_B if changed == REED_A else SENSOR_A)
        else:
            self._moved = changed
            self._swings = 0
        position = self._position + (1 if step == 1 else -1)
        if position == 4:
            self._position = 0
            self.fault &= SENSOR_BOTH | SENSOR_BACK  # a whole turn: both reeds live
            return True
        if position < _DEBT_MOST:
            # No gas flows back that far: somebody leads a magnet past, and what he owes stays at one turn.
            self._found(SENSOR_BACK)
            position += 4
        self._position = position
        return False

    def _found(self, fault: int) -> None:
        self.fault |= fault
        if fault == SENSOR_BACK:
            self.backs = self.backs + 1 & 0xFFFF
        else:
            self.wrongs = self.wrongs + 1 & 0xFFFF

    @property
    def behind(self) -> bool:
        """Whether the wheel stands behind the last pulse."""
        return self._position < 0

    def fall_behind(self) -> None:
        """At power-up: the levels were read, and it is known that the wheel stands behind the last pulse."""
        self._position -= 4
