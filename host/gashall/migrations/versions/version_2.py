"""Version 2: the journal, which takes over what the tables hold already; prices, settings and so on."""

from typing import Any

import sqlalchemy as sa
from alembic import context, op

from gashall import errors, journal
from gashall.errors import LedgerError

revision = "0002"
down_revision = "0001"

# As released: table -> (its key's columns, the column that names the account, all columns and what they hold),
# the columns new in this version among them: the journal must tell of a row's every column.
_TABLES: dict[str, tuple[str, str | None, dict[str, tuple[type, ...]]]] = {
    "accounts": ("number", "number", {"number": (str,), "name": (str,), "opened_at": (int,), "state": (type(None),)}),
    "meters": (
        "number",
        None,
        {"number": (str,)} | dict.fromkeys(("pulse_weight", "wheel_pulses", "key_version", "highest_binding"), (int,)),
    ),
    "bindings": (
        "id",
        "account",
        {"id": (int,), "meter": (str,), "number": (int,), "account": (str,)}
        | dict.fromkeys(("initial_reading", "alarm", "ceiling", "overdraft", "over_flow_seconds", "open"), (int, bool)),
    ),
    "cards": (
        "number",
        "account",
        {"number": (int,), "account": (str,), "reason": (type(None),), "ended": (type(None),)}
        | dict.fromkeys(("replacement", "issue_batch", "psc_bytes", "issued"), (int, bool)),
    ),
    "orders": (
        "id",
        "account",
        {"id": (int,), "account": (str,), "binding": (int,), "card": (int,), "sequence": (int,), "state": (str,)}
        | {"frame": (bytes, memoryview), "paid_pulses": (int,), "released_pulses": (int,)}
        | {"fen": (int, type(None)), "made_at": (int,)}
        | dict.fromkeys(("price", "shift", "kind", "correction", "adopted_pulses", "frame_pulses"), (type(None),)),
    ),
    "reports": (
        "meter, binding, report_number",
        None,
        {"meter": (str,), "binding": (int,), "report_number": (int,), "card": (int,)}
        | {"frame": (bytes, memoryview), "seen_at": (int,)},
    ),
}
_ABOUT = {"id": (int,), "version": (int,), "region": (int,), "root_check": (bytes, memoryview, type(None))}

_SQLITE = (
    "CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    "CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal "
    "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    "CREATE TRIGGER journal_no_gap BEFORE INSERT ON journal "
    "WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM journal) "
    "BEGIN SELECT RAISE(ABORT, 'the journal has no gaps'); END",
)
_POSTGRESQL = (
    "CREATE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the journal is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$",
    "CREATE TRIGGER journal_no_update BEFORE UPDATE OR DELETE ON journal "
    "FOR EACH ROW EXECUTE FUNCTION journal_append_only()",
    "CREATE TRIGGER journal_no_truncate BEFORE TRUNCATE ON journal "
    "FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only()",
)


