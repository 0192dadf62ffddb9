"""A whole town in a few kilobytes: one hall, its ledger, several meters, cards as chips, and the truth about them.

Everything is the real thing but the parts and the paper: the hall's services over a real SQLite ledger, the
firmware on any target. Whoever plays in it may show any image ever written to anybody (DESIGN D10); what he
may not do is break a rule of gasrig.checkers or of HALL_RULES without a Violation.

The ledger is an SQLite database in memory that has a name (SQLite 3.36 or newer): the hall reaches it by an
ordinary URL, the rig by a connection of its own, through which the whole of it is copied out and put back in a tenth
of a millisecond. A file would cost a flush to the disk at each commit and tell nothing more: what a dying disk does
to SQLite is SQLite's business, what a dying hall does is played with ``pull_at``.

Where an account's gas may go to another meter or be paid back, by a transfer or clear card or because its meter is
dead, no meter's sum holds by itself: ``judge_town`` asks for that of all.

*Sold* is every order whose row has been committed: the customer has paid by then, whether its card was written
or not (DESIGN D5), and the hall owes him that frame. A row that comes back from an older copy of the ledger is
not paid again; one that the hall makes anew after that is.
"""

import itertools
import sqlite3
import weakref
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

from gascard.chip import DUMP_SIZE, Chip
from gascard.records import CARD_CLEAR, CARD_CUSTOMER, CARD_TRANSFER, IDENTITY_AT, ORDER_AT, Layout
from gashall import encode, units
from gashall.adoption import Adopted
from gashall.closing import Closure
from gashall.errors import GasError
from gashall.exchange import Exchange, NewMeter
from gashall.grants import Grant
from gashall.ledger import Ledger
from gashall.readers.chip import ChipReader, Plan
from gashall.replacement import Replaced
from gashall.services import Hall, ReadBack, Sale
from gashall.signer import KeyFileSigner
from gashall.toolcards import Tool
from gashall.toolreading import ToolRead
from gasrig import recorder
from gasrig.bench import TEST_REGION
from gasrig.checkers import (
    Card,
    GasBooks,
    KeySet,
    Order,
    Store,
    Violation,
    Watch,
    credited_once,
    opened_by_person,
    read_card,
    reports_true,
)
from gasrig.handset import RecordedMeter, Snapshot
from gasrig.targets import CPythonTarget, Target, open_target
from meter.meter import Settings
from meter.valve import OPENING, SHUTTING

__all__ = [
    "FOREIGN_PSC",
    "HALF_HOUR_MS",
    "HALL_RULES",
    "KEY_VERSION",
    "LANE_LENGTH",
    "NO_ACCOUNT",
    "PEOPLE",
    "PULSE_WEIGHT",
    "START",
    "TRAVEL_MS",
    "WIPES",
    "Desk",
    "Frozen",
    "OrderRow",
    "Saved",
    "Served",
    "Site",
    "Sold",
    "Standing",
    "Told",
    "Town",
    "as_card",
    "foreign",
    "is_shared",
    "judge_burned",
    "judge_credit",
    "judge_images",
    "judge_town",
    "of_company",
]

START = 13_000_000  # minutes since 2000-01-01 UTC, on every clock in town
KEY_VERSION = 1
PULSE_WEIGHT = 2
LANE_LENGTH = 64
MEMORY_SIZE = 0x1000 + LANE_LENGTH
TRAVEL_MS = 100
PULSE_MS = 1000  # a pulse takes ten times as long as the valve: none slips through while it shuts
REST_MS = 1000
HALF_HOUR_MS = 1_800_000
_NOT_PULLED = 0xFFFF
_SLOT = 255  # of what a bench keeps: for a visit that is cut short
_AREAS = (0, 256, 260)  # where main, protection and security memory begin in a dump
_TOWARDS_OPEN = b"\x02"
FOREIGN_PSC = b"\x5a\xa5\x5a"

# What ``Town.wipe`` makes unreadable: (memory, address, bytes) of both copies (SPEC 10).
WIPES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "checkpoints": ((recorder.STORE, 0x0000, 8), (recorder.STORE, 0x0040, 8)),
    "account": ((recorder.STORE, 0x0080, 64), (recorder.STORE, 0x00C0, 64)),
    "state": ((recorder.STORE, 0x0100, 64), (recorder.STORE, 0x0140, 64)),
    "keys": ((recorder.KEYS, 0x0000, 64), (recorder.KEYS, 0x0040, 64)),
}

HALL_RULES: dict[str, str] = {
    "report_newest": "A report older than the newest one kept moves nothing: REPORT_OLDER. (RULES 4)",
    "done_true": "A row is done only if its meter has loaded that order or a later one. (RULES 1: settling)",
    "paid_true": "A refund is paid only if its meter has loaded its order or a later one. (RULES 1: money back)",
    "waits": "No order is made while the one before it is not known to be loaded. (RULES 1: settling; DOMAIN 3)",
    "totals_add": "Released totals are what was paid, summed from sequence 1 on, less what is held. (DESIGN D2)",
    "closed_true": "Whoever closes his account is paid back what he bought and did not burn. (RULES 1: money back)",
    "dead_decided": "What a dead meter had left is made up or refused before the binding it is for ends. (RULES 1)",
    "card_written": "A service that reports a sale leaves its very frame on the card. (DESIGN D5)",
}


class OrderRow(NamedTuple):
    """A row of the ledger's orders, by the rig's own connection; totals in pulses, ``released`` the frame's own."""

    id: int
    account: str
    meter: str
    binding: int
    card: int
    sequence: int
    state: str
    paid: int
    released: int
    frame: bytes
    kind: str | None = None
    paid_out: int = 0
    """Whether it is a refund whose money was paid."""


