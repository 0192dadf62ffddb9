"""What the hall asks of its tables and what it changes in them, within one transaction.

Every change is told in the journal by the same transaction that makes it, each row holding the one before by its
hash (docs/ledger.md). ``gashall.audit`` compares the two.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Self

import sqlalchemy as sa

from gascard import codes
from gascard.records import BINDING_MAX, SEQUENCE_MAX
from gashall import errors, journal, schema, statements
from gashall.cells import CELL_TYPES, checked_cell, checked_row
from gashall.errors import LedgerError
from gashall.rows import (
    Account,
    AccountChange,
    AdoptionRow,
    Binding,
    CardRow,
    ComparisonRow,
    FinalRow,
    GrantRow,
    MeterRow,
    Order,
    PeriodOrder,
    Place,
    PriceRow,
    RecoveryRow,
    ReportRow,
    Rules,
    ShiftOrder,
    ShiftRow,
    SuspensionRow,
    ToolRow,
    TransferRow,
    opens_account,
)
from gashall.terms import ACCOUNT_MAX, ADOPTED, CARD_MAX, CLOSE, DONE, PENDING, REFUND, SERVICE_MAX, UTC_OFFSET, WRITTEN
from gashall.units import moment, zone

SEQUENCES_LOST = 100
NUMBERS_LOST = 10_000
SERVICES_LOST = 1000
"""By how much a restored ledger's sequences jump, its card and account numbers, and its service numbers: those between
may be in use."""


class Books:
    """The tables within one transaction."""

    def __init__(self, connection: sa.Connection, now: Callable[[], int] | None) -> None:
        """``now`` gives the time of journal rows, minutes since 2000-01-01 UTC; None: nothing may be written."""
        self._connection = connection
        self._now = now
        self._dialect = connection.dialect
        self._prepared = statements.prepared_for(self._dialect)
        self._head: tuple[int, bytes] | None = None
        self._cursor: Any = None
        self._zone: timezone | None = None
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        # Books kept beyond their transaction would else write beside all others.
        self._cursor, self._over = None, True

    # ---------------------------------------------------------------------- the ledger

    def add_about(self, about: dict[str, Any]) -> None:
        """What a ledger that is just made says of itself; its journal begins with it."""
        self._connection.execute(sa.insert(schema.about), about)
        self._tell(journal.LEDGER_MADE, "", {"about": [about]})

    def root_check(self) -> bytes | None:
        """What the ledger's root is known by; None before the first hall."""
        value: bytes | None = checked_cell(
            "about", "root_check", self._connection.execute(sa.select(schema.about.c.root_check)).scalar()
        )
        return value

    def set_root_check(self, check: bytes) -> bytes:
        """The first hall's root, and ``check`` again."""
        self._connection.execute(sa.update(schema.about).values(root_check=check))
        self._tell(journal.ROOT_KNOWN, "", {"about": [{"id": 1, "root_check": check}]})
        return check

    def head(self) -> tuple[int, bytes]:
        """Number and hash of the journal's last row; 0 and FIRST if it has none."""
        if self._head is None:
            last = next(iter(self._run(statements.LAST_ENTRY, {})), None)
            self._head = (
                (0, journal.FIRST)
                if last is None
                else (checked_cell("journal", "number", last[0]), checked_cell("journal", "hash", last[1]))
            )
        return self._head

    # ---------------------------------------------------------------------- accounts

    def account(self, number: str) -> Account | None:
        """The account of that number."""
        row = self._one(statements.ACCOUNT, number)
        return None if row is None else Account(**checked_row(row, schema.accounts))

    def accounts(self) -> list[str]:
        """The numbers of all accounts, in rising order."""
        return [checked_cell("accounts", "number", number) for (number,) in self._run(statements.ACCOUNTS, {})]

    def add_account(self, name: str, opened_at: int, number: str | None = None) -> Account:
        """A new account, under the next free number unless ``number`` is given."""
        if number is None:
            number = f"{self._free_account():010d}"
        account = Account(number, name, opened_at)
        self._insert(schema.accounts, account, journal.ACCOUNT_OPENED, number)
        return account

    def _free_account(self) -> int:
        """The number after the highest account; where that is the last there is, the next free one below."""
        highest = _account_number(self._highest(schema.accounts.c.number))
        restored = self._one(statements.LAST_RESTORE, None)
        if highest < ACCOUNT_MAX and restored is not None:
            above: int = checked_cell("restores", "accounts_above", restored["accounts_above"])
            highest = max(highest, min(above, ACCOUNT_MAX - 1))
        if highest < ACCOUNT_MAX:
            return highest + 1
        below = self._connection.execute(statements.ACCOUNT_BELOW_A_GAP).scalar()
        if below is None and self.account(f"{1:010d}") is not None:
            raise LedgerError(codes.NUMBER_USED_UP, "All account numbers are used up.")
        return _account_number(below) + 1

    def change_account(self, account: Account, kind: str, after: str, *, at: int, reason: str, approver: str) -> None:
        """Another holder ("holder") or state ("state", empty for an open account) of an account."""
        before, column = (account.name, "name") if kind == "holder" else (account.state or "", "state")
        value = after if kind == "holder" else after or None
        self._connection.execute(
            sa.update(schema.accounts).where(schema.accounts.c.number == account.number).values({column: value})
        )
        values = {
            "account": account.number,
            "at": at,
            "kind": kind,
            "before": before,
            "after": after,
            "reason": reason,
            "approver": approver,
        }
        key = self._number(schema.account_changes, values)
        changed = {"accounts": [{"number": account.number, column: value}]}
        self._tell(journal.ACCOUNT_CHANGED, account.number, changed | {"account_changes": [{"id": key, **values}]})

    def account_changes(self, account: str) -> list[AccountChange]:
        """What was changed of an account's holder and state, oldest first."""
        return [
            AccountChange(**checked_row(row, schema.account_changes))
            for row in self._all(statements.ACCOUNT_CHANGES, _key=account)
        ]

    # ---------------------------------------------------------------------- meters and bindings

    def meter(self, number: str) -> MeterRow | None:
        """The meter of that number."""
        row = self._one(statements.METER, number)
        return None if row is None else MeterRow(**checked_row(row, schema.meters))

    def add_meter(self, meter: MeterRow) -> None:
        """A new meter."""
        self._insert(schema.meters, meter, journal.METER_ADDED, "")

    def set_key_version(self, meter: MeterRow, version: int) -> None:
        """The meter has keys of that version now: it has said so, or somebody who knows has."""
        self._connection.execute(
            sa.update(schema.meters).where(schema.meters.c.number == meter.number).values(key_version=version)
        )
        self._tell(journal.KEYS_KNOWN, "", {"meters": [{"number": meter.number, "key_version": version}]})

    def binding_of(self, account: str) -> Binding | None:
        """The open binding of an account."""
        row = self._one(statements.BINDING_OF, account)
        return None if row is None else Binding(**checked_row(row, schema.bindings))

    def binding_on(self, meter: str) -> Binding | None:
        """The open binding of a meter."""
        row = self._one(statements.BINDING_ON, meter)
        return None if row is None else Binding(**checked_row(row, schema.bindings))

    def bindings(self, account: str) -> list[Binding]:
        """All bindings of an account, oldest first."""
        return [Binding(**checked_row(row, schema.bindings)) for row in self._all(statements.BINDINGS, _key=account)]

    def bindings_on(self, meter: str) -> list[Binding]:
        """All bindings of a meter, open or not, oldest first."""
        return [Binding(**checked_row(row, schema.bindings)) for row in self._all(statements.BINDINGS_ON, _key=meter)]

    def open_bindings(self) -> list[Binding]:
        """All open bindings, by their accounts."""
        return [Binding(**checked_row(row, schema.bindings)) for row in self._all(statements.OPEN_BINDINGS)]

    def bind(
        self,
        meter: MeterRow,
        account: str,
        initial_reading: int,
        parameters: dict[str, int],
        *,
        is_open: bool = True,
    ) -> Binding:
        """Bind ``meter`` to ``account`` under its next binding number; parameters in pulses and seconds.

        Not open is a binding that an exchange is to begin.
        """
        number = meter.highest_binding + 1
        if number > BINDING_MAX:
            raise LedgerError(codes.NUMBER_USED_UP, f"Meter {meter.number} cannot be bound again.")
        self._connection.execute(statements.RAISE_HIGHEST_BINDING, {"_key": meter.number, "highest_binding": number})
        values: dict[str, Any] = {
            "meter": meter.number,
            "number": number,
            "account": account,
            "initial_reading": initial_reading,
            "open": is_open,
            **parameters,
        }
        key = self._number(schema.bindings, values)
        raised = {"number": meter.number, "highest_binding": number}
        self._tell(journal.BOUND, account, {"bindings": [{"id": key, **values}], "meters": [raised]})
        return Binding(id=key, **values)

    # ---------------------------------------------------------------------- cards

    def card(self, number: int) -> CardRow | None:
        """The card of that number."""
        row = self._one(statements.CARD, number)
        return None if row is None else CardRow(**checked_row(row, schema.cards))

    def card_of(self, account: str) -> CardRow | None:
        """The account's card with the highest replacement number."""
        row = self._one(statements.CARD_OF, account)
        return None if row is None else CardRow(**checked_row(row, schema.cards))

    def cards(self, account: str) -> list[CardRow]:
        """All cards of an account, by their numbers."""
        return [CardRow(**checked_row(row, schema.cards)) for row in self._all(statements.CARDS, _key=account)]

    def place(self, card: int) -> Place | None:
        """Where the card of that number belongs."""
        row = self._one(statements.PLACE, card)
        if row is None:
            return None
        bound = row["bindings_id"] is not None
        card_row = CardRow(**checked_row(row, schema.cards, joined=True))
        return Place(
            card=card_row,
            replaced=checked_cell("cards", "replacement", row["newest"]) > card_row.replacement,
            account=Account(**checked_row(row, schema.accounts, joined=True)),
            binding=Binding(**checked_row(row, schema.bindings, joined=True)) if bound else None,
            meter=MeterRow(**checked_row(row, schema.meters, joined=True)) if bound else None,
            floor=None if row["floor"] is None else checked_cell("recoveries", "floor", row["floor"]),
            suspended=row["suspension"] is not None,
            ending=None if row["ending"] is None else checked_cell("tools", "number", row["ending"]),
            exchange=None if row["exchange"] is None else checked_cell("transfers", "id", row["exchange"]),
        )

    def add_card(self, account: str, issue_batch: int, *, replacement: int = 0, reason: str | None = None) -> CardRow:
        """A new card of ``account`` under the next free card number, not issued yet."""
        card = CardRow(self.free_card(), account, replacement, issue_batch, 0, False, reason)
        self._insert(schema.cards, card, journal.CARD_ADDED, account)
        return card

    def free_card(self) -> int:
        """The next free card number: customers' cards and the company's own have one row of them."""
        number = self._highest_card() + 1
        restored = self._one(statements.LAST_RESTORE, None)
        if restored is not None:
            above: int = checked_cell("restores", "cards_above", restored["cards_above"])
            number = max(number, min(above + 1, CARD_MAX))
        if number > CARD_MAX:
            raise LedgerError(codes.NUMBER_USED_UP, "All card numbers are used up.")
        return number

    def _highest_card(self) -> int:
        highest = [self._highest(schema.cards.c.number), self._highest(schema.tools.c.number)]
        return max(0 if number is None else int(checked_cell("cards", "number", number)) for number in highest)

    def mark_card(self, card: int, *, psc_bytes: int, issued: bool) -> None:
        """How far the card's own password may have been written, and whether the card is issued.

        LedgerError PENDING_ELSEWHERE if it is issued already: another window was faster, on another blank.
        """
        before = self.card(card)
        marked = self._connection.execute(
            statements.MARK_CARD, {"_key": card, "psc_bytes": psc_bytes, "issued": issued}
        )
        if before is None or not marked.rowcount:
            raise LedgerError(
                errors.PENDING_ELSEWHERE,
                f"Another window has issued card {card} meanwhile, on another blank.",
                "Hand that card out; put this one aside for a card check.",
            )
        changed: dict[str, Any] = {}
        if before.psc_bytes != psc_bytes:
            changed["psc_bytes"] = psc_bytes
        if before.issued != issued:
            changed["issued"] = issued
        if changed:
            kind = journal.CARD_ISSUED if issued else journal.PASSWORD_ANNOUNCED
            self._tell(kind, before.account, {"cards": [{"number": card, **changed}]})

    def end_card(self, card: CardRow, at: int) -> None:
        """The card was taken back at the minute ``at``; once."""
        if self._connection.execute(statements.END_CARD, {"_key": card.number, "ended": at}).rowcount:
            self._tell(journal.CARD_ENDED, card.account, {"cards": [{"number": card.number, "ended": at}]})

    # ---------------------------------------------------------------------- orders and reports

    def order(self, key: int) -> Order | None:
        """The order of that row id."""
        row = self._one(statements.ORDER, key)
        return None if row is None else Order(**checked_row(row, schema.orders))

    def last_order(self, binding: int) -> Order | None:
        """The order of the highest sequence in the binding of that row id."""
        row = self._one(statements.LAST_ORDER, binding)
        return None if row is None else Order(**checked_row(row, schema.orders))

    def orders(self, account: str) -> list[Order]:
        """All orders of an account, oldest first."""
        return [Order(**checked_row(row, schema.orders)) for row in self._all(statements.ORDERS, _key=account)]

    def add_order(
        self,
        binding: Binding,
        card: int,
        frame: bytes,
        *,
        sequence: int,
        paid: int,
        released: int,
        fen: int | None,
        made_at: int,
        price: int | None = None,
        shift: int | None = None,
        kind: str | None = None,
        correction: int | None = None,
        frame_pulses: int | None = None,
    ) -> Order:
        """A new pending order. LedgerError PENDING_ELSEWHERE if there is one, NUMBER_USED_UP past 65535."""
        if sequence > SEQUENCE_MAX:
            raise LedgerError(codes.NUMBER_USED_UP, "This binding has had all the orders it can have.")
        values: dict[str, Any] = {
            "account": binding.account,
            "binding": binding.id,
            "card": card,
            "sequence": sequence,
            "state": PENDING,
            "frame": frame,
            "paid_pulses": paid,
            "released_pulses": released,
            "fen": fen,
            "made_at": made_at,
            "price": price,
            "shift": shift,
            "kind": kind,
            "correction": correction,
            "adopted_pulses": None,
            "frame_pulses": frame_pulses,
        }
        key = self._number(schema.orders, values)
        self._tell(journal.ORDER_MADE, binding.account, {"orders": [{"id": key, **values}]})
        return Order(id=key, **values)

    def mark_written(self, order: int, account: str | None = None) -> None:
        """The card was read back and holds the order's frame. A row that is done already stays so.

        Whose it is, is looked up if ``account`` is not given.
        """
        self._run(statements.MARK_WRITTEN, {"_key": order})
        if not self._cursor.rowcount:
            return
        if account is None:
            account = self._run(statements.ACCOUNT_OF_ORDER, {"_key": order})[0][0]
        self._tell(journal.ORDER_WRITTEN, account, {"orders": [{"id": order, "state": WRITTEN}]})

    def mark_done(self, binding: int, sequence: int, bought_total: int) -> None:
        """Orders of a binding that a report of this sequence and bought total covers are loaded."""
        loaded = self._loaded(binding, sequence, bought_total)
        if loaded:
            self._tell(journal.ORDER_DONE, loaded[0][1], {"orders": [row for row, _ in loaded]})

    def _loaded(self, binding: int, sequence: int, bought_total: int) -> list[tuple[dict[str, Any], str]]:
        # Marks them; of each what its row has new, and whose it is.
        values = {"_key": binding, "_sequence": sequence, "_bought_total": bought_total}
        loaded = self._run(statements.LOADED, values)
        for order, _ in loaded:
            self._run(statements.MARK_DONE, {"_key": order})
        return [({"id": order, "state": DONE}, account) for order, account in loaded]

    def hold_order(self, order: Order) -> None:
        """The card of a pending order is replaced: its frame may be on that card, and is paid and held (RULES 1)."""
        self._run(statements.HOLD_ORDER, {"_key": order.id})
        self._tell(journal.ORDER_HELD, order.account, {"orders": [{"id": order.id, "state": WRITTEN}]})

    def paid(self, binding: int) -> dict[str | None, int]:
        """What the orders of a binding add to what the customer may have, in pulses, by their kinds.

        Gas that was adopted with an order of another kind counts as adopted.
        """
        found: dict[str | None, int] = {}
        for row in self._all(statements.PAID, _key=binding):
            kind = checked_cell("orders", "kind", row["kind"])
            for key, column, name in ((kind, "paid_pulses", "pulses"), (ADOPTED, "adopted_pulses", "adopted")):
                # A sum is text or a fraction where a cell is; PostgreSQL's is of a wider type.
                pulses = int(row[name]) if isinstance(row[name], Decimal) else row[name]
                found[key] = found.get(key, 0) + checked_cell("orders", column, pulses)
        return found

    def highest_released(self, binding: int, sequence: int) -> int:
        """The highest total that frames of a binding up to ``sequence`` bear."""
        row = self._run(statements.HIGHEST_RELEASED, {"_key": binding, "_sequence": sequence})[0]
        return 0 if row[0] is None else int(checked_cell("orders", "released_pulses", row[0]))

    def bought(self, account: str, since: int) -> list[tuple[int, int]]:
        """What ``account`` has bought from the minute ``since`` on: minute and hundredths of a m³ of each order."""
        return [
            (
                checked_cell("orders", "made_at", row["made_at"]),
                _hundredths(row),
            )
            for row in self._all(statements.BOUGHT, _key=account, _since=since)
        ]

    def last_report(self, meter: str) -> ReportRow | None:
        """The newest report kept of a meter, by (binding, report number)."""
        row = self._one(statements.LAST_REPORT, meter)
        return None if row is None else ReportRow(**checked_row(row, schema.reports))

    def reports(self, meter: str, binding: int) -> list[ReportRow]:
        """All reports kept of a meter's binding of that number, oldest first."""
        return [
            ReportRow(**checked_row(row, schema.reports))
            for row in self._all(statements.REPORTS, _key=meter, _number=binding)
        ]

    def keep_report(
        self, report: ReportRow, account: str | None = None, *, covers: tuple[int, int, int] | None = None
    ) -> None:
        """Keep an authentic report of ``account``'s meter; whose it was at that binding is looked up if not given.

        ``covers``, as ``mark_done`` has it, are the orders it shows loaded, which the same row of the journal then
        tells of. LedgerError if this (binding, report number) is kept already.
        """
        if account is None:
            values = {"_key": report.meter, "_number": report.binding}
            account = next((row[0] for row in self._run(statements.ACCOUNT_BOUND, values)), "")
        values = {name: getattr(report, name) for name in CELL_TYPES["reports"]}
        self._run(statements.INSERT["reports"], values)
        changes = {"reports": [values]}
        if covers is not None:
            loaded = [row for row, _ in self._loaded(*covers)]
            changes |= {"orders": loaded} if loaded else {}
        self._tell(journal.REPORT_KEPT, account, changes)

    def comparisons(self, meter: str) -> list[ComparisonRow]:
        """All comparisons of a meter with its wheels, oldest first."""
        return [
            ComparisonRow(**checked_row(row, schema.comparisons))
            for row in self._all(statements.COMPARISONS, _key=meter)
        ]

    def add_comparison(self, account: str, **values: Any) -> None:
        """Keep a comparison: every column of ``comparisons`` but ``id``."""
        key = self._number(schema.comparisons, values)
        self._tell(journal.INDEX_COMPARED, account, {"comparisons": [{"id": key, **values}]})

    # ---------------------------------------------------------------------- prices and settings

    def price(self, at: int) -> PriceRow | None:
        """The price in force at the minute ``at``; None before the first."""
        row = self._one(statements.PRICE, at)
        return None if row is None else PriceRow(**checked_row(row, schema.prices))

    def prices(self) -> list[PriceRow]:
        """All prices by the minute from which they hold; of two for one minute the later one holds."""
        return [PriceRow(**checked_row(row, schema.prices)) for row in self._all(statements.PRICES)]

    def add_price(self, valid_from: int, price: int, set_at: int) -> PriceRow:
        """A new price. Whether that minute may still be given one is the caller's to judge."""
        values = {"valid_from": valid_from, "price": price, "set_at": set_at}
        key = self._number(schema.prices, values)
        self._tell(journal.PRICE_SET, "", {"prices": [{"id": key, **values}]})
        return PriceRow(id=key, **values)

    def rules(self, at: int) -> Rules:
        """By what a sale at the minute ``at`` is judged."""
        # Cells as they come, not by name: this is asked twice in every sale, and mostly holds nothing.
        row = self._run(statements.RULES, {"_key": at})[0]
        return Rules(
            *[
                None if cell is None else checked_cell(*place, cell)
                for place, cell in zip(statements.RULES_CELLS, row, strict=True)
            ]
        )

    def moment(self, at: int) -> datetime:
        """The minute ``at`` by the hall's own clock (``utc_offset``), as its people and papers say it."""
        return moment(at).astimezone(self.zone)

    @property
    def zone(self) -> timezone:
        """That of the hall's own clock."""
        if self._zone is None:
            setting = self._one(statements.SETTING_NAMED, "utc_offset")
            value = None if setting is None else checked_cell("settings", "value", setting["value"])
            self._zone = zone(UTC_OFFSET if value is None else value)
        return self._zone

    def set_settings(self, values: Mapping[str, int | None]) -> None:
        """Set each of ``values``, names of SETTINGS; what stands there already is not set again."""
        told = []
        for name, value in values.items():
            known = self._one(statements.SETTING_NAMED, name)
            if known is None:
                self._run(statements.INSERT["settings"], {"name": name, "value": value})
            elif known["value"] != value:
                self._run(statements.CHANGE_SETTING, {"_key": name, "_value": value})
            else:
                continue
            told.append({"name": name, "value": value})
        if told:
            self._tell(journal.SETTINGS_SET, "", {"settings": told})

    # ---------------------------------------------------------------------- shifts, blank cards, periods

    def shift(self, number: int | None = None) -> ShiftRow | None:
        """The shift of that number; the last one if none is given."""
        row = (
            next(iter(self._all(statements.LAST_SHIFT)), None)
            if number is None
            else self._one(statements.SHIFT, number)
        )
        return None if row is None else ShiftRow(**checked_row(row, schema.shifts))

    def open_shift(self, clerk: str, opened_at: int) -> ShiftRow:
        """A new shift under the next number. Whether another is open is the caller's to judge."""
        last = self.shift()
        row = ShiftRow(1 if last is None else last.number + 1, clerk, opened_at, True, None, None, None, None, None)
        self._insert(schema.shifts, row, journal.SHIFT_OPENED, "")
        return row

    def close_shift(
        self, number: int, *, closed_at: int, money: int, cash: int, cards: int | None, reason: str | None
    ) -> None:
        """Close a shift with what was counted."""
        values = {"open": False, "closed_at": closed_at, "money": money, "cash": cash, "cards": cards, "reason": reason}
        self._run(statements.CLOSE_SHIFT, {"_key": number} | {f"_{name}": value for name, value in values.items()})
        self._tell(journal.SHIFT_CLOSED, "", {"shifts": [{"number": number, **values}]})

    def closing(self, number: int) -> bytes | None:
        """The hash of the journal's row that closed a shift, None while it is open."""
        row = next(iter(self._run(statements.CLOSING, {"_before": number - 1})), None)
        return None if row is None else checked_cell("journal", "hash", row[0])

    def shift_orders(self, number: int) -> list[ShiftOrder]:
        """What the orders of a shift come to."""
        return [
            ShiftOrder(
                opens=opens_account(row["kind"], checked_cell("orders", "frame", row["frame"])),
                state=checked_cell("orders", "state", row["state"]),
                hundredths=_hundredths(row),
                fen=checked_cell("orders", "fen", row["fen"]),
                kind=checked_cell("orders", "kind", row["kind"]),
                issues_card=bool(row["issues_card"]),
            )
            for row in self._all(statements.SHIFT_ORDERS, _key=number)
        ]

    def shift_tools(self, number: int) -> list[str]:
        """The kinds of the company's own cards a shift has made, by their numbers."""
        return [checked_cell("tools", "kind", row["kind"]) for row in self._all(statements.SHIFT_TOOLS, _key=number)]

    def paid_out(self, shift: int) -> list[tuple[int, int]]:
        """The refunds a shift has paid: hundredths of a m³ and fen of each."""
        return [
            (_hundredths(row, "grants", "pulses"), checked_cell("grants", "fen", row["fen"]) or 0)
            for row in self._all(statements.PAID_OUT, _key=shift)
        ]

    def shift_corrected(self, number: int) -> int:
        """What a shift's make-ups of drift corrected, in hundredths of a m³."""
        return sum(_hundredths(row, "grants", "pulses") for row in self._all(statements.SHIFT_CORRECTED, _key=number))

    def stock(self) -> dict[tuple[str, int | None], int]:
        """How many blank cards went each way: (kind, shift or None) -> their sum. Empty if none was ever booked."""
        found = {}
        for row in self._all(statements.STOCK):
            key = checked_cell("stock_moves", "kind", row["kind"]), checked_cell("stock_moves", "shift", row["shift"])
            # A sum may be more than one move's most, and is text or a fraction where a cell is.
            if type(row["count"]) is not int:
                checked_cell("stock_moves", "count", str(row["count"]))
            found[key] = row["count"]
        return found

    def move_stock(
        self,
        kind: str,
        count: int,
        *,
        at: int,
        shift: int | None = None,
        card: int | None = None,
        reason: str | None = None,
        account: str = "",
        tool: int | None = None,
    ) -> None:
        """Blank cards come or go. Whether there are so many is the caller's to judge."""
        values = {"at": at, "kind": kind, "count": count, "shift": shift, "card": card, "reason": reason, "tool": tool}
        key = self._number(schema.stock_moves, values)
        self._tell(journal.STOCK_MOVED, account, {"stock_moves": [{"id": key, **values}]})

    def orders_between(self, since: int, until: int) -> list[PeriodOrder]:
        """The orders made from the minute ``since`` on and before ``until``, in the order of their rows.

        Without adopted ones, whose minute is that of the order that was lost: see ``adopted_between``.
        """
        names = ("made_at", "state", "fen", "kind")
        return [
            PeriodOrder(
                opens=opens_account(row["kind"], checked_cell("orders", "frame", row["frame"])),
                hundredths=_hundredths(row),
                issues_card=bool(row["issues_card"]),
                **{name: checked_cell("orders", name, row[name]) for name in names},
            )
            for row in self._all(statements.ORDERS_BETWEEN, _since=since, _until=until)
        ]

    def adopted_between(self, since: int, until: int) -> list[tuple[int, int]]:
        """Minute and hundredths of a m³ of what was adopted from ``since`` on and before ``until``."""
        return [
            (checked_cell("adoptions", "at", row["at"]), _hundredths(row, "adoptions", "raised_pulses"))
            for row in self._all(statements.ADOPTED_BETWEEN, _since=since, _until=until)
        ]

    def paid_between(self, since: int, until: int) -> list[tuple[int, int, int]]:
        """What was paid out from ``since`` on and before ``until``: minute, hundredths of a m³ and fen of each.

        A refund's gas is its order's and none here; when an account is closed, no order takes it off.
        """
        return [
            (
                checked_cell("grants", "paid_at", row["paid_at"]),
                _hundredths(row, "grants", "pulses") if checked_cell("grants", "kind", row["kind"]) == CLOSE else 0,
                checked_cell("grants", "fen", row["fen"]) or 0,
            )
            for row in self._all(statements.PAID_BETWEEN, _since=since, _until=until)
        ]

    def corrected_between(self, since: int, until: int) -> list[tuple[int, int]]:
        """Minute and hundredths of a m³ of the make-ups of drift written from ``since`` on and before ``until``."""
        return [
            (checked_cell("orders", "made_at", row["made_at"]), _hundredths(row, "grants", "pulses"))
            for row in self._all(statements.CORRECTED_BETWEEN, _since=since, _until=until)
        ]

    def tools_between(self, since: int, until: int) -> list[tuple[int, str]]:
        """Minute and kind of the company's own cards made from ``since`` on and before ``until``."""
        return [
            (checked_cell("tools", "made_at", row["made_at"]), checked_cell("tools", "kind", row["kind"]))
            for row in self._all(statements.TOOLS_BETWEEN, _since=since, _until=until)
        ]

    def stock_between(self, kind: str, since: int, until: int) -> list[tuple[int, int]]:
        """Minute and count of the moves of blank cards of that kind, from ``since`` on and before ``until``."""
        return [
            (checked_cell("stock_moves", "at", row["at"]), checked_cell("stock_moves", "count", row["count"]))
            for row in self._all(statements.STOCK_BETWEEN, _key=kind, _since=since, _until=until)
        ]

    # ---------------------------------------------------------------------- grants

    def grant(self, key: int) -> GrantRow | None:
        """The grant of that number."""
        row = self._one(statements.GRANT, key)
        return None if row is None else GrantRow(**checked_row(row, schema.grants))

    def grant_of(self, order: int) -> GrantRow | None:
        """The grant that was written as the order of that row id."""
        row = self._one(statements.GRANT_OF, order)
        return None if row is None else GrantRow(**checked_row(row, schema.grants))

    def grants(self) -> list[GrantRow]:
        """All grants, oldest first."""
        return [GrantRow(**checked_row(row, schema.grants)) for row in self._all(statements.GRANTS)]

    def grants_of(self, account: str) -> list[GrantRow]:
        """Those of one account."""
        return [GrantRow(**checked_row(row, schema.grants)) for row in self._all(statements.GRANTS_OF, _key=account)]

    def add_grant(
        self,
        binding: Binding,
        *,
        kind: str,
        pulses: int,
        fen: int | None,
        reason: str,
        requester: str,
        at: int,
        last_sequence: int | None = None,
    ) -> GrantRow:
        """A new grant, asked for at the minute ``at``."""
        values: dict[str, Any] = dict.fromkeys(CELL_TYPES["grants"]) | {
            "account": binding.account,
            "binding": binding.id,
            "kind": kind,
            "pulses": pulses,
            "fen": fen,
            "reason": reason,
            "requester": requester,
            "requested_at": at,
            "last_sequence": last_sequence,
        }
        values["id"] = self._number(schema.grants, {name: value for name, value in values.items() if name != "id"})
        self._tell(journal.GRANT_REQUESTED, binding.account, {"grants": [values]})
        return GrantRow(**values)

    def change_grant(self, grant: GrantRow, kind: str, **values: Any) -> None:
        """New values of a grant's columns; ``kind`` is the journal's word for it."""
        self._connection.execute(sa.update(schema.grants).where(schema.grants.c.id == grant.id).values(**values))
        self._tell(kind, grant.account, {"grants": [{"id": grant.id, **values}]})

    def approval(self, grant: int) -> bytes | None:
        """The hash of the journal's row that approved a grant."""
        row = next(iter(self._run(statements.APPROVAL, {"_key": f'%"id":{grant}}}]}}'})), None)
        return None if row is None else checked_cell("journal", "hash", row[0])

    # ---------------------------------------------------------------------- a restored ledger

    def restore(self, at: int) -> int:
        """This ledger came out of a copy: mark every open binding recovering, in one row of the journal; how many."""
        before = self.recoveries()
        ended = [{"id": row.id, "ended_at": at} for row in before.values()]
        for old in ended:
            self._run(statements.END_RECOVERY, {"_key": old["id"], "_at": at})
        card, account = self._highest_card(), _account_number(self._highest(schema.accounts.c.number))
        values = {
            "at": at,
            "cards_above": min(card + NUMBERS_LOST, CARD_MAX),
            "accounts_above": min(account + NUMBERS_LOST, ACCOUNT_MAX),
            "services_above": min(self._highest_service() + SERVICES_LOST, SERVICE_MAX),
        }
        restore = self._number(schema.restores, values)
        marked: list[dict[str, Any]] = []
        for binding in self.open_bindings():
            last = self.last_order(binding.id)
            sequence = 0 if last is None else last.sequence
            if binding.id in before:
                # A copy of a ledger that was recovering: orders from that floor on may be lost again.
                sequence = max(sequence, before[binding.id].floor)
            row: dict[str, Any] = {"restore": restore, "binding": binding.id, "ended_at": None}
            row["floor"] = sequence + SEQUENCES_LOST
            marked.append({"id": self._number(schema.recoveries, row), **row})
        # What was asked for or owed when the copy was made may have been written or paid since.
        lapsed = [
            {"id": grant.id, "cancelled_at": at}
            for grant in self.grants()
            if grant.cancelled_at is None and grant.paid_at is None and (grant.written is None or grant.kind == REFUND)
        ]
        for grant in lapsed:
            self._run(statements.LAPSE_GRANT, {"_key": grant["id"], "_at": at})
        changes = {"restores": [{"id": restore, **values}], "recoveries": [*ended, *marked], "grants": lapsed}
        self._tell(journal.LEDGER_RESTORED, "", {name: rows for name, rows in changes.items() if rows})
        return len(marked)

    def recoveries(self) -> dict[int, RecoveryRow]:
        """The bindings that are recovering, by their row ids."""
        rows = [RecoveryRow(**checked_row(row, schema.recoveries)) for row in self._all(statements.OPEN_RECOVERIES)]
        return {row.binding: row for row in rows}

    def recovery(self, binding: int) -> RecoveryRow | None:
        """What the binding of that row id still waits for, None if it is not recovering."""
        row = self._one(statements.RECOVERY, binding)
        return None if row is None else RecoveryRow(**checked_row(row, schema.recoveries))

    def ended_since_restore(self, account: str) -> bool:
        """Whether the account's last binding ended in this ledger, and not in the one it was copied from.

        By the journal's order, as clocks may differ.
        """
        ended, restored = (
            self._run(statements.LAST_TOLD, {"_key": kind, "_account": whose})[0][0] or 0
            for kind, whose in ((journal.BINDING_ENDED, account), (journal.LEDGER_RESTORED, ""))
        )
        return bool(ended > restored)

    def first_since(self, binding: int, floor: int) -> int | None:
        """The sequence of the first order this ledger made from ``floor`` on, None if it made none."""
        sequence = self._run(statements.FIRST_SINCE, {"_key": binding, "_floor": floor})[0][0]
        return None if sequence is None else checked_cell("orders", "sequence", sequence)

    def paid_since(self, binding: int, floor: int) -> int:
        """The pulses sold with sequences from ``floor`` on."""
        rows = self._run(statements.PAID_SINCE, {"_key": binding, "_floor": floor})
        return sum(checked_cell("orders", "paid_pulses", paid) for (paid,) in rows)

    def adopt(
        self,
        binding: Binding,
        orders: list[dict[str, Any]],
        raised: dict[str, Any] | None,
        adoption: Mapping[str, Any],
        ended: int | None,
    ) -> None:
        """What a card had, in one row of the journal: orders the ledger lost, one raised, a recovery that ends.

        ``orders`` and ``raised`` as rows of ``orders``, new ones without what all adopted rows have in common;
        ``adoption`` every column of ``adoptions`` but ``id`` and ``binding``; ``ended`` the recovery's row id.
        """
        common = {"account": binding.account, "binding": binding.id, "kind": ADOPTED, "adopted_pulses": None}
        common |= {"fen": None, "price": None, "shift": None}
        told = []
        for order in orders:
            values = common | order
            told.append({"id": self._number(schema.orders, values), **values})
        if raised is not None:
            self._run(
                statements.RAISE_ORDER, {"_key": raised["id"]} | {f"_{n}": v for n, v in raised.items() if n != "id"}
            )
            told.append(raised)
        row = {"binding": binding.id, **adoption}
        changes: dict[str, list[dict[str, Any]]] = {"adoptions": [{"id": self._number(schema.adoptions, row), **row}]}
        if told:
            changes["orders"] = told
        if ended is not None:
            self._run(statements.END_RECOVERY, {"_key": ended, "_at": adoption["at"]})
            changes["recoveries"] = [{"id": ended, "ended_at": adoption["at"]}]
        self._tell(journal.ADOPTED, binding.account, changes)

    def adoptions(self, binding: int) -> list[AdoptionRow]:
        """What was adopted for the binding of that row id, oldest first."""
        return [
            AdoptionRow(**checked_row(row, schema.adoptions)) for row in self._all(statements.ADOPTIONS, _key=binding)
        ]

    # ---------------------------------------------------------------------- tests of meters

    def suspensions(self, binding: int) -> list[SuspensionRow]:
        """The tests of the meter of the binding of that row id, oldest first."""
        return [
            SuspensionRow(**checked_row(row, schema.suspensions))
            for row in self._all(statements.SUSPENSIONS, _key=binding)
        ]

    def suspend(self, binding: Binding, at: int, reading: int, reason: str) -> SuspensionRow:
        """The binding's meter goes to a test. Whether one is under way is the caller's to judge."""
        row = self._add_suspension(binding=binding.id, at=at, reading=reading, reason=reason)
        self._tell(journal.SUSPENDED, binding.account, {"suspensions": [row]})
        return SuspensionRow(**row)

    def end_suspension(self, binding: Binding, suspension: int, at: int, reading: int) -> None:
        """The meter is back on its wall."""
        self._run(statements.END_SUSPENSION, {"_key": suspension, "_ended_at": at, "_end_reading": reading})
        row = {"id": suspension, "ended_at": at, "end_reading": reading}
        self._tell(journal.SUSPENSION_ENDED, binding.account, {"suspensions": [row]})

    def cancel_suspension(self, binding: Binding, old: SuspensionRow, **cancelled: Any) -> None:
        """A test that was begun by mistake is void, and over: ``cancelled`` as the columns of that name."""
        changed = self._void_suspension(old, **cancelled)
        self._tell(journal.SUSPENSION_CANCELLED, binding.account, {"suspensions": [changed]})

    def correct_suspension(
        self, binding: Binding, old: SuspensionRow, reading: int, end_reading: int | None, **cancelled: Any
    ) -> SuspensionRow:
        """The same test in a new row with the right readings; the old row is void. As ``cancel_suspension``."""
        changed = self._void_suspension(old, **cancelled)
        same = {name: getattr(old, name) for name in ("binding", "at", "reason", "ended_at")}
        row = self._add_suspension(**same, reading=reading, end_reading=end_reading)
        self._tell(journal.SUSPENSION_CORRECTED, binding.account, {"suspensions": [changed, row]})
        return SuspensionRow(**row)

    def _add_suspension(self, **given: Any) -> dict[str, Any]:
        values: dict[str, Any] = {name: given.get(name) for name in CELL_TYPES["suspensions"] if name != "id"}
        return {"id": self._number(schema.suspensions, values), **values}

    def _void_suspension(self, old: SuspensionRow, **values: Any) -> dict[str, Any]:
        if old.ended_at is None:
            values["ended_at"] = values["cancelled_at"]
        self._connection.execute(
            sa.update(schema.suspensions).where(schema.suspensions.c.id == old.id).values(**values)
        )
        return {"id": old.id, **values}

    # ---------------------------------------------------------------------- the company's own cards

    def tool(self, number: int) -> ToolRow | None:
        """The tool card of that number."""
        row = self._one(statements.TOOL, number)
        return None if row is None else ToolRow(**checked_row(row, schema.tools))

    def tools(self, meter: str | None = None) -> list[ToolRow]:
        """All tool cards, or those that name one meter, by their numbers."""
        rows = self._all(statements.TOOLS) if meter is None else self._all(statements.TOOLS_OF_METER, _key=meter)
        return [ToolRow(**checked_row(row, schema.tools)) for row in rows]

    def ending(self, binding: int) -> ToolRow | None:
        """The clear or transfer card that is out for the binding of that row id."""
        row = self._one(statements.ENDING, binding)
        return None if row is None else ToolRow(**checked_row(row, schema.tools))

    def add_tool(self, tool: ToolRow) -> ToolRow:
        """A new card of the company's own, not issued yet, under a number of ``free_card``."""
        self._insert(schema.tools, tool, journal.TOOL_MADE, tool.account or "")
        return tool

    def free_service(self) -> int:
        """The next service number of the region: above every one that was given, and may be in use."""
        number = self._highest_service() + 1
        if number > SERVICE_MAX:
            raise LedgerError(codes.NUMBER_USED_UP, "All service numbers are used up.")
        return number

    def _highest_service(self) -> int:
        highest = self._highest(schema.tools.c.service_number)
        above = self._highest(schema.restores.c.services_above)
        return max(
            0 if highest is None else int(checked_cell("tools", "service_number", highest)),
            0 if above is None else int(checked_cell("restores", "services_above", above)),
        )

    def mark_tool(self, tool: ToolRow, *, psc_bytes: int, issued: bool) -> None:
        """As ``mark_card``, of a tool card."""
        before = self.tool(tool.number)
        marked = self._connection.execute(
            statements.MARK_TOOL, {"_key": tool.number, "psc_bytes": psc_bytes, "issued": issued}
        )
        if before is None or not marked.rowcount:
            raise LedgerError(
                errors.PENDING_ELSEWHERE,
                f"Another window has issued tool card {tool.number} meanwhile, on another blank.",
                "Use that card; put this one aside for a card check.",
            )
        changed = {"psc_bytes": psc_bytes} if before.psc_bytes != psc_bytes else {}
        if before.issued != issued:
            changed["issued"] = issued
        if changed:
            kind = journal.CARD_ISSUED if issued else journal.PASSWORD_ANNOUNCED
            self._tell(kind, tool.account or "", {"tools": [{"number": tool.number, **changed}]})

    def change_tool(self, tool: ToolRow, kind: str, **values: Any) -> None:
        """New values of a tool card's columns; ``kind`` is the journal's word for it."""
        self._connection.execute(sa.update(schema.tools).where(schema.tools.c.number == tool.number).values(**values))
        self._tell(kind, tool.account or "", {"tools": [{"number": tool.number, **values}]})

    # ---------------------------------------------------------------------- bindings that end

    def final(self, meter: str, binding: int) -> FinalRow | None:
        """The final record of a meter's binding of that number."""
        row = next(iter(self._all(statements.FINAL, _key=meter, _number=binding)), None)
        return None if row is None else FinalRow(**checked_row(row, schema.finals))

    def end_binding(self, binding: Binding, final: FinalRow) -> None:
        """Keep the final record of a binding, which is over with it, in one row of the journal; the card came back."""
        values = {name: getattr(final, name) for name in CELL_TYPES["finals"]}
        self._run(statements.INSERT["finals"], values)
        self._connection.execute(
            sa.update(schema.bindings).where(schema.bindings.c.id == binding.id).values(open=False)
        )
        changes: dict[str, list[dict[str, Any]]] = {
            "finals": [values],
            "bindings": [{"id": binding.id, "open": False}],
        }
        if self.tool(final.card) is not None:
            self._connection.execute(
                sa.update(schema.tools).where(schema.tools.c.number == final.card).values(seen_at=final.seen_at)
            )
            changes["tools"] = [{"number": final.card, "seen_at": final.seen_at}]
        recovery = self.recovery(binding.id)
        if recovery is not None:
            # Nothing of this binding can be loaded any more, whatever was lost with the ledger.
            self._run(statements.END_RECOVERY, {"_key": recovery.id, "_at": final.seen_at})
            changes["recoveries"] = [{"id": recovery.id, "ended_at": final.seen_at}]
        self._tell(journal.BINDING_ENDED, binding.account, changes)

    def transfer_of(self, account: str) -> TransferRow | None:
        """The exchange of an account's meter that is not through."""
        row = self._one(statements.TRANSFER_OF, account)
        return None if row is None else TransferRow(**checked_row(row, schema.transfers))

    def transfers(self, account: str) -> list[TransferRow]:
        """All exchanges of an account's meters, oldest first."""
        return [
            TransferRow(**checked_row(row, schema.transfers)) for row in self._all(statements.TRANSFERS, _key=account)
        ]

    def transfers_from(self, binding: int) -> list[TransferRow]:
        """The exchanges that end the binding of that row id, oldest first."""
        return [
            TransferRow(**checked_row(row, schema.transfers))
            for row in self._all(statements.TRANSFERS_FROM, _key=binding)
        ]

    def transfers_into(self, binding: int) -> list[TransferRow]:
        """The exchanges that begin the binding of that row id, oldest first."""
        return [
            TransferRow(**checked_row(row, schema.transfers))
            for row in self._all(statements.TRANSFERS_INTO, _key=binding)
        ]

    def transfer_to(self, meter: str) -> TransferRow | None:
        """The exchange, not through, that brings an account this meter."""
        row = self._one(statements.TRANSFER_TO, meter)
        return None if row is None else TransferRow(**checked_row(row, schema.transfers))

    def dead_binding(self, meter: str) -> Binding | None:
        """The binding in which a meter was declared dead, None if it was not or has been cleared since."""
        row = self._one(statements.DEAD_BINDING, meter)
        return None if row is None else Binding(**checked_row(row, schema.bindings))

    def add_transfer(self, account: str, **values: Any) -> TransferRow:
        """A new exchange: every column of ``transfers`` that is not empty but ``id`` and ``account``."""
        row: dict[str, Any] = dict.fromkeys(CELL_TYPES["transfers"]) | {"account": account, **values}
        row["id"] = self._number(schema.transfers, {name: value for name, value in row.items() if name != "id"})
        self._tell(journal.EXCHANGE_BEGUN, account, {"transfers": [row]})
        return TransferRow(**row)

    def change_transfer(self, transfer: TransferRow, kind: str, **values: Any) -> None:
        """New values of an exchange's columns; ``kind`` is the journal's word for it."""
        self._connection.execute(
            sa.update(schema.transfers).where(schema.transfers.c.id == transfer.id).values(**values)
        )
        self._tell(kind, transfer.account, {"transfers": [{"id": transfer.id, **values}]})

    def open_binding(self, old: Binding, new: Binding, at: int) -> None:
        """An account goes from one binding to the next; what the old one was recovering from the new one is."""
        rows: list[dict[str, Any]] = []
        for binding, is_open in ((old, False), (new, True)):
            self._run(statements.OPEN_OR_CLOSE_BINDING, {"_key": binding.id, "_open": is_open})
            rows.append({"id": binding.id, "open": is_open})
        changes: dict[str, list[dict[str, Any]]] = {"bindings": rows}
        recovery = self.recovery(old.id)
        if recovery is not None:
            self._run(statements.END_RECOVERY, {"_key": recovery.id, "_at": at})
            # Orders of the new binding may be lost as well.
            later = {"restore": recovery.restore, "binding": new.id, "floor": SEQUENCES_LOST + 1, "ended_at": None}
            changes["recoveries"] = [
                {"id": recovery.id, "ended_at": at},
                {"id": self._number(schema.recoveries, later), **later},
            ]
        self._tell(journal.BINDING_BEGUN, new.account, changes)

    # ---------------------------------------------------------------------- how it is read and written

    def _tell(self, kind: str, account: str, changes: journal.Changes) -> None:
        """The journal's row of a change, in the transaction that makes it."""
        if self._now is None:
            raise LedgerError(errors.LEDGER, "These books were opened to be read.", "Use begin() to write.")
        last, previous = self.head()
        number, at, text = last + 1, self._now(), journal.body(changes)
        digest = journal.row_hash(previous, number, at, kind, account, text)
        values = {"number": number, "at": at, "kind": kind, "account": account, "body": text, "hash": digest}
        self._run(statements.INSERT["journal"], values)
        self._head = number, digest

    def _run(self, statement: Any, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one of ``gashall.statements``; the rows it gives."""
        prepared = self._prepared.get(id(statement))
        if prepared is None:
            prepared = self._prepared[id(statement)] = statements.prepare(statement, self._dialect)
        text, names, given = prepared
        parameters: Any = (
            {**given, **values}
            if names is None
            else [values[name] if name in values else given[name] for name in names]
        )
        if self._over:
            raise LedgerError(errors.LEDGER, "The transaction of these books is over.", "Begin another.")
        if self._cursor is None:
            self._cursor = self._connection.connection.cursor()
        try:
            self._cursor.execute(text, parameters)
            return [] if self._cursor.description is None else list(self._cursor.fetchall())
        except self._dialect.loaded_dbapi.Error as error:
            raise sa.exc.DBAPIError.instance(text, parameters, error, self._dialect.loaded_dbapi.Error) from error

    def _all(self, statement: sa.Select[Any], **keys: Any) -> list[dict[str, Any]]:
        rows = self._run(statement, keys)
        if not rows:
            return []
        names = [column[0] for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _one(self, statement: sa.Select[Any], key: Any) -> dict[str, Any] | None:
        rows = self._all(statement, _key=key)
        return rows[0] if rows else None

    def _highest(self, column: sa.Column[Any]) -> Any:
        return self._connection.execute(sa.select(sa.func.max(column))).scalar()

    def _number(self, table: sa.Table, values: dict[str, Any]) -> int:
        """Insert a row to which the database gives the next ``id``."""
        if self._connection.dialect.name == "sqlite":
            self._run(statements.INSERT[table.name], {"id": None, **values})
            return int(self._cursor.lastrowid)
        key = self._connection.execute(statements.INSERT[table.name], values).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _insert(self, table: sa.Table, row: Any, kind: str, account: str) -> None:
        values = {name: getattr(row, name) for name in CELL_TYPES[table.name]}
        self._run(statements.INSERT[table.name], values)
        self._tell(kind, account, {table.name: [values]})


def _hundredths(row: Mapping[str, Any], table: str = "orders", column: str = "paid_pulses") -> int:
    """The pulses in that column, of an order what was paid, at the meter's ``pulse_weight``: hundredths of a m³."""
    weight = checked_cell("meters", "pulse_weight", row["pulse_weight"])
    return int(checked_cell(table, column, row[column]) * 10 ** (2 - weight))


def _account_number(number: Any) -> int:
    if number is None:
        return 0
    if not (isinstance(number, str) and number.isascii() and number.isdecimal()):
        raise LedgerError(errors.LEDGER, f"The ledger is damaged: accounts.number holds {str(number)[:40]!r}.")
    return int(number)
