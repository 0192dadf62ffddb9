"""What the counter does: open an account, sell, read a card back, reconcile a meter with its index.

Each service reads and judges the card first, then writes the ledger, then the card, then the ledger again
(DESIGN D5), so that it may die anywhere: whoever repeats it finishes the order that was begun and never
makes it twice. The card's password is presented before the row is made, as the meter presents it before it
journals: a chip that refuses it leaves nothing behind. Rules: RULES 1 (settling, ledger behind, last try),
DOMAIN 3.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from gascard import codes, records
from gascard.chip import DEFAULT_PSC
from gascard.records import IDENTITY_AT, IMAGE_SIZE, ORDER_AT, S24_MAX, SEQUENCE_MAX, TOTAL_MAX
from gashall import encode, errors, limits, prices, shifts, stock, units
from gashall.audit import Audit, audit
from gashall.encode import Card, Part, Values, decode_card, report_rank
from gashall.errors import CardError, GasError, LedgerError, RequestError
from gashall.history import History, history
from gashall.ledger import (
    DONE,
    PENDING,
    WRITTEN,
    Account,
    Binding,
    Books,
    CardRow,
    Clock,
    Ledger,
    MeterRow,
    Order,
    ReportRow,
)
from gashall.limits import Limits
from gashall.prices import Price
from gashall.readers.base import Reader
from gashall.shifts import Shift
from gashall.signer import KeyFileSigner, Signer
from gashall.stock import Stock
from gashall.units import Volume

LEDGER_FILE = "ledger.db"
NAME_MOST = 200


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
    """m³ released that no report shows loaded."""
    damaged: tuple[str, ...]
    """Parts of the card that are written but not whole; harmless if a report is given all the same."""


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
    corrections: int
    """Signed sum of corrections the meter has taken; less what was sold by so much."""

    @property
    def difference(self) -> int:
        """Sold less used, left, on the card and corrected: 0, or the meter's drift against its index."""
        return self.sold - self.used_by_index - self.left_on_meter - self.on_card - self.corrections

    def rows(self) -> list[tuple[str, Decimal]]:
        """The figures in m³, each with its words, in the order a person adds them up."""
        figures = [
            ("sold", self.sold),
            ("used by the index", self.used_by_index),
            ("left on the meter", self.left_on_meter),
            ("on the card", self.on_card),
        ]
        if self.corrections:
            figures.append(("corrected", self.corrections))
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


@dataclass(frozen=True, slots=True)
class _Opening:
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


@dataclass(frozen=True, slots=True)
class _Terms:
    """On which terms an order is made: money in fen, the price that was computed from in hundredths of a fen, shift."""

    fen: int | None
    price: int | None
    shift: int | None
    now: int
    """The minute it was judged by, which the order bears."""
    uses_stock: bool = False
    """Whether the card is one of the blank cards that are counted."""


@dataclass(frozen=True, slots=True)
class _Standing:
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


