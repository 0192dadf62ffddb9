"""What the counter does, as one class: each method is one service, and the module it calls is how it is done."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from gascard.records import TOTAL_MAX
from gashall import (
    batch,
    errors,
    limits,
    opening,
    prices,
    purchase,
    reading,
    reconciliation,
    reporting,
    shifts,
    stock,
    units,
    verification,
)
from gashall.audit import Audit, audit
from gashall.batch import Batch, Cards, Judged
from gashall.counter import Counter, Sale
from gashall.errors import LedgerError
from gashall.history import History, history
from gashall.keyfile import Passphrase
from gashall.ledger import Clock, Ledger
from gashall.limits import Limits
from gashall.prices import Price
from gashall.readers.base import Reader
from gashall.reading import ReadBack
from gashall.reconciliation import Reconciliation
from gashall.reporting import Report
from gashall.shifts import Shift
from gashall.signer import KeyFileSigner, Signer
from gashall.stock import Stock
from gashall.units import Volume
from gashall.verification import Verification

__all__ = ["LEDGER_FILE", "Hall", "ReadBack", "Reconciliation", "Sale"]

LEDGER_FILE = "ledger.db"


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
        self.counter = Counter(ledger, signer, clock if clock is not None else lambda: datetime.now(UTC))

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        keyfile: str | os.PathLike[str],
        clock: Clock | None = None,
        *,
        create: bool = False,
        passphrase: Passphrase | None = None,
    ) -> "Hall":
        """A hall on a key file and a ledger; ``path`` is a folder (its ``ledger.db``), a file or a URL.

        A ledger that is not there is made only if ``create`` is true: a mistyped path is no new ledger. ``passphrase``
        is called, and gives the passphrase, only if the key file is under one. GasError KEY_FILE; LedgerError LEDGER,
        LEDGER_MISSING, LEDGER_REGION, LEDGER_VERSION or LEDGER_KEY.
        """
        signer = KeyFileSigner.load(keyfile, passphrase)
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
        return opening.open_account(
            self.counter,
            reader,
            meter=meter,
            volume=volume,
            name=name,
            account=account,
            fen=fen,
            price_agreed=price_agreed,
            pulse_weight=pulse_weight,
            initial_reading=initial_reading,
            wheel_digits=wheel_digits,
            alarm=alarm,
            ceiling=ceiling,
            overdraft=overdraft,
            over_flow_seconds=over_flow_seconds,
            key_version=key_version,
            issue_batch=issue_batch,
        )

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
        return purchase.sell(self.counter, reader, volume, fen=fen, price_agreed=price_agreed, rescue=rescue)

    def read_back(self, reader: Reader) -> ReadBack:
        """Read the card in ``reader`` and take its report into the ledger; nothing is written to the card.

        An order that is merely damaged does no harm beside an authentic report. Raises CardError for a card that
        is not ours or otherwise damaged, MAC for one that bears a forged order or no report but forged ones,
        REPORT_OLDER (the report moved nothing); LedgerError LEDGER_BEHIND; ReaderError.
        """
        return reading.read_back(self.counter, reader)

    def reconcile(self, account: str, closing_reading: Volume | None = None) -> Reconciliation:
        """Compare what was released to ``account`` with its meter's index.

        ``closing_reading`` is the index in m³, read off the meter when it wrote its newest report; the
        report's own figure if not given. What was sold since is on the card.

        Raises RequestError; LedgerError ACCOUNT_UNKNOWN; CardError REPORT_MISSING.
        """
        return reconciliation.reconcile(self.counter, account, closing_reading)

    def set_price(self, valid_from: datetime | None, fen_per_cubic_metre: Decimal | int | str) -> Price:
        """One m³ costs ``fen_per_cubic_metre`` (at most two decimals of a fen) from ``valid_from`` on; None: from now.

        A price holds from a whole minute until the next one begins. One that is still to come is corrected by setting
        another for its minute. What was sold keeps its money. RequestError PRICE_PAST, AMOUNT, or FIELD for a time
        without a zone; LedgerError.
        """
        return prices.set_price(self.ledger, valid_from, fen_per_cubic_metre, self.counter.now())

    def prices(self) -> list[Price]:
        """The whole price list by the minutes from which prices hold; of two for one minute the later one holds."""
        with self.ledger.look() as books:
            return [prices.of_row(row) for row in books.prices()]

    def price(self, at: datetime | None = None) -> Decimal | None:
        """What one m³ costs at ``at`` in fen, by today's list; now if not given. None if no price is in force then."""
        with self.ledger.look() as books:
            row = books.price(self.counter.now() if at is None else units.minutes(at))
        return None if row is None else units.price_fen(row.price)

    def cost(self, volume: Volume, at: datetime | None = None) -> int:
        """What ``volume`` m³ (at most two decimals) cost at ``at``, now if not given, in fen.

        Volume times price is exact and rounded once, half up to the fen. RequestError; LedgerError PRICE_MISSING.
        """
        count = units.pulses(volume, 2, most=TOTAL_MAX * 100)
        moment = self.counter.now() if at is None else units.minutes(at)
        with self.ledger.look() as books:
            row = books.price(moment)
        if row is None:
            raise LedgerError(
                errors.PRICE_MISSING, f"No price is in force at {units.moment(moment):%Y-%m-%d %H:%M} UTC."
            )
        return units.cost(count, 2, row.price)

    def limits(self) -> Limits:
        """How much a customer may buy at once, in a day and in a month."""
        return limits.limits(self.ledger, self.counter.now())

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
        return shifts.open_shift(self.ledger, clerk, self.counter.now())

    def close_shift(self, cash: int, *, cards: int | None = None, differs: str | None = None) -> Shift:
        """Close the open shift with ``cash``, the fen counted; what its orders came to must be the same.

        Once stock is booked the blank cards left are counted too, ``cards``, must agree and go back to the store.
        Else LedgerError SHIFT_DIFFERS names each difference and the shift stays open, unless ``differs`` says why: that
        is kept. A reason for no difference, and cards not counted, are RequestError FIELD. LedgerError SHIFT_MISSING.
        """
        return shifts.close_shift(self.ledger, cash, cards, differs, self.counter.now())

    def shift(self, number: int | None = None) -> Shift:
        """A shift by its number, or the last one, open or closed. RequestError FIELD; LedgerError SHIFT_MISSING."""
        return shifts.shift(self.ledger, number)

    def stock(self) -> Stock:
        """Where the blank cards are, and what became of the others."""
        return stock.stock(self.ledger, self.counter.now())

    def stock_in(self, count: int) -> Stock:
        """``count`` blank cards were delivered to the store. From the first on, issuing a card uses one.

        RequestError FIELD; LedgerError.
        """
        return stock.move(self.ledger, stock.IN, count, self.counter.now())

    def stock_out(self, count: int) -> Stock:
        """``count`` blank cards are handed out of the store to the open shift.

        RequestError FIELD; LedgerError SHIFT_MISSING, STOCK_SHORT.
        """
        return stock.move(self.ledger, stock.OUT, count, self.counter.now())

    def stock_spoiled(self, count: int, *, reason: str | None = None) -> Stock:
        """``count`` blank cards are of no use: the open shift's, or the store's if none is open.

        RequestError FIELD; LedgerError STOCK_SHORT.
        """
        return stock.move(self.ledger, stock.SPOILED, count, self.counter.now(), reason)

    def daily_report(self, day: date | None = None) -> Report:
        """What was done on ``day`` (日报), a day of the hall's own clock; today if not given.

        Orders count by the minute they were made, loaded or not, as a shift's do. RequestError FIELD; LedgerError.
        """
        return reporting.daily(self.counter, day)

    def monthly_report(self, month: date | None = None) -> Report:
        """What was done in the month of the day ``month`` (月报); this month if not given. As ``daily_report``."""
        return reporting.monthly(self.counter, month)

    def judge_batch(self, path: str | os.PathLike[str], *, resume: bool = False) -> Judged:
        """Read the batch file ``path`` (批量开户) and judge every row; nothing is written.

        CSV in UTF-8, the first line naming its columns: meter, name, volume and initial_reading, and if wanted account
        and the other particulars of ``open_account``. All that is wrong is in ``problems`` with its line: malformed
        figures, meters twice or bound, limits, blank cards short in total. With ``resume`` openings that were made or
        begun with the same particulars are right. RequestError FIELD for a file that cannot be read; LedgerError.
        """
        return batch.judge(self.counter, path, resume=resume)

    def batch(
        self,
        file: str | os.PathLike[str] | Judged,
        cards: Cards | Callable[[], Reader],
        *,
        resume: bool = False,
        report: Callable[[int, int], None] | None = None,
    ) -> Batch:
        """Open an account and issue a card for each row of ``file``, a path or what ``judge_batch`` gave of it.

        ``cards`` is a ``CardFolder``, or a function that gives the reader with the next blank card; a card that fails
        is put aside and another is tried, three for a row. Repeated with ``resume`` after it failed or died, it
        finishes what was begun and makes nothing twice. ``report`` is told rows finished and rows in all.

        RequestError BATCH_ROWS, nothing written, if a row cannot be opened. What happens later ends the batch and is
        in ``stopped``: the ledger's refusals, BATCH_STOPPED where three cards failed, and what ``cards`` raises.
        """
        judged = file if isinstance(file, Judged) else self.judge_batch(file, resume=resume)
        return batch.run(self.counter, judged, cards, report)

    def verify(self, reader: Reader, *, password: bool = False, rescue: bool = False) -> Verification:
        """Look the card in ``reader`` over (验卡): identity, frames and MACs, the ledger's word, the error counter.

        Nothing is written to the card or the ledger, and no password try is spent unless ``password`` asks for it: it
        is presented only to a genuine card of this ledger with more than one try left, or with ``rescue`` on its last.
        What is wrong is in ``findings`` and no error. RequestError FIELD for ``rescue`` alone; CardError CARD_SWAPPED;
        ReaderError NO_CARD where no SLE4442 answers, and its others. Source: DOMAIN 3, RULES 1 "last try".
        """
        return verification.verify(self.counter, reader, password=password, rescue=rescue)

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
