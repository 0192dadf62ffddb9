"""The hall stopped everywhere: killed, its card pulled or swapped, at every byte, operation and commit; none by chance.

One run of a service is recorded: the ledger as it was committed and the whole card, before every operation on the card
and around every commit. What a death leaves behind is then known without dying: that ledger, and that card with the
byte in flight torn in every way an SLE4442 tears one. A pull or a swap is another matter, for the program lives on:
it is run again from the same start, and loses its card before operation n.

Each distinct state (the ledger's rows, the card's 264 bytes) is judged once: by independent checkers; by the clerk,
who repeats the service; by the customer's meter and by a stranger's, both the real firmware. At depth 2 the clerk's
repetition is recorded in its turn and stopped everywhere too. Rules: RULES 1 (settling, last try), DESIGN D5 and 9.

At depth 2 a pull or swap is tried in every repetition that starts between two bytes; one that starts from a torn byte
is only killed, which comes to the same: pulled runs are seen to commit nothing more (``pull_is_death``).

A case is named ``death/byte 17/=3F`` (the 18th byte the card stores is torn to 3F), ``death/byte 17`` (that byte is
not begun), ``death/op 5``, ``death/commit 1/before``, ``pull/op 23``, ``pull/op 23/=3F``, ``swap/op 23/neighbour``;
a second fault, in the clerk's repetition, follows after ``/then``.
"""

import hmac
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias, cast
from zlib import crc32

from gascard import codes
from gascard.chip import CLOCKS_REJECTED, SECURITY, Chip
from gascard.sle4442 import TRIES_FULL, tries_left
from gashall import errors
from gashall.books import Books
from gashall.errors import GasError, ReaderError
from gashall.ledger import Ledger
from gashall.readers.chip import ChipReader
from gashall.services import Hall
from gashall.signer import KeyFileSigner
from gasrig import company
from gasrig.bench import TEST_REGION
from gasrig.checkers import (
    Card,
    GasBooks,
    KeySet,
    Order,
    Store,
    Violation,
    account_steady,
    credited_once,
    final_told,
    only_report_slots,
    outside_unchanged,
    read_card,
    read_store,
    report_kept,
    reports_true,
    tries_kept,
)
from gasrig.cut import Counts, Found
from gasrig.faults import torn_card_byte
from gasrig.flows import HEIR, METER, OTHER_METER, ROOT
from gasrig.handset import RecordedMeter
from gasrig.targets import open_target

__all__ = [
    "HALL_FLOWS",
    "HALL_RULES",
    "OTHERS",
    "Counts",
    "DeadError",
    "Desk",
    "Found",
    "HallCounts",
    "HallFlow",
    "NoCaseError",
    "KeptLedger",
    "Socket",
    "State",
    "run",
]

Plan: TypeAlias = tuple[int, int, int]
Progress: TypeAlias = Callable[["Counts"], None]

HALL_RULES: dict[str, str] = {
    "frame_known": "An authentic order on a card is the frame of the account's last row, or while that is pending the "
    "one before; never another. (RULES 1: settling; DESIGN D5)",
    "row_first": "No byte of an order is on a card before its row is in the ledger, and none is missing once the row "
    "says written. (DESIGN D5)",
    "rows_true": "Rows only grow: the same frames, states that only advance, sequences without a gap, released the sum "
    "of paid, one order pending at most, nobody else's rows touched. (RULES 1: settling, paid and released)",
    "card_places": "The hall writes the order, and at an issue identity, its protection and the password, nowhere "
    "else. (RULES 5)",
    "booked_for_it": "A sale is booked only while the card that was judged is in the reader. (DESIGN D5)",
    "ends_documented": "A run whose card was pulled or swapped ends as the service's text says: a GasError named "
    "there, or done. (DESIGN 8)",
    "pull_is_death": "A run whose card is pulled commits nothing more: it leaves what a death at that place leaves. "
    "(RULES 1: settling)",
    "stranger_whole": "A card that was swapped in is as it was, byte for byte. One password try at most is spent on "
    "it, two on a copy of a half-made card; the last one only in a rescue, or where the swap falls into the presenting "
    "itself, the tries once counted. (DESIGN D4; RULES 1: last try)",
    "password_kept": "A half-made card is given up only if its password was torn, or its tries do not allow for both "
    "passwords it may have. (RULES 1: last try)",
    "settles": "Whoever repeats the service ends with exactly one order row more, its frame on the card. "
    "(RULES 1: settling)",
    "card_sound": "At the end the card has its own password, all its tries and the right bytes protected. (RULES 4, 5)",
    "old_or_new": "The customer's meter has the old order or the ledger's new one, never a third. "
    "(DESIGN 9: card pulled)",
    "stranger_meter": "Another meter answers METER or what is damaged; that costs no try and no token and changes "
    "nothing. (DESIGN D4, D7)",
    "loaded_once": "The meter loads the finished card once, and the next sale goes through. (DESIGN D2)",
    "same_end": "Whoever repeats the service ends with the rows, the card and the gas on the meter of a run that "
    "nothing stopped; before that the meter has the gas from before it or from after it. (RULES 1: settling)",
    "tool_true": "A company's card half made or half emptied has each byte as it was or as it shall be, but for the "
    "one in flight. (RULES 5; DESIGN D5)",
    "one_delivers": "Of two meters one at most can deliver the gas that an exchange moves, and not more of it than "
    "there was. (RULES 1: transfer)",
    "steady": "The same run twice does the same: without that no case can be replayed. (DESIGN D10)",
}

_NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_LANE_LENGTH = 64
_MEMORY = 0x1000 + _LANE_LENGTH
# What of a meter's memory is no event log: checkpoints, account, state, lockout ring (SPEC 10).
_ACCOUNTS_END = 0x400
_ORDER_AT, _ORDER_END = 0x20, 0x5B
_IDENTITY_AT, _IDENTITY_END = 0x08, 0x15
_COUNTER_AT, _PSC_AT = 260, 261
_MADE = b"\xf0\x00\xe0\xff"  # protection of an issued card: the ATR, and the identity at 0x08 to 0x14
_USED = 712  # pulses of gas before the sale, so that the sums have something to add up
_NEXT_PULSES = 100
_ACCOUNT = "0000000002"  # the customer's; the neighbour came first
# What somebody is told who repeats a service that was finished; a sale's is that its gas waits on the card.
_ALREADY = {
    "opening": codes.ALREADY_BOUND,
    "makeup": errors.GRANT_WRITTEN,
    "replacement": errors.CARD_NOT_BLANK,
    "refund": errors.GRANT_WRITTEN,
    "pay": errors.GRANT_ENDED,
    "adopt": errors.NOTHING_TO_ADOPT,
}
_DAMAGED = (codes.NOT_OURS, codes.SHAPE, codes.CRC, codes.VERSION)
_RANK = {"pending": 0, "written": 1, "done": 2}


class NoCaseError(ValueError):
    """A flow has no case of this name."""


class DeadError(BaseException):
    """The program was killed here."""


# ---------------------------------------------------------------------- the card in the reader


class Step(NamedTuple):
    """One operation on the card, or (``operation`` -1) one commit: what stood where just before it.

    ``ledger`` numbers the ledger's content; a commit leaves ``after``. ``plan`` is what the card stores, if it does.
    """

    operation: int
    ledger: int
    dump: bytes
    plan: Plan | None = None
    after: int = -1


class Socket(Chip):
    """What the reader takes for its card: it hands every command on to ``card``, and counts them.

    Before operation ``fault_at`` the card is pulled and ``other``, powered, is in its place if there is one;
    ``pulled`` is then the card. With ``die_at`` (byte, value) the program is killed at that stored byte.
    """

    def __init__(self, card: Chip) -> None:
        # The memory is the card's: this one has none of its own.
        self.card: Chip | None = card
        self.operations = 0
        self.stored = 0
        self.fault_at = -1
        self.other: Chip | None = None
        self.pulled: Chip | None = None
        self.fired = False
        self.die_at: tuple[int, int | None] | None = None
        self.note: Callable[[int, bytes, Plan | None], None] | None = None

    def _operation(self, gone: int = codes.CARD_OUT) -> Chip:
        if self.operations == self.fault_at:
            self.fired = True
            self.pulled, self.card = self.card, self.other
            for chip in (self.pulled, self.other):
                if chip is not None:
                    chip.power_off()
            if self.other is not None:
                self.other.power_on()
        self.operations += 1
        if self.card is None:
            raise ReaderError(gone)
        return self.card

    def _noted(self, card: Chip, plan: Plan | None) -> None:
        if self.note is not None:
            self.note(self.operations - 1, card.dump(), plan)

    def power_on(self) -> bytes:
        """As the card's, NO_CARD without one."""
        card = self._operation(codes.NO_CARD)
        self._noted(card, None)
        return card.power_on()

    def power_off(self) -> None:
        """As the card's; no operation, for nothing can be stored by it."""
        if self.card is not None:
            self.card.power_off()

    def read(self, control: int, address: int) -> bytes:
        """As the card's."""
        card = self._operation()
        self._noted(card, None)
        return card.read(control, address)

    def plan(self, control: int, address: int, data: int) -> Plan | None:
        """As the card's."""
        card = self._operation()
        plan = card.plan(control, address, data)
        self._noted(card, plan)
        return plan

    def store(self, plan: Plan) -> None:
        """As the card's; here the program dies, if it shall."""
        card = cast(Chip, self.card)
        if self.die_at is not None and self.die_at[0] == self.stored:
            value = self.die_at[1]
            if value is not None:
                card.store((plan[0], plan[1], value))
            card.power_off()
            raise DeadError
        self.stored += 1
        card.store(plan)

    def command(self, control: int, address: int, data: int) -> int:
        """As the card's; the clock cycles only of a command that stores nothing."""
        plan = self.plan(control, address, data)
        if plan is None:
            return CLOCKS_REJECTED
        self.store(plan)
        return 0


