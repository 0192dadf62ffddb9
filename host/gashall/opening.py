"""Opening an account: a blank card becomes the one card that binds a meter (开户; DOMAIN 3)."""

from dataclasses import dataclass, replace

from gascard import codes, records
from gascard.chip import DEFAULT_PSC
from gascard.records import S24_MAX, TOTAL_MAX
from gashall import errors, stock, units
from gashall.books import Books
from gashall.counter import (
    Counter,
    Sale,
    Terms,
    check_blank,
    check_fen,
    check_image,
    check_reader,
    check_state,
    found,
    order_told,
    sale_of,
)
from gashall.encode import Card
from gashall.ending import ended, reckoned
from gashall.errors import CardError, LedgerError, RequestError
from gashall.readers.base import Reader
from gashall.rows import Binding, CardRow, MeterRow, Order
from gashall.terms import DONE, PENDING, TRANSFER, WRITTEN
from gashall.units import Volume

NAME_MOST = 200
REPLACEMENT_MOST = 255


@dataclass(frozen=True, slots=True)
class Opening:
    """A checked request to open an account."""

    meter: MeterRow
    name: str
    account: str | None
    pulses: int
    fen: int | None
    price_agreed: bool
    initial_reading: int
    parameters: dict[str, int]
    issue_batch: int


def open_account(
    counter: Counter,
    reader: Reader,
    *,
    meter: str,
    volume: Volume,
    name: str = "",
    account: str | None = None,
    fen: int | None = None,
    price_agreed: bool = False,
    pulse_weight: int = 2,
    initial_reading: Volume = 0,
    wheel_digits: int = 5,
    alarm: Volume = 5,
    ceiling: Volume = 1000,
    overdraft: Volume = 0,
    over_flow_seconds: int = 0,
    key_version: int = 1,
    issue_batch: int = 0,
) -> Sale:
    """See ``Hall.open_account``."""
    check_reader(reader)
    request = check_opening(
        MeterRow(units.meter_number(meter), pulse_weight, 0, key_version, 0),
        name=name,
        account=account,
        volume=volume,
        fen=fen,
        price_agreed=price_agreed,
        initial_reading=initial_reading,
        wheel_digits=wheel_digits,
        alarm=alarm,
        ceiling=ceiling,
        overdraft=overdraft,
        over_flow_seconds=over_flow_seconds,
        issue_batch=issue_batch,
    )
    with reader:
        card = counter.read_card(reader)
        with counter.ledger.begin() as books:
            begun = begun_opening(counter, books, request)
            if begun is None:
                opening_terms(counter, books, request)
            elif card.number == begun[0].number:
                standing = counter.judge(books, card)
                counter.keep(books, standing)
                if standing.last.state == DONE:
                    return sale_of(standing.binding, standing.last, request.meter.pulse_weight, resumed=True)
        if begun is None:
            unlock_blank(reader, card)
            with counter.ledger.begin() as books:
                row, binding, order = book_opening(counter, books, request)
        else:
            row, binding, order = begun
        counter.issue(reader, card, row, order, presented=begun is None)
    return sale_of(binding, replace(order, state=WRITTEN), request.meter.pulse_weight, resumed=begun is not None)


def unlock_blank(reader: Reader, card: Card) -> None:
    """Present the maker's password to a blank card; CardError if it is none, or refuses it."""
    check_blank(card, reader)
    check_image(reader, card)
    if not reader.present(DEFAULT_PSC):
        raise CardError(
            codes.PASSWORD_REFUSED,
            "The card looks blank but does not take the maker's password.",
            "Take another card from stock; put this one aside for a card check.",
        )


def begun_opening(counter: Counter, books: Books, request: Opening) -> tuple[CardRow, Binding, Order] | None:
    """The unfinished opening of this meter, None if the meter is free. Else LedgerError."""
    number = request.meter.number
    known = books.meter(number)
    if known is not None and known.pulse_weight != request.meter.pulse_weight:
        raise RequestError(codes.WEIGHT, f"Meter {number} is booked with a pulse weight of {known.pulse_weight}.")
    binding = books.binding_on(number)
    if binding is None:
        _before(books, request)
        if known is not None and known.wheel_pulses != request.meter.wheel_pulses:
            raise RequestError(
                errors.FIELD,
                f"Meter {number} is booked with wheels of {known.wheel_pulses} pulses.",
                "Enter the counter's digits as they were booked (wheel_digits).",
            )
        check_meter_free(books, number)
        return None
    order, row = found(books.last_order(binding.id)), found(books.card_of(binding.account))
    if not order.opens or order.state != PENDING or row.issued:
        told = order_told(books, order, request.meter.pulse_weight)
        raise LedgerError(
            codes.ALREADY_BOUND,
            f"Meter {number} belongs to account {binding.account}: {told}.",
            "If that is the opening you were making, it is made. Else look whose meter this is; "
            "it must be cleared before it can be opened again.",
        )
    begun = _as_requested(books, found(known), binding, order, row, request)
    if begun != request:
        raise LedgerError(errors.OPENING_DIFFERS)
    return row, binding, order


