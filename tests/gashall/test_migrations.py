"""A ledger of version 1, frozen as its program left it, becomes one of today's and is sold on."""

import json
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from paper import NEIGHBOUR, REGION, Desk
from tests.conftest import require_part

from gashall import errors
from gashall.errors import LedgerError

require_part("alembic")
import sqlalchemy as sa  # noqa: E402

from gashall import migrations  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.schema import BOOKED, SCHEMA_VERSION, TRIGGERS, metadata  # noqa: E402

# A ledger of version 1 has these tables, and without the columns that came later.
FIRST = ("about", "accounts", "bindings", "cards", "meters", "orders", "reports")
LATER = (
    *("account_changes", "adoptions", "comparisons", "finals", "grants", "prices", "recoveries", "restores"),
    *("settings", "shifts", "stock_moves", "suspensions", "tools", "transfers"),
)
NEW_COLUMNS = {
    "accounts": ("state",),
    "cards": ("reason", "ended"),
    "orders": ("price", "shift", "kind", "correction", "adopted_pulses", "frame_pulses"),
}
DATA = Path(__file__).parent / "data"
NOON = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def old(tmp_path, signer):
    """A desk of version 1: the first customer's third order is on her card, the second's opening died half way."""
    folder = tmp_path / "old"
    folder.mkdir()
    desk = Desk(folder, signer)
    with sqlite3.connect(folder / "ledger.db") as raw:
        raw.executescript((DATA / "ledger-1.sql").read_text(encoding="utf-8"))
    raw.close()
    for name, data in json.loads((DATA / "ledger-1.cards.json").read_text()).items():
        (folder / name).write_bytes(bytes.fromhex(data))
    meter = desk.meter
    meter.sequence, meter.bought, meter.report_number = 2, 5000, 2
    yield desk
    desk.close()


def rows(path, tables=FIRST):
    with sqlite3.connect(path) as raw:
        found = {table: sorted(raw.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in tables}
    raw.close()
    return found


def schema(path):
    """Every table, index and trigger, its text without the way it is broken into lines."""
    with sqlite3.connect(path) as raw:
        found = raw.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    raw.close()
    return {row[:3]: None if row[3] is None else " ".join(row[3].split()) for row in found}


def test_old_ledger_is_refused_with_the_way_out(old):
    path = old.folder / "ledger.db"
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(LedgerError, match="of version 1, not 2") as refusal:
            Ledger(path, REGION, create=create)
        assert refusal.value.code == errors.LEDGER_VERSION
        assert "icgas hall upgrade" in refusal.value.remedy
    assert rows(path) | {"bytes": len(before)} == rows(path) | {"bytes": path.stat().st_size}


def test_upgrade_keeps_every_row_and_a_copy(old):
    path = old.folder / "ledger.db"
    before = rows(path)
    done = Ledger.upgrade(path, lambda: NOON)
    assert (done.before, done.after, done.copy) == (1, SCHEMA_VERSION, f"{path}.version-1")
    assert rows(done.copy) == before
    assert os.stat(done.copy).st_mode & 0o777 == 0o600
    after = rows(path)
    assert after.pop("about") == [(1, SCHEMA_VERSION, *before.pop("about")[0][2:])]
    for table, new in NEW_COLUMNS.items():
        before[table] = [row + (None,) * len(new) for row in before[table]]
    assert after == before
    assert not any(map(len, rows(path, LATER).values()))
    hall = old.hall()
    found = hall.audit()
    assert found.clean
    assert found.entries == 1 + sum(map(len, before.values()))


def test_upgraded_ledger_is_sold_on(old):
    Ledger.upgrade(old.folder / "ledger.db", lambda: NOON)
    hall = old.hall()
    old.meter.insert(old.card_path)
    assert hall.read_back(old.card).on_card == 0
    assert hall.sell(old.card, 10).bought_total == 7500
    neighbour = hall.open_account(old.blank("another.bin"), meter=NEIGHBOUR, volume=10, name="王芳")
    assert neighbour.resumed
    assert hall.audit().clean
    assert hall.history("0000000002").account.name == "王芳"


def test_opening_begun_before_the_upgrade_is_finished_on_its_card(old):
    Ledger.upgrade(old.folder / "ledger.db")
    reader = old.card
    reader.path = str(old.folder / "neighbour.bin")
    sale = old.hall().open_account(reader, meter=NEIGHBOUR, volume=10, name="王芳")
    assert (sale.resumed, sale.card, sale.account) == (True, 2, "0000000002")


def test_reports_are_taken_over_under_their_account(old):
    path = old.folder / "ledger.db"
    Ledger.upgrade(path, lambda: NOON)
    told = [(row[2], row[3]) for row in rows(path, ["journal"])["journal"]]
    assert told[0] == ("ledger upgraded", "")
    assert {kind for kind, _ in told[1:]} == {"taken over"}
    reports = [row for row in rows(path, ["journal"])["journal"] if '"reports"' in row[4]]
    assert [row[3] for row in reports] == ["0000000001"] * 2


def test_upgrade_of_todays_ledger_does_nothing(old):
    path = old.folder / "ledger.db"
    Ledger.upgrade(path)
    before = rows(path, metadata.tables)
    done = Ledger.upgrade(path)
    assert (done.before, done.after, done.copy) == (SCHEMA_VERSION, SCHEMA_VERSION, None)
    assert rows(path, metadata.tables) == before
    assert [file.name for file in sorted(old.folder.glob("ledger.db*"))] == ["ledger.db", "ledger.db.version-1"]


def test_copy_overwrites_no_earlier_one(old):
    path = old.folder / "ledger.db"
    (old.folder / "ledger.db.version-1").write_text("an earlier copy")
    assert Ledger.upgrade(path).copy == f"{path}.version-1.2"
    assert (old.folder / "ledger.db.version-1").read_text() == "an earlier copy"


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (table, column.name, 1.5 if not isinstance(column.type, sa.String) else b"\xff")
        for table in FIRST
        for column in metadata.tables[table].columns
        if column.name not in ("id", "version", "region", *NEW_COLUMNS.get(table, ()))
    ],
)
def test_old_ledger_that_is_damaged_is_left_as_it_is(old, table, column, value):
    path = old.folder / "ledger.db"
    with sqlite3.connect(path, isolation_level=None) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        key = "rowid = (SELECT min(rowid) FROM " + table + ")"
        raw.execute(f"UPDATE {table} SET {column} = ? WHERE {key}", (value,))
    raw.close()
    before = rows(path)
    with pytest.raises(LedgerError, match=rf"damaged: {table}\.{column} holds"):
        Ledger.upgrade(path)
    assert rows(path) == before
    assert "journal" not in {name for _, name, _ in schema(path)}
    assert not list(old.folder.glob("*.version-*"))