@cache
def _torn_values(old: int, new: int, counter: bool) -> tuple[int, ...]:
    values = torn_card_byte(old, new)
    # The error counter has three bits.
    return tuple(dict.fromkeys(value & TRIES_FULL for value in values) if counter else values)


def _torn(dump: bytes, plan: Plan) -> list[tuple[int, bytes]]:
    # Every value the byte in flight may have been left at, the old one first, and the card that holds it.
    area, place, new = plan
    at = (0, 256, 260)[area] + place
    before, after = dump[:at], dump[at + 1 :]
    values = _torn_values(dump[at], new, at == _COUNTER_AT)
    return [(value, b"".join((before, bytes((value,)), after))) for value in values]


def _chip(dump: bytes) -> Chip:
    chip = Chip()
    chip.restore(dump)
    return chip


# ---------------------------------------------------------------------- the ledger


_TABLES = (
    *("about", "accounts", "meters", "bindings", "cards", "orders", "reports", "grants", "recoveries", "adoptions"),
    *("tools", "transfers", "finals", "account_changes", "suspensions", "stock_moves", "shifts"),
)
_OWN = (METER, HEIR)  # the customer's meter, and the one he gets for it
_Rows: TypeAlias = tuple[tuple[tuple[Any, ...], ...], ...]


class KeptLedger(Ledger):
    """The hall's own ledger in SQLite's memory, whose content can be kept under a number and put back.

    Two contents with the same rows have the same number. ``committed`` is called after every commit.
    """

    def __init__(self, region: int, path: str = "sqlite://") -> None:
        super().__init__(path, region)
        self._contents: list[bytes] = []
        self._rows: list[_Rows] = []
        self._numbers: dict[_Rows, int] = {}
        self.committed: Callable[[], None] | None = None
        raw = self._engine.raw_connection()
        self._raw = cast(sqlite3.Connection, raw.driver_connection)
        raw.close()  # back into the pool, which keeps one connection a thread

    @contextmanager
    def begin(self) -> Iterator[Books]:
        with super().begin() as books:
            yield books
        if self.committed is not None:
            self.committed()

    def keep(self) -> int:
        """The number of what the ledger holds now."""
        rows = tuple([tuple(self._raw.execute(f"SELECT * FROM {table}").fetchall()) for table in _TABLES])
        number = self._numbers.setdefault(rows, len(self._rows))
        if number == len(self._rows):
            self._rows.append(rows)
            self._contents.append(self._raw.serialize())
        return number

    def back(self, number: int) -> None:
        """The ledger holds again what was kept under ``number``."""
        self._raw.deserialize(self._contents[number])

    @property
    def connection(self) -> sqlite3.Connection:
        """The ledger's own handle, for whoever looks past the hall."""
        return self._raw

    def rows(self, number: int) -> _Rows:
        """The rows of ``number``, by table in the order of _TABLES."""
        return self._rows[number]

    def content(self, number: int) -> bytes:
        """The bytes of the database."""
        return self._contents[number]


class _Row(NamedTuple):
    """An order's row, as SQLite gives it."""

    id: int
    account: str
    binding: int
    card: int
    sequence: int
    state: str
    frame: bytes
    paid: int
    released: int
    fen: int | None
    made_at: int
    price: int | None
    shift: int | None
    kind: str | None
    correction: int | None
    adopted: int | None
    in_frame: int | None


class _Facts(NamedTuple):
    """What a ledger says of the customer's meter and, unread, of everybody else."""

    orders: tuple[_Row, ...]
    cards: tuple[tuple[Any, ...], ...]
    reports: tuple[tuple[Any, ...], ...]
    elsewhere: _Rows


def _facts(rows: _Rows) -> _Facts:
    about, accounts, meters, bindings, cards, orders, reports = rows[:7]
    mine = {row[3] for row in bindings if row[1] in _OWN}
    return _Facts(
        tuple(_Row(*row) for row in orders if row[1] in mine),
        tuple(row for row in cards if row[1] in mine),
        tuple(row for row in reports if row[0] in _OWN),
        (
            about,
            tuple(row for row in accounts if row[0] not in mine),
            tuple(row for row in meters if row[0] not in _OWN),
            tuple(row for row in bindings if row[1] not in _OWN),
            tuple(row for row in cards if row[1] not in mine),
            tuple(row for row in orders if row[1] not in mine),
            tuple(row for row in reports if row[0] not in _OWN),
        ),
    )


# ---------------------------------------------------------------------- the flows


@dataclass(frozen=True, slots=True)
class HallFlow:
    """A service and where it starts. ``rows``: orders it adds to those the ledger has at its start.

    ``kind`` is "opening", "replacement", "sale", "makeup", "read back", "refund", "pay", "take back", "probe" or
    "adopt"; ``start`` brings a desk there; with ``rescue`` the clerk spends a last try. With ``same_end`` the hall's
    clock stands still, so that every stopped and repeated run is held against the one that nothing stopped: for
    services whose orders do not add up from sequence 1, or that write none. Of what is torn or swapped one in ``thin``
    is tried, where another flow tries all of the same bytes.

    With ``does`` that is the service, ``rescued`` the same when it may spend a last try, and ``already`` what it says
    to whoever repeats it (0: as the first time). Other kinds are then "tool", which makes a company's card of a blank
    one, "exchange", which writes the customer's card for his new meter, "empties", which takes off a card what stands
    on it, "paper" and "reads", which write on no card. ``used`` is what it says once a meter has taken the card, which
    can then be read back. ``anybody``: any meter takes the card. ``looks`` judges each state besides, ``then`` plays on
    from where a run ends.
    """

    kind: str
    start: "Callable[[Desk], Chip]"
    rows: int
    rescue: bool = False
    same_end: bool = False
    thin: int = 1
    does: "Callable[[Hall, ChipReader], object] | None" = None
    rescued: "Callable[[Hall, ChipReader], object] | None" = None
    already: int = 0
    used: int = 0
    anybody: bool = False
    looks: "Callable[[Desk, State], None] | None" = None
    then: "Callable[[Desk, State], None] | None" = None

    @property
    def issues(self) -> bool:
        """Whether a blank card becomes the customer's, or the company's."""
        return self.kind in ("opening", "replacement", "tool")

    @property
    def writes(self) -> bool:
        """Whether anything is written on the card."""
        return self.kind not in ("read back", "pay", "take back", "adopt", "paper", "reads")


@dataclass
class HallCounts(Counts):
    """What a run has done, and beside that: how swaps and the last try went.

    ``tries``: swaps that cost the other card a try, ``last_tries`` its last; ``replaced``: states only a replacement
    card helps out of (last try and a torn order, or no try left); ``loaded``: states the meter took the new order from.
    """

    tries: int = 0
    last_tries: int = 0
    replaced: int = 0
    loaded: int = 0


class State(NamedTuple):
    """What a fault has left: the ledger's number, the card in hand, how many faults so far."""

    ledger: int
    dump: bytes
    faults: int


class _Visit(NamedTuple):
    """A card in a meter and out again."""

    code: int
    store: Store
    dump: bytes
    memory: bytes


class _Meter:
    """A meter under test, the real firmware, put back to where it was kept before each visit."""

    def __init__(self, signer: KeyFileSigner, number: str) -> None:
        key, tool_key = signer.meter_keys(number, 1)
        self.keys = KeySet(key)
        self.earlier: tuple[KeySet, ...] = ()
        """Those it had before."""
        self.heirs: tuple[KeySet, ...] = ()
        """Of a meter that may get its gas."""
        self.number = number
        self.under_test = RecordedMeter(open_target("cpython"))
        self.under_test.build(
            meter=number, key=key, tool_key=tool_key, index=500, minutes=13_700_000, lane_length=_LANE_LENGTH
        )
        self.keep()

    def has_keys(self, signer: KeyFileSigner, version: int) -> None:
        """It was given other keys."""
        self.earlier = (self.keys, *self.earlier)
        self.keys = KeySet(signer.meter_keys(self.number, version)[0])

    def keep(self) -> None:
        """From here on ``back`` leads here."""
        self.under_test.keep(0)

    def back(self) -> None:
        """As it was kept, and powered."""
        self.under_test.back(0)
        self.under_test.power_on()

    def store(self) -> Store:
        """What its memory means."""
        return read_store(self.under_test.memory(_MEMORY), self.under_test.keys(), 1, _LANE_LENGTH)

    def visit(self, dump: bytes) -> _Visit:
        """Put a card in and take it out. Violation for whatever the meter may not do to a card."""
        before = self.store()
        code = self.under_test.insert(_chip(dump))
        after = self.under_test.remove().dump()
        self.under_test.entries()
        cells, keys = self.under_test.memory(_MEMORY), self.under_test.keys()
        store = read_store(cells, keys, 1, _LANE_LENGTH)
        account_steady(before, store)
        only_report_slots(dump, after)
        tries_kept(dump, after)
        if after != dump:
            said = read_card(after, self.keys, self.heirs)
            reports_true(said, store)
            report_kept(dump, after, self.keys)
            if said.final is not None and said.final.said.meter == self.number:
                final_told(said, store)
        return _Visit(code, store, after, cells[:_ACCOUNTS_END] + keys)


