"""The questions asked of the tables and the changes made to them, each built once and prepared once for a driver."""

from typing import Any, NamedTuple

import sqlalchemy as sa

from gashall.journal import GRANT_APPROVED, SHIFT_CLOSED
from gashall.schema import (
    ORDER_NOT_DONE,
    account_changes,
    accounts,
    adoptions,
    bindings,
    cards,
    comparisons,
    finals,
    grants,
    journal,
    metadata,
    meters,
    orders,
    prices,
    recoveries,
    reports,
    restores,
    settings,
    shifts,
    stock_moves,
    suspensions,
    tools,
    transfers,
)
from gashall.terms import ADOPTED, CLEAR, DONE, DRIFT, PENDING, PROBE, SETTINGS, TRANSFER, WRITTEN


def _first(table: sa.Table, where: Any, *order: Any) -> sa.Select[Any]:
    return sa.select(table).where(where).order_by(*order).limit(1)


# Statements are built once: building one costs more than running it, and a sale runs fifteen. "_key" is asked for.
_KEY: sa.BindParameter[Any] = sa.bindparam("_key")
INSERT = {table.name: sa.insert(table) for table in metadata.sorted_tables}

# ---------------------------------------------------------------------- the ledger

LAST_ENTRY = sa.select(journal.c.number, journal.c.hash).order_by(journal.c.number.desc()).limit(1)
LAST_TOLD = sa.select(sa.func.max(journal.c.number)).where(
    journal.c.kind == _KEY, journal.c.account == sa.bindparam("_account")
)

# ---------------------------------------------------------------------- accounts

ACCOUNT = _first(accounts, accounts.c.number == _KEY)
ACCOUNTS = sa.select(accounts.c.number).order_by(accounts.c.number)
# The highest account number whose next one is free, for a ledger in which somebody has chosen the last one.
_above = sa.func.lag(accounts.c.number).over(order_by=accounts.c.number.desc()).label("above")
_chain = sa.select(accounts.c.number, _above).subquery()
ACCOUNT_BELOW_A_GAP = sa.select(sa.func.max(_chain.c.number)).where(
    sa.cast(_chain.c.above, sa.BigInteger) > sa.cast(_chain.c.number, sa.BigInteger) + 1
)
ACCOUNT_CHANGES = sa.select(account_changes).where(account_changes.c.account == _KEY).order_by(account_changes.c.id)

# ---------------------------------------------------------------------- meters and bindings

METER = _first(meters, meters.c.number == _KEY)
RAISE_HIGHEST_BINDING = sa.update(meters).where(meters.c.number == _KEY)
BINDING_OF = _first(bindings, (bindings.c.account == _KEY) & bindings.c.open)
BINDING_ON = _first(bindings, (bindings.c.meter == _KEY) & bindings.c.open)
BINDINGS = sa.select(bindings).where(bindings.c.account == _KEY).order_by(bindings.c.id)
BINDINGS_ON = sa.select(bindings).where(bindings.c.meter == _KEY).order_by(bindings.c.number)
OPEN_BINDINGS = sa.select(bindings).where(bindings.c.open).order_by(bindings.c.account)
ACCOUNT_BOUND = sa.select(bindings.c.account).where(
    bindings.c.meter == _KEY, bindings.c.number == sa.bindparam("_number")
)
OPEN_OR_CLOSE_BINDING = sa.update(bindings).where(bindings.c.id == _KEY).values(open=sa.bindparam("_open"))

# ---------------------------------------------------------------------- cards

