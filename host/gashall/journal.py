"""The ledger's journal as bytes: how a row's body is written, and how each row's hash holds all rows before it.

No database here: whoever has the rows can check them with this module, or with thirty lines of his own after
docs/ledger.md, which gives the form exactly.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

DOMAIN = b"icgas/1 journal\x00"
HASH_SIZE = 32
FIRST = bytes(HASH_SIZE)
"""What stands for the hash before row 1."""

# What a row may say was done, in the order in which an account meets them.
LEDGER_MADE = "ledger made"
LEDGER_UPGRADED = "ledger upgraded"
TAKEN_OVER = "taken over"
ROOT_KNOWN = "root known"
ACCOUNT_OPENED = "account opened"
METER_ADDED = "meter added"
BOUND = "bound"
CARD_ADDED = "card added"
PASSWORD_ANNOUNCED = "password announced"
CARD_ISSUED = "card issued"
ORDER_MADE = "order made"
ORDER_WRITTEN = "order written"
ORDER_DONE = "order done"
REPORT_KEPT = "report kept"
PRICE_SET = "price set"
SETTINGS_SET = "settings set"
SHIFT_OPENED = "shift opened"
SHIFT_CLOSED = "shift closed"
STOCK_MOVED = "stock moved"
ORDER_HELD = "order held"
CARD_ENDED = "card taken back"
GRANT_REQUESTED = "grant requested"
GRANT_APPROVED = "grant approved"
GRANT_WRITTEN = "grant written"
GRANT_CANCELLED = "grant cancelled"
REFUND_PAID = "refund paid"
ACCOUNT_CHANGED = "account changed"
INDEX_COMPARED = "index compared"
LEDGER_RESTORED = "ledger restored"
ADOPTED = "adopted"
SUSPENDED = "suspended"
SUSPENSION_ENDED = "suspension ended"
SUSPENSION_CANCELLED = "suspension cancelled"
SUSPENSION_CORRECTED = "suspension corrected"
TOOL_MADE = "tool made"
TOOL_READ = "tool read"
TOOL_ENDED = "tool taken back"
BINDING_ENDED = "binding ended"
KEYS_KNOWN = "keys known"
EXCHANGE_BEGUN = "exchange begun"
EXCHANGE_READ = "exchange read"
EXCHANGE_CHANGED = "exchange changed"
BINDING_BEGUN = "binding begun"

Cell: TypeAlias = int | str | None
Changes: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]
"""Table -> its rows that changed, each its key's columns and every column with a new value."""


def plain(value: Any) -> Cell:
    """A column's value as the body holds it: whole numbers as they are (False 0, True 1), text and bytes in hex.

    Text is the hex of its UTF-8, so that a body is ASCII whatever a customer is called. TypeError for anything else.
    """
    kind = type(value)
    if value is None or kind is int:
        number: int | None = value
        return number
    if kind is str:
        return str(value.encode().hex())
    if kind is bool:
        return int(value)
    if kind is bytes or kind is memoryview:
        return str(value.hex())
    raise TypeError(f"no ledger holds a {kind.__name__}")


def body(changes: Changes) -> str:
    """The canonical text of ``changes``: JSON without blanks, names in rising order, whole numbers and hex only."""
    # Written out by hand, as json does it at three times the time: names are the tables' and columns', plain ASCII.
    return "{" + ",".join([f'"{name}":[{",".join(map(_row, changes[name]))}]' for name in sorted(changes)]) + "}"


def _row(row: Mapping[str, Any]) -> str:
    cells = [(name, plain(row[name])) for name in sorted(row)]
    return (
        "{"
        + ",".join(
            [
                f'"{name}":null' if cell is None else f'"{name}":{cell}' if type(cell) is int else f'"{name}":"{cell}"'
                for name, cell in cells
            ]
        )
        + "}"
    )


def row_hash(previous: bytes, number: int, at: int, kind: str, account: str, text: str) -> bytes:
    """The 32-byte hash of a row: SHA-256 over the domain, the previous row's hash and every column of this one.

    ``number`` counts from 1, ``at`` is minutes since 2000-01-01 UTC, ``account`` 10 digits or nothing, ``text`` the
    body. Each text goes in after its length, so that no two rows hash the same bytes.
    """
    parts = [DOMAIN, previous, number.to_bytes(8, "big"), at.to_bytes(8, "big")]
    for word in (kind, account, text):
        data = word.encode()
        parts += [len(data).to_bytes(4, "big"), data]
    return hashlib.sha256(b"".join(parts)).digest()