# ---------------------------------------------------------------------- the desk


class Desk:
    """A hall, its ledger, a customer's card and meter, a neighbour's card and meter: where a flow starts.

    ``card`` is the customer's card in hand, ``start`` the state before the service. ``meter`` is the one the card is
    for, ``other`` the one that is to take its place, or did it take.
    """

    def __init__(self, flow: HallFlow) -> None:
        self.flow = flow
        self.signer = KeyFileSigner(ROOT, TEST_REGION)
        self.ledger = KeptLedger(TEST_REGION)
        self.meter = _Meter(self.signer, METER)
        self.stranger = _Meter(self.signer, OTHER_METER)
        self.other = _Meter(self.signer, HEIR)
        self.meter.heirs = (self.other.keys,)
        self._facts: dict[int, _Facts] = {}
        self.neighbour = self._neighbour()
        self.own = b""  # the customer's card, where the one in hand is another
        self.lost = b""  # a company's card that may turn up
        self.card = flow.start(self)
        self.meter.keep()
        self.other.keep()
        self.start = State(self.ledger.keep(), self.card.dump(), 0)
        self.number = self._next_card()
        self.base = self.meter.store()
        self.wheels = self.meter.under_test.snapshot()["index"]
        asked = [self.stranger]
        if (flow.kind == "exchange" or flow.looks is not None) and not self.other.store().bound:
            self.other.back()
            asked.append(self.other)
        self._strangers = [(meter, self._of_stranger(meter)) for meter in asked]
        self._stranger_asked: set[bytes] = set()
        self._shown: dict[bytes, _Visit] = {}
        self._ended: set[tuple[int, bytes, bytes]] = set()
        self._end: State | None = None

    def close(self) -> None:
        """Give the ledger's handles back."""
        self.ledger.close()

    def facts(self, number: int) -> _Facts:
        """What the ledger of that number says."""
        if number not in self._facts:
            self._facts[number] = _facts(self.ledger.rows(number))
        return self._facts[number]

    # What the people in it do.

    def hall(self, day: int, ledger: Ledger | None = None) -> Hall:
        """A new run of the hall's program, so many days after the first: a frame made anew would tell itself."""
        if self.flow.same_end and day > 0:
            day = 0
        return Hall(ledger or self.ledger, self.signer, lambda: _NOON + timedelta(days=day))

    def serve(self, hall: Hall, socket: Socket, rescue: bool = False) -> None:
        """The flow's service, once."""
        reader = ChipReader(socket, trace=_silent)
        kind = self.flow.kind
        if self.flow.does is not None:
            (rescue and self.flow.rescued or self.flow.does)(hall, reader)
        elif kind == "opening":
            hall.open_account(reader, meter=METER, volume=30, name="Li Wei", fen=7500, ceiling=1000)
        elif kind == "sale":
            hall.sell(reader, 20, fen=5000, rescue=rescue)
        elif kind in ("makeup", "refund"):
            hall.write_grant(reader, 1, rescue=rescue)
        elif kind == "pay":
            hall.pay_refund(1)
        elif kind == "take back":
            hall.take_back(reader)
        elif kind == "probe":
            hall.probe(reader, rescue=rescue)
        elif kind == "adopt":
            hall.adopt(reader, requester="Li Ming", approver="Zhao Min", reason="the disk broke")
        elif kind == "replacement":
            hall.replace(reader, account=_ACCOUNT, reason="lost in use")
        else:
            hall.read_back(reader)

    def _neighbour(self) -> Chip:
        # Another customer, with gas waiting on his card: whatever is done to it by mistake can be seen.
        hall, card = self.hall(-2), Chip()
        hall.open_account(ChipReader(card), meter=OTHER_METER, volume=10, name="Wang Fang", fen=2500)
        card.restore(self.stranger.visit(card.dump()).dump)
        hall.sell(ChipReader(card), 15, fen=3750)
        self.stranger.keep()
        return card

    def opened(self) -> Chip:
        """The customer's card with its first gas on the meter and some of it burned; the report not read back."""
        card = Chip()
        self.hall(-1).open_account(
            ChipReader(card), meter=METER, volume=30, name="Li Wei", fen=7500, initial_reading=5, ceiling=1000
        )
        card.restore(self.meter.visit(card.dump()).dump)
        self.meter.under_test.pulses(_USED)
        card.restore(self.meter.visit(card.dump()).dump)
        return card

    def killed(self, card: Chip, byte: int, value: int | None = None) -> Chip:
        """``card`` after a first run of the service that was killed at that stored byte."""
        socket = Socket(card)
        socket.die_at = (byte, value)
        try:
            self.serve(self.hall(-1), socket, self.flow.rescue)
        except DeadError:
            return card
        raise ValueError(f"the service stores no byte {byte}")

    @property
    def already(self) -> int:
        """What whoever repeats the service is told, it being finished."""
        return self.flow.already or _ALREADY.get(self.flow.kind, errors.GAS_ON_CARD)

    def work(self, state: State, socket: Socket) -> str:
        """From ``state`` (its ledger and ``socket`` in place): the service, or what the clerk does who repeats it.

        "finished", "already", "dead" or "replace"; GasError as the service's, DeadError.
        """
        hall = self.hall(state.faults)
        rescue = self.flow.rescue
        if not state.faults:
            self.serve(hall, socket, rescue)
            return "finished"
        opening, kind = self.flow.issues, self.flow.kind
        blanks = 1
        while True:
            card = cast(Chip, socket.card)
            before = card.dump()
            tries = tries_left(before[_COUNTER_AT])
            try:
                self.serve(hall, socket, rescue)
                return "finished"
            except GasError as error:
                code = error.code
                if socket.fired:
                    raise
                if code == self.already:
                    return "already"
                if opening and blanks and code in (codes.PASSWORD_REFUSED, errors.LAST_TRY):
                    self._given_up(before, code, tries)
                    blanks -= 1
                    socket.card = Chip()
                elif code == errors.LAST_TRY and tries == 1 and kind == "empties":
                    return "replace"  # it stays as it is, and does nothing in a meter
                elif code == errors.LAST_TRY and tries == 1 and not rescue and not opening:
                    rescue = True
                elif (
                    code == errors.LAST_TRY
                    and tries == 1
                    and rescue
                    and read_card(before, self.meter.keys).order is None
                ):
                    return "replace"  # RULES 1, last try: only after frames and MAC verify
                elif code == errors.CARD_DEAD and tries == 0 and not opening:
                    return "dead"
                else:
                    raise

    def _given_up(self, dump: bytes, code: int, tries: int) -> None:
        if code == errors.LAST_TRY:
            # With two left the password announced may have been wrong, and the one before it is not dared any more.
            if tries not in (1, 2):
                raise Violation("password_kept", f"LAST_TRY with {tries} tries left")
            return
        psc = dump[_PSC_AT:]
        for count in range(4):
            if psc == self._own_psc(dump)[:count] + b"\xff\xff\xff"[count:]:
                raise Violation("password_kept", f"given up with {count} bytes of its password and nothing torn")

    def _own_psc(self, dump: bytes) -> bytes:
        # Taken out of the order's mask by the meter's key, not asked of the hall (SPEC 4: psc_mask).
        card = read_card(dump, self.meter.keys)
        if card.order is None:
            return self.signer.card_psc(self.number if self.flow.issues else 2)
        pad = hmac.digest(self.meter.keys.wrap, b"psc" + card.number.to_bytes(4, "big"), "sha256")
        return bytes(a ^ b for a, b in zip(card.order.psc_mask, pad[:3], strict=True))

    def _next_card(self) -> int:
        # The number of the card a service makes: of one that was begun, else the next there is.
        every = "SELECT number, issued FROM cards UNION SELECT number, issued FROM tools"
        rows = self.ledger.connection.execute(every)
        numbers = dict(rows.fetchall())
        return next((number for number, issued in numbers.items() if not issued), max(numbers, default=0) + 1)

    def record(self, state: State) -> tuple[list[Step], State, str]:
        """Run on from ``state`` and write every step down; where it ended, and how."""
        ledger = self.ledger
        ledger.back(state.ledger)
        steps: list[Step] = []
        socket = Socket(_chip(state.dump))
        at = state.ledger

        def note(operation: int, dump: bytes, plan: Plan | None) -> None:
            steps.append(Step(operation, at, dump, plan))

        def committed() -> None:
            nonlocal at
            after = ledger.keep()
            steps.append(Step(-1, at, cast(Chip, socket.card).dump(), None, after))
            at = after

        socket.note, ledger.committed = note, committed
        try:
            how = self.work(state, socket)
        finally:
            ledger.committed = None
        end = State(ledger.keep(), cast(Chip, socket.card).dump(), state.faults)
        if end.ledger != at:
            raise Violation("steady", "the ledger changed outside a transaction")
        return steps, end, how

    # What is judged of a state.

    def judge(self, state: State, counts: HallCounts) -> None:
        """All that must hold of a state a fault has left. Violation, or whatever GasError should not have come."""
        facts = self.facts(state.ledger)
        if self.flow.same_end:
            self._judge_end(state, facts, counts)
            return
        self._rows_true(facts)
        shown = read_card(state.dump, self.meter.keys)
        self._card_true(state.dump, shown, facts, self.start.dump)
        self._ask_stranger(state.dump)
        visit = self._show(state, facts, shown)
        counts.loaded += visit.store.sequence > self.base.sequence
        end, how, spoilt = self._recover(state)
        counts.replaced += how in ("dead", "replace")
        self._settled(state, end, how, self.start.dump)
        self._finally(end, how, ())
        # Once more, the card having been in the customer's meter first.
        if visit.store.sequence > self.base.sequence and visit.code == codes.OK:
            self._read_back(state, visit)
            return
        if visit.dump != state.dump:
            came = state._replace(dump=visit.dump)
            end, how, spoilt = self._recover(came)
            self._settled(came, end, how, visit.dump)
        self._finally(end, how, (state.dump,))
        if spoilt:
            self._spoilt(state, end)

    def _judge_end(self, state: State, facts: _Facts, counts: HallCounts) -> None:
        if facts.elsewhere != self.facts(self.start.ledger).elsewhere and not self.flow.anybody:
            raise Violation("rows_true", "another customer's rows have changed")
        if self.flow.kind in ("tool", "empties"):
            self._tool_true(state)
        elif self.flow.writes:
            shown = read_card(state.dump, (self.meter.keys, *self.meter.earlier, self.other.keys))
            self._card_true(state.dump, shown, facts, self.start.dump)
        elif state.dump != self.start.dump:
            raise Violation("card_places", "the card is written on")
        if not self.flow.anybody:
            self._ask_stranger(state.dump)
        if self.flow.looks is not None:
            self.flow.looks(self, state)
        end, _, _ = self._recover(state)
        whole = self._whole()
        if self.flow.kind == "empties" and tries_left(end.dump[_COUNTER_AT]) < 2:
            self._left_as_it_is(state, end, whole)
            counts.replaced += 1
            return
        self._same_end(end, whole)
        self._plays_on(end)
        gas = self._gas(state.dump)
        before = _standing(self.base)
        if gas not in (before, self._gas(self.start.dump), self._gas(whole.dump)):
            raise Violation("same_end", f"the meter has {gas} from the card as it was left")
        counts.loaded += gas != before
        # Once more, the card having been in the customer's meter first: the same orders, the same gas.
        visit = self._shown[state.dump]
        if visit.dump == state.dump:
            return
        if self.flow.kind == "probe" and gas != before:
            self._answered(state, visit)
            return
        try:
            came, _, _ = self._recover(state._replace(dump=visit.dump))
        except GasError as error:
            if not self.flow.used or error.code != self.flow.used:
                raise
            self.ledger.back(state.ledger)
            company.read_tool(self.hall(0), ChipReader(_chip(visit.dump), trace=_silent))
            return
        if self.flow.used and gas != before:
            raise Violation("same_end", "a card that a meter has used is taken back as if it were not")
        mine, theirs = ([order.frame for order in self.facts(at.ledger).orders] for at in (came, whole))
        if mine != theirs:
            raise Violation("same_end", f"{len(mine)} orders once the meter has seen the card, {len(theirs)} else")
        if self._tools(came) != self._tools(whole):
            raise Violation("same_end", "other company's cards are booked once the meter has seen the card")
        self.meter.back()
        self.meter.visit(state.dump)
        store = self.meter.visit(came.dump).store
        # Of a card that was emptied nothing comes but what came before.
        if _standing(store) != (gas if self.flow.kind == "empties" else self._gas(whole.dump)):
            raise Violation("same_end", f"the meter has {store.bought_total} at the end")

    def _answered(self, state: State, visit: _Visit) -> None:
        # The probe has its answer: it is adopted, and nothing has been given.
        self.ledger.back(state.ledger)
        reader = ChipReader(_chip(visit.dump), trace=_silent)
        told = self.hall(state.faults).adopt(reader, requester="Li Ming", approver="Zhao Min", reason="restored")
        if told.recovering or visit.store.bought_total != self.base.bought_total:
            raise Violation("same_end", f"a probe loaded and adopted: {told}, {visit.store.bought_total} on the meter")

    def _whole(self) -> State:
        # Where a run ends that nothing stops.
        if self._end is None:
            self.ledger.back(self.start.ledger)
            socket = Socket(_chip(self.start.dump))
            self.work(self.start, socket)
            self._end = State(self.ledger.keep(), cast(Chip, socket.card).dump(), 0)
            if self.flow.kind == "tool":
                row = self._tools(self._end)[-1]
                frames = self._end.dump[_ORDER_AT : _ORDER_AT + len(row.frames)]
                own = self.signer.card_psc(row.number)
                self._outside(self._end.dump, len(frames))
                if frames != row.frames or (self._end.dump[256:260], self._end.dump[_PSC_AT:]) != (_MADE, own):
                    raise Violation("card_sound", "the finished card is not what its row says")
        return self._end

    def _outside(self, dump: bytes, size: int) -> None:
        spans = [(_ORDER_AT, _ORDER_AT + size), (_IDENTITY_AT, _IDENTITY_END), (0x101, 0x103), (_COUNTER_AT, 264)]
        try:
            outside_unchanged(self.start.dump, dump, spans)
        except Violation as error:
            raise Violation("card_places", error.text) from None

    def _plays_on(self, end: State) -> None:
        key = (end.ledger, end.dump, b"")
        if self.flow.then is not None and key not in self._ended:
            self._ended.add(key)
            self.flow.then(self, end)

    def _tools(self, state: State) -> list["_Tool"]:
        rows = self.ledger.rows(state.ledger)[_TABLES.index("tools")]
        return [_Tool(row[0], row[6]) for row in rows]

    def _tool_true(self, state: State) -> None:
        """A company's card half made, or half emptied: each byte is the old one or the new one, but one in flight."""
        before, dump = self.start.dump, state.dump
        after = self._whole().dump
        began, rows = self._tools(self.start), self._tools(state)
        if any(old not in rows for old in began) or len(rows) > len(began) + 1:
            raise Violation("tool_true", f"{len(rows)} company's cards in the ledger, {len(began)} at the start")
        changed = [at for at in range(len(dump)) if dump[at] != before[at] and at != _COUNTER_AT]
        if self.flow.kind == "tool" and changed and len(rows) == len(began):
            raise Violation("row_first", f"{len(changed)} bytes are on the card, and its row is nowhere")
        torn = [at for at in changed if dump[at] != after[at]]
        if len(torn) > state.faults or any(before[at] == after[at] for at in torn):
            raise Violation("tool_true", f"at {', '.join(f'{at:02X}' for at in torn[:9])} neither old nor new")

    def _left_as_it_is(self, state: State, end: State, whole: State) -> None:
        """The stops have cost the card its tries but one: nothing is written on it, the ledger is as it should be."""
        if end.dump != state.dump:
            raise Violation("password_kept", "a card at its last try is written on")
        self._same_rows(end, whole)
        self._plays_on(end)

    def _same_rows(self, end: State, whole: State) -> None:
        for name, mine, theirs in zip(
            _TABLES, self.ledger.rows(end.ledger), self.ledger.rows(whole.ledger), strict=True
        ):
            if mine != theirs:
                raise Violation("same_end", f"{name}: {mine[-1:]} at the end, {theirs[-1:]} else")

    def _same_end(self, end: State, whole: State) -> None:
        self._same_rows(end, whole)
        same = end.dump[:_COUNTER_AT] == whole.dump[:_COUNTER_AT] and end.dump[_PSC_AT:] == whole.dump[_PSC_AT:]
        # A run that found all done does not touch the card: a try it lost comes back at the meter.
        if not same or (self.flow.writes and tries_left(end.dump[_COUNTER_AT]) < 2):
            raise Violation("same_end", f"protection, counter and password are {end.dump[256:].hex()}")

    def visited(self, dump: bytes) -> _Visit:
        """The card in the customer's meter, which is as it was at the start."""
        visit = self._shown.get(dump)
        if visit is None:
            self.meter.back()
            visit = self._shown[dump] = self.meter.visit(dump)
        return visit

    def _gas(self, dump: bytes) -> tuple[Any, ...]:
        # What the customer's meter makes of a card.
        return _standing(self.visited(dump).store)

    def _rows_true(self, facts: _Facts) -> None:
        began = self.facts(self.start.ledger)
        orders = facts.orders
        if facts.elsewhere != began.elsewhere:
            raise Violation("rows_true", "another customer's rows have changed")
        if not len(began.orders) <= len(orders) <= len(began.orders) + self.flow.rows:
            raise Violation("rows_true", f"{len(orders)} orders, {len(began.orders)} at the start")
        for old, new in zip(began.orders, orders, strict=False):
            if old._replace(state="") != new._replace(state="") or _RANK[new.state] < _RANK[old.state]:
                raise Violation("rows_true", f"order {old.sequence} was {old}, is {new}")
        total = 0
        for place, order in enumerate(orders):
            total += order.paid
            if order.sequence != place + 1 or order.released != total:
                raise Violation("rows_true", f"row {place}: sequence {order.sequence}, released {order.released}")
            if order.state == "pending" and place + 1 < len(orders):
                raise Violation("rows_true", f"order {order.sequence} is pending below another")
        if facts.reports[: len(began.reports)] != began.reports:
            raise Violation("rows_true", "reports have changed")

    def _card_true(self, dump: bytes, shown: Card, facts: _Facts, before: bytes) -> None:
        spans = [(_ORDER_AT, _ORDER_END), (_COUNTER_AT, _COUNTER_AT + 1)]
        if self.flow.issues:
            spans += [(_IDENTITY_AT, _IDENTITY_END), (0x101, 0x103), (_PSC_AT, 264)]
        try:
            outside_unchanged(before, dump, spans)
        except Violation as error:
            raise Violation("card_places", error.text) from None
        frame = dump[_ORDER_AT:_ORDER_END]
        last = facts.orders[-1] if facts.orders else None
        pending = last is not None and last.state == "pending"
        if shown.order is not None:
            allowed = [order.frame for order in facts.orders[-2 if pending else -1 :]]
            if self.flow.kind == "exchange" and (pending or last == self.facts(self.start.ledger).orders[-1]):
                allowed.append(before[_ORDER_AT:_ORDER_END])  # the old meter's, which the new one does not take
            if frame not in allowed:
                raise Violation(
                    "frame_known",
                    f"order {shown.order.sequence} over {shown.order.bought_total} on the card; the last row is "
                    f"{'missing' if last is None else f'{last.sequence} over {last.released}, {last.state}'}",
                )
        elif not pending and ((last is not None and not self.flow.issues) or frame != before[_ORDER_AT:_ORDER_END]):
            raise Violation("row_first", f"the order on the card is torn and the last row {last and last.state}")

    def _ask_stranger(self, dump: bytes) -> None:
        # Other meters are shown every card; what they may not do to one they do to none. In an exchange one of them
        # is the customer's own, before or after.
        if dump in self._stranger_asked:
            return
        self._stranger_asked.add(dump)
        for meter, cells in self._strangers:
            if meter is self.other:
                meter.back()
            code = meter.under_test.insert(_chip(dump))
            after = meter.under_test.remove().dump()
            meter.under_test.entries()
            if code not in (codes.METER, *_DAMAGED) and meter is self.stranger:
                raise Violation("stranger_meter", f"it answers {code}")
            if after != dump:
                raise Violation("stranger_meter", "it has written on the card")
            if self._of_stranger(meter) != cells:
                raise Violation("stranger_meter", "it is not as it was")

    def _of_stranger(self, meter: _Meter) -> bytes:
        under_test = meter.under_test
        tokens = under_test.snapshot()["tokens"]
        return under_test.memory(_ACCOUNTS_END) + under_test.keys() + bytes((tokens,))

    def _show(self, state: State, facts: _Facts, shown: Card) -> _Visit:
        """The customer's meter is shown the card as it was left: the old order or the new one, and no third."""
        visit = self.visited(state.dump)
        base, store = self.base, visit.store
        if (store.bound, store.sequence, store.bought_total) != (base.bound, base.sequence, base.bought_total):
            frame = state.dump[_ORDER_AT:_ORDER_END]
            last = facts.orders[-1] if facts.orders else None
            if last is None or (store.sequence, store.bought_total) != (last.sequence, last.released):
                raise Violation(
                    "old_or_new", f"order {store.sequence} over {store.bought_total} is loaded, {last} is booked"
                )
            if frame != last.frame or visit.code not in (codes.OK, codes.REPORT_NOT_WRITTEN):
                raise Violation("old_or_new", f"loaded with {visit.code} from another frame than the row's")
            credited_once(store, [cast(Order, shown.order)])
        elif visit.code == codes.OK:
            raise Violation("old_or_new", "the meter says OK and has credited nothing")
        elif visit.code == codes.PASSWORD_REFUSED and state.dump[_PSC_AT:] == self._own_psc(state.dump):
            raise Violation("old_or_new", "the card's own password is refused")
        elif shown.order is None and (visit.code not in _DAMAGED or visit.dump != state.dump):
            raise Violation("old_or_new", f"a damaged card is answered with {visit.code}, or written")
        return visit

    def _recover(self, state: State) -> tuple[State, str, bool]:
        # Where the clerk gets who repeats the service from ``state``; whether he gave the card up for another.
        ledger = self.ledger
        ledger.back(state.ledger)
        socket = Socket(_chip(state.dump))
        first = socket.card
        how = self.work(state._replace(faults=max(1, state.faults)), socket)
        card = cast(Chip, socket.card)
        return State(ledger.keep(), card.dump(), state.faults), how, card is not first

    def _settled(self, state: State, end: State, how: str, before: bytes) -> None:
        facts, began = self.facts(end.ledger), self.facts(self.start.ledger)
        self._rows_true(facts)
        shown = read_card(end.dump, self.meter.keys)
        self._card_true(end.dump, shown, facts, before)
        if how in ("dead", "replace"):
            if end.dump != state.dump or facts.orders != self.facts(state.ledger).orders:
                raise Violation("settles", f"{how}, and something has changed all the same")
            return
        if len(facts.orders) != len(began.orders) + self.flow.rows:
            raise Violation("settles", f"{len(facts.orders)} orders, {len(began.orders)} at the start")
        last = facts.orders[-1]
        if self.flow.kind == "read back":
            if last.state != "done":
                raise Violation("settles", f"the report is read back and the order {last.state}")
            return
        if last.state != "written" or end.dump[_ORDER_AT:_ORDER_END] != last.frame or shown.order is None:
            raise Violation("settles", f"the order is {last.state}, its frame on the card: {shown.order is not None}")
        sound = (end.dump[256:260], end.dump[_PSC_AT:]) == (_MADE, self._own_psc(end.dump))
        # A run that found all done has not touched the card: a try it lost to a swap comes back at the meter.
        least = 2 if how == "already" else 3
        if not sound or tries_left(end.dump[_COUNTER_AT]) < least:
            raise Violation("card_sound", f"protection, counter and password are {end.dump[256:].hex()}")
        if not [row for row in facts.cards if row[0] == shown.number and row[5]]:
            raise Violation("settles", f"card {shown.number} is not issued")

    def _finally(self, end: State, how: str, before: tuple[bytes, ...]) -> None:
        """The customer goes home with the finished card: it is loaded once; the next sale goes through."""
        memory = self._shown[before[0]].memory if before else b""
        key = (end.ledger, end.dump, memory)
        if key in self._ended:
            return
        self._ended.add(key)
        meter = self.meter
        meter.back()
        for dump in before:
            meter.visit(dump)
        orders = self.facts(end.ledger).orders
        last = orders[-1] if orders else None
        sold = sum(order.paid for order in orders)
        dump = end.dump
        if how in ("dead", "replace"):
            pending = last is not None and last.state == "pending"
            sold -= last.paid if last is not None and pending else 0  # paid and held until the card is replaced
            self._adds_up(meter.visit(dump).store, sold, dump)
            return
        last = cast(_Row, last)
        self._adds_up(meter.store(), sold, dump)
        for _ in range(2):
            visit = meter.visit(dump)
            dump = visit.dump
            if (visit.store.sequence, visit.store.bought_total) != (last.sequence, last.released):
                raise Violation(
                    "loaded_once", f"{visit.code}: {visit.store.bought_total} on the meter, {last.released} released"
                )
            if tries_left(dump[_COUNTER_AT]) != 3:
                raise Violation("loaded_once", f"{visit.code}: the counter is {dump[_COUNTER_AT]}")
            self._adds_up(visit.store, sold, dump)
        self._sell_next(end.ledger, dump, last, sold)

    def _sell_next(self, number: int, dump: bytes, last: _Row, sold: int) -> None:
        self.ledger.back(number)
        card = _chip(dump)
        sale = self.hall(9).sell(ChipReader(card, trace=_silent), 1)
        if (sale.sequence, sale.bought_total, sale.resumed) != (last.sequence + 1, last.released + _NEXT_PULSES, False):
            raise Violation("loaded_once", f"the next sale is {sale}")
        self._adds_up(self.meter.store(), sold + _NEXT_PULSES, card.dump())
        visit = self.meter.visit(card.dump())
        if visit.code != codes.OK or visit.store.bought_total != last.released + _NEXT_PULSES:
            raise Violation("loaded_once", f"the next sale: {visit.code}, {visit.store.bought_total} on the meter")
        self._adds_up(visit.store, sold + _NEXT_PULSES, visit.dump)

    def _adds_up(self, store: Store, sold: int, dump: bytes) -> None:
        books = GasBooks()
        books.sold(METER, 1, sold)
        books.adds_up(METER, store, 500, self.wheels, [read_card(dump, self.meter.keys)])

    def _read_back(self, state: State, visit: _Visit) -> None:
        """The meter took the new order from the card as it was left; the customer brings it back to the hall."""
        self.ledger.back(state.ledger)
        card = _chip(visit.dump)
        self.hall(state.faults).read_back(ChipReader(card, trace=_silent))
        if card.dump() != visit.dump:
            raise Violation("settles", "reading back has written on the card")
        number = self.ledger.keep()
        facts = self.facts(number)
        self._rows_true(facts)
        last = facts.orders[-1]
        if last.state != "done" or len(facts.orders) != len(self.facts(state.ledger).orders):
            raise Violation("settles", f"loaded and read back, and the order is {last.state}")
        self._finally(State(number, visit.dump, state.faults), "finished", (state.dump,))

    def _spoilt(self, state: State, end: State) -> None:
        # The half-made card lies about: shown to a meter that has loaded the finished one, it moves nothing.
        self.meter.back()
        loaded = self.meter.visit(end.dump).store
        again = self.meter.visit(state.dump).store
        if (again.sequence, again.bought_total) != (loaded.sequence, loaded.bought_total):
            raise Violation("loaded_once", f"the card given up is loaded: {again.bought_total}")


