"""``icgas demo``: one household, one meter, one hall, a year of gas, and the books at its end.

The hall sells, the card carries, the meter burns it down and shuts its valve. Every few weeks the alarm shuts
it once, and the customer presses the key and goes to buy; once in the year the customer is late and sits
without gas until the next card. What else happens stands in ``gasrig.chapters``: a power cut, a lost card,
another meter, a broken card and its make-up, the month's end. At the end what was sold is compared with what
the indexes say, to the pulse, and the ledger is audited.
"""

import argparse
import contextlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from gascard.records import IMAGE_SIZE
from gashall.units import counted
from gasrig.chapters import CHAPTERS, counter_opens
from gasrig.customer import Customer, cubic
from gasrig.handset import VALVE_NAMES
from gasrig.household import HOURS, MissingExtraError, hourly_use
from gasrig.targets import TARGETS, TargetError, unavailable

__all__ = ["DAYS", "Result", "command", "live"]

DAYS = 365
DAYS_MOST = 3650
SEED = 1
DIFFERENCE = 3  # exit code: the books do not balance, or the audit found something
CHAPTER_HOUR = 10  # of the day: the hall is open


@dataclass(frozen=True, slots=True)
class Result:
    """What a demo found. All but the speed is the same on every target for equal days and seed."""

    target: str
    days: int
    seed: int
    meter: str
    """The last one, as readings and remaining are its own."""
    account: str
    initial_reading: int
    closing_reading: int
    index_pulses: int
    """Moved since binding, by the wheels."""
    register_pulses: int
    """The same by the meter's own count."""
    bought_pulses: int
    """Sold by the ledger: the first gas and every purchase."""
    granted_pulses: int
    """Given and made up, without what was sold before and held."""
    remaining_pulses: int
    """Left on the meter."""
    on_card_pulses: int
    """On the card's order beyond what the meter has loaded."""
    held_pulses: int
    """Paid, and held since a card was replaced."""
    paid_back_pulses: int
    correction_pulses: int
    difference_pulses: int
    hall_difference_pulses: int
    """What the hall's own reconciliation says."""
    audit_findings: int
    head: str
    """The journal's, by the audit."""
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


