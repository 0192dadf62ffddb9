"""Plain days at the counter: each service beside selling, as it should go and as it must be refused; by known answers.

Nothing fails here. What is killed, pulled or swapped is gasrig.counter_cut's, what chance does gasrig.explore's. The
ledger is a real one, the meter the real firmware, and what must come out stands in the day itself, in m³ and fen, by
the rule it names; the journal is followed by this module's own few lines after docs/ledger.md, not by the hall's audit.

A day that goes wrong raises Violation: ``day`` for an answer that is another, ``refusal`` for a service that was not
refused as it must be or that wrote something all the same, ``journal`` for a ledger that is not what its journal says.
"""

import csv
import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from gascard import codes
from gascard.chip import DEFAULT_PSC, MAIN, Chip
from gascard.frames import HEAD, frame_size
from gascard.records import ORDER, ORDER_AT, REPORT_AT
from gascard.sle4442 import tries_left
from gashall import errors, keyfile
from gashall.batch import Judged, Row
from gashall.errors import GasError
from gashall.exchange import NewMeter
from gashall.readers.base import Reader
from gashall.readers.chip import ChipReader, Plan
from gashall.services import Hall
from gashall.signer import KeyFileSigner
from gasrig.bench import TEST_REGION
from gasrig.checkers import Violation
from gasrig.counter_cut import DeadError, KeptLedger, _Meter
from gasrig.flows import HEIR, METER, OTHER_METER, ROOT

__all__ = ["DAYS", "RULES", "Day", "follow", "play"]

RULES: dict[str, str] = {
    "day": "Every service answers, writes and books what the rule it is of says. (RULES 1; DOMAIN 1 and 3)",
    "refusal": "What must be refused is refused by its own code and writes nothing. (DESIGN 8)",
    "journal": "The journal's chain holds and leads to the rows that are there, to the cell. (docs/ledger.md)",
}

_NOON = datetime(2026, 3, 1, 4, tzinfo=UTC)  # in the hall, eight hours east
ACCOUNT = "0000000001"
ASKED: dict[str, Any] = {"reason": "proven", "requester": "Li Ming"}
APPROVED: dict[str, Any] = {"requester": "Li Ming", "approver": "Zhao Min", "reason": "the disk broke"}


class Day:
    """One hall, a customer with 30 m³ bought and loaded, his meter and his card. A context manager; audited at its end.

    ``now`` is the hall's clock and may be set.
    """

    def __init__(self) -> None:
        self.now = _NOON
        self.signer = KeyFileSigner(ROOT, TEST_REGION)
        self.ledger = KeptLedger(TEST_REGION)
        self.hall = Hall(self.ledger, self.signer, lambda: self.now)
        self.meter = _Meter(self.signer, METER)
        self.card = Chip()
        self.hall.open_account(self.reader(), meter=METER, volume=30, name="Li Wei", fen=7500)
        self.loads(3000)

    def close(self) -> None:
        """Give the handles back."""
        self.ledger.close()

    def reader(self, chip: Chip | None = None) -> ChipReader:
        """A reader with the customer's card in it, or ``chip``."""
        return ChipReader(self.card if chip is None else chip, trace=_silent)

    def so(self, what: str, said: object, right: object) -> None:
        """``said`` must be ``right``."""
        if said != right:
            raise Violation("day", f"{what}: {said}, not {right}")

    def refused(self, code: int, what: str, service: Callable[[], object]) -> None:
        """``service`` must be refused by ``code`` and leave ledger and card as they were, but for a report."""
        before, dump = self.orders(), self.card.dump()[:_COUNTER_AT]
        try:
            service()
        except GasError as error:
            if error.code != code:
                raise Violation("refusal", f"{what}: {error.name}, not {errors.words(code)[0]}") from None
        else:
            raise Violation("refusal", f"{what}: not refused as {errors.words(code)[0]}")
        if self.orders() != before or self.card.dump()[:_COUNTER_AT] != dump:
            raise Violation("refusal", f"{what}: refused, and written all the same")

    def orders(self) -> list[tuple[Any, ...]]:
        """Sequence, kind, paid and released of all orders, and what was asked for."""
        sequel = "SELECT sequence, kind, paid_pulses, released_pulses, frame FROM orders ORDER BY id"
        asked = "SELECT id, approver, written, paid_at, cancelled_at FROM grants ORDER BY id"
        return [*self.ledger.connection.execute(sequel), *self.ledger.connection.execute(asked)]

    def visit(self, chip: Chip | None = None) -> int:
        """A card goes into the meter and comes out; the meter's code."""
        chip = self.card if chip is None else chip
        visit = self.meter.visit(chip.dump())
        chip.restore(visit.dump)
        return visit.code

    def loads(self, bought: int, correction: int = 0) -> None:
        """The customer's card goes into the meter, which then has these totals, and is read back."""
        self.so("the meter", self.visit(), codes.OK)
        store = self.meter.store()
        self.so("totals on the meter", (store.bought_total, store.correction_total), (bought, correction))
        self.hall.read_back(self.reader())

    def asked(self, volume: int | str, kind: str, approver: str = "Zhao Min") -> int:
        """A request, approved; its number."""
        if kind == "gift":
            made = self.hall.request_gift(ACCOUNT, volume, **ASKED)
        elif kind == "refund":
            made = self.hall.request_refund(ACCOUNT, volume, **ASKED)
        else:
            made = self.hall.request_makeup(ACCOUNT, volume, kind=kind, **ASKED)
        self.hall.approve_grant(made.number, approver)
        return made.number

    def replaced(self) -> Any:
        """The customer has another card; the lost one is given back with what the hall said."""
        lost, self.card = self.card, Chip()
        told = self.hall.replace(self.reader(), account=ACCOUNT, reason="lost in use")
        return lost, told

    def neighbour(self) -> Chip:
        """Another customer's opening card."""
        chip = Chip()
        self.hall.open_account(self.reader(chip), meter=OTHER_METER, volume=10, name="Wang Fang", fen=2500)
        return chip

    def tests(self) -> list[tuple[int, int | None]]:
        """The readings of all tests that count."""
        rows = self.hall.history(ACCOUNT).suspensions
        return [(row.reading, row.end_reading) for row in rows if row.cancelled_at is None]

    def keys(self) -> int:
        """The version of the keys that the ledger knows the meter to have."""
        return int(self.ledger.connection.execute("SELECT key_version FROM meters ORDER BY number").fetchone()[0])

    @contextmanager
    def meanwhile(self, does: Callable[[], object], chip: Chip | None = None) -> Iterator[Reader]:
        """A reader, with ``chip`` or the customer's card; as its password is presented, another window does that."""
        reader = self.reader(chip)
        todo = [does]

        def step(plan: Plan) -> None:
            if todo:
                todo.pop()()

        reader.step = step
        yield reader
        self.so("the other window came", todo, [])

    def audited(self) -> None:
        """The ledger is what its journal says, by the hall's audit and by ``follow``."""
        self.so("findings of the audit", [str(found) for found in self.hall.audit().findings], [])
        follow(self.ledger.connection.execute)


_COUNTER_AT = 260


def _silent(line: str) -> None:
    """No trace."""


# ---------------------------------------------------------------------- the journal, followed