class _Tool(NamedTuple):
    """Of a company's card the number and the bytes from 0x20 on."""

    number: int
    frames: bytes


def _standing(store: Store) -> tuple[Any, ...]:
    # What a card can have changed in a meter: gas, binding, keys, what the company's cards bring.
    gas = store.binding, store.state, store.sequence, store.bought_total, store.correction_total
    return *gas, store.service_number, store.test_gas, store.key_version, store.limits, store.index_offset


def _silent(line: str) -> None:
    """No trace: the log would cost more than the card."""


# ---------------------------------------------------------------------- where flows start


def _sold(desk: Desk) -> Chip:
    return desk.opened()


def _half_sold(desk: Desk) -> Chip:
    # Two bytes of the counter, then the order's; the sixth of these is torn.
    card = desk.opened()
    before = bytes(card.main[_ORDER_AT:_ORDER_END])
    desk.killed(card, 8, 0x5A)
    if bytes(card.main[_ORDER_AT:_ORDER_END]) == before:
        raise ValueError("no byte of the order is on the card")
    return card


def _half_opened(desk: Desk) -> Chip:
    # Killed in the order, and once more when the try of the next password had been spent.
    card = desk.killed(Chip(), 50)
    desk.killed(card, 1)
    return card


def _loaded(desk: Desk) -> Chip:
    # The sale was killed after the last byte, and the customer has been home with the card.
    card = desk.opened()
    reader = ChipReader(card)
    hall = desk.hall(-1)
    with_all = card.dump()
    number = desk.ledger.keep()
    plans: list[Plan] = []
    reader.step = plans.append
    hall.sell(reader, 20, fen=5000)
    desk.ledger.back(number)
    card.restore(with_all)
    socket = Socket(card)
    socket.die_at = (len(plans) - 1, plans[-1][2])
    with suppress(DeadError):
        hall.sell(ChipReader(socket), 20, fen=5000)
    card.restore(desk.meter.visit(card.dump()).dump)
    return card


