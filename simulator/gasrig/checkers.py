"""The truth-keepers: what must hold of a meter, its cards and its gas, judged from bytes alone.

Nothing here is shared with what it judges: card images, the meter's memory and its key record are read by decoders
written by hand from the text of docs/SPEC.md, with nothing but the standard library. A check that finds its rule broken
raises Violation; RULES says each rule in one sentence and where it stands. Gas is counted in pulses throughout.

Judged may be what is at rest: a pulse the wheels have turned and nobody has told the meter yet is no drift.
"""

import hmac
import struct
from binascii import crc_hqx
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

__all__ = [
    "RULES",
    "Card",
    "Final",
    "GasBooks",
    "KeySet",
    "Order",
    "Report",
    "Store",
    "Violation",
    "Watch",
    "account_steady",
    "alarm_true",
    "binding_first",
    "credited_once",
    "final_kept",
    "final_told",
    "final_true",
    "guard_kept",
    "keys_whole",
    "lockout_held",
    "log_kept",
    "never_back",
    "only_report_slots",
    "opened_by_person",
    "outside_unchanged",
    "read_card",
    "read_log",
    "read_store",
    "register_true",
    "report_kept",
    "reports_true",
    "settings_kept",
    "granted_steady",
    "granted_true",
    "tries_kept",
    "unread_kept",
    "valve_true",
    "x25",
]

RULES: dict[str, str] = {
    "never_back": "Binding, key version, report number, service number and test gas never fall, nor within a binding "
    "sequence and replacement number, and the register only by what a cut had in flight. (RULES 1: binding, no number "
    "wraps; DESIGN 9)",
    "account_steady": "Within a binding its register never changes, without a newer order nothing of the credit does, "
    "and what is over does not begin again. (RULES 1: equal, other MAC; DESIGN D2)",
    "binding_first": "The key record's binding is never behind the account's: it is raised there first. "
    "(RULES 1: binding)",
    "store_kept": "No cut makes a record or the register unreadable. (DESIGN 9: power cut; RULES 2)",
    "log_kept": "No cut costs the event log more than what was being written. (SPEC 10.5)",
    "lost_stays": "A meter whose store is lost stays shut, takes no card and writes no record until a recovery order. "
    "(RULES 1: factory is written; SPEC 10.2)",
    "register_true": "The register has counted every pulse of the wheels, but for those a cut had in flight. "
    "(DESIGN 9: power cut; RULES 2)",
    "lockout_held": "A power cut gives no lockout token back; powered half hours do. (RULES 3; DESIGN D7)",
    "reports_true": "No report says more than the store holds, and no report number is used twice. "
    "(RULES 1: state; DESIGN D5; SPEC 5)",
    "report_kept": "The newest whole report stays on the card while the next is written. (SPEC 2; DESIGN D5)",
    "only_report_slots": "The meter writes into one report slot in a visit, on most company cards a certain one, and "
    "nowhere else, but for the chip's error counter. (RULES 1: one meter; DESIGN D5)",
    "unread_kept": "A whole report on a management card stays until the hall has read it. (RULES 1: tool limits)",
    "tries_kept": "A visit risks at most one try of the password, and never the last. (SPEC 2.2; DESIGN D4)",
    "outside_unchanged": "Nothing outside the places named is written. (RULES 2, 5)",
    "valve_true": "At rest gas flows only on a bound meter with gas or overdraft left, or within the test gas of one "
    "that was never bound. (SPEC 5: status; DESIGN 6)",
    "granted_true": "Test gas is what the hall's orders grant in all, within the meter's limit, counted from one "
    "register. (RULES 1: tool limits)",
    "settings_kept": "A cut leaves the settings before it or those after it, and nothing between. (RULES 1: setting)",
    "keys_whole": "A meter has one whole set of keys, and one that a key card replaced stands nowhere any more. "
    "(RULES 4)",
    "final_true": "What is over has a final record in both copies, of its own binding, that says what the account had "
    "when the valve had shut. (RULES 1: transfer, money back)",
    "final_kept": "The final record of a binding never changes. (RULES 1: transfer)",
    "final_told": "A final record on a card says what the meter's own says, and stands on none before the binding is "
    "over. (RULES 1: transfer, lowering)",
    "alarm_true": "At the alarm the valve shuts and stays shut until a card or the key has answered it. (DESIGN 6)",
    "opened_by_person": "The valve moves to open only within 60 s of a card or key. (RULES 1: valve; DESIGN 6)",
    "guard_kept": "What a guard has shut stays shut through a power cut, until a card or the key. (SPEC 10.4)",
    "credited_once": "What the meter has credited is what the hall's orders of this binding say, once. "
    "(RULES 1: judging; DESIGN D2)",
    "adds_up": "Sold + granted = used by the index + left on the meter + still on cards + held + paid back + "
    "(corrections - drift). (DESIGN D10)",
    "bound_holds": "Gas burned <= sold - paid back + granted + overdraft + drift, whatever images are shown. "
    "(DESIGN D10)",
}


class Violation(AssertionError):
    """A rule is broken: ``rule`` is its name in RULES, ``text`` what was found."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule
        self.text = text


# ---------------------------------------------------------------------- sums and keys

_MOST_PULSES = 99_999_999  # of a register or total (SPEC 1)
_MOST_MINUTES = 0x3FFFFFFF


# Every byte with its bits the other way round.
_TURNED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def x25(data: bytes) -> int:
    """CRC-16/X.25, 0..0xFFFF (SPEC 2)."""
    # The library knows this polynomial with the highest bit first; ours takes the lowest first.
    high, low = crc_hqx(data.translate(_TURNED), 0xFFFF).to_bytes(2, "big")
    return (_TURNED[low] << 8 | _TURNED[high]) ^ 0xFFFF


def _below(parent: bytes, label: bytes, context: bytes = b"") -> bytes:
    return hmac.digest(parent, b"icgas/1 " + label + b"\x00" + context, "sha256")[:16]


@dataclass(frozen=True, slots=True)
class KeySet:
    """A meter's key Km, 16 bytes, and the three below it: orders, reports, masks (RULES 4)."""

    key: bytes = field(repr=False)
    order: bytes = field(init=False, repr=False, compare=False)
    report: bytes = field(init=False, repr=False, compare=False)
    wrap: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        order, report, wrap = _branches(self.key)
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "report", report)
        object.__setattr__(self, "wrap", wrap)


@lru_cache(maxsize=4096)
def _branches(key: bytes) -> tuple[bytes, bytes, bytes]:
    return _below(key, b"order"), _below(key, b"report"), _below(key, b"wrap")


def _signed(raw: bytes) -> int:
    return int.from_bytes(raw, "big", signed=True)


def _ahead(a: int, b: int) -> bool:
    # Of two numbers modulo 2**16 the newer is the one that is ahead by less than half the circle.
    return 0 < (a - b) % 0x10000 < 0x8000


# ---------------------------------------------------------------------- the meter's memory

_CHECKPOINTS = (0x0000, 0x0040)
_ACCOUNTS = (0x0080, 0x00C0)
_STATES = (0x0100, 0x0140)
_RING = 0x0180
_RING_ENTRIES = 8
_TOKENS_FULL = 8
_RECORDS, _RECORDS_END = 0x0080, 0x0400  # accounts, states, ring and limits
_TALLY = 0x1000
_KEYS = (0x0000, 0x0040)
_PAGE = 64
_MARKS = (b"\xa5", b"\x5a")
# A write covers 64 places at most, so four marks from the 64th place on behind one without say that it is damaged.
_REACH = 64
_PROOF = 4

