"""What each cell of the ledger may hold, and the refusal of a row in which one holds anything else."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from gascard.records import BINDING_MAX, REPORT_NUMBER_MAX, S24_MAX, SEQUENCE_MAX, TIME_MAX, TOTAL_MAX
from gashall import errors
from gashall.errors import LedgerError
from gashall.schema import Blob, metadata
from gashall.terms import ACCOUNT_MAX, CARD_MAX, SERVICE_MAX, STOCK_MOST
from gashall.units import PRICE_MOST

# What a number may be where its type alone does not say it; a cell beyond is nonsense, and is called so.
_SPANS: dict[tuple[str, str], tuple[int, int]] = {
    ("accounts", "opened_at"): (0, TIME_MAX),
    ("meters", "pulse_weight"): (0, 2),
    ("meters", "wheel_pulses"): (1, TOTAL_MAX + 1),
    ("meters", "key_version"): (1, 0xFF),
    ("meters", "highest_binding"): (0, BINDING_MAX),
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
    ("cards", "ended"): (0, TIME_MAX),
    ("orders", "card"): (1, CARD_MAX),
    ("orders", "sequence"): (1, SEQUENCE_MAX),
    ("orders", "released_pulses"): (0, TOTAL_MAX),
    ("orders", "made_at"): (0, TIME_MAX),
    ("orders", "price"): (1, PRICE_MOST),
    ("orders", "shift"): (1, 0x7FFFFFFF),
    ("orders", "correction"): (-S24_MAX, S24_MAX),
    ("orders", "adopted_pulses"): (0, TOTAL_MAX),
    ("orders", "frame_pulses"): (0, TOTAL_MAX),
    ("reports", "card"): (1, CARD_MAX),
    ("reports", "seen_at"): (0, TIME_MAX),
    ("prices", "valid_from"): (0, TIME_MAX),
    ("prices", "price"): (1, PRICE_MOST),
    ("prices", "set_at"): (0, TIME_MAX),
    ("shifts", "number"): (1, 0x7FFFFFFF),
    ("shifts", "opened_at"): (0, TIME_MAX),
    ("shifts", "closed_at"): (0, TIME_MAX),
    ("shifts", "cards"): (0, STOCK_MOST),
    ("stock_moves", "at"): (0, TIME_MAX),
    ("stock_moves", "count"): (-STOCK_MOST, STOCK_MOST),
    ("stock_moves", "shift"): (1, 0x7FFFFFFF),
    ("stock_moves", "card"): (1, CARD_MAX),
    ("grants", "pulses"): (-S24_MAX, TOTAL_MAX),
    ("grants", "requested_at"): (0, TIME_MAX),
    ("grants", "approved_at"): (0, TIME_MAX),
    ("grants", "paid_at"): (0, TIME_MAX),
    ("grants", "shift"): (1, 0x7FFFFFFF),
    ("grants", "cancelled_at"): (0, TIME_MAX),
    ("grants", "last_sequence"): (1, SEQUENCE_MAX),
    ("account_changes", "at"): (0, TIME_MAX),
    ("comparisons", "binding"): (1, BINDING_MAX),
    ("comparisons", "report_number"): (0, REPORT_NUMBER_MAX),
    ("comparisons", "reading"): (0, TOTAL_MAX),
    ("comparisons", "power_failures"): (0, 0xFF),
    ("comparisons", "at"): (0, TIME_MAX),
    ("restores", "at"): (0, TIME_MAX),
    ("restores", "cards_above"): (0, CARD_MAX),
    ("restores", "accounts_above"): (0, ACCOUNT_MAX),
    ("restores", "services_above"): (0, SERVICE_MAX),
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
    ("tools", "number"): (1, CARD_MAX),
    ("tools", "service_number"): (1, SERVICE_MAX),
    ("tools", "made_at"): (0, TIME_MAX),
    ("tools", "expires"): (0, TIME_MAX),
    ("tools", "pulses"): (0, TOTAL_MAX),
    ("tools", "psc_bytes"): (0, 3),
    ("tools", "seen_at"): (0, TIME_MAX),
    ("tools", "ended"): (0, TIME_MAX),
    ("tools", "shift"): (1, 0x7FFFFFFF),
    ("transfers", "most"): (0, TOTAL_MAX),
    ("transfers", "closing"): (0, TOTAL_MAX),
    ("transfers", "at"): (0, TIME_MAX),
    ("transfers", "moved_at"): (0, TIME_MAX),
    ("transfers", "moved_pulses"): (0, TOTAL_MAX),
    ("transfers", "owed_pulses"): (0, TOTAL_MAX),
    ("transfers", "correction"): (-S24_MAX, S24_MAX),
    ("transfers", "ended_at"): (0, TIME_MAX),
    ("finals", "binding"): (1, BINDING_MAX),
    ("finals", "card"): (1, CARD_MAX),
    ("finals", "seen_at"): (0, TIME_MAX),
    ("journal", "number"): (1, 0x7FFFFFFF),
    ("journal", "at"): (0, TIME_MAX),
}

# Column -> its Python type, and whether it may be empty.
CELL_TYPES: dict[str, dict[str, tuple[Any, bool]]] = {
    table.name: {
        column.name: (bytes if isinstance(column.type, Blob) else column.type.python_type, bool(column.nullable))
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
    for table, columns in CELL_TYPES.items()
}


def checked_row(row: Mapping[str, Any] | sa.RowMapping, table: sa.Table, *, joined: bool = False) -> dict[str, Any]:
    """A row's cells, each what its column may hold; LedgerError LEDGER naming the one that is not."""
    cells = {}
    for name, label, kind, nullable, least, most in _CELLS[table.name]:
        value = row[label if joined else name]
        # What is as it should be needs no look at what else it may be: a sale reads a hundred cells.
        if type(value) is kind:
            if least is not None and not least <= value <= most:
                value = checked_cell(table.name, name, value)
        elif value is not None or not nullable:
            value = checked_cell(table.name, name, value)
        cells[name] = value
    return cells


def checked_cell(table: str, column: str, value: Any) -> Any:
    """``value``, which ``table.column`` may hold; LedgerError LEDGER naming the cell if it may not."""
    kind, nullable = CELL_TYPES[table][column]
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