def _last_try(desk: Desk) -> Chip:
    card = desk.opened()
    card.security[0] = 0x04
    return card


def _approved(desk: Desk) -> Chip:
    card = desk.opened()
    hall = desk.hall(-1)
    hall.read_back(ChipReader(card))
    asked = hall.request_makeup(_ACCOUNT, 20, kind="loss", reason="proven lost", requester="Li Ming")
    hall.approve_grant(asked.number, "Zhao Min")
    return card


def _lost(desk: Desk) -> Chip:
    # All that was sold is proven loaded: what is held is played with by gashall's own tests.
    desk.hall(-1).read_back(ChipReader(desk.opened()))
    return Chip()


def _refunded(desk: Desk) -> Chip:
    card = company.promised(desk)
    hall = desk.hall(-1)
    hall.write_grant(ChipReader(card), 1)
    card.restore(desk.meter.visit(card.dump()).dump)
    hall.read_back(ChipReader(card))
    return card


def _lost_with_gas(desk: Desk) -> Chip:
    # 20 m³ of the last purchase are on the lost card, and nobody knows whether it was loaded.
    card = desk.opened()
    desk.hall(-1).sell(ChipReader(card), 20, fen=5000)
    return Chip()


def _holding(desk: Desk) -> Chip:
    card = _lost_with_gas(desk)
    hall = desk.hall(-1)
    hall.replace(ChipReader(card), account=_ACCOUNT, reason="lost in use")
    asked = hall.request_makeup(_ACCOUNT, 20, kind="held", reason="proven not loaded", requester="Li Ming")
    hall.approve_grant(asked.number, "Zhao Min")
    return card


