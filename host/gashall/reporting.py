"""What was done in a day or a month (日报, 月报): the registers DOMAIN 1 asks for, and the month-end totals.

Orders are counted by the minute they were made, as shifts count them: a day's figures are the sum of its shifts',
and can be worked out again from the journal. What was lost with a ledger is of the day it was adopted: a report that
was signed says the same ever after. Days are the hall's own, as limits count them.
"""

import calendar
import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from gashall import errors, limits, stock, units
from gashall.counter import Counter
from gashall.errors import RequestError
from gashall.files import write_asked_for
from gashall.labels import CHINESE, both
from gashall.page import Table, page
from gashall.rows import PeriodOrder
from gashall.terms import (
    ADOPTED,
    CANCEL,
    EXCHANGE,
    GIFT,
    MAKEUP,
    PROBE,
    REFUND,
    REKEY,
    REPLACEMENT,
    TOOL_CARDS,
    TRANSFER,
)

OPENING = "opening"
PURCHASE = "purchase"
PAID_OUT = "paid out"
"""Of refunds' money, and of the gas and money paid back for a closed account; no order's."""
CORRECTED = "corrected"
"""Of make-ups of drift, beside their orders."""
SPOILED = "spoiled"
"""Of blank cards, and no order's."""

WORDS = {
    OPENING: "openings",
    PURCHASE: "purchases",
    REPLACEMENT: "replacements",
    MAKEUP: "make-ups",
    GIFT: "gifts",
    REFUND: "refunds",
    REKEY: "under new keys",
    CANCEL: "refunds cancelled",
    PAID_OUT: "refunds paid out",
    PROBE: "probes",
    EXCHANGE: "meters exchanged",
    ADOPTED: "adopted",
}
"""The kinds of orders in the order in which a report names them."""

_FIRST = date(2000, 1, 1)
_DAY = 24 * 60


def kind_of(order: PeriodOrder) -> str:
    """What an order is counted as."""
    if order.kind is not None:
        return order.kind
    return OPENING if order.opens else PURCHASE


@dataclass(frozen=True, slots=True)
class Figures:
    """What orders of one kind came to: money in fen."""

    orders: int
    hundredths: int
    """Of a m³."""
    money: int
    unpaid: int
    """Of the orders, those for which no money was named."""

    @property
    def volume(self) -> Decimal:
        """Gas in m³, exactly."""
        return units.volume(self.hundredths, 2)

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(
            self.orders + other.orders,
            self.hundredths + other.hundredths,
            self.money + other.money,
            self.unpaid + other.unpaid,
        )


