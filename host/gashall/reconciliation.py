"""What was sold to an account, against its meter's index: the figures a person adds up, and what to do about them."""

from dataclasses import dataclass, replace
from decimal import Decimal

from gashall import drift, encode, errors, units
from gashall.books import Books
from gashall.counter import Counter, correction_total, kept_report
from gashall.drift import Drift, Verdict
from gashall.encode import Values
from gashall.errors import CardError
from gashall.grants import of_account
from gashall.placing import position
from gashall.rows import Binding, MeterRow, ReportRow
from gashall.terms import ADOPTED, CANCEL, EXCHANGE, GIFT, MAKEUP, REFUND, REPLACEMENT, TRANSFER
from gashall.units import Volume


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The account's gas by the index: all figures in pulses of ``pulse_weight``."""

    account: str
    meter: str
    binding: int
    pulse_weight: int
    initial_reading: int
    closing_reading: int
    sold: int
    used_by_index: int
    left_on_meter: int
    on_card: int
    """Released beyond what the newest report shows loaded; negative for a refund that waits on the card."""
    granted: int
    """Given: gifts, and make-ups of gas that was neither sold nor held."""
    paid_back: int
    """Of refunds that were not cancelled, paid or not."""
    held: int
    """Paid and held since a card was replaced."""
    adopted: int
    """What cards and reports knew more than a ledger that had lost entries."""
    corrections: int
    """Signed sum of corrections the meter has taken; less what was sold by so much."""
    moved: int = 0
    """From the account's meter before: what the transfer card moved, and what that meter had not loaded."""
    drift: Drift | None = None
    """What the reading says of the meter; None if none was given."""

    @property
    def difference(self) -> int:
        """What was sold, granted and adopted less all accounted for: 0, or the meter's drift against its index."""
        given = self.sold + self.moved + self.granted + self.adopted - self.paid_back
        return given - self.used_by_index - self.left_on_meter - self.on_card - self.held - self.corrections

    def rows(self) -> list[tuple[str, Decimal]]:
        """The figures in m³, each with its words, in the order a person adds them up."""
        figures = [
            ("sold", self.sold),
            ("used by the index", self.used_by_index),
            ("left on the meter", self.left_on_meter),
            ("on the card", self.on_card),
        ]
        if self.moved:
            figures.insert(1, ("from the meter before", self.moved))
        if self.granted:
            figures.insert(1, ("made up and given", self.granted))
        if self.adopted:
            figures.insert(1, ("adopted", self.adopted))
        named = (("held", self.held), ("paid back", self.paid_back), ("corrected", self.corrections))
        figures += [(words, count) for words, count in named if count]
        figures.append(("difference", self.difference))
        return [(words, units.volume(count, self.pulse_weight)) for words, count in figures]

    def lines(self) -> list[str]:
        """A slip for people: account and readings, then the figures in m³ and the difference in pulses."""
        closing, initial = (
            units.volume(reading, self.pulse_weight) for reading in (self.closing_reading, self.initial_reading)
        )
        head = [f"account {self.account}, meter {self.meter}, index {initial} to {closing} m³"]
        body = [f"{words:<20}{cubic:>14} m³" for words, cubic in self.rows()]
        body += [] if self.drift is None else drift_lines(self.drift, self.pulse_weight, self.account)
        return [*head, *body, f"difference {units.counted(self.difference, 'pulse')}"]


def drift_lines(found: Drift, pulse_weight: int, account: str) -> list[str]:
    """A comparison for people: what was compared, the verdict, and the correction that is proposed."""
    reading, index, correction = (
        units.volume(count, pulse_weight) for count in (found.wheels, found.index, found.correction)
    )
    allowed = f"{units.counted(found.allowed, 'pulse')} allowed" + (", perhaps more" if found.at_least else "")
    lines = [
        f"wheels {reading} m³, meter {index} m³ by its report of {units.stamp(found.moment)}",
        f"index: {found.verdict.value}; drift {units.counted(found.drift, 'pulse')}, {allowed}",
    ]
    if found.verdict is not Verdict.AGREES and found.correction > 0:
        lines.append("if gas was burned after that report this is use, no drift: read the wheels with a new report")
    if found.verdict is not Verdict.AGREES:
        # What the customer gains is the correction with the other sign: that is what is typed.
        makeup = f"icgas hall makeup request --account {account} --reason TEXT --requester NAME"
        makeup += f" --kind drift --volume {-correction}"
        lines.append(f"proposed correction: {correction} m³, to be approved with its reason: {makeup}")
    return lines