CARD = _first(cards, cards.c.number == _KEY)
CARD_OF = _first(cards, cards.c.account == _KEY, cards.c.replacement.desc())
CARDS = sa.select(cards).where(cards.c.account == _KEY).order_by(cards.c.number)
# A card that is issued stays so, whatever a window that was overtaken still believes.
MARK_CARD = sa.update(cards).where(cards.c.number == _KEY, cards.c.issued.is_(False))
END_CARD = sa.update(cards).where(cards.c.number == _KEY, cards.c.ended.is_(None))
# Of a tool card: the binding it names ends with it.
_ENDS = (tools.c.kind == CLEAR) | (tools.c.kind == TRANSFER)
# Where a card belongs, in one go: every column under "table_column", and the account's newest replacement number.
_newer = cards.alias()
PLACE = (
    sa.select(
        *[
            column.label(f"{table.name}_{column.name}")
            for table in (cards, accounts, bindings, meters)
            for column in table.columns
        ],
        sa.select(sa.func.max(_newer.c.replacement))
        .where(_newer.c.account == cards.c.account)
        .scalar_subquery()
        .label("newest"),
        sa.select(sa.func.max(recoveries.c.floor))
        .where(recoveries.c.binding == bindings.c.id, recoveries.c.ended_at.is_(None))
        .scalar_subquery()
        .label("floor"),
        sa.select(sa.func.max(suspensions.c.id))
        .where(suspensions.c.binding == bindings.c.id, suspensions.c.ended_at.is_(None))
        .scalar_subquery()
        .label("suspension"),
        sa.select(sa.func.max(tools.c.number))
        .where(tools.c.binding == bindings.c.id, _ENDS, tools.c.ended.is_(None))
        .scalar_subquery()
        .label("ending"),
        sa.select(sa.func.max(transfers.c.id))
        .where(transfers.c.account == accounts.c.number, transfers.c.ended_at.is_(None))
        .scalar_subquery()
        .label("exchange"),
    )
    .join_from(cards, accounts)
    .outerjoin(bindings, (bindings.c.account == accounts.c.number) & bindings.c.open)
    .outerjoin(meters, meters.c.number == bindings.c.meter)
    .where(cards.c.number == _KEY)
)

# ---------------------------------------------------------------------- orders and reports

ORDER = _first(orders, orders.c.id == _KEY)
LAST_ORDER = _first(orders, orders.c.binding == _KEY, orders.c.sequence.desc())
ORDERS = sa.select(orders).where(orders.c.account == _KEY).order_by(orders.c.id)
ACCOUNT_OF_ORDER = sa.select(orders.c.account).where(orders.c.id == _KEY)
MARK_WRITTEN = sa.update(orders).where(orders.c.id == _KEY, orders.c.state == PENDING).values(state=WRITTEN)
LOADED = (
    sa.select(orders.c.id, orders.c.account)
    .where(
        orders.c.binding == _KEY,
        orders.c.sequence <= sa.bindparam("_sequence"),
        sa.func.coalesce(orders.c.frame_pulses, orders.c.released_pulses) <= sa.bindparam("_bought_total"),
        ORDER_NOT_DONE,
    )
    .order_by(orders.c.id)
)
MARK_DONE = sa.update(orders).where(orders.c.id == _KEY).values(state=DONE)
HOLD_ORDER = sa.update(orders).where(orders.c.id == _KEY).values(state=WRITTEN)
# What an account's binding may say in all, by kind of order; the highest total a frame up to a sequence bears.
PAID = (
    sa.select(
        orders.c.kind,
        sa.func.sum(orders.c.paid_pulses).label("pulses"),
        sa.func.coalesce(sa.func.sum(orders.c.adopted_pulses), 0).label("adopted"),
    )
    .where(orders.c.binding == _KEY)
    .group_by(orders.c.kind)
)
HIGHEST_RELEASED = sa.select(sa.func.max(orders.c.released_pulses)).where(
    orders.c.binding == _KEY, orders.c.sequence <= sa.bindparam("_sequence")
)
BOUGHT = (
    sa.select(orders.c.made_at, orders.c.paid_pulses, meters.c.pulse_weight)
    .join_from(orders, bindings, bindings.c.id == orders.c.binding)
    .join(meters, meters.c.number == bindings.c.meter)
    .where(orders.c.account == _KEY, orders.c.made_at >= sa.bindparam("_since"), orders.c.kind.is_(None))
)
LAST_REPORT = _first(reports, reports.c.meter == _KEY, reports.c.binding.desc(), reports.c.report_number.desc())
REPORTS = (
    sa.select(reports)
    .where(reports.c.meter == _KEY, reports.c.binding == sa.bindparam("_number"))
    .order_by(reports.c.report_number)
)
COMPARISONS = sa.select(comparisons).where(comparisons.c.meter == _KEY).order_by(comparisons.c.id)

