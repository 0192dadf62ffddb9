"""What was sold, to whom, and what became of it: the hall's tables and the few questions asked of them.

An order's row is ``pending`` (its exact frame is committed before any byte of it goes on a card),
``written`` (the card was read back and holds that frame) or ``done`` (an authentic report shows it loaded).
*Paid* is what the customer paid for with this order, *released* what the card may say: the cumulative
bought total of the frame. Rules: DESIGN D5, RULES 1 "settling" and "paid and released". Needs ``pip install
icgas[hall]``.

Every change is told in the journal by the same transaction that makes it, each row holding the one before by its
hash (docs/ledger.md). ``gashall.audit`` compares the two.
"""

import contextlib
import functools
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timezone
from decimal import Decimal
from typing import Any, NamedTuple, Self, TypeAlias

import sqlalchemy as sa

from gascard import codes
from gascard.records import (
    BINDING_MAX,
    CARD_CLEAR,
    CARD_CUSTOMER,
    CARD_KEY,
    CARD_MANAGEMENT,
    CARD_SETTING,
    CARD_TEST,
    CARD_TRANSFER,
    ORDER_OPENING,
    REPORT_NUMBER_MAX,
    S24_MAX,
    SEQUENCE_MAX,
    TIME_MAX,
    TOTAL_MAX,
)
from gashall import errors, journal, migrations
from gashall.errors import LedgerError
from gashall.files import sync_folder
from gashall.units import PRICE_MOST, minutes, moment, whole, zone

SCHEMA_VERSION = 2

PENDING = "pending"
WRITTEN = "written"
DONE = "done"

# What an order is, beside openings (by their frames) and purchases, which bear no kind.
MAKEUP = "makeup"
GIFT = "gift"
REFUND = "refund"
CANCEL = "cancel"  # of a refund: the total is as before it
REPLACEMENT = "replacement"

STOPPED = "stopped"
CLOSED = "closed"
"""States of an account; an open one has none."""

ACCOUNT_MAX = 9_999_999_999
CARD_MAX = 0xFFFFFFFF
STOCK_MOST = 1_000_000

SETTINGS = ("limit_purchase", "limit_day", "limit_month", "utc_offset", "sell_recovering")
"""What may be set: limits in hundredths of a m³, how many minutes the hall's days begin before UTC's, and 1 where
accounts of a restored ledger may buy before their meters have reported."""

UTC_OFFSET = 480
"""China's, in minutes: the hall's own clock where nothing is set."""

CLOSE = "close"
"""A grant: what was paid back when its account was closed."""

PROBE = "probe"
REKEY = "rekey"
ADOPTED = "adopted"
"""Where an order comes from that is no sale: it only asks for a report, says with new keys what the last one said
with keys its meter has no more, or its row was lost and a card had it."""

EXCHANGE = "exchange"
"""An order for the meter an account got in exchange; before it is TRANSFER, what the transfer card moved."""

SEQUENCES_LOST = 100
NUMBERS_LOST = 10_000
SERVICES_LOST = 1000
"""By how much a restored ledger's sequences jump, its card and account numbers, and its service numbers: those between
may be in use."""

SERVICE_MAX = 0xFFFFFF

CLEAR = "clear"
TRANSFER = "transfer"
MANAGEMENT = "management"
SETTING = "setting"
KEY = "key"
TEST = "test"
TOOL_CARDS = {
    TRANSFER: CARD_TRANSFER,
    CLEAR: CARD_CLEAR,
    MANAGEMENT: CARD_MANAGEMENT,
    SETTING: CARD_SETTING,
    KEY: CARD_KEY,
    TEST: CARD_TEST,
}
"""The company's own cards by the names they have here, and the identity's kind of each."""

Clock: TypeAlias = Callable[[], datetime]

metadata = sa.MetaData()
"""The tables of a ledger of this version, Alembic's own among them."""


class _Blob(sa.LargeBinary):
    """Bytes as the database gives them, so that text in their place is found by ``_checked`` and named."""

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        return None


# One row: which region this ledger is of, in which form its tables are, and what its region's root is known by
# (Signer.ledger_check; the first hall writes it).
_about = sa.Table(
    "about",
    metadata,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("region", sa.Integer, nullable=False),
    sa.Column("root_check", _Blob),
)
_accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("number", sa.String(10), primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("opened_at", sa.Integer, nullable=False),
    sa.Column("state", sa.String(7)),
)
_meters = sa.Table(
    "meters",
    metadata,
    sa.Column("number", sa.String(14), primary_key=True),
    sa.Column("pulse_weight", sa.Integer, nullable=False),
    sa.Column("wheel_pulses", sa.Integer, nullable=False),
    sa.Column("key_version", sa.Integer, nullable=False),
    sa.Column("highest_binding", sa.Integer, nullable=False),
)
# A meter's life with one account. Parameters are pulses, as they stand on the card.
_bindings = sa.Table(
    "bindings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("meter", sa.ForeignKey("meters.number"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("account", sa.ForeignKey("accounts.number"), nullable=False, index=True),
    sa.Column("initial_reading", sa.Integer, nullable=False),
    sa.Column("alarm", sa.Integer, nullable=False),
    sa.Column("ceiling", sa.Integer, nullable=False),
    sa.Column("overdraft", sa.Integer, nullable=False),
    sa.Column("over_flow_seconds", sa.Integer, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.UniqueConstraint("meter", "number"),
)
# psc_bytes: how many bytes of the card's own password may already stand on a card not yet issued. reason: of a
# replacement, why it was made; ended: when the card was taken back.
_cards = sa.Table(
    "cards",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("account", sa.ForeignKey("accounts.number"), nullable=False, index=True),
    sa.Column("replacement", sa.Integer, nullable=False),
    sa.Column("issue_batch", sa.Integer, nullable=False),
    sa.Column("psc_bytes", sa.Integer, nullable=False),
    sa.Column("issued", sa.Boolean, nullable=False),
    sa.Column("reason", sa.String),
    sa.Column("ended", sa.Integer),
)
_orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.ForeignKey("accounts.number"), nullable=False, index=True),
    sa.Column("binding", sa.ForeignKey("bindings.id"), nullable=False),
    sa.Column("card", sa.ForeignKey("cards.number"), nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("state", sa.String(7), sa.CheckConstraint("state IN ('pending', 'written', 'done')"), nullable=False),
    sa.Column("frame", _Blob, nullable=False),
    sa.Column("paid_pulses", sa.Integer, nullable=False),
    sa.Column("released_pulses", sa.Integer, nullable=False),
    sa.Column("fen", sa.BigInteger),
    sa.Column("made_at", sa.Integer, nullable=False),
    sa.Column("price", sa.Integer),
    sa.Column("shift", sa.Integer),
    sa.Column("kind", sa.String(11)),
    sa.Column("correction", sa.Integer),
    sa.Column("adopted_pulses", sa.Integer),
    sa.Column("frame_pulses", sa.Integer),
    sa.UniqueConstraint("binding", "sequence"),
)
# Two windows, one account: the second one's row is refused here, whatever both of them read before.
sa.Index(
    "one_pending_order",
    _orders.c.account,
    unique=True,
    sqlite_where=_orders.c.state == PENDING,
    postgresql_where=_orders.c.state == PENDING,
)
# A report asks which of a binding's orders are not loaded: one or two of all it ever had.
_NOT_DONE = _orders.c.state != sa.literal_column(f"'{DONE}'")
sa.Index("orders_not_done", _orders.c.binding, _orders.c.sequence, sqlite_where=_NOT_DONE, postgresql_where=_NOT_DONE)
# Authentic report frames, each once. The card number is needed to check the MAC again.
_reports = sa.Table(
    "reports",
    metadata,
    sa.Column("meter", sa.ForeignKey("meters.number"), primary_key=True),
    sa.Column("binding", sa.Integer, primary_key=True),
    sa.Column("report_number", sa.Integer, primary_key=True),
    sa.Column("card", sa.BigInteger, nullable=False),
    sa.Column("frame", _Blob, nullable=False),
    sa.Column("seen_at", sa.Integer, nullable=False),
)

