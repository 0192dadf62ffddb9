"""Every account against its meter in one list: who is off, by how much, and what is suggested (DOMAIN 1).

Nothing is written: a comparison is kept when an account is reconciled by itself.
"""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from gashall import errors, units
from gashall.books import Books
from gashall.counter import correction_total, found, is_ahead, kept_report
from gashall.drift import TOLERANCE, Verdict
from gashall.errors import GasError, RequestError
from gashall.files import open_regular
from gashall.labels import both
from gashall.ledger import Ledger
from gashall.page import WIDE, Table, page
from gashall.reconciliation import compare
from gashall.rows import Binding
from gashall.terms import REFUND
from gashall.units import Volume

DAYS = 60
DAYS_MOST = 10_000
FILE_MOST = 1 << 24


class Category(Enum):
    """What is to be done about an account, the most urgent first. Each account is in the first that fits it."""

    BEHIND = "ledger behind"
    APART = "apart"
    EXPLAINED = "drift explained"
    NO_REPORT = "no report yet"
    OLD = "report old"
    ON_CARD = "gas on card"
    AGREES = "agrees"


_OF_VERDICT = {Verdict.APART: Category.APART, Verdict.EXPLAINED: Category.EXPLAINED}
HEAD = ("account", "meter", "category", "off m3", "make-up m3", "unbilled m3", "on card m3", "reading m3", "report")
_PRINTED = tuple(words.replace("m3", "m³") for words in HEAD)


@dataclass(frozen=True, slots=True)
class Line:
    """An account in the list; volumes in m³, None where no report says anything."""

    account: str
    name: str
    meter: str
    category: Category
    off: Decimal | None
    """How far the wheels are ahead of the meter, without what was corrected; above 0 gas was burnt and not counted."""
    make_up: Decimal
    """Suggested where the meter counted too much."""
    unbilled: Decimal
    """Suggested to be taken off where it counted too little."""
    on_card: Decimal | None
    """Released and in no report; below 0 for a refund that waits."""
    reading: Decimal | None
    """What was read off the wheels; None if nobody did."""
    report_at: datetime | None

    def cells(self) -> list[str]:
        """As HEAD."""
        cells = [self.account, self.meter, self.category.value, self.off, self.make_up or None, self.unbilled or None]
        report = None if self.report_at is None else units.stamp(self.report_at)
        cells += [self.on_card or None, self.reading, report]
        return ["" if cell is None else str(cell) for cell in cells]

    def record(self) -> dict[str, object]:
        """As JSON holds it."""
        values = {name: getattr(self, name) for name in self.__slots__}
        moment = None if self.report_at is None else self.report_at.isoformat()
        return values | {"category": self.category.value, "report_at": moment}


def overview(ledger: Ledger, readings: Mapping[str, Volume], days: int, now: int) -> list[Line]:
    """See ``Hall.reconcile_list``."""
    units.whole(days, "days", 1, DAYS_MOST)
    with ledger.look() as books:
        bindings = {binding.account: binding for binding in books.open_bindings()}
        for account in readings:
            units.account_number(account)
            if account not in bindings:
                raise RequestError(
                    errors.FIELD,
                    f"There is a reading for {account}, which is no open account.",
                    "Correct the readings.",
                )
        behind = books.recoveries()
        rows = [
            _line(books, binding, readings.get(account), binding.id in behind, now - days * 24 * 60)
            for account, binding in bindings.items()
        ]
    order = list(Category)
    return sorted(rows, key=lambda row: (order.index(row.category), -abs(row.off or Decimal(0)), row.account))


