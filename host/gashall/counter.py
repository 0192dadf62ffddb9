"""What every service at the counter does with a card: read, judge against the ledger, unlock, write, book.

Each service reads and judges the card first, then writes the ledger, then the card, then the ledger again (DESIGN D5),
so that it may die anywhere: whoever repeats it finishes the order that was begun and never makes it twice. The card's
password is presented before the row is made, as the meter presents it before it journals: a chip that refuses it
leaves nothing behind. Rules: RULES 1 (settling, ledger behind, last try), DOMAIN 3.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from gascard import codes, records
from gascard.chip import DEFAULT_PSC
from gascard.meanings import CARD_KINDS
from gascard.records import IDENTITY_AT, IMAGE_SIZE, ORDER_AT, S24_MAX, SEQUENCE_MAX, TOTAL_MAX
from gashall import encode, errors, limits, prices, shifts, units
from gashall.books import Books
from gashall.encode import Card, Part, Values, decode_card, report_rank
from gashall.errors import CardError, GasError, LedgerError, RequestError
from gashall.ledger import Ledger
from gashall.readers.base import Reader
from gashall.rows import Account, Binding, CardRow, GrantRow, MeterRow, Order, ReportRow, ToolRow, TransferRow
from gashall.signer import Signer
from gashall.terms import CLOSED, DONE, EXCHANGE, PENDING, REFUND, REPLACEMENT, STOPPED, TRANSFER, WRITTEN
from gashall.units import Clock, Volume


@dataclass(frozen=True, slots=True)
class Sale:
    """An order that is on its card. Totals in pulses, volume in m³, money in fen."""

    account: str
    meter: str
    card: int
    sequence: int
    volume: Decimal
    pulses: int
    bought_total: int
    fen: int | None
    state: str
    resumed: bool
    """Whether this order had been begun earlier and was only finished now."""
    price: Decimal | None = None
    """Fen for one m³, None if the money was not computed from the price list."""
    kind: str | None = None
    """What the order is, a word of gashall.terms; None: a purchase."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms an order is made: money in fen, the price that was computed from in hundredths of a fen, shift."""

    fen: int | None
    price: int | None
    shift: int | None
    now: int
    """The minute it was judged by, which the order bears."""
    uses_stock: bool = False
    """Whether the card is one of the blank cards that are counted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A card of ours as the ledger sees it, the card's own report taken into account."""

    card: Card
    row: CardRow
    account: Account
    binding: Binding
    meter: MeterRow
    last: Order
    report: Part | None
    report_is_news: bool
    report_code: int
    known: Values | None
    """The newest report of this binding, from the card or the ledger."""
    base: int
    """The total the next order begins from: the last frame's, or what the meter has shown beyond it."""
    held: int
    """Pulses paid that no frame in force releases and no report shows loaded (RULES 1, paid and released)."""
    unpaid: GrantRow | None
    """The refund that is the account's last order and neither paid nor cancelled."""
    floor: int | None = None
    """The least sequence of the next order while the account is recovering; None: it is not."""
    suspended: bool = False
    """Whether the meter is under test."""
    ending: int | None = None
    """The clear or transfer card that is out for the binding."""
    exchange: TransferRow | None = None
    """The exchange of the account's meter that is not through."""

    @property
    def next_sequence(self) -> int:
        """What the account's next order bears: after a restored copy, above whatever was lost (RULES 1)."""
        return max(self.last.sequence + 1, self.floor or 0)

    def check_free(self) -> None:
        """Whether gas or money may go out, or a card or meter be exchanged.

        LedgerError SUSPENDED, RECOVERING, BINDING_ENDS or EXCHANGE.

        What was begun is finished all the same, and asked before.
        """
        check_exchange(self.exchange, self.account.number)
        if self.suspended:
            raise LedgerError(errors.SUSPENDED, f"Meter {self.meter.number} is under test.")
        if self.floor is not None:
            raise LedgerError(errors.RECOVERING, f"Account {self.account.number} is recovering.")
        check_not_ending(self.ending, self.account.number)


