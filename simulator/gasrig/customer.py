"""One household's person: notices what the meter shows, presses its key, goes to the hall and comes back."""

import contextlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from gascard import codes
from gascard.chip import Chip
from gascard.meanings import CODES
from gascard.records import SHUT_ALARM, SHUT_ZERO
from gashall.units import yuan
from gasrig.handset import VALVE_NAMES, Snapshot
from gasrig.targets import TargetError

# The household's habits. The two coldest days burn 28 m³, the three coldest 41 m³: who goes within two days
# of an alarm at 45 m³ is never without gas, and who waits for the valve is.
FIRST_GAS = 80
ALARM = 45
VOLUMES = (100, 120, 150, 150, 180, 200, 200, 250)  # what people ask for, in m³
ERRAND_HOURS = (3, 36)  # from noticing the alarm to leaving for the hall
LATE_HOURS = (2, 20)  # the same once the valve has shut at zero
WAY_HOURS = (1, 6)  # from the hall's counter to the meter
AWAKE = range(6, 23)
HALL_OPEN = range(9, 17)
# What the customer does when the alarm has shut the valve. After "nothing" there is no gas until a load.
AT_THE_ALARM = ("key", "key", "key", "card", "nothing")

CLERK = "Wang Fang"
Say = Callable[[str], None]

__all__ = ["CLERK", "Customer", "Say", "Turn", "cubic", "left", "valve"]


class Turn(NamedTuple):
    """A meter's turn at this household. Gas in pulses, of its own binding."""

    used: int
    """By the wheels."""
    register: int
    """The same by the meter's own count."""
    moves: int
    """Of the valve, ever."""
    written: int
    """Bytes, since binding."""
    cell_most: int
    page_most: int