# ---------------------------------------------------------------------- prices and settings

PRICE = _first(prices, prices.c.valid_from <= _KEY, prices.c.valid_from.desc(), prices.c.id.desc())
PRICES = sa.select(prices).order_by(prices.c.valid_from, prices.c.id)
SETTING_NAMED = _first(settings, settings.c.name == _KEY)
CHANGE_SETTING = sa.update(settings).where(settings.c.name == _KEY).values(value=sa.bindparam("_value"))
# By what a sale at the minute _key is judged, in one go: every sale asks for it.
RULES = sa.select(
    PRICE.with_only_columns(prices.c.price).scalar_subquery().label("price"),
    *[sa.select(settings.c.value).where(settings.c.name == name).scalar_subquery().label(name) for name in SETTINGS],
    sa.select(shifts.c.number).where(shifts.c.open.is_(True)).scalar_subquery().label("shift"),
    sa.select(sa.func.max(shifts.c.number)).scalar_subquery().label("last_shift"),
)
# What its cells are, in their order, which is that of ``Rules``.
RULES_CELLS = (
    ("prices", "price"),
    *[("settings", "value")] * len(SETTINGS),
    ("shifts", "number"),
    ("shifts", "number"),
)

# ---------------------------------------------------------------------- shifts, blank cards, periods