def _restored(desk: Desk) -> Chip:
    card = desk.opened()
    hall = desk.hall(-1)
    hall.read_back(ChipReader(card))
    hall.mark_restored()
    return card


def _ahead(desk: Desk) -> Chip:
    # The sale of the card's 20 m³ is not in the copy that was restored, and the meter has loaded them.
    card = desk.opened()
    hall = desk.hall(-1)
    hall.read_back(ChipReader(card))
    copy = desk.ledger.keep()
    hall.sell(ChipReader(card), 20, fen=5000)
    card.restore(desk.meter.visit(card.dump()).dump)
    desk.ledger.back(copy)
    hall.mark_restored()
    return card


HALL_FLOWS: dict[str, HallFlow] = {
    "hall opening": HallFlow("opening", lambda desk: Chip(), 1),
    "hall sale": HallFlow("sale", _sold, 1),
    "hall sale resumed": HallFlow("sale", _half_sold, 0),
    "hall opening resumed": HallFlow("opening", _half_opened, 0),
    "hall read back": HallFlow("read back", _loaded, 0),
    "hall sale, last try rescued": HallFlow("sale", _last_try, 1, rescue=True),
    "hall makeup": HallFlow("makeup", _approved, 1),
    "hall replacement": HallFlow("replacement", _lost, 1),
    "hall refund": HallFlow("refund", company.promised, 1, same_end=True),
    "hall refund paid": HallFlow("pay", _refunded, 0, same_end=True),
    "hall replacement, gas held": HallFlow("replacement", _lost_with_gas, 1, same_end=True, thin=16),
    "hall makeup, gas held": HallFlow("makeup", _holding, 1, same_end=True),
    "hall refund cancelled": HallFlow(
        "refund",
        company.waits_to_pay,
        1,
        same_end=True,
        thin=4,
        does=company.cancel_refund,
        rescued=partial(company.cancel_refund, rescue=True),
        already=errors.GRANT_ENDED,
        then=company.keeps_gas,
    ),
    "hall card rekeyed": HallFlow(
        "sale",
        company.rekeyed,
        1,
        same_end=True,
        thin=4,
        does=company.rekey,
        rescued=partial(company.rekey, rescue=True),
        already=errors.FIELD,
        then=company.rewritten,
    ),
    "hall take-back, cleared": HallFlow(
        "empties", company.found, 0, same_end=True, thin=16, does=company.take_back_cleared, then=company.gives_back
    ),
    "hall take-back, loaded and cleared": HallFlow(
        "empties",
        company.found_loaded,
        0,
        same_end=True,
        thin=32,
        does=company.take_back_cleared,
        then=company.gives_back,
    ),
    "hall take-back": HallFlow("take back", company.found_loaded, 0, same_end=True),
    "hall probe": HallFlow("probe", _restored, 1, same_end=True),
    "hall adopt": HallFlow("adopt", _ahead, 1, same_end=True),
    # The company's own cards and what comes of them. They are made by the steps of an opening, where every torn byte
    # and swap is tried; here one in so many.
    "hall transfer card": HallFlow(
        "tool", company.settled, 0, same_end=True, thin=32, does=company.begin, looks=company.moved, then=company.moves
    ),
    "hall transfer card again": HallFlow(
        "tool",
        company.lost_with_order,
        0,
        same_end=True,
        thin=32,
        does=company.begin_again,
        already=errors.CARD_NOT_BLANK,
        looks=company.moved,
        then=company.moves,
    ),
    "hall transfer card read": HallFlow(
        "reads", company.transferred, 1, same_end=True, does=company.read, then=company.gets_card
    ),
    "hall exchange proven": HallFlow(
        "paper", company.reported, 1, same_end=True, does=company.prove, already=errors.EXCHANGE_MISSING
    ),
    "hall exchange, dead meter": HallFlow(
        "paper", company.settled, 0, same_end=True, does=company.dead, already=errors.EXCHANGE, then=company.gets_card
    ),
    "hall exchange card": HallFlow(
        "exchange",
        company.moving,
        1,
        same_end=True,
        does=company.card,
        rescued=partial(company.card, rescue=True),
        then=company.loads,
    ),
    "hall exchange card, dead meter": HallFlow(
        "exchange",
        company.died,
        1,
        same_end=True,
        thin=4,
        does=company.card,
        rescued=partial(company.card, rescue=True),
        then=company.loads,
    ),
    "hall clear card": HallFlow(
        "tool", company.stocked, 0, same_end=True, thin=32, does=company.clear, then=company.ends
    ),
    "hall clear card again": HallFlow(
        "tool",
        company.lost_clear,
        0,
        same_end=True,
        thin=64,
        does=company.clear_again,
        then=company.ends_again,
    ),
    "hall clear card read": HallFlow(
        "reads", company.cleared, 0, same_end=True, does=company.read_tool, then=company.closes
    ),
    "hall clear card taken back": HallFlow(
        "empties",
        company.unused,
        0,
        same_end=True,
        thin=32,
        does=company.take_back,
        already=errors.TOOL_ENDED,
        used=errors.TOOL_OUT,
        then=company.sells,
    ),
    "hall account closed": HallFlow("reads", company.over, 0, same_end=True, does=company.close),
    "hall opening again": HallFlow(
        "opening", company.ended, 1, same_end=True, thin=32, does=company.open_again, then=company.begins_anew
    ),
    "hall opening again, gas owed": HallFlow(
        "opening", company.owing, 1, same_end=True, thin=32, does=company.open_elsewhere, then=company.begins_anew
    ),
    "hall management card": HallFlow(
        "tool", company.settled, 0, same_end=True, thin=32, does=company.management, anybody=True, then=company.reports
    ),
    "hall management card read": HallFlow(
        "empties", company.read_out, 0, same_end=True, thin=48, does=company.read_tool, anybody=True
    ),
    "hall setting card": HallFlow(
        "tool", company.settled, 0, same_end=True, thin=64, does=company.setting, then=company.sets
    ),
    "hall key card": HallFlow(
        "tool", company.settled, 0, same_end=True, thin=64, does=company.keys, then=company.rekeys
    ),
    "hall test gas card": HallFlow("tool", company.unbound, 0, same_end=True, thin=64, does=company.test_gas),
    "hall account suspended": HallFlow(
        "paper", company.settled, 0, same_end=True, does=company.suspend, already=errors.SUSPENDED
    ),
    "hall test ended": HallFlow(
        "paper",
        company.tested,
        0,
        same_end=True,
        does=company.end_test,
        already=errors.NOT_SUSPENDED,
        then=company.advises,
    ),
    "hall test cancelled": HallFlow(
        "paper",
        company.tested,
        0,
        same_end=True,
        does=company.cancel_test,
        already=errors.NOT_SUSPENDED,
        then=company.goes_on,
    ),
    "hall test corrected": HallFlow(
        "paper",
        company.mistyped,
        0,
        same_end=True,
        does=company.correct_test,
        already=errors.FIELD,
        then=company.advises,
    ),
    "hall account stopped": HallFlow(
        "paper",
        company.settled,
        0,
        same_end=True,
        does=company.stop,
        already=errors.FIELD,
        then=company.sells_nothing,
    ),
    "hall account resumed": HallFlow(
        "paper",
        company.stopped,
        0,
        same_end=True,
        does=company.resume,
        already=errors.FIELD,
        then=company.goes_on,
    ),
    "hall account transferred": HallFlow(
        "paper", company.settled, 0, same_end=True, does=company.transfer_account, already=errors.FIELD
    ),
}