_BOUND = 3  # state of the account
_OVER = (4, 5)  # transferred, closed
_LIMITS = (0x0380, 0x03C0)
_FINALS = (0x0F00, 0x0F80)
_FINAL_SIZE = 69
_TEST_GAS_MOST = 1000  # pulses in a meter's life, where its model says nothing else
_KEYED = 2  # state of the key record

_CHECKPOINT_FIELDS = struct.Struct(">HIH")
_RING_FIELDS = struct.Struct(">HBBH")
_ACCOUNT_FIELDS = struct.Struct(">HBBBBI5sHII3sH3sHBI8s12xI")
_STATE_FIELDS = struct.Struct(">HBBHH3s3sII16xI18xI")
_KEY_FIELDS = struct.Struct(">HBBH7sBB32s13xI")


class Store(NamedTuple):
    """What a meter's memory means, in pulses (SPEC 10). What cannot be read is None, its numbers 0."""

    register: int | None
    state: int | None
    bound: bool
    binding: int
    replacement: int
    sequence: int
    bought_total: int
    register_at_binding: int
    correction_total: int
    overdraft: int
    alarm: int
    order_mac: bytes
    card: int
    account: str
    report_number: int | None
    tokens: int
    key_binding: int
    key_version: int
    keyed: bool
    alarm_seen: tuple[int, int]
    lost: bool
    meter: str = ""
    region: int = 0
    keys_lost: bool = False
    ceiling: int = 0
    over_flow_seconds: int = 0
    latched: int = 0  # reasons to stay shut that wait for somebody
    test_gas: int = 0  # granted in the meter's life
    test_gas_end: int = 0  # the register at which it ends; 0: none was granted
    service_number: int = 0
    index_offset: int = 0
    limits: bytes = b""  # of the guards, as they are stored
    key: bytes = b""  # Km and Kt, 32 bytes
    final: "Final | None" = None
    finals_alike: bool = True  # whether both copies of the final record are whole and the same

    @property
    def over(self) -> bool:
        """Whether a binding has ended and none has begun since."""
        return self.state in _OVER

    @property
    def test_gas_left(self) -> int:
        """Pulses of test gas a meter that was never bound may still let through; 0 or less: none."""
        if self.lost or self.register is None or self.bound or self.binding:
            return 0
        return self.test_gas_end - self.register

    @property
    def remaining(self) -> int:
        """Gas left in pulses, below zero is overdraft; 0 if the meter is not bound or has lost its store (SPEC 4)."""
        if self.lost or not self.bound or self.register is None:
            return 0
        return self.bought_total - (self.register - self.register_at_binding) - self.correction_total


_Record = TypeVar("_Record", bound=tuple[Any, ...])  # entry number or generation first


@lru_cache(maxsize=8192)
def _checkpoint(raw: bytes, slot: int) -> tuple[int, int] | None:
    generation, base, crc = _CHECKPOINT_FIELDS.unpack(raw)
    if generation & 1 != slot or base > _MOST_PULSES or x25(raw[:6]) != crc:
        return None
    return generation, base


@lru_cache(maxsize=8192)
def _ring_entry(raw: bytes, place: int) -> tuple[int, int] | None:
    number, cards, _, crc = _RING_FIELDS.unpack(raw)
    if number % _RING_ENTRIES != place or x25(raw[:4]) != crc:
        return None
    return number, cards


def _whole(raw: bytes) -> bool:
    return raw[2] == 1 and crc32(raw[:60]) == int.from_bytes(raw[60:], "big")


@lru_cache(maxsize=8192)
def _account(raw: bytes) -> tuple[Any, ...] | None:
    if not _whole(raw):
        return None
    (entry, _, state, binding, replacement, card, account, sequence, *totals) = _ACCOUNT_FIELDS.unpack(raw)
    bought, begun, correction, alarm, ceiling, overdraft, over_flow, latest, mac, _ = totals
    digits = account.hex()
    if not digits.isdigit() or bought > _MOST_PULSES or begun > _MOST_PULSES or latest > _MOST_MINUTES:
        return None
    numbers = (binding, replacement, sequence, bought, begun, _signed(correction), overdraft, alarm)
    return (entry, state, *numbers, mac, card, digits, int.from_bytes(ceiling, "big"), over_flow)


@lru_cache(maxsize=8192)
def _state(raw: bytes) -> tuple[int, int, tuple[int, int], int, tuple[int, int, int, int]] | None:
    if not _whole(raw):
        return None
    entry, _, binding, sequence, latched, number, service, test_gas, offset, end, _ = _STATE_FIELDS.unpack(raw)
    if max(test_gas, offset, end) > _MOST_PULSES:
        return None
    settings = test_gas, end, int.from_bytes(service, "big"), offset
    return entry, int.from_bytes(number, "big"), (binding, sequence), latched, settings


@lru_cache(maxsize=8192)
def _limits(raw: bytes) -> tuple[int, bytes] | None:
    return (int.from_bytes(raw[:2], "big"), raw[3:60]) if _whole(raw) else None


@lru_cache(maxsize=8192)
def _key_record(raw: bytes) -> tuple[int, bool, int, int, int, str, bytes] | None:
    if not _whole(raw):
        return None
    entry, _, state, region, meter, version, binding, key, _ = _KEY_FIELDS.unpack(raw)
    digits = meter.hex()
    if not digits.isdigit():
        return None
    return entry, state == _KEYED, region, version, binding, digits, key


def _newest(first: _Record | None, second: _Record | None) -> _Record | None:
    if first is None:
        return second
    if second is None or _ahead(first[0], second[0]):
        return first
    return second


@lru_cache(maxsize=512)
def _tokens(ring: bytes) -> int:
    newest: tuple[int, int] | None = None
    for place in range(_RING_ENTRIES):
        at = place * _PAGE
        entry = _ring_entry(ring[at : at + 6], place)
        if entry is not None and (newest is None or _ahead(entry[0], newest[0])):
            newest = entry
    return 0 if newest is None else min(newest[1], _TOKENS_FULL)


def _one_lane(tally: bytes, mark: bytes) -> int:
    length = len(tally)
    at = length - len(tally.lstrip(mark))
    while at < length:
        beyond = at + _REACH
        if tally[beyond : beyond + _PROOF] != mark * _PROOF:
            return at
        # What lies between the damaged place and its proof is older than the proof, marked or not.
        beyond += _PROOF
        at = length - len(tally[beyond:].lstrip(mark))
    return at


def _four_lanes(runs: list[int], most: int) -> int | None:
    count = sum(runs)
    if all((count + 3 - lane) >> 2 == runs[lane] for lane in range(4)):
        return count
    # A lane with a run of r says that the count is one of four, 4r + lane - 3 to 4r + lane. Of any three lanes that
    # have a count in common the greatest one they share.
    found: int | None = None
    for left_out in range(4):
        lanes = [lane for lane in range(4) if lane != left_out]
        least = max(0, *(4 * runs[lane] + lane - 3 for lane in lanes))
        greatest = min(most, *(4 * runs[lane] + lane for lane in lanes))
        if least <= greatest and (found is None or greatest > found):
            found = greatest
    return found