class Counter:
    """One window: a ledger, a signer, a clock, and the steps services are made of.

    What is asked of books must be asked within a transaction of ``ledger``.
    """

    def __init__(self, ledger: Ledger, signer: Signer, clock: Clock) -> None:
        """``clock`` gives the time as an aware datetime."""
        self.ledger = ledger
        self.signer = signer
        self.clock = clock

    def now(self) -> int:
        return units.minutes(self.clock())

    def read_card(self, reader: Reader) -> Card:
        return decode_card(reader.read(0, IMAGE_SIZE), self.signer)

    def judge(self, books: Books, card: Card, *, reading: bool = False, adopting: bool = False) -> Standing:
        """Who this card is, and what it and its report say against the ledger. Writes nothing.

        ``reading`` lets a damaged order pass, since nothing will be put in its place, and no forged one; ``adopting``
        lets order and report be ahead of the ledger as well.
        """
        check_ours(card)
        place = books.place(found(card.number))
        if place is None:
            raise CardError(errors.CARD_UNKNOWN, f"The ledger has no card {card.number}.")
        if place.replaced:
            raise replaced_told(books, place.card.number)
        row, account, binding, meter = place.card, place.account, place.binding, place.meter
        if binding is None or meter is None:
            raise no_meter(account)
        last: Order = found(books.last_order(binding.id))
        # Once more with the ledger's key version, if the order on the card names another or, torn, none.
        if card.order.values is None or card.order.values["key_version"] != meter.key_version:
            card = decode_card(card.image, self.signer, key_version=meter.key_version)
        exchange = books.transfer_of(row.account) if place.exchange else None
        # A dead meter's last order may have been pending when its account was settled by the closing index.
        settled = exchange is not None and exchange.closing is not None
        _check_order(card.order, binding, last, reading or adopting, adopting, settled)
        reports = card.reports
        if last.kind in (TRANSFER, EXCHANGE):
            # The card bears what the meter before has said; of the new one there is nothing on it yet.
            reports = tuple(part for part in reports if part.values and part.values["meter"] == meter.number)
        report, code = newest_report(reports, meter.number, binding.number)
        news = False
        kept = books.last_report(meter.number)
        rank = (0, 0) if kept is None else (kept.binding, kept.report_number)
        if report is not None:
            values = found(report.values)
            if not adopting and is_ahead(books, binding, last, values):
                raise LedgerError(
                    errors.LEDGER_BEHIND,
                    f"The meter reports order {values['sequence']} and "
                    f"{units.counted(values['bought_total'], 'pulse')}; "
                    f"the ledger knows {last.sequence} and {last.released_pulses}.",
                )
            if report_rank(report) < rank:
                report, code = None, errors.REPORT_OLDER
            else:
                news = report_rank(report) > rank
                if values["sequence"] >= last.sequence and values["bought_total"] >= last.total:
                    last = replace(last, state=DONE)
        known = None if report is None else report.values
        if known is None and kept is not None and kept.binding == binding.number:
            known = kept_report(kept)
        base, held = self.base_and_held(books, row, binding, last, known)
        unpaid = unpaid_refund(books, last)
        return Standing(
            card,
            row,
            account,
            binding,
            meter,
            last,
            report,
            news,
            code,
            known,
            base,
            held,
            unpaid,
            place.floor,
            place.suspended,
            place.ending,
            exchange,
        )

    def base_and_held(
        self, books: Books, row: CardRow, binding: Binding, last: Order, known: Values | None
    ) -> tuple[int, int]:
        """The total the account's next order begins from, and what is held; ``known`` is the newest report.

        A meter never falls but by a refund, so what a report shows above the last frame's total stays loaded.
        """
        base = last.released_pulses
        if known is not None and last.kind != REFUND:
            base = max(base, known["bought_total"])
        # Only a replacement leaves anything behind; no other account is asked for its sum.
        return base, sum(books.paid(binding.id).values()) - base if row.replacement else 0

    def keep(self, books: Books, standing: Standing) -> None:
        """Book what the card's report proves."""
        if standing.report is not None and not standing.row.issued:
            # A meter writes with the card's own password only: a window died behind the last byte of it.
            books.mark_card(standing.row.number, psc_bytes=3, issued=True)
        if standing.report is None or not standing.report_is_news:
            return
        values = found(standing.report.values)
        books.keep_report(
            ReportRow(
                standing.meter.number,
                values["binding"],
                values["report_number"],
                standing.row.number,
                standing.report.raw,
                self.now(),
            ),
            standing.account.number,
            covers=(standing.binding.id, values["sequence"], values["bought_total"]),
        )

    def next_order(self, books: Books, standing: Standing, volume: Volume, fen: int | None) -> int:
        """The pulses of a sale that may be made now; else the error that says why not."""
        count = units.pulses(volume, standing.meter.pulse_weight, least=1, most=S24_MAX)
        check_fen(fen)
        check_state(standing.account)
        check_settled(standing.unpaid)
        last = standing.last
        if last.state == WRITTEN:
            check_waiting(books, standing)
        self.check_room(standing, count)
        return count

    def check_room(self, standing: Standing, count: int) -> None:
        """Whether the binding can bear another order over ``count`` pulses; else the error that says why not."""
        base, weight = standing.base, standing.meter.pulse_weight
        if standing.next_sequence > SEQUENCE_MAX:
            raise LedgerError(codes.NUMBER_USED_UP, "This binding has had all the orders it can have.")
        if base + count > TOTAL_MAX:
            raise RequestError(
                codes.RANGE,
                f"With {units.volume(count, weight)} m³ more the bought total would pass "
                f"{units.volume(TOTAL_MAX, weight)} m³.",
            )
        known = standing.known
        if known is not None:
            # The meter's rule (RULES 1, "range"): its register must not end before its gas does.
            left = encode.remaining(known) + base - known["bought_total"]
            free = TOTAL_MAX - known["register"] - left
            if count > free:
                raise RequestError(
                    codes.RANGE,
                    f"With {units.volume(count, weight)} m³ more the meter's register would end before its gas.",
                    f"Sell at most {units.volume(max(free, 0), weight)} m³; then the meter is to be exchanged.",
                )

    def check_sale(self, books: Books, standing: Standing) -> None:
        """Whether the account may buy now: not under test, and recovering only where the company sells meanwhile."""
        check_exchange(standing.exchange, standing.account.number)
        check_not_ending(standing.ending, standing.account.number)
        if standing.suspended or standing.floor is None or not books.rules(self.now()).sell_recovering:
            standing.check_free()

    def terms(
        self, books: Books, account: str, count: int, meter: MeterRow, fen: int | None, price_agreed: bool
    ) -> Terms:
        """On which terms ``count`` pulses may be sold to ``account`` now; else the error that says why not."""
        now, weight = self.now(), meter.pulse_weight
        rules = books.rules(now)
        shift = shifts.check(rules)
        limits.check(books, rules, account, count * 10 ** (2 - weight), now)
        if rules.price is None and fen is None and count and books.prices():
            # A hall with a price list gives nothing for nothing: its clock stands wrong, or the list begins later.
            raise LedgerError(
                errors.PRICE_MISSING,
                f"No price is in force at {units.stamp(books.moment(now))}.",
                "Look at the clock and at the price list (icgas hall price list), or name the money.",
            )
        return Terms(*prices.money(count, weight, rules.price, fen, price_agreed), shift, now)

    def book(self, books: Books, standing: Standing, count: int, terms: Terms) -> Order:
        self.keep(books, standing)
        last = standing.last
        return self.add_order(
            books,
            standing.binding,
            standing.meter,
            standing.row,
            kind=records.ORDER_USER,
            sequence=standing.next_sequence,
            count=count,
            released=standing.base + count,
            fen=terms.fen,
            price=terms.price,
            shift=terms.shift,
            now=terms.now,
            flags=0,
            correction=correction_total(last, standing.known) or None,
        )

    def add_order(
        self,
        books: Books,
        binding: Binding,
        meter: MeterRow,
        card: CardRow,
        *,
        kind: int,
        sequence: int,
        count: int,
        released: int,
        fen: int | None,
        flags: int,
        now: int,
        price: int | None = None,
        shift: int | None = None,
        purpose: str | None = None,
        amount: int | None = None,
        correction: int | None = None,
        total: int | None = None,
    ) -> Order:
        """A new pending order with its frame. ``kind`` is the frame's, ``purpose`` the row's; pulses throughout.

        ``count`` is what the order adds to all the customer may have; ``amount`` what the frame shows, the same if not
        given; ``released`` and ``correction`` are the totals it bears, ``total`` the bought total in the frame where
        that is not ``released``.
        """
        values = {
            "meter": meter.number,
            "account": binding.account,
            "binding": binding.number,
            "replacement": card.replacement,
            "key_version": meter.key_version,
            "sequence": sequence,
            "bought_total": released if total is None else total,
            "amount": count if amount is None else amount,
            "correction_total": correction or 0,
            "pulse_weight": meter.pulse_weight,
            "alarm": binding.alarm,
            "ceiling": binding.ceiling,
            "overdraft": binding.overdraft,
            "over_flow_seconds": binding.over_flow_seconds,
            "time": now,
            "flags": flags,
        }
        frame = encode.encode_order(self.signer, card.number, values, kind)
        return books.add_order(
            binding,
            card.number,
            frame,
            sequence=sequence,
            paid=count,
            released=released,
            fen=fen,
            made_at=now,
            price=price,
            shift=shift,
            kind=purpose,
            correction=correction,
            frame_pulses=total,
        )

    def finish(self, reader: Reader, standing: Standing, order: Order, rescue: bool) -> None:
        """Bring a begun order to its end: the same frame, whatever the card says (RULES 1, settling)."""
        card = standing.card
        if not standing.row.issued and (order.opens or order.kind in (REPLACEMENT, EXCHANGE)):
            self.issue(reader, card, standing.row, order, presented=False)
        elif card.order.raw == order.frame:
            with self.ledger.begin() as books:
                books.mark_written(order.id)
        else:
            self.unlock(reader, card, rescue)
            self.write_order(reader, card, order)

    def write_order(self, reader: Reader, card: Card, order: Order) -> None:
        """Put the order's frame on the unlocked card, read it back, and book it as written."""
        self.check_same(reader, card)
        reader.write(ORDER_AT, order.frame)
        check_read_back(reader, spliced(card.image, ORDER_AT, order.frame))
        with self.ledger.begin() as books:
            books.mark_written(order.id, order.account)

    def unlock(self, reader: Reader, card: Card, rescue: bool) -> None:
        """Present the card's own password; a last try only for a card that bears nothing forged.

        CARD_SWAPPED, before and after: a stranger put in its place loses no try that could be saved.
        """
        self.check_same(reader, card)
        sure = card.order.authentic and all(report.code != codes.MAC for report in card.reports)
        if not reader.present(self.signer.card_psc(found(card.number)), rescue=rescue and sure):
            raise CardError(
                codes.PASSWORD_REFUSED,
                "The card's data are genuine, but the chip does not take this card's password.",
                "Keep the card: it is a copy, or its password memory is damaged. Issue a replacement card.",
            )
        self.check_same(reader, card)

    def check_same(self, reader: Reader, card: Card) -> None:
        if reader.read(IDENTITY_AT, encode.IDENTITY_SIZE) != card.identity.raw:
            raise CardError(errors.CARD_SWAPPED)

    def issue(self, reader: Reader, card: Card, row: CardRow, order: Order, *, presented: bool) -> None:
        """Make the blank or half-made card in ``reader`` the card ``row`` with ``order`` on it, and book it."""
        for psc_bytes, issued in self.issuing(reader, card, row, order.frame, presented=presented):
            with self.ledger.begin() as books:
                self.mark_issue(books, row, order, psc_bytes, issued)

    def mark_issue(self, books: Books, row: CardRow, order: Order, psc_bytes: int, issued: bool) -> None:
        """Book a step of ``issuing``."""
        books.mark_card(row.number, psc_bytes=psc_bytes, issued=issued)
        if issued:
            books.mark_written(order.id)

    def issuing(
        self, reader: Reader, card: Card, row: CardRow | ToolRow, frames: bytes, *, presented: bool
    ) -> Iterator[tuple[int, bool]]:
        """The steps of ``issue``: each gives what must be booked before the next, password bytes and issued.

        ``frames`` are the bytes from the order's place on: an order, or what a tool card bears there.

        Order, identity, read-back, protection, and the password last. A password byte is announced in the
        ledger before it is written, so that whoever takes over has at most two passwords to choose from,
        and three tries.
        """
        identity = encode.encode_identity(
            region=self.signer.region, card=row.number, kind=row.card_kind, issue_batch=row.issue_batch
        )
        target = spliced(spliced(card.image, ORDER_AT, frames), IDENTITY_AT, identity)
        # A byte cut short on a blank place has cleared some of the bits it should clear, and no others.
        if not _is_half_made(card.image, target):
            raise CardError(errors.CARD_NOT_BLANK)
        own = self.signer.card_psc(row.number)
        passwords = [own[:i] + DEFAULT_PSC[i:] for i in range(4)]
        step = 0
        if not presented:
            marked = card.identity.raw == identity
            step = self._unlock_half_made(reader, card, passwords, row.psc_bytes if marked else 0)
            if row.psc_bytes and not marked:
                yield 0, False
        check_image(reader, card)
        reader.write(ORDER_AT, frames)
        reader.write(IDENTITY_AT, identity)
        check_read_back(reader, target)
        reader.protect(IDENTITY_AT, identity)
        for i in range(step + 1, 4):
            yield i, False
            reader.change_psc(passwords[i])
        # A card must not leave the counter with a password nobody knows: ask it once, from power-up.
        reader.disconnect()
        reader.connect()
        if not reader.present(own):
            raise CardError(errors.READ_BACK_DIFFERS, "The card does not take the password it was given.")
        yield 3, True

    def _unlock_half_made(self, reader: Reader, card: Card, passwords: Sequence[bytes], announced: int) -> int:
        """Present the password announced last, or the one before; how many bytes of it are the card's."""
        candidates = [announced]
        if announced and passwords[announced - 1] != passwords[announced]:
            candidates.append(announced - 1)
        for step in candidates:
            check_image(reader, card)
            if reader.present(passwords[step]):
                return step
        raise CardError(codes.PASSWORD_REFUSED, "", "Repeat it with another blank card.")