def follow(execute: Callable[[str], Any]) -> None:
    """Follow the journal's chain and replay it: every row of every table must come out. Violation ``journal``.

    After docs/ledger.md alone; nothing of the hall's is asked.
    """
    head = bytes(32)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    keys: dict[str, list[str]] = {}
    names = [row[0] for row in execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
    for name in sorted({*names} - {"journal", "alembic_version", "sqlite_sequence"}):
        columns = execute(f"PRAGMA table_info({name})").fetchall()
        keys[name] = [row[1] for row in columns if row[5]]
    for number, at, kind, account, body, digest in execute(
        "SELECT number, at, kind, account, body, hash FROM journal ORDER BY number"
    ).fetchall():
        words = b"".join(len(word.encode()).to_bytes(4, "big") + word.encode() for word in (kind, account, body))
        data = b"icgas/1 journal\x00" + head + number.to_bytes(8, "big") + at.to_bytes(8, "big") + words
        if hashlib.sha256(data).digest() != digest:
            raise Violation("journal", f"row {number}: its hash does not hold the row before and itself")
        head = digest
        for table, changed in json.loads(body).items():
            for row in changed:
                key = (table, *[row[column] for column in keys[table]])
                rows.setdefault(key, {}).update(row)
    for table, key_columns in keys.items():
        cursor = execute(f"SELECT * FROM {table}")
        columns = [column[0] for column in cursor.description]
        for values in cursor.fetchall():
            is_there = {name: _cell(value) for name, value in zip(columns, values, strict=True)}
            said = rows.pop((table, *[is_there[column] for column in key_columns]), {})
            wrong = [name for name in columns if said.get(name) != is_there[name]]
            if wrong:
                raise Violation("journal", f"{table}, {wrong[0]}: the journal does not say {is_there[wrong[0]]}")
    if rows:
        raise Violation("journal", f"the journal has a row that is not there: {next(iter(rows))}")


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.encode().hex() if isinstance(value, str) else value


# ---------------------------------------------------------------------- the days


def _makeup(day: Day) -> None:
    # DOMAIN 1: every make-up goes through approval; written once, on its own account's card.
    hall, asked = day.hall, day.hall.request_makeup(ACCOUNT, 20, kind="loss", **ASKED)

    def write(number: int = asked.number) -> Any:
        return hall.write_grant(day.reader(), number)

    day.refused(errors.GRANT_NOT_APPROVED, "a make-up nobody approved", write)

    def approve(name: str) -> Callable[[], object]:
        return lambda: hall.approve_grant(asked.number, name)

    for name in ("Li Ming", "LI ming", "Ｌｉ Ｍｉｎｇ"):
        day.refused(errors.APPROVER, f"{name} approves his own", approve(name))
    hall.approve_grant(asked.number, "Zhao Min")
    day.refused(errors.APPROVER, "approved again", approve("Sun Li"))
    other = day.neighbour()
    day.refused(errors.GRANT_ACCOUNT, "the neighbour's card", lambda: hall.write_grant(day.reader(other), asked.number))
    day.so("make-up", write().state, "on the card")
    day.refused(errors.GRANT_WRITTEN, "the same once more", write)
    day.loads(5000)
    day.refused(errors.GRANT_WRITTEN, "the same once more, loaded", write)
    day.refused(errors.GRANT_WRITTEN, "a written one cancelled", lambda: hall.cancel_grant(asked.number))
    ended = day.asked(5, "loss")
    hall.cancel_grant(ended)
    day.refused(errors.GRANT_ENDED, "a cancelled one", lambda: write(ended))


def _gift(day: Day) -> None:
    # DOMAIN 3: a stopped account is given nothing; limits are for what is bought, and gifts are not paid back.
    hall = day.hall
    number = day.asked(5, "gift")
    hall.stop_account(ACCOUNT, reason="moved", approver="Zhao Min")
    day.refused(errors.ACCOUNT_STOPPED, "a gift", lambda: hall.write_grant(day.reader(), number))
    day.refused(errors.ACCOUNT_STOPPED, "a sale", lambda: hall.sell(day.reader(), 1))
    hall.resume_account(ACCOUNT, reason="back", approver="Zhao Min")
    day.now += timedelta(days=1)
    hall.write_grant(day.reader(), number)
    day.loads(3500)
    day.refused(codes.REFUND_TOO_LARGE, "a gift paid back", lambda: hall.request_refund(ACCOUNT, 31, **ASKED))
    hall.set_limits(day=20)
    hall.sell(day.reader(), 20)
    day.loads(5500)
    day.refused(errors.OVER_LIMIT, "a m³ more that day", lambda: hall.sell(day.reader(), 1))
    day.now += timedelta(hours=11, minutes=59)  # 15:59 UTC is 23:59 in the hall
    day.refused(errors.OVER_LIMIT, "a minute before midnight", lambda: hall.sell(day.reader(), 1))
    day.now += timedelta(minutes=1)
    hall.sell(day.reader(), 1)


def _drift(day: Day) -> None:
    # RULES 1, correction: a total, in every later order; purchases, gifts, replacement cards and refunds bear it.
    hall = day.hall
    hall.write_grant(day.reader(), day.asked("-3", "drift"))
    day.loads(3000, 300)
    hall.sell(day.reader(), 10, fen=2500)
    day.loads(4000, 300)
    hall.write_grant(day.reader(), day.asked(5, "gift"))
    day.loads(4500, 300)
    day.replaced()
    day.loads(4500, 300)
    hall.write_grant(day.reader(), day.asked(1, "drift"))
    day.loads(4500, 200)
    hall.write_grant(day.reader(), day.asked(10, "refund"))
    day.loads(3500, 200)


def _held(day: Day) -> None:
    # RULES 1, paid and released: what no report proves loaded is held, made up once, and adds to nothing paid.
    hall = day.hall
    hall.stock_in(3)
    hall.sell(day.reader(), 20, fen=5000)
    lost, told = day.replaced()
    day.so("held and released", (told.held, told.released, told.replacement), (Decimal(20), Decimal(30), 1))
    day.so("blank cards used", hall.stock().used, 1)
    day.loads(3000)
    day.so("the lost card at the meter", day.visit(_copied(lost)), codes.REPLACED)
    day.refused(codes.REPLACED, "the lost card at the hall", lambda: hall.sell(day.reader(lost), 1))
    day.refused(errors.HELD, "another loss while gas is held", lambda: day.asked(1, "loss"))
    day.refused(errors.NOT_HELD, "more than is held", lambda: day.asked(21, "held"))
    back = hall.take_back(day.reader(lost))
    day.so("taken back", (back.account, back.held, back.waiting), (ACCOUNT, Decimal(20), Decimal(20)))
    day.refused(errors.CARD_IN_USE, "the present card taken back", lambda: hall.take_back(day.reader()))
    one, two = day.asked(20, "held"), day.asked(20, "held")
    hall.write_grant(day.reader(), one)
    day.loads(5000)
    day.refused(errors.NOT_HELD, "made up twice", lambda: hall.write_grant(day.reader(), two))
    hall.sell(day.reader(), 1)
    day.loads(5100)
    paid = day.ledger.connection.execute("SELECT SUM(paid_pulses) FROM orders").fetchall()[0][0]
    day.so("paid, by all orders", paid, 5100)


def _held_on_card(day: Day) -> None:
    # The lost card was loaded after all: it turns up, its report proves so, and nothing is held any more.
    hall = day.hall
    hall.sell(day.reader(), 20, fen=5000)
    day.visit()
    lost, told = day.replaced()
    day.so("held", told.held, Decimal(20))
    day.so("held once the old card is back", hall.take_back(day.reader(lost)).held, Decimal(0))
    day.refused(errors.NOT_HELD, "made up all the same", lambda: day.asked(1, "held"))
    day.so("the meter", day.visit(), codes.OK)
    day.so("bought", day.meter.store().bought_total, 5000)


def _unfinished(day: Day) -> None:
    # The card broke while it was written: its order may be on it, so it is held and nobody may finish it.
    hall = day.hall
    reader = day.reader()

    def step(plan: Plan) -> None:
        if plan[0] == MAIN and plan[1] > ORDER_AT:
            raise DeadError

    reader.step = step
    with suppress(DeadError):
        hall.sell(reader, 20, fen=5000)
    states = [row[0] for row in day.ledger.connection.execute("SELECT state FROM orders ORDER BY id")]
    day.so("states, killed", states, ["done", "pending"])
    _, told = day.replaced()
    day.so("held", (told.held, told.sequence), (Decimal(20), 3))
    states = [row[0] for row in day.ledger.connection.execute("SELECT state FROM orders ORDER BY id")]
    day.so("states, replaced", states, ["done", "written", "written"])
    day.audited()
    hall.write_grant(day.reader(), day.asked(20, "held"))
    day.loads(5000)


def _refund(day: Day) -> None:
    # RULES 1, money back: paid on a report of the order, no other order before that, once, out of the shift's drawer.
    hall = day.hall
    hall.sell(day.reader(), 20, fen=5000)
    day.loads(5000)
    hall.open_shift("Sun Li")
    number = day.asked(10, "refund")
    day.so("money for 10 of 20 m³ at 50 yuan", hall.grant(number).fen, 2500)
    day.refused(errors.REFUND_NOT_PROVEN, "paid before it is written", lambda: hall.pay_refund(number))
    hall.write_grant(day.reader(), number)
    day.refused(errors.REFUND_NOT_PROVEN, "paid before the meter has it", lambda: hall.pay_refund(number))
    day.refused(errors.REFUND_UNPAID, "a sale before it is paid", lambda: hall.sell(day.reader(), 1))
    day.refused(errors.REFUND_UNPAID, "another refund", lambda: hall.request_refund(ACCOUNT, 1, **ASKED))
    day.visit()
    day.refused(errors.REFUND_NOT_PROVEN, "paid without the report", lambda: hall.pay_refund(number))
    day.refused(errors.REFUND_UNPAID, "a sale, loaded and not paid", lambda: hall.sell(day.reader(), 1))
    hall.read_back(day.reader())
    day.so("the meter gave up", day.meter.store().bought_total, 4000)
    hall.pay_refund(number)
    day.refused(errors.GRANT_ENDED, "paid twice", lambda: hall.pay_refund(number))
    hall.sell(day.reader(), 1, fen=250)
    shift = hall.shift()
    day.so("paid out and in the drawer", (shift.paid_out, shift.money), (2500, -2250))
    day.loads(4100)


def _cancelled(day: Day) -> None:
    # A waiting purchase is reversed by a refund only; cancelled, its gas comes back and the money is never paid.
    hall = day.hall
    hall.sell(day.reader(), 20, fen=5000)
    number = day.asked(20, "refund")
    hall.write_grant(day.reader(), number)
    day.refused(errors.REFUND_NOT_PROVEN, "an older report is no proof", lambda: hall.pay_refund(number))
    day.refused(errors.FIELD, "cancelled without the card", lambda: hall.cancel_grant(number))
    hall.cancel_grant(number, day.reader())
    day.loads(5000)
    day.refused(errors.GRANT_ENDED, "a cancelled refund paid", lambda: hall.pay_refund(number))
    day.refused(errors.GRANT_ENDED, "cancelled twice", lambda: hall.cancel_grant(number, day.reader()))
    # And once more: the card with the refund is lost, so its replacement takes the refund back.
    number = day.asked(10, "refund")
    hall.write_grant(day.reader(), number)
    day.replaced()
    day.refused(errors.GRANT_ENDED, "paid though its card was replaced", lambda: hall.pay_refund(number))
    day.loads(5000)


def _restored(day: Day) -> None:
    # RULES 1, restored ledger: floor, lapse, probe, adopt; nothing sold, paid out or replaced meanwhile.
    hall = day.hall
    hall.sell(day.reader(), 20, fen=5000)
    day.loads(5000)
    refund = day.asked(10, "refund")
    hall.write_grant(day.reader(), refund)
    day.loads(4000)
    makeup = day.asked(1, "loss")
    copy = day.ledger.connection.serialize()
    hall.pay_refund(refund)
    hall.sell(day.reader(), 10)
    day.ledger.connection.deserialize(copy)
    day.so("recovering", hall.mark_restored().recovering, 1)
    day.refused(errors.LEDGER_BEHIND, "a card that knows more", lambda: hall.sell(day.reader(), 1))
    adopted = hall.adopt(day.reader(), **APPROVED)
    day.so("adopted", (adopted.raised, adopted.released, adopted.recovering), (Decimal(10), Decimal(50), True))
    day.so("the make-up asked for before", hall.grant(makeup).state, "cancelled")
    day.refused(errors.GAS_ON_CARD, "a probe over gas", lambda: hall.probe(day.reader()))
    day.visit()
    day.so("bought", day.meter.store().bought_total, 5000)
    hall.read_back(day.reader())
    gift = day.asked(1, "gift")
    for what, service in (
        ("a sale", lambda: hall.sell(day.reader(), 1)),
        ("a gift", lambda: hall.write_grant(day.reader(), gift)),
    ):
        day.refused(errors.RECOVERING, what, service)
    settled = day.ledger.connection.serialize()
    probe = hall.probe(day.reader())
    day.so("the probe's sequence is past what may be lost", probe.sequence > 100, True)
    day.so("a probe again", hall.probe(day.reader()).sequence, probe.sequence)
    # The ledger is lost again before the meter has seen the probe: its total of 0 lowers nothing, report or not.
    lost = day.ledger.connection.serialize()
    bare = _copied(day.card)
    bare.main[REPORT_AT[0] :] = b"\xff" * (len(bare.main) - REPORT_AT[0])
    day.ledger.connection.deserialize(settled)
    hall.mark_restored()
    day.so("a probe adopted", hall.adopt(day.reader(bare), **APPROVED).released, Decimal(50))
    day.ledger.connection.deserialize(lost)
    day.loads(5000)
    day.so("at the end", hall.adopt(day.reader(), **APPROVED).recovering, False)
    day.refused(errors.NOTHING_TO_ADOPT, "adopted twice", lambda: hall.adopt(day.reader(), **APPROVED))
    day.refused(errors.NOT_RECOVERING, "a probe for nothing", lambda: hall.probe(day.reader()))
    day.refused(errors.GRANT_ENDED, "a request from before, written", lambda: hall.write_grant(day.reader(), makeup))
    day.refused(errors.GRANT_ENDED, "a refund from before, paid", lambda: hall.pay_refund(refund))
    hall.sell(day.reader(), 10)
    day.loads(6000)


def _sold_meanwhile(day: Day) -> None:
    # The company sells to recovering accounts: a probe put over that gas must not give it, nor make it lost.
    hall = day.hall
    hall.mark_restored()
    hall.sell_while_recovering(True)
    hall.sell(day.reader(), 20)
    hall.probe(day.reader(), overwrite=True)
    day.loads(3000)
    day.so("at the end", hall.adopt(day.reader(), **APPROVED).recovering, False)
    hall.sell(day.reader(), 10)
    day.loads(6000)


def _lost_while_recovering(day: Day) -> None:
    # The card is lost while the ledger does not know what came after the copy: the new one is a probe. It takes nothing
    # and gives nothing, whatever was lost, and its report says what the meter has.
    for what, meanwhile, bought, raised, held in (
        ("nothing", (), 3000, 0, 0),
        ("a sale that was loaded", (("sell", 20), "load"), 5000, 20, 0),
        ("a sale that was not", (("sell", 20),), 3000, 0, 0),
        ("a refund that was loaded", (("refund", 10), "load"), 2000, 0, 1000),
        ("a sale, and a card lost and replaced", (("sell", 20), "load", "replace", "load"), 5000, 20, 0),
    ):
        day.so("recovering, " + what, _lost_after(day, meanwhile, bought), (Decimal(raised), held))


def _lost_after(day: Day, meanwhile: tuple[Any, ...], bought: int) -> tuple[Decimal, int]:
    # From the day's begin: a copy, what comes ``meanwhile``, the copy restored, the card lost. What was adopted and is
    # held at last. Afterwards ledger, meter and card are as they were.
    hall, ledger = day.hall, day.ledger.connection
    copy, card = ledger.serialize(), day.card
    dump = card.dump()
    day.meter.keep()
    for step in meanwhile:
        if step == "load":
            day.visit()
        elif step == "replace":
            day.replaced()
        elif step[0] == "sell":
            hall.sell(day.reader(), step[1])
        else:
            hall.write_grant(day.reader(), day.asked(step[1], "refund"))
    lost = day.card
    ledger.deserialize(copy)
    hall.mark_restored()
    told = day.replaced()[1]
    day.so("a replacement's sequence and total", (told.sequence > 100, told.released), (True, Decimal(0)))
    day.so("the new card at the meter", day.visit(), codes.OK)
    day.so("bought", day.meter.store().bought_total, bought)
    day.so("the lost card at the meter", day.visit(_copied(lost)) == codes.OK, False)
    adopted = hall.adopt(day.reader(), **APPROVED)
    day.so("recovering", adopted.recovering, False)
    held = hall.reconcile(ACCOUNT).held
    hall.sell(day.reader(), 10)
    day.loads(bought + 1000)
    day.audited()
    ledger.deserialize(copy)
    day.meter.back()
    day.card = card
    card.restore(dump)
    return adopted.raised, held


def _suspended(day: Day) -> None:
    # DOMAIN 1: a meter under test; the wheels may pass their highest figure.
    hall = day.hall
    number = day.asked(1, "gift")
    hall.suspend(ACCOUNT, "99999.5", "runs fast")
    day.refused(errors.SUSPENDED, "a sale", lambda: hall.sell(day.reader(), 1))
    day.refused(errors.SUSPENDED, "a gift", lambda: hall.write_grant(day.reader(), number))
    day.refused(
        errors.SUSPENDED,
        "a replacement",
        lambda: hall.replace(day.reader(Chip()), account=ACCOUNT, reason="broken"),
    )
    day.refused(errors.SUSPENDED, "again", lambda: hall.suspend(ACCOUNT, 0, "runs fast"))
    ended = hall.end_suspension(ACCOUNT, "2.5")
    day.so("gas of the test", (ended.test_gas, ended.make_up), (Decimal(3), Decimal(3)))
    hall.sell(day.reader(), 1)


def _shift(day: Day) -> None:
    # DOMAIN 3: money by the price list, the shift's own, and the cards counted.
    hall = day.hall
    hall.set_price(None, 250)
    hall.stock_in(5)
    hall.open_shift("Sun Li")
    hall.stock_out(3)
    day.refused(errors.PRICE_DIFFERS, "another sum", lambda: hall.sell(day.reader(), 20, fen=1))
    day.so("20 m³ at 2.50 yuan", hall.sell(day.reader(), 20).fen, 5000)
    day.neighbour()
    day.visit()
    day.replaced()
    count = hall.shift()
    day.so("cards used and money", (count.used, count.money, count.replaced), (2, 5000 + 2500, 1))
    day.refused(errors.SHIFT_DIFFERS, "a card short", lambda: hall.close_shift(7500, cards=0))
    day.refused(errors.SHIFT_DIFFERS, "a fen short", lambda: hall.close_shift(7499, cards=1))
    hall.close_shift(7500, cards=1)
    day.so("in the store", hall.stock().store, 3)
    day.loads(5000)
    day.refused(errors.SHIFT_MISSING, "a sale without a shift", lambda: hall.sell(day.reader(), 1))
    day.refused(
        errors.SHIFT_MISSING,
        "a replacement without a shift",
        lambda: hall.replace(day.reader(Chip()), account=ACCOUNT, reason="broken"),
    )


def _tampered(day: Day) -> None:
    # A cell changed behind the journal's back is found, and such a copy is not restored.
    day.audited()
    head = day.hall.audit().head
    copy = day.ledger.connection.serialize()
    day.hall.sell(day.reader(), 20, fen=5000)
    day.so("an earlier head", day.hall.audit(head).clean, True)
    kept = day.ledger.connection.serialize()
    day.ledger.connection.execute("UPDATE orders SET fen = 1 WHERE sequence = 2")
    day.so("an audit of a changed sum", day.hall.audit().clean, False)
    day.refused(errors.LEDGER, "a changed copy restored", day.hall.mark_restored)
    day.ledger.connection.deserialize(copy)
    later = _head_of(kept)
    day.so("an audit against a later head", day.hall.audit(later).clean, False)
    day.ledger.connection.deserialize(kept)


def _head_of(copy: bytes) -> str:
    file = sqlite3.connect(":memory:")
    try:
        file.deserialize(copy)
        return str(file.execute("SELECT hex(hash) FROM journal ORDER BY number DESC LIMIT 1").fetchone()[0]).lower()
    finally:
        file.close()


def _verified(day: Day) -> None:
    # RULES 1, last try: a check tries the password on no stranger, and on nobody unasked.
    hall = day.hall
    far = Hall(KeptLedger(1), KeyFileSigner(ROOT, 1), lambda: day.now)
    stranger = Chip()
    far.open_account(day.reader(stranger), meter=METER, volume=1)
    far.close()
    forged = _copied(day.card)
    forged.main[ORDER_AT + 30] ^= 1
    for what, chip in (("a blank", Chip()), ("another region's", stranger), ("a damaged", forged)):
        seen = hall.verify(day.reader(chip), password=True)
        day.so(f"{what} card", (seen.good, seen.password), (False, "not presented"))
        day.so(f"tries of {what} card", tries_left(chip.security[0]), 3)
    day.so("unasked", hall.verify(day.reader()).password, "not asked")
    seen = hall.verify(day.reader(), password=True)
    day.so("his own card", (seen.good, seen.password, seen.tries_left), (True, "right", 3))
    copied = _copied(day.card)
    copied.security[1:4] = b"\x12\x34\x56"
    seen = hall.verify(day.reader(copied), password=True)
    day.so("a copied card", (seen.good, seen.password, seen.tries_left), (False, "refused", 2))
    day.card.security[0] = 0x04
    seen = hall.verify(day.reader(), password=True)
    day.so("a last try", (seen.password, tries_left(day.card.security[0])), ("not presented", 1))
    day.card.security[0] = 0x07


def _windows(day: Day) -> None:
    # What was judged before the password was presented is judged again in the transaction that books.
    hall = day.hall
    other = Hall(day.ledger, day.signer, lambda: day.now)
    number = day.asked(5, "gift")
    with day.meanwhile(lambda: other.cancel_grant(number)) as reader:
        _fails(day, errors.GRANT_ENDED, "a gift cancelled meanwhile", lambda: hall.write_grant(reader, number))
    with day.meanwhile(lambda: other.suspend(ACCOUNT, 0, "noise")) as reader:
        _fails(day, errors.SUSPENDED, "a sale, suspended meanwhile", lambda: hall.sell(reader, 1))
    other.end_suspension(ACCOUNT, 0)
    day.now += timedelta(days=1)
    with day.meanwhile(lambda: other.set_limits(purchase=1)) as reader:
        _fails(day, errors.OVER_LIMIT, "a sale, limited meanwhile", lambda: hall.sell(reader, 2))
    hall.set_limits(purchase=None)
    hall.set_price(None, 250)
    hall.set_price(day.now + timedelta(minutes=1), 300)

    def passes() -> None:
        day.now += timedelta(minutes=1)

    with day.meanwhile(passes) as reader:
        day.so("1 m³ at 3 yuan, from this minute on", hall.sell(reader, 1).fen, 300)
    day.loads(3100)
    with day.meanwhile(lambda: other.sell(day.reader(_copied(day.card)), 1)) as reader:
        _fails(day, codes.OLDER, "a sale, sold meanwhile on the card's clone", lambda: hall.sell(reader, 1))


def _company_windows(day: Day) -> None:
    # The same with a company's card, whose maker's password is presented; and nothing is begun twice.
    hall = day.hall
    other = Hall(day.ledger, day.signer, lambda: day.now)

    def cleared(reader: Reader) -> object:
        return hall.issue_clear(reader, account=ACCOUNT, **APPROVED)

    with day.meanwhile(lambda: other.suspend(ACCOUNT, 0, "noise"), Chip()) as reader:
        _fails(day, errors.SUSPENDED, "a clear card, suspended meanwhile", lambda: cleared(reader))
    other.end_suspension(ACCOUNT, 0)
    with day.meanwhile(lambda: cleared(day.reader(Chip())), Chip()) as reader:
        _fails(day, errors.BINDING_ENDS, "a clear card, made meanwhile", lambda: cleared(reader))
    day.refused(errors.BINDING_ENDS, "a sale with a clear card out", lambda: hall.sell(day.reader(), 1))


def _closed_account(day: Day) -> None:
    # RULES 1, money back: only against the final record, gifts not, and once; the meter is then free for another.
    hall, tool = day.hall, Chip()
    hall.write_grant(day.reader(), day.asked(5, "gift"))
    day.loads(3500)
    day.meter.under_test.pulses(200)
    made = hall.issue_clear(day.reader(tool), account=ACCOUNT, **APPROVED)
    day.refused(errors.FINAL_MISSING, "read back before the meter has it", lambda: hall.read_tool(day.reader(tool)))
    day.refused(errors.BINDING_ENDS, "closed before the meter has it", lambda: hall.close_account(ACCOUNT, **APPROVED))
    day.so("the meter", day.visit(tool), codes.OK)
    day.refused(errors.TOOL_OUT, "taken back as unused", lambda: hall.end_tool(made.card, day.reader(tool)))
    day.refused(errors.BINDING_ENDS, "closed before it is read", lambda: hall.close_account(ACCOUNT, **APPROVED))
    ended = hall.read_tool(day.reader(tool)).ended
    day.so("left", ended and (ended.remaining, ended.not_loaded), (Decimal(33), Decimal(0)))
    hall.open_shift("Sun Li")
    told = hall.close_account(ACCOUNT, **APPROVED)
    # Gas burns in the order it came: 28 m³ of the purchase are left below the gift.
    day.so("paid back", (told.paid_back, told.fen, told.owed), (Decimal(28), 7000, 0))
    day.so("closed again", hall.close_account(ACCOUNT, **APPROVED).resumed, True)
    day.so("paid out", hall.shift().paid_out, 7000)
    day.refused(errors.ACCOUNT_CLOSED, "a sale", lambda: hall.sell(day.reader(), 1))


def _lapsed(day: Day) -> None:
    # RULES 1, ledger behind: a refund that a restore made void is loaded by no meter, and nothing is paid on a copy's
    # word. Money back: what nobody paid was not paid back.
    hall, tool = day.hall, Chip()
    hall.sell(day.reader(), 20, fen=5000)
    day.loads(5000)
    hall.write_grant(day.reader(), day.asked(10, "refund"))
    hall.mark_restored()
    hall.probe(day.reader())
    day.loads(5000)
    hall.adopt(day.reader(), **APPROVED)
    number = day.asked(50, "refund")
    day.so("money for all of it", hall.cancel_grant(number).fen, 12500)
    hall.issue_clear(day.reader(tool), account=ACCOUNT, **APPROVED)
    day.so("the meter", day.visit(tool), codes.OK)
    hall.read_tool(day.reader(tool))
    hall.mark_restored()
    day.refused(errors.RECOVERING, "closed on a copy's word", lambda: hall.close_account(ACCOUNT, **APPROVED))
    day.so("paid back", hall.close_account(ACCOUNT, fen=12500, **APPROVED).paid_back, Decimal(50))


def _no_price(day: Day) -> None:
    # A hall with a price list gives nothing for nothing: the list begins later, or the clock stands wrong.
    day.hall.set_price(day.now + timedelta(days=1), 250)
    day.refused(errors.PRICE_MISSING, "a sale before the list begins", lambda: day.hall.sell(day.reader(), 20))
    day.hall.sell(day.reader(), 20, fen=5000)
    day.loads(5000)


def _dead_meter(day: Day) -> None:
    # RULES 1, dead meter: by the closing index, made up within it, the number refused until the meter is cleared.
    hall = day.hall
    hall.sell(day.reader(), 20, fen=5000)  # on the card, and never loaded
    new = NewMeter(number=OTHER_METER, initial_reading=5)
    asked = {"account": ACCOUNT, "meter": new, "closing_index": "7", **APPROVED}
    day.refused(errors.EXCHANGE_MISSING, "the card before the exchange", lambda: hall.exchange_card(day.reader()))
    told = hall.exchange_dead(**asked)
    day.so("left by the index", (told.state, told.owed), ("dead", Decimal(43)))
    day.refused(errors.EXCHANGE, "declared twice", lambda: hall.exchange_dead(**asked))
    day.refused(errors.EXCHANGE, "a sale in between", lambda: hall.sell(day.reader(), 1))
    hall.exchange_card(day.reader())
    day.refused(
        errors.METER_DEAD, "the dead meter opened", lambda: hall.open_account(day.reader(Chip()), meter=METER, volume=1)
    )
    heir = _Meter(day.signer, OTHER_METER)
    day.card.restore(heir.visit(day.card.dump()).dump)
    hall.read_back(day.reader())
    day.refused(errors.DEAD_METER_LIMIT, "more than was left", lambda: day.asked(44, "dead meter"))
    hall.write_grant(day.reader(), day.asked(43, "dead meter"))
    day.card.restore(heir.visit(day.card.dump()).dump)
    day.so("on the new meter", heir.store().remaining, 4300)
    hall.read_back(day.reader())
    day.so("difference", hall.reconcile(ACCOUNT).difference, 0)


def _dead_meters_gas(day: Day) -> None:
    # RULES 1, dead meter; decision 195: decided on before its heir's binding ends, by people and not by a restore.
    hall, third = day.hall, NewMeter(number=HEIR, initial_reading=0)
    hall.stock_in(9)
    refund = day.asked(5, "refund")
    hall.write_grant(day.reader(), refund)
    asked = {"account": ACCOUNT, "closing_index": 7, **APPROVED}
    told = hall.exchange_dead(meter=NewMeter(number=OTHER_METER, initial_reading=5), **asked)
    day.so("left by the index, with the refund's gas", told.owed, Decimal(23))
    day.so("a refund the dead meter never loaded", hall.grant(refund).state, "cancelled")
    day.refused(errors.GRANT_ENDED, "its money", lambda: hall.pay_refund(refund))
    lost, day.card = day.card, Chip()
    hall.exchange_card(day.reader(), account=ACCOUNT, reason="lost in use")
    day.so("blank cards used", hall.stock().used, 1)
    heir = _Meter(day.signer, OTHER_METER)
    day.so("the heir, shown the lost card", heir.visit(lost.dump()).code, codes.METER)
    day.card.restore(heir.visit(day.card.dump()).dump)
    hall.read_back(day.reader())
    ends: dict[str, Callable[[], object]] = {
        "a clear card": lambda: hall.issue_clear(day.reader(Chip()), account=ACCOUNT, **APPROVED),
        "another exchange": lambda: hall.begin_exchange(day.reader(Chip()), account=ACCOUNT, meter=third, **APPROVED),
        "dead as well": lambda: hall.exchange_dead(meter=third, **asked),
    }
    number = hall.request_makeup(ACCOUNT, 23, kind="dead meter", **ASKED).number
    for what, end in ends.items():
        day.refused(errors.DEAD_METER_OWED, f"{what}, asked for", end)
    hall.mark_restored()
    day.so("the request, restored", hall.grant(number).state, "cancelled")
    hall.probe(day.reader())
    day.refused(errors.DEAD_METER_OWED, "dead as well, restored", ends["dead as well"])
    day.card.restore(heir.visit(day.card.dump()).dump)
    hall.adopt(day.reader(), **APPROVED)
    for what, end in ends.items():
        day.refused(errors.DEAD_METER_OWED, f"{what}, adopted", end)
    hall.cancel_grant(hall.request_makeup(ACCOUNT, 23, kind="dead meter", **ASKED).number)
    old = NewMeter(number=METER, initial_reading=0)
    again = {"account": ACCOUNT, "meter": old, **APPROVED}
    day.refused(errors.METER_DEAD, "a dead meter for an heir", lambda: hall.begin_exchange(day.reader(Chip()), **again))
    hall.exchange_dead(meter=third, **asked)


def _dead_with_its_card_out(day: Day) -> None:
    # RULES 1, transfer; decision 144: the meter that the transfer card names keeps its binding, and no other gets it.
    hall = day.hall
    hall.begin_exchange(
        day.reader(Chip()), account=ACCOUNT, meter=NewMeter(number=OTHER_METER, initial_reading=5), **APPROVED
    )
    asked = {"account": ACCOUNT, "closing_index": 7, **APPROVED}
    other = NewMeter(number=HEIR, initial_reading=0)
    day.refused(errors.EXCHANGE, "dead, for another meter", lambda: hall.exchange_dead(meter=other, **asked))
    hall.exchange_dead(meter=NewMeter(number=OTHER_METER, initial_reading=5), **asked)
    hall.exchange_card(day.reader())
    day.refused(codes.ALREADY_BOUND, "the heir opened for a neighbour", day.neighbour)


def _proven(day: Day) -> None:
    # Decision 188: no transfer card comes back, and the new meter's report says what it took; no more is released.
    hall, transfer, management = day.hall, Chip(), Chip()
    hall.sell(day.reader(), 20, fen=5000)  # on the card, and never loaded
    heir = _Meter(day.signer, OTHER_METER)
    day.meter.heirs = (heir.keys,)
    hall.begin_exchange(
        day.reader(transfer), account=ACCOUNT, meter=NewMeter(number=OTHER_METER, initial_reading=5), **APPROVED
    )
    day.so("the old meter", day.visit(transfer), codes.OK)
    day.so("the new meter", heir.visit(transfer.dump()).code, codes.OK)
    day.refused(errors.REPORT_MISSING, "before it is heard of", lambda: hall.exchange_proven(ACCOUNT))
    hall.issue_management(day.reader(management), purpose="round")
    management.restore(heir.visit(management.dump()).dump)
    hall.read_tool(day.reader(management))
    told = hall.exchange_proven(ACCOUNT)
    day.so("moved, owed, not known", (told.moved, told.owed, told.unproven), (Decimal(30), Decimal(0), Decimal(20)))
    hall.exchange_card(day.reader())
    day.card.restore(heir.visit(day.card.dump()).dump)
    day.so("on the new meter", heir.store().remaining, 3000)
    hall.read_back(day.reader())
    hall.write_grant(day.reader(), day.asked(20, "loss"))
    day.card.restore(heir.visit(day.card.dump()).dump)
    day.so("made up", heir.store().remaining, 5000)


def _not_bound(day: Day) -> None:
    # Decision 184: an exchange waits for proof that the old meter is bound. RULES 1: two people end an account's meter.
    hall, other = day.hall, day.neighbour()
    third = NewMeter(number=HEIR, initial_reading=0)
    account = "0000000002"

    def begin() -> object:
        return hall.begin_exchange(day.reader(Chip()), account=account, meter=third, **APPROVED)

    day.refused(errors.OPENING_NOT_LOADED, "an exchange before the opening card was used", begin)
    day.so("tries of the neighbour's card", tries_left(other.security[0]), 3)
    alone = APPROVED | {"approver": "ＬＩ ming"}
    own: dict[str, Any] = {"account": ACCOUNT, **alone}
    for what, service in (
        ("an exchange", lambda: hall.begin_exchange(day.reader(Chip()), meter=third, **own)),
        ("dead", lambda: hall.exchange_dead(meter=third, closing_index=7, **own)),
        ("a clear card", lambda: hall.issue_clear(day.reader(Chip()), **own)),
        ("a close", lambda: hall.close_account(**own)),
        ("adopting", lambda: hall.adopt(day.reader(), **alone)),
    ):
        day.refused(errors.APPROVER, f"{what}, by one person", service)


def _opened_again(day: Day) -> None:
    # Decisions 185 and 194: a cleared account gets a meter with what was left, once, and not across a restore.
    hall, tool = day.hall, Chip()
    day.meter.under_test.pulses(200)
    hall.issue_clear(day.reader(tool), account=ACCOUNT, **APPROVED)
    again: dict[str, Any] = {"meter": METER, "account": ACCOUNT, "volume": 20, "fen": 5000, "initial_reading": 7}

    def opened(**changed: Any) -> Callable[[], object]:
        return lambda: hall.open_account(day.reader(Chip()), **(again | changed))

    day.visit(tool)
    day.refused(codes.ALREADY_BOUND, "opened while its clear card is out", opened())
    hall.read_tool(day.reader(tool))
    day.refused(errors.FIELD, "opened for another holder", opened(name="Wang Fang"))
    hall.stop_account(ACCOUNT, reason="moved", approver="Zhao Min")
    day.refused(errors.ACCOUNT_STOPPED, "a stopped account opened", opened())
    hall.resume_account(ACCOUNT, reason="back", approver="Zhao Min")
    copy = day.ledger.connection.serialize()
    hall.mark_restored()
    day.refused(errors.RECOVERING, "opened, cleared before the restore", opened())
    day.ledger.connection.deserialize(copy)
    day.now += timedelta(days=1)
    hall.set_limits(day=20)
    before, day.card = day.card, Chip()
    sale = hall.open_account(day.reader(), **again)
    day.so("bought", sale.volume, Decimal(20))
    for kind in ("opening", None):
        counted = hall.daily_report().total(kind)
        day.so("reported as bought", (counted.orders, counted.volume, counted.money), (1, Decimal(20), 5000))
    day.refused(codes.REPLACED, "a sale on the card from before", lambda: hall.sell(day.reader(before), 1))
    day.so("the meter", day.visit(), codes.OK)
    day.so("left and bought", day.meter.store().remaining, 2800 + 2000)
    day.so("the card from before at the meter", day.visit(before), codes.BINDING)
    hall.read_back(day.reader())
    day.refused(errors.OVER_LIMIT, "a m³ more that day", lambda: hall.sell(day.reader(), 1))
    day.refused(codes.ALREADY_BOUND, "a second meter", opened(meter=OTHER_METER))


def _taken_back(day: Day) -> None:
    # Decisions 176 and 187: an old card is cleared when told to, of an order the ledger made, reports left.
    hall = day.hall
    hall.sell(day.reader(), 20, fen=5000)
    reports = bytes(day.card.main[REPORT_AT[0] :])
    day.refused(errors.CARD_IN_USE, "the present card", lambda: hall.take_back(day.reader(), clear=True))
    lost, _ = day.replaced()
    forged = _copied(lost)
    forged.main[ORDER_AT + HEAD + 1] ^= 0x20
    forged.security[1:4] = b"\x12\x34\x56"
    day.refused(codes.MAC, "a forged order", lambda: hall.take_back(day.reader(forged), clear=True))
    day.so("tries of a forged card", tries_left(forged.security[0]), 3)
    hall.take_back(day.reader(lost))
    day.so("only taken back", bytes(lost.main[ORDER_AT : ORDER_AT + 2]) == b"\xff\xff", False)
    for _ in range(2):
        told = hall.take_back(day.reader(lost), clear=True)
        day.so("held and waiting", (told.held, told.waiting), (Decimal(20), Decimal(20)))
        size = frame_size(ORDER)
        day.so("the order", bytes(lost.main[ORDER_AT : ORDER_AT + size]), b"\xff" * size)
        day.so("the reports", bytes(lost.main[REPORT_AT[0] :]) == reports, True)
    hall.write_grant(day.reader(), day.asked(20, "held"))
    day.loads(5000)
    day.so("the cleared card at the meter", day.visit(_copied(lost)) == codes.OK, False)


def _replaced_twice(day: Day) -> None:
    # Decision 186: a clerk who repeats is told; a card lost on the stairs is said. DOMAIN 3: no card without stock.
    hall = day.hall
    hall.stock_in(2)
    day.replaced()
    again: dict[str, Any] = {"account": ACCOUNT, "reason": "lost in use"}
    day.refused(errors.REPLACEMENT_UNSEEN, "once more", lambda: hall.replace(day.reader(Chip()), **again))
    day.card = Chip()
    day.so("said", hall.replace(day.reader(), again=True, **again).replacement, 2)
    day.loads(3000)
    day.refused(errors.STOCK_SHORT, "no blank card left", lambda: hall.replace(day.reader(Chip()), **again))


def _test_corrected(day: Day) -> None:
    # Decisions 179 and 181: a test begun by mistake is void, mistyped readings are put right by two people.
    hall = day.hall
    hall.suspend(ACCOUNT, 3, "the neighbour's was meant")
    day.so("cancelled", hall.cancel_suspension(ACCOUNT, "wrong account").cancelled, "wrong account")
    day.refused(errors.NOT_SUSPENDED, "cancelled twice", lambda: hall.cancel_suspension(ACCOUNT, "wrong account"))
    correct = hall.correct_suspension
    day.refused(errors.NOT_SUSPENDED, "a void test corrected", lambda: correct(ACCOUNT, reading=4, **APPROVED))
    hall.suspend(ACCOUNT, 21, "runs fast")
    third = NewMeter(number=HEIR, initial_reading=0)
    for what, service in (
        ("a sale", lambda: hall.sell(day.reader(), 1)),
        ("dead", lambda: hall.exchange_dead(account=ACCOUNT, meter=third, closing_index=7, **APPROVED)),
        ("a clear card", lambda: hall.issue_clear(day.reader(Chip()), account=ACCOUNT, **APPROVED)),
        ("an exchange", lambda: hall.begin_exchange(day.reader(Chip()), account=ACCOUNT, meter=third, **APPROVED)),
    ):
        day.refused(errors.SUSPENDED, f"{what}, meter in test", service)
    alone = APPROVED | {"approver": "li ming"}
    day.refused(errors.APPROVER, "corrected by one person", lambda: correct(ACCOUNT, reading=12, **alone))
    day.refused(errors.FIELD, "its end before it has one", lambda: correct(ACCOUNT, end_reading=14, **APPROVED))
    correct(ACCOUNT, reading=12, **APPROVED)
    day.refused(errors.SUSPENDED, "a sale, the reading corrected", lambda: hall.sell(day.reader(), 1))
    day.so("gas of the test", hall.end_suspension(ACCOUNT, "14.5").test_gas, Decimal("2.5"))
    for what, reading in (("nothing changed", 12), ("turned back", 16)):
        day.refused(errors.FIELD, what, partial(correct, ACCOUNT, reading=reading, **APPROVED))
    day.so("its end corrected", correct(ACCOUNT, end_reading="15.5", **APPROVED).test_gas, Decimal("3.5"))
    day.so("its beginning corrected", correct(ACCOUNT, reading=13, **APPROVED).make_up, Decimal("2.5"))
    day.so("tests that count", day.tests(), [(1300, 1550)])
    hall.sell(day.reader(), 1)
    hall.issue_clear(day.reader(Chip()), account=ACCOUNT, **APPROVED)
    day.refused(errors.BINDING_ENDS, "a test beside a clear card", lambda: hall.suspend(ACCOUNT, 16, "runs fast"))


def _bought_since(day: Day) -> None:
    # Decision 180: a refund is worth what the gas bought last cost when it was asked for, whatever the clock says.
    hall, number = day.hall, day.asked(5, "refund")
    hall.sell(day.reader(), 10, fen=3000)
    day.loads(4000)
    day.refused(errors.AMOUNT, "gas bought since", lambda: hall.write_grant(day.reader(), number))
    hall.cancel_grant(number)
    day.so("money at the new price", hall.grant(day.asked(5, "refund")).fen, 1500)


def _tools(day: Day) -> None:
    # RULES 1, setting and tool limits; decisions 134, 182, 191, 198: what a tool card may say, and is taken for.
    hall = day.hall
    guards: dict[str, Any] = {"meter": METER, "purpose": "guards", "size": "G2.5"}
    day.refused(codes.NOT_UNBOUND, "guards of a bound meter", lambda: hall.issue_setting(day.reader(Chip()), **guards))
    gas: dict[str, Any] = {"meter": METER, "volume": 1, "purpose": "tightness"}
    day.refused(codes.NOT_UNBOUND, "test gas once bound", lambda: hall.issue_test(day.reader(Chip()), **gas))
    hall.sell(day.reader(), 10, fen=2500)
    keys: dict[str, Any] = {"meter": METER, "purpose": "new keys"}
    day.refused(errors.ORDER_WAITS, "keys over a purchase", lambda: hall.issue_key(day.reader(Chip()), **keys))
    day.loads(4000)
    tool = Chip()
    made = hall.issue_key(day.reader(tool), **keys)
    day.so("versions of card and meter", (made.key_version, day.keys()), (2, 1))
    day.meter.under_test.pulses(100)
    day.visit()  # a report more, under the keys before
    day.so("the key card", day.visit(tool), codes.OK)
    day.meter.has_keys(day.signer, 2)
    hall.end_tool(made.card, keys_taken=True)
    day.so("the meter's keys", day.keys(), 2)
    day.refused(codes.KEY_VERSION, "a report of earlier keys", lambda: hall.read_back(day.reader()))
    before = _copied(day.card)
    hall.sell(day.reader(), 10, fen=2500)
    day.loads(5000)
    day.replaced()
    day.so("taken back with it", hall.take_back(day.reader(before)).why_not, codes.KEY_VERSION)
    day.loads(5000)
    _clear_cards(day)


def _clear_cards(day: Day) -> None:
    hall, tool = day.hall, Chip()
    made = hall.issue_clear(day.reader(tool), account=ACCOUNT, **APPROVED)
    day.so("a clear card", hall.verify(day.reader(tool), password=True).password, "right")
    altered = _copied(tool)
    altered.main[ORDER_AT + HEAD] ^= 0x0F
    seen = hall.verify(day.reader(altered), password=True)
    day.so("an altered clear card", (seen.good, seen.password), (False, "not presented"))
    tool.security[0] = 0x04
    before = tool.dump()
    hall.end_tool(made.card, day.reader(tool))
    day.so("a clear card at its last try, taken back", tool.dump() == before, True)
    tool.security[0] = 0x07
    seen = hall.verify(day.reader(tool), password=True)
    day.so("the same with its tries", (seen.good, seen.password), (False, "not presented"))
    hall.sell(day.reader(), 1)


def _reported(day: Day) -> None:
    # Decisions 122, 163, 183 and 199: an order is counted on its day, by the hall's clock, a replacement is a card
    # issued, tool cards by kind.
    hall = day.hall
    day.now += timedelta(hours=11, minutes=59)  # 15:59 UTC is 23:59 in the hall
    today = day.now.date()
    day.neighbour()
    day.now += timedelta(minutes=1)
    sale = hall.sell(day.reader(), 20, fen=5000)
    printed = "\n".join(hall.receipt(sale.account, sale.sequence).lines())
    day.so("the day on the receipt", f"{today + timedelta(days=1)} 00:00+08:00" in printed, True)
    day.replaced()
    hall.issue_management(day.reader(Chip()), purpose="round")
    first, second = hall.daily_report(today), hall.daily_report(today + timedelta(days=1))
    day.so("openings", [report.total("opening").orders for report in (first, second)], [2, 0])
    day.so("purchases", [report.total("purchase").money for report in (first, second)], [0, 5000])
    day.so("cards of the second day", (second.cards["issued"], second.cards.get("management cards")), (1, 1))
    hall.set_price(None, 250)
    past = day.now - timedelta(minutes=1)
    day.refused(errors.PRICE_PAST, "a price for a minute that is over", lambda: hall.set_price(past, 300))


def _fails(day: Day, code: int, what: str, service: Callable[[], object]) -> None:
    # As ``refused``; but what the other window did is there.
    dump = day.card.dump()[:_COUNTER_AT]
    try:
        service()
    except GasError as error:
        day.so(what, error.name, errors.words(code)[0])
    else:
        raise Violation("refusal", f"{what}: not refused as {errors.words(code)[0]}")
    day.so(f"the card, {what}", day.card.dump()[:_COUNTER_AT] == dump, True)


def _copied(chip: Chip) -> Chip:
    """The same card once more."""
    copy = Chip()
    copy.restore(chip.dump())
    return copy


# ---------------------------------------------------------------------- the estate


_ESTATE = [f"{32060012345600 + number}" for number in range(3)]


class _Tray:
    """Three blank cards in three readers; the program dies before it stores byte ``at`` of all of them, if it does."""

    group = 3

    def __init__(self, at: int | None = None) -> None:
        self.chips: dict[str, list[Chip]] = {meter: [Chip()] for meter in _ESTATE}
        self.stored = 0
        self.at = at

    def begin(self, judged: Judged) -> None:
        """Nothing to do."""

    def take(self, row: Row) -> Reader:
        """The row's own card."""
        reader = ChipReader(self.chips[row.meter][-1], trace=_silent)
        reader.step = self._step
        return reader

    def put(self, row: Row, reader: Reader, error: GasError | None) -> str:
        """A card that failed is put aside for another."""
        if error is not None:
            self.chips[row.meter].append(Chip())
        return ""

    def settle(self, row: Row, is_card: Callable[[Reader], bool]) -> str:
        """It must be the row's own."""
        reader = ChipReader(self.chips[row.meter][-1], trace=_silent)
        if not is_card(reader):
            raise Violation("day", f"the card of {row.meter} is finished and not the one in hand")
        return ""

    def _step(self, plan: Plan) -> None:
        if self.stored == self.at:
            raise DeadError
        self.stored += 1


def _batch(day: Day) -> None:
    # 批量开户: three rows side by side, killed at every so many stored bytes; one account and one good card a row.
    with tempfile.TemporaryDirectory(prefix="icgas-estate-") as name:
        path = Path(name) / "estate.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("meter", "name", "volume", "initial_reading"))
            rows.writerows((meter, f"Flat {place}", 30, 0) for place, meter in enumerate(_ESTATE))
        start = day.ledger.connection.serialize()
        whole = _Tray()
        day.hall.batch(path, whole)
        _estate(day, whole)
        day.so("the batch again, finished", day.hall.batch(path, whole, resume=True).stopped, None)
        _estate(day, whole)
        for at in range(0, whole.stored, _KILL_EVERY):
            day.ledger.connection.deserialize(start)
            tray = _Tray(at)
            try:
                day.hall.batch(path, tray)
            except DeadError:
                pass
            else:
                raise Violation("day", f"the batch stores no byte {at}")
            _half_made(day, tray, at)
            tray.at = None
            for chips in tray.chips.values():
                chips[-1].power_off()
            day.so("the batch resumed", day.hall.batch(path, tray, resume=True).stopped, None)
            _estate(day, tray)


_KILL_EVERY = 7


def _half_made(day: Day, tray: _Tray, at: int) -> None:
    # DESIGN D5: the row before its order, the announcement before a byte of the password.
    found = day.ledger.connection.execute(
        "SELECT bindings.meter, orders.frame, cards.psc_bytes, cards.number FROM orders JOIN bindings ON "
        "orders.binding = bindings.id JOIN cards ON cards.number = orders.card"
    ).fetchall()
    known = {row[0]: row[1:] for row in found}
    for meter, chips in tray.chips.items():
        chip = chips[-1]
        main = bytes(chip.main[ORDER_AT : ORDER_AT + frame_size(ORDER)])
        if any(byte != 0xFF for byte in main) and meter not in known:
            raise Violation("day", f"killed at byte {at}: an order is on the card of {meter} and no row is there")
        psc = bytes(chip.security[1:4])
        if psc != DEFAULT_PSC:
            announced, own = known[meter][1], day.signer.card_psc(known[meter][2])
            if psc not in [own[:i] + DEFAULT_PSC[i:] for i in range(announced + 1)]:
                raise Violation("day", f"killed at byte {at}: a byte of the password was not announced")


def _estate(day: Day, tray: _Tray) -> None:
    cursor = day.ledger.connection.execute(
        "SELECT bindings.meter, orders.frame, orders.state, cards.issued, cards.number FROM orders "
        "JOIN bindings ON orders.binding = bindings.id JOIN cards ON cards.number = orders.card"
    )
    rows = [row for row in cursor.fetchall() if row[0] in _ESTATE]
    day.so("meters opened", sorted(row[0] for row in rows), _ESTATE)
    for meter, frame, state, issued, number in rows:
        chip = tray.chips[meter][-1]
        day.so(f"row and card of {meter}", (state, bool(issued)), ("written", True))
        day.so(f"order of {meter}", bytes(chip.main[ORDER_AT : ORDER_AT + len(frame)]), frame)
        day.so(f"password of {meter}", bytes(chip.security[1:4]), day.signer.card_psc(number))
        day.so(f"tries of {meter}", tries_left(chip.security[0]), 3)


# ---------------------------------------------------------------------- the key file


def _passphrase(day: Day) -> None:
    # A key file under a passphrase: opened by that one alone, its head not to be altered, no two files alike.
    cheap = keyfile.Cost(keyfile.N_LEAST, 8, 1)
    words = "four words by chance"
    with tempfile.TemporaryDirectory(prefix="icgas-key-") as name:
        path = Path(name) / "region.key"
        keyfile.write(path, keyfile.seal(ROOT, TEST_REGION, words, cheap))
        day.so("root and region", keyfile.load(path, lambda: words), (ROOT, TEST_REGION))
        _closed(day, path, "another passphrase", "four words by choice")
        keyfile.change_passphrase(path, lambda: words, "five other words again", cheap)
        _closed(day, path, "the passphrase before", words)
        day.so("after the change", keyfile.load(path, lambda: "five other words again")[0], ROOT)
        one, two = (json.loads(keyfile.seal(ROOT, TEST_REGION, words, cheap)) for _ in range(2))
        day.so("two files alike", [part for part in ("kdf", "cipher", "sealed") if one[part] == two[part]], [])
        day.so("the root in clear", ROOT.hex() in json.dumps(one), False)
        altered = Path(name) / "altered.key"
        keyfile.write(altered, json.dumps(one | {"region": 1}).encode())
        _closed(day, altered, "another region written into it", words)


def _closed(day: Day, path: Path, what: str, words: str) -> None:
    day.refused(errors.KEY_FILE, what, lambda: keyfile.load(path, lambda: words))


DAYS: dict[str, Callable[[Day], None]] = {
    "make-up": _makeup,
    "gift": _gift,
    "drift": _drift,
    "held": _held,
    "held, loaded after all": _held_on_card,
    "held, not finished": _unfinished,
    "refund": _refund,
    "refund cancelled": _cancelled,
    "restored": _restored,
    "sold while recovering": _sold_meanwhile,
    "lost while recovering": _lost_while_recovering,
    "suspended": _suspended,
    "shift": _shift,
    "tampered": _tampered,
    "verified": _verified,
    "two windows": _windows,
    "company's card, two windows": _company_windows,
    "closed": _closed_account,
    "lapsed": _lapsed,
    "no price": _no_price,
    "exchange, dead meter": _dead_meter,
    "dead meter's gas": _dead_meters_gas,
    "dead meter, its card out": _dead_with_its_card_out,
    "exchange proven": _proven,
    "meter not bound, one person": _not_bound,
    "opened again": _opened_again,
    "taken back and cleared": _taken_back,
    "replaced twice": _replaced_twice,
    "test corrected": _test_corrected,
    "bought since the refund": _bought_since,
    "tool cards": _tools,
    "reported": _reported,
    "batch": _batch,
    "passphrase": _passphrase,
}


def play(name: str) -> None:
    """Play the day of that name to its end. Violation; KeyError."""
    day = Day()
    try:
        DAYS[name](day)
        if name != "tampered":
            day.audited()
    finally:
        day.close()
