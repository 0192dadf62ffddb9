# The valve's motor: one table of states, travel bounded in time, retries bounded in number, pulses never waited for.
#
# SHUT, OPENING, OPEN and SHUTTING follow each other; a motor that does not arrive in time is driven shut, a few
# times over, and then the valve is STUCK, which is a latched fault: it is driven again only when somebody asks.
# Nothing here waits. The meter tells it what was asked and when time has passed; whether the valve *may* open is
# the meter's business (only within a minute of a card or key), whether it is shut is read from the end switches.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

TYPE_CHECKING = False
if TYPE_CHECKING:
    from meter.parts import Motor

SHUT = const(0)
OPENING = const(1)
OPEN = const(2)
SHUTTING = const(3)
STUCK = const(4)

ASK_OPEN = const(0)
ASK_SHUT = const(1)
ARRIVED = const(2)
LATE = const(3)

DRIVE_OPEN = const(1)
DRIVE_SHUT = const(-1)
DRIVE_STOP = const(0)
POLL_MS = const(50)  # how often the end switches are read while the motor runs

_ATTEMPTS = const(3)
_CURRENT_MS = const(200)  # so long after its start a motor that draws nothing is given up

# Why a movement failed.
NO_ARRIVAL = const(1)
NO_CURRENT = const(2)

_NOTHING = const(0xFF)

# State by state: where ASK_OPEN, ASK_SHUT, ARRIVED and LATE lead. The motor runs as the state that is reached says.
TRANSITIONS = bytes(
    (
        OPENING, SHUT, _NOTHING, _NOTHING,  # SHUT
        _NOTHING, SHUTTING, OPEN, SHUTTING,  # OPENING
        _NOTHING, SHUTTING, _NOTHING, _NOTHING,  # OPEN
        OPENING, _NOTHING, SHUT, SHUTTING,  # SHUTTING
        OPENING, SHUTTING, _NOTHING, _NOTHING,  # STUCK
    )
)  # fmt: skip


class Valve:
    """State of the valve over its motor part (meter.parts).

    After a change, which ``tell`` and ``advance`` answer with True, the meter stores ``moves`` and ``failures``.
    """

    def __init__(self, motor: "Motor", travel_limit_ms: int) -> None:
        self._motor = motor
        self.travel_limit_ms = travel_limit_ms
        self.state = SHUT
        self.moves = 0
        self.failures = 0
        self.attempts = 0  # movements failed in a row; whoever comes makes it 0
        self._retreating = False  # shutting because opening failed: arriving there gives no tries back
        self._pressing = False  # shutting, whatever the end switches say
        self.measured = False  # whether travel_ms is of the movement that has just ended
        self._travelled_ms = 0
        self.travel_ms = 0  # of the last whole movement
        self.cause = 0  # of the last that failed

    @property
    def moving(self) -> bool:
        """Whether the motor runs."""
        return self.state == OPENING or self.state == SHUTTING

    def start(self) -> None:
        """Power has come: shut, or stay shut."""
        self.state = SHUT if self._motor.position() == DRIVE_SHUT else OPEN
        self.tell(ASK_SHUT)

    def tell(self, event: int) -> bool:
        """Something happened; True if the state is another now."""
        state = self.state
        if event == LATE:
            self.failures = min(255, self.failures + 1)
            self.attempts += 1
            # One that will not open is driven shut before it is given up; one that will not shut stays where it is.
            if self.attempts >= _ATTEMPTS and state == SHUTTING:
                return self._give_up()
        reached = TRANSITIONS[state * 4 + event]
        if reached == _NOTHING:
            return False
        if event == ARRIVED:
            self.moves = min(0xFFFF, self.moves + 1)
            if self.measured:
                self.travel_ms = self._travelled_ms
            if not self._retreating:
                self.attempts = 0
            elif self.attempts >= _ATTEMPTS:
                return self._give_up()
        elif event == ASK_OPEN:
            self._pressing = False
        if event != LATE and event != ARRIVED and state == STUCK:
            self.attempts = 0
        if event != LATE:
            self._retreating = False
        elif state == OPENING:
            self._retreating = True
        if event != ARRIVED:
            self.measured = True
        self.state = reached
        self._travelled_ms = 0
        drive = DRIVE_OPEN if reached == OPENING else DRIVE_SHUT if reached == SHUTTING else DRIVE_STOP
        self._motor.drive(drive)
        return state != reached

    def press(self) -> None:
        """Gas flows though the valve is shut, so its end switch may lie: drive it shut as long as a travel may take.

        In another state than SHUT it does nothing.
        """
        if self.state == SHUT:
            self.state = SHUTTING
            self._pressing = True
            self.measured = False
            self._travelled_ms = 0
            self._motor.drive(DRIVE_SHUT)

    def _give_up(self) -> bool:
        self._retreating = False
        self.state = STUCK
        self._motor.drive(DRIVE_STOP)
        return True

    def advance(self, milliseconds: int) -> bool:
        """Time has passed while moving; True if the state is another now."""
        if not self.moving:
            return False
        self._travelled_ms += milliseconds
        if self._pressing:
            if self._travelled_ms < self.travel_limit_ms:
                return False
            self._pressing = False
        if self._motor.position() == (DRIVE_OPEN if self.state == OPENING else DRIVE_SHUT):
            return self.tell(ARRIVED)
        if self._travelled_ms >= self.travel_limit_ms:
            self.cause = NO_ARRIVAL
            return self.tell(LATE)
        if self._travelled_ms >= _CURRENT_MS and not self._motor.current():
            self.cause = NO_CURRENT
            return self.tell(LATE)
        return False