def check_state(account: Account) -> None:
    """Whether gas may be sold or given to this account (DOMAIN 3); else LedgerError."""
    if account.state == STOPPED:
        raise LedgerError(errors.ACCOUNT_STOPPED, f"Account {account.number} is stopped.")
    check_not_closed(account)


def check_not_closed(account: Account) -> None:
    if account.state == CLOSED:
        raise LedgerError(errors.ACCOUNT_CLOSED, f"Account {account.number} is closed.")


def no_meter(account: Account) -> LedgerError:
    """Why nothing can be done at an account's meter when it has none: ACCOUNT_CLOSED, or else ACCOUNT_UNKNOWN."""
    if account.state == CLOSED:
        return LedgerError(errors.ACCOUNT_CLOSED, f"Account {account.number} is closed.")
    return LedgerError(
        errors.ACCOUNT_UNKNOWN,
        f"Account {account.number} has no meter now.",
        f"Give it a meter: icgas hall open --account {account.number}; or close it and pay back what is left: "
        f"icgas hall close --account {account.number}.",
    )


def check_not_suspended(books: Books, binding: Binding) -> None:
    """While a meter is under test nothing is sold, and no other meter comes in its place (DOMAIN 1.24)."""
    if any(row.ended_at is None for row in books.suspensions(binding.id)):
        raise LedgerError(errors.SUSPENDED, f"Meter {binding.meter} is under test.")