class Hall:
    """The services over one ledger and one signer. A hall may have many windows: each its own ``Hall``."""

    def __init__(self, ledger: Ledger, signer: Signer, clock: Clock | None = None) -> None:
        """``clock`` gives the time as an aware datetime; the computer's own if not given.

        LedgerError LEDGER_KEY, and the ledger closed, if it was made with another root than the signer's.
        """
        if clock is not None:
            ledger.clock = clock
        self.ledger = ledger
        try:
            ledger.check_root(signer.ledger_check())
        except LedgerError:
            ledger.close()
            raise
        self._signer = signer
        self._clock = clock if clock is not None else lambda: datetime.now(UTC)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        keyfile: str | os.PathLike[str],
        clock: Clock | None = None,
        *,
        create: bool = False,
    ) -> "Hall":
        """A hall on a key file and a ledger; ``path`` is a folder (its ``ledger.db``), a file or a URL.

        A ledger that is not there is made only if ``create`` is true: a mistyped path is no new ledger. GasError
        KEY_FILE; LedgerError LEDGER, LEDGER_MISSING, LEDGER_REGION, LEDGER_VERSION or LEDGER_KEY.
        """
        signer = KeyFileSigner.load(keyfile)
        place = Path(path) / LEDGER_FILE if os.path.isdir(path) else path
        return cls(Ledger(place, signer.region, create=create, clock=clock), signer, clock)

    def close(self) -> None:
        """Give the ledger's handles back."""
        self.ledger.close()

    def open_account(
        self,
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
        """Open an account for ``meter`` and issue the blank card in ``reader`` as its opening card (开户).

        ``volume`` m³ is the first gas (0 for none). ``initial_reading``, ``alarm``, ``ceiling`` and
        ``overdraft`` are m³, ``wheel_digits`` the counter's digits before the decimal point, ``fen`` the
        money taken: as for ``sell``. Repeated after it failed or died, with the same particulars and that card
        or another blank one, it is finished.

        Raises RequestError (anything impossible, nothing written; PRICE_DIFFERS, OVER_LIMIT); LedgerError
        ALREADY_BOUND, OPENING_DIFFERS, SHIFT_MISSING or STOCK_SHORT; CardError CARD_NOT_BLANK, PASSWORD_REFUSED,
        CARD_DEAD, LAST_TRY, READ_BACK_DIFFERS; ReaderError.
        """
        _check_reader(reader)
        request = _check_opening(
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
            card = self._read(reader)
            with self.ledger.begin() as books:
                begun = self._begun_opening(books, request)
                if begun is None:
                    self._opening_terms(books, request)
                elif card.number == begun[0].number:
                    standing = self._judge(books, card)
                    self._keep(books, standing)
                    if standing.last.state == DONE:
                        return _sale(standing.binding, standing.last, request.meter.pulse_weight, resumed=True)
            if begun is None:
                _check_blank(card, reader)
                _check_image(reader, card)
                if not reader.present(DEFAULT_PSC):
                    raise CardError(
                        codes.PASSWORD_REFUSED,
                        "The card looks blank but does not take the maker's password.",
                        "Take another card from stock; put this one aside for a card check.",
                    )
                with self.ledger.begin() as books:
                    row, binding, order = self._book_opening(books, request)
            else:
                row, binding, order = begun
            self._issue(reader, card, row, order, presented=begun is None)
        return _sale(binding, replace(order, state=WRITTEN), request.meter.pulse_weight, resumed=begun is not None)

    def sell(
        self,
        reader: Reader,
        volume: Volume,
        *,
        fen: int | None = None,
        price_agreed: bool = False,
        rescue: bool = False,
    ) -> Sale:
        """Sell ``volume`` m³ to the customer whose card is in ``reader`` (购气); ``fen`` is the money taken.

        While a price is in force ``fen`` may be left out and is computed; another sum than that is PRICE_DIFFERS,
        unless ``price_agreed`` says that it is meant. An unfinished order of the account is finished first, for the
        money it was made for: if it is of the same volume and money it is this sale, else ORDER_FINISHED says what was
        done and nothing is sold. ``rescue`` spends a card's last password try, if everything on the card is authentic.

        Raises RequestError for an amount that cannot be sold, OVER_LIMIT or PRICE_DIFFERS; CardError for a card that
        is not ours, damaged, forged, swapped or dead, or on which gas is still waiting (GAS_ON_CARD,
        OPENING_NOT_LOADED); LedgerError LEDGER_BEHIND, PENDING_ELSEWHERE, SHIFT_MISSING; ReaderError. Nothing is
        written before all of it is judged.
        """
        _check_reader(reader)
        with reader:
            card = self._read(reader)
            refusal: GasError | None = None
            with self.ledger.begin() as books:
                standing = self._judge(books, card)
                begun = standing.last if standing.last.state == PENDING else None
                if begun is None:
                    try:
                        count = self._next_order(standing, volume, fen)
                        self._terms(books, standing.account.number, count, standing.meter, fen, price_agreed)
                    except GasError as error:
                        refusal = error
                if begun is not None or refusal is not None:
                    self._keep(books, standing)
            if refusal is not None:
                raise refusal
            if begun is not None:
                self._finish(reader, standing, begun, rescue)
                return _resumed(standing, begun, volume, fen)
            self._unlock(reader, card, rescue)
            with self.ledger.begin() as books:
                standing = self._judge(books, card)
                if standing.last.state == PENDING:
                    raise LedgerError(errors.PENDING_ELSEWHERE)
                count = self._next_order(standing, volume, fen)
                terms = self._terms(books, standing.account.number, count, standing.meter, fen, price_agreed)
                order = self._book(books, standing, count, terms)
            self._write_order(reader, card, order)
        return _sale(standing.binding, replace(order, state=WRITTEN), standing.meter.pulse_weight, resumed=False)

    def read_back(self, reader: Reader) -> ReadBack:
        """Read the card in ``reader`` and take its report into the ledger; nothing is written to the card.

        An order that is merely damaged does no harm beside an authentic report. Raises CardError for a card that
        is not ours or otherwise damaged, MAC for one that bears a forged order or no report but forged ones,
        REPORT_OLDER (the report moved nothing); LedgerError LEDGER_BEHIND; ReaderError.
        """
        _check_reader(reader)
        with reader:
            card = self._read(reader)
        with self.ledger.begin() as books:
            standing = self._judge(books, card, reading=True)
            self._keep(books, standing)
            last = standing.last
            if last.state == PENDING and standing.row.issued and card.order.raw == last.frame:
                books.mark_written(last.id)
                last = replace(last, state=WRITTEN)
        order_code = codes.OK if last.state == PENDING else standing.card.order.code
        if standing.report is None and (standing.report_code or order_code):
            raise CardError(standing.report_code or order_code)
        weight = standing.meter.pulse_weight
        report = None if standing.report is None else standing.report.values
        loaded = 0 if report is None else report["bought_total"]
        return ReadBack(
            account=standing.account.number,
            meter=standing.meter.number,
            card=standing.row.number,
            report=report,
            state=last.state,
            remaining=None if report is None else units.volume(encode.remaining(report), weight),
            on_card=units.volume(last.released_pulses - loaded, weight),
            damaged=tuple(part.name for part in standing.card.parts if part.written and not part.whole),
        )

    def reconcile(self, account: str, closing_reading: Volume | None = None) -> Reconciliation:
        """Compare what was released to ``account`` with its meter's index.

        ``closing_reading`` is the index in m³, read off the meter when it wrote its newest report; the
        report's own figure if not given. What was sold since is on the card.

        Raises RequestError; LedgerError ACCOUNT_UNKNOWN; CardError REPORT_MISSING.
        """
        units.account_number(account)
        with self.ledger.begin() as books:
            binding = books.binding_of(account)
            if binding is None:
                raise LedgerError(errors.ACCOUNT_UNKNOWN, f"There is no open account {account}.")
            meter, last, kept = (
                _found(books.meter(binding.meter)),
                _found(books.last_order(binding.id)),
                books.last_report(binding.meter),
            )
        if kept is None or kept.binding != binding.number:
            raise CardError(errors.REPORT_MISSING)
        report = _kept_report(kept)
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
            sold=last.released_pulses,
            used_by_index=used,
            left_on_meter=encode.remaining(report),
            on_card=last.released_pulses - report["bought_total"],
            corrections=report["correction_total"],
        )

    def set_price(self, valid_from: datetime | None, fen_per_cubic_metre: Decimal | int | str) -> Price:
        """One m³ costs ``fen_per_cubic_metre`` (at most two decimals of a fen) from ``valid_from`` on; None: from now.

        A price holds from a whole minute until the next one begins. One that is still to come is corrected by setting
        another for its minute. What was sold keeps its money. RequestError PRICE_PAST, AMOUNT, or FIELD for a time
        without a zone; LedgerError.
        """
        return prices.set_price(self.ledger, valid_from, fen_per_cubic_metre, self._now())

    def prices(self) -> list[Price]:
        """The whole price list by the minutes from which prices hold; of two for one minute the later one holds."""
        with self.ledger.look() as books:
            return [prices.of_row(row) for row in books.prices()]

    def price(self, at: datetime | None = None) -> Decimal | None:
        """What one m³ costs at ``at`` in fen, by today's list; now if not given. None if no price is in force then."""
        with self.ledger.look() as books:
            row = books.price(self._now() if at is None else units.minutes(at))
        return None if row is None else units.price_fen(row.price)

    def cost(self, volume: Volume, at: datetime | None = None) -> int:
        """What ``volume`` m³ (at most two decimals) cost at ``at``, now if not given, in fen.

        Volume times price is exact and rounded once, half up to the fen. RequestError; LedgerError PRICE_MISSING.
        """
        count = units.pulses(volume, 2, most=TOTAL_MAX * 100)
        moment = self._now() if at is None else units.minutes(at)
        with self.ledger.look() as books:
            row = books.price(moment)
        if row is None:
            raise LedgerError(
                errors.PRICE_MISSING, f"No price is in force at {units.moment(moment):%Y-%m-%d %H:%M} UTC."
            )
        return units.cost(count, 2, row.price)

    def limits(self) -> Limits:
        """How much a customer may buy at once, in a day and in a month."""
        return limits.limits(self.ledger, self._now())

    def set_limits(self, *, utc_offset: int | None = None, **most: Volume | None) -> Limits:
        """Set ``purchase``, ``day`` and ``month``, each the most m³ a customer may buy, or None for no limit.

        What is not given stays. Days and months begin at midnight ``utc_offset`` minutes east of UTC, 480 until it is
        set. The first gas of an opening counts too; an order begun earlier is finished whatever the limits say now.
        RequestError; LedgerError.
        """
        limits.set_limits(self.ledger, most, utc_offset)
        return self.limits()

    def open_shift(self, clerk: str) -> Shift:
        """``clerk`` takes the counter over: every order made from now on carries this shift.

        From the first shift on nothing is sold without one. RequestError FIELD; LedgerError SHIFT_OPEN.
        """
        return shifts.open_shift(self.ledger, clerk, self._now())

    def close_shift(self, cash: int, *, cards: int | None = None, differs: str | None = None) -> Shift:
        """Close the open shift with ``cash``, the fen counted; what its orders came to must be the same.

        Once stock is booked the blank cards left are counted too, ``cards``, must agree and go back to the store.
        Else LedgerError SHIFT_DIFFERS names each difference and the shift stays open, unless ``differs`` says why: that
        is kept. A reason for no difference, and cards not counted, are RequestError FIELD. LedgerError SHIFT_MISSING.
        """
        return shifts.close_shift(self.ledger, cash, cards, differs, self._now())

    def shift(self, number: int | None = None) -> Shift:
        """A shift by its number, or the last one, open or closed. RequestError FIELD; LedgerError SHIFT_MISSING."""
        return shifts.shift(self.ledger, number)

    def stock(self) -> Stock:
        """Where the blank cards are, and what became of the others."""
        return stock.stock(self.ledger, self._now())

    def stock_in(self, count: int) -> Stock:
        """``count`` blank cards were delivered to the store. From the first on, issuing a card uses one.

        RequestError FIELD; LedgerError.
        """
        return stock.move(self.ledger, stock.IN, count, self._now())

    def stock_out(self, count: int) -> Stock:
        """``count`` blank cards are handed out of the store to the open shift.

        RequestError FIELD; LedgerError SHIFT_MISSING, STOCK_SHORT.
        """
        return stock.move(self.ledger, stock.OUT, count, self._now())

    def stock_spoiled(self, count: int, *, reason: str | None = None) -> Stock:
        """``count`` blank cards are of no use: the open shift's, or the store's if none is open.

        RequestError FIELD; LedgerError STOCK_SHORT.
        """
        return stock.move(self.ledger, stock.SPOILED, count, self._now(), reason)

    def audit(self, head: str | None = None) -> Audit:
        """Check the journal's chain, and every cell of every table against it; nothing is changed.

        ``head`` is the hash an earlier audit gave, 64 hexadecimal digits: it must still be in the journal. Windows may
        go on selling. RequestError FIELD for a malformed head; LedgerError LEDGER if the ledger cannot be read.
        """
        return audit(self.ledger, head)

    def history(self, account: str) -> History:
        """All the ledger knows of ``account``, at one moment. RequestError; LedgerError ACCOUNT_UNKNOWN."""
        units.account_number(account)
        return history(self.ledger, account)

    def backup(self, path: str | os.PathLike[str]) -> Audit:
        """Copy the ledger's file to the new file ``path`` (rights 0600) and audit the copy; windows may go on selling.

        What the audit found is in the answer, and the copy stays: it is what the ledger is. LedgerError LEDGER if the
        ledger is no SQLite file, or ``path`` exists or cannot be written.
        """
        with self.ledger.look() as books:
            last, head = books.head()
        self.ledger.copy_to(path)
        copy = Ledger(path, self.ledger.region, create=False)
        try:
            return audit(copy, head.hex() if last else None)
        finally:
            copy.close()
            Ledger.settle(path)

    # What stands on the card.

    def _read(self, reader: Reader) -> Card:
        return decode_card(reader.read(0, IMAGE_SIZE), self._signer)

    def _judge(self, books: Books, card: Card, *, reading: bool = False) -> _Standing:
        """Who this card is, and what it and its report say against the ledger. Writes nothing.

        ``reading`` lets a damaged order pass, since nothing will be put in its place, and no forged one.
        """
        _check_ours(card)
        place = books.place(_found(card.number))
        if place is None:
            raise CardError(errors.CARD_UNKNOWN, f"The ledger has no card {card.number}.")
        if place.replaced:
            raise CardError(codes.REPLACED)
        row, account, binding, meter = place.card, place.account, place.binding, place.meter
        if binding is None or meter is None:
            raise LedgerError(errors.ACCOUNT_UNKNOWN, f"Account {row.account} has no meter.")
        last: Order = _found(books.last_order(binding.id))
        # Once more with the ledger's key version, if the order on the card names another or, torn, none.
        if card.order.values is None or card.order.values["key_version"] != meter.key_version:
            card = decode_card(card.image, self._signer, key_version=meter.key_version)
        _check_order(card.order, binding, last, reading)
        report, code = _newest_report(card.reports, meter.number, binding.number)
        news = False
        kept = books.last_report(meter.number)
        rank = (0, 0) if kept is None else (kept.binding, kept.report_number)
        if report is not None:
            values = _found(report.values)
            if values["sequence"] > last.sequence or values["bought_total"] > last.released_pulses:
                raise LedgerError(
                    errors.LEDGER_BEHIND,
                    f"The meter reports order {values['sequence']} and {values['bought_total']} pulses; "
                    f"the ledger knows {last.sequence} and {last.released_pulses}.",
                )
            if report_rank(report) < rank:
                report, code = None, errors.REPORT_OLDER
            else:
                news = report_rank(report) > rank
                if values["sequence"] >= last.sequence and values["bought_total"] >= last.released_pulses:
                    last = replace(last, state=DONE)
        known = None if report is None else report.values
        if known is None and kept is not None and kept.binding == binding.number:
            known = _kept_report(kept)
        return _Standing(card, row, account, binding, meter, last, report, news, code, known)

    def _keep(self, books: Books, standing: _Standing) -> None:
        """Book what the card's report proves."""
        if standing.report is None or not standing.report_is_news:
            return
        values = _found(standing.report.values)
        books.keep_report(
            ReportRow(
                standing.meter.number,
                values["binding"],
                values["report_number"],
                standing.row.number,
                standing.report.raw,
                self._now(),
            ),
            standing.account.number,
        )
        books.mark_done(standing.binding.id, values["sequence"], values["bought_total"])

    # Orders.

    def _next_order(self, standing: _Standing, volume: Volume, fen: int | None) -> int:
        """The pulses of a sale that may be made now; else the error that says why not."""
        weight = standing.meter.pulse_weight
        count = units.pulses(volume, weight, least=1, most=S24_MAX)
        _check_fen(fen)
        last = standing.last
        if last.state == WRITTEN:
            if standing.report_code == codes.MAC:
                raise CardError(codes.MAC, "The card's report was not made by the customer's meter.")
            told = _told(last, weight)
            if last.sequence == 1:
                raise CardError(errors.OPENING_NOT_LOADED, f"The opening card has not been in its meter yet: {told}.")
            raise CardError(errors.GAS_ON_CARD, f"The last purchase is still on the card: {told}.")
        if last.sequence >= SEQUENCE_MAX:
            raise LedgerError(codes.NUMBER_USED_UP, "This binding has had all the orders it can have.")
        if last.released_pulses + count > TOTAL_MAX:
            raise RequestError(
                codes.RANGE,
                f"With {units.volume(count, weight)} m³ more the bought total would pass "
                f"{units.volume(TOTAL_MAX, weight)} m³.",
            )
        known = standing.known
        if known is not None:
            # The meter's rule (RULES 1, "range"): its register must not end before its gas does.
            left = encode.remaining(known) + last.released_pulses - known["bought_total"]
            free = TOTAL_MAX - known["register"] - left
            if count > free:
                raise RequestError(
                    codes.RANGE,
                    f"With {units.volume(count, weight)} m³ more the meter's register would end before its gas.",
                    f"Sell at most {units.volume(max(free, 0), weight)} m³; then the meter is to be exchanged.",
                )
        return count

    def _terms(
        self, books: Books, account: str, count: int, meter: MeterRow, fen: int | None, price_agreed: bool
    ) -> _Terms:
        """On which terms ``count`` pulses may be sold to ``account`` now; else the error that says why not."""
        now, weight = self._now(), meter.pulse_weight
        rules = books.rules(now)
        shift = shifts.check(rules)
        limits.check(books, rules, account, count * 10 ** (2 - weight), now)
        return _Terms(*prices.money(count, weight, rules.price, fen, price_agreed), shift, now)

    def _opening_terms(self, books: Books, request: _Opening) -> _Terms:
        account = request.account or ""
        terms = self._terms(books, account, request.pulses, request.meter, request.fen, request.price_agreed)
        return replace(terms, uses_stock=stock.check(books, terms.shift))

    def _book(self, books: Books, standing: _Standing, count: int, terms: _Terms) -> Order:
        self._keep(books, standing)
        last = standing.last
        return self._add_order(
            books,
            standing.binding,
            standing.meter,
            standing.row,
            kind=records.ORDER_USER,
            sequence=last.sequence + 1,
            count=count,
            released=last.released_pulses + count,
            fen=terms.fen,
            price=terms.price,
            shift=terms.shift,
            now=terms.now,
            flags=0,
        )

    def _add_order(
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
    ) -> Order:
        values = {
            "meter": meter.number,
            "account": binding.account,
            "binding": binding.number,
            "replacement": card.replacement,
            "key_version": meter.key_version,
            "sequence": sequence,
            "bought_total": released,
            "amount": count,
            "correction_total": 0,
            "pulse_weight": meter.pulse_weight,
            "alarm": binding.alarm,
            "ceiling": binding.ceiling,
            "overdraft": binding.overdraft,
            "over_flow_seconds": binding.over_flow_seconds,
            "time": now,
            "flags": flags,
        }
        frame = encode.encode_order(self._signer, card.number, values, kind)
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
        )

    def _finish(self, reader: Reader, standing: _Standing, order: Order, rescue: bool) -> None:
        """Bring a begun order to its end: the same frame, whatever the card says (RULES 1, settling)."""
        card = standing.card
        if order.sequence == 1 and not standing.row.issued:
            self._issue(reader, card, standing.row, order, presented=False)
        elif card.order.raw == order.frame:
            with self.ledger.begin() as books:
                books.mark_written(order.id)
        else:
            self._unlock(reader, card, rescue)
            self._write_order(reader, card, order)

    def _write_order(self, reader: Reader, card: Card, order: Order) -> None:
        """Put the order's frame on the unlocked card, read it back, and book it as written."""
        self._check_same(reader, card)
        reader.write(ORDER_AT, order.frame)
        _check_read_back(reader, _with(card.image, ORDER_AT, order.frame))
        with self.ledger.begin() as books:
            books.mark_written(order.id)

    def _unlock(self, reader: Reader, card: Card, rescue: bool) -> None:
        """Present the card's own password; a last try only for a card that bears nothing forged.

        CARD_SWAPPED, before and after: a stranger put in its place loses no try that could be saved.
        """
        self._check_same(reader, card)
        sure = card.order.authentic and all(report.code != codes.MAC for report in card.reports)
        if not reader.present(self._signer.card_psc(_found(card.number)), rescue=rescue and sure):
            raise CardError(
                codes.PASSWORD_REFUSED,
                "The card's data are genuine, but the chip does not take this card's password.",
                "Keep the card: it is a copy, or its password memory is damaged. Issue a replacement card.",
            )
        self._check_same(reader, card)

    def _check_same(self, reader: Reader, card: Card) -> None:
        if reader.read(IDENTITY_AT, encode.IDENTITY_SIZE) != card.identity.raw:
            raise CardError(errors.CARD_SWAPPED)

    # Opening.

    def _begun_opening(self, books: Books, request: _Opening) -> tuple[CardRow, Binding, Order] | None:
        """The unfinished opening of this meter, None if the meter is free. Else LedgerError."""
        number = request.meter.number
        known = books.meter(number)
        if known is not None and known.pulse_weight != request.meter.pulse_weight:
            raise RequestError(codes.WEIGHT, f"Meter {number} is booked with a pulse weight of {known.pulse_weight}.")
        binding = books.binding_on(number)
        if binding is None:
            if request.account is not None and books.account(request.account) is not None:
                raise LedgerError(codes.ALREADY_BOUND, f"There is an account {request.account} already.")
            return None
        order, row = _found(books.last_order(binding.id)), _found(books.card_of(binding.account))
        if order.state != PENDING or row.issued:
            told = _told(order, request.meter.pulse_weight)
            raise LedgerError(codes.ALREADY_BOUND, f"Meter {number} belongs to account {binding.account}: {told}.")
        account = _found(books.account(binding.account))
        begun = _Opening(
            meter=replace(_found(known), highest_binding=0),
            name=account.name,
            account=None if request.account is None else account.number,
            pulses=order.paid_pulses,
            # What the price list said when it was begun is the money, whatever it says now.
            fen=None if request.fen is None and order.price is not None else order.fen,
            price_agreed=request.price_agreed,
            initial_reading=binding.initial_reading,
            parameters={name: getattr(binding, name) for name in request.parameters},
            issue_batch=row.issue_batch,
        )
        if begun != request:
            raise LedgerError(errors.OPENING_DIFFERS)
        return row, binding, order

    def _book_opening(self, books: Books, request: _Opening) -> tuple[CardRow, Binding, Order]:
        if self._begun_opening(books, request) is not None:
            raise LedgerError(errors.PENDING_ELSEWHERE)
        terms = self._opening_terms(books, request)
        meter = books.meter(request.meter.number)
        if meter is None:
            meter = request.meter
            books.add_meter(meter)
        account = books.add_account(request.name, self._now(), request.account)
        binding = books.bind(meter, account.number, request.initial_reading, request.parameters)
        row = books.add_card(account.number, request.issue_batch)
        if terms.uses_stock:
            books.move_stock(stock.USED, 1, at=terms.now, shift=terms.shift, card=row.number, account=account.number)
        order = self._add_order(
            books,
            binding,
            meter,
            row,
            kind=records.ORDER_OPENING,
            sequence=1,
            count=request.pulses,
            released=request.pulses,
            fen=terms.fen,
            price=terms.price,
            shift=terms.shift,
            now=terms.now,
            flags=records.FLAG_PARAMETERS,
        )
        return row, binding, order

    def _issue(self, reader: Reader, card: Card, row: CardRow, order: Order, *, presented: bool) -> None:
        """Make the blank or half-made card in ``reader`` the card ``row`` with ``order`` on it, and book it.

        Order, identity, read-back, protection, and the password last. A password byte is announced in the
        ledger before it is written, so that whoever takes over has at most two passwords to choose from,
        and three tries.
        """
        identity = encode.encode_identity(region=self._signer.region, card=row.number, issue_batch=row.issue_batch)
        target = _with(_with(card.image, ORDER_AT, order.frame), IDENTITY_AT, identity)
        # A byte cut short on a blank place has cleared some of the bits it should clear, and no others.
        if not _is_half_made(card.image, target):
            raise CardError(errors.CARD_NOT_BLANK)
        own = self._signer.card_psc(row.number)
        passwords = [own[:i] + DEFAULT_PSC[i:] for i in range(4)]
        step = 0
        if not presented:
            marked = card.identity.raw == identity
            step = self._unlock_half_made(reader, card, passwords, row.psc_bytes if marked else 0)
            if row.psc_bytes and not marked:
                with self.ledger.begin() as books:
                    books.mark_card(row.number, psc_bytes=0, issued=False)
        _check_image(reader, card)
        reader.write(ORDER_AT, order.frame)
        reader.write(IDENTITY_AT, identity)
        _check_read_back(reader, target)
        reader.protect(IDENTITY_AT, identity)
        for i in range(step + 1, 4):
            with self.ledger.begin() as books:
                books.mark_card(row.number, psc_bytes=i, issued=False)
            reader.change_psc(passwords[i])
        # A card must not leave the counter with a password nobody knows: ask it once, from power-up.
        reader.disconnect()
        reader.connect()
        if not reader.present(own):
            raise CardError(errors.READ_BACK_DIFFERS, "The card does not take the password it was given.")
        with self.ledger.begin() as books:
            books.mark_card(row.number, psc_bytes=3, issued=True)
            books.mark_written(order.id)

    def _unlock_half_made(self, reader: Reader, card: Card, passwords: Sequence[bytes], announced: int) -> int:
        """Present the password announced last, or the one before; how many bytes of it are the card's."""
        candidates = [announced]
        if announced and passwords[announced - 1] != passwords[announced]:
            candidates.append(announced - 1)
        for step in candidates:
            _check_image(reader, card)
            if reader.present(passwords[step]):
                return step
        raise CardError(codes.PASSWORD_REFUSED, "", "Repeat the opening with another blank card.")

    def _now(self) -> int:
        return units.minutes(self._clock())


