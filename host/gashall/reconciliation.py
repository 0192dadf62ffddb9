"""What was sold to an account, against its meter's index: the figures a person adds up."""

from dataclasses import dataclass
from decimal import Decimal

from gashall import encode, errors, units
from gashall.counter import Counter, found, kept_report
from gashall.errors import CardError, LedgerError
from gashall.ledger import CANCEL, GIFT, MAKEUP, REFUND, REPLACEMENT
from gashall.placing import position
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
    corrections: int
    """Signed sum of corrections the meter has taken; less what was sold by so much."""

    @property
    def difference(self) -> int:
        """What was sold and granted less all that is accounted for: 0, or the meter's drift against its index."""
        given = self.sold + self.granted - self.paid_back
        return given - self.used_by_index - self.left_on_meter - self.on_card - self.held - self.corrections

    def rows(self) -> list[tuple[str, Decimal]]:
        """The figures in m³, each with its words, in the order a person adds them up."""
        figures = [
            ("sold", self.sold),
            ("used by the index", self.used_by_index),
            ("left on the meter", self.left_on_meter),
            ("on the card", self.on_card),
        ]
        if self.granted:
            figures.insert(1, ("made up and given", self.granted))
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
        return [*head, *body, f"difference {self.difference} pulses"]


def reconcile(counter: Counter, account: str, closing_reading: Volume | None = None) -> Reconciliation:
    """See ``Hall.reconcile``."""
    units.account_number(account)
    with counter.ledger.begin() as books:
        binding = books.binding_of(account)
        if binding is None:
            raise LedgerError(errors.ACCOUNT_UNKNOWN, f"There is no open account {account}.")
        meter, kept = found(books.meter(binding.meter)), books.last_report(binding.meter)
        here, paid = position(counter, books, binding), books.paid(binding.id)
    if kept is None or kept.binding != binding.number:
        raise CardError(errors.REPORT_MISSING)
    report = kept_report(kept)
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
        corrections=report["correction_total"],
    )
