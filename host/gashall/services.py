"""What the counter does, as one class: each method is one service, and the module it calls is how it is done."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from gascard.records import TOTAL_MAX
from gashall import (
    adoption,
    batch,
    closing,
    customers,
    errors,
    exchange,
    grants,
    limits,
    opening,
    overview,
    prices,
    probe,
    purchase,
    reading,
    receipt,
    reconciliation,
    refunds,
    replacement,
    reporting,
    restoring,
    shifts,
    stock,
    suspension,
    toolcards,
    toolreading,
    units,
    verification,
)
from gashall.adoption import Adopted
from gashall.audit import Audit, audit
from gashall.batch import Batch, Cards, Judged
from gashall.closing import Closure
from gashall.counter import Counter, Sale, sale_of
from gashall.errors import LedgerError
from gashall.exchange import Exchange, NewMeter
from gashall.grants import Grant
from gashall.history import History, history
from gashall.keyfile import Passphrase
from gashall.ledger import Ledger
from gashall.limits import Limits
from gashall.prices import Price
from gashall.readers.base import Reader
from gashall.reading import ReadBack
from gashall.receipt import Receipt
from gashall.reconciliation import Reconciliation
from gashall.replacement import Replaced, TakenBack
from gashall.reporting import Report
from gashall.restoring import Recovery, Restored
from gashall.rows import Account, MeterRow
from gashall.shifts import Shift
from gashall.signer import KeyFileSigner, Signer
from gashall.stock import Stock
from gashall.suspension import Suspension
from gashall.terms import GIFT, REFUND
from gashall.toolcards import Tool
from gashall.toolreading import ToolRead
from gashall.units import Clock, Volume
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
        money taken: as for ``sell``. An ``account`` that is there gets a meter again, the same or another, once its
        last one was cleared and the clear card read back: under the meter's next binding number, with what was left
        and never loaded, unpaid; what is owed is taken off. Repeated after it failed or died, with the same particulars
        and that card or another blank one, it is finished.

        Raises RequestError (anything impossible, nothing written; PRICE_DIFFERS, OVER_LIMIT); LedgerError
        ALREADY_BOUND, OPENING_DIFFERS, SHIFT_MISSING, PRICE_MISSING or STOCK_SHORT, of an account that is there
        FINAL_MISSING, ACCOUNT_CLOSED, ACCOUNT_STOPPED, RECOVERING (cleared before the ledger was restored, with
        something left or owed); CardError CARD_NOT_BLANK, PASSWORD_REFUSED, CARD_DEAD, LAST_TRY, READ_BACK_DIFFERS;
        ReaderError.
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
        OPENING_NOT_LOADED); LedgerError LEDGER_BEHIND, PENDING_ELSEWHERE, SHIFT_MISSING, PRICE_MISSING (there is a
        price list, none of it in force, and no ``fen``); ReaderError. Nothing is written before all of it is judged.
        """
        return purchase.sell(self.counter, reader, volume, fen=fen, price_agreed=price_agreed, rescue=rescue)

    def read_back(self, reader: Reader) -> ReadBack:
        """Read the card in ``reader`` and take its report into the ledger; nothing is written to the card.

        An order that is merely damaged does no harm beside an authentic report. Raises CardError for a card that
        is not ours or otherwise damaged, MAC for one that bears a forged order or no report but forged ones,
        REPORT_OLDER or KEY_VERSION (the report, made with keys the meter has no more, moved nothing); LedgerError
        LEDGER_BEHIND; ReaderError.
        """
        return reading.read_back(self.counter, reader)

    def reconcile(self, account: str, closing_reading: Volume | None = None) -> Reconciliation:
        """Compare what was released to ``account`` with its meter's index.

        ``closing_reading`` is the index in m³, read off the meter when it wrote its newest report; the
        report's own figure if not given. What was sold since is on the card. A reading is also judged against the
        report by the drift that power cuts explain (``Reconciliation.drift``, as ``gashall.drift.compare``), with the
        correction to be proposed; the comparison is kept, and the next one starts from it.

        Raises RequestError, RANGE too for a reading no correction could mend; LedgerError ACCOUNT_UNKNOWN,
        ACCOUNT_CLOSED; CardError REPORT_MISSING.
        """
        return reconciliation.reconcile(self.counter, account, closing_reading)

    def reconcile_list(
        self, readings: Mapping[str, Volume] | None = None, *, days: int = overview.DAYS
    ) -> list[overview.Line]:
        """Every open account against its meter, the most urgent first; nothing is written.

        ``readings`` is what was read off the wheels, account -> m³, each taken when the meter wrote its newest report;
        where there is none the report's own index stands. A report older than ``days`` days is called old.

        RequestError: FIELD for a reading of no open account, and what ``reconcile`` says of one, with the account.
        """
        return overview.overview(self.ledger, readings or {}, days, self.counter.now())

    def adopt(self, reader: Reader, *, requester: str, approver: str, reason: str) -> Adopted:
        """Take the word of the card in ``reader`` where it is ahead of the ledger (RULES 1, ledger behind); approved.

        Its authentic order is booked as a row of its own, its report is kept, the account's totals rise to what they
        say and never fall; a recovering account ends recovering if the report shows an order written after the
        restore. Nothing is written to the card. ``requester`` and ``approver`` are two people's names.

        Raises RequestError FIELD; CardError NOTHING_TO_ADOPT, MAC for a forged order, and as ``read_back``; LedgerError
        LEDGER_BEHIND for what no adopting mends (a binding the ledger does not know); ReaderError.
        """
        return adoption.adopt(self.counter, reader, requester=requester, approver=approver, reason=reason)

    def probe(self, reader: Reader, *, overwrite: bool = False, rescue: bool = False) -> Sale:
        """Put a probe on the card of a recovering account: an order with bought total 0, which by the meter's rule
        neither gives nor takes gas, and whose report shows what the meter holds (RULES 1, restored ledger).

        An unfinished order of the account is finished instead; one that is on the card and not loaded yet is not
        overwritten, unless ``overwrite`` says that the meter refuses it: the next sale gives its gas. Repeated, a probe
        is not made twice. ``rescue`` as for ``sell``.

        Raises CardError GAS_ON_CARD, OPENING_NOT_LOADED, and as ``sell``; LedgerError NOT_RECOVERING, SUSPENDED,
        LEDGER_BEHIND (adopt the card's word first), PENDING_ELSEWHERE; ReaderError.
        """
        return probe.probe(self.counter, reader, overwrite=overwrite, rescue=rescue)

    @staticmethod
    def restore(
        copy: str | os.PathLike[str],
        path: str | os.PathLike[str],
        keyfile: str | os.PathLike[str],
        clock: Clock | None = None,
        *,
        head: str | None = None,
        passphrase: Passphrase | None = None,
    ) -> Restored:
        """Make ``copy``, which ``backup`` wrote, the new ledger ``path``, every account of it *recovering* (RULES 1).

        The copy is audited first, against ``head`` as ``audit`` does, and stays as it is. Sequences jump by 100;
        nothing is sold (unless ``sell_while_recovering``), paid out, replaced or moved until a report of an order
        written from now on has been adopted. ``passphrase`` as for ``open``.

        LedgerError LEDGER if the copy fails its audit, or one of the two is no file, or ``path`` exists;
        LEDGER_MISSING, LEDGER_REGION, LEDGER_VERSION, LEDGER_KEY; GasError KEY_FILE. Then there is no ``path``.
        """
        return restoring.restore(copy, path, KeyFileSigner.load(keyfile, passphrase), head, clock)

    def mark_restored(self, head: str | None = None) -> Restored:
        """Every account *recovering*, for a ledger its database has restored itself (PostgreSQL); else as ``restore``.

        RequestError FIELD for a malformed head; LedgerError LEDGER if the audit finds anything.
        """
        return restoring.mark(self.ledger, head)

    def recovering(self) -> list[Recovery]:
        """The accounts that are recovering, by their numbers."""
        return restoring.recovering(self.ledger)

    def sell_while_recovering(self, allowed: bool) -> None:
        """Whether recovering accounts may buy before their report is adopted; they may not until this is set.

        The company loses nothing by it, and the customer may come short until the report (RULES 1).
        """
        with self.ledger.begin() as books:
            books.set_settings({"sell_recovering": int(allowed)})

    def suspend(self, account: str, reading: Volume, reason: str) -> Suspension:
        """The account's meter goes to a test with ``reading`` m³ on its wheels: no sale, refund or replacement until
        it is back. An order begun before is finished all the same.

        RequestError; LedgerError ACCOUNT_UNKNOWN, ACCOUNT_CLOSED, SUSPENDED, EXCHANGE, BINDING_ENDS.
        """
        return suspension.begin(self.counter, account, reading, reason)

    def end_suspension(self, account: str, reading: Volume) -> Suspension:
        """The meter is back with ``reading`` m³ on its wheels; what the test took is suggested as a make-up, from 1 m³
        on (DOMAIN 1).

        RequestError, FIELD too for wheels that turned back; LedgerError ACCOUNT_UNKNOWN, NOT_SUSPENDED.
        """
        return suspension.end(self.counter, account, reading)

    def cancel_suspension(self, account: str, reason: str) -> Suspension:
        """The test under way was begun by mistake, for the wrong account for instance: it is void, with its reason.

        RequestError FIELD; LedgerError ACCOUNT_UNKNOWN, NOT_SUSPENDED.
        """
        return suspension.cancel(self.counter, account, reason)

    def correct_suspension(
        self,
        account: str,
        *,
        reading: Volume | None = None,
        end_reading: Volume | None = None,
        requester: str,
        approver: str,
        reason: str,
    ) -> Suspension:
        """The last test's readings were mistyped: ``reading`` (m³) at its beginning, ``end_reading`` at its end.

        Approved, since gas may be made up by them. The row before stays, void. RequestError FIELD, APPROVER and as
        ``end_suspension``; LedgerError ACCOUNT_UNKNOWN, NOT_SUSPENDED.
        """
        return suspension.correct(
            self.counter,
            account,
            reading=reading,
            end_reading=end_reading,
            requester=requester,
            approver=approver,
            reason=reason,
        )

    def receipt(self, account: str, sequence: int | None = None, *, meter: str | None = None) -> Receipt:
        """The receipt of ``account``'s purchase ``sequence``, the last if not given; of ``meter`` if it had several.

        An opening with its first gas is a purchase. RequestError FIELD, NUMBER_MALFORMED; LedgerError ACCOUNT_UNKNOWN,
        ORDER_MISSING.
        """
        return receipt.receipt(self.counter, account, sequence, meter)

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
            return [prices.of_row(books, row) for row in books.prices()]

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
                told = units.stamp(books.moment(moment))
                raise LedgerError(errors.PRICE_MISSING, f"No price is in force at {told}.")
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

    def request_makeup(self, account: str, volume: Volume, *, kind: str, reason: str, requester: str) -> Grant:
        """Ask for gas to be made up (补气): ``volume`` m³ that the customer gains, for ``reason``.

        ``kind`` is "held" (paid, held since a card was replaced, and proven not loaded), "loss", "drift", "dead meter"
        or "other". Drift is corrected by the correction total, and its volume may be negative: what
        ``gashall.drift.compare`` proposes, with the other sign. While gas is held no other loss is made up.

        RequestError FIELD, AMOUNT, NOT_WHOLE_PULSES or RANGE; LedgerError ACCOUNT_UNKNOWN, ACCOUNT_CLOSED, NOT_HELD,
        HELD. Rules: RULES 1, correction, paid and released; DOMAIN 1.
        """
        return grants.request(self.counter, account, volume, kind=kind, reason=reason, requester=requester)

    def request_gift(self, account: str, volume: Volume, *, reason: str, requester: str) -> Grant:
        """Ask for ``volume`` m³ to be given free (赠气). As ``request_makeup``."""
        return grants.request(self.counter, account, volume, kind=GIFT, reason=reason, requester=requester)

    def request_refund(
        self, account: str, volume: Volume, *, reason: str, requester: str, fen: int | None = None
    ) -> Grant:
        """Ask for money to be paid back for ``volume`` m³ (退气). ``fen``: what the gas bought last cost if not given.

        RequestError also REFUND_TOO_LARGE (more than was bought, or than is left) and AMOUNT (no money is known);
        LedgerError also REFUND_UNPAID (another one is under way), OPENING_NOT_LOADED. Rules: RULES 1, money back.
        """
        return refunds.request(self.counter, account, volume, reason=reason, requester=requester, fen=fen)

    def approve_grant(self, number: int, approver: str) -> Grant:
        """Approve a make-up, gift or refund; what comes back is the slip to be signed (``lines``, ``page``).

        RequestError APPROVER if ``approver`` asked for it (capitals, blanks and width of letters do not matter) or it
        is approved; LedgerError GRANT_MISSING, GRANT_ENDED. Rule: DOMAIN 1, every make-up goes through approval.
        """
        return grants.approve(self.counter, number, approver)

    def write_grant(self, reader: Reader, number: int, *, rescue: bool = False) -> Grant:
        """Write an approved make-up, gift or refund on its account's card, once. Repeated after a death it is finished.

        A refund's order lowers the total; nothing else is written until it is paid or cancelled, none is written right
        after another or on a card just replaced. Raises CardError, ReaderError and LedgerError as ``sell``; LedgerError
        GRANT_MISSING, GRANT_NOT_APPROVED, GRANT_WRITTEN, GRANT_ENDED, GRANT_ACCOUNT, BINDING, NOT_HELD, HELD,
        REFUND_UNPAID, REFUND_AFTER; RequestError RANGE, REFUND_TOO_LARGE, ORDER_FINISHED, AMOUNT (gas was bought since
        the refund was asked for).
        """
        service = refunds.write if self.grant(number).sort == REFUND else grants.write
        return service(self.counter, reader, number, rescue)

    def grant(self, number: int) -> Grant:
        """A make-up, gift or refund by its number. RequestError FIELD; LedgerError GRANT_MISSING."""
        return grants.grant(self.counter, number)

    def grants(self, account: str | None = None, sort: str | None = None) -> list[Grant]:
        """All make-ups, gifts and refunds, oldest first: of an account, of a ``sort`` ("makeup", "gift", "refund")."""
        return grants.all_grants(self.counter, account, sort)

    def pay_refund(self, number: int) -> Grant:
        """Pay a refund out, once a report of its sequence or later tells of no more gas than its order; the shift's.

        LedgerError REFUND_NOT_PROVEN, GRANT_MISSING, GRANT_NOT_APPROVED, GRANT_ENDED, SHIFT_MISSING. Rule: RULES 1,
        money back.
        """
        return refunds.pay(self.counter, number)

    def cancel_grant(self, number: int, reader: Reader | None = None, *, rescue: bool = False) -> Grant:
        """Cancel what was asked for; a refund that was written by another order on the account's card in ``reader``.

        A refund that is cancelled is never paid. LedgerError GRANT_MISSING, GRANT_ENDED, GRANT_WRITTEN (a make-up or
        gift), GRANT_ACCOUNT; RequestError FIELD without the card; else as ``sell``.
        """
        return refunds.cancel(self.counter, number, reader, rescue)

    def replace(
        self,
        reader: Reader,
        *,
        account: str,
        reason: str,
        old_card: Reader | None = None,
        issue_batch: int = 0,
        again: bool = False,
    ) -> Replaced:
        """Make the blank card in ``reader`` the account's card in place of a lost or broken one (补卡, 换卡).

        ``reason`` is one of ``gashall.replacement.REASONS``; ``old_card`` holds the old card if it can be read: it is
        taken back. The new card bears what a report proves loaded; what was paid beyond that is held until the new
        card's report, or an approved make-up. A refund not proven is cancelled by it. While the account is recovering
        it bears nothing, and is the probe. Repeated after a death, with that card or another blank one, it is finished;
        once finished, CARD_NOT_BLANK says so of the card that was made, and while no report shows that card loaded
        another is made only with it as ``old_card``, or ``again``.

        RequestError FIELD; LedgerError ACCOUNT_UNKNOWN, ACCOUNT_CLOSED, NUMBER_USED_UP, REFUND_UNPAID,
        REPLACEMENT_UNSEEN, PENDING_ELSEWHERE (the opening is unfinished), SHIFT_MISSING, STOCK_SHORT; CardError as
        ``open_account``, and GRANT_ACCOUNT for an old card that is not the account's; ReaderError. Rule: RULES 1, paid
        and released.
        """
        return replacement.replace_card(
            self.counter,
            reader,
            account=account,
            reason=reason,
            old_card=old_card,
            issue_batch=issue_batch,
            again=again,
        )

    def take_back(self, reader: Reader, *, clear: bool = False) -> TakenBack:
        """Take back an old card that turned up again: its report is taken as proof. Nothing is written to it, unless
        ``clear``: then, once the ledger has what it says, its order is taken off it under its own password.

        CardError CARD_IN_USE, CARD_UNKNOWN or for a card that is not ours, and with ``clear`` MAC, PASSWORD_REFUSED,
        LAST_TRY, CARD_DEAD, READ_BACK_DIFFERS; LedgerError LEDGER_BEHIND. Rule: DOMAIN 1.
        """
        return replacement.take_back(self.counter, reader, clear=clear)

    def begin_exchange(
        self, reader: Reader, *, account: str, meter: NewMeter, requester: str, approver: str, reason: str
    ) -> Exchange:
        """Make the blank card in ``reader`` the transfer card by which ``account`` gets another meter (换表).

        The card goes into the old meter, the new meter and back to ``read_exchange``. Until the customer's card is
        written (``exchange_card``) nothing is sold, given, paid back or replaced; an exchange cannot be taken back.
        Repeated after a death it is finished. RequestError FIELD, WEIGHT (the meters count alike) and those of
        figures; LedgerError ACCOUNT_UNKNOWN, ACCOUNT_CLOSED, EXCHANGE, ALREADY_BOUND, METER_DEAD, REFUND_UNPAID,
        PENDING_ELSEWHERE, SUSPENDED, RECOVERING, BINDING_ENDS, APPROVER, NUMBER_USED_UP, SHIFT_MISSING, STOCK_SHORT,
        TOOL_DIFFERS; CardError as ``open_account``; ReaderError. Rules: RULES 1 "transfer", DOMAIN 1.
        """
        return exchange.begin(
            self.counter,
            reader,
            account=account,
            meter=meter,
            requester=requester,
            approver=approver,
            reason=reason,
        )

    def exchange_again(self, reader: Reader, *, account: str) -> Exchange:
        """Another transfer card with the same two orders, in place of one that is lost or spoiled; that one is ended.

        To the meters it is the same transfer, which credits once. LedgerError EXCHANGE_MISSING; else as
        ``begin_exchange``.
        """
        return exchange.again(self.counter, reader, account=account)

    def read_exchange(self, reader: Reader) -> Exchange:
        """Book the final record on a transfer card: the old binding is over, the new one is the account's.

        A second time nothing is booked. CardError NO_FINAL_RECORD (not in the old meter yet), KIND, TOOL_UNKNOWN,
        METER, BINDING, MAC, CRC, SHAPE; LedgerError EXCHANGE_MISSING, LEDGER_BEHIND, RANGE. Rule: RULES 1, transfer.
        """
        return exchange.read(self.counter, reader)

    def exchange_proven(self, account: str) -> Exchange:
        """Go on without the final record: a report of the new meter in its new binding shows what it took over.

        Such a report comes with a management card. Which orders the old meter had loaded stays unknown, and none is
        released once more: what the customer misses is made up, approved. LedgerError EXCHANGE_MISSING; CardError
        REPORT_MISSING. Rule: RULES 1, transfer.
        """
        return exchange.proven(self.counter, account)

    def exchange_dead(
        self,
        *,
        account: str,
        meter: NewMeter,
        closing_index: Volume,
        requester: str,
        approver: str,
        reason: str,
        index_agreed: bool = False,
    ) -> Exchange:
        """Declare the account's meter dead and handed in, at ``closing_index`` m³; it gets ``meter`` in its place.

        Its number is refused until a clear of that binding is read back. What was left by the index (``owed``) may be
        made up, kind dead meter, once the customer's card is written. Possible too while a transfer card is out, if
        for the same new meter. An index by which more was burned than the meter ever had and may overdraw is FIELD
        unless ``index_agreed``, for it cannot be changed afterwards. RequestError FIELD, RANGE; LedgerError as
        ``begin_exchange``. Rule: RULES 1, dead meter.
        """
        return exchange.dead(
            self.counter,
            account=account,
            meter=meter,
            closing_index=closing_index,
            requester=requester,
            approver=approver,
            reason=reason,
            index_agreed=index_agreed,
        )

    def exchange_card(
        self,
        reader: Reader,
        *,
        account: str | None = None,
        reason: str | None = None,
        issue_batch: int = 0,
        rescue: bool = False,
    ) -> Exchange:
        """Write the customer's first order for the new meter: what the old one had not loaded comes with it, unpaid.

        ``reader`` holds the customer's own card; or, with ``account`` and a ``reason`` of
        ``gashall.replacement.REASONS``, a blank one that takes the place of a lost one. Repeated after a death it is
        finished. RequestError FIELD; LedgerError EXCHANGE (the final record is not read), EXCHANGE_MISSING,
        NUMBER_USED_UP, SHIFT_MISSING, STOCK_SHORT, PENDING_ELSEWHERE; CardError and ReaderError as ``sell``.
        """
        return exchange.card(
            self.counter, reader, account=account, reason=reason, issue_batch=issue_batch, rescue=rescue
        )

    def exchange(self, account: str) -> Exchange:
        """The account's last exchange. LedgerError ACCOUNT_UNKNOWN, EXCHANGE_MISSING."""
        return exchange.exchange_of(self.counter, account)

    def transfer_account(self, account: str, name: str, *, reason: str, approver: str) -> Account:
        """The account's holder is ``name`` from now on (过户).

        RequestError FIELD; LedgerError ACCOUNT_UNKNOWN, ACCOUNT_CLOSED.
        """
        return customers.transfer_account(self.counter, account, name, reason=reason, approver=approver)

    def stop_account(self, account: str, *, reason: str, approver: str) -> Account:
        """The customer cannot buy any more (停用). RequestError FIELD; LedgerError ACCOUNT_UNKNOWN, ACCOUNT_CLOSED."""
        return customers.set_stopped(self.counter, account, True, reason=reason, approver=approver)

    def resume_account(self, account: str, *, reason: str, approver: str) -> Account:
        """The customer may buy again. As ``stop_account``."""
        return customers.set_stopped(self.counter, account, False, reason=reason, approver=approver)

    def issue_management(
        self, reader: Reader, *, purpose: str, expires: datetime | None = None, key_version: int = 1
    ) -> Tool:
        """Make the blank card in ``reader`` a management card (管理卡), which reads two meters out.

        ``purpose`` says for whom; ``expires`` is the last minute meters take it, None for never; ``key_version`` that
        of the tool key. Repeated after a death it is finished, with that card or another blank one. RequestError FIELD;
        LedgerError TOOL_DIFFERS, SHIFT_MISSING, STOCK_SHORT; CardError as ``open_account``; ReaderError.
        """
        return toolcards.issue_management(
            self.counter, reader, purpose=purpose, expires=expires, key_version=key_version
        )

    def issue_setting(
        self,
        reader: Reader,
        *,
        purpose: str,
        meter: str | None = None,
        clock: datetime | None = None,
        index: Volume | None = None,
        size: str | None = None,
        guards: Mapping[str, int] | None = None,
        pulse_weight: int | None = None,
        expires: datetime | None = None,
        key_version: int | None = None,
    ) -> Tool:
        """Make a setting card: the clock of any meter; of one bound to nobody the shown index (m³, a named meter) and
        the guards: what suits the ``size`` (gashall.sizes), with single limits and the bits ``report`` and ``shut`` in
        ``guards`` in their places.

        Each bears a service number no card had before; a meter takes only rising ones. Without ``meter`` it is for
        every meter. LedgerError NOT_UNBOUND, METER_UNKNOWN (an index needs its weight); else as ``issue_management``.
        Rules: RULES 1, setting and tool limits.
        """
        return toolcards.issue_setting(
            self.counter,
            reader,
            purpose=purpose,
            meter=meter,
            clock=clock,
            index=index,
            size=size,
            guards=guards,
            pulse_weight=pulse_weight,
            expires=expires,
            key_version=key_version,
        )

    def issue_key(
        self,
        reader: Reader,
        *,
        meter: str,
        purpose: str,
        version: int | None = None,
        factory_keys: str | os.PathLike[str] | None = None,
    ) -> Tool:
        """Make a key card: the next keys of ``meter``, or its first ones under its key in the file ``factory_keys``.

        The ledger goes on with the keys it knows the meter to have until a report made with the new ones is read, or
        ``end_tool`` is told. LedgerError ORDER_WAITS while an order is not loaded, METER_UNKNOWN, NUMBER_USED_UP;
        GasError KEY_FILE; else as ``issue_management``.
        """
        return toolcards.issue_key(
            self.counter, reader, meter=meter, purpose=purpose, version=version, factory_keys=factory_keys
        )

    def issue_test(self, reader: Reader, *, meter: str, volume: Volume, purpose: str) -> Tool:
        """Make a test card: ``volume`` m³ more of test gas for ``meter``, which was never bound.

        The card says the total of its life, so that no card gives anything twice; the meter has a limit of its own.
        LedgerError NOT_UNBOUND, METER_UNKNOWN; else as ``issue_management``. Rule: RULES 1, tool limits.
        """
        return toolcards.issue_test(self.counter, reader, meter=meter, volume=volume, purpose=purpose)

    def issue_clear(
        self,
        reader: Reader,
        *,
        account: str,
        requester: str,
        approver: str,
        reason: str,
        meter: str | None = None,
        again: bool = False,
    ) -> Tool:
        """Make a clear card (清零卡) for the account's meter and binding; approved. No order is made from then on until
        its final record is read (``read_tool``), or it is taken back unused (``end_tool``). ``meter`` names one the
        account had before, which never told its final record. ``again`` makes another one for the same binding where
        the one that is out is lost or no longer reads; that one stays out, for it may still end the binding.

        LedgerError TOOL_UNKNOWN (again, and none is out), ACCOUNT_UNKNOWN, ACCOUNT_CLOSED, SUSPENDED, RECOVERING,
        BINDING_ENDS, REFUND_UNPAID, HELD, PENDING_ELSEWHERE, APPROVER; else as ``issue_management``.
        """
        return closing.issue_clear(
            self.counter,
            reader,
            account=account,
            requester=requester,
            approver=approver,
            reason=reason,
            meter=meter,
            again=again,
        )

    def tools(self) -> list[Tool]:
        """All of the company's own cards, by their numbers."""
        return toolcards.tool_list(self.counter)

    def end_tool(self, number: int, reader: Reader | None = None, *, keys_taken: bool | None = None) -> Tool:
        """Tool card ``number`` is taken back; what it orders is taken off the card in ``reader`` first.

        A clear or transfer card that is out is taken back so only in the reader, bearing nothing a meter wrote, until
        the final record of a clear card's binding is known; of a key card that is not there ``keys_taken`` says whether
        the meter has its keys. A card at its last password try, or with none, is left as it is, for no meter takes it.
        CardError TOOL_UNKNOWN, TOOL_OUT, PASSWORD_REFUSED, READ_BACK_DIFFERS; LedgerError TOOL_ENDED, TOOL_OUT;
        ReaderError.
        """
        return toolcards.end(self.counter, number, reader, keys_taken=keys_taken)

    def read_tool(self, reader: Reader) -> ToolRead:
        """Read a tool card back: reports are kept, a final record ends its binding; a management card is then emptied.

        What is wrong with a report is in it, the others are kept all the same, and one that is not kept stays on the
        card. CardError CARD_BLANK, NOT_OURS, KIND (a customer's or a transfer card), TOOL_UNKNOWN, FINAL_MISSING;
        LedgerError LEDGER_BEHIND for a final record ahead of the ledger; ReaderError. Rule: RULES 1, settling.
        """
        return toolreading.read_tool(self.counter, reader)

    def add_meter(self, number: str, *, pulse_weight: int = 2, wheel_digits: int = 5, key_version: int = 1) -> MeterRow:
        """Book a meter that is bound to nobody, so that tool cards can be made for it; once booked it stays.

        RequestError FIELD, NUMBER_MALFORMED, WEIGHT (booked with other particulars).
        """
        return toolcards.add_meter(self.counter, number, pulse_weight, wheel_digits, key_version)

    def rekey(self, reader: Reader, *, rescue: bool = False) -> Sale:
        """Put what the customer's card says on it once more, with the keys the meter has now: its order was made with
        the ones before. RequestError FIELD if it was not; else as ``sell``.
        """
        placed = toolcards.rekey(self.counter, reader, rescue=rescue)
        weight = placed.standing.meter.pulse_weight
        return sale_of(placed.standing.binding, placed.order, weight, resumed=placed.resumed)

    def close_account(
        self,
        account: str,
        *,
        requester: str,
        approver: str,
        reason: str,
        fen: int | None = None,
        card: Reader | None = None,
    ) -> Closure:
        """Close the account (销户) against its final record and pay back what was bought and is left or never loaded.

        The money is what the gas bought last cost, or ``fen``; it is the open shift's. ``card`` holds the customer's
        card, which is taken back. Repeated it tells what was done. LedgerError FINAL_MISSING, ACCOUNT_UNKNOWN,
        ACCOUNT_CLOSED, BINDING_ENDS, SUSPENDED, RECOVERING, PENDING_ELSEWHERE, SHIFT_MISSING, APPROVER; RequestError
        AMOUNT (no money is known), FIELD; CardError GRANT_ACCOUNT. Rule: RULES 1, money back.
        """
        return closing.close_account(
            self.counter, account, requester=requester, approver=approver, reason=reason, fen=fen, card=card
        )

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
