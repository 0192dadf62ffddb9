"""The ledger's tables as SQLAlchemy makes them, with their indexes, checks and triggers."""

from typing import Any

import sqlalchemy as sa

from gashall.terms import DONE, PENDING

SCHEMA_VERSION = 2

metadata = sa.MetaData()
"""The tables of a ledger of this version, Alembic's own among them."""


class Blob(sa.LargeBinary):
    """Bytes as the database gives them, so that text in their place is found by ``cells.checked_cell`` and named."""

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        return None


# One row: which region this ledger is of, in which form its tables are, and what its region's root is known by
# (Signer.ledger_check; the first hall writes it).
about = sa.Table(
    "about",
    metadata,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("region", sa.Integer, nullable=False),
    sa.Column("root_check", Blob),
)
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("number", sa.String(10), primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("opened_at", sa.Integer, nullable=False),
    sa.Column("state", sa.String(7)),
)
meters = sa.Table(
    "meters",
    metadata,
    sa.Column("number", sa.String(14), primary_key=True),
    sa.Column("pulse_weight", sa.Integer, nullable=False),
    sa.Column("wheel_pulses", sa.Integer, nullable=False),
    sa.Column("key_version", sa.Integer, nullable=False),
    sa.Column("highest_binding", sa.Integer, nullable=False),
)
# A meter's life with one account. Parameters are pulses, as they stand on the card.
bindings = sa.Table(
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
cards = sa.Table(
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
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.ForeignKey("accounts.number"), nullable=False, index=True),
    sa.Column("binding", sa.ForeignKey("bindings.id"), nullable=False),
    sa.Column("card", sa.ForeignKey("cards.number"), nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("state", sa.String(7), sa.CheckConstraint("state IN ('pending', 'written', 'done')"), nullable=False),
    sa.Column("frame", Blob, nullable=False),
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
    orders.c.account,
    unique=True,
    sqlite_where=orders.c.state == PENDING,
    postgresql_where=orders.c.state == PENDING,
)
# A report asks which of a binding's orders are not loaded: one or two of all it ever had.
ORDER_NOT_DONE = orders.c.state != sa.literal_column(f"'{DONE}'")
sa.Index(
    "orders_not_done", orders.c.binding, orders.c.sequence, sqlite_where=ORDER_NOT_DONE, postgresql_where=ORDER_NOT_DONE
)
# Authentic report frames, each once. The card number is needed to check the MAC again.
reports = sa.Table(
    "reports",
    metadata,
    sa.Column("meter", sa.ForeignKey("meters.number"), primary_key=True),
    sa.Column("binding", sa.Integer, primary_key=True),
    sa.Column("report_number", sa.Integer, primary_key=True),
    sa.Column("card", sa.BigInteger, nullable=False),
    sa.Column("frame", Blob, nullable=False),
    sa.Column("seen_at", sa.Integer, nullable=False),
)

# What a m³ costs from a minute on, in hundredths of a fen. Rows are only added; of two for one minute the later holds.
prices = sa.Table(
    "prices",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("valid_from", sa.Integer, nullable=False),
    sa.Column("price", sa.Integer, nullable=False),
    sa.Column("set_at", sa.Integer, nullable=False),
)
# What the company has set for all windows: limits in hundredths of a m³ (nothing: none), where days begin.
settings = sa.Table(
    "settings",
    metadata,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("value", sa.BigInteger),
)
# Who was at the counter, and what was counted at the end. An order's shift is no foreign key: SQLite cannot add one.
shifts = sa.Table(
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
    shifts.c.open,
    unique=True,
    sqlite_where=shifts.c.open.is_(True),
    postgresql_where=shifts.c.open.is_(True),
)
# Blank cards that came and went; never changed. ``shift`` is whose hand they went to or came from, nothing: the store.
stock_moves = sa.Table(
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
grants = sa.Table(
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
account_changes = sa.Table(
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
comparisons = sa.Table(
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
restores = sa.Table(
    "restores",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("cards_above", sa.BigInteger, nullable=False),
    sa.Column("accounts_above", sa.BigInteger, nullable=False),
    sa.Column("services_above", sa.Integer, nullable=False),
)
# Which bindings have not reported since. The next order's sequence is ``floor`` at least.
recoveries = sa.Table(
    "recoveries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("restore", sa.ForeignKey("restores.id"), nullable=False),
    sa.Column("binding", sa.ForeignKey("bindings.id"), nullable=False, index=True),
    sa.Column("floor", sa.Integer, nullable=False),
    sa.Column("ended_at", sa.Integer),
)
# Whose word was taken for it that a card knew more than this ledger, and what that came to; never changed.
adoptions = sa.Table(
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
suspensions = sa.Table(
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
tools = sa.Table(
    "tools",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("meter", sa.String(14), index=True),
    sa.Column("account", sa.ForeignKey("accounts.number"), index=True),
    sa.Column("binding", sa.ForeignKey("bindings.id"), index=True),
    sa.Column("service_number", sa.Integer, unique=True),
    sa.Column("frames", Blob, nullable=False),
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
transfers = sa.Table(
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
finals = sa.Table(
    "finals",
    metadata,
    sa.Column("meter", sa.ForeignKey("meters.number"), primary_key=True),
    sa.Column("binding", sa.Integer, primary_key=True),
    sa.Column("card", sa.BigInteger, nullable=False),
    sa.Column("frame", Blob, nullable=False),
    sa.Column("seen_at", sa.Integer, nullable=False),
)

# What was done, in the order in which it was done, and never changed: docs/ledger.md.
journal = sa.Table(
    "journal",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Integer, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("account", sa.String(10), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hash", Blob, nullable=False),
)
# Alembic's own table: which migrations these tables have behind them. A new ledger has them all.
alembic_version = sa.Table(
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
BOOKED = tuple(table.name for table in metadata.sorted_tables if table not in (journal, alembic_version))
"""The tables whose every row the journal tells of."""


def create_tables(connection: sa.Connection) -> None:
    """Make every table, index and trigger where there is none yet, within the connection's transaction."""
    metadata.create_all(connection)
    for statement in TRIGGERS.get(connection.dialect.name, {}).values():
        connection.exec_driver_sql(statement)