def _register(cells: bytes, lanes: int, length: int) -> int | None:
    first, second = [cells[at : at + 8] for at in _CHECKPOINTS]
    return _counted((first, second), cells[_TALLY : _TALLY + lanes * length], lanes, length)


@lru_cache(maxsize=512)
def _counted(slots: tuple[bytes, bytes], tally: bytes, lanes: int, length: int) -> int | None:
    first, second = _checkpoint(slots[0], 0), _checkpoint(slots[1], 1)
    newest = _newest(first, second)
    if newest is None:
        return None
    generation, base = newest
    mark = _MARKS[generation & 1]
    capacity = lanes * length
    if first is None or second is None:
        # Where the other checkpoint is unreadable a tally with all its last places marked has been full: what
        # followed it is the generation that is there now.
        # A slot that nobody has ever written, as the factory leaves it, tells of no such generation.
        ends = tally[length - 1 :: length]
        other = slots[0 if first is None else 1]
        heads = tally[::length]
        ended = ends == mark * lanes or (mark in ends and mark not in heads)
        if any(other) and ended and base + capacity <= _MOST_PULSES:
            base += capacity
            mark = _MARKS[generation + 1 & 1]
    if lanes == 1:
        count: int | None = _one_lane(tally, mark)
    else:
        runs = []
        for start in range(0, capacity, length):
            runs.append(length - len(tally[start : start + length].lstrip(mark)))
        count = _four_lanes(runs, capacity)
    if count is None or base + count > _MOST_PULSES:
        return None
    return base + count


@lru_cache(maxsize=512)
def _records(cells: bytes, key_cells: bytes) -> tuple[tuple[Any, ...], bool, tuple[Any, ...]]:
    # Of the pages from the accounts to the end of the ring and the key record: the values of a Store after its
    # register, whether one of the records is lost, and the values behind that.
    account = _newest(*[_account(cells[at - _RECORDS : at - _RECORDS + 64]) for at in _ACCOUNTS])
    state = _newest(*[_state(cells[at - _RECORDS : at - _RECORDS + 64]) for at in _STATES])
    keys = _newest(*[_key_record(key_cells[at : at + 64]) for at in _KEYS])
    _, what, *numbers, ceiling, over_flow = account or _NO_ACCOUNT
    limits = _newest(*[_limits(cells[at - _RECORDS : at - _RECORDS + 64]) for at in _LIMITS])
    _, keyed, region, version, key_binding, meter, key = keys or (0, False, 0, 0, 0, "", b"")
    _, number, alarm_seen, latched, settings = state or (0, None, (0, 0), 0, (0, 0, 0, 0))
    tokens = _tokens(cells[_RING - _RECORDS : _LIMITS[0] - _RECORDS])
    values = (what, what == _BOUND, *numbers, number, tokens, key_binding, version, keyed, alarm_seen)
    lost = account is None or state is None or keys is None
    more = (meter, region, keys is None, ceiling, over_flow, latched, *settings)
    return values, lost, (*more, limits[1] if limits else b"", key)


def read_store(cells: bytes, key_cells: bytes, lanes: int = 1, lane_length: int = 4096) -> Store:
    """What the bytes of memory and key record mean, before any repair (SPEC 10). ValueError if they are too few."""
    if lanes not in (1, 4) or lane_length <= 0 or len(cells) < _TALLY + lanes * lane_length or len(key_cells) < 0x80:
        raise ValueError("memory and lanes do not fit each other")
    cells = bytes(cells)
    register = _register(cells, lanes, lane_length)
    values, lost, more = _records(cells[_RECORDS:_RECORDS_END], bytes(key_cells[:0x80]))
    finals = [_final(cells[at : at + _FINAL_SIZE]) for at in _FINALS]
    alike = finals[0] is not None and finals[0] == finals[1]
    return Store._make((register, *values, lost or register is None, *more, finals[0] or finals[1], alike))


_NO_ACCOUNT: tuple[Any, ...] = (0, None, 0, 0, 0, 0, 0, 0, 0, 0, b"", 0, "", 0, 0)


# ---------------------------------------------------------------------- the card

_MAIN = 256
_DUMP = 264
_IDENTITY_AT = 0x08
_ORDER_AT = 0x20
_ORDER_END = 0x5B
_SLOTS = ((0x5B, 0xA5), (0xA5, 0xEF))
_OPENING = 0x01
_USER = 0x02
_REPORT = 0x81
_REFUND = 0x01
_FLAGS = 0x0F

_IDENTITY_FIELDS = struct.Struct(">BBHBIHH")
_CLEAR = 0x03
_TEST = 0x04
_TRANSFER_IN = 0x05
_TRANSFER_OUT = 0x06
_FINAL = 0x82
_TRANSFER_CARD = 2
_CLEAR_CARD = 3
_MANAGEMENT_CARD = 4
# In which report slots a company's card is written, by its kind; a customer's in either.
_WRITTEN = {_TRANSFER_CARD: (1,), _CLEAR_CARD: (1,), 5: (1,), 6: (1,)}

_ORDER_FIELDS = struct.Struct(">7s5sBBBHI3s3sBH3sHBI3sB")
_REPORT_FIELDS = struct.Struct(">3s7sBBBHI3sIII3sBBIHBHBBBH3sHB")


@dataclass(frozen=True, slots=True)
class Order:
    """An authentic order on a card, totals in pulses (SPEC 4). ``mac`` is its MAC, ``number`` the card's."""

    kind: int
    meter: str
    account: str
    binding: int
    replacement: int
    key_version: int
    sequence: int
    bought_total: int
    amount: int
    correction_total: int
    pulse_weight: int
    alarm: int
    ceiling: int
    overdraft: int
    over_flow_seconds: int
    time: int
    psc_mask: bytes
    flags: int
    mac: bytes
    number: int

    @property
    def opening(self) -> bool:
        """Whether it binds a meter."""
        return self.kind == _OPENING

    @property
    def refund(self) -> bool:
        """Whether it may lower the bought total."""
        return bool(self.flags & _REFUND)


@dataclass(frozen=True, slots=True)
class Report:
    """An authentic report on a card, totals in pulses (SPEC 5). ``mac`` is its MAC."""

    report_number: int
    meter: str
    binding: int
    replacement: int
    versions: int
    sequence: int
    bought_total: int
    correction_total: int
    register: int
    used: int
    index: int
    status: int
    last_code: int
    battery: int
    time: int
    valve_moves: int
    valve_failures: int
    boots: int
    power_failures: int
    magnet_events: int
    over_flow_count: int
    alarm: int
    ceiling: int
    overdraft: int
    over_flow_seconds: int
    mac: bytes

    @property
    def rank(self) -> tuple[int, int]:
        """(binding, report number): of two reports of a meter the newer has the greater (SPEC 2)."""
        return self.binding, self.report_number


@dataclass(frozen=True, slots=True)
class Final:
    """What a meter says last of a binding (a report without MAC), and whom its gas goes to, meter and binding.

    On a card nobody is named: there the key it was made with says so.
    """

    said: Report
    heir: tuple[str, int]

    @property
    def remaining(self) -> int:
        """What the account had left, in pulses; below zero is overdraft."""
        return self.said.bought_total - self.said.used - self.said.correction_total


