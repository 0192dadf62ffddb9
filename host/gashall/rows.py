"""The ledger's rows as the services read them, frozen."""

from dataclasses import dataclass
from typing import NamedTuple

from gascard.records import CARD_CUSTOMER, ORDER_OPENING
from gashall.terms import CARRIED, TOOL_CARDS, WRITTEN


@dataclass(frozen=True, slots=True)
class Account:
    """A customer's file. Times in this module are minutes since 2000-01-01 UTC."""

    number: str
    name: str
    opened_at: int
    state: str | None = None
    """STOPPED, CLOSED or, where it is neither, nothing."""


@dataclass(frozen=True, slots=True)
class MeterRow:
    """A meter: pulse weight in decimals of a m³, pulses in one turn of all its wheels, its key version."""

    number: str
    pulse_weight: int
    wheel_pulses: int
    key_version: int
    highest_binding: int


@dataclass(frozen=True, slots=True)
class Binding:
    """A meter bound to an account: initial reading and parameters in pulses."""

    id: int
    meter: str
    number: int
    account: str
    initial_reading: int
    alarm: int
    ceiling: int
    overdraft: int
    over_flow_seconds: int
    open: bool


@dataclass(frozen=True, slots=True)
class CardRow:
    """A card of an account; ``issued`` once its first order was read back and its password changed."""

    number: int
    account: str
    replacement: int
    issue_batch: int
    psc_bytes: int
    issued: bool
    reason: str | None = None
    """Why a replacement was made."""
    ended: int | None = None
    """When it was taken back."""

    @property
    def card_kind(self) -> int:
        """What its identity calls it."""
        return int(CARD_CUSTOMER)


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A card of the company's own; ``frames`` are its exact bytes from 0x20 on, made at the minute ``made_at``.

    ``kind`` is one of TOOL_CARDS, ``pulses`` of a test card all the test gas its meter was given with it.
    """

    number: int
    kind: str
    meter: str | None
    account: str | None
    binding: int | None
    service_number: int | None
    frames: bytes
    made_at: int
    expires: int | None
    purpose: str
    requester: str | None
    approver: str | None
    pulses: int | None
    psc_bytes: int = 0
    issued: bool = False
    seen_at: int | None = None
    """When what it was for came back on it: a final record, a report made with new keys."""
    ended: int | None = None
    """When it was taken back."""
    shift: int | None = None

    issue_batch = 0  # tool cards are made one by one

    @property
    def card_kind(self) -> int:
        """What its identity calls it."""
        return int(TOOL_CARDS[self.kind])

    @property
    def state(self) -> str:
        """unfinished, out, read, or taken back."""
        if self.ended is not None:
            return "taken back"
        if self.seen_at is not None:
            return "read"
        return "out" if self.issued else "unfinished"


@dataclass(frozen=True, slots=True)
class TransferRow:
    """An exchange of an account's meter: ``old`` and ``new`` are bindings' row ids, figures in pulses."""

    id: int
    account: str
    old: int
    new: int
    tool: int | None
    """The transfer card; None: the old meter is dead."""
    most: int | None
    closing: int | None
    """The index of a dead meter."""
    requester: str
    approver: str
    reason: str
    at: int
    moved_at: int | None = None
    """When the final record was booked, or the old meter declared dead."""
    moved_pulses: int | None = None
    owed_pulses: int | None = None
    correction: int | None = None
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class FinalRow:
    """The final record of a meter's binding of that number, as it stood on the tool card ``card``."""

    meter: str
    binding: int
    card: int
    frame: bytes
    seen_at: int


@dataclass(frozen=True, slots=True)
class Order:
    """An order's row: exact frame, paid pulses of this order, released (cumulative) pulses, money in fen.

    *Paid* is what the customer paid for with this order, *released* what the card may say: the cumulative bought
    total of the frame (RULES 1 "paid and released").
    ``price`` is the price the money was computed from, in hundredths of a fen for one m³; None if it was not.
    """

    id: int
    account: str
    binding: int
    card: int
    sequence: int
    state: str
    frame: bytes
    paid_pulses: int
    released_pulses: int
    fen: int | None
    made_at: int
    price: int | None = None
    shift: int | None = None
    kind: str | None = None
    """MAKEUP, GIFT, REFUND, CANCEL, REPLACEMENT, PROBE, REKEY or ADOPTED; nothing: opening or purchase."""
    correction: int | None = None
    """The correction total its frame bears; nothing: 0."""
    adopted_pulses: int | None = None
    """How many of the released pulses were lost with a ledger and adopted with this order; None: none."""
    frame_pulses: int | None = None
    """The bought total in the frame where it is not the released pulses."""

    def told(self, binding: Binding) -> str:
        """Its state as people are told it; ``binding`` is its own."""
        return CARRIED if self.state == WRITTEN and not binding.open else self.state

    @property
    def opens(self) -> bool:
        """Whether an account was opened with it, a cleared one again too, and no replacement of such an opening."""
        return opens_account(self.kind, self.frame)

    @property
    def total(self) -> int:
        """The bought total a meter has at least when it has loaded this order."""
        return self.released_pulses if self.frame_pulses is None else self.frame_pulses