# ---------------------------------------------------------------------- cards that are swapped in

OTHERS = ("neighbour", "neighbour, last try", "blank", "copy")
"""Another customer's card, the same with one try left, a blank, and a copy of the card without its password."""


def _other(desk: Desk, name: str, dump: bytes) -> Chip:
    if name == "blank":
        return Chip()
    if name == "copy":
        return _chip(dump[:_COUNTER_AT] + b"\x07\x5a\xa5\x3c")
    other = _chip(desk.neighbour.dump())
    if name != "neighbour":
        other.security[0] = 0x04
    return other


_PULLED = (codes.CARD_OUT, codes.NO_CARD)
# After a swap: that it was noticed, or what the other card itself is refused for.
_SWAPPED = (
    errors.CARD_SWAPPED,
    codes.PASSWORD_REFUSED,
    errors.WRITE_REFUSED,
    errors.READ_BACK_DIFFERS,
    errors.LAST_TRY,
    errors.CARD_DEAD,
    codes.ALREADY_BOUND,
    errors.CARD_BLANK,
    errors.CARD_NOT_BLANK,
    errors.GAS_ON_CARD,
    errors.GRANT_ACCOUNT,
    errors.CARD_IN_USE,
    errors.NOTHING_TO_ADOPT,
    codes.KIND,
    codes.METER,
    errors.FIELD,
    errors.TOOL_UNKNOWN,
    errors.EXCHANGE_MISSING,
    errors.REPLACEMENT_UNSEEN,
)


# ---------------------------------------------------------------------- runs


def run(
    name: str,
    depth: int = 1,
    shard: tuple[int, int] = (1, 1),
    only: str | None = None,
    progress: Progress | None = None,
) -> Counts:
    """Stop the flow ``name`` everywhere, at ``depth`` 2 its recovery too; shard K of N. KeyError, ValueError.

    ``only`` replays exactly one case, named with or without its flow; ValueError if there is no such case. Death's
    states are judged in the shard their content falls to; a pull or swap is run in the shard its name falls to.
    """
    if depth not in (1, 2) or not 1 <= shard[0] <= shard[1]:
        raise ValueError("depth is 1 or 2, a shard (K, N) with 1 <= K <= N")
    desk = Desk(HALL_FLOWS[name])
    try:
        runner = _Runner(desk, name, shard, progress)
        if only is not None:
            runner.replay(only.removeprefix(f"{name}/"))
        else:
            runner.everything(depth)
        return runner.counts
    finally:
        desk.close()


class _Loss(NamedTuple):
    """How a run ended that lost its card: what it left, torn values and all, and the card swapped in, if one was."""

    fired: bool
    code: int
    text: str
    left: State
    lefts: list[tuple[str, State]]
    other: str | None
    before: bytes
    after: bytes
    taken: bool