@dataclass(frozen=True, slots=True)
class Card:
    """What on a card is authentic for one meter; ``number`` 0 and nothing else if the identity is damaged.

    ``tool`` is the order of a clear or test gas card; ``incoming`` a transfer's, with the totals that its final record
    makes of it; ``final`` the final record there is.
    """

    number: int
    order: Order | None
    reports: tuple[Report, ...]
    kind: int = 1
    tool: Order | None = None
    incoming: Order | None = None
    final: Final | None = None

    @property
    def newest(self) -> Report | None:
        """The report of the greatest rank."""
        return max(self.reports, key=lambda report: report.rank, default=None)


@lru_cache(maxsize=8192)
def _identity(raw: bytes) -> tuple[int, int, int] | None:
    mark, version, region, kind, card, _, crc = _IDENTITY_FIELDS.unpack(raw)
    if mark != 0x69 or version != 1 or x25(raw[:11]) != crc:
        return None
    return card, region, kind


@lru_cache(maxsize=1024)
def _is_frame(frame: bytes) -> bool:
    # Start, length, version, end mark, CRC from the kind through the MAC.
    return (
        frame[0] == 0x68
        and frame[2] == len(frame) - 15
        and frame[3] == 1
        and frame[-1] == 0x16
        and x25(frame[1:-3]) == int.from_bytes(frame[-3:-1], "big")
    )


def _mac_of(frame: bytes, card: int, region: int, key: bytes) -> bytes:
    head = struct.pack(">IHBBB", card, region, frame[3], frame[1], frame[2])
    return hmac.digest(key, head + frame[4:-11], "sha256")[:8]


@lru_cache(maxsize=8192)
def _order(frame: bytes, card: int, region: int, key: bytes, kinds: tuple[int, ...]) -> Order | None:
    if frame[1] not in kinds or not _is_frame(frame):
        return None
    mac = frame[-11:-3]
    if _mac_of(frame, card, region, key) != mac:
        return None
    meter, account, binding, *middle, flags = _ORDER_FIELDS.unpack(frame[4:-11])
    replacement, version, sequence, bought, amount, correction, weight, alarm, ceiling, overdraft, *rest = middle
    over_flow, time, mask = rest
    digits = meter.hex(), account.hex()
    if not "".join(digits).isdigit() or not binding or not sequence or flags & ~_FLAGS:
        return None
    if bought > _MOST_PULSES or time > _MOST_MINUTES:
        return None
    values: tuple[Any, ...] = (frame[1], *digits, binding, replacement, version, sequence, bought, _signed(amount))
    values += (_signed(correction), weight, alarm, int.from_bytes(ceiling, "big"), overdraft, over_flow, time)
    values += (mask, flags, mac, card)
    return Order(*values)


@lru_cache(maxsize=8192)
def _report(frame: bytes, card: int, region: int, key: bytes, kind: int = _REPORT) -> Report | None:
    if frame[1] != kind or not _is_frame(frame):
        return None
    mac = frame[-11:-3]
    if _mac_of(frame, card, region, key) != mac:
        return None
    return _said(frame[4:-11], mac)


def _said(data: bytes, mac: bytes) -> Report | None:
    number, meter, *middle, alarm, ceiling, overdraft, over_flow = _REPORT_FIELDS.unpack(data)
    binding, replacement, versions, sequence, bought, correction, register, used, index, status, *rest = middle
    digits = meter.hex()
    if not digits.isdigit() or max(bought, register, used, index) > _MOST_PULSES or rest[2] > _MOST_MINUTES:
        return None
    values: tuple[Any, ...] = (int.from_bytes(number, "big"), digits, binding, replacement, versions, sequence, bought)
    values += (_signed(correction), register, used, index, int.from_bytes(status, "big"), *rest)
    values += (alarm, int.from_bytes(ceiling, "big"), overdraft, over_flow, mac)
    return Report(*values)


@lru_cache(maxsize=8192)
def _final(raw: bytes) -> Final | None:
    # As the meter keeps it: a report's data, the heir, a CRC.
    if x25(raw[:-2]) != int.from_bytes(raw[-2:], "big"):
        return None
    said = _said(raw[:59], b"")
    digits = raw[59:66].hex()
    return Final(said, (digits, raw[66])) if said is not None and digits.isdigit() else None


_NOBODY = ("00000000000000", 0)


def read_card(dump: bytes, keys: KeySet | tuple[KeySet, ...], heirs: tuple[KeySet, ...] = ()) -> Card:
    """The authentic frames of an image of 264 bytes, or its first 256 (SPEC 2 to 5). ValueError for another length.

    Several ``keys`` are those a meter has had, ``heirs`` those of meters its gas may go to.
    """
    if len(dump) not in (_MAIN, _DUMP):
        raise ValueError("a card image is 256 or 264 bytes")
    return _card(bytes(dump[:_MAIN]), (keys,) if isinstance(keys, KeySet) else keys, heirs)


@lru_cache(maxsize=256)
def _card(main: bytes, keys: tuple[KeySet, ...], heirs: tuple[KeySet, ...]) -> Card:
    identity = _identity(main[_IDENTITY_AT : _IDENTITY_AT + 13])
    if identity is None:
        return Card(0, None, ())
    card, region, kind = identity
    orders: list[Order | None] = []
    tools: list[Order | None] = []
    frame = main[_ORDER_AT:_ORDER_END]
    if _is_frame(frame):
        orders = [_order(frame, card, region, key.order, (_OPENING, _USER)) for key in keys]
        tools = [_order(frame, card, region, key.order, (_CLEAR, _TEST)) for key in keys]
    reports = []
    for start, end in _SLOTS:
        slot = main[start:end]
        if _is_frame(slot):
            reports += [_report(slot, card, region, key.report) for key in keys]
    final, incoming = None, None
    if kind == _CLEAR_CARD:
        finals = [_report(main[_SLOTS[1][0] : _SLOTS[1][1]], card, region, key.report, _FINAL) for key in keys]
        final = next((Final(said, _NOBODY) for said in finals if said is not None), None)
    elif kind == _TRANSFER_CARD:
        final = _final_of_transfer(main, card, region, (*keys, *heirs))
        incoming = _incoming(main, card, region, keys, final)
    return Card(
        card,
        next((order for order in orders if order is not None), None),
        tuple([report for report in reports if report is not None]),
        kind,
        next((order for order in tools if order is not None), None),
        incoming,
        final,
    )


def _final_of_transfer(main: bytes, card: int, region: int, heirs: tuple[KeySet, ...]) -> Final | None:
    # Made with the transfer's key, below the heir's: for its coming binding, of that meter and binding.
    out = main[_ORDER_AT + 4 : _ORDER_AT + 21]
    if main[_ORDER_AT + 1] != _TRANSFER_OUT:
        return None
    context = out[16:17] + out[:7] + out[7:8]
    for heir in heirs:
        key = _below(_below(heir.key, b"transfer", context), b"report")
        said = _report(main[_SLOTS[1][0] : _SLOTS[1][1]], card, region, key, _FINAL)
        if said is not None:
            return Final(said, (out[9:16].hex(), out[16]))
    return None


def _incoming(main: bytes, card: int, region: int, keys: tuple[KeySet, ...], final: Final | None) -> Order | None:
    at = _SLOTS[0][0]
    for key in keys:
        order = _order(main[at : at + 59], card, region, key.order, (_TRANSFER_IN,))
        if order is not None and final is not None and final.heir == (order.meter, order.binding):
            left = final.remaining
            return replace(order, bought_total=max(0, min(left, order.bought_total)), correction_total=max(0, -left))
    return None


# ---------------------------------------------------------------------- checks of the store


