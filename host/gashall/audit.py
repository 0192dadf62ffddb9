"""Whether the ledger is what its journal says: the chain of hashes, and every cell of every table.

The journal is replayed in memory into the rows that must be there, and both are compared both ways. What is found is
told by table, key and column. No key is used: whoever can write the whole file can write a whole journal too, so the
last hash, kept elsewhere (on paper will do), is what shows that nothing was cut off or made anew (docs/ledger.md).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa

from gashall import errors, journal, migrations
from gashall.errors import RequestError
from gashall.ledger import Ledger
from gashall.schema import BOOKED, SCHEMA_VERSION, metadata

Row: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong and where: ``column`` is empty where it is a whole row, ``key`` where it is a whole table."""

    table: str
    key: str
    column: str
    message: str

    def __str__(self) -> str:
        place = self.table + (f" {self.key}" if self.key else "") + (f", {self.column}" if self.column else "")
        return f"{place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit saw. ``head`` is the journal's last hash in hex, to be kept for the next audit."""

    entries: int
    """Rows of the journal, each checked."""
    rows: int
    """Rows of the other tables, each compared."""
    head: str
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


class _Column(NamedTuple):
    kind: type  # int, str or bytes
    nullable: bool


def _kind(column: sa.Column[Any]) -> _Column:
    if isinstance(column.type, sa.LargeBinary):
        return _Column(bytes, bool(column.nullable))
    # The databases differ in what they call true; the journal says 1.
    kind = column.type.python_type
    return _Column(int if kind is bool else kind, bool(column.nullable))


_TABLES = {name: metadata.tables[name] for name in BOOKED}
_COLUMNS = {name: {column.name: _kind(column) for column in table.columns} for name, table in _TABLES.items()}
_KEYS = {name: tuple(column.name for column in table.primary_key) for name, table in _TABLES.items()}
_ENTRY = {"number": int, "at": int, "kind": str, "account": str, "body": str, "hash": bytes}


def audit(ledger: Ledger, head: str | None = None) -> Audit:
    """Check every row of ``ledger``; ``head``, the last hash an earlier audit gave, must still be in the journal.

    Other windows may go on selling: what is checked is one moment's ledger. RequestError FIELD if ``head`` is no hash;
    LedgerError LEDGER if the ledger cannot be read at all.
    """
    wanted = None if head is None else _hash(head)
    found: list[Finding] = [
        Finding(table, "", "", f"the database's own guard, {name}, is missing or was changed")
        for table, name in ledger.guards_missing()
    ]
    found += [Finding("file", "", "", f"SQLite's integrity check says: {text}") for text in ledger.damage()]
    with ledger.raw_rows() as read:
        entries = [_plain(row) for row in read("journal")]
        tables = {name: [_plain(row) for row in read(name)] for name in BOOKED}
        versions = [_plain(row) for row in read("alembic_version")]
    hashes = _chain(entries, found)
    if wanted is not None and wanted not in hashes:
        text = f"no row has the hash {wanted.hex()}: rows were cut off or made anew, or it is another ledger's"
        found.append(Finding("journal", "", "hash", text))
    expected = _replay(entries, found)
    for name in BOOKED:
        _compare(name, expected[name], tables[name], found)
    _check_version(expected["about"], versions, found)
    last = entries[-1]["hash"] if entries else b""
    return Audit(
        entries=len(entries),
        rows=sum(map(len, tables.values())) + len(versions),
        head=last.hex() if isinstance(last, bytes) else "",
        findings=tuple(found),
    )


def _hash(text: str) -> bytes:
    try:
        wanted = bytes.fromhex(text)
    except (TypeError, ValueError):
        wanted = b""
    if len(wanted) != journal.HASH_SIZE:
        raise RequestError(
            errors.FIELD,
            "The head is no hash of a journal: it has 64 hexadecimal digits.",
            "Copy it again from the earlier audit.",
        )
    return wanted


def _plain(row: Row) -> Row:
    """Cells of one kind whatever the driver: bytes for bytes, whole numbers for true and false."""
    return {
        name: bytes(value) if isinstance(value, memoryview) else int(value) if isinstance(value, bool) else value
        for name, value in row.items()
    }


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value.hex() if isinstance(value, bytes) else ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


# ---------------------------------------------------------------------- the chain