def _before(books: Books, request: Opening) -> Binding | None:
    """The last binding of an account that exists and whose meter was cleared; None for a new account.

    LedgerError ALREADY_BOUND (it has a meter), ACCOUNT_CLOSED, ACCOUNT_STOPPED, FINAL_MISSING, RECOVERING (cleared
    before the ledger was restored, with something left or owed); RequestError FIELD for another holder's name.
    """
    account = None if request.account is None else books.account(request.account)
    if account is None:
        return None
    bound = books.binding_of(account.number)
    if bound is not None:
        raise LedgerError(
            codes.ALREADY_BOUND,
            f"There is an account {account.number} already, with meter {bound.meter}.",
            "Its meter must be cleared, and the clear card read back, before it gets a meter again.",
        )
    check_state(account)
    if request.name not in ("", account.name):
        raise RequestError(
            errors.FIELD,
            f"Account {account.number} is another customer's.",
            "Leave the name out, or enter the new holder first: icgas hall transfer-account.",
        )
    before = ended(books, account.number)
    if reckoned(books, before)[0] and not books.ended_since_restore(account.number):
        # The ledger that was lost may have let it come along to a meter, or paid it back.
        raise LedgerError(
            errors.RECOVERING,
            f"The meter of account {account.number} was cleared before the ledger was restored: whether what was left "
            "has come along to another meter since, or was paid back, is not known.",
            "Look at the slips and at the wall. If he has a meter, open a new account for it, over 0 m³; else "
            "close this one (icgas hall close), and open a new account.",
        )
    return before


def check_meter_free(books: Books, number: str) -> None:
    """Whether a meter that is bound to nobody may be bound: neither awaited by an exchange nor declared dead.

    LedgerError EXCHANGE, METER_DEAD.
    """
    coming = books.transfer_to(number)
    if coming is not None:
        raise LedgerError(
            errors.EXCHANGE,
            f"Meter {number} is to be account {coming.account}'s: its exchange is not through.",
            "Take another meter.",
        )
    over = books.dead_binding(number)
    if over is not None:
        raise LedgerError(errors.METER_DEAD, f"Meter {number} was declared dead in its binding {over.number}.")


def finished_opening(books: Books, request: Opening) -> tuple[CardRow, Binding, Order] | None:
    """The opening ``request`` asks for, if it was made and its card issued; None if not, or with other particulars."""
    known, binding = books.meter(request.meter.number), books.binding_on(request.meter.number)
    if known is None or binding is None:
        return None
    orders = books.orders(binding.account)
    order = next((row for row in orders if row.binding == binding.id and row.kind is None), None)
    if order is None:
        return None  # the account got this meter in exchange, and has bought nothing for it yet
    row = found(books.card(order.card))
    if not row.issued or _as_requested(books, known, binding, order, row, request) != request:
        return None
    return row, binding, order


def _as_requested(
    books: Books, meter: MeterRow, binding: Binding, order: Order, row: CardRow, request: Opening
) -> Opening:
    """The opening in the ledger as the request it was made by; what ``request`` left open is left open."""
    account = found(books.account(binding.account))
    again = books.bindings(binding.account)[0].id != binding.id
    return Opening(
        # A meter that was booked before has the keys the ledger knows, whatever is entered.
        meter=replace(meter, highest_binding=0, key_version=min(meter.key_version, request.meter.key_version)),
        # An account that had a meter before has its name, and is always asked for by its number.
        name="" if again and not request.name else account.name,
        account=None if request.account is None and not again else account.number,
        pulses=order.paid_pulses,
        # What the price list said when it was begun is the money, whatever it says now.
        fen=None if request.fen is None and order.price is not None else order.fen,
        price_agreed=request.price_agreed,
        initial_reading=binding.initial_reading,
        parameters={name: getattr(binding, name) for name in request.parameters},
        issue_batch=row.issue_batch,
    )


def book_opening(counter: Counter, books: Books, request: Opening) -> tuple[CardRow, Binding, Order]:
    if begun_opening(counter, books, request) is not None:
        raise LedgerError(errors.PENDING_ELSEWHERE)
    terms = opening_terms(counter, books, request)
    meter = books.meter(request.meter.number)
    if meter is None:
        meter = request.meter
        books.add_meter(meter)
    before = _before(books, request)
    if before is None:
        account, replacement, left = books.add_account(request.name, counter.now(), request.account), 0, 0
    else:
        account, replacement = found(books.account(before.account)), _next_replacement(books, before.account)
        left = _left(books, before, meter, request.pulses)
    binding = books.bind(meter, account.number, request.initial_reading, request.parameters)
    row = books.add_card(account.number, request.issue_batch, replacement=replacement)
    if terms.uses_stock:
        books.move_stock(stock.USED, 1, at=terms.now, shift=terms.shift, card=row.number, account=account.number)
    if before is not None and left:
        _carry(books, before, binding, row, left, terms)
    order = counter.add_order(
        books,
        binding,
        meter,
        row,
        kind=records.ORDER_OPENING,
        sequence=2 if left else 1,
        count=request.pulses,
        released=max(left, 0) + request.pulses,
        correction=max(-left, 0) or None,
        fen=terms.fen,
        price=terms.price,
        shift=terms.shift,
        now=terms.now,
        flags=records.FLAG_PARAMETERS,
    )
    return row, binding, order