def upgrade() -> None:
    """Make the journal and the counter's tables, and write into the journal all that the ledger holds."""
    op.add_column("orders", sa.Column("price", sa.Integer))
    op.add_column("orders", sa.Column("shift", sa.Integer))
    op.add_column("orders", sa.Column("kind", sa.String(11)))
    op.add_column("orders", sa.Column("correction", sa.Integer))
    op.add_column("orders", sa.Column("adopted_pulses", sa.Integer))
    op.add_column("orders", sa.Column("frame_pulses", sa.Integer))
    not_done = sa.text("state != 'done'")
    op.create_index(
        "orders_not_done", "orders", ["binding", "sequence"], sqlite_where=not_done, postgresql_where=not_done
    )
    op.add_column("accounts", sa.Column("state", sa.String(7)))
    op.add_column("cards", sa.Column("reason", sa.String))
    op.add_column("cards", sa.Column("ended", sa.Integer))
    op.create_table(
        "prices",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("valid_from", sa.Integer, nullable=False),
        sa.Column("price", sa.Integer, nullable=False),
        sa.Column("set_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(20), primary_key=True),
        sa.Column("value", sa.BigInteger),
    )
    shifts = op.create_table(
        "shifts",
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
    op.create_table(
        "tools",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("meter", sa.String(14), index=True),
        sa.Column("account", sa.String(10), sa.ForeignKey("accounts.number"), index=True),
        sa.Column("binding", sa.Integer, sa.ForeignKey("bindings.id"), index=True),
        sa.Column("service_number", sa.Integer, unique=True),
        sa.Column("frames", sa.LargeBinary, nullable=False),
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
    op.create_table(
        "finals",
        sa.Column("meter", sa.String(14), sa.ForeignKey("meters.number"), primary_key=True),
        sa.Column("binding", sa.Integer, primary_key=True),
        sa.Column("card", sa.BigInteger, nullable=False),
        sa.Column("frame", sa.LargeBinary, nullable=False),
        sa.Column("seen_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "stock_moves",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column(
            "kind",
            sa.String(7),
            sa.CheckConstraint("kind IN ('in', 'out', 'used', 'spoiled', 'back', 'missing')"),
            nullable=False,
        ),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("shift", sa.Integer, sa.ForeignKey("shifts.number")),
        sa.Column("card", sa.BigInteger, sa.ForeignKey("cards.number")),
        sa.Column("reason", sa.String),
        sa.Column("tool", sa.BigInteger, sa.ForeignKey("tools.number")),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account", sa.String(10), sa.ForeignKey("accounts.number"), nullable=False, index=True),
        sa.Column("binding", sa.Integer, sa.ForeignKey("bindings.id"), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("pulses", sa.Integer, nullable=False),
        sa.Column("fen", sa.BigInteger),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("requester", sa.String, nullable=False),
        sa.Column("requested_at", sa.Integer, nullable=False),
        sa.Column("approver", sa.String),
        sa.Column("approved_at", sa.Integer),
        sa.Column("written", sa.Integer, sa.ForeignKey("orders.id")),
        sa.Column("paid_at", sa.Integer),
        sa.Column("shift", sa.Integer, sa.ForeignKey("shifts.number")),
        sa.Column("cancelled_at", sa.Integer),
        sa.Column("last_sequence", sa.Integer),
    )
    op.create_table(
        "account_changes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account", sa.String(10), sa.ForeignKey("accounts.number"), nullable=False, index=True),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(7), sa.CheckConstraint("kind IN ('holder', 'state')"), nullable=False),
        sa.Column("before", sa.String, nullable=False),
        sa.Column("after", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("approver", sa.String, nullable=False),
    )
    op.create_table(
        "comparisons",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("meter", sa.String(14), sa.ForeignKey("meters.number"), nullable=False, index=True),
        sa.Column("binding", sa.Integer, nullable=False),
        sa.Column("report_number", sa.Integer, nullable=False),
        sa.Column("reading", sa.Integer, nullable=False),
        sa.Column("power_failures", sa.Integer, nullable=False),
        sa.Column("settled", sa.Integer, nullable=False),
        sa.Column("drift", sa.Integer, nullable=False),
        sa.Column("verdict", sa.String(9), nullable=False),
        sa.Column("at", sa.Integer, nullable=False),
    )
    op.create_table(
        "restores",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("cards_above", sa.BigInteger, nullable=False),
        sa.Column("accounts_above", sa.BigInteger, nullable=False),
        sa.Column("services_above", sa.Integer, nullable=False),
    )
    op.create_table(
        "recoveries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("restore", sa.Integer, sa.ForeignKey("restores.id"), nullable=False),
        sa.Column("binding", sa.Integer, sa.ForeignKey("bindings.id"), nullable=False, index=True),
        sa.Column("floor", sa.Integer, nullable=False),
        sa.Column("ended_at", sa.Integer),
    )
    op.create_table(
        "adoptions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("binding", sa.Integer, sa.ForeignKey("bindings.id"), nullable=False, index=True),
        sa.Column("card", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("released_pulses", sa.Integer, nullable=False),
        sa.Column("raised_pulses", sa.Integer, nullable=False),
        sa.Column("requester", sa.String, nullable=False),
        sa.Column("approver", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("at", sa.Integer, nullable=False),
    )
    op.create_table(
        "suspensions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("binding", sa.Integer, sa.ForeignKey("bindings.id"), nullable=False, index=True),
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
    op.create_table(
        "transfers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account", sa.String(10), sa.ForeignKey("accounts.number"), nullable=False, index=True),
        sa.Column("old", sa.Integer, sa.ForeignKey("bindings.id"), nullable=False, index=True),
        sa.Column("new", sa.Integer, sa.ForeignKey("bindings.id"), nullable=False, index=True),
        sa.Column("tool", sa.BigInteger, sa.ForeignKey("tools.number")),
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
    where = shifts.c.open.is_(True)
    op.create_index("one_open_shift", "shifts", ["open"], unique=True, sqlite_where=where, postgresql_where=where)
    table = op.create_table(
        "journal",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Integer, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("account", sa.String(10), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    for statement in {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}.get(op.get_bind().dialect.name, ()):
        op.execute(statement)
    op.execute("UPDATE about SET version = 2")
    _take_over(op.get_bind(), table)


def _take_over(connection: sa.Connection, table: sa.Table) -> None:
    at = context.config.attributes["at"]
    previous = journal.FIRST
    for number, (kind, account, name, row) in enumerate(_rows(connection), start=1):
        text = journal.body({name: [row]})
        previous = journal.row_hash(previous, number, at, kind, account, text)
        connection.execute(
            sa.insert(table).values(number=number, at=at, kind=kind, account=account, body=text, hash=previous)
        )


def _rows(connection: sa.Connection) -> Any:
    """What the journal begins with: kind, account, table, row."""
    of_reports = {
        (row[0], row[1]): row[2] for row in connection.exec_driver_sql("SELECT meter, number, account FROM bindings")
    }
    for row in _read(connection, "about", "id", _ABOUT):
        yield journal.LEDGER_UPGRADED, "", "about", row
    for name, (key, owner, columns) in _TABLES.items():
        for row in _read(connection, name, key, columns):
            account = "" if owner is None else row[owner]
            if name == "reports":
                account = of_reports.get((row["meter"], row["binding"]), "")
            yield journal.TAKEN_OVER, account, name, row


def _read(connection: sa.Connection, name: str, key: str, columns: dict[str, tuple[type, ...]]) -> Any:
    for row in connection.exec_driver_sql(f"SELECT {', '.join(columns)} FROM {name} ORDER BY {key}").mappings().all():
        for column, kinds in columns.items():
            if type(row[column]) not in kinds:
                raise LedgerError(
                    errors.LEDGER,
                    f"The ledger is damaged: {name}.{column} holds {str(row[column])[:40]!r}; nothing was changed.",
                    "Sell nothing; have the ledger looked at, or restore it from its copy, and upgrade that.",
                )
        yield dict(row)