SHIFT = _first(shifts, shifts.c.number == _KEY)
LAST_SHIFT = _first(shifts, sa.true(), shifts.c.number.desc())
CLOSE_SHIFT = (
    sa.update(shifts)
    .where(shifts.c.number == _KEY)
    .values({name: sa.bindparam(f"_{name}") for name in ("open", "closed_at", "money", "cash", "cards", "reason")})
)
# Shifts close in the order of their numbers, each once: the n-th such row is the n-th shift's.
CLOSING = (
    sa.select(journal.c.hash)
    .where(journal.c.kind == SHIFT_CLOSED)
    .order_by(journal.c.number)
    .limit(1)
    .offset(sa.bindparam("_before", type_=sa.Integer))
)
# Whether an order is the first on its card: the card was issued with it.
_earlier = orders.alias()
_FIRST_ON_CARD = (
    ~sa.exists()
    .where(_earlier.c.account == orders.c.account, _earlier.c.card == orders.c.card, _earlier.c.id < orders.c.id)
    .correlate(orders)
).label("issues_card")
SHIFT_ORDERS = (
    sa.select(
        orders.c.frame,
        orders.c.state,
        orders.c.paid_pulses,
        orders.c.fen,
        orders.c.kind,
        meters.c.pulse_weight,
        _FIRST_ON_CARD,
    )
    .join_from(orders, bindings, bindings.c.id == orders.c.binding)
    .join(meters, meters.c.number == bindings.c.meter)
    .where(orders.c.shift == _KEY)
)
SHIFT_TOOLS = sa.select(tools.c.kind).where(tools.c.shift == _KEY).order_by(tools.c.number)
PAID_OUT = (
    sa.select(grants.c.pulses, grants.c.fen, meters.c.pulse_weight)
    .join_from(grants, bindings, bindings.c.id == grants.c.binding)
    .join(meters, meters.c.number == bindings.c.meter)
    .where(grants.c.shift == _KEY)
)
STOCK = (
    sa.select(stock_moves.c.kind, stock_moves.c.shift, sa.func.sum(stock_moves.c.count).label("count"))
    .group_by(stock_moves.c.kind, stock_moves.c.shift)
    .order_by(stock_moves.c.kind, stock_moves.c.shift)
)
ORDERS_BETWEEN = (
    sa.select(
        *[orders.c[name] for name in ("made_at", "frame", "state", "paid_pulses", "fen", "kind")],
        meters.c.pulse_weight,
        _FIRST_ON_CARD,
    )
    .join_from(orders, bindings, bindings.c.id == orders.c.binding)
    .join(meters, meters.c.number == bindings.c.meter)
    .where(
        orders.c.made_at >= sa.bindparam("_since"),
        orders.c.made_at < sa.bindparam("_until"),
        sa.func.coalesce(orders.c.kind, "") != ADOPTED,
    )
    .order_by(orders.c.id)
)
ADOPTED_BETWEEN = (
    sa.select(adoptions.c.at, adoptions.c.raised_pulses, meters.c.pulse_weight)
    .join_from(adoptions, bindings, bindings.c.id == adoptions.c.binding)
    .join(meters, meters.c.number == bindings.c.meter)
    .where(adoptions.c.at >= sa.bindparam("_since"), adoptions.c.at < sa.bindparam("_until"))
    .order_by(adoptions.c.id)
)
PAID_BETWEEN = (
    sa.select(grants.c.paid_at, grants.c.kind, grants.c.pulses, grants.c.fen, meters.c.pulse_weight)
    .join_from(grants, bindings, bindings.c.id == grants.c.binding)
    .join(meters, meters.c.number == bindings.c.meter)
    .where(grants.c.paid_at >= sa.bindparam("_since"), grants.c.paid_at < sa.bindparam("_until"))
    .order_by(grants.c.id)
)
# Make-ups of drift, whose orders pay for nothing.
_CORRECTED = (
    sa.select(orders.c.made_at, grants.c.pulses, meters.c.pulse_weight)
    .join_from(grants, orders, orders.c.id == grants.c.written)
    .join(bindings, bindings.c.id == grants.c.binding)
    .join(meters, meters.c.number == bindings.c.meter)
    .where(grants.c.kind == DRIFT)
    .order_by(grants.c.id)
)
SHIFT_CORRECTED = _CORRECTED.where(orders.c.shift == _KEY)
CORRECTED_BETWEEN = _CORRECTED.where(
    orders.c.made_at >= sa.bindparam("_since"), orders.c.made_at < sa.bindparam("_until")
)
TOOLS_BETWEEN = (
    sa.select(tools.c.made_at, tools.c.kind)
    .where(tools.c.made_at >= sa.bindparam("_since"), tools.c.made_at < sa.bindparam("_until"))
    .order_by(tools.c.number)
)
STOCK_BETWEEN = (
    sa.select(stock_moves.c.at, stock_moves.c.count)
    .where(
        stock_moves.c.kind == _KEY,
        stock_moves.c.at >= sa.bindparam("_since"),
        stock_moves.c.at < sa.bindparam("_until"),
    )
    .order_by(stock_moves.c.id)
)

# ---------------------------------------------------------------------- grants

GRANT = _first(grants, grants.c.id == _KEY)
GRANT_OF = _first(grants, grants.c.written == _KEY)
GRANTS = sa.select(grants).order_by(grants.c.id)
GRANTS_OF = sa.select(grants).where(grants.c.account == _KEY).order_by(grants.c.id)
APPROVAL = (
    sa.select(journal.c.hash)
    .where(journal.c.kind == GRANT_APPROVED, journal.c.body.like(sa.bindparam("_key")))
    .limit(1)
)
LAPSE_GRANT = sa.update(grants).where(grants.c.id == _KEY).values(cancelled_at=sa.bindparam("_at"))

# ---------------------------------------------------------------------- a restored ledger