def never_back(before: Store, after: Store, *, allow: int = 0) -> None:
    """Numbers that only rise have not fallen, the register by ``allow`` pulses at most. Violation (RULES 1)."""
    fallen = []
    if not before.keys_lost and not after.keys_lost:
        fallen += [("key record's binding", before.key_binding, after.key_binding)]
        fallen += [("key version", before.key_version, after.key_version)]
    if before.report_number is not None and after.report_number is not None:
        fallen += [("report number", before.report_number, after.report_number)]
        fallen += [("service number", before.service_number, after.service_number)]
        fallen += [("test gas", before.test_gas, after.test_gas)]
    if before.state is not None and after.state is not None:
        fallen += [("binding", before.binding, after.binding)]
        if before.binding == after.binding:
            fallen += [("sequence", before.sequence, after.sequence)]
            fallen += [("replacement", before.replacement, after.replacement)]
    if before.register is not None and after.register is not None:
        fallen += [("register", before.register - allow, after.register)]
    for name, least, now in fallen:
        if now < least:
            raise Violation("never_back", f"{name} is {now}, not {least} or more")


def account_steady(before: Store, after: Store) -> None:
    """Within a binding only a newer order has changed the credit. Violation (RULES 1)."""
    if before.state is None or after.state is None or before.binding != after.binding:
        return
    if before.bound and not after.bound and after.state < _BOUND:
        raise Violation("account_steady", f"a bound account is in state {after.state}")
    if before.over and before.state != after.state:
        raise Violation("account_steady", f"binding {before.binding} was over, is in state {after.state}")
    if not (before.bound and after.bound or before.over):
        return
    names = ["register_at_binding"]
    if before.sequence == after.sequence:
        names += [
            "bought_total",
            "correction_total",
            "order_mac",
            "replacement",
            "alarm",
            "overdraft",
            "card",
            "account",
            "ceiling",
            "over_flow_seconds",
        ]
    for name in names:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            raise Violation("account_steady", f"{name} was {old!r}, is {new!r} at sequence {after.sequence}")


def binding_first(store: Store) -> None:
    """The key record's binding is the account's or above it. Violation (RULES 1: binding)."""
    if store.state is not None and not store.keys_lost and store.binding > store.key_binding:
        raise Violation("binding_first", f"account {store.binding}, key record {store.key_binding}")


_LOG, _LOG_END = 0x0400, 0x0F00
_LOG_ENTRY = 16
_UNWRITTEN = bytes(_PAGE)  # as the factory leaves a page: no entry has the number 0
_LOG_PLACES = (_LOG_END - _LOG) // _LOG_ENTRY


@lru_cache(maxsize=8192)
def _log_page(page: bytes) -> dict[int, bytes]:
    found = {}
    for at in range(0, len(page), _LOG_ENTRY):
        entry = page[at : at + _LOG_ENTRY]
        number = int.from_bytes(entry[:3], "big")
        if number and x25(entry[:14]) == int.from_bytes(entry[14:], "big"):
            # Garbage whose sixteen bits agree by chance is no entry if its fields hold what none can (SPEC 1).
            register, minutes = int.from_bytes(entry[6:10], "big"), int.from_bytes(entry[10:14], "big")
            if register <= _MOST_PULSES and minutes <= _MOST_MINUTES:
                found[number] = entry
    return found


