"""A meter under test: its account is suspended from the reading at the beginning to the one at the end (DOMAIN 1).

Meanwhile an ordinary meter hangs in its place, never another IC meter.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gashall import errors, stock, units
from gashall.adoption import check_approval
from gashall.books import Books
from gashall.counter import Counter, check_free
from gashall.errors import LedgerError, RequestError
from gashall.grants import of_account
from gashall.history import printable
from gashall.rows import Binding, MeterRow, SuspensionRow
from gashall.units import Volume


@dataclass(frozen=True, slots=True)
class Suspension:
    """A test of an account's meter: readings and gas in m³, times by the hall's own clock; of its end None before."""

    account: str
    meter: str
    reason: str
    begun_at: datetime
    reading_before: Decimal
    ended_at: datetime | None
    reading_after: Decimal | None
    test_gas: Decimal | None
    """What the test took through the meter."""
    make_up: Decimal | None
    """What is suggested to be made up: the test gas, none below 1 m³."""
    cancelled: str | None = None
    """Why it is void; None: it is not."""
    corrected: bool = False
    """Whether this is an earlier test with other readings."""

    def lines(self) -> list[str]:
        """For people."""
        if self.cancelled is not None:
            return [
                f"account {self.account}, meter {self.meter}: the test is cancelled ({printable(self.cancelled)})",
                "It goes on as before; both the test and its cancelling stay in the account's history.",
            ]
        state = "under test" if self.ended_at is None else "back from its test"
        head = f"account {self.account}, meter {self.meter}: {state} ({printable(self.reason)})"
        begun = f"begun {units.stamp(self.begun_at)} at {self.reading_before} m³"
        if self.ended_at is None:
            return [head, begun, "An ordinary meter takes its place, never another IC meter."]
        ended = f"ended {units.stamp(self.ended_at)} at {self.reading_after} m³, test gas {self.test_gas} m³"
        advice = (
            f"suggested make-up {self.make_up} m³, to be requested and approved: icgas hall makeup request --account "
        )
        advice += f"{self.account} --reason TEXT --requester NAME --kind loss --volume {self.make_up}"
        lines = [head, begun, ended, advice if self.make_up else "below 1 m³ of test gas nothing is made up"]
        if self.corrected:
            lines.append("A make-up that was asked for by the readings before is not changed by this: look it up.")
        return lines


def begin(counter: Counter, account: str, reading: Volume, reason: str) -> Suspension:
    """See ``Hall.suspend``."""
    units.account_number(account)
    stock.check_text(reason, "reason")
    with counter.ledger.begin() as books:
        _, binding, meter = of_account(books, account)
        before = units.pulses(reading, meter.pulse_weight, most=meter.wheel_pulses - 1, what="reading")
        row = open_suspension(books, binding.id)
        if row is not None:
            raise LedgerError(
                errors.SUSPENDED,
                f"Account {account} is suspended since {units.stamp(books.moment(row.at))} ({printable(row.reason)}).",
            )
        # With another meter on its way, or the binding perhaps over, there is nothing left to test.
        check_free(books, binding, recovering=True)
        row = books.suspend(binding, counter.now(), before, reason)
        return of_row(books, row, binding, meter)


def end(counter: Counter, account: str, reading: Volume) -> Suspension:
    """See ``Hall.end_suspension``."""
    units.account_number(account)
    with counter.ledger.begin() as books:
        _, binding, meter = of_account(books, account)
        after = units.pulses(reading, meter.pulse_weight, most=meter.wheel_pulses - 1, what="reading")
        row = open_suspension(books, binding.id)
        if row is None:
            raise LedgerError(errors.NOT_SUSPENDED, f"Account {account} is not suspended.")
        _check_turn(meter, row.reading, after)
        books.end_suspension(binding, row.id, counter.now(), after)
        return of_row(books, books.suspensions(binding.id)[-1], binding, meter)


def cancel(counter: Counter, account: str, reason: str) -> Suspension:
    """See ``Hall.cancel_suspension``."""
    units.account_number(account)
    stock.check_text(reason, "reason")
    with counter.ledger.begin() as books:
        _, binding, meter = of_account(books, account)
        row = open_suspension(books, binding.id)
        if row is None:
            raise LedgerError(errors.NOT_SUSPENDED, f"Account {account} is not suspended.")
        books.cancel_suspension(binding, row, cancelled_at=counter.now(), cancelled_for=reason)
        return of_row(books, books.suspensions(binding.id)[-1], binding, meter)


def correct(
    counter: Counter,
    account: str,
    *,
    reading: Volume | None,
    end_reading: Volume | None,
    requester: str,
    approver: str,
    reason: str,
) -> Suspension:
    """See ``Hall.correct_suspension``."""
    units.account_number(account)
    check_approval(requester, approver, reason)
    with counter.ledger.begin() as books:
        _, binding, meter = of_account(books, account)
        rows = [row for row in books.suspensions(binding.id) if row.cancelled_at is None]
        if not rows:
            raise LedgerError(errors.NOT_SUSPENDED, f"The meter of account {account} was in no test.")
        row, most = rows[-1], meter.wheel_pulses - 1
        if end_reading is not None and row.end_reading is None:
            raise RequestError(
                errors.FIELD,
                f"The test of account {account} has not ended: it has no reading at its end.",
                "End it with that reading: icgas hall suspend end.",
            )
        before, after = row.reading, row.end_reading
        if reading is not None:
            before = units.pulses(reading, meter.pulse_weight, most=most, what="reading")
        if end_reading is not None:
            after = units.pulses(end_reading, meter.pulse_weight, most=most, what="reading")
        if (before, after) == (row.reading, row.end_reading):
            raise RequestError(
                errors.FIELD,
                "These are the readings the test has.",
                "Give the right one: --reading of its beginning, --end-reading of its end.",
            )
        if after is not None:
            _check_turn(meter, before, after)
        row = books.correct_suspension(
            binding,
            row,
            before,
            after,
            cancelled_at=counter.now(),
            cancelled_for=reason,
            requester=requester,
            approver=approver,
        )
        return of_row(books, row, binding, meter, corrected=True)


def _check_turn(meter: MeterRow, before: int, after: int) -> None:
    if (after - before) % meter.wheel_pulses > meter.wheel_pulses // 2:
        raise RequestError(
            errors.FIELD,
            f"The wheels cannot have gone from {units.volume(before, meter.pulse_weight)} "
            f"to {units.volume(after, meter.pulse_weight)} m³ in a test.",
            "Read the wheels again: they never turn back. If the first reading was mistyped, correct it: "
            "icgas hall suspend correct.",
        )


def open_suspension(books: Books, binding: int) -> SuspensionRow | None:
    """The test that is under way, None if there is none."""
    return next((row for row in books.suspensions(binding) if row.ended_at is None), None)


def of_row(
    books: Books, row: SuspensionRow, binding: Binding, meter: MeterRow, *, corrected: bool = False
) -> Suspension:
    """A row, its readings in m³."""
    weight = meter.pulse_weight
    used = None if row.end_reading is None else (row.end_reading - row.reading) % meter.wheel_pulses
    return Suspension(
        account=binding.account,
        meter=meter.number,
        reason=row.reason,
        begun_at=books.moment(row.at),
        reading_before=units.volume(row.reading, weight),
        ended_at=None if row.ended_at is None else books.moment(row.ended_at),
        reading_after=None if row.end_reading is None else units.volume(row.end_reading, weight),
        test_gas=None if used is None else units.volume(used, weight),
        make_up=None if used is None else units.volume(used if used >= 10**weight else 0, weight),
        cancelled=row.cancelled_for,
        corrected=corrected,
    )
