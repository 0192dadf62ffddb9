"""A customer's file: account, bindings, cards, orders and reports of one moment, as text a person can read."""

from dataclasses import dataclass
from datetime import UTC, timezone
from typing import Any

from gascard.tools import FINAL
from gashall import encode, errors, units
from gashall.encode import Values
from gashall.errors import GasError, LedgerError
from gashall.ledger import Ledger
from gashall.rows import (
    Account,
    AccountChange,
    AdoptionRow,
    Binding,
    CardRow,
    FinalRow,
    GrantRow,
    MeterRow,
    Order,
    ReportRow,
    SuspensionRow,
    ToolRow,
    TransferRow,
)
from gashall.terms import CLEAR


@dataclass(frozen=True, slots=True)
class History:
    """What the ledger holds of one account: volumes in pulses, money in fen, times in minutes since 2000-01-01 UTC."""

    account: Account
    bindings: tuple[tuple[Binding, MeterRow], ...]
    cards: tuple[CardRow, ...]
    orders: tuple[Order, ...]
    reports: tuple[tuple[ReportRow, Values | None], ...]
    """Each with its fields, None if the frame kept is none."""
    grants: tuple[GrantRow, ...] = ()
    changes: tuple[AccountChange, ...] = ()
    adoptions: tuple[AdoptionRow, ...] = ()
    suspensions: tuple[SuspensionRow, ...] = ()
    recovering: bool = False
    tools: tuple[ToolRow, ...] = ()
    """Clear and transfer cards made for its bindings."""
    finals: tuple[tuple[FinalRow, Values], ...] = ()
    transfers: tuple[TransferRow, ...] = ()
    zone: timezone = UTC
    """That of the hall's own clock."""

    def lines(self) -> list[str]:
        """The file as lines of text: volumes in m³, money in yuan, times by the hall's own clock."""
        lines = [f"account {self.account.number}", f"name    {printable(self.account.name)}"]
        lines.append(f"opened  {self._time(self.account.opened_at)}")
        if self.account.state is not None:
            lines.append(f"state   {self.account.state}")
        lines += ["", "bindings"]
        weights: dict[int, int] = {}
        for binding, meter in self.bindings:
            weight = weights[binding.id] = meter.pulse_weight
            figures = ("alarm", "ceiling", "overdraft")
            limits = ", ".join(f"{name} {units.volume(getattr(binding, name), weight)} m³" for name in figures)
            lines += [
                f"  {binding.number:>3}  meter {binding.meter}, {'open' if binding.open else 'closed'}, "
                f"from index {units.volume(binding.initial_reading, weight)} m³",
                f"       {limits}, over-flow {binding.over_flow_seconds} s, key version {meter.key_version}",
            ]
        if self.recovering:
            lines.append("       recovering: no report was adopted since the ledger was restored")
        lines += ["", "cards"]
        for card in self.cards:
            state = (
                "issued"
                if card.issued
                else f"not issued, {units.counted(card.psc_bytes, 'byte')} of its password announced"
            )
            state += "" if card.reason is None else f", old card {card.reason}"
            state += "" if card.ended is None else f", taken back {self._time(card.ended)}"
            lines.append(f"  {card.number:>10}  replacement {card.replacement}, batch {card.issue_batch}, {state}")
        lines += ["", "orders"]
        numbers = {binding.id: binding.number for binding, _ in self.bindings}
        whose = {binding.id: binding for binding, _ in self.bindings}
        # After an exchange bindings of two meters may have one number.
        several = len({binding.meter for binding, _ in self.bindings}) > 1
        where = {binding.id: f", meter {binding.meter}" if several else "" for binding, _ in self.bindings}
        for order in self.orders:
            weight, state = weights[order.binding], order.told(whose[order.binding])
            what = "" if order.kind is None else f"{order.kind} "
            money = "" if order.fen is None else f", {units.yuan(order.fen)} yuan"
            money += "" if order.price is None else f" at {units.price_yuan(order.price)}"
            lines.append(
                f"  {numbers[order.binding]:>3}/{order.sequence:<5} {self._time(order.made_at)}  "
                f"{what}{units.volume(order.paid_pulses, weight)} m³{money}, total "
                f"{units.volume(order.released_pulses, weight)} m³, card {order.card}, {state}"
                + where[order.binding]
                + ("" if not order.adopted_pulses else f", {units.volume(order.adopted_pulses, weight)} m³ adopted")
            )
        if self.grants:
            lines += ["", "made up, given and paid back"]
        for grant in self.grants:
            volume = units.volume(grant.pulses, weights[grant.binding])
            approved = "not approved" if grant.approver is None else f"approved by {printable(grant.approver)}"
            end = "".join(
                f", {word} {self._time(at)}"
                for word, at in (("paid", grant.paid_at), ("cancelled", grant.cancelled_at))
                if at is not None
            )
            money = "" if grant.fen is None else f", {units.yuan(grant.fen)} yuan"
            lines.append(
                f"  {grant.id:>5} {self._time(grant.requested_at)}  {grant.kind} {volume} m³{money}, "
                f"{printable(grant.reason)}, asked for by {printable(grant.requester)}, {approved}{end}"
            )
        if self.changes:
            lines += ["", "changes"]
        for change in self.changes:
            before, after = (printable(text) or "open" for text in (change.before, change.after))
            lines.append(
                f"  {self._time(change.at)}  {change.kind} from {before} to {after}, {printable(change.reason)}, "
                f"approved by {printable(change.approver)}"
            )
        if self.transfers:
            lines += ["", "meters exchanged"]
        cleared = {tool.number for tool in self.tools if tool.kind == CLEAR}
        meters = {binding.id: binding.meter for binding, _ in self.bindings}
        for moving in self.transfers:
            weight, how = weights[moving.new], "by transfer card" if moving.tool is not None else "dead"
            if moving.tool in cleared:
                how = "after a clear"
            if moving.closing is not None:
                how += f" at index {units.volume(moving.closing, weight)} m³"
            far = (
                "begun"
                if moving.moved_at is None
                else "not on the customer's card"
                if moving.ended_at is None
                else "through"
            )
            if moving.moved_at is None and moving.ended_at is not None:
                far = "the old meter died"
            amounts = "".join(
                f", {word} {units.volume(count, weight)} m³"
                for word, count in (
                    ("moved", moving.moved_pulses),
                    ("owed", moving.owed_pulses),
                    ("corrected", moving.correction or None),
                )
                if count is not None
            )
            lines.append(
                f"  {self._time(moving.at)}  {meters[moving.old]} for {meters[moving.new]} {how}, {far}{amounts}, "
                f"{printable(moving.reason)}, asked for by {printable(moving.requester)}, "
                f"approved by {printable(moving.approver)}"
            )
        lines += ["", "reports"]
        of_binding = {(binding.meter, binding.number): meter.pulse_weight for binding, meter in self.bindings}
        for row, values in self.reports:
            text = "not readable"
            if values is not None:
                weight = of_binding[row.meter, row.binding]
                shown = {
                    "loaded": values["bought_total"],
                    "used": values["used"],
                    "left": encode.remaining(values),
                    "index": values["index"],
                }
                text = f"order {values['sequence']}, " + ", ".join(
                    f"{word} {units.volume(count, weight)} m³" for word, count in shown.items()
                )
            lines.append(
                f"  {row.binding:>3}/{row.report_number:<8} {self._time(row.seen_at)}  {text}, card {row.card}"
                + (f", meter {row.meter}" if several else "")
            )
        if self.adoptions:
            lines += ["", "adopted"]
        for adoption in self.adoptions:
            weight = weights[adoption.binding]
            people = f"asked for by {printable(adoption.requester)}, approved by {printable(adoption.approver)}"
            lines.append(
                f"  {numbers[adoption.binding]:>3}/{adoption.sequence:<5} {self._time(adoption.at)}  "
                f"{units.volume(adoption.raised_pulses, weight)} m³, {people}: {printable(adoption.reason)}"
            )
        if self.suspensions:
            lines += ["", "suspended"]
        for test in self.suspensions:
            weight = weights[test.binding]
            end = "not ended"
            if test.ended_at is not None and test.end_reading is not None:
                end = f"to {self._time(test.ended_at)} at {units.volume(test.end_reading, weight)} m³"
            begin = f"{numbers[test.binding]:>3}  {self._time(test.at)} at {units.volume(test.reading, weight)} m³"
            void = "" if test.cancelled_for is None else f"; void: {printable(test.cancelled_for)}"
            if test.requester is not None and test.approver is not None:
                void += f", asked for by {printable(test.requester)}, approved by {printable(test.approver)}"
            lines.append(f"  {begin}, {end}: {printable(test.reason)}{void}")
        if self.tools:
            lines += ["", "tool cards and final records"]
        for tool in self.tools:
            when = tool.seen_at if tool.ended is None else tool.ended
            state = tool.state if when is None else f"{tool.state} {self._time(when)}"
            lines.append(f"  {tool.number:>10}  {tool.kind} card of {self._time(tool.made_at)}, {state}")
        for final, values in self.finals:
            weight = next(meter.pulse_weight for _, meter in self.bindings if meter.number == final.meter)
            left = units.volume(encode.remaining(values), weight)
            lines.append(
                f"  {final.binding:>3}  over, meter {final.meter}, {left} m³ left, read {self._time(final.seen_at)}"
            )
        return lines

    def _time(self, count: int) -> str:
        return units.stamp(units.moment(count).astimezone(self.zone))

    def record(self) -> dict[str, Any]:
        """The same as JSON holds it: pulses, fen and minutes as they are, frames in hex."""
        return {
            "account": _fields(self.account),
            "bindings": [_fields(binding) | {"meter": _fields(meter)} for binding, meter in self.bindings],
            "cards": [_fields(card) for card in self.cards],
            "orders": [_fields(order) for order in self.orders],
            "reports": [_fields(row) | {"fields": values} for row, values in self.reports],
            "grants": [_fields(grant) for grant in self.grants],
            "changes": [_fields(change) for change in self.changes],
            "adoptions": [_fields(row) for row in self.adoptions],
            "suspensions": [_fields(row) for row in self.suspensions],
            "recovering": self.recovering,
            "tools": [_fields(row) for row in self.tools],
            "finals": [_fields(row) | {"fields": dict(values)} for row, values in self.finals],
            "transfers": [_fields(row) for row in self.transfers],
        }