_NONE = Figures(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Report:
    """What was done from the day ``first`` to the day ``last``, both counted."""

    first: date
    last: date
    utc_offset: int
    """Minutes the days begin before UTC's."""
    days: tuple[tuple[date, str, Figures], ...]
    """Day, kind of order, what it came to; days and kinds without orders are left out."""
    corrections: tuple[tuple[date, int], ...]
    """What make-ups of drift corrected, by day, in hundredths of a m³; below zero gas was taken off. In no total: what
    the meter miscounted had been counted when it was bought."""
    spoiled: tuple[tuple[date, int], ...]
    """Blank cards that were booked as spoiled, by day."""
    issued: int
    """Customers' cards issued: with openings, replacements and exchanges."""
    tools: tuple[tuple[date, str, int], ...]
    """Day and kind of the company's own cards made, and how many."""
    made_at: datetime
    """When the report was made, by the hall's own clock."""
    over: bool
    """Whether its last day was over then."""
    entries: int
    """The journal's last row that the report knows."""
    head: str
    """That row's hash, in hex, to be given to a later audit."""

    @property
    def title(self) -> str:
        """The day or the month."""
        return self.first.isoformat() if self.first == self.last else self.first.isoformat()[:7]

    def total(self, kind: str | None = None) -> Figures:
        """What all orders of that kind came to; of every kind if none is given."""
        return _sum(figures for _, known, figures in self.days if kind in (None, known))

    @property
    def corrected(self) -> Decimal:
        """What make-ups of drift corrected in all, in m³."""
        return units.volume(sum(hundredths for _, hundredths in self.corrections), 2)

    @property
    def cards(self) -> dict[str, int]:
        """How many cards were issued (replacements too, as on a slip), replaced, made up, gifted and spoiled, and of
        the company's own cards how many of each kind were made."""
        counts = {"replaced": REPLACEMENT, "made up": MAKEUP, "gifted": GIFT}
        cards = {"issued": self.issued} | {words: self.total(kind).orders for words, kind in counts.items()}
        cards["spoiled"] = sum(count for _, count in self.spoiled)
        for kind in TOOL_CARDS:
            made = sum(count for _, known, count in self.tools if known == kind)
            cards |= {f"{kind} cards": made} if made else {}
        return cards

    def record(self) -> dict[str, Any]:
        """The report as JSON holds it: fen, m³ as text."""
        return {
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "utc_offset": self.utc_offset,
            "over": self.over,
            "made_at": self.made_at.isoformat(),
            "days": [{"day": day.isoformat(), "kind": kind, **_plain(figures)} for day, kind, figures in self.days],
            "totals": {kind: _plain(self.total(kind)) for kind in self._kinds()},
            "total": _plain(self.total()),
            "corrected": str(self.corrected),
            "corrections": [{"day": day.isoformat(), "volume": str(gas)} for day, gas in self._corrections()],
            "cards": {words.replace(" ", "_"): count for words, count in self.cards.items()},
            "tools": [{"day": day.isoformat(), "kind": kind, "count": count} for day, kind, count in self.tools],
            "spoiled": [{"day": day.isoformat(), "count": count} for day, count in self.spoiled],
            "entries": self.entries,
            "head": self.head,
        }

    def lines(self) -> list[str]:
        """The report as text: money in yuan."""
        lines = [f"REPORT {self.title}", self._when(), ""]
        lines += _set([_HEAD, *self._rows()])
        if self.first != self.last and self.days:
            lines += ["", *_set([("day", *_HEAD[1:]), *self._by_day()])]
        lines += ["", f"corrected {self.corrected} m³, in no total"] if self.corrections else []
        lines += ["", *[f"{_card_words(words):<20}{count:>8}" for words, count in self.cards.items()]]
        return [*lines, f"journal row {self.entries}", f"head {self.head}"]

    def csv(self) -> str:
        """The figures by day and kind, without totals; corrected gas, spoiled and tool cards are rows of their own."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("day", "kind", "count", "m3", "yuan", "without_money"))
        for day, kind, figures in self.days:
            yuan = units.yuan(figures.money)
            writer.writerow((day.isoformat(), kind, figures.orders, figures.volume, yuan, figures.unpaid))
        for day, gas in self._corrections():
            writer.writerow((day.isoformat(), CORRECTED, "", gas, "", ""))
        for day, count in self.spoiled:
            writer.writerow((day.isoformat(), SPOILED, count, "", "", ""))
        for day, kind, count in self.tools:
            writer.writerow((day.isoformat(), f"{kind} card", count, "", "", ""))
        return text.getvalue()

    def page(self) -> str:
        """The report as a page to be signed and filed, the journal's head in its foot."""
        figures = frozenset(range(1, len(_HEAD)))
        when = f"{both('days')}: {units.zone(self.utc_offset)}" + ("" if self.over else f"; {both('not over yet')}")
        kinds = [(both(row[0]) if row[0] in CHINESE else row[0], *row[1:]) for row in self._rows()]
        parts: list[Table | str] = [when, Table(_HEAD, kinds, figures)]
        if self.first != self.last:
            parts.append(Table(("day", *_HEAD[1:]), self._by_day(), figures))
        if self.corrections:
            parts.append(f"{both('corrected')}: {self.corrected} m³")
        parts.append(Table(("cards", "count"), [(both(words), n) for words, n in self.cards.items()], frozenset({1})))
        foot = f"{both('made at')} {units.stamp(self.made_at)}; {both('journal')} {self.entries}, {self.head}"
        title = "daily report" if self.first == self.last else "monthly report"
        return page(title, parts, which=self.title, sign=("made by", "checked by"), foot=foot)

    def _corrections(self) -> list[tuple[date, Decimal]]:
        return [(day, units.volume(hundredths, 2)) for day, hundredths in self.corrections]

    def _when(self) -> str:
        told = f"days from midnight, {units.zone(self.utc_offset)}"
        return told if self.over else f"{told}; not over yet"

    def _kinds(self) -> list[str]:
        """Openings and purchases always, the others where there are any, one that is new to this module last."""
        there = {kind for _, kind, _ in self.days} | {OPENING, PURCHASE}
        return [kind for kind in WORDS if kind in there] + sorted(there - WORDS.keys())

    def _rows(self) -> list[tuple[str, ...]]:
        rows = [_row(WORDS.get(kind, kind), self.total(kind)) for kind in self._kinds()]
        return [*rows, _row("total", self.total())]

    def _by_day(self) -> list[tuple[str, ...]]:
        days = sorted({day for day, _, _ in self.days})
        return [_row(day.isoformat(), _sum(figures for known, _, figures in self.days if known == day)) for day in days]


_HEAD = ("kind", "orders", "m³", "yuan", "without money")
_WIDTHS = (18, 8, 14, 14, 15)


def daily(counter: Counter, day: date | None) -> Report:
    """See ``Hall.daily_report``."""
    return _report(counter, day, monthly=False)


def monthly(counter: Counter, month: date | None) -> Report:
    """See ``Hall.monthly_report``."""
    return _report(counter, month, monthly=True)


def which(text: str, monthly: bool) -> date:
    """A day as a person types it (2026-03-01), or the first of a month (2026-03). RequestError FIELD."""
    try:
        if re.fullmatch("[0-9]{4}-[0-9]{2}" + ("" if monthly else "-[0-9]{2}"), text):
            return date.fromisoformat(f"{text}-01" if monthly else text)
    except ValueError:
        pass
    what, form = ("month", "2026-03") if monthly else ("day", "2026-03-01")
    raise RequestError(errors.FIELD, f"{units.shown(text)} is no {what}.", f"Enter it as {form}.")


def write(path: str | os.PathLike[str], text: str) -> None:
    """Put a report into the new file ``path``, for its owner only. RequestError FIELD if it cannot be."""
    name = os.fspath(path)
    # A spreadsheet takes UTF-8 for something older unless it is marked; a browser is told by the page.
    write_asked_for(path, text.encode("utf-8" if name.endswith((".html", ".htm")) else "utf-8-sig"))


def _report(counter: Counter, wanted: date | None, *, monthly: bool) -> Report:
    if wanted is not None and (not isinstance(wanted, date) or isinstance(wanted, datetime)):
        raise RequestError(errors.FIELD, f"{units.shown(wanted)} is no day.", "Give a datetime.date.")
    now = counter.now()
    with counter.ledger.look() as books:
        offset = limits.offset(books.rules(now))

        def day_of(minute: int) -> date:
            return _FIRST + timedelta(days=(minute + offset) // _DAY)

        first = last = day_of(now) if wanted is None else wanted
        if monthly:
            first = first.replace(day=1)
            last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
        since = (first - _FIRST).days * _DAY - offset
        until = (last - _FIRST).days * _DAY + _DAY - offset
        issued, sums = 0, dict[tuple[date, str], Figures]()
        for order in books.orders_between(since, until):
            key = day_of(order.made_at), kind_of(order)
            issued += order.issues_card
            if order.kind == TRANSFER:
                continue
            # What goes from one meter to the next has been counted when it was bought or given.
            hundredths = 0 if order.kind == EXCHANGE else order.hundredths
            own = Figures(1, hundredths, order.fen or 0, int(order.fen is None and order.kind is None))
            sums[key] = sums.get(key, _NONE) + own
        for at, hundredths in books.adopted_between(since, until):
            key = day_of(at), ADOPTED
            sums[key] = sums.get(key, _NONE) + Figures(1, hundredths, 0, 0)
        for at, hundredths, fen in books.paid_between(since, until):
            key = day_of(at), PAID_OUT
            sums[key] = sums.get(key, _NONE) + Figures(1, -hundredths, -fen, 0)
        corrections: dict[date, int] = {}
        for at, hundredths in books.corrected_between(since, until):
            corrections[day_of(at)] = corrections.get(day_of(at), 0) + hundredths
        spoiled: dict[date, int] = {}
        for at, count in books.stock_between(stock.SPOILED, since, until):
            spoiled[day_of(at)] = spoiled.get(day_of(at), 0) + count
        made: dict[tuple[date, str], int] = {}
        for at, kind in books.tools_between(since, until):
            made[day_of(at), kind] = made.get((day_of(at), kind), 0) + 1
        entries, head = books.head()
        made_at = books.moment(now)
    known = list(WORDS)
    return Report(
        first=first,
        last=last,
        utc_offset=offset,
        days=tuple(
            (day, kind, sums[day, kind])
            for day, kind in sorted(sums, key=lambda key: (key[0], known.index(key[1]) if key[1] in known else 99))
        ),
        corrections=tuple(sorted(corrections.items())),
        spoiled=tuple(sorted(spoiled.items())),
        issued=issued,
        tools=tuple((day, kind, made[day, kind]) for day, kind in sorted(made)),
        made_at=made_at,
        over=now >= until,
        entries=entries,
        head=head.hex(),
    )


def _sum(all_figures: Iterable[Figures]) -> Figures:
    total = _NONE
    for figures in all_figures:
        total += figures
    return total


def _plain(figures: Figures) -> dict[str, Any]:
    return {
        "orders": figures.orders,
        "volume": str(figures.volume),
        "fen": figures.money,
        "yuan": units.yuan(figures.money),
        "unpaid": figures.unpaid,
    }


def _card_words(words: str) -> str:
    return words if words.endswith(" cards") else f"cards {words}"


def _row(words: str, figures: Figures) -> tuple[str, ...]:
    return words, str(figures.orders), str(figures.volume), units.yuan(figures.money), str(figures.unpaid)


def _set(rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"{row[0]:<{_WIDTHS[0]}}" + "".join(f"{cell:>{_WIDTHS[i]}}" for i, cell in enumerate(row) if i) for row in rows
    ]