def check_free(books: Books, binding: Binding, *, ending: bool = True, recovering: bool = False) -> None:
    """As ``Standing.check_free``, with no card there. Without ``ending`` a card that ends the binding may be out; with
    ``recovering`` the account may be recovering.
    """
    check_exchange(books.transfer_of(binding.account), binding.account)
    check_not_suspended(books, binding)
    if not recovering and books.recovery(binding.id) is not None:
        raise LedgerError(errors.RECOVERING, f"Account {binding.account} is recovering.")
    out = books.ending(binding.id) if ending else None
    check_not_ending(None if out is None else out.number, binding.account)


def check_exchange(row: TransferRow | None, account: str) -> None:
    """Between its beginning and the customer's card for the new meter nothing else is done. LedgerError EXCHANGE."""
    if row is None:
        return
    if row.moved_at is None:
        raise LedgerError(errors.EXCHANGE, f"The meter of account {account} is being exchanged.")
    raise LedgerError(
        errors.EXCHANGE,
        f"The meter of account {account} is exchanged, and the customer's card is not for the new one yet.",
        "Write the customer's card: icgas hall exchange card.",
    )


def check_bound(known: Values | None, account: str) -> None:
    """Whether a report shows that the meter is bound: what ends a binding is refused by a meter that never began it.

    CardError OPENING_NOT_LOADED.
    """
    if known is None:
        raise CardError(
            errors.OPENING_NOT_LOADED,
            f"No report shows that the meter of account {account} is bound.",
            "Put the customer's card into the meter and read it back (icgas hall read). If the meter is dead, declare "
            "it dead: icgas hall exchange dead.",
        )


