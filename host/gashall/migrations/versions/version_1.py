"""Version 1: the tables of 0.1.0 to 0.3.0."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "about",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("region", sa.Integer, nullable=False),
        sa.Column("root_check", sa.LargeBinary),
    )
    op.create_table(
        "accounts",
        sa.Column("number", sa.String(10), primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("opened_at", sa.Integer, nullable=False),
    )
    op.create_table(
        "meters",
        sa.Column("number", sa.String(14), primary_key=True),
        sa.Column("pulse_weight", sa.Integer, nullable=False),
        sa.Column("wheel_pulses", sa.Integer, nullable=False),
        sa.Column("key_version", sa.Integer, nullable=False),
        sa.Column("highest_binding", sa.Integer, nullable=False),
    )
    op.create_table(
        "bindings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("meter", sa.String(14), sa.ForeignKey("meters.number"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("account", sa.String(10), sa.ForeignKey("accounts.number"), nullable=False),
        sa.Column("initial_reading", sa.Integer, nullable=False),
        sa.Column("alarm", sa.Integer, nullable=False),
        sa.Column("ceiling", sa.Integer, nullable=False),
        sa.Column("overdraft", sa.Integer, nullable=False),
        sa.Column("over_flow_seconds", sa.Integer, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.UniqueConstraint("meter", "number"),
    )
    op.create_index("ix_bindings_account", "bindings", ["account"])
    op.create_table(
        "cards",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("account", sa.String(10), sa.ForeignKey("accounts.number"), nullable=False),
        sa.Column("replacement", sa.Integer, nullable=False),
        sa.Column("issue_batch", sa.Integer, nullable=False),
        sa.Column("psc_bytes", sa.Integer, nullable=False),
        sa.Column("issued", sa.Boolean, nullable=False),
    )
    op.create_index("ix_cards_account", "cards", ["account"])
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("account", sa.String(10), sa.ForeignKey("accounts.number"), nullable=False),
        sa.Column("binding", sa.Integer, sa.ForeignKey("bindings.id"), nullable=False),
        sa.Column("card", sa.BigInteger, sa.ForeignKey("cards.number"), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("state", sa.String(7), sa.CheckConstraint("state IN ('pending', 'written', 'done')"), nullable=False),
        sa.Column("frame", sa.LargeBinary, nullable=False),
        sa.Column("paid_pulses", sa.Integer, nullable=False),
        sa.Column("released_pulses", sa.Integer, nullable=False),
        sa.Column("fen", sa.BigInteger),
        sa.Column("made_at", sa.Integer, nullable=False),
        sa.UniqueConstraint("binding", "sequence"),
    )
    op.create_index("ix_orders_account", "orders", ["account"])
    pending = sa.text("state = 'pending'")
    op.create_index(
        "one_pending_order", "orders", ["account"], unique=True, sqlite_where=pending, postgresql_where=pending
    )
    op.create_table(
        "reports",
        sa.Column("meter", sa.String(14), sa.ForeignKey("meters.number"), primary_key=True),
        sa.Column("binding", sa.Integer, primary_key=True),
        sa.Column("report_number", sa.Integer, primary_key=True),
        sa.Column("card", sa.BigInteger, nullable=False),
        sa.Column("frame", sa.LargeBinary, nullable=False),
        sa.Column("seen_at", sa.Integer, nullable=False),
    )