# What is made up of a dead meter's gas was paid for before, and is told from all other make-ups.
_ORDERS = """
    SELECT orders.id, orders.account, bindings.meter, bindings.number, orders.card, orders.sequence, orders.state,
           orders.paid_pulses, COALESCE(orders.frame_pulses, orders.released_pulses), orders.frame,
           (SELECT COALESCE(MAX(grants.kind), orders.kind) FROM grants
            WHERE grants.written = orders.id AND grants.kind = 'dead meter'),
           EXISTS (SELECT 1 FROM grants WHERE grants.written = orders.id AND grants.paid_at IS NOT NULL)
    FROM orders JOIN bindings ON orders.binding = bindings.id ORDER BY orders.id
"""
_RANKS = "SELECT meter, binding, report_number FROM reports ORDER BY 1, 2, 3"
_OPEN_GRANTS = """
    SELECT id FROM grants WHERE account = ? AND kind = ? AND approver IS NOT NULL AND paid_at IS NULL
    AND cancelled_at IS NULL AND (written IS NULL) = ? ORDER BY id
"""
# Money paid back when an account was closed: as a row that takes so much gas off what was sold.
_CLOSURES = """
    SELECT grants.id, grants.account, bindings.meter, bindings.number, 0, 0, 'done', -grants.pulses, 0, x'', 'close'
    FROM grants JOIN bindings ON grants.binding = bindings.id
    WHERE grants.kind = 'close' AND grants.paid_at IS NOT NULL ORDER BY grants.id
"""
# A meter that was declared dead, as a row that has its closing index for a total.
_DEATHS = """
    SELECT transfers.id, transfers.account, bindings.meter, bindings.number, 0, 0, 'done', 0, transfers.closing, x'',
           'dead'
    FROM transfers JOIN bindings ON bindings.id = transfers.old WHERE closing IS NOT NULL ORDER BY transfers.id
"""
# All that may end a binding: a clear or transfer card, or that its meter is dead.
_ENDINGS = """
    SELECT kind, number, binding FROM tools WHERE kind IN ('clear', 'transfer')
    UNION ALL SELECT 'dead', id, old FROM transfers WHERE closing IS NOT NULL
"""
_LEFT_BY_INDEX = """
    SELECT COALESCE((SELECT SUM(owed_pulses) FROM transfers WHERE new = :binding AND closing IS NOT NULL), 0)
         - COALESCE((SELECT SUM(raised_pulses) FROM adoptions WHERE binding = :binding), 0)
"""
# The requests of what is left by the index: those that were written, or refused by somebody, and those that are open.
# What a restore made void nobody has refused.
_REQUESTS = """
    SELECT written IS NOT NULL OR (cancelled_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM journal, json_each(journal.body, '$.grants') AS lapsed
        WHERE journal.kind = 'ledger restored' AND json_extract(lapsed.value, '$.id') = grants.id)),
        written IS NULL AND cancelled_at IS NULL
    FROM grants WHERE binding = :binding AND kind = 'dead meter'
"""
# The request that is written next: approved, or begun and not finished.
_NEXT_MAKEUP = """
    SELECT grants.id FROM grants LEFT JOIN orders ON orders.id = grants.written
    WHERE grants.account = ? AND grants.kind = 'dead meter' AND grants.approver IS NOT NULL
    AND grants.cancelled_at IS NULL AND (grants.written IS NULL OR orders.state = 'pending') ORDER BY grants.id
"""
_LAST_ACCOUNT = "SELECT account FROM bindings WHERE meter = ? ORDER BY id DESC LIMIT 1"
_TABLES = (
    *("accounts", "meters", "bindings", "cards", "orders", "grants", "recoveries"),
    *("tools", "transfers", "finals", "reports"),
)
# Over what is not known to be loaded nothing is written but these, which add no gas, and what follows a replacement.
_OVER_WAITING = ("refund", "cancel", "probe", "replacement", "exchange")
# Rows that the hall makes of gas that was paid for already.
_PAID_BEFORE = ("adopted", "transfer")
PEOPLE: dict[str, Any] = {"requester": "Li Ming", "approver": "Zhao Min", "reason": "asked for"}


def foreign(image: bytes) -> bytes:
    """The same card on a stranger's chip: every byte copied but the password, which he cannot read."""
    dump = bytearray(image)
    dump[261:264] = FOREIGN_PSC
    return bytes(dump)


# ---------------------------------------------------------------------- state, kept and put back

_OURS = ("meter", "gasrig", "gascard")


class Frozen:
    """What some objects and all they hold were at one moment, to be put back into those very objects.

    For what lives in this process: closures over an array or a memory see the old content again, which a copy of
    them would not. Plain attributes, dicts, lists, sets, arrays and bytearrays are followed; the rest is kept as
    it is. ``leave`` are types that are not followed, ``skip`` names of attributes that do not matter.
    """

    def __init__(self, *roots: Any, leave: tuple[type, ...] = (), skip: Iterable[str] = ()) -> None:
        self._kept: list[tuple[Any, Any]] = []
        passed = frozenset(skip)
        seen: set[int] = set()
        todo = list(roots)
        while todo:
            thing = todo.pop()
            if id(thing) in seen or isinstance(thing, leave):
                continue
            seen.add(id(thing))
            if isinstance(thing, bytearray | array | set):
                self._kept.append((thing, thing.copy() if isinstance(thing, set) else thing[:]))
            elif isinstance(thing, dict):
                self._kept.append((thing, dict(thing)))
                todo.extend(thing.values())
            elif isinstance(thing, list):
                self._kept.append((thing, list(thing)))
                todo.extend(thing)
            elif isinstance(thing, tuple):
                todo.extend(thing)
            elif hasattr(thing, "__dict__") and type(thing).__module__.partition(".")[0] in _OURS:
                attributes = {name: value for name, value in vars(thing).items() if name not in passed}
                self._kept.append((thing, attributes))
                todo.extend(attributes.values())

    def put_back(self) -> None:
        """Make everything what it was. As often as wanted."""
        for thing, content in self._kept:
            if isinstance(thing, dict | set):
                thing.clear()
                thing.update(content)
            elif isinstance(thing, bytearray | array | list):
                thing[:] = content
            else:
                vars(thing).update(content)


class Sold(NamedTuple):
    """A sale: the row as it was committed, and what its frame says to those who judge.

    None for money paid back at a close (kind "close"), and where a meter was declared dead (kind "dead").
    """

    row: OrderRow
    order: Order | None


class Served(NamedTuple):
    """What a service came to: 0 or a code, the card as it was left, and the orders whose rows it committed."""

    code: int
    image: bytes
    made: tuple[Sold, ...]


_Answer: TypeAlias = Sale | ReadBack | Grant | Replaced | Adopted | Exchange | Tool | ToolRead | Closure
NO_ACCOUNT, _NO_GRANT = "9999999999", 0x7FFFFFFF  # which no town has

_town = itertools.count()


