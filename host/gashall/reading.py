"""Reading a card back: its report goes into the ledger, nothing goes on the card."""

from dataclasses import dataclass, replace
from decimal import Decimal

from gascard import codes
from gashall import encode, replacement, units
from gashall.counter import Counter, check_reader, found, replaced_told
from gashall.encode import Values
from gashall.errors import CardError
from gashall.readers.base import Reader
from gashall.terms import PENDING, WRITTEN


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What a card told the hall."""

    account: str
    meter: str
    card: int
    report: Values | None
    """The newest authentic report of the card's meter, None if the card has not been in it."""
    state: str
    """State of the account's last order: pending, written or done."""
    remaining: Decimal | None
    """m³ left on the meter when it wrote the report."""
    on_card: Decimal
    """m³ released that no report shows loaded; negative for a refund that waits."""
    damaged: tuple[str, ...]
    """Parts of the card that are written but not whole; harmless if a report is given all the same."""
    held: Decimal = Decimal(0)
    """m³ paid and held since a card was replaced, neither on the card nor shown loaded."""


def read_back(counter: Counter, reader: Reader) -> ReadBack:
    """See ``Hall.read_back``."""
    check_reader(reader)
    with reader:
        card = counter.read_card(reader)
    refusal: CardError | None = None
    with counter.ledger.begin() as books:
        try:
            standing = counter.judge(books, card, reading=True)
        except CardError as error:
            if error.code != codes.REPLACED:
                raise
            # Its report is the meter's word all the same.
            replacement.prove(counter, books, card)
            refusal = replaced_told(books, found(card.number))
        else:
            counter.keep(books, standing)
            last = standing.last
            if last.state == PENDING and standing.row.issued and card.order.raw == last.frame:
                books.mark_written(last.id)
                last = replace(last, state=WRITTEN)
    if refusal is not None:
        raise refusal
    order_code = codes.OK if last.state == PENDING else standing.card.order.code
    if standing.report is None and standing.report_code == codes.KEY_VERSION:
        raise CardError(
            codes.KEY_VERSION,
            f"The card's report was made with keys that meter {standing.meter.number} has no more; it moves nothing.",
            "Sell as usual: the meter's next report is made with the keys it has now.",
        )
    if standing.report is None and (standing.report_code or order_code):
        raise CardError(standing.report_code or order_code)
    weight = standing.meter.pulse_weight
    report = None if standing.report is None else standing.report.values
    # A card that has not been in the meter may be a replacement: another card has told what was loaded.
    loaded = 0 if standing.known is None else standing.known["bought_total"]
    return ReadBack(
        account=standing.account.number,
        meter=standing.meter.number,
        card=standing.row.number,
        report=report,
        state=last.state,
        remaining=None if report is None else units.volume(encode.remaining(report), weight),
        on_card=units.volume(standing.base - loaded, weight),
        damaged=tuple(
            part.name
            for part in standing.card.parts
            if part.written and not part.whole and part.code != codes.KEY_VERSION
        ),
        held=units.volume(standing.held, weight),
    )
