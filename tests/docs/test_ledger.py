"""docs/ledger.md: every table, column and kind is in it, and its example is right."""

import json
import re
from pathlib import Path

import pytest
from tests.conftest import require_part

require_part("sqlalchemy")
from gashall import journal  # noqa: E402
from gashall.schema import BOOKED, SCHEMA_VERSION, metadata  # noqa: E402
from gashall.terms import SETTINGS  # noqa: E402

TEXT = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")
KINDS = [value for name, value in vars(journal).items() if name.isupper() and isinstance(value, str)]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("table", BOOKED)
def test_every_column_of_a_table_is_in_its_row_and_no_other(table):
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{table}` |")]
    _, key, others = cells(line)
    columns = metadata.tables[table].columns
    for column in columns:
        assert f"`{column.name}`" in (key if column.primary_key else others), column.name
    # What else stands there in code: an order's states, and the id that its binding means.
    named = set(re.findall(r"`([a-z_]+)`", line)) - {table}
    assert named - set(columns.keys()) <= {"id", "pending", "written", "done", *SETTINGS}


def test_every_column_of_the_journal_has_its_row():
    rows = re.findall(r"^\| `([a-z]+)` \| ", TEXT.split("## The journal")[1], re.MULTILINE)
    assert rows[:6] == [column.name for column in metadata.tables["journal"].columns]


def test_every_kind_has_its_row():
    rows = re.findall(
        r"^\| `([a-z ]+)` \| ", TEXT.split("| kind | what changed |")[1].split("**Body.**")[0], re.MULTILINE
    )
    assert rows == KINDS
    assert len(KINDS) == 43


def test_version_is_todays():
    assert f"This is schema version {SCHEMA_VERSION}." in TEXT


def test_example_is_right():
    example = TEXT.split("An example:")[1].split("\n## ")[0]
    rows = [cells(line) for line in example.splitlines() if re.match(r"\| \d", line)]
    hashes = re.findall(r"^\d  ([0-9a-f]{64})$", example, re.MULTILINE)
    previous = journal.FIRST
    for (number, at, *words), told in zip(rows, hashes, strict=True):
        kind, account, body = (word.strip("`") for word in words)
        previous = journal.row_hash(previous, int(number), int(at), kind, account, body)
        assert previous.hex() == told
    assert len(rows) == 2
    changes = {"accounts": [{"number": "0000000001", "name": "王芳", "opened_at": 13_761_361, "state": None}]}
    assert journal.body(changes) == rows[1][4].strip("`")


def test_hash_is_over_the_bytes_the_table_names():
    from hashlib import sha256

    def field(text):
        return len(text.encode()).to_bytes(4, "big") + text.encode()

    data = b"icgas/1 journal\0" + bytes(range(32)) + (7).to_bytes(8, "big") + (9).to_bytes(8, "big")
    data += field("bound") + field("0000000001") + field("{}")
    assert journal.row_hash(bytes(range(32)), 7, 9, "bound", "0000000001", "{}") == sha256(data).digest()


def test_body_is_the_json_it_is_said_to_be():
    rows = [{"id": 2, "name": '王"芳', "frame": b"\x00\xff", "open": True, "shift": None}, {"id": -3}]
    changes = {"orders": rows, "accounts": [], "bindings": [{}]}
    plain = {
        table: [{name: journal.plain(cell) for name, cell in row.items()} for row in changes[table]]
        for table in changes
    }
    assert journal.body(changes) == json.dumps(plain, sort_keys=True, separators=(",", ":"))
    assert journal.body({}) == "{}"


@pytest.mark.parametrize("value", [1.5, object(), [], {}])
def test_no_other_value_goes_into_a_body(value):
    with pytest.raises(TypeError, match="no ledger holds"):
        journal.body({"orders": [{"id": value}]})
