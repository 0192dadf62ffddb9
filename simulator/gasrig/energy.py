"""What a meter takes from its cell, event by event, and how long a cell lasts: one table, plain arithmetic.

A figure is only as good as its word of certainty: ``maker`` is a maker's own claim (docs/DOMAIN.md, section 2),
``datasheet`` stands in the part's data sheet, ``assumed`` is neither and is to be replaced by a measurement on the
board. ``python -m gasrig.energy`` prints table and result for a usual household; with ``--write`` it puts them into
docs/energy.md.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gasrig.handset import BUILD_DEFAULTS
from gasrig.parts import Fram
from meter.layouts import COPY_SIZE, STATE, STATE_AT
from meter.store import Pair

if TYPE_CHECKING:
    from gasrig.world import World

__all__ = ["TABLE", "USUAL", "Row", "charge", "counted", "life", "milliampere_hours", "per_year", "report"]

MICROCOULOMBS = "µC"  # each time
MICROAMPERES = "µA"  # all the time; counted in hours
HOURS_A_YEAR = 8766
SECONDS_AN_HOUR = 3600
MICROCOULOMBS_A_MAH = 3_600_000


class Row(NamedTuple):
    """One event: how much, in which unit, how certain, and what is meant."""

    event: str
    amount: float
    unit: str
    certainty: str
    meaning: str


TABLE = (
    Row("sleep", 10, MICROAMPERES, "maker", "at rest: controller, clock, memory, reeds"),
    Row("pulse", 15, MICROCOULOMBS, "assumed", "four edges and the count: 5 ms awake at 3 mA"),
    Row("tick", 15, MICROCOULOMBS, "assumed", "a call of the core for time or guards: 5 ms at 3 mA"),
    Row("fram_byte", 0.04, MICROCOULOMBS, "datasheet", "FM24CL64B: 36 bits at 100 kHz, 100 µA"),
    Row("eeprom_write", 15, MICROCOULOMBS, "datasheet", "AT24C256: 5 ms at 3 mA, however many bytes of a page"),
    Row("valve_second", 100_000, MICROCOULOMBS, "maker", "motor running: 100 mA"),
    Row("session_second", 8_000, MICROCOULOMBS, "assumed", "card powered at 5 mA, controller at 3 mA"),
    Row("display_second", 20, MICROCOULOMBS, "assumed", "digits lit, no back light: 20 µA"),
    Row("beep", 5_000, MICROCOULOMBS, "assumed", "half a second at 10 mA"),
    Row("boot", 2_000, MICROCOULOMBS, "assumed", "200 ms at 10 mA"),
)

# A lithium cell of size A. What it loses in the drawer it loses in the meter too.
CELL_MAH = 4000  # assumed
USABLE = 0.8  # assumed: the rest is below the voltage that still drives a valve
SELF_DISCHARGE = 0.01  # of the whole cell, a year; assumed

SESSION_SECONDS = 2  # of powered card; assumed
LIT_SECONDS = 60  # of display after a card or the key: meter.display
LIMIT_MICROAMPERES = 50  # the most that T/CGAS 011-2020 allows at rest

# One year of a household that cooks and washes with gas: 200 m³ in pulses of 0.01 m³, six cards. Each card is bought
# when the alarm has shut the valve, so it moves twice. The core is called at every pulse and once an hour besides.
# A card and the alarm before it store 320 bytes (measured: tests/gasrig/test_energy.py), a pulse one.
PULSES = 20_000
CARDS = 6
CARD_BYTES = 320
USUAL: dict[str, float] = {
    "sleep": HOURS_A_YEAR,
    "pulse": PULSES,
    "tick": PULSES + HOURS_A_YEAR,
    "fram_byte": PULSES + CARDS * CARD_BYTES,
    "eeprom_write": 0,
    "valve_second": 2 * CARDS * BUILD_DEFAULTS["travel_ms"] / 1000,
    "session_second": CARDS * SESSION_SECONDS,
    "display_second": 2 * CARDS * LIT_SECONDS,
    "beep": 2 * CARDS,
    "boot": 1,
}


def charge(counts: Mapping[str, float], table: Sequence[Row] = TABLE) -> dict[str, float]:
    """Microcoulombs for each event of ``table``: ``counts`` times its amount. A current is counted in hours.

    An event that is not counted takes nothing. KeyError for a count of no such event.
    """
    amounts = {row.event: row.amount * (SECONDS_AN_HOUR if row.unit == MICROAMPERES else 1) for row in table}
    unknown = sorted(counts.keys() - amounts.keys())
    if unknown:
        raise KeyError(f"no such event: {', '.join(unknown)}")
    return {event: amount * counts.get(event, 0) for event, amount in amounts.items()}


def milliampere_hours(counts: Mapping[str, float], table: Sequence[Row] = TABLE) -> float:
    """What all of ``counts`` takes together."""
    return sum(charge(counts, table).values()) / MICROCOULOMBS_A_MAH


def life(
    counts_per_year: Mapping[str, float],
    table: Sequence[Row] = TABLE,
    *,
    cell_mah: float = CELL_MAH,
    usable: float = USABLE,
    self_discharge: float = SELF_DISCHARGE,
) -> float:
    """Years a cell lasts. ``usable`` and ``self_discharge`` (a year) are parts of the whole cell.

    By charge only: no word about temperature, about what a cell gives after ten years, or about the valve's pull on
    a cold one. ZeroDivisionError if nothing is ever taken.
    """
    return cell_mah * usable / (milliampere_hours(counts_per_year, table) + cell_mah * self_discharge)


def counted(
    world: "World", *, eeprom: bool = False, session_seconds: float = SESSION_SECONDS, travel_ms: int | None = None
) -> dict[str, float]:
    """What the meter of a world has done since manufacture, by the world's and the meter's own counters.

    Counted: hours passed, pulses drawn, bytes or writes stored, whole movements of the valve, reports written to cards,
    boots. Derived: the display's seconds and the beep of each card, calls of the core as for the usual household. Not
    seen: a card without a report, presses of the key. TargetError for a mapped memory, which counts nothing;
    ValueError for a lost store.
    """
    snapshot, wear = world.meter.snapshot(), world.meter.wear()
    memory = Fram()
    for address in STATE_AT:
        memory.write(address, world.meter.store(address, COPY_SIZE))
    state = Pair(memory, STATE_AT, STATE)
    if not state.load():
        raise ValueError("the meter's state cannot be read")
    hours, pulses = world.milliseconds / 3_600_000, world.drawn_milli // 1000
    sessions = state.values["report_number"]
    travel = BUILD_DEFAULTS["travel_ms"] if travel_ms is None else travel_ms
    return {
        "sleep": hours,
        "pulse": pulses,
        "tick": pulses + hours,
        "fram_byte": 0 if eeprom else wear["written"],
        "eeprom_write": wear["writes"] if eeprom else 0,
        "valve_second": snapshot["moves"] * travel / 1000,
        "session_second": sessions * session_seconds,
        "display_second": sessions * LIT_SECONDS,
        "beep": sessions,
        "boot": state.values["boots"],
    }


def per_year(after: Mapping[str, float], before: Mapping[str, float] | None = None) -> dict[str, float]:
    """Counts a year, from ``after`` less ``before``, both of ``counted``. ValueError if no time lies between them."""
    part = {event: count - (before or {}).get(event, 0) for event, count in after.items()}
    if part["sleep"] <= 0:
        raise ValueError("no time has passed")
    return {event: count * HOURS_A_YEAR / part["sleep"] for event, count in part.items()}


def report(counts: Mapping[str, float] = USUAL, table: Sequence[Row] = TABLE) -> str:
    """Table and result as aligned text."""
    spent = charge(counts, table)
    rows = [("event", "each", "", "certainty", "a year", "mAh a year", "meaning")]
    for event, amount, unit, certainty, meaning in table:
        mah = f"{spent[event] / MICROCOULOMBS_A_MAH:.3f}"
        rows.append((event, f"{amount:,.10g}", unit, certainty, f"{counts.get(event, 0):,.0f}", mah, meaning))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = (1, 4, 5)
    lines = [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    limit = [row._replace(amount=LIMIT_MICROAMPERES) if row.event == "sleep" else row for row in table]
    results = [
        ("taken in a year", f"{milliampere_hours(counts, table):.1f} mAh"),
        ("  of it not asleep", f"{milliampere_hours({**counts, 'sleep': 0}, table):.1f} mAh"),
        ("cell", f"{CELL_MAH} mAh, {USABLE:.0%} of it usable (assumed)"),
        ("lost by itself in a year", f"{CELL_MAH * SELF_DISCHARGE:.1f} mAh, {SELF_DISCHARGE:.0%} of it (assumed)"),
        ("life", f"{life(counts, table):.1f} years"),
        (f"life if sleep takes {LIMIT_MICROAMPERES} µA", f"{life(counts, limit):.1f} years"),
    ]
    width = max(len(name) for name, _ in results)
    return "\n".join([*lines, "", *(f"{name.ljust(width)}  {text}" for name, text in results)]) + "\n"


BEGIN, END = "<!-- energy -->\n```text\n", "```\n<!-- end -->\n"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "energy.md"


def filled(page: str) -> str:
    """The text of a page with the present report between its markers. ValueError if they are not there."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the table")
    return head + begin + report() + end + tail


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report, or write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m gasrig.energy", description="What a meter takes from its cell.")
    parser.add_argument("--write", action="store_true", help="put it into docs/energy.md")
    if parser.parse_args(arguments).write:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