def _chain(entries: Sequence[Row], found: list[Finding]) -> set[bytes]:
    """Check numbers, types and hashes; each row against the one before as that stands. The hashes that are right."""
    right: set[bytes] = set()
    previous: Any = journal.FIRST
    for place, row in enumerate(entries, start=1):
        key = f"number={row['number']!r}"
        wrong = [name for name, kind in _ENTRY.items() if type(row[name]) is not kind]
        wrong += [name for name in ("number", "at") if name not in wrong and not 0 <= row[name] < 1 << 63]
        for name in wrong:
            found.append(Finding("journal", key, name, f"{_shown(row[name])} is no value of this column"))
        if not wrong and row["number"] != place:
            found.append(Finding("journal", key, "number", f"row {place} is missing, or rows stand in another order"))
        if not wrong and isinstance(previous, bytes) and _computed(previous, row) == row["hash"]:
            right.add(row["hash"])
        elif not wrong:
            found.append(Finding("journal", key, "hash", "it does not follow from this row and the one before"))
        previous = row["hash"]
    return right


def _computed(previous: bytes, row: Row) -> bytes | None:
    try:
        return journal.row_hash(previous, row["number"], row["at"], row["kind"], row["account"], row["body"])
    except UnicodeEncodeError:  # bytes that are no UTF-8 stand in a text
        return None


# ---------------------------------------------------------------------- what must be there


def _replay(entries: Sequence[Row], found: list[Finding]) -> dict[str, dict[Key, Row]]:
    """The rows of every table as the journal's bodies make them."""
    tables: dict[str, dict[Key, Row]] = {name: {} for name in BOOKED}
    for row in entries:
        try:
            for name, changes in _body(row["body"]):
                _apply(name, tables[name], changes)
        except ValueError as error:
            found.append(Finding("journal", f"number={row['number']!r}", "body", str(error)))
    return tables


def _body(text: Any) -> list[tuple[str, Row]]:
    """Table and changed columns of each row a body tells of. ValueError."""
    try:
        content = json.loads(text)
        if not content.keys() <= _COLUMNS.keys():
            raise KeyError
        return [(name, _decoded(name, row)) for name, rows in content.items() for row in rows]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no body of a journal row ({type(error).__name__})") from None


def _decoded(name: str, row: Row) -> Row:
    return {column: _value(_COLUMNS[name][column], value) for column, value in row.items()}


def _value(column: _Column, value: Any) -> Any:
    if value is None and column.nullable:
        return None
    if column.kind is int:
        if type(value) is not int:
            raise ValueError
        return value
    data = bytes.fromhex(value)
    return data if column.kind is bytes else data.decode()


def _apply(name: str, rows: dict[Key, Row], changes: Row) -> None:
    """A new row with all its columns, or new values of a known one. ValueError."""
    columns, keys = _COLUMNS[name], _KEYS[name]
    if not set(keys) <= set(changes):
        raise ValueError(f"it names no row of {name}")
    key = tuple(changes[column] for column in keys)
    if key in rows:
        rows[key].update(changes)
    elif set(columns) == set(changes):
        rows[key] = dict(changes)
    else:
        raise ValueError(f"it changes a row of {name} that was never made: {_key(name, changes)}")


# ---------------------------------------------------------------------- what is there


def _key(name: str, row: Row) -> str:
    return " ".join(
        f"{column}={row[column] if type(row[column]) is int else ascii(row[column])}" for column in _KEYS[name]
    )


def _compare(name: str, expected: dict[Key, Row], rows: Sequence[Row], found: list[Finding]) -> None:
    seen: set[Key] = set()
    for row in rows:
        key = tuple(row[column] for column in _KEYS[name])
        right = expected.get(key)
        if right is None or key in seen:
            found.append(Finding(name, _key(name, row), "", "the journal knows no such row"))
            continue
        seen.add(key)
        for column, value in row.items():
            if type(value) is not type(right[column]) or value != right[column]:
                text = f"{_shown(value)} stands here; the journal says {_shown(right[column])}"
                found.append(Finding(name, _key(name, row), column, text))
    for key, right in expected.items():
        if key not in seen:
            found.append(Finding(name, _key(name, right), "", "the row is missing"))


def _check_version(about: dict[Key, Row], versions: Sequence[Row], found: list[Finding]) -> None:
    # No journal row tells of Alembic's table: it follows from the version that one does tell of.
    version = about.get((1,), {}).get("version")
    if version != SCHEMA_VERSION:
        found.append(Finding("about", "id=1", "version", f"the journal says {_shown(version)}, not {SCHEMA_VERSION}"))
    wanted = migrations.revision(SCHEMA_VERSION)
    if [row["version_num"] for row in versions] != [wanted]:
        told = ", ".join(_shown(row["version_num"]) for row in versions) or "nothing"
        found.append(Finding("alembic_version", "", "version_num", f"{told} stands here instead of {wanted!r}"))