class Desk:
    """The hall at its counter: the real services over a real ledger. Money and gas are somebody else's truth."""

    def __init__(self, signer: KeyFileSigner, minutes: int, *, alarm: int, ceiling: int, overdraft: int) -> None:
        """``minutes`` is the hall's clock; the parameters of every account are pulses."""
        self.minutes = minutes
        self._particulars: dict[str, Any] = {
            "alarm": units.volume(alarm, PULSE_WEIGHT),
            "ceiling": units.volume(ceiling, PULSE_WEIGHT),
            "overdraft": units.volume(overdraft, PULSE_WEIGHT),
            "key_version": KEY_VERSION,
            "pulse_weight": PULSE_WEIGHT,
        }
        self._keys: dict[str, KeySet] = {}
        name = f"icgas-town-{next(_town)}"
        # The rig's connection first and until the end: with the last one the database is gone.
        self._db = sqlite3.connect(f"file:/{name}?vfs=memdb", uri=True, isolation_level=None)
        self._signer = signer
        try:
            if sqlite3.sqlite_version_info < (3, 36):
                raise RuntimeError(f"a town's ledger needs SQLite 3.36, this is {sqlite3.sqlite_version}")
            ledger = Ledger(f"sqlite:///file:/{name}?vfs=memdb&uri=true", TEST_REGION)
            self._hall = Hall(ledger, signer, lambda: units.moment(self.minutes))
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Forget the ledger."""
        self._hall.close()
        self._db.close()

    def open_account(self, meter: str, index: int, pulses: int, pull_at: int | None = None) -> Served:
        """Open an account for a meter whose wheels read ``index``, on a blank card. As ``Town.open_account``."""
        volume = units.volume(pulses, PULSE_WEIGHT)
        initial = units.volume(index, PULSE_WEIGHT)
        return self._serve(
            Chip(),
            lambda reader: self._hall.open_account(
                reader, meter=meter, volume=volume, initial_reading=initial, **self._particulars
            ),
            pull_at,
        )

    def sell(self, image: bytes, pulses: int, pull_at: int | None = None) -> Served:
        """Sell on the chip of ``image``."""
        volume = units.volume(pulses, PULSE_WEIGHT)
        return self._serve(_chip(image), lambda reader: self._hall.sell(reader, volume), pull_at)

    def read_back(self, image: bytes) -> Served:
        """Read the chip of ``image`` back."""
        return self._serve(_chip(image), self._hall.read_back, None)

    def grant(self, image: bytes, sort: str, pulses: int) -> Served:
        """Ask for a gift or refund of the card's account unless one is asked for and approved, and write it."""
        return self._serve(_chip(image), lambda reader: self.granting(reader, image, sort, pulses), None)

    def pay(self, image: bytes) -> Served:
        """Read the chip back and pay the account's refund that is written."""
        return self._serve(_chip(image), lambda reader: self.paying(reader, image), None)

    def cancel(self, image: bytes) -> Served:
        """Cancel the account's refund that is written, by an order on the chip."""
        return self._serve(_chip(image), lambda reader: self.cancelling(reader, image), None)

    def replace(self, image: bytes) -> Served:
        """The card is lost: its account gets another, a blank one until now."""
        account = self._account_of(image)
        return self._serve(
            Chip(), lambda reader: self._hall.replace(reader, account=account, reason="lost in use", again=True), None
        )

    def probe(self, image: bytes) -> Served:
        """Put a probe on the chip, over gas that waits too."""
        return self._serve(_chip(image), lambda reader: self._hall.probe(reader, overwrite=True), None)

    def adopt(self, image: bytes) -> Served:
        """Adopt the chip's word."""
        why = {"requester": "Li Ming", "approver": "Zhao Min", "reason": "restored"}
        return self._serve(_chip(image), lambda reader: self._hall.adopt(reader, **why), None)

    def exchange(self, old: str, new: str, index: int) -> Served:
        """A transfer card from meter ``old`` to ``new``, whose wheels read ``index``."""
        return self._serve(Chip(), lambda reader: self.beginning(reader, old, new, index), None)

    def beginning(self, reader: ChipReader, old: str, new: str, index: int) -> Exchange:
        """The service of ``exchange``. GasError."""
        meter = NewMeter(number=new, initial_reading=units.volume(index, PULSE_WEIGHT), pulse_weight=PULSE_WEIGHT)
        return self._hall.begin_exchange(reader, account=self._account_at(old), meter=meter, **PEOPLE)

    def exchange_card(self, image: bytes) -> Served:
        """The customer's card becomes the new meter's."""
        return self._serve(_chip(image), self._hall.exchange_card, None)

    def clear(self, meter: str) -> Served:
        """A clear card for the account of a meter."""
        account = self._account_at(meter)
        return self._serve(
            Chip(), lambda reader: self._hall.issue_clear(reader, account=account, meter=meter, **PEOPLE), None
        )

    def close_account(self, meter: str) -> Served:
        """The last account of a meter is closed, and what its final record says is paid back."""
        account = self._account_at(meter)
        return self._serve(Chip(), lambda _: self._hall.close_account(account, fen=1, **PEOPLE), None)

    def declare_dead(self, old: str, closing: int, new: str, index: int) -> Served:
        """Meter ``old`` is dead and handed in, its wheels at ``closing``; ``new``, at ``index``, hangs in its place."""
        account = self._account_at(old)
        meter = NewMeter(number=new, initial_reading=units.volume(index, PULSE_WEIGHT), pulse_weight=PULSE_WEIGHT)
        volume = units.volume(closing, PULSE_WEIGHT)
        return self._serve(
            Chip(),
            lambda _: self._hall.exchange_dead(account=account, meter=meter, closing_index=volume, **PEOPLE),
            None,
        )

    def ask(self, meter: str, pulses: int) -> Served:
        """Gas that a dead meter had left is asked for, for the account of a meter, and approved."""
        account = self._account_at(meter)
        return self._serve(Chip(), lambda _: self._asking(account, pulses), None)

    def _asking(self, account: str, pulses: int) -> Grant:
        volume, why = units.volume(pulses, PULSE_WEIGHT), {"reason": "left by the index", "requester": "Li Ming"}
        number = self._hall.request_makeup(account, volume, kind="dead meter", **why).number
        return self._hall.approve_grant(number, "Zhao Min")

    def refuse(self, meter: str) -> Served:
        """The oldest such request that is not written is cancelled."""
        number = self._open_grant(self._account_at(meter), "dead meter", written=False) or _NO_GRANT
        return self._serve(Chip(), lambda _: self._hall.cancel_grant(number), None)

    def make_up(self, image: bytes, pull_at: int | None = None) -> Served:
        """Write the oldest such request of the card's account, or finish it; pulled as in ``sell``."""
        row = self._db.execute(_NEXT_MAKEUP, (self._account_of(image),)).fetchone()
        number = _NO_GRANT if row is None else int(row[0])
        return self._serve(_chip(image), lambda reader: self._hall.write_grant(reader, number), pull_at)

    def exchange_anew(self, image: bytes) -> Served:
        """The card is lost: a blank one becomes the new meter's."""
        account = self._account_of(image)
        return self._serve(
            Chip(), lambda reader: self._hall.exchange_card(reader, account=account, reason="lost in use"), None
        )

    def take_in(self, image: bytes) -> Served:
        """Read the chip of ``image``, whatever card it is."""
        hall, kind = self._hall, image[IDENTITY_AT + 4]
        if kind == CARD_CUSTOMER:
            return self.read_back(image)
        return self._serve(_chip(image), hall.read_exchange if kind == CARD_TRANSFER else hall.read_tool, None)

    def take_back(self, image: bytes) -> Served:
        """A company's card is taken back unused."""
        number = int.from_bytes(image[IDENTITY_AT + 5 : IDENTITY_AT + 9], "big")
        return self._serve(_chip(image), lambda reader: self._hall.end_tool(number, reader), None)

    def _account_at(self, meter: str) -> str:
        row = self._db.execute(_LAST_ACCOUNT, (meter,)).fetchone()
        return NO_ACCOUNT if row is None else str(row[0])

    def mark_restored(self) -> None:
        """Every account is recovering."""
        self._hall.mark_restored()

    def served(self, image: bytes, service: str, *arguments: Any) -> Served:
        """A service by its name, "read back", "sell", "gift", "held", "refund", "pay", "cancel", "replace", "probe",
        "adopt", "take in", "take back", "exchange card", "exchange anew" or "make up", on the chip of ``image``."""
        if service in ("gift", "held", "refund"):
            return self.grant(image, service, *arguments)
        method: Callable[..., Served] = getattr(self, service.replace(" ", "_"))
        return method(image, *arguments)

    def granting(self, reader: ChipReader, image: bytes, sort: str, pulses: int) -> Grant:
        """The service of ``grant``. GasError."""
        account, hall = self._account_of(image), self._hall
        number = self._open_grant(account, sort, written=False)
        if number is None:
            volume, why = units.volume(pulses, PULSE_WEIGHT), {"reason": "asked for", "requester": "Li Ming"}
            if sort == "held":
                number = hall.request_makeup(account, volume, kind=sort, **why).number
            elif sort == "refund":
                number = hall.request_refund(account, volume, fen=1, **why).number
            else:
                number = hall.request_gift(account, volume, **why).number
            hall.approve_grant(number, "Zhao Min")
        return hall.write_grant(reader, number, rescue=True)

    def paying(self, reader: ChipReader, image: bytes) -> ReadBack | Grant:
        """The service of ``pay``. GasError."""
        said = self._hall.read_back(reader)
        number = self._open_grant(self._account_of(image), "refund", written=True)
        return said if number is None else self._hall.pay_refund(number)

    def cancelling(self, reader: ChipReader, image: bytes) -> Grant:
        """The service of ``cancel``. GasError, GRANT_MISSING too where no refund is written."""
        number = self._open_grant(self._account_of(image), "refund", written=True)
        return self._hall.cancel_grant(number or _NO_GRANT, reader, rescue=True)

    def _account_of(self, image: bytes) -> str:
        card = int.from_bytes(image[IDENTITY_AT + 5 : IDENTITY_AT + 9], "big")
        row = self._db.execute("SELECT account FROM cards WHERE number = ?", (card,)).fetchone()
        return NO_ACCOUNT if row is None else str(row[0])

    def _open_grant(self, account: str, sort: str, *, written: bool) -> int | None:
        row = self._db.execute(_OPEN_GRANTS, (account, sort, int(not written))).fetchone()
        return None if row is None else int(row[0])

    def _serve(self, chip: Chip, service: Callable[[ChipReader], _Answer], pull_at: int | None) -> Served:
        before = {row.id for row in self.orders()}
        paper = {(row.kind, row.id) for row in self._paper()}
        endings = set(self._endings())
        ranks = dict(self._ranks())
        reader = ChipReader(chip)
        if pull_at is not None:
            reader.step = _puller(reader, pull_at)
        answer: _Answer | None = None
        code = 0
        try:
            answer = service(reader)
        except GasError as error:
            code = error.code
        chip.power_off()
        rows = self.orders()
        new = [row for row in rows if row.id not in before and row.kind not in _PAID_BEFORE]
        made = tuple([Sold(row, self._made(row, rows)) for row in new])
        made += tuple([Sold(row, None) for row in self._paper() if (row.kind, row.id) not in paper])
        for _, _, binding in set(self._endings()) - endings:
            self._decided(binding)
        if isinstance(answer, Sale) or (isinstance(answer, Grant) and answer.state == "on the card"):
            of_card = [row for row in rows if (row.meter, row.card) == (answer.meter, answer.card)]
            frame = next((row.frame for row in of_card if row.sequence == answer.sequence), b"")
            if not frame or bytes(chip.main[ORDER_AT : ORDER_AT + len(frame)]) != frame:
                raise Violation("card_written", f"order {answer.sequence} of {answer.meter} is not on its card")
        elif isinstance(answer, ReadBack) and answer.report is not None:
            rank = answer.report["binding"], answer.report["report_number"]
            kept = ranks.get(answer.meter, (0, 0))
            if rank < kept:
                raise Violation("report_newest", f"report {rank} of {answer.meter} was taken after {kept}")
        return Served(code, chip.dump(), made)

    def _made(self, row: OrderRow, rows: list[OrderRow]) -> Order:
        # A new row: may it be there, and does its frame say what it says?
        previous = [other for other in rows if other[2:4] == row[2:4] and other.sequence == row.sequence - 1]
        over = row.kind in _OVER_WAITING or any(other.kind == "replacement" for other in previous)
        if not over and any(other.state != "done" for other in previous):
            raise Violation("waits", f"order {row.sequence} of {row.meter} while {row.sequence - 1} is not done")
        order = read_card(as_card(row), self.keys_of(row.meter)).order
        if order is None or (order.bought_total, order.sequence) != (row.released, row.sequence):
            raise Violation("totals_add", f"the frame of order {row.sequence} of {row.meter} says another thing")
        return order

    def keys_of(self, meter: str) -> KeySet:
        """The keys of a meter, for those who judge."""
        if meter not in self._keys:
            self._keys[meter] = KeySet(self._signer.meter_keys(meter, KEY_VERSION)[0])
        return self._keys[meter]

    def orders(self) -> list[OrderRow]:
        """The ledger's orders, oldest first."""
        return [OrderRow(*row) for row in self._db.execute(_ORDERS)]

    def _paper(self) -> list[OrderRow]:
        # What needs no card: accounts closed, meters declared dead.
        rows = [*self._db.execute(_CLOSURES), *self._db.execute(_DEATHS)]
        return [OrderRow(*row) for row in rows]

    def _endings(self) -> list[tuple[str, int, int]]:
        return self._db.execute(_ENDINGS).fetchall()

    def _decided(self, binding: int) -> None:
        # A binding may be over from now on: is there gas of a dead meter that nobody has made up or refused?
        left = self._db.execute(_LEFT_BY_INDEX, {"binding": binding}).fetchone()[0]
        requests = self._db.execute(_REQUESTS, {"binding": binding}).fetchall()
        if left > 0 and (not any(over for over, _ in requests) or any(waits for _, waits in requests)):
            raise Violation("dead_decided", f"{left} pulses of a dead meter are neither made up nor refused")

    def _ranks(self) -> list[tuple[str, tuple[int, int]]]:
        # Of each meter the newest report kept, in rising order.
        return [(row[0], (row[1], row[2])) for row in self._db.execute(_RANKS)]

    def rows(self, *, leave: Iterable[str] = ()) -> tuple[tuple[Any, ...], ...]:
        """Everything that stands in the ledger, by what it says and not by how SQLite lays it out.

        ``leave`` are names of columns that do not matter.
        """
        left_out = frozenset(leave)
        found = []
        for name in _TABLES:
            cursor = self._db.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3")
            wanted = [i for i, column in enumerate(cursor.description) if column[0] not in left_out]
            found.append(tuple([tuple([row[i] for i in wanted]) for row in cursor]))
        return tuple(found)

    def forget(self, meter: str) -> None:
        """The hall believes a meter cleared that was not: its binding is closed, an account may be opened on it."""
        self._db.execute("UPDATE bindings SET open = 0 WHERE meter = ?", (meter,))

    def copy(self) -> bytes:
        """The ledger as a file."""
        return self._db.serialize()

    def put_back(self, copy: bytes) -> None:
        """The ledger is that file again."""
        with closing(sqlite3.connect(":memory:")) as file:
            file.deserialize(copy)
            file.backup(self._db)