def _check_opening(
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
) -> _Opening:
    weight = units.check_weight(meter.pulse_weight)
    units.whole(meter.key_version, "key_version", 1, 0xFF)
    units.whole(over_flow_seconds, "over_flow_seconds", 0, 0xFF)
    units.whole(issue_batch, "issue_batch", 0, 0xFFFF)
    units.whole(wheel_digits, "wheel_digits", 1, 8 - weight)
    if not isinstance(name, str) or len(name) > NAME_MOST:
        raise RequestError(
            errors.FIELD, f"name is text of at most {NAME_MOST} characters.", "Shorten the customer's name."
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise RequestError(errors.FIELD, "name holds half a character.", "Type the customer's name again.") from None
    wheel = int(10 ** (wheel_digits + weight))
    if account is not None and int(units.account_number(account)) == 0:
        raise RequestError(errors.NUMBER_MALFORMED, "Account number 0 is not given out.")
    _check_fen(fen)
    return _Opening(
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


def _check_fen(fen: int | None) -> None:
    if fen is not None and (isinstance(fen, bool) or not isinstance(fen, int) or not 0 <= fen <= units.FEN_MOST):
        raise RequestError(
            errors.AMOUNT,
            f"{units.shown(fen)} is no sum of money in fen.",
            "Give whole fen, 0 or more, or None for no money.",
        )


def _check_reader(reader: Reader) -> None:
    if not isinstance(reader, Reader):
        raise RequestError(errors.FIELD, f"{reader!r} is no card reader.", "Give a Reader, such as FileReader(path).")


def _check_ours(card: Card) -> None:
    """Whether the card is a readable customer card of this region; else the CardError that says why not."""
    if not card.identity.written:
        if card.blank:
            raise CardError(errors.CARD_BLANK)
        raise CardError(codes.NOT_OURS)
    for code in (card.identity.code, card.region_code):
        if code:
            raise CardError(code)
    if card.identity.kind != records.CARD_CUSTOMER:
        raise CardError(codes.KIND)


def _check_order(order: Part, binding: Binding, last: Order, reading: bool) -> None:
    """The card's order against the ledger's last; while that is pending, whatever is not ahead will do."""
    if order.raw == last.frame and order.authentic:
        return
    if not order.authentic:
        if reading and order.code == codes.MAC:
            raise CardError(codes.MAC, "The card's order was not made by this hall's key.")
        if last.state == PENDING or (reading and order.code in (codes.SHAPE, codes.CRC)):
            return
        raise CardError(order.code if order.written else errors.ORDER_MISSING)
    values = _found(order.values)
    if values["meter"] != binding.meter:
        raise CardError(codes.METER, f"The card's order is for meter {values['meter']}, not {binding.meter}.")
    place = values["binding"], values["sequence"]
    known = binding.number, last.sequence
    if place > known:
        raise LedgerError(
            errors.LEDGER_BEHIND,
            f"The card bears order {place[1]} of binding {place[0]}, the ledger {known[1]} of {known[0]}.",
        )
    if place == known:
        raise CardError(codes.SEQUENCE_CONFLICT)
    if last.state != PENDING:
        raise CardError(
            codes.OLDER if place[0] == known[0] else codes.BINDING,
            f"The card bears order {place[1]} of binding {place[0]}; the account's last is {known[1]} of {known[0]}.",
            "Look for the account's other card or an unfinished window; else replace the card.",
        )


def _newest_report(reports: Sequence[Part], meter: str, binding: int) -> tuple[Part | None, int]:
    """The newest authentic report of this meter and binding, or None and why (OK: none was written)."""
    best: Part | None = None
    reasons = []
    for part in reports:
        if not part.written:
            continue
        if not part.authentic:
            reasons.append(part.code)
            continue
        values = _found(part.values)
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


def _check_blank(card: Card, reader: Reader) -> None:
    """Whether nothing of ours stands on the card and the identity's place can still be written."""
    if any(card.image[i] != 0xFF for i in _places()):
        raise CardError(errors.CARD_NOT_BLANK)
    writable = (1 << encode.IDENTITY_SIZE) - 1
    if int.from_bytes(reader.protection(), "little") >> IDENTITY_AT & writable != writable:
        raise CardError(errors.CARD_NOT_BLANK)


def _check_image(reader: Reader, card: Card) -> None:
    """Whether the card in the reader is still the one that was read: one half made has no identity to know it by."""
    if reader.read(0, IMAGE_SIZE) != card.image:
        raise CardError(errors.CARD_SWAPPED)


def _is_half_made(image: bytes, target: bytes) -> bool:
    """Whether every byte we write is blank, or on its way to what it shall be; the maker's are not ours."""
    return all(image[i] & target[i] == target[i] for i in _places())


def _places() -> Iterator[int]:
    yield from range(IDENTITY_AT, IDENTITY_AT + encode.IDENTITY_SIZE)
    yield from range(ORDER_AT, IMAGE_SIZE)


def _check_read_back(reader: Reader, expected: bytes) -> None:
    actual = reader.read(0, IMAGE_SIZE)
    if actual != expected:
        wrong = [f"{i:#04x}" for i in range(IMAGE_SIZE) if actual[i] != expected[i]]
        raise CardError(errors.READ_BACK_DIFFERS, f"The card differs from what was written at {', '.join(wrong)}.")


def _resumed(standing: _Standing, order: Order, volume: Volume, fen: int | None) -> Sale:
    weight = standing.meter.pulse_weight
    try:
        same = units.pulses(volume, weight) == order.paid_pulses
        # Money left out is the price list's, as that stood when the order was made.
        same = same and (fen == order.fen or (fen is None and order.price is not None))
    except RequestError:
        same = False
    sale = _sale(standing.binding, replace(order, state=WRITTEN), weight, resumed=True)
    if not same:
        raise RequestError(
            errors.ORDER_FINISHED,
            f"The unfinished order {sale.sequence} over {sale.volume} m³ has been finished on this card; "
            "nothing else was sold.",
        )
    return sale


def _told(order: Order, weight: int) -> str:
    """Which order this is and where, so that a clerk knows his own when he repeats what he had finished."""
    where = {
        PENDING: "is not finished",
        WRITTEN: f"is on card {order.card}, not yet loaded",
        DONE: f"was loaded from card {order.card}",
    }[order.state]
    made = units.moment(order.made_at).strftime("%Y-%m-%d %H:%M UTC")
    return f"order {order.sequence} over {units.volume(order.paid_pulses, weight)} m³ of {made} {where}"


def _sale(binding: Binding, order: Order, weight: int, *, resumed: bool) -> Sale:
    return Sale(
        account=binding.account,
        meter=binding.meter,
        card=order.card,
        sequence=order.sequence,
        volume=units.volume(order.paid_pulses, weight),
        pulses=order.paid_pulses,
        bought_total=order.released_pulses,
        fen=order.fen,
        state=order.state,
        resumed=resumed,
        price=None if order.price is None else units.price_fen(order.price),
    )


def _with(image: bytes, at: int, data: bytes) -> bytes:
    return image[:at] + data + image[at + len(data) :]


def _kept_report(kept: ReportRow) -> Values:
    try:
        return encode.decode_report(kept.frame)
    except GasError as error:
        raise LedgerError(
            errors.LEDGER,
            f"The ledger is damaged: reports.frame of meter {kept.meter} holds no report ({error.name}).",
        ) from error


def _found(row: Any) -> Any:
    """What foreign keys and earlier checks guarantee to be there."""
    if row is None:
        raise LedgerError(errors.LEDGER, "The ledger contradicts itself: a row that must exist is missing.")
    return row