def reconcile(counter: Counter, account: str, closing_reading: Volume | None = None) -> Reconciliation:
    """See ``Hall.reconcile``."""
    units.account_number(account)
    with counter.ledger.begin() as books:
        _, binding, meter = of_account(books, account)
        kept = books.last_report(binding.meter)
        here, paid = position(counter, books, binding), books.paid(binding.id)
        if kept is None or kept.binding != binding.number:
            raise CardError(errors.REPORT_MISSING)
        report = kept_report(kept)
        compared: Drift | None = None
        if closing_reading is not None:
            compared, made_good = compare(books, meter, kept, report, closing_reading)
            _keep(books, binding, kept, report, compared, made_good, counter.now())
    wheel = meter.wheel_pulses
    closing: int = report["index"]
    if closing_reading is not None:
        closing = units.pulses(closing_reading, meter.pulse_weight, most=wheel - 1, what="closing reading")
    used = (closing - binding.initial_reading) % wheel
    # Whole turns of the wheels cannot be seen; the register tells how many there were.
    used += (report["used"] - used + wheel // 2) // wheel * wheel
    return Reconciliation(
        account=account,
        meter=meter.number,
        binding=binding.number,
        pulse_weight=meter.pulse_weight,
        initial_reading=binding.initial_reading,
        closing_reading=closing,
        sold=paid.get(None, 0),
        used_by_index=used,
        left_on_meter=encode.remaining(report),
        on_card=here.base - report["bought_total"],
        granted=paid.get(GIFT, 0) + paid.get(MAKEUP, 0),
        # An order that cancels a refund, and a replacement card's that does, gives back what the refund took.
        paid_back=-sum(paid.get(kind, 0) for kind in (REFUND, CANCEL, REPLACEMENT)),
        held=here.held,
        adopted=paid.get(ADOPTED, 0),
        moved=paid.get(TRANSFER, 0) + paid.get(EXCHANGE, 0),
        corrections=report["correction_total"],
        drift=compared,
    )


def settled(books: Books, meter: str) -> int:
    """Pulses by which a meter's drift was corrected so far, over all its bindings (signed).

    Of an order that bears a new correction total and was not loaded yet that total counts too: to propose it again
    would be to correct twice.
    """
    total = 0
    for binding in books.bindings_on(meter):
        reports = books.reports(meter, binding.number)
        report = kept_report(reports[-1]) if reports else None
        last = books.last_order(binding.id)
        # A binding that an exchange is to begin has no order yet.
        total += 0 if last is None else correction_total(last, report) - carried(books, binding)
    return total


def carried(books: Books, binding: Binding) -> int:
    """What came into a binding as a correction from the meter before: no drift of its own meter (signed pulses)."""
    if not books.transfers_into(binding.id):
        return 0
    rows = [row for row in books.orders(binding.account) if row.binding == binding.id]
    return next((row.correction or 0 for row in reversed(rows) if row.kind in (TRANSFER, EXCHANGE)), 0)


def compare(books: Books, meter: MeterRow, kept: ReportRow, report: Values, reading: Volume) -> tuple[Drift, int]:
    """The verdict over a reading of ``meter``, against its newest report, and what was settled before."""
    # Against the same report asked twice the power cuts would else explain what they did explain no more.
    rank = kept.binding, kept.report_number
    earlier = [row.power_failures for row in books.comparisons(meter.number) if (row.binding, row.report_number) < rank]
    failures = earlier[-1] if earlier and earlier[-1] <= report["power_failures"] else 0
    made_good = settled(books, meter.number)
    compared = drift.compare(
        report, reading, meter.pulse_weight, meter.wheel_pulses, settled=made_good, power_failures=failures
    )
    return replace(compared, moment=books.moment(report["time"])), made_good


def _keep(
    books: Books, binding: Binding, kept: ReportRow, report: Values, compared: Drift, made_good: int, now: int
) -> None:
    """Keep a comparison; asked again with the same figures it is kept once."""
    values = {
        "meter": binding.meter,
        "binding": kept.binding,
        "report_number": kept.report_number,
        "reading": compared.wheels,
        "power_failures": report["power_failures"],
        "settled": made_good,
        "drift": compared.drift,
        "verdict": compared.verdict.name.lower(),
    }
    before = books.comparisons(binding.meter)
    if not before or any(getattr(before[-1], name) != value for name, value in values.items()):
        books.add_comparison(binding.account, **values, at=now)