class Site:
    """A meter on its wall, its watch, and what else is true of it and nobody in town can see."""

    def __init__(self, number: str, key: bytes, tool_key: bytes, target: Target, index: int) -> None:
        self.number = number
        self.target = target
        self.meter = RecordedMeter(target)
        self.meter.build(
            meter=number,
            key=key,
            tool_key=tool_key,
            key_version=KEY_VERSION,
            pulse_weight=PULSE_WEIGHT,
            lane_length=LANE_LENGTH,
            travel_ms=TRAVEL_MS,
            register=index,
            index=index,
            minutes=START,
        )
        self.meter.entries()
        self.index_at_start = index
        self.index = index
        self.index_at_binding = 0
        self.awake_ms = 0  # powered since power came or the last token did
        self.reports: dict[int, bytes] = {}
        """Every report it has ever written: its number, and its MAC."""
        self.watch = Watch(number, key, lane_length=LANE_LENGTH)
        self.store = self.watch.made(self.cells(), self.meter.keys(), index)
        self.tokens = self.store.tokens
        self.flows = False

    @property
    def burned(self) -> int:
        """Pulses the wheels have turned since the meter hangs here."""
        return self.index - self.index_at_start

    @property
    def standing(self) -> "Standing":
        """How it stands since the last look."""
        return Standing(
            self.number,
            self.watch.keys,
            self.store,
            self.index,
            self.index_at_binding,
            self.burned,
            self.watch.behind,
        )

    def cells(self) -> bytes:
        """The meter's memory."""
        # In this process without the detour of seventeen answers: it is asked for after every step.
        if isinstance(self.target, CPythonTarget):
            return bytes(self.target.bench.memory.cells[:MEMORY_SIZE])
        return self.meter.memory(MEMORY_SIZE)

    def visit(self, before: bytes, pull_at: int | None = None, early: bool = False) -> tuple[int, bytes]:
        """Put the chip of ``before`` in and take it out: the meter's code, and the chip's image after that."""
        meter = self.meter
        if pull_at is not None:
            meter.pull_at(pull_at, early=early)
        code = meter.insert(_chip(before))
        self.awake_ms += meter.last["elapsed_ms"]
        after = meter.remove().dump()
        if pull_at is not None:
            meter.pull_at(_NOT_PULLED, early=False)
        self._visited(before, after)
        return code, after

    def visit_cut(self, before: bytes, write: int) -> bytes:
        """The same, but the power goes, unwarned, before that write of the visit, counted from 0; the chip's image.

        Counted are the writes to memory, key record and card; the power comes back when the card is out. With fewer
        writes than that it goes at the visit's end. The valve is then where it was before the visit.
        """
        meter = self.meter
        meter.entries()
        meter.keep(_SLOT)
        meter.insert(_chip(before))
        meter.remove()
        writes = [entry for entry in meter.entries() if entry.kind != recorder.DRIVE]
        meter.back(_SLOT)
        after = bytearray(before)
        for entry in writes[:write]:
            if entry.kind == recorder.CARD:
                at = _AREAS[entry.address >> 8] + (entry.address & 0xFF)
                after[at : at + len(entry.data)] = entry.data
            else:
                meter.poke(entry.kind, entry.address, entry.data)
        self.watch.cut(0)
        self._power_on()
        self._visited(before, bytes(after))
        return bytes(after)

    def _visited(self, before: bytes, after: bytes) -> None:
        old, store = self.store, self.look()
        if store.bound and (not old.bound or store.binding != old.binding):
            self.index_at_binding = self.index
        card = self.watch.visit(before, after, self.cells(), self.meter.keys())
        self.reports.update({report.report_number: report.mac for report in card.reports})

    def burn(self, pulses: int) -> int:
        """Draw so many whole pulses, or as many as the valve lets through; how many that were."""
        meter, start = self.meter, self.index
        meter.snapshot()
        while meter.last["index"] < start + pulses and meter.last["flows"]:
            meter.run(PULSE_MS, 1000)
            self.awake_ms += meter.last["elapsed_ms"]
            if meter.last["valve"] in (OPENING, SHUTTING):
                self._rest()
        self.look()
        return self.index - start

    def key(self) -> None:
        """Press the key."""
        self.awake_ms += self.meter.key()["elapsed_ms"]
        self.look()

    def wait(self, milliseconds: int) -> None:
        """Powered time without gas."""
        self.meter.wait(milliseconds)
        self.awake_ms += milliseconds
        self.look()

    def cut(self, warned: bool) -> None:
        """Power off and on, at rest, so that no pulse is in flight."""
        self.meter.power_off(warned=warned)
        self.power_on()

    def wipe(self, what: str) -> None:
        """Make both copies of a record in WIPES unreadable. KeyError."""
        for kind, address, size in WIPES[what]:
            self.meter.poke(kind, address, b"\x3c" * size)
        self.watch.lost()
        self.power_on()

    def power_on(self) -> None:
        """Power comes; nobody is there, and the valve shuts."""
        self._power_on()
        self.look()

    def _power_on(self) -> None:
        self.meter.power_on()
        self.awake_ms = 0
        self._rest()

    def _rest(self) -> None:
        self.meter.wait(REST_MS)
        self.awake_ms += REST_MS

    def look(self) -> Store:
        """Judge what is at rest: the store, the valve, the tokens, and who opened the valve. Violation."""
        snapshot = self.meter.snapshot()
        self.index, self.flows = snapshot["index"], bool(snapshot["flows"])
        for entry in self.meter.entries():
            if entry.kind == recorder.DRIVE and entry.data == _TOWARDS_OPEN:
                opened_by_person(None if entry.asked_ms < 0 else entry.asked_ms)
        store = self.watch.look(self.cells(), self.meter.keys(), self.index, flows=self.flows)
        if not store.lost and not self.store.lost:
            self._judge_tokens(store, snapshot["tokens"])
        self.store, self.tokens = store, snapshot["tokens"]
        return store

    def _judge_tokens(self, store: Store, tokens: int) -> None:
        # The stored figure stands one lower than the meter's own once a card was judged, until a half hour is over.
        gained = max(0, tokens - self.tokens)
        if gained > self.awake_ms // HALF_HOUR_MS:
            raise Violation("lockout_held", f"{gained} tokens came back in {self.awake_ms} ms of power")
        if store.tokens > tokens:
            raise Violation("lockout_held", f"{store.tokens} tokens are stored, the meter has {tokens}")
        if store.tokens > self.store.tokens and self.awake_ms < HALF_HOUR_MS:
            raise Violation("lockout_held", f"{self.store.tokens} tokens were stored, now {store.tokens}")
        self.awake_ms -= gained * HALF_HOUR_MS

    def freeze(self) -> Frozen:
        """All of the meter and its truth, what it only remembers too. ValueError on a target out of this process."""
        if not isinstance(self.target, CPythonTarget):
            raise ValueError("only a meter in this process can be frozen; others are kept as they are stored")
        return Frozen(self, leave=(Layout, Settings), skip=("wear", "page_wear", "_kept"))

    def freeze_truth(self) -> Frozen:
        """What is true of it beside what it stores."""
        return Frozen(self, leave=(Target, RecordedMeter))