def check_not_ending(tool: int | None, account: str) -> None:
    """An order stays good for a whole binding: none is made while a card is out that may end it. BINDING_ENDS."""
    if tool is not None:
        raise LedgerError(errors.BINDING_ENDS, f"Tool card {tool} is out for the meter of account {account}.")


def unpaid_refund(books: Books, last: Order) -> GrantRow | None:
    """The refund ``last`` is, unless it is paid or cancelled."""
    grant = books.grant_of(last.id) if last.kind == REFUND else None
    return None if grant is None or grant.paid_at is not None or grant.cancelled_at is not None else grant


def check_settled(unpaid: GrantRow | None) -> None:
    """While a refund is unpaid no other order is written (RULES 1, money back); else LedgerError REFUND_UNPAID."""
    if unpaid is not None:
        raise LedgerError(
            errors.REFUND_UNPAID, f"Refund {unpaid.id} of account {unpaid.account} is neither paid nor cancelled."
        )


def check_waiting(books: Books, standing: Standing) -> None:
    """The last order is written and not loaded: whether it may be written over by one that adds gas; else CardError.

    Only a replacement's own order, which adds none, if nothing is held and the meter is known to be bound.
    """
    last = standing.last
    if is_superseded(standing) and standing.known is not None and not standing.held:
        return
    if standing.report_code == codes.MAC:
        raise CardError(codes.MAC, "The card's report was not made by the customer's meter.")
    told = order_told(books, last, standing.meter.pulse_weight)
    if last.sequence == 1 or standing.known is None:
        raise CardError(errors.OPENING_NOT_LOADED, f"The opening card has not been in its meter yet: {told}.")
    if last.kind != REPLACEMENT:
        raise CardError(errors.GAS_ON_CARD, f"The last purchase is still on the card: {told}.")
    if standing.held:
        held = units.volume(standing.held, standing.meter.pulse_weight)
        raise CardError(errors.HELD, f"{held} m³ of account {standing.account.number} are held: {told}.")


