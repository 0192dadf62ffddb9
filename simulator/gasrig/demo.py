"""``icgas demo``: one household, one meter, one hall, a year of gas, and the books at its end.

The hall sells, the card carries, the meter burns it down and shuts its valve. Every few weeks the alarm shuts
it once, and the customer presses the key and goes to buy; once in the year the customer is late and sits
without gas until the next card. At the end what was sold is compared with what the index says, to the pulse.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from gascard import codes
from gascard.chip import Chip
from gascard.meanings import CODES
from gascard.records import IMAGE_SIZE, SHUT_ALARM, SHUT_ZERO
from gasrig.handset import VALVE_NAMES, Snapshot
from gasrig.household import HOURS, MissingExtraError, hourly_use
from gasrig.targets import TARGETS, TargetError, unavailable

__all__ = ["DAYS", "Result", "command", "live"]

DAYS = 365
DAYS_MOST = 3650
SEED = 1
DIFFERENCE = 3  # exit code: the books do not balance

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
LEAVES_IT = 3  # 1 of so many goes on buying at the end and leaves the card in a drawer

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What a demo found. All but the speed is the same on every target for equal days and seed."""

    target: str
    days: int
    seed: int
    meter: str
    account: str
    initial_reading: int
    closing_reading: int
    index_pulses: int
    """Moved since binding, by the wheels."""
    register_pulses: int
    """The same by the meter's own count."""
    bought_pulses: int
    """Sold and released by the ledger: the first gas and every purchase."""
    remaining_pulses: int
    """Left on the meter."""
    on_card_pulses: int
    """On the card's order beyond what the meter has loaded."""
    difference_pulses: int
    hall_difference_pulses: int
    """What the hall's own reconciliation says."""
    purchases: int
    """Orders after the first gas."""
    alarms: int
    zero_shuts: int
    late: bool
    """Whether the customer had the year's one late day."""
    refused_milli_pulses: int
    """Gas the household wanted while the valve was shut."""
    valve: str
    valve_movements: int
    written_bytes: int
    """To the meter's memory since binding, all of them: tally, account, state, events."""
    most_cell_writes: int
    most_page_writes: int
    meter_years_per_second: float
    seconds: float


class _Customer:
    # One household's person: notices, presses, goes to the hall, comes back. What chance decides is drawn
    # from the world's alone, at moments that the meter's snapshots decide: all targets tell one story.

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

    def open_account(self, name: str) -> None:
        world = self.world
        reading = world.index_reading()
        sale = world.hall.open_account(
            world.reader(self.card),
            meter=world.number,
            volume=FIRST_GAS,
            name=name,
            pulse_weight=world.pulse_weight,
            initial_reading=world.index_volume(),
            alarm=ALARM,
        )
        self.account: str = sale.account
        self.initial_reading: int = reading
        self.say(f"account {sale.account} opened, {sale.volume} m³ on the opening card")
        self._load("bound, first gas loaded")

    def _load(self, what: str, expected: int = codes.OK) -> None:
        code = self.world.visit(self.card)
        snapshot = self.world.meter.last
        if code != expected:
            raise TargetError(f"the meter refused the card: {CODES[code][0]} ({code})")
        self.seen = snapshot["reasons"]
        self.say(f"card in the meter: {what}; {_left(self.world, snapshot)}, valve {_valve(snapshot)}")

    def hour(self, snapshot: Snapshot) -> None:
        """Another hour has passed: look at the display, do what is due."""
        world = self.world
        fresh = snapshot["reasons"] & ~self.seen
        self.seen = snapshot["reasons"]
        if fresh & SHUT_ALARM:
            self.alarms += 1
            self.say(f"alarm: the valve has shut once; {_left(world, snapshot)}")
        if fresh & SHUT_ZERO:
            self.zero_shuts += 1
            self.say(f"nothing left: the valve has shut; {_left(world, snapshot)}")
        now = world.hours
        of_day = now % 24
        if self.home_at is not None and now >= self.home_at and of_day in AWAKE:
            self.home_at = None
            self._load("purchase loaded")
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
            self._load("nothing new on it, but gas again", codes.REPEAT)
        if late:
            self.late = "waiting"
        else:
            self._set_out(ERRAND_HOURS)

    def _set_out(self, hours: tuple[int, int]) -> None:
        self.leave_at = self.world.hours + self.world.chance.randint(*hours)

    def _buy(self) -> None:
        world = self.world
        reader = world.reader(self.card)
        back = world.hall.read_back(reader)
        volume = world.chance.choice(VOLUMES)
        world.hall.sell(reader, volume)
        self.purchases += 1
        said = f"hall: by its report {back.remaining} m³ were left on the meter"
        self.say(f"{said}; {volume} m³ sold, purchase {self.purchases}")
        self.home_at = world.hours + world.chance.randint(*WAY_HOURS)

    def last_report(self) -> int:
        """The card goes into the meter for the last report, then to the hall; what the index reads."""
        world = self.world
        code = world.visit(self.card)
        if code not in (codes.OK, codes.REPEAT):
            raise TargetError(f"the meter refused the card: {CODES[code][0]} ({code})")
        reading: int = world.index_reading()
        back = world.hall.read_back(world.reader(self.card))
        self.say(f"last report at the hall: {back.remaining} m³ left, index {_cubic(world, reading)} m³")
        if world.chance.randrange(LEAVES_IT) == 0:
            volume = world.chance.choice(VOLUMES)
            world.hall.sell(world.reader(self.card), volume)
            self.purchases += 1
            self.say(f"{volume} m³ more bought, and left on the card")
        return reading