# ---------------------------------------------------------------------- rules that need more than one witness


@dataclass(frozen=True, slots=True)
class Standing:
    """How a meter stands, and what is true of it: pulses throughout."""

    number: str
    keys: KeySet
    store: Store
    index: int
    index_at_binding: int
    burned: int
    behind: int


class Told(NamedTuple):
    """What hall and customers did with one meter: all sales ever, the ledger's rows now, all images ever."""

    sales: tuple[Sold, ...]
    rows: tuple[OrderRow, ...]
    images: tuple[bytes, ...]
    restored: bool

    def books(self, number: str, store: Store) -> GasBooks:
        """The sales as books of gas, for the checkers' sums.

        A refund is paid back once the meter has loaded it, or another order came after it: its proof, or what takes it
        back. After a restore an order is no proof: what was open before has lapsed.
        """
        books = GasBooks()
        ends = [] if self.restored else [(row.binding, row.sequence) for row, _ in self.sales]
        if store.bound and not self.restored:
            ends.append((store.binding, store.sequence))
        for row, order in self.sales:
            if order is None:
                continue
            if row.paid >= 0:
                books.sold(number, row.binding, row.paid)
            elif (store.bound and (store.binding, store.sequence) == (row.binding, row.sequence)) or any(
                binding == row.binding and sequence > row.sequence for binding, sequence in ends
            ):
                books.paid_back(number, row.binding, -row.paid)
            books.overdraft(number, order.overdraft)
        return books


def judge_burned(standing: Standing, told: Told) -> None:
    """No more gas burned than was paid for, whatever was done to ledger and store. Violation (D10)."""
    if not of_company(told.images):
        told.books(standing.number, standing.store).bound_holds(standing.number, standing.burned, standing.behind)