class _Runner:
    """Stops the flow of a desk; ``counts`` is what has come of it."""

    def __init__(self, desk: Desk, name: str, shard: tuple[int, int], progress: Progress | None) -> None:
        self.desk = desk
        self.name = name
        self.shard = shard
        self.progress = progress
        self.counts = HallCounts()
        self._depth = 1
        self._seen: set[tuple[int, bytes]] = set()
        self._spread: dict[tuple[int, bytes, Plan | None, int], int] = {}
        self._clean: set[tuple[int, bytes]] = set()

    def everything(self, depth: int) -> None:
        """All cases of this shard."""
        self._depth = depth
        first = self._stop(self.desk.start, "")
        if depth < 2:
            return
        for case, state in first:
            self._stop(state, f"{case}/then ")

    def replay(self, case: str) -> None:
        """The one case of that name."""
        state = self.desk.start
        if case == "whole":
            if self._recorded(state) is not None:
                self._judge(state, case)
            return
        *before, last = case.split("/then ")
        for fault in before:
            state = self._after(state, fault)
        steps = self.desk.record(state)[0]
        if last.startswith("death"):
            found = [left for fault, left in self._deaths(steps, state) if fault == last]
            if not found:
                raise NoCaseError(f"no case {case!r}")
            self.counts.fired += 1
            self._judge(found[0], case)
            return
        for fault, at, other in self._losses(steps):
            if last == fault or last.startswith(f"{fault}/="):
                at_start = case.removesuffix(last) + fault
                if self._lose(state, steps, at_start, at, other, last.removeprefix(fault)):
                    return
        raise NoCaseError(f"no case {case!r}")

    def _after(self, state: State, fault: str) -> State:
        # The state one fault leaves behind, not judged.
        steps = self.desk.record(state)[0]
        for name, left in self._deaths(steps, state):
            if name == fault:
                return left
        for name, at, other in self._losses(steps):
            if fault == name or fault.startswith(f"{name}/="):
                for value, left in self._run_on(state, steps, at, other).lefts:
                    if fault == name + value:
                        return left
        raise NoCaseError(f"no case {fault!r}")

    def _mine(self, mark: bytes) -> bool:
        return crc32(mark) % self.shard[1] == self.shard[0] - 1

    def _thinned(self, name: str) -> bool:
        # Torn bytes and swaps have many names; what is left of them is the same in every shard.
        return "=" not in name and "swap" not in name or crc32(name.encode()) // 256 % self.desk.flow.thin == 0

    def _judge(self, state: State, case: str) -> None:
        self.counts.states += 1
        try:
            self.desk.judge(state, self.counts)
        except (Violation, GasError) as error:
            self._found(str(error), case)
        except Exception as error:  # whatever breaks here breaks in what is judged: it is found, with its case
            self._found(f"{type(error).__name__}: {error}", case)
        if self.progress is not None:
            self.progress(self.counts)

    def _found(self, text: str, case: str) -> None:
        self.counts.violations.append(Found(self.name, case, text))

    def _recorded(self, state: State) -> list[Step] | None:
        # None if the run fails of itself. A repetition that does so is found where its state is judged.
        try:
            return self.desk.record(state)[0]
        except Exception as error:
            if not state.faults:
                self._found(f"{type(error).__name__}: {error}", "whole")
            return None

    def _stop(self, state: State, prefix: str) -> list[tuple[str, State]]:
        """Stop the run from ``state`` everywhere and judge what is new; the new states, with their cases."""
        steps = self._recorded(state)
        if steps is None:
            return []
        new: list[tuple[str, State]] = []
        clean = not prefix or (state.ledger, state.dump) in self._clean
        for name, step in self._named(steps):
            fired = self._mine((prefix + name).encode())
            place = step.ledger, step.dump, step.plan, step.after
            if place in self._spread:
                # All that can come of a death here has come of one before.
                self.counts.fired += fired * self._spread[place]
                continue
            lefts = [left for left in self._left(name, step, state.faults + 1) if self._thinned(left[0])]
            self._spread[place] = len(lefts)
            self.counts.fired += fired * len(lefts)
            for fault, left, whole in lefts:
                key = left.ledger, left.dump
                if whole:
                    self._clean.add(key)
                if key in self._seen:
                    continue
                self._seen.add(key)
                new.append((prefix + fault, left))
                if self._mine(left.dump + b"%d" % left.ledger):
                    self._judge(left, prefix + fault)
        if clean:
            for fault, at, other in self._losses(steps):
                new += self._lose(state, steps, prefix + fault, at, other)
        return new

    def _deaths(self, steps: list[Step], state: State) -> Iterator[tuple[str, State]]:
        """Every state a death could leave, with its name."""
        for name, step in self._named(steps):
            for fault, left, _ in self._left(name, step, state.faults + 1):
                yield fault, left

    def _named(self, steps: list[Step]) -> Iterator[tuple[str, Step]]:
        byte = commit = 0
        for step in steps:
            if step.operation < 0:
                yield f"death/commit {commit}", step
                commit += 1
            elif step.plan is None:
                yield f"death/op {step.operation}", step
            else:
                yield f"death/byte {byte}", step
                byte += 1

    def _left(self, name: str, step: Step, faults: int) -> Iterator[tuple[str, State, bool]]:
        # What a death at this step could leave: the case, the state, whether no byte is torn.
        here = State(step.ledger, step.dump, faults)
        if step.operation < 0:
            yield f"{name}/before", here, True
            yield f"{name}/after", here._replace(ledger=step.after), True
        elif step.plan is None:
            yield name, here, True
        else:
            for place, (value, dump) in enumerate(_torn(step.dump, step.plan)):
                whole = place == 0 or value == step.plan[2]
                yield name if place == 0 else f"{name}/={value:02X}", State(step.ledger, dump, faults), whole

    def _losses(self, steps: list[Step]) -> Iterator[tuple[str, int, str | None]]:
        """Every operation before which the card may be pulled, or another be in its place."""
        for step in steps:
            if step.operation >= 0:
                yield f"pull/op {step.operation}", step.operation, None
                for other in OTHERS:
                    if self._thinned(swap := f"swap/op {step.operation}/{other}"):
                        yield swap, step.operation, other

    def _values(self, steps: list[Step], at: int) -> list[tuple[int, bytes]]:
        step = _step(steps, at)
        return [] if step.plan is None else _torn(step.dump, step.plan)

    def _run_on(self, state: State, steps: list[Step], at: int, other: str | None) -> "_Loss":
        """The program, whose card is lost before operation ``at``: how it ends and what it leaves."""
        desk = self.desk
        desk.ledger.back(state.ledger)
        socket = Socket(_chip(state.dump))
        socket.fault_at = at
        chip = None if other is None else _other(desk, other, state.dump)
        before = b"" if chip is None else chip.dump()
        socket.other = chip
        code, text = codes.OK, ""
        try:
            desk.work(state, socket)
        except GasError as error:
            code = error.code
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        after = b"" if chip is None else chip.dump()
        card = cast(Chip, socket.pulled if socket.fired else socket.card)
        left = State(desk.ledger.keep(), card.dump(), state.faults + 1)
        order = slice(_ORDER_AT, _ORDER_END)
        taken = other == "blank" and code == codes.OK and after[order] != before[order]
        if taken:
            # The blank came before a byte was written: it is the customer's card, as if it had been from the start.
            lefts = [("", left._replace(dump=after))]
        else:
            values = self._values(steps, at)[1:]
            torn = [(f"/={value:02X}", left._replace(dump=dump)) for value, dump in values]
            lefts = [("", left), *(case for case in torn if self._thinned(f"{at}{case[0]}"))]
        return _Loss(socket.fired, code, text, left, lefts, other, before, after, taken)

    def _lose(
        self, state: State, steps: list[Step], case: str, at: int, other: str | None, only: str | None = None
    ) -> list[tuple[str, State]]:
        """Run one loss of the card and judge how it ends and what it leaves; what of that is new.

        ``only`` is one torn value as it is named, or empty for none of them.
        """
        first = self._depth == 2 and not state.faults and only is None
        mine = self._mine(case.encode())
        if not first and only is None and not mine:
            return []
        loss = self._run_on(state, steps, at, other)
        if mine or only is not None:
            self.counts.fired += loss.fired
            try:
                self._ended(state, loss, steps, at)
            except Violation as error:
                self._found(str(error), case)
        new = []
        for value, left in loss.lefts:
            key = left.ledger, left.dump
            if (only is not None and only != value) or (only is None and key in self._seen):
                continue
            self._seen.add(key)
            new.append((case + value, left))
            # Where all shards know of this state it is one shard's.
            if not first or self._mine(left.dump + b"%d" % left.ledger):
                self._judge(left, case + value)
        return new

    def _ended(self, state: State, loss: "_Loss", steps: list[Step], at: int) -> None:
        desk = self.desk
        step = _step(steps, at)
        if not loss.fired or loss.text:
            raise Violation("ends_documented", loss.text or "the fault did not fire")
        if loss.left.dump != step.dump:
            raise Violation("steady", f"the card is not as it was recorded before operation {at}")
        if loss.code not in (codes.OK, *(_PULLED if loss.other is None else (*_SWAPPED, desk.already))):
            raise Violation("ends_documented", f"the run ends with {loss.code}")
        if loss.other is None and loss.left.ledger != step.ledger:
            raise Violation("pull_is_death", f"the ledger has changed after the card was gone, before operation {at}")
        booked, before = (len(desk.facts(number).orders) for number in (loss.left.ledger, step.ledger))
        # A copy cannot be told from the card by reading it.
        if (
            desk.flow.kind in ("sale", "makeup", "refund", "probe", "exchange")
            and loss.other != "copy"
            and booked > before
        ):
            raise Violation("booked_for_it", f"an order is booked though the card was gone before operation {at}")
        if loss.other is not None and not loss.taken:
            # The hall has two passwords to choose from for a half-made card, and a copy of it looks like one.
            most = 2 if desk.flow.issues and loss.other == "copy" else 1
            self._stranger(loss.before, loss.after, most, _presenting(steps, at))

    def _stranger(self, before: bytes, after: bytes, most: int, presenting: bool) -> None:
        if before == after:
            return
        had, has = before[_COUNTER_AT], after[_COUNTER_AT]
        same = before[:_COUNTER_AT] == after[:_COUNTER_AT] and before[_PSC_AT:] == after[_PSC_AT:]
        if not same or not 1 <= tries_left(had) - tries_left(has) <= most:
            raise Violation("stranger_whole", f"counter {had} to {has}, all else the same: {same}")
        if has == 0 and not presenting and not self.desk.flow.rescue:
            raise Violation("stranger_whole", "its last try is spent")
        self.counts.tries += 1
        self.counts.last_tries += has == 0


def _step(steps: list[Step], at: int) -> Step:
    return next(step for step in steps if step.operation == at)


def _presenting(steps: list[Step], at: int) -> bool:
    # Whether operation ``at`` is the try itself: the tries of the card that was there have been counted.
    plan = _step(steps, at).plan
    return plan is not None and plan[:2] == (SECURITY, 0) and plan[2] < _step(steps, at).dump[_COUNTER_AT]
