# Flow guards: flow that is too strong, abnormally strong, small and without end, or simply without end; and no flow.
#
# A guard watches the gaps between pulses. Its episode begins with a gap of its sort and lasts until a gap, or a wait,
# of another; an episode as long as its limit trips the guard, once. So nothing is asked of the pulse itself: the meter
# tells how much time has passed and how many pulses have come in it, one or a batch, and a batch counts as pulses
# evenly spread, with the very result they would have had one by one. Limits and ranges: DOMAIN 2.
#
# Every guard has a number; bits of `report` and `shut` in layouts.GUARDS say what its tripping does. Those from
# PAST_VALVE on are facts that the meter notes itself.

from array import array

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

OVER_FLOW = const(0)  # gaps shorter than the size of meter allows
LARGE_FLOW = const(1)  # gaps shorter than any appliance's: a burst pipe
SMALL_FLOW = const(2)  # long gaps and no pause: a leak
LONG_FLOW = const(3)  # no pause
IDLE = const(4)  # no gas for days: the valve wants exercise
PAST_VALVE = const(5)  # pulses though the valve is shut
SENSOR = const(6)  # a reed is dead, or a magnet holds both
REVERSE = const(7)  # the wheel was led backwards
MAGNET = const(8)
COVER = const(9)

# As which bit of the status (gascard.records, SHUT_) each keeps the valve shut; 16: it does not.
REASON_BITS = bytes((9, 10, 11, 12, 16, 13, 14, 14, 7, 15))

_NEVER = const(1000000000)  # milliseconds: no limit is longer, and an hour more is still a small integer
_STOPPED = const(-1)
_HOUR_MS = const(3600000)
_FAR_HOURS = const(250)


class Guards:
    """Episodes of the guards. ``set_limits`` first; times in milliseconds, below 2**30."""

    def __init__(self) -> None:
        self._age = array("i", [_STOPPED] * IDLE)  # of each episode
        self._least = array("i", [0] * IDLE)  # a gap of the guard's sort is at least so long ...
        self._most = array("i", [0] * IDLE)  # ... and at most so long
        self._limit = array("i", [_NEVER] * IDLE)  # so long an episode trips it
        self._since = _NEVER  # the last pulse
        self._idle_ms = 0
        self._idle_hours = 0
        self._idle_limit = 0
        self._idle_told = False
        self.active = False  # whether any limit is set

    def set_limits(self, values: dict, over_flow_seconds: int) -> None:
        """Take the fields of layouts.GUARDS; ``over_flow_seconds`` is the account's, and counts where it is not 0.

        A duration of 0 switches its guard off; one beyond eleven days counts as eleven.
        """
        pause = values["pause_seconds"] * 1000
        over = (over_flow_seconds or values["over_flow_seconds"]) * 1000
        small = values["small_flow_gap"] * 1000
        self._set(OVER_FLOW, 0, over - 1, values["over_flow_for"] * 1000)
        self._set(LARGE_FLOW, 0, values["large_flow_gap"] - 1, values["large_flow_for"] * 1000)
        self._set(SMALL_FLOW, small, pause, values["small_flow_hours"] * _HOUR_MS)
        self._set(LONG_FLOW, 0, pause, values["long_flow_minutes"] * 60000)
        self._idle_limit = values["idle_days"] * 24
        self.active = bool(self._idle_limit or min(self._limit) != _NEVER)

    def _set(self, guard: int, least: int, most: int, limit: int) -> None:
        limit = min(limit, _NEVER - 1) or _NEVER
        most = most if limit != _NEVER else _STOPPED
        if (self._least[guard], self._most[guard], self._limit[guard]) == (least, most, limit):
            return  # as before: its episode goes on
        self._least[guard] = least
        self._most[guard] = most
        self._limit[guard] = limit
        self._age[guard] = _STOPPED

    def pass_time(self, milliseconds: int, pulses: int) -> int:
        """So much time has passed; ``pulses`` came in it, evenly spread, the last one now. Bits of guards that trip."""
        if not pulses:
            return self._wait(milliseconds)
        gap = milliseconds // pulses
        tripped = self._wait(milliseconds - gap * (pulses - 1)) | self._pulse()
        if pulses > 1:
            tripped |= self._wait(gap) | self._pulse()
        if pulses > 2:
            # From here on every gap is alike: an episode that runs goes on, and none begins.
            more = gap * (pulses - 2)
            for guard in range(IDLE):
                if self._age[guard] != _STOPPED:
                    tripped |= self._grow(guard, more)
        return tripped

    def _grow(self, guard: int, milliseconds: int) -> int:
        age = self._age[guard]
        limit = self._limit[guard]
        self._age[guard] = min(limit, age + milliseconds)
        return 1 << guard if age < limit <= age + milliseconds else 0

    def _wait(self, milliseconds: int) -> int:
        tripped = 0
        since = self._since
        for guard in range(IDLE):
            if self._age[guard] != _STOPPED:
                # Longer than the longest gap of its sort an episode does not last.
                left = self._most[guard] - since
                tripped |= self._grow(guard, min(milliseconds, left))
                if milliseconds > left:
                    self._age[guard] = _STOPPED
        self._since = min(_NEVER, since + milliseconds)
        return tripped | self._rest(milliseconds)

    def _rest(self, milliseconds: int) -> int:
        hours, self._idle_ms = divmod(self._idle_ms + milliseconds, _HOUR_MS)
        self._idle_hours += hours
        if self._idle_told or not self._idle_limit or self._idle_hours < self._idle_limit:
            return 0
        self._idle_told = True
        return 1 << IDLE

    def _pulse(self) -> int:
        tripped = 0
        gap, self._since = self._since, 0
        self._idle_ms = self._idle_hours = 0
        self._idle_told = False
        for guard in range(IDLE):
            if not self._least[guard] <= gap <= self._most[guard]:
                self._age[guard] = _STOPPED
            elif self._age[guard] == _STOPPED:
                self._age[guard] = 0
                tripped |= self._grow(guard, gap)
        return tripped

    @property
    def next(self) -> int:
        """Milliseconds until a guard trips if no pulse comes: as long as that the board may sleep."""
        nearest = _NEVER
        for guard in range(IDLE):
            age = self._age[guard]
            if age != _STOPPED and age < self._limit[guard]:
                left = self._limit[guard] - age
                if left <= self._most[guard] - self._since:
                    nearest = min(nearest, left)
        if self._idle_limit and not self._idle_told:
            hours = min(self._idle_limit - self._idle_hours, _FAR_HOURS)
            if hours * _HOUR_MS - self._idle_ms < nearest:
                nearest = hours * _HOUR_MS - self._idle_ms
        return nearest