def of_company(images: Iterable[bytes]) -> tuple[bytes, ...]:
    """Those images that are of a transfer or clear card: with one of them about, a meter's gas is not its own."""
    return tuple([image for image in images if image[IDENTITY_AT + 4] in (CARD_TRANSFER, CARD_CLEAR)])


def is_shared(images: Iterable[bytes], sales: Iterable[Sold]) -> bool:
    """Whether gas of one meter may be at another, or be paid back: a company's card is about, or a meter is dead."""
    return bool(of_company(images)) or any(row.kind == "dead" for row, _ in sales)


def judge_town(
    standings: Sequence[Standing], sales: Sequence[Sold], images: Iterable[bytes], *, restored: bool = False
) -> None:
    """All meters together let no more gas through than was paid for and not paid back. Violation (D10; RULES 1).

    Counted are what has burned; what each meter would still deliver; what a final record brings to a meter that has
    not begun its binding, once for each; and what one proves for paying back, until it is paid. And an account that is
    closed got back what it had not burned, unless a ledger that was restored has forgotten what it bought.

    A meter that was declared dead is handed in and delivers nothing: so the rules assume. What is made up of its gas
    was paid for once, then. If it delivers all the same, that is counted apart: no more than what its binding's own
    orders had released to it, whatever was made up (docs/fault-model.md, dead meter).
    """
    keys = {standing.number: standing.keys for standing in standings}
    stores = {standing.number: standing.store for standing in standings}
    dead: dict[tuple[str, int], int] = {}
    for row, _ in sales:
        if row.kind == "dead":
            which = row.meter, row.binding
            dead[which] = min(row.released, dead.get(which, row.released))
    released: dict[tuple[str, int], int] = {}
    gone: dict[tuple[str, int], int] = {}
    used: dict[tuple[str, int], int] = {}
    closed: set[tuple[str, int]] = set()
    paid = overdrafts = 0
    ends: dict[tuple[str, int], int] = {}
    for row, _ in sales:
        ends[row.meter, row.binding] = max(row.sequence, ends.get((row.meter, row.binding), 0))
    for row, order in sales:
        loaded = stores[row.meter].binding == row.binding and stores[row.meter].sequence >= row.sequence
        lowered = loaded or row.sequence < ends[row.meter, row.binding]
        # What an exchange releases was paid for before; a refund lowers nothing until it is loaded, or taken back.
        before = row.kind in ("exchange", "dead meter") or (order is None and (row.meter, row.binding) in dead)
        if not before and (row.paid >= 0 or order is None or (lowered and not restored)):
            paid += row.paid
        if order is not None:
            overdrafts += order.overdraft
            which = row.meter, row.binding
            released[which] = max(order.bought_total + order.overdraft, released.get(which, 0))
        if row.kind == "close":
            closed.add((row.meter, row.binding))
    for image in of_company(images):
        for number, own in keys.items():
            card = read_card(image, own, tuple(keys.values()))
            if card.incoming is not None:
                which, total = (number, card.incoming.binding), card.incoming.bought_total + card.incoming.overdraft
                released[which] = max(total, released.get(which, 0))
            if card.final is None:
                continue
            which = card.final.said.meter, card.final.said.binding
            used[which] = card.final.said.used
            if card.incoming is not None and stores[number].binding < card.incoming.binding:
                gone[which] = max(gone.get(which, 0), card.incoming.bought_total)
            elif card.final.heir[1] == 0 and which not in closed and which not in dead:
                gone[which] = max(gone.get(which, 0), card.final.remaining)
    for end, _ in sales:
        if end.kind == "close" and not restored:
            _judge_closed([row for row, _ in sales if row.account == end.account], used, dead)
    burned = sum([standing.burned - standing.behind for standing in standings])
    there = {number: max(0, store.remaining + store.overdraft) * store.bound for number, store in stores.items()}
    for which, index in dead.items():
        standing = next(one for one in standings if one.number == which[0])
        present = standing.store.binding == which[1]
        since = max(0, (standing.index if present else standing.index_at_binding) - index)
        # By its wheels, which a cut may have left ahead of the register (DESIGN D10).
        had = index - standing.index_at_binding - standing.behind if present else used[which] - since
        more = since - sum([row.paid for row, _ in sales if row.kind == "close" and (row.meter, row.binding) == which])
        if present:
            more += there.pop(which[0])
        if had + more > released[which]:
            raise Violation("bound_holds", f"dead {which} used {had} of {released[which]} and gives {more} more")
        burned -= since
    if burned + sum(there.values()) + sum(gone.values()) > paid + overdrafts:
        raise Violation(
            "bound_holds",
            f"{paid} paid for, {burned} burned, {there} to be had, {sum(gone.values())} proven to be left",
        )


def _judge_closed(rows: Sequence[OrderRow], used: dict[tuple[str, int], int], dead: dict[tuple[str, int], int]) -> None:
    """A closed account is paid back what it bought and did not burn; of a dead meter's gas what was made up."""
    paid_back = -sum([row.paid for row in rows if row.kind == "close"])
    alive = {(row.meter, row.binding) for row in rows} - dead.keys()
    bought = sum([row.paid for row in rows if row.kind not in ("exchange", "close", "dead meter")])
    got = [row for row in rows if (row.meter, row.binding) in alive and row.kind not in ("exchange", "close")]
    left = sum([row.paid for row in got])
    burnt = sum([used.get(which, 0) for which in alive])
    if paid_back != min(bought, max(0, left - burnt)):
        raise Violation("closed_true", f"{paid_back} paid back of {bought} bought, {left} got and {burnt} burned")


def judge_images(standing: Standing, images: Iterable[bytes]) -> None:
    """No image bears a report of this meter that says more than its store. Violation (SPEC 5)."""
    for image in images:
        reports_true(read_card(image, standing.keys), standing.store)


def judge_credit(standing: Standing, told: Told) -> None:
    """The meter's credit against hall and cards. Violation; nothing is said of a store that is lost.

    Always: credit once, rows done only if they are. While the ledger was never restored: D10's sum, to the pulse,
    and totals that are what was paid.
    """
    number, store = standing.number, standing.store
    if store.lost:
        return
    moved = of_company(told.images)
    orders = [order for _, order in told.sales if order is not None]
    orders += [order for image in moved if (order := read_card(image, standing.keys).incoming) is not None]
    credited_once(store, orders)
    loaded = store.binding, store.sequence, store.bought_total
    if store.over and store.final is not None:
        loaded = store.binding, store.final.said.sequence, store.final.said.bought_total
    refunds = [order.sequence for order in orders if order.refund and order.binding == store.binding]
    for row in told.rows:
        # Of a former binding everything is past; what it says of its last orders only its final record knows.
        ahead = (row.binding, row.sequence) > loaded[:2] or (row.binding == loaded[0] and row.released > loaded[2])
        lowered = row.binding == loaded[0] and any(row.sequence < refund <= loaded[1] for refund in refunds)
        if row.state == "done" and ahead and not (lowered and row.sequence < loaded[1]):
            raise Violation("done_true", f"order {row.sequence} of {number} is done, the meter has {loaded}")
        if row.paid_out and (row.binding, row.sequence) > loaded[:2]:
            raise Violation("paid_true", f"refund {row.sequence} of {number} is paid, the meter has {loaded}")
    # What a dead meter had left is made up elsewhere, or not: the sum is the town's then.
    if told.restored or moved or any(row.kind == "dead" for row, _ in told.sales):
        return
    totals: dict[int, tuple[int, int, int]] = {}
    for row in told.rows:
        sequence, paid, held = totals.get(row.binding, (0, 0, 0))
        sequence, paid = sequence + 1, paid + row.paid
        # What no report proves loaded is held since the card was replaced, until it is made up or proven after all
        # (RULES 1, paid and released).
        short = paid - row.released
        if row.sequence != sequence or not (short >= 0 and (short <= held or row.kind == "replacement")):
            raise Violation(
                "totals_add",
                f"order {row.sequence} of {number} over {row.released}, not {sequence}, {paid} less {held}",
            )
        totals[row.binding] = sequence, paid, short
    cards = [read_card(image, standing.keys) for image in told.images]
    # What the hall has taken the money for and not brought on a card yet it owes: the next one gets that frame.
    cards += [read_card(as_card(row), standing.keys) for row in told.rows if row.state == "pending"]
    books = told.books(number, store)
    books.held(number, store.binding, _held(store, told.rows, cards, books.owing(number, store.binding)))
    books.adds_up(number, store, standing.index_at_binding, standing.index, cards, standing.behind)