class Customer:
    """The person and the card. ``say`` is told what happens.

    What chance decides is drawn from the world's alone, at moments that the meter's snapshots decide: all targets
    tell one story.
    """

    def __init__(self, world: Any, days: int, say: Say) -> None:
        chance = world.chance
        self.world = world
        self.say = say
        self.card: Chip = world.blank_card()
        # From this hour on the next alarm is the one that is put off. In a whole year it lies in the first
        # half, so that the cold comes back in time to shut the valve.
        self.late_from = chance.randrange(24 * days // 10, max(1, 24 * days // 2) + 1)
        self.late: str | None = None  # "waiting" for zero, then "was"
        self.leave_at: int | None = None  # for the hall, in hours
        self.home_at: int | None = None  # with a loaded card
        self.seen = 0
        self.alarms = 0
        self.zero_shuts = 0
        self.purchases = 0
        self.closing_reading = 0  # of the wheels at the last report, in pulses
        self.before: list[Turn] = []  # of meters that are gone
        self.cash = 0  # taken in the open shift, in fen

    @contextlib.contextmanager
    def shift(self, cards: int = 0) -> Iterator[None]:
        """The counter is open: ``cards`` blank cards are handed out, and at the end cash and cards are counted."""
        hall = self.world.hall
        self.cash = 0
        hall.open_shift(CLERK)
        if cards:
            hall.stock_out(cards)
        yield
        here = hall.shift()
        # What the clerk has taken by his own count, not what the ledger says he took.
        hall.close_shift(self.cash, cards=here.handed_out - here.used)

    def begin_meter(self) -> None:
        """From here on the meter that hangs there is counted."""
        snapshot = self.world.meter.snapshot()
        self.initial_reading: int = snapshot["index"]
        self.register: int = snapshot["register"]
        self.worn: dict[str, int] = self.world.meter.wear()

    def turn(self) -> "Turn":
        """What the meter that hangs there has done since it was begun."""
        meter = self.world.meter
        snapshot, wear = meter.snapshot(), meter.wear()
        return Turn(
            used=snapshot["index"] - self.initial_reading,
            register=snapshot["register"] - self.register,
            moves=snapshot["moves"],
            written=wear["written"] - self.worn["written"],
            cell_most=wear["cell_most"],
            page_most=wear["page_most"],
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no errand, no alarm, no day that is put off."""
        return self.leave_at is None and self.home_at is None and not self.seen and self.late != "waiting"

    def open_account(self, name: str) -> None:
        world = self.world
        with self.shift(cards=1):
            sale = world.hall.open_account(
                world.reader(self.card),
                meter=world.number,
                volume=FIRST_GAS,
                name=name,
                pulse_weight=world.pulse_weight,
                initial_reading=world.index_volume(),
                alarm=ALARM,
            )
            self.cash += sale.fen
        self.account: str = sale.account
        self.begin_meter()
        self.say(f"account {sale.account} opened, {sale.volume} m³ for {yuan(sale.fen)} yuan on the opening card")
        self.load("bound, first gas loaded")
        self.worn = world.meter.wear()

    def load(self, what: str, *expected: int) -> None:
        """Put the card into the meter. TargetError for another code than OK or ``expected``."""
        code = self.world.visit(self.card)
        snapshot = self.world.meter.last
        if code not in (expected or (codes.OK,)):
            raise TargetError(f"the meter refused the card: {CODES[code][0]} ({code})")
        self.seen = snapshot["reasons"]
        self.say(f"card in the meter: {what}; {left(self.world, snapshot)}, valve {valve(snapshot)}")

    def hour(self, snapshot: Snapshot) -> None:
        """Another hour has passed: look at the display, do what is due."""
        world = self.world
        fresh = snapshot["reasons"] & ~self.seen
        self.seen = snapshot["reasons"]
        if fresh & SHUT_ALARM:
            self.alarms += 1
            self.say(f"alarm: the valve has shut once; {left(world, snapshot)}")
        if fresh & SHUT_ZERO:
            self.zero_shuts += 1
            self.say(f"nothing left: the valve has shut; {left(world, snapshot)}")
        now = world.hours
        of_day = now % 24
        if self.home_at is not None and now >= self.home_at and of_day in AWAKE:
            self.home_at = None
            self.load("purchase loaded")
        elif self.leave_at is not None and now >= self.leave_at and of_day in HALL_OPEN:
            self.leave_at = None
            self._buy()
        elif of_day in AWAKE and self.leave_at is None and self.home_at is None:
            if self.seen & SHUT_ZERO:
                self._set_out(LATE_HOURS)
                self.late = "was" if self.late else None
            elif self.seen & SHUT_ALARM:
                self._answer_alarm()

    def _answer_alarm(self) -> None:
        chance = self.world.chance
        answer = chance.choice(AT_THE_ALARM)
        late = self.late is None and self.world.hours >= self.late_from
        if late or answer == "key":
            self.seen = self.world.press_key()["reasons"]
            self.say("key pressed: gas again" + (", and buying is put off" if late else ""))
        elif answer == "card":
            self.load("nothing new on it, but gas again", codes.REPEAT)
        if late:
            self.late = "waiting"
        else:
            self._set_out(ERRAND_HOURS)

    def _set_out(self, hours: tuple[int, int]) -> None:
        self.leave_at = self.world.hours + self.world.chance.randint(*hours)

    def _buy(self) -> None:
        world = self.world
        back = world.hall.read_back(world.reader(self.card))
        with self.shift():
            sold = self.buy(world.chance.choice(VOLUMES))
        self.say(f"hall: by its report {back.remaining} m³ were left on the meter; {sold}")
        self.home_at = world.hours + world.chance.randint(*WAY_HOURS)

    def buy(self, volume: int) -> str:
        """Buy ``volume`` m³ in the open shift; what is said of it."""
        sale = self.world.hall.sell(self.world.reader(self.card), volume)
        self.cash += sale.fen
        self.purchases += 1
        return f"{volume} m³ sold for {yuan(sale.fen)} yuan, purchase {self.purchases}"


def cubic(world: Any, pulses: int) -> Decimal:
    """Pulses of the world's meter in m³."""
    return Decimal(pulses).scaleb(-world.pulse_weight)


def left(world: Any, snapshot: Snapshot) -> str:
    """What is said of the gas a meter has."""
    return f"{cubic(world, snapshot['remaining'])} m³ left"


def valve(snapshot: Snapshot) -> str:
    """What is said of its valve."""
    return VALVE_NAMES[snapshot["valve"]]