# What a m³ costs from a minute on, in hundredths of a fen. Rows are only added; of two for one minute the later holds.
_prices = sa.Table(
    "prices",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("valid_from", sa.Integer, nullable=False),
    sa.Column("price", sa.Integer, nullable=False),
    sa.Column("set_at", sa.Integer, nullable=False),
)
# What the company has set for all windows: limits in hundredths of a m³ (nothing: none), where days begin.
_settings = sa.Table(
    "settings",
    metadata,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("value", sa.BigInteger),
)
# Who was at the counter, and what was counted at the end. An order's shift is no foreign key: SQLite cannot add one.
_shifts = sa.Table(
    "shifts",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("clerk", sa.String, nullable=False),
    sa.Column("opened_at", sa.Integer, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("closed_at", sa.Integer),
    sa.Column("money", sa.BigInteger),
    sa.Column("cash", sa.BigInteger),
    sa.Column("cards", sa.Integer),
    sa.Column("reason", sa.String),
)
sa.Index(
    "one_open_shift",
    _shifts.c.open,
    unique=True,
    sqlite_where=_shifts.c.open.is_(True),
    postgresql_where=_shifts.c.open.is_(True),
)
# Blank cards that came and went; never changed. ``shift`` is whose hand they went to or came from, nothing: the store.
_stock = sa.Table(
    "stock_moves",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column(
        "kind",
        sa.String(7),
        sa.CheckConstraint("kind IN ('in', 'out', 'used', 'spoiled', 'back', 'missing')"),
        nullable=False,
    ),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("shift", sa.ForeignKey("shifts.number")),
    sa.Column("card", sa.ForeignKey("cards.number")),
    sa.Column("reason", sa.String),
    sa.Column("tool", sa.ForeignKey("tools.number")),
)

# Gas to be given, given back or paid back: asked for by one person, approved by another, written once as an order.
_grants = sa.Table(
    "grants",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.ForeignKey("accounts.number"), nullable=False, index=True),
    sa.Column("binding", sa.ForeignKey("bindings.id"), nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("pulses", sa.Integer, nullable=False),
    sa.Column("fen", sa.BigInteger),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("requester", sa.String, nullable=False),
    sa.Column("requested_at", sa.Integer, nullable=False),
    sa.Column("approver", sa.String),
    sa.Column("approved_at", sa.Integer),
    sa.Column("written", sa.ForeignKey("orders.id")),
    sa.Column("paid_at", sa.Integer),
    sa.Column("shift", sa.ForeignKey("shifts.number")),
    sa.Column("cancelled_at", sa.Integer),
    sa.Column("last_sequence", sa.Integer),
)
# An account's holder or state as it was and as it became; rows are only added.
_account_changes = sa.Table(
    "account_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.ForeignKey("accounts.number"), nullable=False, index=True),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(7), sa.CheckConstraint("kind IN ('holder', 'state')"), nullable=False),
    sa.Column("before", sa.String, nullable=False),
    sa.Column("after", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("approver", sa.String, nullable=False),
)
# What somebody read off a meter's wheels, against a report of it; never changed. Readings and drift are pulses.
_comparisons = sa.Table(
    "comparisons",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("meter", sa.ForeignKey("meters.number"), nullable=False, index=True),
    sa.Column("binding", sa.Integer, nullable=False),
    sa.Column("report_number", sa.Integer, nullable=False),
    sa.Column("reading", sa.Integer, nullable=False),
    sa.Column("power_failures", sa.Integer, nullable=False),
    sa.Column("settled", sa.Integer, nullable=False),
    sa.Column("drift", sa.Integer, nullable=False),
    sa.Column("verdict", sa.String(9), nullable=False),
    sa.Column("at", sa.Integer, nullable=False),
)

# When this ledger came out of a copy. Card and account numbers up to these may be in use, though no row says so.
_restores = sa.Table(
    "restores",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("cards_above", sa.BigInteger, nullable=False),
    sa.Column("accounts_above", sa.BigInteger, nullable=False),
    sa.Column("services_above", sa.Integer, nullable=False),
)
# Which bindings have not reported since. The next order's sequence is ``floor`` at least.
_recoveries = sa.Table(
    "recoveries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("restore", sa.ForeignKey("restores.id"), nullable=False),
    sa.Column("binding", sa.ForeignKey("bindings.id"), nullable=False, index=True),
    sa.Column("floor", sa.Integer, nullable=False),
    sa.Column("ended_at", sa.Integer),
)
# Whose word was taken for it that a card knew more than this ledger, and what that came to; never changed.
_adoptions = sa.Table(
    "adoptions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("binding", sa.ForeignKey("bindings.id"), nullable=False, index=True),
    sa.Column("card", sa.BigInteger, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("released_pulses", sa.Integer, nullable=False),
    sa.Column("raised_pulses", sa.Integer, nullable=False),
    sa.Column("requester", sa.String, nullable=False),
    sa.Column("approver", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("at", sa.Integer, nullable=False),
)
# A binding whose meter is under test. Readings of its wheels in pulses. cancelled_for: why it is void; with two
# people's names where the row after it says what is right.
_suspensions = sa.Table(
    "suspensions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("binding", sa.ForeignKey("bindings.id"), nullable=False, index=True),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("reading", sa.Integer, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("ended_at", sa.Integer),
    sa.Column("end_reading", sa.Integer),
    sa.Column("cancelled_at", sa.Integer),
    sa.Column("cancelled_for", sa.String),
    sa.Column("requester", sa.String),
    sa.Column("approver", sa.String),
)

# The company's own cards. Their numbers are of one row with the customers' cards'. frames: the exact bytes from 0x20
# on; pulses: of a test card, all the test gas of its meter with this card; seen_at: when what it was for came back on
# it. A meter that was never bound may have no row of its own.
_tools = sa.Table(
    "tools",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("meter", sa.String(14), index=True),
    sa.Column("account", sa.ForeignKey("accounts.number"), index=True),
    sa.Column("binding", sa.ForeignKey("bindings.id"), index=True),
    sa.Column("service_number", sa.Integer, unique=True),
    sa.Column("frames", _Blob, nullable=False),
    sa.Column("made_at", sa.Integer, nullable=False),
    sa.Column("expires", sa.Integer),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("requester", sa.String),
    sa.Column("approver", sa.String),
    sa.Column("pulses", sa.Integer),
    sa.Column("psc_bytes", sa.Integer, nullable=False),
    sa.Column("issued", sa.Boolean, nullable=False),
    sa.Column("seen_at", sa.Integer),
    sa.Column("ended", sa.Integer),
    sa.Column("shift", sa.Integer),
)
# An account's meter exchanged: from one binding to the next, by a transfer card, or with the index of a dead meter
# (closing). most: the most that may be moved; then what was moved, what the old meter had not loaded (of a dead one:
# what was left), the correction the new binding begins with. ended_at: when the customer's card was written, or when
# a meter turned out dead in between. Pulses.
_transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.ForeignKey("accounts.number"), nullable=False, index=True),
    sa.Column("old", sa.ForeignKey("bindings.id"), nullable=False, index=True),
    sa.Column("new", sa.ForeignKey("bindings.id"), nullable=False, index=True),
    sa.Column("tool", sa.ForeignKey("tools.number")),
    sa.Column("most", sa.Integer),
    sa.Column("closing", sa.Integer),
    sa.Column("requester", sa.String, nullable=False),
    sa.Column("approver", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("moved_at", sa.Integer),
    sa.Column("moved_pulses", sa.Integer),
    sa.Column("owed_pulses", sa.Integer),
    sa.Column("correction", sa.Integer),
    sa.Column("ended_at", sa.Integer),
)
# The report that closed a binding, and the tool card it came back on.
_finals = sa.Table(
    "finals",
    metadata,
    sa.Column("meter", sa.ForeignKey("meters.number"), primary_key=True),
    sa.Column("binding", sa.Integer, primary_key=True),
    sa.Column("card", sa.BigInteger, nullable=False),
    sa.Column("frame", _Blob, nullable=False),
    sa.Column("seen_at", sa.Integer, nullable=False),
)

# What was done, in the order in which it was done, and never changed: docs/ledger.md.
_journal = sa.Table(
    "journal",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("account", sa.String(10), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hash", _Blob, nullable=False),
)
# Alembic's own table: which migrations these tables have behind them. A new ledger has them all.
_migrated = sa.Table(
    "alembic_version",
    metadata,
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
# The database itself refuses what no program of ours does. The same text as the migration's; a test compares them.
TRIGGERS = {
    "sqlite": {
        "journal_no_update": "CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal "
        "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
        "journal_no_delete": "CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal "
        "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
        "journal_no_gap": "CREATE TRIGGER journal_no_gap BEFORE INSERT ON journal "
        "WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM journal) "
        "BEGIN SELECT RAISE(ABORT, 'the journal has no gaps'); END",
    },
    "postgresql": {
        "journal_append_only": "CREATE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'the journal is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$",
        "journal_no_update": "CREATE TRIGGER journal_no_update BEFORE UPDATE OR DELETE ON journal "
        "FOR EACH ROW EXECUTE FUNCTION journal_append_only()",
        "journal_no_truncate": "CREATE TRIGGER journal_no_truncate BEFORE TRUNCATE ON journal "
        "FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only()",
    },
}
BOOKED = tuple(table.name for table in metadata.sorted_tables if table not in (_journal, _migrated))
"""The tables whose every row the journal tells of."""

# What a number may be where its type alone does not say it; a cell beyond is nonsense, and is called so.
_SPANS: dict[tuple[str, str], tuple[int, int]] = {
    ("meters", "pulse_weight"): (0, 2),
    ("meters", "wheel_pulses"): (1, TOTAL_MAX + 1),
    ("meters", "key_version"): (1, 0xFF),
    ("meters", "highest_binding"): (0, BINDING_MAX),
    ("accounts", "opened_at"): (0, TIME_MAX),
    ("bindings", "number"): (1, BINDING_MAX),
    ("bindings", "initial_reading"): (0, TOTAL_MAX),
    ("bindings", "alarm"): (0, 0xFFFF),
    ("bindings", "ceiling"): (0, 0xFFFFFF),
    ("bindings", "overdraft"): (0, 0xFFFF),
    ("bindings", "over_flow_seconds"): (0, 0xFF),
    ("cards", "number"): (1, CARD_MAX),
    ("cards", "replacement"): (0, 0xFF),
    ("cards", "issue_batch"): (0, 0xFFFF),
    ("cards", "psc_bytes"): (0, 3),
    ("orders", "card"): (1, CARD_MAX),
    ("orders", "sequence"): (1, SEQUENCE_MAX),
    ("orders", "released_pulses"): (0, TOTAL_MAX),
    ("orders", "made_at"): (0, TIME_MAX),
    ("orders", "price"): (1, PRICE_MOST),
    ("orders", "shift"): (1, 0x7FFFFFFF),
    ("orders", "correction"): (-S24_MAX, S24_MAX),
    ("cards", "ended"): (0, TIME_MAX),
    ("grants", "pulses"): (-S24_MAX, TOTAL_MAX),
    ("grants", "requested_at"): (0, TIME_MAX),
    ("grants", "approved_at"): (0, TIME_MAX),
    ("grants", "paid_at"): (0, TIME_MAX),
    ("grants", "cancelled_at"): (0, TIME_MAX),
    ("grants", "last_sequence"): (1, SEQUENCE_MAX),
    ("grants", "shift"): (1, 0x7FFFFFFF),
    ("account_changes", "at"): (0, TIME_MAX),
    ("shifts", "number"): (1, 0x7FFFFFFF),
    ("shifts", "cards"): (0, STOCK_MOST),
    ("stock_moves", "at"): (0, TIME_MAX),
    ("stock_moves", "count"): (-STOCK_MOST, STOCK_MOST),
    ("stock_moves", "shift"): (1, 0x7FFFFFFF),
    ("stock_moves", "card"): (1, CARD_MAX),
    ("shifts", "opened_at"): (0, TIME_MAX),
    ("shifts", "closed_at"): (0, TIME_MAX),
    ("prices", "valid_from"): (0, TIME_MAX),
    ("prices", "price"): (1, PRICE_MOST),
    ("prices", "set_at"): (0, TIME_MAX),
    ("reports", "card"): (1, CARD_MAX),
    ("reports", "seen_at"): (0, TIME_MAX),
    ("comparisons", "binding"): (1, BINDING_MAX),
    ("comparisons", "report_number"): (0, REPORT_NUMBER_MAX),
    ("comparisons", "reading"): (0, TOTAL_MAX),
    ("comparisons", "power_failures"): (0, 0xFF),
    ("comparisons", "at"): (0, TIME_MAX),
    ("orders", "adopted_pulses"): (0, TOTAL_MAX),
    ("orders", "frame_pulses"): (0, TOTAL_MAX),
    ("restores", "at"): (0, TIME_MAX),
    ("restores", "cards_above"): (0, CARD_MAX),
    ("restores", "accounts_above"): (0, ACCOUNT_MAX),
    ("recoveries", "floor"): (1, 0x7FFFFFFF),
    ("recoveries", "ended_at"): (0, TIME_MAX),
    ("adoptions", "card"): (1, CARD_MAX),
    ("adoptions", "sequence"): (1, SEQUENCE_MAX),
    ("adoptions", "released_pulses"): (0, TOTAL_MAX),
    ("adoptions", "raised_pulses"): (0, TOTAL_MAX),
    ("adoptions", "at"): (0, TIME_MAX),
    ("suspensions", "at"): (0, TIME_MAX),
    ("suspensions", "reading"): (0, TOTAL_MAX),
    ("suspensions", "ended_at"): (0, TIME_MAX),
    ("suspensions", "end_reading"): (0, TOTAL_MAX),
    ("suspensions", "cancelled_at"): (0, TIME_MAX),
    ("restores", "services_above"): (0, SERVICE_MAX),
    ("tools", "number"): (1, CARD_MAX),
    ("tools", "service_number"): (1, SERVICE_MAX),
    ("tools", "made_at"): (0, TIME_MAX),
    ("tools", "expires"): (0, TIME_MAX),
    ("tools", "pulses"): (0, TOTAL_MAX),
    ("tools", "psc_bytes"): (0, 3),
    ("tools", "seen_at"): (0, TIME_MAX),
    ("tools", "ended"): (0, TIME_MAX),
    ("tools", "shift"): (1, 0x7FFFFFFF),
    ("finals", "binding"): (1, BINDING_MAX),
    ("finals", "card"): (1, CARD_MAX),
    ("finals", "seen_at"): (0, TIME_MAX),
    ("transfers", "most"): (0, TOTAL_MAX),
    ("transfers", "closing"): (0, TOTAL_MAX),
    ("transfers", "at"): (0, TIME_MAX),
    ("transfers", "moved_at"): (0, TIME_MAX),
    ("transfers", "moved_pulses"): (0, TOTAL_MAX),
    ("transfers", "owed_pulses"): (0, TOTAL_MAX),
    ("transfers", "correction"): (-S24_MAX, S24_MAX),
    ("transfers", "ended_at"): (0, TIME_MAX),
    ("journal", "number"): (1, 0x7FFFFFFF),
    ("journal", "at"): (0, TIME_MAX),
}

# Column -> its Python type, and whether it may be empty.
_KINDS: dict[str, dict[str, tuple[Any, bool]]] = {
    table.name: {
        column.name: (bytes if isinstance(column.type, _Blob) else column.type.python_type, bool(column.nullable))
        for column in table.columns
    }
    for table in metadata.sorted_tables
}
# The same, a table's columns in their order: name, name where several tables are joined, type, whether it may be empty,
# least and most (None: whatever the type can hold).
_CELLS = {
    table: [
        (name, f"{table}_{name}", kind, nullable, *_SPANS.get((table, name), (None, None)))
        for name, (kind, nullable) in columns.items()
    ]
    for table, columns in _KINDS.items()
}
# How SQLite and PostgreSQL call an order that another window has made meanwhile, and a journal row.
_ONE_ORDER_RULES = ("UNIQUE constraint failed: orders.", "one_pending_order", "orders_binding_sequence_key")
_ONE_JOURNAL_RULES = ("the journal has no gaps", "UNIQUE constraint failed: journal.", "journal_pkey")
# A sale changes a few bytes in each of a dozen pages, and a commit puts whole pages on the disk: small ones take less
# time. A file keeps the size it was made with.
_PRAGMAS = ("page_size=1024", "journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL")
# PostgreSQL lets windows write side by side; the ledger's go one after the other, as SQLite's do. Any number will do.
_POSTGRESQL_TURN = "SELECT pg_advisory_xact_lock(1768121697)"


def _first(table: sa.Table, where: Any, *order: Any) -> sa.Select[Any]:
    return sa.select(table).where(where).order_by(*order).limit(1)


# Statements are built once: building one costs more than running it, and a sale runs fifteen. "_key" is asked for.
_KEY: sa.BindParameter[Any] = sa.bindparam("_key")
_ACCOUNT = _first(_accounts, _accounts.c.number == _KEY)
_METER = _first(_meters, _meters.c.number == _KEY)
_CARD = _first(_cards, _cards.c.number == _KEY)
_CARD_OF = _first(_cards, _cards.c.account == _KEY, _cards.c.replacement.desc())
_BINDING_OF = _first(_bindings, (_bindings.c.account == _KEY) & _bindings.c.open)
_BINDING_ON = _first(_bindings, (_bindings.c.meter == _KEY) & _bindings.c.open)
_LAST_ORDER = _first(_orders, _orders.c.binding == _KEY, _orders.c.sequence.desc())
_LAST_REPORT = _first(_reports, _reports.c.meter == _KEY, _reports.c.binding.desc(), _reports.c.report_number.desc())
_LAST_ENTRY = sa.select(_journal.c.number, _journal.c.hash).order_by(_journal.c.number.desc()).limit(1)
_ACCOUNT_OF_ORDER = sa.select(_orders.c.account).where(_orders.c.id == _KEY)
_ACCOUNT_BOUND = sa.select(_bindings.c.account).where(
    _bindings.c.meter == _KEY, _bindings.c.number == sa.bindparam("_number")
)
_ACCOUNTS = sa.select(_accounts.c.number).order_by(_accounts.c.number)
_CARDS = sa.select(_cards).where(_cards.c.account == _KEY).order_by(_cards.c.number)
_BINDINGS = sa.select(_bindings).where(_bindings.c.account == _KEY).order_by(_bindings.c.id)
_REPORTS = (
    sa.select(_reports)
    .where(_reports.c.meter == _KEY, _reports.c.binding == sa.bindparam("_number"))
    .order_by(_reports.c.report_number)
)
_ORDERS = sa.select(_orders).where(_orders.c.account == _KEY).order_by(_orders.c.id)
_PRICE = _first(_prices, _prices.c.valid_from <= _KEY, _prices.c.valid_from.desc(), _prices.c.id.desc())
_PRICES = sa.select(_prices).order_by(_prices.c.valid_from, _prices.c.id)
_SETTING = _first(_settings, _settings.c.name == _KEY)
_CHANGE_SETTING = sa.update(_settings).where(_settings.c.name == _KEY).values(value=sa.bindparam("_value"))
_BOUGHT = (
    sa.select(_orders.c.made_at, _orders.c.paid_pulses, _meters.c.pulse_weight)
    .join_from(_orders, _bindings, _bindings.c.id == _orders.c.binding)
    .join(_meters, _meters.c.number == _bindings.c.meter)
    .where(_orders.c.account == _KEY, _orders.c.made_at >= sa.bindparam("_since"), _orders.c.kind.is_(None))
)
_SHIFT = _first(_shifts, _shifts.c.number == _KEY)
_LAST_SHIFT = _first(_shifts, sa.true(), _shifts.c.number.desc())
# Whether an order is the first on its card: the card was issued with it.
_earlier = _orders.alias()
_FIRST_ON_CARD = (
    ~sa.exists()
    .where(_earlier.c.account == _orders.c.account, _earlier.c.card == _orders.c.card, _earlier.c.id < _orders.c.id)
    .correlate(_orders)
).label("issues_card")
_SHIFT_ORDERS = (
    sa.select(
        _orders.c.frame,
        _orders.c.state,
        _orders.c.paid_pulses,
        _orders.c.fen,
        _orders.c.kind,
        _meters.c.pulse_weight,
        _FIRST_ON_CARD,
    )
    .join_from(_orders, _bindings, _bindings.c.id == _orders.c.binding)
    .join(_meters, _meters.c.number == _bindings.c.meter)
    .where(_orders.c.shift == _KEY)
)
_PERIOD_ORDERS = (
    sa.select(
        *[_orders.c[name] for name in ("made_at", "frame", "state", "paid_pulses", "fen", "kind")],
        _meters.c.pulse_weight,
        _FIRST_ON_CARD,
    )
    .join_from(_orders, _bindings, _bindings.c.id == _orders.c.binding)
    .join(_meters, _meters.c.number == _bindings.c.meter)
    .where(_orders.c.made_at >= sa.bindparam("_since"), _orders.c.made_at < sa.bindparam("_until"))
    .order_by(_orders.c.id)
)
_PERIOD_PAID = (
    sa.select(_grants.c.paid_at, _grants.c.fen)
    .where(_grants.c.paid_at >= sa.bindparam("_since"), _grants.c.paid_at < sa.bindparam("_until"))
    .order_by(_grants.c.id)
)
_SHIFT_TOOLS = sa.select(_tools.c.kind).where(_tools.c.shift == _KEY).order_by(_tools.c.number)
_PERIOD_TOOLS = (
    sa.select(_tools.c.made_at, _tools.c.kind)
    .where(_tools.c.made_at >= sa.bindparam("_since"), _tools.c.made_at < sa.bindparam("_until"))
    .order_by(_tools.c.number)
)
_PERIOD_STOCK = (
    sa.select(_stock.c.at, _stock.c.count)
    .where(_stock.c.kind == _KEY, _stock.c.at >= sa.bindparam("_since"), _stock.c.at < sa.bindparam("_until"))
    .order_by(_stock.c.id)
)
_CLOSE_SHIFT = (
    sa.update(_shifts)
    .where(_shifts.c.number == _KEY)
    .values({name: sa.bindparam(f"_{name}") for name in ("open", "closed_at", "money", "cash", "cards", "reason")})
)
# Shifts close in the order of their numbers, each once: the n-th such row is the n-th shift's.
_CLOSING = (
    sa.select(_journal.c.hash)
    .where(_journal.c.kind == journal.SHIFT_CLOSED)
    .order_by(_journal.c.number)
    .limit(1)
    .offset(sa.bindparam("_before", type_=sa.Integer))
)
_STOCK = (
    sa.select(_stock.c.kind, _stock.c.shift, sa.func.sum(_stock.c.count).label("count"))
    .group_by(_stock.c.kind, _stock.c.shift)
    .order_by(_stock.c.kind, _stock.c.shift)
)
# By what a sale at the minute _key is judged, in one go: every sale asks for it.
_RULES = sa.select(
    _PRICE.with_only_columns(_prices.c.price).scalar_subquery().label("price"),
    *[sa.select(_settings.c.value).where(_settings.c.name == name).scalar_subquery().label(name) for name in SETTINGS],
    sa.select(_shifts.c.number).where(_shifts.c.open.is_(True)).scalar_subquery().label("shift"),
    sa.select(sa.func.max(_shifts.c.number)).scalar_subquery().label("last_shift"),
)
# What its cells are, in their order, which is that of ``Rules``.
_OF_RULES = (
    ("prices", "price"),
    *[("settings", "value")] * len(SETTINGS),
    ("shifts", "number"),
    ("shifts", "number"),
)
# Of a tool card: the binding it names ends with it.
_ENDS = (_tools.c.kind == CLEAR) | (_tools.c.kind == TRANSFER)
# Where a card belongs, in one go: every column under "table_column", and the account's newest replacement number.
_newer = _cards.alias()
_PLACE = (
    sa.select(
        *[
            column.label(f"{table.name}_{column.name}")
            for table in (_cards, _accounts, _bindings, _meters)
            for column in table.columns
        ],
        sa.select(sa.func.max(_newer.c.replacement))
        .where(_newer.c.account == _cards.c.account)
        .scalar_subquery()
        .label("newest"),
        sa.select(sa.func.max(_recoveries.c.floor))
        .where(_recoveries.c.binding == _bindings.c.id, _recoveries.c.ended_at.is_(None))
        .scalar_subquery()
        .label("floor"),
        sa.select(sa.func.max(_suspensions.c.id))
        .where(_suspensions.c.binding == _bindings.c.id, _suspensions.c.ended_at.is_(None))
        .scalar_subquery()
        .label("suspension"),
        sa.select(sa.func.max(_tools.c.number))
        .where(_tools.c.binding == _bindings.c.id, _ENDS, _tools.c.ended.is_(None))
        .scalar_subquery()
        .label("ending"),
        sa.select(sa.func.max(_transfers.c.id))
        .where(_transfers.c.account == _accounts.c.number, _transfers.c.ended_at.is_(None))
        .scalar_subquery()
        .label("exchange"),
    )
    .join_from(_cards, _accounts)
    .outerjoin(_bindings, (_bindings.c.account == _accounts.c.number) & _bindings.c.open)
    .outerjoin(_meters, _meters.c.number == _bindings.c.meter)
    .where(_cards.c.number == _KEY)
)
# The highest account number whose next one is free, for a ledger in which somebody has chosen the last one.
_above = sa.func.lag(_accounts.c.number).over(order_by=_accounts.c.number.desc()).label("above")
_chain = sa.select(_accounts.c.number, _above).subquery()
_BELOW_A_GAP = sa.select(sa.func.max(_chain.c.number)).where(
    sa.cast(_chain.c.above, sa.BigInteger) > sa.cast(_chain.c.number, sa.BigInteger) + 1
)
# What an account's binding may say in all, by kind of order; the highest total a frame up to a sequence bears.
_PAID = (
    sa.select(
        _orders.c.kind,
        sa.func.sum(_orders.c.paid_pulses).label("pulses"),
        sa.func.coalesce(sa.func.sum(_orders.c.adopted_pulses), 0).label("adopted"),
    )
    .where(_orders.c.binding == _KEY)
    .group_by(_orders.c.kind)
)
_HIGHEST_RELEASED = sa.select(sa.func.max(_orders.c.released_pulses)).where(
    _orders.c.binding == _KEY, _orders.c.sequence <= sa.bindparam("_sequence")
)
_ORDER = _first(_orders, _orders.c.id == _KEY)
_HOLD = sa.update(_orders).where(_orders.c.id == _KEY).values(state=WRITTEN)
_GRANT = _first(_grants, _grants.c.id == _KEY)
_GRANT_OF_ORDER = _first(_grants, _grants.c.written == _KEY)
_LAPSE_GRANT = sa.update(_grants).where(_grants.c.id == _KEY).values(cancelled_at=sa.bindparam("_at"))
_GRANTS = sa.select(_grants).order_by(_grants.c.id)
_APPROVAL = (
    sa.select(_journal.c.hash)
    .where(_journal.c.kind == journal.GRANT_APPROVED, _journal.c.body.like(sa.bindparam("_key")))
    .limit(1)
)
_LAST_TOLD = sa.select(sa.func.max(_journal.c.number)).where(
    _journal.c.kind == _KEY, _journal.c.account == sa.bindparam("_account")
)
_PAID_OUT = (
    sa.select(_grants.c.pulses, _grants.c.fen, _meters.c.pulse_weight)
    .join_from(_grants, _bindings, _bindings.c.id == _grants.c.binding)
    .join(_meters, _meters.c.number == _bindings.c.meter)
    .where(_grants.c.shift == _KEY)
)
_CHANGES = sa.select(_account_changes).where(_account_changes.c.account == _KEY).order_by(_account_changes.c.id)
_END_CARD = sa.update(_cards).where(_cards.c.number == _KEY, _cards.c.ended.is_(None))
_BINDINGS_ON = sa.select(_bindings).where(_bindings.c.meter == _KEY).order_by(_bindings.c.number)
_COMPARISONS = sa.select(_comparisons).where(_comparisons.c.meter == _KEY).order_by(_comparisons.c.id)
_OPEN_RECOVERIES = sa.select(_recoveries).where(_recoveries.c.ended_at.is_(None)).order_by(_recoveries.c.id)
_RECOVERY = _first(_recoveries, (_recoveries.c.binding == _KEY) & _recoveries.c.ended_at.is_(None), _recoveries.c.id)
_END_RECOVERY = sa.update(_recoveries).where(_recoveries.c.id == _KEY).values(ended_at=sa.bindparam("_at"))
_OPEN_BINDINGS = sa.select(_bindings).where(_bindings.c.open).order_by(_bindings.c.account)
_FIRST_SINCE = sa.select(sa.func.min(_orders.c.sequence)).where(
    _orders.c.binding == _KEY,
    _orders.c.sequence >= sa.bindparam("_floor"),
    sa.func.coalesce(_orders.c.kind, "") != ADOPTED,
)
_PAID_SINCE = sa.select(_orders.c.paid_pulses).where(
    _orders.c.binding == _KEY,
    _orders.c.sequence >= sa.bindparam("_floor"),
    sa.func.coalesce(_orders.c.kind, "") != PROBE,
    sa.func.coalesce(_orders.c.kind, "") != ADOPTED,
)
_RAISE_ORDER = (
    sa.update(_orders)
    .where(_orders.c.id == _KEY)
    .values({name: sa.bindparam(f"_{name}") for name in ("released_pulses", "adopted_pulses", "frame_pulses")})
)
_LAST_RESTORE = _first(_restores, sa.true(), _restores.c.id.desc())
_SUSPENSIONS = sa.select(_suspensions).where(_suspensions.c.binding == _KEY).order_by(_suspensions.c.id)
_END_SUSPENSION = (
    sa.update(_suspensions)
    .where(_suspensions.c.id == _KEY)
    .values(ended_at=sa.bindparam("_ended_at"), end_reading=sa.bindparam("_end_reading"))
)
_ADOPTIONS = sa.select(_adoptions).where(_adoptions.c.binding == _KEY).order_by(_adoptions.c.id)
_TOOL = _first(_tools, _tools.c.number == _KEY)
_TOOLS = sa.select(_tools).order_by(_tools.c.number)
_TOOLS_OF_METER = sa.select(_tools).where(_tools.c.meter == _KEY).order_by(_tools.c.number)
_ENDING = _first(_tools, (_tools.c.binding == _KEY) & _ENDS & _tools.c.ended.is_(None), _tools.c.number.desc())
_MARK_TOOL = sa.update(_tools).where(_tools.c.number == _KEY, _tools.c.issued.is_(False))
_FINAL = _first(_finals, (_finals.c.meter == _KEY) & (_finals.c.binding == sa.bindparam("_number")))
_TRANSFER_OF = _first(_transfers, (_transfers.c.account == _KEY) & _transfers.c.ended_at.is_(None))
_TRANSFERS = sa.select(_transfers).where(_transfers.c.account == _KEY).order_by(_transfers.c.id)
_TRANSFERS_FROM = sa.select(_transfers).where(_transfers.c.old == _KEY).order_by(_transfers.c.id)
_TRANSFERS_INTO = sa.select(_transfers).where(_transfers.c.new == _KEY).order_by(_transfers.c.id)
_TRANSFER_TO = (
    sa.select(_transfers)
    .join_from(_transfers, _bindings, _bindings.c.id == _transfers.c.new)
    .where(_bindings.c.meter == _KEY, _transfers.c.ended_at.is_(None))
)
# Of a dead meter the binding it died in, while nothing shows that it was cleared.
_DEAD_BINDING = (
    sa.select(_bindings)
    .join_from(_bindings, _transfers, _bindings.c.id == _transfers.c.old)
    .outerjoin(_finals, (_finals.c.meter == _bindings.c.meter) & (_finals.c.binding == _bindings.c.number))
    .where(_bindings.c.meter == _KEY, _transfers.c.closing.is_not(None), _finals.c.meter.is_(None))
)
_OPEN_OR_CLOSE = sa.update(_bindings).where(_bindings.c.id == _KEY).values(open=sa.bindparam("_open"))
_INSERT = {table.name: sa.insert(table) for table in metadata.sorted_tables}
_RAISE_BINDING = sa.update(_meters).where(_meters.c.number == _KEY)
# A card that is issued stays so, whatever a window that was overtaken still believes.
_MARK_CARD = sa.update(_cards).where(_cards.c.number == _KEY, _cards.c.issued.is_(False))
_MARK_WRITTEN = sa.update(_orders).where(_orders.c.id == _KEY, _orders.c.state == PENDING).values(state=WRITTEN)
_LOADED = (
    sa.select(_orders.c.id, _orders.c.account)
    .where(
        _orders.c.binding == _KEY,
        _orders.c.sequence <= sa.bindparam("_sequence"),
        sa.func.coalesce(_orders.c.frame_pulses, _orders.c.released_pulses) <= sa.bindparam("_bought_total"),
        _NOT_DONE,
    )
    .order_by(_orders.c.id)
)
_MARK_DONE = sa.update(_orders).where(_orders.c.id == _KEY).values(state=DONE)


class _Prepared(NamedTuple):
    """A statement as the driver takes it: its text, the order of its parameters (None: by name), what they are else."""

    text: str
    names: tuple[str, ...] | None
    given: dict[str, Any]


# The statements above, by driver and identity: what SQLAlchemy does anew for each costs five times its running.
_prepared: dict[tuple[str, str], dict[int, _Prepared]] = {}


def _prepare(statement: Any, dialect: sa.Dialect) -> _Prepared:
    compiled: Any = statement.compile(dialect=dialect)
    names = tuple(compiled.positiontup) if compiled.positional else None
    return _Prepared(str(compiled), names, dict(compiled.params))


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

    @property
    def opens(self) -> bool:
        """Whether an account was opened with it, a cleared one again too, and no replacement of such an opening."""
        return _opens(self.kind, self.frame)

    @property
    def total(self) -> int:
        """The bought total a meter has at least when it has loaded this order."""
        return self.released_pulses if self.frame_pulses is None else self.frame_pulses


@dataclass(frozen=True, slots=True)
class GrantRow:
    """Gas asked for: ``kind`` as gashall.grants has them, pulses the customer gains (of a refund: gives back).

    ``written`` is its order's id; ``paid_at`` and ``shift`` are of a refund's money, ``fen``; ``last_sequence`` is of
    the binding's last order when a refund was asked for.
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


class _Database:
    """The engine behind a ledger, and what its failures are called."""

    def __init__(self, path: str | os.PathLike[str], *, create: bool) -> None:
        name = os.fsdecode(path)
        self.name = name.partition("://")[0] if "://" in name else name
        """What messages call this ledger: its path, or its URL without the password."""
        with self._opened(), self._translated():
            url = sa.make_url(name) if "://" in name else sa.URL.create("sqlite", database=name)
            # What follows a question mark may be a password too.
            self.name = url.set(query={}).render_as_string() if "://" in name else name
            self._backend = url.get_backend_name()
            self._file = url.database if self._backend == "sqlite" else None
            sqlite = self._backend == "sqlite"
            if sqlite and not create and not os.path.exists(self._file or ""):
                raise LedgerError(errors.LEDGER_MISSING, f"There is no ledger {self.name}.")
            self._engine = sa.create_engine(url, connect_args={"timeout": 30} if sqlite else {})
            if sqlite:
                sa.event.listen(self._engine, "connect", _prepare_sqlite)
            # Of a file's connections those at rest are kept ready: the pool's giving and taking back costs a sale more
            # time than its statements. A memory's belong to their threads, and another database is slower than that.
            self._keeps_ready = sqlite and isinstance(self._engine.pool, sa.pool.QueuePool)
            self._ready: list[sa.Connection] = []

    def close(self) -> None:
        """Give the database's handles back."""
        while self._ready:
            self._ready.pop().close()
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, reading: bool) -> Iterator[sa.Connection]:
        """A transaction. One that writes is the only writer while it lasts.

        One that reads sees one moment's ledger from beginning to end and keeps no window waiting.
        """
        connection: sa.Connection | None = None
        try:
            try:
                connection = self._ready.pop()
            except IndexError:
                connection = self._engine.connect()
            turn: Any
            if self._backend == "sqlite":
                # Said to the driver itself, to which SQLAlchemy's begin says nothing. Writer from the start: two
                # windows that read the same state and both write would else meet too late.
                turn = connection.connection.driver_connection
                turn.execute("BEGIN" if reading else "BEGIN IMMEDIATE")
            else:
                if reading:
                    connection.execution_options(isolation_level="REPEATABLE READ")
                turn = connection.begin()
                if self._backend == "postgresql" and not reading:
                    connection.exec_driver_sql(_POSTGRESQL_TURN)
            yield connection
            if reading:
                turn.rollback()  # whatever was written in it has no row in the journal
            else:
                turn.commit()
            if connection.in_transaction():
                connection.rollback()  # the driver's is over: what is left is SQLAlchemy's count of it
            if self._keeps_ready:
                self._ready.append(connection)
            else:
                connection.close()
        except BaseException as error:
            if connection is not None:
                connection.close()  # which undoes what was not committed
            told = self._told(error)
            if told is error:
                raise
            raise told from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self._told(error) from error

    def _told(self, error: BaseException) -> BaseException:
        """What a failure of the database is called; anything else is itself."""
        if isinstance(error, sa.exc.IntegrityError):
            if any(rule in str(error.orig) for rule in _ONE_ORDER_RULES):
                return LedgerError(errors.PENDING_ELSEWHERE, f"Another window was faster: {error.orig}.")
            if any(rule in str(error.orig) for rule in _ONE_JOURNAL_RULES):
                return LedgerError(
                    errors.PENDING_ELSEWHERE,
                    f"Another window was faster: {error.orig}.",
                    "Repeat it: the ledger is as that window left it.",
                )
            return LedgerError(
                errors.LEDGER,
                f"The ledger {self.name} does not take a row: {error.orig}.",
                "Repeat once; if it stays so, sell nothing and have the ledger looked at.",
            )
        if isinstance(error, (sa.exc.SQLAlchemyError, sqlite3.Error, OSError)):
            cause = getattr(error, "orig", None) or error
            return LedgerError(errors.LEDGER, f"The ledger {self.name} cannot be used: {cause}.")
        return error

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """What only the path or URL can be wrong about."""
        try:
            yield
        except ImportError as error:
            raise LedgerError(
                errors.LEDGER,
                f"The ledger {self.name} needs the database driver {error.name}, which is not installed.",
                f"Install it: pip install {error.name}",
            ) from error
        except (ValueError, TypeError):
            # Not chained: the cause's text could quote a URL's password.
            raise LedgerError(
                errors.LEDGER, f"{self.name!r} is no path or database URL that can be used.", "Correct it."
            ) from None

    def _about(self, connection: sa.Connection) -> dict[str, Any] | None:
        """What the ledger says of itself; None if there is no ledger yet."""
        if not sa.inspect(connection).has_table(_about.name):
            return None
        about = connection.execute(sa.select(_about)).mappings().first()
        if about is None:
            raise LedgerError(
                errors.LEDGER,
                f"The ledger {self.name} is damaged: about has no row.",
                "Sell nothing; have the ledger looked at, or restore it from its copy.",
            )
        return _columns(about, _about)


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade did: the schema versions, and where the ledger of the first one is kept (None: no file)."""

    name: str
    before: int
    after: int
    copy: str | None


class Ledger(_Database):
    """The hall's books: an SQLite file, or any database SQLAlchemy reaches by URL."""

    def __init__(
        self, path: str | os.PathLike[str], region: int, *, create: bool = True, clock: Clock | None = None
    ) -> None:
        """Open ``path`` (a file or a database URL) for ``region``; a new one is made only if ``create``.

        ``clock`` gives the time the journal's rows bear, as an aware datetime; the computer's own if not given.

        LedgerError LEDGER if it cannot be opened, LEDGER_MISSING if it is not there and may not be made,
        LEDGER_REGION if it is another region's, LEDGER_VERSION if it is to be upgraded first or newer than this.
        """
        whole(region, "region", 0, 0xFFFF)
        super().__init__(path, create=create)
        self.region = region
        self.clock: Clock = clock if clock is not None else lambda: datetime.now(UTC)
        """Whose time the journal's rows bear; a hall that was given a clock puts its own here."""
        with self._opened():
            # Opening one that is there waits for no window.
            with self._transaction(reading=True) as connection:
                about = self._about(connection)
            if about is None and not create:
                raise LedgerError(errors.LEDGER_MISSING, f"There is no ledger in {self.name}.")
            if about is None:
                with self._transaction(reading=False) as connection:
                    about = self._about(connection) or self._make(connection)
            if about["region"] != region:
                raise LedgerError(
                    errors.LEDGER_REGION,
                    f"The ledger {self.name} is of region {about['region']:#06x}; wanted {region:#06x}.",
                )
            self._check_version(about["version"], SCHEMA_VERSION)

    def _check_version(self, version: int, least: int) -> None:
        if not 1 <= version <= SCHEMA_VERSION:
            raise LedgerError(
                errors.LEDGER_VERSION,
                f"The ledger {self.name} is of version {version}; this program knows 1 to {SCHEMA_VERSION}.",
                "Use it with the program that made it, or a newer one.",
            )
        if version < least:
            raise LedgerError(
                errors.LEDGER_VERSION, f"The ledger {self.name} is of version {version}, not {SCHEMA_VERSION}."
            )

    def _make(self, connection: sa.Connection) -> dict[str, Any]:
        _create(connection)
        connection.execute(sa.insert(_migrated).values(version_num=migrations.revision(SCHEMA_VERSION)))
        about: dict[str, Any] = {"id": 1, "version": SCHEMA_VERSION, "region": self.region, "root_check": None}
        connection.execute(sa.insert(_about), about)
        Books(connection, self._now)._tell(journal.LEDGER_MADE, "", {"about": [about]})
        return about

    def check_root(self, check: bytes) -> None:
        """Refuse a root whose ``Signer.ledger_check`` is not the first one this ledger was shown: LEDGER_KEY."""
        with self.look() as books:
            kept = books.root_check()
        if kept is None:
            with self._transaction(reading=False) as connection:
                books = Books(connection, self._now)
                kept = books.root_check() or books.set_root_check(check)
        if kept != check:
            raise LedgerError(
                errors.LEDGER_KEY,
                f"The ledger {self.name} was made with another root key: this is not its key file.",
            )

    @contextmanager
    def begin(self) -> "Iterator[Books]":
        """One transaction, the only writer while it lasts; committed at its end, undone by any exception."""
        with self._transaction(reading=False) as connection, Books(connection, self._now) as books:
            yield books

    @contextmanager
    def look(self) -> "Iterator[Books]":
        """One moment's ledger to read in; it keeps no window waiting, and what is written in it is refused."""
        with self._transaction(reading=True) as connection, Books(connection, None) as books:
            yield books

    @contextmanager
    def raw_rows(self) -> "Iterator[Callable[[str], list[dict[str, Any]]]]":
        """Tables as the database holds them, at one moment: a function of a table's name. For audits.

        No type of a column is believed: cells come as the driver gives them, bytes that are no UTF-8 as surrogates.
        """
        with self._transaction(reading=True) as connection:
            raw: Any = connection.connection.driver_connection
            if self._backend == "sqlite":
                raw.text_factory = lambda data: data.decode("utf-8", "surrogateescape")

            def read(name: str) -> list[dict[str, Any]]:
                columns = ", ".join(f'"{column}"' for column in _KINDS[name])
                keys = ", ".join(f'"{key.name}"' for key in metadata.tables[name].primary_key)
                found = connection.exec_driver_sql(f"SELECT {columns} FROM {name} ORDER BY {keys}")
                return [dict(row) for row in found.mappings()]

            try:
                yield read
            finally:
                if self._backend == "sqlite":
                    raw.text_factory = str

    def guards_missing(self) -> list[tuple[str, str]]:
        """What of the database's own guards is not there, or not as it was made: (table, its kind and name).

        Guards are the triggers and the indexes; with SQLite the tables' own texts too, their checks and keys.
        """
        with self._transaction(reading=True) as connection:
            if self._backend == "sqlite":
                found = _schema(connection)
            else:
                # PostgreSQL keeps no texts: the names, and whether a trigger is on.
                names = (
                    "SELECT 'trigger', tgname FROM pg_trigger WHERE tgrelid = 'journal'::regclass"
                    " AND tgenabled IN ('O', 'A') UNION SELECT 'index', indexname FROM pg_indexes"
                )
                known = self._backend == "postgresql"
                found = {(row[0], row[1]): ("", "") for row in connection.exec_driver_sql(names)} if known else {}
                wanted = {
                    ("index", str(index.name)): table.name
                    for table in metadata.tables.values()
                    for index in table.indexes
                }
                wanted |= {("trigger", name): "journal" for name in TRIGGERS["postgresql"] if "append" not in name}
                return [(table, " ".join(key)) for key, table in wanted.items() if known and key not in found]
        made = _made_schema()
        return [(made[key][0], " ".join(key)) for key in made if found.get(key) != made[key]]

    def damage(self) -> list[str]:
        """What SQLite finds wrong with its own file: sales read by the indexes, the audit by the tables.

        Nothing of another database, which looks after its pages itself.
        """
        if self._backend != "sqlite":
            return []
        with self._transaction(reading=True) as connection:
            told = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check")]
        return [text for text in told if text != "ok"]

    @classmethod
    def upgrade(cls, path: str | os.PathLike[str], clock: Clock | None = None) -> Upgraded:
        """Bring a ledger of an earlier version to today's, in one transaction; nothing it holds is changed.

        An SQLite file is first copied beside, under its name and ``.version-1``. One that is of today's version is left
        alone. Other windows must be closed: they know the old version only. LedgerError LEDGER_MISSING, LEDGER_VERSION
        (newer than this program), LEDGER (damaged, or not to be written); in each case the ledger is as it was.
        """
        ledger = cls.__new__(cls)
        _Database.__init__(ledger, path, create=False)
        ledger.clock = clock if clock is not None else lambda: datetime.now(UTC)
        copy: str | None = None
        try:
            with ledger._opened(), ledger._transaction(reading=False) as connection:
                about = ledger._about(connection)
                if about is None:
                    raise LedgerError(errors.LEDGER_MISSING, f"There is no ledger in {ledger.name}.")
                version = about["version"]
                ledger._check_version(version, 1)
                if version < SCHEMA_VERSION:
                    copy = ledger._copy_beside(version)
                    migrations.migrate(connection, version, ledger._now())
        except BaseException:
            # Rolled back: the file is what its copy is.
            if copy is not None:
                with contextlib.suppress(OSError):
                    os.remove(copy)
            raise
        finally:
            ledger.close()
        return Upgraded(ledger.name, version, SCHEMA_VERSION, copy)

    def _copy_beside(self, version: int) -> str | None:
        if self._file is None or not os.path.isfile(self._file):
            return None
        number, target = 1, f"{self._file}.version-{version}"
        while os.path.lexists(target):
            number += 1
            target = f"{self._file}.version-{version}.{number}"
        self.copy_to(target)
        return target

    def copy_to(self, target: str | os.PathLike[str]) -> None:
        """A copy of the ledger's SQLite file as the new file ``target`` (rights 0600), while windows go on selling.

        LedgerError LEDGER if the ledger is no such file, ``target`` exists or cannot be written; then there is none.
        """
        name = os.fspath(target)
        if self._file is None or not os.path.isfile(self._file):
            raise LedgerError(
                errors.LEDGER,
                f"The ledger {self.name} is no SQLite file, and is not copied by this program.",
                "Use the database's own backup (PostgreSQL: pg_dump).",
            )
        try:
            if os.path.realpath(name) in [os.path.realpath(self._file) + end for end in ("-journal", "-wal", "-shm")]:
                raise LedgerError(
                    errors.LEDGER, f"{name} is a name SQLite uses beside the ledger itself.", "Choose another path."
                )
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise LedgerError(
                errors.LEDGER, f"There is a file {name} already; a copy overwrites nothing.", "Choose another path."
            ) from None
        except (OSError, ValueError) as error:
            raise LedgerError(
                errors.LEDGER,
                f"The copy {name} cannot be written: {getattr(error, 'strerror', None) or error}.",
                "Correct the path, or make room.",
            ) from error
        try:
            with self._translated():
                with (
                    closing(sqlite3.connect(name, isolation_level=None)) as copy,
                    closing(sqlite3.connect(self._file, timeout=30)) as source,
                ):
                    source.backup(copy)
                self.settle(name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(name)
            raise

    @staticmethod
    def settle(path: str | os.PathLike[str]) -> None:
        """Make a closed ledger one file with no other beside it, to be kept or carried away. LedgerError LEDGER."""
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as copy:
                copy.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.Error as error:
            raise LedgerError(errors.LEDGER, f"The copy {os.fspath(path)} cannot be used: {error}.") from error
        sync_folder(path)

    def _now(self) -> int:
        return minutes(self.clock())


class Books:
    """The tables within one transaction."""

    def __init__(self, connection: sa.Connection, now: Callable[[], int] | None) -> None:
        """``now`` gives the time of journal rows, minutes since 2000-01-01 UTC; None: nothing may be written."""
        self._connection = connection
        self._now = now
        self._dialect = connection.dialect
        self._prepared = _prepared.setdefault((self._dialect.name, self._dialect.driver), {})
        self._head: tuple[int, bytes] | None = None
        self._cursor: Any = None
        self._zone: timezone | None = None
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        # Books kept beyond their transaction would else write beside all others.
        self._cursor, self._over = None, True

    def root_check(self) -> bytes | None:
        """What the ledger's root is known by; None before the first hall."""
        value: bytes | None = _checked(
            "about", "root_check", self._connection.execute(sa.select(_about.c.root_check)).scalar()
        )
        return value

    def set_root_check(self, check: bytes) -> bytes:
        """The first hall's root, and ``check`` again."""
        self._connection.execute(sa.update(_about).values(root_check=check))
        self._tell(journal.ROOT_KNOWN, "", {"about": [{"id": 1, "root_check": check}]})
        return check

    def head(self) -> tuple[int, bytes]:
        """Number and hash of the journal's last row; 0 and FIRST if it has none."""
        if self._head is None:
            last = next(iter(self._run(_LAST_ENTRY, {})), None)
            self._head = (
                (0, journal.FIRST)
                if last is None
                else (_checked("journal", "number", last[0]), _checked("journal", "hash", last[1]))
            )
        return self._head

    def account(self, number: str) -> Account | None:
        """The account of that number."""
        row = self._one(_ACCOUNT, number)
        return None if row is None else Account(**_columns(row, _accounts))

    def meter(self, number: str) -> MeterRow | None:
        """The meter of that number."""
        row = self._one(_METER, number)
        return None if row is None else MeterRow(**_columns(row, _meters))

    def card(self, number: int) -> CardRow | None:
        """The card of that number."""
        row = self._one(_CARD, number)
        return None if row is None else CardRow(**_columns(row, _cards))

    def place(self, card: int) -> Place | None:
        """Where the card of that number belongs."""
        row = self._one(_PLACE, card)
        if row is None:
            return None
        bound = row["bindings_id"] is not None
        card_row = CardRow(**_columns(row, _cards, joined=True))
        return Place(
            card=card_row,
            replaced=_checked("cards", "replacement", row["newest"]) > card_row.replacement,
            account=Account(**_columns(row, _accounts, joined=True)),
            binding=Binding(**_columns(row, _bindings, joined=True)) if bound else None,
            meter=MeterRow(**_columns(row, _meters, joined=True)) if bound else None,
            floor=None if row["floor"] is None else _checked("recoveries", "floor", row["floor"]),
            suspended=row["suspension"] is not None,
            ending=None if row["ending"] is None else _checked("tools", "number", row["ending"]),
            exchange=None if row["exchange"] is None else _checked("transfers", "id", row["exchange"]),
        )

    def card_of(self, account: str) -> CardRow | None:
        """The account's card with the highest replacement number."""
        row = self._one(_CARD_OF, account)
        return None if row is None else CardRow(**_columns(row, _cards))

    def binding_of(self, account: str) -> Binding | None:
        """The open binding of an account."""
        row = self._one(_BINDING_OF, account)
        return None if row is None else Binding(**_columns(row, _bindings))

    def binding_on(self, meter: str) -> Binding | None:
        """The open binding of a meter."""
        row = self._one(_BINDING_ON, meter)
        return None if row is None else Binding(**_columns(row, _bindings))

    def last_order(self, binding: int) -> Order | None:
        """The order of the highest sequence in the binding of that row id."""
        row = self._one(_LAST_ORDER, binding)
        return None if row is None else Order(**_columns(row, _orders))

    def accounts(self) -> list[str]:
        """The numbers of all accounts, in rising order."""
        return [_checked("accounts", "number", number) for (number,) in self._run(_ACCOUNTS, {})]

    def cards(self, account: str) -> list[CardRow]:
        """All cards of an account, by their numbers."""
        return [CardRow(**_columns(row, _cards)) for row in self._all(_CARDS, _key=account)]

    def bindings(self, account: str) -> list[Binding]:
        """All bindings of an account, oldest first."""
        return [Binding(**_columns(row, _bindings)) for row in self._all(_BINDINGS, _key=account)]

    def reports(self, meter: str, binding: int) -> list[ReportRow]:
        """All reports kept of a meter's binding of that number, oldest first."""
        return [ReportRow(**_columns(row, _reports)) for row in self._all(_REPORTS, _key=meter, _number=binding)]

    def orders(self, account: str) -> list[Order]:
        """All orders of an account, oldest first."""
        return [Order(**_columns(row, _orders)) for row in self._all(_ORDERS, _key=account)]

    def last_report(self, meter: str) -> ReportRow | None:
        """The newest report kept of a meter, by (binding, report number)."""
        row = self._one(_LAST_REPORT, meter)
        return None if row is None else ReportRow(**_columns(row, _reports))

    def price(self, at: int) -> PriceRow | None:
        """The price in force at the minute ``at``; None before the first."""
        row = self._one(_PRICE, at)
        return None if row is None else PriceRow(**_columns(row, _prices))

    def rules(self, at: int) -> Rules:
        """By what a sale at the minute ``at`` is judged."""
        # Cells as they come, not by name: this is asked twice in every sale, and mostly holds nothing.
        row = self._run(_RULES, {"_key": at})[0]
        return Rules(
            *[None if cell is None else _checked(*place, cell) for place, cell in zip(_OF_RULES, row, strict=True)]
        )

    def moment(self, at: int) -> datetime:
        """The minute ``at`` by the hall's own clock (``utc_offset``), as its people and papers say it."""
        return moment(at).astimezone(self.zone)

    @property
    def zone(self) -> timezone:
        """That of the hall's own clock."""
        if self._zone is None:
            setting = self._one(_SETTING, "utc_offset")
            value = None if setting is None else _checked("settings", "value", setting["value"])
            self._zone = zone(UTC_OFFSET if value is None else value)
        return self._zone

    def set_settings(self, values: Mapping[str, int | None]) -> None:
        """Set each of ``values``, names of SETTINGS; what stands there already is not set again."""
        told = []
        for name, value in values.items():
            known = self._one(_SETTING, name)
            if known is None:
                self._run(_INSERT["settings"], {"name": name, "value": value})
            elif known["value"] != value:
                self._run(_CHANGE_SETTING, {"_key": name, "_value": value})
            else:
                continue
            told.append({"name": name, "value": value})
        if told:
            self._tell(journal.SETTINGS_SET, "", {"settings": told})

    def shift(self, number: int | None = None) -> ShiftRow | None:
        """The shift of that number; the last one if none is given."""
        row = next(iter(self._all(_LAST_SHIFT)), None) if number is None else self._one(_SHIFT, number)
        return None if row is None else ShiftRow(**_columns(row, _shifts))

    def shift_orders(self, number: int) -> list[ShiftOrder]:
        """What the orders of a shift come to."""
        return [
            ShiftOrder(
                opens=_opens(row["kind"], _checked("orders", "frame", row["frame"])),
                state=_checked("orders", "state", row["state"]),
                hundredths=_hundredths(row),
                fen=_checked("orders", "fen", row["fen"]),
                kind=_checked("orders", "kind", row["kind"]),
                issues_card=bool(row["issues_card"]),
            )
            for row in self._all(_SHIFT_ORDERS, _key=number)
        ]

    def shift_tools(self, number: int) -> list[str]:
        """The kinds of the company's own cards a shift has made, by their numbers."""
        return [_checked("tools", "kind", row["kind"]) for row in self._all(_SHIFT_TOOLS, _key=number)]

    def tools_between(self, since: int, until: int) -> list[tuple[int, str]]:
        """Minute and kind of the company's own cards made from ``since`` on and before ``until``."""
        return [
            (_checked("tools", "made_at", row["made_at"]), _checked("tools", "kind", row["kind"]))
            for row in self._all(_PERIOD_TOOLS, _since=since, _until=until)
        ]

    def orders_between(self, since: int, until: int) -> list[PeriodOrder]:
        """The orders made from the minute ``since`` on and before ``until``, in the order of their rows."""
        names = ("made_at", "state", "fen", "kind")
        return [
            PeriodOrder(
                opens=_opens(row["kind"], _checked("orders", "frame", row["frame"])),
                hundredths=_hundredths(row),
                issues_card=bool(row["issues_card"]),
                **{name: _checked("orders", name, row[name]) for name in names},
            )
            for row in self._all(_PERIOD_ORDERS, _since=since, _until=until)
        ]

    def paid_between(self, since: int, until: int) -> list[tuple[int, int]]:
        """Minute and fen of the refunds paid out from ``since`` on and before ``until``."""
        return [
            (_checked("grants", "paid_at", row["paid_at"]), _checked("grants", "fen", row["fen"]) or 0)
            for row in self._all(_PERIOD_PAID, _since=since, _until=until)
        ]

    def stock_between(self, kind: str, since: int, until: int) -> list[tuple[int, int]]:
        """Minute and count of the moves of blank cards of that kind, from ``since`` on and before ``until``."""
        return [
            (_checked("stock_moves", "at", row["at"]), _checked("stock_moves", "count", row["count"]))
            for row in self._all(_PERIOD_STOCK, _key=kind, _since=since, _until=until)
        ]

    def closing(self, number: int) -> bytes | None:
        """The hash of the journal's row that closed a shift, None while it is open."""
        row = next(iter(self._run(_CLOSING, {"_before": number - 1})), None)
        return None if row is None else _checked("journal", "hash", row[0])

    def open_shift(self, clerk: str, opened_at: int) -> ShiftRow:
        """A new shift under the next number. Whether another is open is the caller's to judge."""
        last = self.shift()
        row = ShiftRow(1 if last is None else last.number + 1, clerk, opened_at, True, None, None, None, None, None)
        self._insert(_shifts, row, journal.SHIFT_OPENED, "")
        return row

    def close_shift(
        self, number: int, *, closed_at: int, money: int, cash: int, cards: int | None, reason: str | None
    ) -> None:
        """Close a shift with what was counted."""
        values = {"open": False, "closed_at": closed_at, "money": money, "cash": cash, "cards": cards, "reason": reason}
        self._run(_CLOSE_SHIFT, {"_key": number} | {f"_{name}": value for name, value in values.items()})
        self._tell(journal.SHIFT_CLOSED, "", {"shifts": [{"number": number, **values}]})

    def bindings_on(self, meter: str) -> list[Binding]:
        """All bindings of a meter, open or not, oldest first."""
        return [Binding(**_columns(row, _bindings)) for row in self._all(_BINDINGS_ON, _key=meter)]

    def comparisons(self, meter: str) -> list[ComparisonRow]:
        """All comparisons of a meter with its wheels, oldest first."""
        return [ComparisonRow(**_columns(row, _comparisons)) for row in self._all(_COMPARISONS, _key=meter)]

    def add_comparison(self, account: str, **values: Any) -> None:
        """Keep a comparison: every column of ``comparisons`` but ``id``."""
        key = self._number(_comparisons, values)
        self._tell(journal.INDEX_COMPARED, account, {"comparisons": [{"id": key, **values}]})

    def open_bindings(self) -> list[Binding]:
        """All open bindings, by their accounts."""
        return [Binding(**_columns(row, _bindings)) for row in self._all(_OPEN_BINDINGS)]

    def recoveries(self) -> dict[int, RecoveryRow]:
        """The bindings that are recovering, by their row ids."""
        rows = [RecoveryRow(**_columns(row, _recoveries)) for row in self._all(_OPEN_RECOVERIES)]
        return {row.binding: row for row in rows}

    def recovery(self, binding: int) -> RecoveryRow | None:
        """What the binding of that row id still waits for, None if it is not recovering."""
        row = self._one(_RECOVERY, binding)
        return None if row is None else RecoveryRow(**_columns(row, _recoveries))

    def restore(self, at: int) -> int:
        """This ledger came out of a copy: mark every open binding recovering, in one row of the journal; how many."""
        before = self.recoveries()
        ended = [{"id": row.id, "ended_at": at} for row in before.values()]
        for old in ended:
            self._run(_END_RECOVERY, {"_key": old["id"], "_at": at})
        card, account = self._highest_card(), _account_number(self._highest(_accounts.c.number))
        values = {
            "at": at,
            "cards_above": min(card + NUMBERS_LOST, CARD_MAX),
            "accounts_above": min(account + NUMBERS_LOST, ACCOUNT_MAX),
            "services_above": min(self._highest_service() + SERVICES_LOST, SERVICE_MAX),
        }
        restore = self._number(_restores, values)
        marked: list[dict[str, Any]] = []
        for binding in self.open_bindings():
            last = self.last_order(binding.id)
            sequence = 0 if last is None else last.sequence
            if binding.id in before:
                # A copy of a ledger that was recovering: orders from that floor on may be lost again.
                sequence = max(sequence, before[binding.id].floor)
            row: dict[str, Any] = {"restore": restore, "binding": binding.id, "ended_at": None}
            row["floor"] = sequence + SEQUENCES_LOST
            marked.append({"id": self._number(_recoveries, row), **row})
        # What was asked for or owed when the copy was made may have been written or paid since.
        lapsed = [
            {"id": grant.id, "cancelled_at": at}
            for grant in self.grants()
            if grant.cancelled_at is None and grant.paid_at is None and (grant.written is None or grant.kind == REFUND)
        ]
        for grant in lapsed:
            self._run(_LAPSE_GRANT, {"_key": grant["id"], "_at": at})
        changes = {"restores": [{"id": restore, **values}], "recoveries": [*ended, *marked], "grants": lapsed}
        self._tell(journal.LEDGER_RESTORED, "", {name: rows for name, rows in changes.items() if rows})
        return len(marked)

    def ended_since_restore(self, account: str) -> bool:
        """Whether the account's last binding ended in this ledger, and not in the one it was copied from.

        By the journal's order, as clocks may differ.
        """
        ended, restored = (
            self._run(_LAST_TOLD, {"_key": kind, "_account": whose})[0][0] or 0
            for kind, whose in ((journal.BINDING_ENDED, account), (journal.LEDGER_RESTORED, ""))
        )
        return bool(ended > restored)

    def first_since(self, binding: int, floor: int) -> int | None:
        """The sequence of the first order this ledger made from ``floor`` on, None if it made none."""
        sequence = self._run(_FIRST_SINCE, {"_key": binding, "_floor": floor})[0][0]
        return None if sequence is None else _checked("orders", "sequence", sequence)

    def paid_since(self, binding: int, floor: int) -> int:
        """The pulses sold with sequences from ``floor`` on."""
        rows = self._run(_PAID_SINCE, {"_key": binding, "_floor": floor})
        return sum(_checked("orders", "paid_pulses", paid) for (paid,) in rows)

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
            told.append({"id": self._number(_orders, values), **values})
        if raised is not None:
            self._run(_RAISE_ORDER, {"_key": raised["id"]} | {f"_{n}": v for n, v in raised.items() if n != "id"})
            told.append(raised)
        row = {"binding": binding.id, **adoption}
        changes: dict[str, list[dict[str, Any]]] = {"adoptions": [{"id": self._number(_adoptions, row), **row}]}
        if told:
            changes["orders"] = told
        if ended is not None:
            self._run(_END_RECOVERY, {"_key": ended, "_at": adoption["at"]})
            changes["recoveries"] = [{"id": ended, "ended_at": adoption["at"]}]
        self._tell(journal.ADOPTED, binding.account, changes)

    def adoptions(self, binding: int) -> list[AdoptionRow]:
        """What was adopted for the binding of that row id, oldest first."""
        return [AdoptionRow(**_columns(row, _adoptions)) for row in self._all(_ADOPTIONS, _key=binding)]

    def suspensions(self, binding: int) -> list[SuspensionRow]:
        """The tests of the meter of the binding of that row id, oldest first."""
        return [SuspensionRow(**_columns(row, _suspensions)) for row in self._all(_SUSPENSIONS, _key=binding)]

    def suspend(self, binding: Binding, at: int, reading: int, reason: str) -> SuspensionRow:
        """The binding's meter goes to a test. Whether one is under way is the caller's to judge."""
        row = self._add_suspension(binding=binding.id, at=at, reading=reading, reason=reason)
        self._tell(journal.SUSPENDED, binding.account, {"suspensions": [row]})
        return SuspensionRow(**row)

    def _add_suspension(self, **given: Any) -> dict[str, Any]:
        values: dict[str, Any] = {name: given.get(name) for name in _KINDS["suspensions"] if name != "id"}
        return {"id": self._number(_suspensions, values), **values}

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

    def _void_suspension(self, old: SuspensionRow, **values: Any) -> dict[str, Any]:
        if old.ended_at is None:
            values["ended_at"] = values["cancelled_at"]
        self._connection.execute(sa.update(_suspensions).where(_suspensions.c.id == old.id).values(**values))
        return {"id": old.id, **values}

    def end_suspension(self, binding: Binding, suspension: int, at: int, reading: int) -> None:
        """The meter is back on its wall."""
        self._run(_END_SUSPENSION, {"_key": suspension, "_ended_at": at, "_end_reading": reading})
        row = {"id": suspension, "ended_at": at, "end_reading": reading}
        self._tell(journal.SUSPENSION_ENDED, binding.account, {"suspensions": [row]})

    def stock(self) -> dict[tuple[str, int | None], int]:
        """How many blank cards went each way: (kind, shift or None) -> their sum. Empty if none was ever booked."""
        found = {}
        for row in self._all(_STOCK):
            key = _checked("stock_moves", "kind", row["kind"]), _checked("stock_moves", "shift", row["shift"])
            # A sum may be more than one move's most, and is text or a fraction where a cell is.
            if type(row["count"]) is not int:
                _checked("stock_moves", "count", str(row["count"]))
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
        key = self._number(_stock, values)
        self._tell(journal.STOCK_MOVED, account, {"stock_moves": [{"id": key, **values}]})

    def bought(self, account: str, since: int) -> list[tuple[int, int]]:
        """What ``account`` has bought from the minute ``since`` on: minute and hundredths of a m³ of each order."""
        return [
            (
                _checked("orders", "made_at", row["made_at"]),
                _hundredths(row),
            )
            for row in self._all(_BOUGHT, _key=account, _since=since)
        ]

    def prices(self) -> list[PriceRow]:
        """All prices by the minute from which they hold; of two for one minute the later one holds."""
        return [PriceRow(**_columns(row, _prices)) for row in self._all(_PRICES)]

    def add_price(self, valid_from: int, price: int, set_at: int) -> PriceRow:
        """A new price. Whether that minute may still be given one is the caller's to judge."""
        values = {"valid_from": valid_from, "price": price, "set_at": set_at}
        key = self._number(_prices, values)
        self._tell(journal.PRICE_SET, "", {"prices": [{"id": key, **values}]})
        return PriceRow(id=key, **values)

    def add_account(self, name: str, opened_at: int, number: str | None = None) -> Account:
        """A new account, under the next free number unless ``number`` is given."""
        if number is None:
            number = f"{self._free_account():010d}"
        account = Account(number, name, opened_at)
        self._insert(_accounts, account, journal.ACCOUNT_OPENED, number)
        return account

    def add_card(self, account: str, issue_batch: int, *, replacement: int = 0, reason: str | None = None) -> CardRow:
        """A new card of ``account`` under the next free card number, not issued yet."""
        card = CardRow(self.free_card(), account, replacement, issue_batch, 0, False, reason)
        self._insert(_cards, card, journal.CARD_ADDED, account)
        return card

    def free_card(self) -> int:
        """The next free card number: customers' cards and the company's own have one row of them."""
        number = self._highest_card() + 1
        restored = self._one(_LAST_RESTORE, None)
        if restored is not None:
            above: int = _checked("restores", "cards_above", restored["cards_above"])
            number = max(number, min(above + 1, CARD_MAX))
        if number > CARD_MAX:
            raise LedgerError(codes.NUMBER_USED_UP, "All card numbers are used up.")
        return number

    def _highest_card(self) -> int:
        highest = [self._highest(_cards.c.number), self._highest(_tools.c.number)]
        return max(0 if number is None else int(_checked("cards", "number", number)) for number in highest)

    def free_service(self) -> int:
        """The next service number of the region: above every one that was given, and may be in use."""
        number = self._highest_service() + 1
        if number > SERVICE_MAX:
            raise LedgerError(codes.NUMBER_USED_UP, "All service numbers are used up.")
        return number

    def _highest_service(self) -> int:
        highest = self._highest(_tools.c.service_number)
        above = self._highest(_restores.c.services_above)
        return max(
            0 if highest is None else int(_checked("tools", "service_number", highest)),
            0 if above is None else int(_checked("restores", "services_above", above)),
        )

    def add_tool(self, tool: ToolRow) -> ToolRow:
        """A new card of the company's own, not issued yet, under a number of ``free_card``."""
        self._insert(_tools, tool, journal.TOOL_MADE, tool.account or "")
        return tool

    def tool(self, number: int) -> ToolRow | None:
        """The tool card of that number."""
        row = self._one(_TOOL, number)
        return None if row is None else ToolRow(**_columns(row, _tools))

    def tools(self, meter: str | None = None) -> list[ToolRow]:
        """All tool cards, or those that name one meter, by their numbers."""
        rows = self._all(_TOOLS) if meter is None else self._all(_TOOLS_OF_METER, _key=meter)
        return [ToolRow(**_columns(row, _tools)) for row in rows]

    def ending(self, binding: int) -> ToolRow | None:
        """The clear or transfer card that is out for the binding of that row id."""
        row = self._one(_ENDING, binding)
        return None if row is None else ToolRow(**_columns(row, _tools))

    def mark_tool(self, tool: ToolRow, *, psc_bytes: int, issued: bool) -> None:
        """As ``mark_card``, of a tool card."""
        before = self.tool(tool.number)
        marked = self._connection.execute(_MARK_TOOL, {"_key": tool.number, "psc_bytes": psc_bytes, "issued": issued})
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
        self._connection.execute(sa.update(_tools).where(_tools.c.number == tool.number).values(**values))
        self._tell(kind, tool.account or "", {"tools": [{"number": tool.number, **values}]})

    def final(self, meter: str, binding: int) -> FinalRow | None:
        """The final record of a meter's binding of that number."""
        row = next(iter(self._all(_FINAL, _key=meter, _number=binding)), None)
        return None if row is None else FinalRow(**_columns(row, _finals))

    def end_binding(self, binding: Binding, final: FinalRow) -> None:
        """Keep the final record of a binding, which is over with it, in one row of the journal; the card came back."""
        values = {name: getattr(final, name) for name in _KINDS["finals"]}
        self._run(_INSERT["finals"], values)
        self._connection.execute(sa.update(_bindings).where(_bindings.c.id == binding.id).values(open=False))
        changes: dict[str, list[dict[str, Any]]] = {
            "finals": [values],
            "bindings": [{"id": binding.id, "open": False}],
        }
        if self.tool(final.card) is not None:
            self._connection.execute(
                sa.update(_tools).where(_tools.c.number == final.card).values(seen_at=final.seen_at)
            )
            changes["tools"] = [{"number": final.card, "seen_at": final.seen_at}]
        recovery = self.recovery(binding.id)
        if recovery is not None:
            # Nothing of this binding can be loaded any more, whatever was lost with the ledger.
            self._run(_END_RECOVERY, {"_key": recovery.id, "_at": final.seen_at})
            changes["recoveries"] = [{"id": recovery.id, "ended_at": final.seen_at}]
        self._tell(journal.BINDING_ENDED, binding.account, changes)

    def transfer_of(self, account: str) -> TransferRow | None:
        """The exchange of an account's meter that is not through."""
        row = self._one(_TRANSFER_OF, account)
        return None if row is None else TransferRow(**_columns(row, _transfers))

    def transfers(self, account: str) -> list[TransferRow]:
        """All exchanges of an account's meters, oldest first."""
        return [TransferRow(**_columns(row, _transfers)) for row in self._all(_TRANSFERS, _key=account)]

    def transfers_from(self, binding: int) -> list[TransferRow]:
        """The exchanges that end the binding of that row id, oldest first."""
        return [TransferRow(**_columns(row, _transfers)) for row in self._all(_TRANSFERS_FROM, _key=binding)]

    def transfers_into(self, binding: int) -> list[TransferRow]:
        """The exchanges that begin the binding of that row id, oldest first."""
        return [TransferRow(**_columns(row, _transfers)) for row in self._all(_TRANSFERS_INTO, _key=binding)]

    def transfer_to(self, meter: str) -> TransferRow | None:
        """The exchange, not through, that brings an account this meter."""
        row = self._one(_TRANSFER_TO, meter)
        return None if row is None else TransferRow(**_columns(row, _transfers))

    def dead_binding(self, meter: str) -> Binding | None:
        """The binding in which a meter was declared dead, None if it was not or has been cleared since."""
        row = self._one(_DEAD_BINDING, meter)
        return None if row is None else Binding(**_columns(row, _bindings))

    def add_transfer(self, account: str, **values: Any) -> TransferRow:
        """A new exchange: every column of ``transfers`` that is not empty but ``id`` and ``account``."""
        row: dict[str, Any] = dict.fromkeys(_KINDS["transfers"]) | {"account": account, **values}
        row["id"] = self._number(_transfers, {name: value for name, value in row.items() if name != "id"})
        self._tell(journal.EXCHANGE_BEGUN, account, {"transfers": [row]})
        return TransferRow(**row)

    def change_transfer(self, transfer: TransferRow, kind: str, **values: Any) -> None:
        """New values of an exchange's columns; ``kind`` is the journal's word for it."""
        self._connection.execute(sa.update(_transfers).where(_transfers.c.id == transfer.id).values(**values))
        self._tell(kind, transfer.account, {"transfers": [{"id": transfer.id, **values}]})

    def open_binding(self, old: Binding, new: Binding, at: int) -> None:
        """An account goes from one binding to the next; what the old one was recovering from the new one is."""
        rows: list[dict[str, Any]] = []
        for binding, is_open in ((old, False), (new, True)):
            self._run(_OPEN_OR_CLOSE, {"_key": binding.id, "_open": is_open})
            rows.append({"id": binding.id, "open": is_open})
        changes: dict[str, list[dict[str, Any]]] = {"bindings": rows}
        recovery = self.recovery(old.id)
        if recovery is not None:
            self._run(_END_RECOVERY, {"_key": recovery.id, "_at": at})
            # Orders of the new binding may be lost as well.
            later = {"restore": recovery.restore, "binding": new.id, "floor": SEQUENCES_LOST + 1, "ended_at": None}
            changes["recoveries"] = [
                {"id": recovery.id, "ended_at": at},
                {"id": self._number(_recoveries, later), **later},
            ]
        self._tell(journal.BINDING_BEGUN, new.account, changes)

    def set_key_version(self, meter: MeterRow, version: int) -> None:
        """The meter has keys of that version now: it has said so, or somebody who knows has."""
        self._connection.execute(sa.update(_meters).where(_meters.c.number == meter.number).values(key_version=version))
        self._tell(journal.KEYS_KNOWN, "", {"meters": [{"number": meter.number, "key_version": version}]})

    def add_meter(self, meter: MeterRow) -> None:
        """A new meter."""
        self._insert(_meters, meter, journal.METER_ADDED, "")

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
        self._connection.execute(_RAISE_BINDING, {"_key": meter.number, "highest_binding": number})
        values: dict[str, Any] = {
            "meter": meter.number,
            "number": number,
            "account": account,
            "initial_reading": initial_reading,
            "open": is_open,
            **parameters,
        }
        key = self._number(_bindings, values)
        raised = {"number": meter.number, "highest_binding": number}
        self._tell(journal.BOUND, account, {"bindings": [{"id": key, **values}], "meters": [raised]})
        return Binding(id=key, **values)

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
        key = self._number(_orders, values)
        self._tell(journal.ORDER_MADE, binding.account, {"orders": [{"id": key, **values}]})
        return Order(id=key, **values)

    def mark_written(self, order: int, account: str | None = None) -> None:
        """The card was read back and holds the order's frame. A row that is done already stays so.

        Whose it is, is looked up if ``account`` is not given.
        """
        self._run(_MARK_WRITTEN, {"_key": order})
        if not self._cursor.rowcount:
            return
        if account is None:
            account = self._run(_ACCOUNT_OF_ORDER, {"_key": order})[0][0]
        self._tell(journal.ORDER_WRITTEN, account, {"orders": [{"id": order, "state": WRITTEN}]})

    def mark_done(self, binding: int, sequence: int, bought_total: int) -> None:
        """Orders of a binding that a report of this sequence and bought total covers are loaded."""
        loaded = self._loaded(binding, sequence, bought_total)
        if loaded:
            self._tell(journal.ORDER_DONE, loaded[0][1], {"orders": [row for row, _ in loaded]})

    def _loaded(self, binding: int, sequence: int, bought_total: int) -> list[tuple[dict[str, Any], str]]:
        # Marks them; of each what its row has new, and whose it is.
        values = {"_key": binding, "_sequence": sequence, "_bought_total": bought_total}
        loaded = self._run(_LOADED, values)
        for order, _ in loaded:
            self._run(_MARK_DONE, {"_key": order})
        return [({"id": order, "state": DONE}, account) for order, account in loaded]

    def mark_card(self, card: int, *, psc_bytes: int, issued: bool) -> None:
        """How far the card's own password may have been written, and whether the card is issued.

        LedgerError PENDING_ELSEWHERE if it is issued already: another window was faster, on another blank.
        """
        before = self.card(card)
        marked = self._connection.execute(_MARK_CARD, {"_key": card, "psc_bytes": psc_bytes, "issued": issued})
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

    def keep_report(
        self, report: ReportRow, account: str | None = None, *, covers: tuple[int, int, int] | None = None
    ) -> None:
        """Keep an authentic report of ``account``'s meter; whose it was at that binding is looked up if not given.

        ``covers``, as ``mark_done`` has it, are the orders it shows loaded, which the same row of the journal then
        tells of. LedgerError if this (binding, report number) is kept already.
        """
        if account is None:
            values = {"_key": report.meter, "_number": report.binding}
            account = next((row[0] for row in self._run(_ACCOUNT_BOUND, values)), "")
        values = {name: getattr(report, name) for name in _KINDS["reports"]}
        self._run(_INSERT["reports"], values)
        changes = {"reports": [values]}
        if covers is not None:
            loaded = [row for row, _ in self._loaded(*covers)]
            changes |= {"orders": loaded} if loaded else {}
        self._tell(journal.REPORT_KEPT, account, changes)

    def order(self, key: int) -> Order | None:
        """The order of that row id."""
        row = self._one(_ORDER, key)
        return None if row is None else Order(**_columns(row, _orders))

    def paid(self, binding: int) -> dict[str | None, int]:
        """What the orders of a binding add to what the customer may have, in pulses, by their kinds.

        Gas that was adopted with an order of another kind counts as adopted.
        """
        found: dict[str | None, int] = {}
        for row in self._all(_PAID, _key=binding):
            kind = _checked("orders", "kind", row["kind"])
            for key, column, name in ((kind, "paid_pulses", "pulses"), (ADOPTED, "adopted_pulses", "adopted")):
                # A sum is text or a fraction where a cell is; PostgreSQL's is of a wider type.
                pulses = int(row[name]) if isinstance(row[name], Decimal) else row[name]
                found[key] = found.get(key, 0) + _checked("orders", column, pulses)
        return found

    def highest_released(self, binding: int, sequence: int) -> int:
        """The highest total that frames of a binding up to ``sequence`` bear."""
        row = self._run(_HIGHEST_RELEASED, {"_key": binding, "_sequence": sequence})[0]
        return 0 if row[0] is None else int(_checked("orders", "released_pulses", row[0]))

    def hold_order(self, order: Order) -> None:
        """The card of a pending order is replaced: its frame may be on that card, and is paid and held (RULES 1)."""
        self._run(_HOLD, {"_key": order.id})
        self._tell(journal.ORDER_HELD, order.account, {"orders": [{"id": order.id, "state": WRITTEN}]})

    def end_card(self, card: CardRow, at: int) -> None:
        """The card was taken back at the minute ``at``; once."""
        if self._connection.execute(_END_CARD, {"_key": card.number, "ended": at}).rowcount:
            self._tell(journal.CARD_ENDED, card.account, {"cards": [{"number": card.number, "ended": at}]})

    def grant(self, key: int) -> GrantRow | None:
        """The grant of that number."""
        row = self._one(_GRANT, key)
        return None if row is None else GrantRow(**_columns(row, _grants))

    def grant_of(self, order: int) -> GrantRow | None:
        """The grant that was written as the order of that row id."""
        row = self._one(_GRANT_OF_ORDER, order)
        return None if row is None else GrantRow(**_columns(row, _grants))

    def grants(self) -> list[GrantRow]:
        """All grants, oldest first."""
        return [GrantRow(**_columns(row, _grants)) for row in self._all(_GRANTS)]

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
        values: dict[str, Any] = dict.fromkeys(_KINDS["grants"]) | {
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
        values["id"] = self._number(_grants, {name: value for name, value in values.items() if name != "id"})
        self._tell(journal.GRANT_REQUESTED, binding.account, {"grants": [values]})
        return GrantRow(**values)

    def change_grant(self, grant: GrantRow, kind: str, **values: Any) -> None:
        """New values of a grant's columns; ``kind`` is the journal's word for it."""
        self._connection.execute(sa.update(_grants).where(_grants.c.id == grant.id).values(**values))
        self._tell(kind, grant.account, {"grants": [{"id": grant.id, **values}]})

    def approval(self, grant: int) -> bytes | None:
        """The hash of the journal's row that approved a grant."""
        row = next(iter(self._run(_APPROVAL, {"_key": f'%"id":{grant}}}]}}'})), None)
        return None if row is None else _checked("journal", "hash", row[0])

    def paid_out(self, shift: int) -> list[tuple[int, int]]:
        """The refunds a shift has paid: hundredths of a m³ and fen of each."""
        return [
            (
                _checked("grants", "pulses", row["pulses"])
                * 10 ** (2 - _checked("meters", "pulse_weight", row["pulse_weight"])),
                _checked("grants", "fen", row["fen"]) or 0,
            )
            for row in self._all(_PAID_OUT, _key=shift)
        ]

    def change_account(self, account: Account, kind: str, after: str, *, at: int, reason: str, approver: str) -> None:
        """Another holder ("holder") or state ("state", empty for an open account) of an account."""
        before, column = (account.name, "name") if kind == "holder" else (account.state or "", "state")
        value = after if kind == "holder" else after or None
        self._connection.execute(
            sa.update(_accounts).where(_accounts.c.number == account.number).values({column: value})
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
        key = self._number(_account_changes, values)
        changed = {"accounts": [{"number": account.number, column: value}]}
        self._tell(journal.ACCOUNT_CHANGED, account.number, changed | {"account_changes": [{"id": key, **values}]})

    def account_changes(self, account: str) -> list[AccountChange]:
        """What was changed of an account's holder and state, oldest first."""
        return [AccountChange(**_columns(row, _account_changes)) for row in self._all(_CHANGES, _key=account)]

    def _tell(self, kind: str, account: str, changes: journal.Changes) -> None:
        """The journal's row of a change, in the transaction that makes it."""
        if self._now is None:
            raise LedgerError(errors.LEDGER, "These books were opened to be read.", "Use begin() to write.")
        last, previous = self.head()
        number, at, text = last + 1, self._now(), journal.body(changes)
        digest = journal.row_hash(previous, number, at, kind, account, text)
        values = {"number": number, "at": at, "kind": kind, "account": account, "body": text, "hash": digest}
        self._run(_INSERT["journal"], values)
        self._head = number, digest

    def _run(self, statement: Any, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one of this module's statements; the rows it gives."""
        prepared = self._prepared.get(id(statement))
        if prepared is None:
            prepared = self._prepared[id(statement)] = _prepare(statement, self._dialect)
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

    def _free_account(self) -> int:
        """The number after the highest account; where that is the last there is, the next free one below."""
        highest = _account_number(self._highest(_accounts.c.number))
        restored = self._one(_LAST_RESTORE, None)
        if highest < ACCOUNT_MAX and restored is not None:
            above: int = _checked("restores", "accounts_above", restored["accounts_above"])
            highest = max(highest, min(above, ACCOUNT_MAX - 1))
        if highest < ACCOUNT_MAX:
            return highest + 1
        below = self._connection.execute(_BELOW_A_GAP).scalar()
        if below is None and self.account(f"{1:010d}") is not None:
            raise LedgerError(codes.NUMBER_USED_UP, "All account numbers are used up.")
        return _account_number(below) + 1

    def _highest(self, column: sa.Column[Any]) -> Any:
        return self._connection.execute(sa.select(sa.func.max(column))).scalar()

    def _number(self, table: sa.Table, values: dict[str, Any]) -> int:
        """Insert a row to which the database gives the next ``id``."""
        if self._connection.dialect.name == "sqlite":
            self._run(_INSERT[table.name], {"id": None, **values})
            return int(self._cursor.lastrowid)
        key = self._connection.execute(_INSERT[table.name], values).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _insert(self, table: sa.Table, row: Any, kind: str, account: str) -> None:
        values = {name: getattr(row, name) for name in _KINDS[table.name]}
        self._run(_INSERT[table.name], values)
        self._tell(kind, account, {table.name: [values]})


def _create(connection: sa.Connection) -> None:
    metadata.create_all(connection)
    for statement in TRIGGERS.get(connection.dialect.name, {}).values():
        connection.exec_driver_sql(statement)


def _schema(connection: sa.Connection) -> dict[tuple[str, str], tuple[str, str]]:
    """Of an SQLite ledger: kind and name -> table, and the text it was made by, however that is broken into lines."""
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY tbl_name, type, name"
    return {(row[0], row[1]): (row[2], " ".join(row[3].split())) for row in connection.exec_driver_sql(query)}


@functools.cache
def _made_schema() -> dict[tuple[str, str], tuple[str, str]]:
    """What ``_schema`` gives of a ledger as it is made."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        _create(connection)
        made = _schema(connection)
    engine.dispose()
    return made


def _columns(row: Mapping[str, Any] | sa.RowMapping, table: sa.Table, *, joined: bool = False) -> dict[str, Any]:
    """A row's cells, each what its column may hold; LedgerError LEDGER naming the one that is not."""
    cells = {}
    for name, label, kind, nullable, least, most in _CELLS[table.name]:
        value = row[label if joined else name]
        # What is as it should be needs no look at what else it may be: a sale reads a hundred cells.
        if type(value) is kind:
            if least is not None and not least <= value <= most:
                value = _checked(table.name, name, value)
        elif value is not None or not nullable:
            value = _checked(table.name, name, value)
        cells[name] = value
    return cells


def _checked(table: str, column: str, value: Any) -> Any:
    kind, nullable = _KINDS[table][column]
    span = _SPANS.get((table, column))
    if value is None and nullable:
        return None
    if kind is bytes and isinstance(value, memoryview):
        value = bytes(value)
    if kind is bool and type(value) is int and 0 <= value <= 1:  # SQLite's
        value = bool(value)
    if type(value) is not kind or (span is not None and not span[0] <= value <= span[1]):
        raise LedgerError(
            errors.LEDGER,
            f"The ledger is damaged: {table}.{column} holds {str(value)[:40]!r}.",
            "Sell nothing; have the ledger looked at, or restore it from its copy.",
        )
    return value


def _hundredths(row: Mapping[str, Any]) -> int:
    """An order's ``paid_pulses`` at its meter's ``pulse_weight``, in hundredths of a m³."""
    weight = _checked("meters", "pulse_weight", row["pulse_weight"])
    return int(_checked("orders", "paid_pulses", row["paid_pulses"]) * 10 ** (2 - weight))


def _opens(kind: str | None, frame: bytes) -> bool:
    # As Order.opens. Its sequence does not tell: what comes along from a cleared meter has the first.
    return kind is None and frame[1:2] == bytes((ORDER_OPENING,))


def _account_number(number: Any) -> int:
    if number is None:
        return 0
    if not (isinstance(number, str) and number.isascii() and number.isdecimal()):
        raise LedgerError(errors.LEDGER, f"The ledger is damaged: accounts.number holds {str(number)[:40]!r}.")
    return int(number)


def _prepare_sqlite(connection: Any, record: Any) -> None:
    # Autocommit in the driver's eyes, so that BEGIN is ours to say; a commit is on the disk when it returns.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