@dataclass(frozen=True, slots=True)
class GrantRow:
    """Gas asked for: ``kind`` as gashall.grants has them, pulses the customer gains (of a refund: gives back).

    ``written`` is its order's id; ``paid_at`` and ``shift`` are of a refund's money, ``fen``; ``last_sequence`` is of
    the binding's last order when a refund, or what a dead meter had left, was asked for.
    """

    id: int
    account: str
    binding: int
    kind: str
    pulses: int
    fen: int | None
    reason: str
    requester: str
    requested_at: int
    approver: str | None = None
    approved_at: int | None = None
    written: int | None = None
    paid_at: int | None = None
    shift: int | None = None
    cancelled_at: int | None = None
    last_sequence: int | None = None


@dataclass(frozen=True, slots=True)
class AccountChange:
    """An account's holder or state (``kind``) as it was and as it became, why, and who approved."""

    id: int
    account: str
    at: int
    kind: str
    before: str
    after: str
    reason: str
    approver: str


@dataclass(frozen=True, slots=True)
class PriceRow:
    """What one m³ costs from the minute ``valid_from`` on, in hundredths of a fen; set at the minute ``set_at``."""

    id: int
    valid_from: int
    price: int
    set_at: int


@dataclass(frozen=True, slots=True)
class ShiftRow:
    """A shift; once closed, ``money`` is what its orders came to and ``cash`` what was counted, both in fen.

    ``cards`` is how many blank cards were counted, None where no stock was booked. ``reason`` is why what was
    counted differed.
    """

    number: int
    clerk: str
    opened_at: int
    open: bool
    closed_at: int | None
    money: int | None
    cash: int | None
    cards: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class ShiftOrder:
    """What a shift counts of an order: whether it opens an account, state, hundredths of a m³, fen and kind."""

    opens: bool
    state: str
    hundredths: int
    fen: int | None
    kind: str | None = None
    issues_card: bool = False
    """Whether its card was issued with it."""


@dataclass(frozen=True, slots=True)
class PeriodOrder:
    """What a report counts of an order: minute, whether it opens an account, state, hundredths of a m³, fen, and its
    kind (``Order``)."""

    made_at: int
    opens: bool
    state: str
    hundredths: int
    fen: int | None
    kind: str | None
    issues_card: bool = False
    """Whether its card was issued with it."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """An authentic report frame as it stood on ``card``."""

    meter: str
    binding: int
    report_number: int
    card: int
    frame: bytes
    seen_at: int


@dataclass(frozen=True, slots=True)
class RecoveryRow:
    """A binding that has not reported since the ledger was restored, or had not until the minute ``ended_at``."""

    id: int
    restore: int
    binding: int
    floor: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class AdoptionRow:
    """What a card had that the ledger had not: the sequence and released pulses after it, the pulses it added."""

    id: int
    binding: int
    card: int
    sequence: int
    released_pulses: int
    raised_pulses: int
    requester: str
    approver: str
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class SuspensionRow:
    """A meter under test, from the reading at its beginning to that at its end, in pulses; void once ``cancelled_at``.

    ``requester`` and ``approver`` had it corrected: the next row is the same test with the right readings.
    """

    id: int
    binding: int
    at: int
    reading: int
    reason: str
    ended_at: int | None
    end_reading: int | None
    cancelled_at: int | None = None
    cancelled_for: str | None = None
    requester: str | None = None
    approver: str | None = None


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """Wheels against a report. ``power_failures`` is the report's count, ``settled`` what was corrected before."""

    id: int
    meter: str
    binding: int
    report_number: int
    reading: int
    power_failures: int
    settled: int
    drift: int
    verdict: str
    at: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a card belongs. ``binding`` and ``meter`` are None if the account has no meter."""

    card: CardRow
    replaced: bool
    account: Account
    binding: Binding | None
    meter: MeterRow | None
    floor: int | None
    """The least sequence of the next order while the binding is recovering; None: it is not."""
    suspended: bool
    ending: int | None
    """The clear or transfer card that is out for the binding; None: none is."""
    exchange: int | None
    """The exchange of the account's meter that is not through; None: none is."""


class Rules(NamedTuple):
    """By what a sale is judged: price in hundredths of a fen for one m³, limits in hundredths of a m³; None: none.

    ``shift`` is the open shift's number, ``last_shift`` the last shift's, open or not.
    """

    price: int | None
    limit_purchase: int | None
    limit_day: int | None
    limit_month: int | None
    utc_offset: int | None
    sell_recovering: int | None
    shift: int | None
    last_shift: int | None


def opens_account(kind: str | None, frame: bytes) -> bool:
    """Whether an account was opened with the order of this kind and frame, as ``Order.opens`` has it."""
    # Its sequence does not tell: what comes along from a cleared meter has the first.
    return kind is None and frame[1:2] == bytes((ORDER_OPENING,))