def is_superseded(standing: Standing) -> bool:
    """Whether the last order was made with keys its meter has no more: it is never loaded, the next one says it all."""
    last = standing.last
    if last.state != WRITTEN or not last.frame:
        return False
    return bool(encode.decode_order(last.frame)["key_version"] != standing.meter.key_version)


def check_fen(fen: int | None) -> None:
    if fen is not None and (isinstance(fen, bool) or not isinstance(fen, int) or not 0 <= fen <= units.FEN_MOST):
        raise RequestError(
            errors.AMOUNT,
            f"{units.shown(fen)} is no sum of money in fen.",
            "Give whole fen, 0 or more, or None for no money.",
        )


def replaced_told(books: Books, card: int) -> CardError:
    """What is said of a card that was replaced."""
    place = found(books.place(card))
    present = found(books.card_of(place.account.number))
    return CardError(
        codes.REPLACED,
        f"Card {card} of account {place.account.number} was replaced by card {present.number}.",
        "Take the old card back (icgas hall take-back); the customer uses the new one."
        if place.card.ended is None
        else "It was taken back before: keep it or cut it up; the customer uses the new one.",
    )


def check_reader(reader: Reader) -> None:
    if not isinstance(reader, Reader):
        raise RequestError(errors.FIELD, f"{reader!r} is no card reader.", "Give a Reader, such as FileReader(path).")