def _line(books: Books, binding: Binding, reading: Volume | None, recovering: bool, oldest: int) -> Line:
    meter, last = found(books.meter(binding.meter)), found(books.last_order(binding.id))
    kept = books.last_report(binding.meter)
    weight = meter.pulse_weight
    read = None
    off: int | None = None
    on_card = 0
    if kept is None or kept.binding != binding.number:
        category, report, kept = Category.NO_REPORT, None, None
        if reading is not None:
            read = _pulses(binding, reading, weight, meter.wheel_pulses)
    else:
        report = kept_report(kept)
        if reading is not None:
            try:
                compared, _ = compare(books, meter, kept, report, reading)
            except GasError as error:
                raise RequestError(error.code, f"Account {binding.account}: {error.message}", error.remedy) from error
            read, off = compared.wheels, compared.drift
            category = _OF_VERDICT.get(compared.verdict, Category.AGREES)
        else:
            # The index as the meter shows it, against what it counted since its binding: apart if the initial reading
            # was mistyped, say. What was corrected of the wheels' drift says nothing where the two agree.
            wheel = meter.wheel_pulses
            ahead = (report["index"] - binding.initial_reading - report["used"] + wheel // 2) % wheel - wheel // 2
            off = ahead - correction_total(last, report) if ahead else 0
            within = abs(off) <= TOLERANCE + report["power_failures"]
            category = Category.AGREES if abs(off) <= TOLERANCE else Category.EXPLAINED if within else Category.APART
        if last.kind == REFUND or report["bought_total"] < last.released_pulses:
            # Of a refund that waits below zero; what else a report shows above the last frame stays loaded.
            on_card = last.released_pulses - report["bought_total"]
        if category is Category.AGREES and report["time"] < oldest:
            category = Category.OLD
        elif category is Category.AGREES and on_card:
            category = Category.ON_CARD
        recovering = recovering or is_ahead(books, binding, last, report)
    amount = off if off is not None and abs(off) > TOLERANCE else 0
    return Line(
        account=binding.account,
        name=found(books.account(binding.account)).name,
        meter=binding.meter,
        category=Category.BEHIND if recovering else category,
        off=None if off is None else units.volume(off, weight),
        make_up=units.volume(max(-amount, 0), weight),
        unbilled=units.volume(max(amount, 0), weight),
        on_card=None if report is None else units.volume(on_card, weight),
        reading=None if read is None else units.volume(read, weight),
        report_at=None if report is None else books.moment(report["time"]),
    )


def _pulses(binding: Binding, reading: Volume, weight: int, wheel: int) -> int:
    try:
        return units.pulses(reading, weight, most=wheel - 1, what="reading")
    except RequestError as error:
        raise RequestError(error.code, f"Account {binding.account}: {error.message}", error.remedy) from error


def read_readings(path: str | os.PathLike[str]) -> dict[str, str]:
    """Account -> reading in m³ as text, of a CSV file: two columns, with or without the head ``account,reading``.

    RequestError FIELD naming the line.
    """
    name = os.fsdecode(path)
    try:
        with open_regular(path) as file:
            data = file.read(FILE_MOST + 1)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RequestError(errors.FIELD, f"The readings {name} cannot be read: {why}.", "Correct the file.") from None
    if len(data) > FILE_MOST:
        raise RequestError(errors.FIELD, f"The readings {name} are too long.", "Split the file.")
    readings: dict[str, str] = {}
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text), strict=True), start=1):
            cells = [cell.strip() for cell in row]
            if not any(cells) or (number == 1 and cells == ["account", "reading"]):
                continue
            if len(cells) != 2 or cells[0] in readings:
                why = "twice the same account" if len(cells) == 2 else "not an account and a reading"
                raise RequestError(
                    errors.FIELD, f"Line {number} of {name}: {why}.", "Correct it: account,reading in each line."
                )
            try:
                units.account_number(cells[0])
            except RequestError as error:
                raise RequestError(error.code, f"Line {number} of {name}: {error.message}", error.remedy) from error
            readings[cells[0]] = cells[1]
    except csv.Error as error:
        raise RequestError(errors.FIELD, f"{name} is no CSV file: {error}.", "Correct the file.") from None
    return readings


def text_lines(rows: Sequence[Line]) -> list[str]:
    """The list for people, and how many accounts are in each category."""
    cells = [_PRINTED, *[row.cells() for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
    figures = range(3, 8)
    lines = [
        "  ".join(
            cell.rjust(width) if i in figures else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return [*lines, *totals(rows)]


def totals(rows: Sequence[Line]) -> list[str]:
    """How many accounts are in each category."""
    counts = ", ".join(f"{n} {word}" for word, n in _counts(rows) if n) or "none"
    return [f"{units.counted(len(rows), 'account')}: {counts}"]


def _counts(rows: Sequence[Line]) -> list[tuple[str, int]]:
    return [(category.value, sum(row.category is category for row in rows)) for category in Category]


def csv_text(rows: Sequence[Line]) -> str:
    """The list as CSV, under HEAD."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([HEAD, *[row.cells() for row in rows]])
    return out.getvalue()


def printed(rows: Sequence[Line], now: datetime, head: str) -> str:
    """The list as a page to be printed and filed; ``head`` is the journal's, in hex."""
    table = Table(("account", "customer", *_PRINTED[1:]), [_with_name(row) for row in rows], frozenset(range(4, 9)))
    counts = "".join(f"; {n} {both(word)}" for word, n in _counts(rows) if n)
    parts: list[Table | str] = [
        f"{both('as of')} {units.stamp(now)}",
        f"{both('accounts')}: {len(rows)}{counts}",
        table,
    ]
    sign, foot = ("made by", "checked by"), f"{both('journal')} {head}"
    return page("accounts against their meters", parts, sign=sign, foot=foot, paper=WIDE)


def _with_name(row: Line) -> list[str]:
    account, meter, category, *rest = row.cells()
    return [account, row.name, meter, both(category), *rest]