def test_every_table_is_of_one_version_or_the_other():
    assert sorted(FIRST + LATER) == sorted(BOOKED)


def test_upgrade_that_dies_leaves_the_old_ledger(old, monkeypatch):
    path = old.folder / "ledger.db"
    before, tables = rows(path), schema(path)
    from gashall import journal

    calls = iter(range(100))

    def dying(*row):
        if next(calls) == 7:
            raise KeyboardInterrupt
        return bytes(32)

    monkeypatch.setattr(journal, "row_hash", dying)
    with pytest.raises(KeyboardInterrupt):
        Ledger.upgrade(path)
    assert (rows(path), schema(path)) == (before, tables)
    monkeypatch.undo()
    assert Ledger.upgrade(path).before == 1


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1])
def test_ledger_of_a_version_not_known_is_refused(tmp_path, version):
    path = tmp_path / "ledger.db"
    Ledger(path, REGION).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE about SET version = ?", (version,))
    raw.close()
    for attempt in (lambda: Ledger(path, REGION), lambda: Ledger.upgrade(path)):
        with pytest.raises(LedgerError, match=f"version {version}; this program knows 1 to 2") as refusal:
            attempt()
        assert refusal.value.code == errors.LEDGER_VERSION


def test_ledger_that_is_not_there_is_not_upgraded(tmp_path):
    (tmp_path / "empty").touch()
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE something (id)").connection.close()
    for name in ("none", "empty", "other"):
        with pytest.raises(LedgerError, match="no ledger") as refusal:
            Ledger.upgrade(tmp_path / name)
        assert refusal.value.code == errors.LEDGER_MISSING


def test_ledger_made_new_is_the_ledger_the_migrations_make(tmp_path, old):
    """Three ways to today's tables: made at once, migrated from nothing, upgraded from version 1."""
    Ledger(tmp_path / "new.db", REGION).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/migrated.db")
    with engine.begin() as connection:
        migrations.migrate(connection, 0, 0)
    engine.dispose()
    path = old.folder / "ledger.db"
    Ledger.upgrade(path)
    made = schema(tmp_path / "new.db")
    assert schema(tmp_path / "migrated.db") == made
    assert schema(path) == made
    assert {name for kind, name, _ in made if kind == "trigger"} == set(TRIGGERS["sqlite"])
    for file in (tmp_path / "new.db", tmp_path / "migrated.db", path):
        assert rows(file, ["alembic_version"]) == {"alembic_version": [(migrations.revision(SCHEMA_VERSION),)]}


def test_tables_of_version_1_are_those_of_the_frozen_ledger(tmp_path, old):
    from alembic import command
    from alembic.config import Config

    engine = sa.create_engine(f"sqlite:///{tmp_path}/first.db")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes.update(connection=connection, at=0)
        command.upgrade(config, migrations.revision(1))
    engine.dispose()
    first = {key: text for key, text in schema(tmp_path / "first.db").items() if key[2] != "alembic_version"}
    assert first == schema(old.folder / "ledger.db")


def test_path_with_a_percent_sign_is_no_hindrance(old, tmp_path):
    folder = tmp_path / "100%s done"
    old.folder.rename(folder)
    assert Ledger.upgrade(folder / "ledger.db").before == 1