def _log(pages: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for at in range(0, len(pages), _PAGE):
        page = pages[at : at + _PAGE]
        if page != _UNWRITTEN:
            found |= _log_page(page)
    return found


def read_log(cells: bytes) -> dict[int, bytes]:
    """The whole entries of the event log by their numbers, 16 bytes each (SPEC 10.5)."""
    return _log(bytes(cells[_LOG:_LOG_END]))


def log_kept(before: bytes, after: bytes, most: int) -> None:
    """Of the log every whole entry is kept but for the oldest, and at most ``most`` are new. Violation (SPEC 10.5)."""
    logs = bytes(before[_LOG:_LOG_END]), bytes(after[_LOG:_LOG_END]), most
    if logs != _kept[0]:
        _log_pages_kept(*logs)
        _kept[0] = logs


_kept: list[tuple[bytes, bytes, int]] = [(b"", b"", 0)]  # the last that held: many in a row are the same


@lru_cache(maxsize=256)  # of what holds only: a Violation is found anew each time
def _log_pages_kept(before: bytes, after: bytes, most: int) -> None:
    old, new = _log(before), _log(after)
    last, now = max(old, default=0), max(new, default=0)
    if not last <= now <= last + most:
        raise Violation("log_kept", f"the newest entry was {last}, is {now}")
    for number, entry in old.items():
        if new.get(number) != entry and number + _LOG_PLACES > now:
            raise Violation("log_kept", f"entry {number} is gone, the newest is {now}")


def register_true(store: Store, made: int, wheels: int, behind: int, ahead: int = 0) -> None:
    """The register less ``made``, its first count, is what the ``wheels`` have turned since. Violation (DESIGN 9).

    At most ``behind`` pulses lower and ``ahead`` higher; at its end the register counts no more.
    """
    if store.register is None:
        raise Violation("register_true", "the register cannot be read")
    error = store.register - made - wheels
    if error > ahead or (error < -behind and store.register < _MOST_PULSES):
        counted = store.register - made
        raise Violation("register_true", f"{counted} counted, {wheels} turned, allowed -{behind} to +{ahead}")


def lockout_held(before: Store, after: Store) -> None:
    """No stored token more than before, no powered half hour between. Violation (RULES 3)."""
    if after.tokens > before.tokens:
        raise Violation("lockout_held", f"{before.tokens} tokens before, {after.tokens} after")


def valve_true(store: Store, flows: bool, *, uncounted: int = 0) -> None:
    """Gas ``flows`` only with credit; ``uncounted`` pulses the register could not take. Violation (SPEC 5).

    Only of a valve at rest, powered and not stuck: what passes while it shuts is debited too.
    """
    if not flows:
        return
    if store.lost or store.register is None:
        raise Violation("valve_true", "gas flows and the store is lost")
    if store.register >= _MOST_PULSES:
        raise Violation("valve_true", "gas flows and the register is at its end")
    if not store.bound:
        if store.test_gas_left - uncounted <= 0:
            ended = f"state {store.state}, test gas left {store.test_gas_left}"
            raise Violation("valve_true", f"gas flows and the meter is bound to nobody, {ended}")
        return
    credit = store.remaining + store.overdraft - uncounted
    if credit <= 0:
        raise Violation("valve_true", f"gas flows with a remaining {store.remaining}, overdraft {store.overdraft}")


def alarm_true(store: Store, flows: bool) -> None:
    """Gas ``flows`` below the alarm only once it has been answered. Violation (DESIGN 6). At rest only."""
    low = store.bound and store.alarm and store.remaining <= store.alarm
    if flows and low and store.alarm_seen != (store.binding, store.sequence):
        raise Violation("alarm_true", f"gas flows at {store.remaining}, alarm {store.alarm} not answered")


def guard_kept(before: Store, after: Store, booted: Store, told: int) -> None:
    """Latched reasons stand ``booted`` as ``before`` or ``after`` the write that was cut, and the meter tells them.

    ``told`` is the meter's own word, its reasons to be shut. Violation (SPEC 10.4).
    """
    if booted.latched not in (before.latched, after.latched):
        told_of = f"before {before.latched:#x}, after {after.latched:#x}"
        raise Violation("guard_kept", f"{booted.latched:#x} latched; {told_of}")
    if booted.latched & ~told:
        raise Violation("guard_kept", f"{booted.latched:#x} latched and the meter tells {told:#x}")


def opened_by_person(asked_ms: int | None) -> None:
    """The valve began to open ``asked_ms`` after the last card or key, None: nobody was there. Violation (RULES 1)."""
    if asked_ms is None:
        raise Violation("opened_by_person", "the valve opens and nobody has asked since power came")
    if asked_ms > 60_000:
        raise Violation("opened_by_person", f"the valve opens {asked_ms} ms after the last card or key")


def granted_true(store: Store, orders: Iterable[Order] | None = None, most: int = _TEST_GAS_MOST) -> None:
    """The test gas is no more than ``most`` and what one of the ``orders``, if given, grants. Violation (RULES 1)."""
    if store.state is None or not store.test_gas:
        return
    if store.test_gas > most:
        raise Violation("granted_true", f"{store.test_gas} granted, {most} at most in a life")
    if store.register is not None and store.test_gas_end > store.register + store.test_gas:
        ended = f"ends at {store.test_gas_end}, the register is {store.register}"
        raise Violation("granted_true", f"{store.test_gas} granted, {ended}")
    if orders is not None and store.test_gas not in {order.bought_total for order in orders if order.kind == _TEST}:
        raise Violation("granted_true", f"{store.test_gas} granted, and no order says so")


def granted_steady(before: Store, after: Store) -> None:
    """What more was granted ends so much later, whatever was burned between. Violation (RULES 1: tool limits)."""
    if before.state is None or after.state is None or not before.test_gas:
        return
    begun, begins = before.test_gas_end - before.test_gas, after.test_gas_end - after.test_gas
    if begun != begins:
        raise Violation("granted_true", f"counted from {begun} before, from {begins} now")


def settings_kept(before: Store, after: Store, booted: Store) -> None:
    """Settings, test gas and keys stand ``booted`` as ``before`` or ``after`` the write that was cut. Violation."""
    for names in (("test_gas", "test_gas_end", "service_number", "index_offset"), ("limits",)):
        said = tuple([getattr(booted, name) for name in names])
        old, new = (tuple([getattr(store, name) for name in names]) for store in (before, after))
        if said not in (old, new):
            raise Violation("settings_kept", f"{', '.join(names)}: {said}; before {old}, after {new}")
    if booted.key not in (before.key, after.key):
        raise Violation("keys_whole", "the keys are neither those before the cut nor those after it")


def keys_whole(key_cells: bytes) -> None:
    """Both copies of the key record hold the same keys. Violation (RULES 4: the keys before stand nowhere)."""
    first, second = (_key_record(bytes(key_cells[at : at + 64])) for at in _KEYS)
    if first is None or second is None or first[1:] != second[1:]:
        raise Violation("keys_whole", "the two copies of the key record are not the same, or one cannot be read")


def final_true(store: Store, *, now: bool = False) -> None:
    """A binding that is over has its final record, in both copies, of its own account. Violation (RULES 1: transfer).

    ``now``: no pulse has come since, so the record's register is the store's.
    """
    if not store.over or store.lost or store.register is None:
        return
    final = store.final
    if final is None or not store.finals_alike:
        raise Violation("final_true", f"state {store.state} and the final record cannot be read in both copies")
    said = final.said
    told = (said.meter, said.binding, said.sequence, said.bought_total, said.correction_total)
    held = (store.meter, store.binding, store.sequence, store.bought_total, store.correction_total)
    if told != held:
        raise Violation("final_true", f"meter, binding, sequence, totals {told}; the account has {held}")
    if said.used != said.register - store.register_at_binding or said.register > store.register:
        raise Violation("final_true", f"{said.used} used at {said.register}, begun at {store.register_at_binding}")
    if now and said.register != store.register:
        raise Violation("final_true", f"said at {said.register}, and the meter has counted to {store.register} since")


def final_kept(before: Store, after: Store) -> None:
    """While a binding is over its final record stays as it is. Violation (RULES 1: transfer)."""
    if before.over and after.over and before.binding == after.binding and before.final != after.final:
        raise Violation("final_kept", f"final record {before.final} has become {after.final}")


def final_told(card: Card, store: Store) -> None:
    """A final record on a card is the meter's own, of a binding that is over, or another's. Violation (RULES 1)."""
    told = card.final
    if told is None or store.state is None or (told.said.meter, told.said.binding) != (store.meter, store.binding):
        return
    kept = store.final
    if not store.over or kept is None:
        raise Violation("final_told", f"a card bears a final record, and the account is in state {store.state}")
    if replace(told.said, mac=b"") != kept.said or told.heir != kept.heir:
        raise Violation("final_told", f"the card says {told}, the meter {kept}")


def credited_once(store: Store, orders: Iterable[Order]) -> None:
    """The credit is that of the hall's ``orders`` for this meter, loaded in turn. Violation (RULES 1, DESIGN D2).

    The order of the stored sequence and MAC is among them; the bought total is its own, or where it is no refund the
    greater one of an order before it.
    """
    if not store.bound:
        return
    mine = [order for order in orders if order.binding == store.binding and store.meter in ("", order.meter)]
    loaded = [order for order in mine if order.sequence == store.sequence and order.mac == store.order_mac]
    if not loaded:
        raise Violation("credited_once", f"no order of binding {store.binding} has this MAC, sequence {store.sequence}")
    newest = loaded[0]
    if store.correction_total != newest.correction_total or store.replacement != newest.replacement:
        raise Violation(
            "credited_once",
            f"correction total {store.correction_total}, replacement {store.replacement}; "
            f"the order says {newest.correction_total}, {newest.replacement}",
        )
    totals = {newest.bought_total}
    if not newest.refund:
        earlier = {order.bought_total for order in mine if order.sequence < newest.sequence}
        totals |= {total for total in earlier if total > newest.bought_total}
    if store.bought_total not in totals:
        raise Violation("credited_once", f"bought total {store.bought_total}; the orders say {sorted(totals)}")


# ---------------------------------------------------------------------- checks of the card


def reports_true(card: Card, store: Store, *, allow: int = 0) -> None:
    """No report claims what the ``store`` does not hold, the register by ``allow`` pulses. Violation (SPEC 5)."""
    numbers: set[int] = set()
    for report in card.reports:
        which = f"report {report.rank}"
        if report.report_number in numbers:
            raise Violation("reports_true", f"{which} stands twice")
        numbers.add(report.report_number)
        if store.meter and report.meter != store.meter:
            raise Violation("reports_true", f"{which} is signed by {store.meter} and names {report.meter}")
        if store.report_number is not None and report.report_number > store.report_number:
            raise Violation("reports_true", f"{which}: the store's last number is {store.report_number}")
        if store.register is not None and report.register > store.register + allow:
            raise Violation("reports_true", f"{which}: register {report.register}, the store's is {store.register}")
        if not store.keys_lost and report.binding > store.key_binding:
            raise Violation("reports_true", f"{which}: the key record's binding is {store.key_binding}")
        if store.state is not None:
            _report_of_account(report, store, which)


def _report_of_account(report: Report, store: Store, which: str) -> None:
    if report.binding > store.binding:
        raise Violation("reports_true", f"{which}: the account's binding is {store.binding}")
    if report.binding < store.binding:
        return  # of a former account: nothing of it is left to compare with
    if report.sequence > store.sequence or report.replacement > store.replacement:
        raise Violation(
            "reports_true",
            f"{which}: sequence {report.sequence}, replacement {report.replacement}; "
            f"the account has {store.sequence}, {store.replacement}",
        )
    if store.bound and report.used != report.register - store.register_at_binding:
        raise Violation("reports_true", f"{which}: {report.used} used at {report.register}")
    # Totals of an older sequence may lie above the account's, if a refund came between. Of the same sequence there is
    # one order, and so one total.
    if report.sequence == store.sequence:
        said = (report.bought_total, report.correction_total, report.replacement)
        held = (store.bought_total, store.correction_total, store.replacement)
        if said != held:
            raise Violation("reports_true", f"{which}: total, correction, replacement {said}, the account has {held}")


def report_kept(before: bytes, after: bytes, keys: KeySet | tuple[KeySet, ...]) -> None:
    """The newest authentic report of ``before`` is still whole in ``after``. Violation (SPEC 2). Images of one visit.

    Only where every whole report on the card was this meter's: it ranks what it finds whole, without its MAC. And only
    where the card has two places for reports: a setting or key card has one.
    """
    if before[_IDENTITY_AT + 4] in _WRITTEN:
        return
    old = read_card(before, keys)
    whole = [1 for start, end in _SLOTS if before[start + 1] == _REPORT and _is_frame(bytes(before[start:end]))]
    newest = old.newest
    if newest is not None and len(whole) == len(old.reports) and newest not in read_card(after, keys).reports:
        raise Violation("report_kept", f"report {newest.rank} is gone")


def unread_kept(before: bytes, after: bytes) -> None:
    """Whole reports on a management card stay there. Violation (RULES 1). Images."""
    if before[_IDENTITY_AT + 4] != _MANAGEMENT_CARD:
        return
    for start, end in _SLOTS:
        if _is_frame(bytes(before[start:end])) and before[start:end] != after[start:end]:
            raise Violation("unread_kept", f"the report at {start:02X} is gone")


def only_report_slots(before: bytes, after: bytes, *, slots: int = 1) -> None:
    """Of a 264-byte dump only ``slots`` report slots and the error counter have changed. Violation (RULES 1)."""
    if before == after:
        return
    if len(before) != _DUMP or len(after) != _DUMP:
        raise ValueError("a dump is 264 bytes")
    if before[:_ORDER_END] != after[:_ORDER_END] or before[0xEF:260] != after[0xEF:260] or before[261:] != after[261:]:
        raise Violation("only_report_slots", f"written at {_places(before, after)}")
    written = [slot for slot, (start, end) in enumerate(_SLOTS) if before[start:end] != after[start:end]]
    if len(written) > slots:
        raise Violation("only_report_slots", f"{len(written)} report slots written in {slots} visit(s)")
    kind = before[_IDENTITY_AT + 4]
    if not set(written) <= set(_WRITTEN.get(kind, (0, 1))):
        raise Violation("only_report_slots", f"a card of kind {kind} is written at {_places(before, after)}")


def tries_kept(before: bytes, after: bytes, *, visits: int = 1) -> None:
    """Of the chip's tries a visit has risked one at most, and never the last. Violation (SPEC 2.2). Dumps."""
    had = (before[260] & 7).bit_count()
    has = (after[260] & 7).bit_count()
    if had - has > visits or has < min(had, 1):
        raise Violation("tries_kept", f"{had} tries before, {has} after")
    if had <= 1 and before != after:
        raise Violation("tries_kept", f"written with {had} tries left, at {_places(before, after)}")


def outside_unchanged(before: bytes, after: bytes, spans: list[tuple[int, int]]) -> None:
    """No byte outside the ``spans``, (start, end) with the end not in it, has changed. Violation (RULES 2, 5)."""
    at = 0
    for start, end in [*sorted(spans), (max(len(before), len(after)),) * 2]:
        if at < start and before[at:start] != after[at:start]:
            raise Violation("outside_unchanged", f"written at {_places(before, after, at, start)}")
        at = max(at, end)


def _places(before: bytes, after: bytes, start: int = 0, end: int | None = None) -> str:
    if len(before) != len(after):
        return f"{len(before)} bytes before, {len(after)} after"
    places = [i for i in range(start, len(before) if end is None else end) if before[i] != after[i]]
    return " ".join(f"{place:04X}" for place in places[:8]) + (" ..." if len(places) > 8 else "")


# ---------------------------------------------------------------------- one meter through its life


class Watch:
    """One physical meter through its life: what it was at the last look and how far cuts may have thrown it off."""

    def __init__(self, number: str, key: bytes, lanes: int = 1, lane_length: int = 4096) -> None:
        self.number = number
        self.keys = KeySet(key)
        self.lanes = lanes
        self.lane_length = lane_length
        self.behind = 0
        self.ahead = 0
        self.last: Store | None = None
        self.wiped = False
        self._register = 0
        self._index = 0
        self._allow = 0
        self._was_cut = False
        self._numbers: dict[int, tuple[int, bytes]] = {}

    def read(self, cells: bytes, key_cells: bytes) -> Store:
        """What the memory means now, unjudged."""
        return read_store(cells, key_cells, self.lanes, self.lane_length)

    def made(self, cells: bytes, key_cells: bytes, index: int) -> Store:
        """The meter is new, its wheels read ``index`` pulses. Violation if its memory does not hold a whole meter."""
        store = self.read(cells, key_cells)
        if store.lost or store.register is None:
            raise Violation("store_kept", f"meter {self.number} leaves the factory with its store lost")
        if store.meter != self.number:
            raise ValueError(f"the memory is that of meter {store.meter}, not {self.number}")
        self._register = store.register
        self._index = index
        self.behind = self.ahead = self._allow = 0
        self._was_cut = self.wiped = False
        self._numbers.clear()
        self.last = store
        return store

    def cut(self, in_flight: int = 1, *, ahead: int = 0) -> None:
        """Power went without a warning and hit ``in_flight`` pulses at most: so much more may be missing.

        ``ahead``: pulses it may count twice, of a wheel that stood behind its last one. (DESIGN 9; decisions 59)
        """
        self.behind += in_flight
        self.ahead += ahead
        self._allow += in_flight
        self._was_cut = True

    def look(
        self,
        cells: bytes,
        key_cells: bytes,
        index: int,
        *,
        flows: bool | None = None,
        powered: bool = True,
        uncounted: int = 0,
    ) -> Store:
        """Judge the memory at rest with the wheels at ``index`` pulses. Violation for any rule of the store.

        ``flows``: whether gas can pass a valve that is neither moving nor stuck. ``powered``: False if there was no
        powered half hour since the last look; then tokens are judged and the valve is not. ``uncounted`` pulses were
        told while the register could not take them.
        """
        store = self.read(cells, key_cells)
        if self.wiped:
            self._still_lost(store, bool(flows) and powered)
            return store
        if store.lost:
            raise Violation("store_kept", f"meter {self.number}: {_unreadable(store)} cannot be read")
        last = self.last
        if last is not None:
            never_back(last, store, allow=self._allow)
            account_steady(last, store)
            final_kept(last, store)
            granted_steady(last, store)
            if not powered:
                lockout_held(last, store)
        binding_first(store)
        granted_true(store)
        final_true(store)
        register_true(store, self._register, index - self._index, self.behind + uncounted, self.ahead)
        if flows is not None and powered:
            valve_true(store, flows, uncounted=uncounted)
            alarm_true(store, flows)
        # What a cut has left in doubt may still fall in the recovery, which may be cut itself: the allowance ends
        # with the first look that follows no cut.
        if not self._was_cut:
            self._allow = 0
        self._was_cut = False
        self.last = store
        return store

    def visit(self, before: bytes, after: bytes, cells: bytes, key_cells: bytes, *, visits: int = 1) -> Card:
        """Judge a card by its dumps before and after ``visits`` to this meter. Violation for any rule of the card."""
        only_report_slots(before, after, slots=visits)
        tries_kept(before, after, visits=visits)
        if self.wiped and before != after:
            raise Violation("lost_stays", f"meter {self.number} has lost its store and wrote a card")
        card = read_card(after, self.keys)
        reports_true(card, self.read(cells, key_cells), allow=self._allow)
        if visits == 1:
            report_kept(before, after, self.keys)
            unread_kept(before, after)
        for report in card.reports:
            stands = (card.number, report.mac)
            if self._numbers.setdefault(report.report_number, stands) != stands:
                raise Violation("reports_true", f"meter {self.number} used report number {report.report_number} twice")
        return card

    def lost(self) -> None:
        """Its store has been wiped on purpose: from here on it must stay lost and shut, and only the wheels count."""
        self.wiped = True

    def _still_lost(self, store: Store, flows: bool) -> None:
        if not store.lost:
            raise Violation("lost_stays", f"meter {self.number} is whole again")
        if flows:
            raise Violation("lost_stays", f"meter {self.number} has lost its store and gas flows")


def _unreadable(store: Store) -> str:
    parts = (
        ("the register", store.register is None),
        ("the account", store.state is None),
        ("the state", store.report_number is None),
        ("the key record", store.keys_lost),
    )
    return ", ".join(name for name, gone in parts if gone)


# ---------------------------------------------------------------------- the books of gas


class GasBooks:
    """Pulses of gas by meter and binding, as the tester handed them out: the other side of D10's two sums.

    ``held`` is paid gas that is on no image shown to ``adds_up``: of a lost card, of a refund not yet proven.
    """

    def __init__(self) -> None:
        self._books: dict[tuple[str, int], dict[str, int]] = {}
        self._overdraft: dict[str, int] = {}
        self._burned: dict[str, int] = {}

    def _book(self, meter: str, binding: int, name: str, pulses: int) -> None:
        book = self._books.setdefault((meter, binding), {})
        book[name] = book.get(name, 0) + pulses

    def _sum(self, meter: str, name: str) -> int:
        return sum(book.get(name, 0) for (whose, _), book in self._books.items() if whose == meter)

    def sold(self, meter: str, binding: int, pulses: int) -> None:
        """So many pulses more were sold (DESIGN D10)."""
        self._book(meter, binding, "sold", pulses)

    def granted(self, meter: str, binding: int, pulses: int) -> None:
        """So many pulses more were given: gift, make-up that is no correction, test gas (DESIGN D10)."""
        self._book(meter, binding, "granted", pulses)

    def paid_back(self, meter: str, binding: int, pulses: int) -> None:
        """Money for so many pulses more was paid back (DESIGN D10)."""
        self._book(meter, binding, "paid_back", pulses)

    def corrected(self, meter: str, binding: int, pulses: int) -> None:
        """So many pulses more were taken off the remaining gas by approved corrections, signed (DESIGN D10)."""
        self._book(meter, binding, "corrected", pulses)

    def held(self, meter: str, binding: int, pulses: int) -> None:
        """So many pulses more are held, fewer if negative (RULES 1: paid and released)."""
        self._book(meter, binding, "held", pulses)

    def overdraft(self, meter: str, pulses: int) -> None:
        """An overdraft of so many pulses was allowed; the greatest ever is kept (DESIGN D10)."""
        self._overdraft[meter] = max(pulses, self._overdraft.get(meter, 0))

    def burned(self, meter: str, pulses: int) -> None:
        """The wheels have turned so many pulses in all since the meter was bound first. ValueError if they fall."""
        if pulses < self._burned.get(meter, 0):
            raise ValueError(f"the wheels of {meter} turned back")
        self._burned[meter] = pulses

    def owing(self, meter: str, binding: int) -> int:
        """Pulses sold and granted in a binding and not paid back."""
        book = self._books.get((meter, binding), {})
        return book.get("sold", 0) + book.get("granted", 0) - book.get("paid_back", 0)

    def adds_up(
        self, meter: str, store: Store, wheels_at_binding: int, wheels_now: int, cards: Iterable[Card], drift: int = 0
    ) -> None:
        """D10's sum, to the pulse, for the store's binding, or the next one of an unbound meter. Violation.

        ``drift``: pulses cuts may have lost at most. Of ``cards``, as many images as there are, an account's gas is
        taken once: what the newest order beyond the meter's own would add.
        """
        if store.lost or store.register is None:
            raise Violation("adds_up", f"meter {meter}: the store is lost")
        binding = store.binding if store.bound else store.binding + 1
        book = self._books.get((meter, binding), {})
        bought, correction, sequence, replacement = 0, 0, 0, 0
        used, lost = 0, 0
        if store.bound:
            bought, correction = store.bought_total, store.correction_total
            sequence, replacement = store.sequence, store.replacement
            used = wheels_now - wheels_at_binding
            lost = used - (store.register - store.register_at_binding)
        if not 0 <= lost <= drift:
            raise Violation("adds_up", f"meter {meter}: the register has lost {lost} pulses, {drift} at most may be")
        on_cards = 0
        newest: Order | None = None
        for card in cards:
            order = card.order
            if order is None or (order.meter, order.binding) != (meter, binding):
                continue
            if order.sequence <= sequence or order.replacement < replacement:
                continue  # loaded, older or replaced: it adds nothing any more
            on_cards = max(on_cards, order.bought_total - bought)
            if newest is None or order.sequence > newest.sequence:
                newest = order
        due = correction if newest is None else newest.correction_total
        approved = book.get("corrected", 0)
        if due != approved:
            raise Violation("adds_up", f"meter {meter}: corrections of {approved} approved, the orders say {due}")
        given = book.get("sold", 0) + book.get("granted", 0)
        left = store.remaining
        elsewhere = on_cards + book.get("held", 0) + book.get("paid_back", 0)
        found = used + left + elsewhere + correction - lost
        if given != found:
            raise Violation(
                "adds_up",
                f"meter {meter} binding {binding}: {given} sold and granted, {found} found: used {used}, left {left}, "
                f"on cards {on_cards}, held {book.get('held', 0)}, paid back {book.get('paid_back', 0)}, "
                f"corrections {correction}, drift {lost}",
            )

    def bound_holds(self, meter: str, wheels: int | None = None, drift: int = 0) -> None:
        """No more gas burned than was paid for or given; ``wheels``: pulses since the first binding. Violation (D10).

        Without ``wheels`` what ``burned`` was told last. What passed while the valve was shutting belongs to ``drift``.
        """
        if wheels is None:
            wheels = self._burned.get(meter, 0)
        most = self._sum(meter, "sold") - self._sum(meter, "paid_back") + self._sum(meter, "granted")
        most += self._overdraft.get(meter, 0) + drift
        if wheels > most:
            raise Violation("bound_holds", f"meter {meter}: {wheels} pulses burned, {most} at most paid for or given")