def history(ledger: Ledger, account: str) -> History:
    """All that ``ledger`` knows of the account of that number. LedgerError ACCOUNT_UNKNOWN, or LEDGER if damaged."""
    with ledger.look() as books:
        known = books.account(account)
        if known is None:
            raise LedgerError(errors.ACCOUNT_UNKNOWN, f"There is no account {account}.")
        bindings = []
        for binding in books.bindings(account):
            meter = books.meter(binding.meter)
            if meter is None:
                raise LedgerError(
                    errors.LEDGER,
                    f"The ledger is damaged: binding {binding.id} is of meter {binding.meter}, which is not there.",
                )
            bindings.append((binding, meter))
        known_bindings = {binding.id for binding, _ in bindings}
        orders = books.orders(account)
        for order in orders:
            if order.binding not in known_bindings:
                raise LedgerError(
                    errors.LEDGER,
                    f"The ledger is damaged: order {order.id} is of binding {order.binding}, not the account's.",
                    "Sell nothing; have the ledger looked at, or restore it from its copy.",
                )
        return History(
            account=known,
            bindings=tuple(bindings),
            cards=tuple(books.cards(account)),
            orders=tuple(orders),
            reports=tuple(
                (row, _values(row)) for binding, _ in bindings for row in books.reports(binding.meter, binding.number)
            ),
            grants=tuple(books.grants_of(account)),
            changes=tuple(books.account_changes(account)),
            adoptions=tuple(row for binding, _ in bindings for row in books.adoptions(binding.id)),
            suspensions=tuple(row for binding, _ in bindings for row in books.suspensions(binding.id)),
            transfers=tuple(books.transfers(account)),
            recovering=any(books.recovery(binding.id) is not None for binding, _ in bindings),
            tools=tuple(row for row in books.tools() if row.account == account),
            finals=tuple(
                (row, encode.decode_frame(row.frame, FINAL))
                for row in (books.final(binding.meter, binding.number) for binding, _ in bindings)
                if row is not None
            ),
            zone=books.zone,
        )


def printable(text: str) -> str:
    """``text`` with everything that would move a terminal's cursor or end a line written out."""
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)


def _values(row: ReportRow) -> Values | None:
    try:
        return encode.decode_report(row.frame)
    except GasError:
        return None


def _fields(row: Any) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__slots__}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}