LAST_RESTORE = _first(restores, sa.true(), restores.c.id.desc())
OPEN_RECOVERIES = sa.select(recoveries).where(recoveries.c.ended_at.is_(None)).order_by(recoveries.c.id)
RECOVERY = _first(recoveries, (recoveries.c.binding == _KEY) & recoveries.c.ended_at.is_(None), recoveries.c.id)
END_RECOVERY = sa.update(recoveries).where(recoveries.c.id == _KEY).values(ended_at=sa.bindparam("_at"))
FIRST_SINCE = sa.select(sa.func.min(orders.c.sequence)).where(
    orders.c.binding == _KEY,
    orders.c.sequence >= sa.bindparam("_floor"),
    sa.func.coalesce(orders.c.kind, "") != ADOPTED,
)
PAID_SINCE = sa.select(orders.c.paid_pulses).where(
    orders.c.binding == _KEY,
    orders.c.sequence >= sa.bindparam("_floor"),
    sa.func.coalesce(orders.c.kind, "") != PROBE,
    sa.func.coalesce(orders.c.kind, "") != ADOPTED,
)
RAISE_ORDER = (
    sa.update(orders)
    .where(orders.c.id == _KEY)
    .values({name: sa.bindparam(f"_{name}") for name in ("released_pulses", "adopted_pulses", "frame_pulses")})
)
ADOPTIONS = sa.select(adoptions).where(adoptions.c.binding == _KEY).order_by(adoptions.c.id)

# ---------------------------------------------------------------------- tests of meters

SUSPENSIONS = sa.select(suspensions).where(suspensions.c.binding == _KEY).order_by(suspensions.c.id)
END_SUSPENSION = (
    sa.update(suspensions)
    .where(suspensions.c.id == _KEY)
    .values(ended_at=sa.bindparam("_ended_at"), end_reading=sa.bindparam("_end_reading"))
)

# ---------------------------------------------------------------------- the company's own cards

TOOL = _first(tools, tools.c.number == _KEY)
TOOLS = sa.select(tools).order_by(tools.c.number)
TOOLS_OF_METER = sa.select(tools).where(tools.c.meter == _KEY).order_by(tools.c.number)
ENDING = _first(tools, (tools.c.binding == _KEY) & _ENDS & tools.c.ended.is_(None), tools.c.number.desc())
MARK_TOOL = sa.update(tools).where(tools.c.number == _KEY, tools.c.issued.is_(False))

# ---------------------------------------------------------------------- bindings that end

FINAL = _first(finals, (finals.c.meter == _KEY) & (finals.c.binding == sa.bindparam("_number")))
TRANSFER_OF = _first(transfers, (transfers.c.account == _KEY) & transfers.c.ended_at.is_(None))
TRANSFERS = sa.select(transfers).where(transfers.c.account == _KEY).order_by(transfers.c.id)
TRANSFERS_FROM = sa.select(transfers).where(transfers.c.old == _KEY).order_by(transfers.c.id)
TRANSFERS_INTO = sa.select(transfers).where(transfers.c.new == _KEY).order_by(transfers.c.id)
TRANSFER_TO = (
    sa.select(transfers)
    .join_from(transfers, bindings, bindings.c.id == transfers.c.new)
    .where(bindings.c.meter == _KEY, transfers.c.ended_at.is_(None))
)
# Of a dead meter the binding it died in, while nothing shows that it was cleared.
DEAD_BINDING = (
    sa.select(bindings)
    .join_from(bindings, transfers, bindings.c.id == transfers.c.old)
    .outerjoin(finals, (finals.c.meter == bindings.c.meter) & (finals.c.binding == bindings.c.number))
    .where(bindings.c.meter == _KEY, transfers.c.closing.is_not(None), finals.c.meter.is_(None))
)

# ---------------------------------------------------------------------- prepared


class Prepared(NamedTuple):
    """A statement as the driver takes it: its text, the order of its parameters (None: by name), what they are else."""

    text: str
    names: tuple[str, ...] | None
    given: dict[str, Any]


# The statements above, by driver and identity: what SQLAlchemy does anew for each costs five times its running.
_prepared: dict[tuple[str, str], dict[int, Prepared]] = {}


def prepared_for(dialect: sa.Dialect) -> dict[int, Prepared]:
    """What of this module was prepared for a driver already, by the statements' identities, and is to be added to."""
    return _prepared.setdefault((dialect.name, dialect.driver), {})


def prepare(statement: Any, dialect: sa.Dialect) -> Prepared:
    """A statement as the driver of ``dialect`` takes it."""
    compiled: Any = statement.compile(dialect=dialect)
    names = tuple(compiled.positiontup) if compiled.positional else None
    return Prepared(str(compiled), names, dict(compiled.params))