def card_words(kind: int | None) -> str:
    """What a card of that kind is called."""
    known = None if kind is None else CARD_KINDS.get(kind)
    return f"card of kind {kind}" if known is None else known[1]


def check_ours(card: Card) -> None:
    """Whether the card is a readable customer card of this region; else the CardError that says why not."""
    if not card.identity.written:
        if card.blank:
            raise CardError(errors.CARD_BLANK)
        raise CardError(codes.NOT_OURS)
    for code in (card.identity.code, card.region_code):
        if code:
            raise CardError(code)
    if card.identity.kind != records.CARD_CUSTOMER:
        raise CardError(
            codes.KIND,
            f"This is a {card_words(card.identity.kind)} of the company, no customer's card.",
            "Insert the customer's card. This one is read by icgas hall tool read, a transfer card by exchange read.",
        )


def _check_order(
    order: Part, binding: Binding, last: Order, reading: bool, adopting: bool = False, settled: bool = False
) -> None:
    """The card's order against the ledger's last; while that is pending, whatever is not ahead will do.

    So will an older one of the same binding once it is ``settled`` by a dead meter's closing index: the order for the
    new meter comes in its place.
    """
    if order.raw == last.frame and order.authentic:
        return
    if not order.authentic:
        if reading and order.code == codes.MAC:
            raise CardError(codes.MAC, "The card's order was not made by this hall's key.")
        if last.state == PENDING or settled or (reading and order.code in (codes.SHAPE, codes.CRC)):
            return
        raise CardError(order.code if order.written else errors.ORDER_MISSING)
    values = found(order.values)
    if values["meter"] != binding.meter:
        if last.kind == TRANSFER or (last.kind == EXCHANGE and last.state == PENDING):
            return  # an order for the meter before: the new one's is still to be written
        raise CardError(codes.METER, f"The card's order is for meter {values['meter']}, not {binding.meter}.")
    place = values["binding"], values["sequence"]
    known = binding.number, last.sequence
    if adopting and place[0] == known[0] and place > known:
        return
    if place > known:
        raise LedgerError(
            errors.LEDGER_BEHIND,
            f"The card bears order {place[1]} of binding {place[0]}, the ledger {known[1]} of {known[0]}.",
        )
    if place == known:
        raise CardError(codes.SEQUENCE_CONFLICT)
    if last.state != PENDING and not (settled and place[0] == known[0]):
        raise CardError(
            codes.OLDER if place[0] == known[0] else codes.BINDING,
            f"The card bears order {place[1]} of binding {place[0]}; the account's last is {known[1]} of {known[0]}.",
            "Look for the account's other card or an unfinished window; else replace the card.",
        )


def newest_report(reports: Sequence[Part], meter: str, binding: int) -> tuple[Part | None, int]:
    """The newest authentic report of this meter and binding, or None and why (OK: none was written)."""
    best: Part | None = None
    reasons = []
    for part in reports:
        if not part.written:
            continue
        if not part.authentic:
            reasons.append(part.code)
            continue
        values = found(part.values)
        if values["meter"] != meter:
            reasons.append(codes.METER)
        elif values["binding"] > binding:
            raise LedgerError(
                errors.LEDGER_BEHIND,
                f"The meter reports binding {values['binding']}; the ledger knows {binding}.",
            )
        elif values["binding"] < binding:
            reasons.append(errors.REPORT_OLDER)
        elif best is None or report_rank(part) > report_rank(best):
            best = part
    if best is not None or not reasons:
        return best, codes.OK
    return None, codes.MAC if codes.MAC in reasons else reasons[0]


def is_ahead(books: Books, binding: Binding, last: Order, report: Values) -> bool:
    """Whether a report tells of more than the ledger ever booked."""
    if report["sequence"] > last.sequence or report["bought_total"] > last.released_pulses:
        # After a refund or a replacement an earlier frame's total may be more than the last one's.
        highest = books.highest_released(binding.id, report["sequence"])
        return bool(report["sequence"] > last.sequence or report["bought_total"] > highest)
    return False