def _held(store: Store, rows: Iterable[OrderRow], cards: Iterable[Card], owing: int) -> int:
    """What is held since a card was replaced: no more than the ledger's frames leave out, less what a lost card may be.

    Whether the lost card was loaded before the meter saw its successor nobody can tell from outside: what the meter
    has, or may still take, is not held (RULES 1, paid and released).
    """
    mine = [row for row in rows if store.bound and row.binding == store.binding]
    if not any(row.kind == "replacement" for row in mine):
        return 0
    most = sum([row.paid for row in mine]) - mine[-1].released
    orders = [card.order for card in cards if card.order is not None]
    totals = [
        order.bought_total
        for order in orders
        if (order.meter, order.binding) == (store.meter or order.meter, store.binding)
        and order.sequence > store.sequence
        and order.replacement >= store.replacement
    ]
    return max(0, min(most, owing - max([store.bought_total, *totals])))


# ---------------------------------------------------------------------- the town


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Saved:
    """What ``Town.save`` gave: a handle, equal only to itself."""

    number: int
    ledger: bytes
    cards: tuple[bytes, ...]
    images: tuple[bytes, ...]
    sales: tuple[Sold, ...]
    restored: bool
    minutes: int
    truth: tuple[Frozen, ...]


class Town:
    """One hall, ``meters`` meters on ``target``, no customer yet. A context manager; ``close`` ends the targets.

    ``alarm``, ``ceiling`` and ``overdraft`` are pulses, the same for every account. The hall's clock ``minutes``
    (since 2000-01-01 UTC) stands still unless it is set; a restored ledger moves it on by one.

    Every action judges the rules it can break and gives 0 or a negative code of meter or hall; nothing is raised but
    Violation and what is a bug in firmware, hall or rig. Cards and meters are numbered from 0. ``numbers`` and
    ``keys`` are the meters', ``cards`` the customers' chips, ``images`` every image ever written to any card, each
    once, oldest first; ``last_image`` is what the last card in anybody's hands looked like when it came out.
    """

    def __init__(
        self,
        meters: int = 2,
        target: str = "cpython",
        seed: int = 0,
        *,
        alarm: int = 1,
        ceiling: int = 0,
        overdraft: int = 0,
    ) -> None:
        """``seed`` makes the region's root and the meters' numbers. TargetError if the target is not here."""
        self.cards: list[Chip] = []
        self.images: list[bytes] = []
        self.last_image = b""
        self.restored = False
        """Whether the ledger was ever restored from a copy."""
        self._known: set[bytes] = set()
        self._sales: list[Sold] = []
        self._free = list(range(_SLOT - 1, -1, -1))
        signer = KeyFileSigner(sha256(b"icgas test town %d" % seed).digest(), TEST_REGION)
        self.desk = Desk(signer, START, alarm=alarm, ceiling=ceiling, overdraft=overdraft)
        self.sites: list[Site] = []
        try:
            for place in range(meters):
                number = f"{seed % 10**6:06d}{2025 + place:08d}"
                key, tool_key = signer.meter_keys(number, KEY_VERSION)
                self.sites.append(Site(number, key, tool_key, open_target(target), 100 + 7 * place))
        except BaseException:
            self.close()
            raise
        self.numbers: list[str] = [site.number for site in self.sites]
        self.keys: list[KeySet] = [site.watch.keys for site in self.sites]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the targets and forget the ledger."""
        for site in self.sites:
            site.target.close()
        self.desk.close()

    @property
    def minutes(self) -> int:
        """The hall's clock, minutes since 2000-01-01 UTC; may be set."""
        return self.desk.minutes

    @minutes.setter
    def minutes(self, minutes: int) -> None:
        self.desk.minutes = minutes

    # --- the hall

    def open_account(self, meter: int, pulses: int, *, pull_at: int | None = None) -> int:
        """Open an account for the meter on a blank card; the card's place in ``cards``, or a code.

        ``pull_at``: the blank is taken out before that byte is stored on it; a card that failed is thrown away.
        """
        site = self.sites[meter]
        served = self.desk.open_account(site.number, site.index_at_start, pulses, pull_at)
        self._booked(served)
        if served.code:
            return served.code
        self.cards.append(_chip(served.image))
        return len(self.cards) - 1

    def exchange(self, old: int, new: int) -> int:
        """A transfer card from one meter to another; 0 or a code."""
        site = self.sites[new]
        return self._booked(self.desk.exchange(self.numbers[old], site.number, site.index_at_start))

    def clear(self, meter: int) -> int:
        """A clear card; 0 or a code."""
        return self._booked(self.desk.clear(self.numbers[meter]))

    def close_account(self, meter: int) -> int:
        """The last account of a meter is closed; 0 or a code."""
        return self._booked(self.desk.close_account(self.numbers[meter]))

    def dead(self, old: int, new: int) -> int:
        """A meter is declared dead, its wheels read as they stand; another hangs in its place. 0 or a code."""
        site, heir = self.sites[old], self.sites[new]
        return self._filed(self.desk.declare_dead(site.number, site.index, heir.number, heir.index))

    def ask(self, meter: int, pulses: int) -> int:
        """What a dead meter had left is asked for, for the account of its successor; 0 or a code."""
        return self._filed(self.desk.ask(self.numbers[meter], pulses))

    def refuse(self, meter: int) -> int:
        """Such a request is cancelled; 0 or a code."""
        return self._filed(self.desk.refuse(self.numbers[meter]))

    def _filed(self, served: Served) -> int:
        # As ``_booked``, of what is done without a card.
        self._sales += served.made
        return served.code

    def sell(self, card: int, pulses: int, image: bytes | None = None, *, pull_at: int | None = None) -> int:
        """Sell on a card, or on a chip that shows ``image`` (264 bytes) in its stead; then the card is untouched.

        ``pull_at``: the card is taken out before that byte is stored on it.
        """
        return self._on(card, image, lambda shown: self.desk.sell(shown, pulses, pull_at))

    def read_back(self, card: int, image: bytes | None = None) -> int:
        """Have the hall read a card back, or a chip that shows ``image`` in its stead."""
        return self._on(card, image, self.desk.read_back)

    def serve(self, service: str, image: bytes, *arguments: Any) -> int:
        """Any service by its name (``Desk.served``) on a chip that shows ``image``."""
        return self._booked(self.desk.served(image, service, *arguments))

    def _on(self, card: int, image: bytes | None, service: Callable[[bytes], Served]) -> int:
        served = service(self.cards[card].dump() if image is None else image)
        if image is None:
            self.cards[card].restore(served.image)
        return self._booked(served)

    def _booked(self, served: Served) -> int:
        self._sales += served.made
        self._written(served.image)
        return served.code

    def _written(self, image: bytes) -> None:
        self.last_image = image
        if image not in self._known:
            self._known.add(image)
            self.images.append(image)

    def orders(self) -> list[OrderRow]:
        """The ledger's orders, oldest first."""
        return self.desk.orders()

    def forget(self, meter: int) -> int:
        """The hall believes a meter cleared that was not, and may open another account on it; 0."""
        self.desk.forget(self.numbers[meter])
        return 0

    def copy_ledger(self) -> bytes:
        """A copy of the ledger as a file, for ``restore_ledger``."""
        return self.desk.copy()

    def restore_ledger(self, copy: bytes, *, recovering: bool = False) -> None:
        """The hall restores its ledger from a copy: from here on only the bound and the monotonic rules hold.

        ``recovering``: as it must be done, every account waiting for a report.
        """
        self.restored = True
        self.desk.put_back(copy)
        # Time has passed, so that an order made anew is not, byte for byte, the one that was lost.
        self.desk.minutes += 1
        if recovering:
            self.desk.mark_restored()

    # --- at a meter

    def visit(
        self, meter: int, card: int, image: bytes | None = None, pull_at: int | None = None, early: bool = False
    ) -> int:
        """Put a card, or a chip that shows ``image`` in its stead, into a meter and take it out; the meter's code.

        ``pull_at``: it is pulled before that operation on its bus, and the meter's switch tells at once if ``early``.
        """
        before = self.cards[card].dump() if image is None else image
        code, after = self.sites[meter].visit(before, pull_at, early)
        if image is None:
            self.cards[card].restore(after)
        self._written(after)
        return code

    def visit_cut(self, meter: int, card: int, write: int, image: bytes | None = None) -> int:
        """A visit in which the power goes, unwarned, before that write (from 0) to memory, key record or card; 0."""
        after = self.sites[meter].visit_cut(self.cards[card].dump() if image is None else image, write)
        if image is None:
            self.cards[card].restore(after)
        self._written(after)
        return 0

    def burn(self, meter: int, pulses: int) -> int:
        """Draw so many whole pulses of gas, or as many as the valve lets through; how many that were."""
        site = self.sites[meter]
        drawn = site.burn(pulses)
        judge_burned(site.standing, self._told(meter))
        return drawn

    def key(self, meter: int) -> int:
        """Press the key; 0."""
        self.sites[meter].key()
        return 0

    def wait(self, meter: int, milliseconds: int) -> int:
        """Powered time without gas; 0."""
        self.sites[meter].wait(milliseconds)
        return 0

    def cut(self, meter: int, warned: bool) -> int:
        """Take a meter's power and give it back, at rest, so that no pulse is in flight; 0."""
        self.sites[meter].cut(warned)
        return 0

    def clock(self, meter: int, minutes: int) -> int:
        """Set a meter's clock, minutes since 2000-01-01 UTC; 0."""
        self.sites[meter].meter.clock(minutes)
        return 0

    def wipe(self, meter: int, what: str) -> int:
        """Make both copies of a record in WIPES unreadable: for good, until a recovery order. 0; KeyError."""
        self.sites[meter].wipe(what)
        return 0

    # --- what is so

    def snapshot(self, meter: int) -> Snapshot:
        """What stands where at a meter (bench.SNAPSHOT)."""
        return self.sites[meter].meter.snapshot()

    def store(self, meter: int) -> Store:
        """What a meter's memory means."""
        return self.sites[meter].store

    def wiped(self, meter: int) -> bool:
        """Whether a meter's store was wiped."""
        return self.sites[meter].watch.wiped

    def burned(self, meter: int) -> int:
        """Pulses the wheels of a meter have turned in this town."""
        return self.sites[meter].burned

    def sold(self, meter: int) -> int:
        """Pulses paid for, for a meter."""
        return sum([row.paid for row, _ in self._sales if row.meter == self.numbers[meter]])

    def check(self) -> None:
        """Judge everything at rest: each meter by itself, and against hall and cards. Violation."""
        rows = self.desk.orders()
        for meter, site in enumerate(self.sites):
            site.look()
            told = self._told(meter, rows)
            judge_burned(site.standing, told)
            judge_images(site.standing, told.images)
            judge_credit(site.standing, told)
        if is_shared(self.images, self._sales):
            judge_town([site.standing for site in self.sites], self._sales, self.images, restored=self.restored)

    def _told(self, meter: int, rows: Iterable[OrderRow] = ()) -> Told:
        number = self.numbers[meter]
        return Told(
            tuple([sold for sold in self._sales if sold.row.meter == number]),
            tuple([row for row in rows if row.meter == number]),
            tuple(self.images),
            self.restored,
        )

    # --- kept and put back

    def save(self) -> Saved:
        """Keep everything stored, the truth among it, for ``restore``. ValueError with 255 of them alive."""
        if not self._free:
            raise ValueError("255 saved towns are all there can be")
        number = self._free.pop()
        for site in self.sites:
            site.meter.keep(number)
        saved = Saved(
            number=number,
            ledger=self.desk.copy(),
            cards=tuple([card.dump() for card in self.cards]),
            images=tuple(self.images),
            sales=tuple(self._sales),
            restored=self.restored,
            minutes=self.desk.minutes,
            truth=tuple([site.freeze_truth() for site in self.sites]),
        )
        weakref.finalize(saved, self._free.append, number)
        return saved

    def restore(self, saved: Saved) -> None:
        """Make the town what it was, but for one thing: the meters' power is cycled, unwarned and at rest.

        A meter's memory, valve and clock outlive that, what it only remembered does not: a valve that was open
        shuts, tokens taken and not stored are back, an hour begun begins again. It writes a boot into its log.
        """
        self.desk.put_back(saved.ledger)
        self.desk.minutes = saved.minutes
        self.cards[:] = [_chip(dump) for dump in saved.cards]
        self.images[:] = saved.images
        self._known = set(saved.images)
        self._sales[:] = saved.sales
        self.restored = saved.restored
        for site, truth in zip(self.sites, saved.truth, strict=True):
            truth.put_back()
            site.meter.back(saved.number)
            site.power_on()


def _chip(image: bytes) -> Chip:
    if len(image) != DUMP_SIZE:
        raise ValueError("an image is 264 bytes: password and tries belong to it")
    chip = Chip()
    chip.restore(image)
    return chip


@lru_cache(maxsize=4096)
def as_card(row: OrderRow) -> bytes:
    """An order as it would stand on its card."""
    image = bytearray(encode.BLANK_IMAGE)
    identity = encode.encode_identity(region=TEST_REGION, card=row.card)
    image[IDENTITY_AT : IDENTITY_AT + len(identity)] = identity
    image[ORDER_AT : ORDER_AT + len(row.frame)] = row.frame
    return bytes(image)


def _puller(reader: ChipReader, pull_at: int) -> Callable[[Plan], None]:
    stored = itertools.count()

    def step(plan: Plan) -> None:
        if next(stored) == pull_at:
            reader.pull()

    return step
