"""How much a customer may buy at once, in a day and in a month (DOMAIN 3, hall rules).

Days and months begin at midnight by the hall's own clock time, UTC+8 unless it is set otherwise: by UTC a day would
begin while the counter is open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from gascard.records import TOTAL_MAX
from gashall import errors, units
from gashall.books import Books
from gashall.errors import RequestError
from gashall.ledger import Ledger
from gashall.rows import Rules
from gashall.terms import UTC_OFFSET
from gashall.units import Volume

PERIODS = ("purchase", "day", "month")
UTC_OFFSET_MOST = 14 * 60


@dataclass(frozen=True, slots=True)
class Limits:
    """Most m³ in one purchase, a day and a month, None for no limit; days begin ``utc_offset`` minutes before UTC's."""

    purchase: Decimal | None
    day: Decimal | None
    month: Decimal | None
    utc_offset: int

    def lines(self) -> list[str]:
        """A line for each."""
        rows = [(period, getattr(self, period)) for period in PERIODS]
        lines = [f"{period:<10}" + ("no limit" if limit is None else f"{limit} m³") for period, limit in rows]
        return [*lines, f"days begin at midnight, {units.zone(self.utc_offset)}"]


def limits(ledger: Ledger, now: int) -> Limits:
    """The limits set in ``ledger``."""
    with ledger.look() as books:
        rules = books.rules(now)
    values = {period: _limit(rules, period) for period in PERIODS}
    return Limits(
        **{period: None if value is None else units.volume(value, 2) for period, value in values.items()},
        utc_offset=offset(rules),
    )


def set_limits(ledger: Ledger, wanted: Mapping[str, Volume | None], utc_offset: int | None) -> None:
    """Set all that is ``wanted``, or nothing; see ``Hall.set_limits``."""
    values: dict[str, int | None] = {}
    for period, limit in wanted.items():
        if period not in PERIODS:
            raise RequestError(
                errors.FIELD, f"There is no limit for {units.shown(period)}.", "Use purchase, day or month."
            )
        values[f"limit_{period}"] = (
            None if limit is None else units.pulses(limit, 2, least=1, most=TOTAL_MAX * 100, what=f"{period} limit")
        )
    if utc_offset is not None:
        values["utc_offset"] = units.whole(utc_offset, "utc_offset", -UTC_OFFSET_MOST, UTC_OFFSET_MOST)
    with ledger.begin() as books:
        books.set_settings(values)


def check(books: Books, rules: Rules, account: str, count: int, now: int) -> None:
    """Whether ``account`` may buy ``count`` hundredths of a m³ more at minute ``now``; else RequestError OVER_LIMIT.

    What an order paid for counts from the minute it was made, loaded or not. ``account`` may be one yet to be opened.
    """
    if rules.limit_purchase is None and rules.limit_day is None and rules.limit_month is None:
        return
    local = units.moment(now + offset(rules))
    midnight = now - local.hour * 60 - local.minute
    begins = {"purchase": now, "day": midnight, "month": midnight - (local.day - 1) * 24 * 60}
    rows: list[tuple[int, int]] = []
    if rules.limit_day is not None or rules.limit_month is not None:
        rows = books.bought(account, begins["month" if rules.limit_month is not None else "day"])
    leasts = []
    for period in PERIODS:
        limit = _limit(rules, period)
        if limit is not None:
            bought = 0 if period == "purchase" else sum(row for at, row in rows if at >= begins[period])
            leasts.append((max(limit - bought, 0), period, limit, bought))
    # The tightest decides: what is said to be left must be sold without another refusal.
    left, period, limit, bought = min(leasts, key=lambda row: row[0])
    if count > left:
        told = "" if period == "purchase" else f", and {units.volume(bought, 2)} m³ were bought in this {period}"
        raise RequestError(
            errors.OVER_LIMIT,
            f"{units.volume(count, 2)} m³ cannot be sold: "
            f"the limit of a {period} is {units.volume(limit, 2)} m³{told}.",
            (f"Sell at most {units.volume(left, 2)} m³" if left else f"Sell nothing more in this {period}")
            + ", or have the limit changed: icgas hall limits.",
        )


def _limit(rules: Rules, period: str) -> int | None:
    limit: int | None = getattr(rules, f"limit_{period}")
    return limit


def offset(rules: Rules) -> int:
    """How many minutes before UTC's the hall's days begin."""
    return UTC_OFFSET if rules.utc_offset is None else rules.utc_offset