def check_blank(card: Card, reader: Reader) -> None:
    """Whether nothing of ours stands on the card and the identity's place can still be written."""
    if any(card.image[i] != 0xFF for i in _places()):
        raise CardError(errors.CARD_NOT_BLANK)
    writable = (1 << encode.IDENTITY_SIZE) - 1
    if int.from_bytes(reader.protection(), "little") >> IDENTITY_AT & writable != writable:
        raise CardError(errors.CARD_NOT_BLANK)


def check_image(reader: Reader, card: Card) -> None:
    """Whether the card in the reader is still the one that was read: one half made has no identity to know it by."""
    if reader.read(0, IMAGE_SIZE) != card.image:
        raise CardError(errors.CARD_SWAPPED)


def _is_half_made(image: bytes, target: bytes) -> bool:
    """Whether every byte we write is blank, or on its way to what it shall be; the maker's are not ours."""
    return all(image[i] & target[i] == target[i] for i in _places())


def _places() -> Iterator[int]:
    yield from range(IDENTITY_AT, IDENTITY_AT + encode.IDENTITY_SIZE)
    yield from range(ORDER_AT, IMAGE_SIZE)


def check_read_back(reader: Reader, expected: bytes) -> None:
    actual = reader.read(0, IMAGE_SIZE)
    if actual != expected:
        wrong = [f"{i:#04x}" for i in range(IMAGE_SIZE) if actual[i] != expected[i]]
        raise CardError(errors.READ_BACK_DIFFERS, f"The card differs from what was written at {', '.join(wrong)}.")


def order_told(books: Books, order: Order, weight: int) -> str:
    """Which order this is, for what money, and where: so that a clerk knows his own when he repeats what he finished.

    The money tells it from an older one of the same volume for another price, agreed or of another day.
    """
    where = {
        PENDING: "is not finished",
        WRITTEN: f"is on card {order.card}, not yet loaded",
        DONE: f"was loaded from card {order.card}",
    }[order.state]
    made = units.stamp(books.moment(order.made_at))
    what = "" if order.kind is None else f", a {order.kind},"
    return f"order {order.sequence}{what} over {amount_told(order, weight)} of {made} {where}"


def amount_told(order: Order, weight: int) -> str:
    """An order's gas, and its money where it has any."""
    money = "" if order.fen is None else f" for {units.yuan(order.fen)} yuan"
    return f"{units.volume(amount_of(order), weight)} m³{money}"


def amount_of(order: Order) -> int:
    """The pulses an order is over, as its frame shows them: of held gas made up, more than it adds to what is paid."""
    return order.paid_pulses if order.kind is None else int(encode.decode_order(order.frame)["amount"])


def sale_of(binding: Binding, order: Order, weight: int, *, resumed: bool, state: str | None = None) -> Sale:
    """An order as its service tells of it; ``state`` is the order's since its row was read, if that is another."""
    return Sale(
        account=binding.account,
        meter=binding.meter,
        card=order.card,
        sequence=order.sequence,
        volume=units.volume(order.paid_pulses, weight),
        pulses=order.paid_pulses,
        bought_total=order.released_pulses,
        fen=order.fen,
        state=order.state if state is None else state,
        resumed=resumed,
        price=None if order.price is None else units.price_fen(order.price),
        kind=order.kind,
    )


def spliced(image: bytes, at: int, data: bytes) -> bytes:
    return image[:at] + data + image[at + len(data) :]


def kept_report(kept: ReportRow) -> Values:
    try:
        return encode.decode_report(kept.frame)
    except GasError as error:
        raise LedgerError(
            errors.LEDGER,
            f"The ledger is damaged: reports.frame of meter {kept.meter} holds no report ({error.name}).",
        ) from error


def correction_total(last: Order, report: Values | None) -> int:
    """The corrections of a binding by its last order, or by its newest report where that is as new (signed pulses)."""
    if report is not None and report["sequence"] >= last.sequence:
        return int(report["correction_total"])
    return last.correction or 0


def found(row: Any) -> Any:
    """What foreign keys and earlier checks guarantee to be there."""
    if row is None:
        raise LedgerError(errors.LEDGER, "The ledger contradicts itself: a row that must exist is missing.")
    return row