def _next_replacement(books: Books, account: str) -> int:
    """The new card's: the account's earlier ones are replaced by it."""
    number = int(found(books.card_of(account)).replacement) + 1
    if number > REPLACEMENT_MOST:
        raise LedgerError(
            codes.NUMBER_USED_UP,
            f"Account {account} has had {REPLACEMENT_MOST} replacement cards.",
            "Close it, and open a new account.",
        )
    return number


def _left(books: Books, before: Binding, meter: MeterRow, pulses: int) -> int:
    """What the customer has left of a binding that is over, in pulses; below zero he owes it."""
    left, _ = reckoned(books, before)
    old = found(books.meter(before.meter))
    if left and old.pulse_weight != meter.pulse_weight:
        raise RequestError(
            codes.WEIGHT,
            f"Account {before.account} has {units.volume(left, old.pulse_weight)} m³ left, in a pulse weight of "
            f"{old.pulse_weight}; meter {meter.number} counts in one of {meter.pulse_weight}.",
            "Take a meter of the same pulse weight, or close the account and open a new one.",
        )
    if left < -S24_MAX or left + pulses > TOTAL_MAX:
        raise RequestError(codes.RANGE, f"No order can bear the {left} pulses left of account {before.account}.")
    return left


def _carry(books: Books, before: Binding, binding: Binding, row: CardRow, left: int, terms: Terms) -> None:
    """Book what comes into ``binding`` from the one before, as of an exchange: no purchase, and once.

    Its row has no frame of its own: the opening order behind it bears the total.
    """
    clear = found(books.tool(found(books.final(before.meter, before.number)).card))
    moved, owed = max(left, 0), max(-left, 0)
    order = books.add_order(
        binding,
        row.number,
        b"",
        sequence=1,
        paid=moved,
        released=moved,
        fen=None,
        made_at=terms.now,
        shift=terms.shift,
        kind=TRANSFER,
        correction=owed or None,
    )
    books.mark_written(order.id)
    books.add_transfer(
        before.account,
        old=before.id,
        new=binding.id,
        tool=clear.number,
        most=None,
        requester=clear.requester or "",
        approver=clear.approver or "",
        reason=clear.purpose,
        at=terms.now,
        closing=None,
        moved_at=terms.now,
        moved_pulses=moved,
        owed_pulses=0,
        correction=owed,
        ended_at=terms.now,
    )


def opening_terms(counter: Counter, books: Books, request: Opening) -> Terms:
    account = request.account or ""
    terms = counter.terms(books, account, request.pulses, request.meter, request.fen, request.price_agreed)
    return replace(terms, uses_stock=stock.check(books, terms.shift))


def check_opening(
    meter: MeterRow,
    *,
    name: str,
    account: str | None,
    volume: Volume,
    fen: int | None,
    price_agreed: bool,
    initial_reading: Volume,
    wheel_digits: int,
    alarm: Volume,
    ceiling: Volume,
    overdraft: Volume,
    over_flow_seconds: int,
    issue_batch: int,
) -> Opening:
    weight = units.check_weight(meter.pulse_weight)
    units.whole(meter.key_version, "key_version", 1, 0xFF)
    units.whole(over_flow_seconds, "over_flow_seconds", 0, 0xFF)
    units.whole(issue_batch, "issue_batch", 0, 0xFFFF)
    units.whole(wheel_digits, "wheel_digits", 1, 8 - weight)
    if not isinstance(name, str) or len(name) > NAME_MOST:
        raise RequestError(
            errors.FIELD, f"name is text of at most {NAME_MOST} characters.", "Shorten the customer's name."
        )
    # As another holder's (``transfer_account``), but that it may be left out.
    if name and not (name.strip() and name.isprintable()):
        raise RequestError(
            errors.FIELD,
            f"name is printable text, or nothing, not {units.shown(name)}.",
            "Type the customer's name again: no tabs, no line breaks.",
        )
    wheel = int(10 ** (wheel_digits + weight))
    if account is not None and int(units.account_number(account)) == 0:
        raise RequestError(errors.NUMBER_MALFORMED, "Account number 0 is not given out.")
    check_fen(fen)
    return Opening(
        meter=replace(meter, wheel_pulses=wheel),
        name=name,
        account=account,
        pulses=units.pulses(volume, weight, most=S24_MAX),
        fen=fen,
        price_agreed=price_agreed,
        initial_reading=units.pulses(initial_reading, weight, most=wheel - 1, what="initial reading"),
        parameters={
            "alarm": units.pulses(alarm, weight, most=0xFFFF, what="alarm"),
            "ceiling": units.pulses(ceiling, weight, most=0xFFFFFF, what="ceiling"),
            "overdraft": units.pulses(overdraft, weight, most=0xFFFF, what="overdraft"),
            "over_flow_seconds": over_flow_seconds,
        },
        issue_batch=issue_batch,
    )