def live(
    target: str = "cpython",
    days: int = DAYS,
    seed: int = SEED,
    *,
    folder: Path | None = None,
    say: Callable[[str, str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Live through ``days`` and balance the books. Ledger, key file and card stay in ``folder``, if given.

    ``say`` is told the story (time, sentence), ``progress`` the days done. MissingExtraError, TargetError,
    GasError.
    """
    demand = hourly_use()
    try:
        from gasrig.world import CARD_FILE, World
    except ImportError as error:
        raise MissingExtraError(
            f"the demo needs the package {error.name}, which is not here: pip install 'icgas[demo]'"
        ) from error
    with World(seed, target, folder=folder, demand=demand) as world:

        def tell(sentence: str) -> None:
            if say is not None:
                say(f"{world.moment():%Y-%m-%d %H:%M}", sentence)

        started = time.perf_counter()
        customer = _Customer(world, days, tell)
        customer.open_account("the household")
        worn = world.meter.wear()
        register = world.meter.last["register"]
        for day in range(days):
            for _ in range(24):
                customer.hour(world.tick())
            if progress is not None:
                progress(day + 1)
        closing = customer.last_report()
        result = _balance(world, customer, closing, register, worn)
        seconds = time.perf_counter() - started
        if folder is not None:
            # As the hall's file reader keeps it: the image, and the chip's own eight bytes beside it.
            dump = customer.card.dump()
            (folder / CARD_FILE).write_bytes(dump[:IMAGE_SIZE])
            (folder / f"{CARD_FILE}.chip").write_bytes(dump[IMAGE_SIZE:])
    speed = days * 24 / HOURS / seconds
    return Result(
        target=target,
        days=days,
        seed=seed,
        seconds=round(seconds, 3),
        meter_years_per_second=round(speed, 4),
        **result,
    )


def _balance(world: Any, customer: _Customer, closing: int, register: int, worn: dict[str, int]) -> dict[str, Any]:
    # Four figures from four places: the ledger's rows, the wheels, the meter's account, the card's image.
    from gashall.encode import decode_card

    snapshot = world.meter.snapshot()
    wear = world.meter.wear()
    with world.hall.ledger.begin() as books:
        sold = sum(order.paid_pulses for order in books.orders(customer.account))
    used = snapshot["index"] - customer.initial_reading
    order = decode_card(bytes(customer.card.main), world.signer).order
    if not order.authentic or order.values is None:
        raise TargetError("the card's order is not authentic")
    on_card = max(0, order.values["bought_total"] - snapshot["bought_total"])
    slip = world.hall.reconcile(customer.account, _cubic(world, closing % world.wheels))
    return {
        "meter": world.number,
        "account": customer.account,
        "initial_reading": customer.initial_reading,
        "closing_reading": snapshot["index"],
        "index_pulses": used,
        "register_pulses": snapshot["register"] - register,
        "bought_pulses": sold,
        "remaining_pulses": snapshot["remaining"],
        "on_card_pulses": on_card,
        "difference_pulses": sold - used - snapshot["remaining"] - on_card,
        "hall_difference_pulses": slip.difference,
        "purchases": customer.purchases,
        "alarms": customer.alarms,
        "zero_shuts": customer.zero_shuts,
        "late": customer.late == "was",
        "refused_milli_pulses": world.refused_milli,
        "valve": VALVE_NAMES[snapshot["valve"]],
        "valve_movements": snapshot["moves"],
        "written_bytes": wear["written"] - worn["written"],
        "most_cell_writes": wear["cell_most"],
        "most_page_writes": wear["page_most"],
    }


def _cubic(world: Any, pulses: int) -> Decimal:
    return Decimal(pulses).scaleb(-world.pulse_weight)


def _left(world: Any, snapshot: Snapshot) -> str:
    return f"{_cubic(world, snapshot['remaining'])} m³ left"


def _valve(snapshot: Snapshot) -> str:
    return VALVE_NAMES[snapshot["valve"]]


# ---------------------------------------------------------------------- the command


def command(argv: Sequence[str]) -> int:
    """``icgas demo``. The exit code is 0 if the books balance, 3 if not, 2 for what cannot be run as asked.

    1 if a package is missing or the target gave up on the way.
    """
    options = _options(argv)
    target = options.target
    if target is None:
        target = "cpython" if unavailable("micropython") else "micropython"
    folder = None if options.keep is None else Path(options.keep)
    if reason := unavailable(target):
        return _refused(2, f"{target}: {reason}")
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return _refused(2, f"{folder} is there already, and is no empty folder")
    try:
        result = _shown(target, options, folder)
    except (MissingExtraError, TargetError) as error:
        return _refused(1, str(error))
    if options.json:
        print(json.dumps(asdict(result)))
    else:
        _print_summary(result, folder)
    return DIFFERENCE if result.difference_pulses or result.hall_difference_pulses else 0


def _refused(code: int, reason: str) -> int:
    print(f"icgas demo: {reason}", file=sys.stderr)
    return code


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="icgas demo",
        description="Sell gas to one household for a year, burn it, and balance the books to the pulse.",
    )
    parser.add_argument(
        "--target", choices=TARGETS, help="where the firmware runs; the real MicroPython VM if it is here"
    )
    parser.add_argument("--days", type=_days, default=DAYS, metavar="N", help=f"how long (default {DAYS})")
    parser.add_argument("--seed", type=_seed, default=SEED, metavar="N", help=f"whose story (default {SEED})")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--keep", metavar="DIR", help="leave ledger, key file and card image in this new folder")
    return parser.parse_args(argv)


def _seed(text: str) -> int:
    if not text.isdecimal():  # random.Random takes -1 for 1
        raise argparse.ArgumentTypeError(f"a whole number from 0 on, not {text!r}")
    return int(text)


def _days(text: str) -> int:
    days = int(text) if text.isdecimal() else 0
    if not 1 <= days <= DAYS_MOST:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {DAYS_MOST}, not {text!r}")
    return days


def _shown(target: str, options: argparse.Namespace, folder: Path | None) -> Result:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError as error:
        raise MissingExtraError("the demo needs the package rich: pip install 'icgas[demo]'") from error
    console = Console(stderr=True, highlight=False)
    where = {
        "micropython": "the real MicroPython VM, 64-bit",
        "wasm": "the real MicroPython VM, 32-bit, under Node",
        "cpython": "CPython, in this process",
    }[target]
    if options.target is None and target == "cpython":
        where += f" ({unavailable('micropython')})"
    console.print(f"target {target}: the meter's firmware runs on {where}", soft_wrap=True)
    columns = (TextColumn("day {task.completed:.0f} of {task.total:.0f}"), BarColumn(), TimeElapsedColumn())
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
        task = bar.add_task("days", total=options.days)

        def say(moment: str, sentence: str) -> None:
            console.print(f"{moment}  {sentence}", soft_wrap=True)

        def progress(day: int) -> None:
            bar.update(task, completed=day)

        return live(target, options.days, options.seed, folder=folder, say=say, progress=progress)


def _print_summary(result: Result, folder: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    who = f"meter {result.meter}, account {result.account}"
    days = "1 day" if result.days == 1 else f"{result.days} days"
    table = Table(title=f"{who}\n{days}, seed {result.seed}, target {result.target}")
    table.add_column("")
    table.add_column("m³", justify="right")
    table.add_column("pulses", justify="right")
    for words, pulses in (
        ("sold, by the ledger", result.bought_pulses),
        ("used, by the index", result.index_pulses),
        ("left on the meter", result.remaining_pulses),
        ("on the card, not loaded yet", result.on_card_pulses),
        ("difference", result.difference_pulses),
        ("difference, as the hall reckons", result.hall_difference_pulses),
    ):
        table.add_row(words, f"{Decimal(pulses).scaleb(-2)}", f"{pulses}")
    table.add_section()
    if result.late:
        late = "late once: no gas until the next card"
    elif result.days < DAYS:
        late = "the late customer did not come up in these days"
    else:
        late = "the customer was never late"
    for words, figure in (
        ("purchases after the first gas", result.purchases),
        ("alarms, each shut the valve once", result.alarms),
        ("shut at zero", result.zero_shuts),
        ("valve now, movements", f"{result.valve}, {result.valve_movements}"),
        ("bytes written per pulse", f"{result.written_bytes / max(1, result.index_pulses):.4f}"),
        ("most writes to a cell, to a page", f"{result.most_cell_writes}, {result.most_page_writes}"),
        ("meter years per second", f"{result.meter_years_per_second:.3f}"),
    ):
        table.add_row(words, "", f"{figure}")
    console = Console(highlight=False)
    console.print(table)
    console.print(late, soft_wrap=True)
    if folder is not None:
        console.print(f"ledger, key file and card image are in {folder}", soft_wrap=True)
    console.print(
        f"sold {result.bought_pulses} = used by the index {result.index_pulses}"
        f" + left on the meter {result.remaining_pulses} + on the card {result.on_card_pulses},"
        f" difference {result.difference_pulses} pulses",
        soft_wrap=True,
    )