def live(
    target: str = "cpython",
    days: int = DAYS,
    seed: int = SEED,
    *,
    folder: Path | None = None,
    say: Callable[[str, str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Live through ``days`` and balance the books. Ledger, key file, card and pages stay in ``folder``, if given.

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
        customer = Customer(world, days, tell)
        counter_opens(customer, days)
        customer.open_account("the household")
        chapters = list(CHAPTERS)
        for day in range(days):
            while world.hours < 24 * (day + 1):
                customer.hour(world.tick())
                due = chapters[0].days_before >= days - day and world.hours % 24 == CHAPTER_HOUR
                if due and customer.idle:
                    chapters.pop(0).tell(customer)
            if progress is not None:
                progress(day + 1)
        for chapter in chapters:
            chapter.tell(customer)
        result = _balance(world, customer)
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


def _balance(world: Any, customer: Customer) -> dict[str, Any]:
    # The figures come from four places: the ledger's rows, the wheels, the meter's account, the card's image. Only
    # what is held and corrected is the hall's own word.
    from gashall.encode import decode_card
    from gashall.terms import EXCHANGE, GIFT, MAKEUP, TRANSFER

    snapshot = world.meter.snapshot()
    turns = [*customer.before, customer.turn()]
    with world.hall.ledger.begin() as books:
        orders = books.orders(customer.account)
    sold = sum(order.paid_pulses for order in orders if order.kind is None)
    granted = sum(order.paid_pulses for order in orders if order.kind in (MAKEUP, GIFT))
    # What moves from a meter to the next one is in the first one's sales.
    moving = (None, MAKEUP, GIFT, TRANSFER, EXCHANGE)
    paid_back = -sum(order.paid_pulses for order in orders if order.kind not in moving)
    used = sum(turn.used for turn in turns)
    order = decode_card(bytes(customer.card.main), world.signer).order
    if not order.authentic or order.values is None:
        raise TargetError("the card's order is not authentic")
    on_card = max(0, order.values["bought_total"] - snapshot["bought_total"])
    slip = world.hall.reconcile(customer.account, cubic(world, customer.closing_reading % world.wheels))
    elsewhere = slip.held + slip.corrections + paid_back
    audited = world.hall.audit()
    return {
        "meter": world.number,
        "account": customer.account,
        "initial_reading": customer.initial_reading,
        "closing_reading": snapshot["index"],
        "index_pulses": used,
        "register_pulses": sum(turn.register for turn in turns),
        "bought_pulses": sold,
        "granted_pulses": granted,
        "remaining_pulses": snapshot["remaining"],
        "on_card_pulses": on_card,
        "held_pulses": slip.held,
        "paid_back_pulses": paid_back,
        "correction_pulses": slip.corrections,
        "difference_pulses": sold + granted - used - snapshot["remaining"] - on_card - elsewhere,
        "hall_difference_pulses": slip.difference,
        "audit_findings": len(audited.findings),
        "head": audited.head,
        "purchases": customer.purchases,
        "alarms": customer.alarms,
        "zero_shuts": customer.zero_shuts,
        "late": customer.late == "was",
        "refused_milli_pulses": world.refused_milli,
        "valve": VALVE_NAMES[snapshot["valve"]],
        "valve_movements": sum(turn.moves for turn in turns),
        "written_bytes": sum(turn.written for turn in turns),
        "most_cell_writes": max(turn.cell_most for turn in turns),
        "most_page_writes": max(turn.page_most for turn in turns),
    }


# ---------------------------------------------------------------------- the command


def command(argv: Sequence[str]) -> int:
    """``icgas demo``. The exit code is 0 if the books balance and the audit is clean, 3 if not.

    2 for what cannot be run as asked, 1 if a package is missing or the target gave up on the way.
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
    wrong = result.difference_pulses or result.hall_difference_pulses or result.audit_findings
    return DIFFERENCE if wrong else 0


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
    parser.add_argument("--keep", metavar="DIR", help="leave ledger, key file, card image and pages in this new folder")
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

    from gasrig.world import KEY_FILE, LEDGER_FILE

    who = f"meter {result.meter}, account {result.account}"
    days = "1 day" if result.days == 1 else f"{result.days} days"
    table = Table(title=f"{who}\n{days}, seed {result.seed}, target {result.target}")
    table.add_column("")
    table.add_column("m³", justify="right")
    table.add_column("pulses", justify="right")
    for words, pulses in (
        ("sold, by the ledger", result.bought_pulses),
        ("made up and given", result.granted_pulses),
        ("used, by the index", result.index_pulses),
        ("left on the meter", result.remaining_pulses),
        ("on the card, not loaded yet", result.on_card_pulses),
        ("held", result.held_pulses),
        ("paid back", result.paid_back_pulses),
        ("corrected", result.correction_pulses),
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
    if folder is None:
        console.print("to keep the ledger and the pages, and look at them: icgas demo --keep FOLDER", soft_wrap=True)
    else:
        kept = ", ".join(sorted(file.name for file in folder.iterdir()))
        console.print(f"in {folder}: {kept}", soft_wrap=True)
        places = f"--ledger {shlex.quote(str(folder / LEDGER_FILE))} --key {shlex.quote(str(folder / KEY_FILE))}"
        # As it was called: in a virtual environment that nobody has entered the name alone is not found.
        program = sys.argv[0] if Path(sys.argv[0]).name == "icgas" else "icgas"
        console.print(f"look at the ledger yourself: {shlex.quote(program)} hall audit {places}", soft_wrap=True)
    console.print(
        f"sold {result.bought_pulses} + granted {result.granted_pulses} = used by the index {result.index_pulses}"
        f" + left on the meter {result.remaining_pulses} + on the card {result.on_card_pulses}"
        f" + held {result.held_pulses} + paid back {result.paid_back_pulses}"
        f" + corrections {result.correction_pulses}, difference {counted(result.difference_pulses, 'pulse')}",
        soft_wrap=True,
    )
    findings = result.audit_findings
    console.print("audit clean" if not findings else f"audit: {counted(findings, 'finding')}", soft_wrap=True)
