"""Every change of a ledger that no service made is found: every cell, every row, every place of the journal."""

import itertools
import sqlite3
from contextlib import suppress

import pytest
from paper import METER, NEIGHBOUR, REGION, ROOT, Desk
from test_tool_cards import Stand
from tests.conftest import require_part

from gashall import errors
from gashall.errors import RequestError

require_part("sqlalchemy")
from gashall import journal  # noqa: E402
from gashall.audit import audit  # noqa: E402
from gashall.exchange import NewMeter  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.readers import FileReader  # noqa: E402
from gashall.schema import metadata  # noqa: E402
from gashall.signer import KeyFileSigner  # noqa: E402

TABLES = sorted(metadata.tables)
OTHER = "32060012345670"
# What a cell may be changed to; values that the cell holds already are left out.
OTHERS = (None, 0, 1, 2, 1.5, "", "x", "0000000002", "done", b"", b"x")


class Books:
    """A ledger in memory whose tables have lost every constraint, as an editor of the file can take them away."""

    def __init__(self, ledger, whole=None):
        """``whole`` puts a ledger as it was serialized in the place of this one."""
        self.ledger = ledger
        connection = ledger._engine.raw_connection()
        self.raw = connection.driver_connection
        connection.close()
        if whole is not None:
            self.raw.deserialize(whole)
        self.heads = [audit(ledger).head]
        self.whole = self.raw.serialize()

    def loosen(self):
        script = ["PRAGMA foreign_keys = OFF"]
        for name in self.ledger_tables():
            script += [f"CREATE TABLE loose AS SELECT * FROM {name}", f"DROP TABLE {name}"]
            script += [f"ALTER TABLE loose RENAME TO {name}"]
        self.raw.executescript(";\n".join(script))
        self.loose = self.raw.serialize()

    def ledger_tables(self):
        return [row[0] for row in self.raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]

    def back(self):
        self.raw.deserialize(self.loose)

    def rows(self, table):
        return self.raw.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid").fetchall()

    def findings(self, head=None):
        """But for the guards, which every loosened ledger lacks."""
        return [found for found in audit(self.ledger, head).findings if "guard" not in found.message]


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A whole ledger: two customers, one who bought twice, one whose opening is unfinished. Every table has rows."""
    desk = Desk(tmp_path_factory.mktemp("desk"), KeyFileSigner(ROOT, REGION))
    hall = desk.hall(Ledger("sqlite://", REGION))
    hall.set_price(None, 250)
    hall.set_limits(day=100, month=None)
    hall.open_shift("李明")
    hall.close_shift(0)
    hall.open_shift("Li Ming")
    hall.stock_in(9)
    hall.stock_out(7)
    hall.stock_spoiled(1, reason="bent")
    hall.open_account(desk.blank(), meter=METER, volume=30, name="王芳", fen=7500)
    desk.meter.insert(desk.card_path)
    hall.sell(desk.card, 20)
    hall.reconcile("0000000001", "0.05")
    hall.mark_restored()
    desk.meter.insert(desk.card_path)
    hall.probe(desk.card)
    desk.meter.insert(desk.card_path)
    hall.adopt(desk.card, requester="Li Ming", approver="王芳", reason="restored")
    hall.suspend("0000000001", "0.05", "customer's complaint")
    hall.end_suspension("0000000001", "1.05")
    hall.approve_grant(hall.request_gift("0000000001", 1, reason="jubilee", requester="Li Ming").number, "Wang")
    hall.stop_account("0000000001", reason="moved out", approver="Wang")
    coming = NewMeter(METER[:-1] + "5", 0)
    people = {"requester": "Li Ming", "approver": "Wang", "reason": "meter of ten years"}
    hall.begin_exchange(desk.blank("transfer.bin"), account="0000000001", meter=coming, **people)
    desk.meter.end(desk.folder / "transfer.bin", desk.signer)
    hall.read_exchange(FileReader(desk.folder / "transfer.bin"))
    stand = Stand(desk.signer, OTHER)
    hall.open_account(desk.blank("third.bin"), meter=OTHER, volume=1, fen=250)
    hall.issue_clear(desk.blank("tool.bin"), account="0000010002", requester="Li Ming", approver="王芳", reason="left")
    for name in ("third.bin", "tool.bin"):
        (desk.folder / name).write_bytes(stand.visit((desk.folder / name).read_bytes())[1])
    reader = desk.card
    reader.path = str(desk.folder / "tool.bin")
    hall.read_tool(reader)
    neighbour = desk.blank("neighbour.bin")

    def dead(plan):
        raise KeyboardInterrupt

    neighbour.step = dead
    with pytest.raises(KeyboardInterrupt):
        hall.open_account(neighbour, meter=NEIGHBOUR, volume=10, name="Li Wei")
    whole = Books(hall.ledger).whole
    desk.close()
    return whole


@pytest.fixture
def books(story):
    """The story's ledger, its tables loosened, for each test anew."""
    ledger = Ledger("sqlite://", REGION)
    books = Books(ledger, story)
    books.loosen()
    yield books
    ledger.close()


def columns(table):
    return [column.name for column in metadata.tables[table].columns]


def test_ledger_as_the_services_left_it_is_clean(books):
    assert books.ledger_tables() == TABLES
    assert all(books.rows(table) for table in TABLES)
    assert books.findings() == []
    books.raw.deserialize(books.whole)
    found = audit(books.ledger, books.heads[0])
    assert (found.findings, found.clean) == ((), True)
    assert found.entries == len(books.rows("journal"))
    assert found.rows == sum(len(books.rows(table)) for table in TABLES if table != "journal")


def test_every_guard_taken_away_is_named(books):
    books.raw.deserialize(books.whole)
    guards = books.raw.execute("SELECT type, name, tbl_name FROM sqlite_master WHERE type <> 'table' AND sql <> ''")
    guards = guards.fetchall()
    assert sorted(name for _, name, _ in guards) == [
        "ix_account_changes_account",
        "ix_adoptions_binding",
        "ix_bindings_account",
        "ix_cards_account",
        "ix_comparisons_meter",
        "ix_grants_account",
        "ix_orders_account",
        "ix_recoveries_binding",
        "ix_suspensions_binding",
        "ix_tools_account",
        "ix_tools_binding",
        "ix_tools_meter",
        "ix_transfers_account",
        "ix_transfers_new",
        "ix_transfers_old",
        "journal_no_delete",
        "journal_no_gap",
        "journal_no_update",
        "one_open_shift",
        "one_pending_order",
        "orders_not_done",
    ]
    for kind, name, table in guards:
        books.raw.deserialize(books.whole)
        books.raw.execute(f"DROP {kind} {name}")
        told = f"{table}: the database's own guard, {kind} {name}, is missing or was changed"
        assert [str(found) for found in audit(books.ledger).findings] == [told]


def test_every_table_made_without_its_keys_is_named(books):
    found = [finding.table for finding in audit(books.ledger).findings if "guard, table" in finding.message]
    assert sorted(found) == TABLES


@pytest.mark.parametrize(("table", "column"), [(table, column) for table in TABLES for column in columns(table)])
def test_every_cell_changed_is_found(books, table, column):
    place = columns(table).index(column) + 1
    keys = [key.name for key in metadata.tables[table].primary_key]
    for number, row in enumerate(books.rows(table)):
        changed = 0
        # The first row by every value, the others by two: each cell is changed, and every kind of value tried.
        others = OTHERS if number == 0 else ("0000000002", 1.5)
        for value in others:
            books.back()
            books.raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row[0]))
            now = books.raw.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row[0],)).fetchone()[0]
            if type(now) is type(row[place]) and now == row[place]:
                continue
            changed += 1
            found = [finding for finding in books.findings() if finding.table == table]
            assert found, (table, row, column, value)
            if table == "alembic_version" or table == "journal":
                continue
            if column in keys:
                assert len(found) >= 2
            else:
                key = " ".join(f"{name}={row[columns(table).index(name) + 1]!r}" for name in keys)
                assert [(finding.key, finding.column) for finding in found] == [(key, column)]
        assert changed >= (7 if number == 0 else 1)


@pytest.mark.parametrize("table", TABLES)
def test_every_row_deleted_is_found(books, table):
    for row in books.rows(table):
        books.back()
        books.raw.execute(f"DELETE FROM {table} WHERE rowid = ?", (row[0],))
        assert books.findings(), (table, row)
    books.raw.execute(f"DELETE FROM {table}")
    assert books.findings()


@pytest.mark.parametrize("table", TABLES)
def test_every_row_inserted_is_found(books, table):
    """Each row once more as it stands, and with each of its cells made another."""
    names = columns(table)
    for row in books.rows(table):
        for place, value in [(0, row[1]), *itertools.product(range(len(names)), (7, "7", b"7"))]:
            books.back()
            cells = list(row[1:])
            cells[place] = value
            books.raw.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(cells))})", cells)
            assert any(found.table == table for found in books.findings()), (table, cells)


def test_every_two_journal_rows_in_each_others_place_are_found(books):
    numbers = [row[1] for row in books.rows("journal")]
    for one, other in itertools.combinations(numbers, 2):
        books.back()
        swap = "UPDATE journal SET number = CASE number WHEN ? THEN ? ELSE ? END WHERE number IN (?, ?)"
        books.raw.execute(swap, (one, other, one, one, other))
        assert books.findings(), (one, other)


def test_journal_cut_short_anywhere_is_found(books):
    numbers = [row[1] for row in books.rows("journal")]
    for number in numbers:
        books.back()
        books.raw.execute("DELETE FROM journal WHERE number >= ?", (number,))
        assert books.findings(), number
        found = books.findings(books.heads[0])
        assert any(finding.column == "hash" and "cut off" in finding.message for finding in found), number


def test_every_byte_of_every_body_is_held_by_the_chain(books):
    # The first rows by the whole audit, and of all of them what their hash is made of.
    before = journal.FIRST
    for number, row in enumerate(books.rows("journal")):
        _, entry, at, kind, account, body, digest = row
        for place in range(len(body)):
            other = body[:place] + chr(ord(body[place]) ^ 1) + body[place + 1 :]
            assert journal.row_hash(before, entry, at, kind, account, other) != digest, (entry, place)
            if number < 3:
                books.back()
                books.raw.execute("UPDATE journal SET body = ? WHERE rowid = ?", (other, row[0]))
                assert any(found.column == "hash" for found in books.findings()), (entry, place)
        before = digest


def forge(books, change):
    """The journal made anew from its first row, with right hashes: who can write the whole file can do that."""
    previous = journal.FIRST
    for _, number, at, kind, account, body, _ in books.rows("journal"):
        number, at, kind, account, body = change(number, at, kind, account, body)
        previous = journal.row_hash(previous, number, at, kind, account, body)
        books.raw.execute(
            "UPDATE journal SET at = ?, kind = ?, account = ?, body = ?, hash = ? WHERE number = ?",
            (at, kind, account, body, previous, number),
        )


def test_journal_made_anew_is_found_by_its_head(books):
    forge(books, lambda number, at, *rest: (number, at + 1, *rest))
    assert books.findings() == []
    assert [found.column for found in books.findings(books.heads[0])] == ["hash"]


def test_every_earlier_ledger_put_back_is_found_by_the_later_head(desk):
    ledger = Ledger("sqlite://", REGION)
    hall, states = desk.hall(ledger), []
    books = Books(ledger)
    for step in (
        lambda: hall.open_account(desk.blank(), meter=METER, volume=30),
        lambda: desk.meter.insert(desk.card_path) or hall.read_back(desk.card),
        lambda: hall.sell(desk.card, 20),
    ):
        step()
        states.append((books.raw.serialize(), audit(ledger).head))
    for content, head in states:
        books.raw.deserialize(content)
        place = [known for _, known in states].index(head)
        for later, (_, known) in enumerate(states):
            assert audit(ledger, known).clean == (later <= place)


BODIES = {
    "no JSON": "{",
    "no table": '{"nothing":[]}',
    "not a table's rows": '{"orders":3}',
    "no key": '{"orders":[{"state":"646f6e65"}]}',
    "a column too many": '{"orders":[{"id":1,"colour":1}]}',
    "a row never made": '{"orders":[{"id":99,"state":"646f6e65"}]}',
    "text for a number": '{"orders":[{"id":1,"fen":"00"}]}',
    "a number for text": '{"orders":[{"id":1,"state":1}]}',
    "no hex": '{"orders":[{"id":1,"state":"done"}]}',
    "no UTF-8": '{"orders":[{"id":1,"state":"ff"}]}',
    "a fraction": '{"orders":[{"id":1,"fen":1.5}]}',
    "true": '{"orders":[{"id":1,"fen":true}]}',
    "nothing where something must be": '{"orders":[{"id":1,"state":null}]}',
    "a list": "[]",
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("name", list(BODIES))
def test_body_that_tells_nothing_is_named_though_its_hash_is_right(books, name):
    last = books.rows("journal")[-1][1]
    forge(books, lambda number, *rest: (number, *rest[:-1], BODIES[name] if number == last else rest[-1]))
    found = books.findings()
    assert any((finding.table, finding.key) == ("journal", f"number={last}") for finding in found)


@pytest.mark.parametrize("head", ["", "00", "0" * 63, "g" * 64, "0" * 66, 5, "é" * 64])
def test_head_that_is_no_hash_is_refused(books, head):
    with pytest.raises(RequestError, match="64 hexadecimal digits") as refusal:
        audit(books.ledger, head)
    assert refusal.value.code == errors.FIELD


def test_text_that_is_no_utf_8_is_a_finding(books):
    for table, column in (("accounts", "name"), ("journal", "body"), ("journal", "kind")):
        books.back()
        books.raw.execute(f"UPDATE {table} SET {column} = CAST(X'ff' AS TEXT)")
        assert any(found.table == table for found in books.findings())
    books.back()
    assert books.raw.text_factory is str


def test_hall_audits_its_ledger(desk):
    hall = desk.opened()
    assert hall.audit().clean
    assert hall.audit(hall.audit().head).clean


def test_what_is_written_while_looking_is_not_kept(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db", REGION)
    with ledger.look() as books, suppress(errors.GasError):  # refused, and the caller goes on
        books.add_account("ghost", 1)
    assert not audit(ledger).findings
    with ledger.look() as books:
        assert books.account("0000000001") is None
    ledger.close()


def test_index_that_does_not_say_what_its_table_says_is_found(tmp_path):
    path = tmp_path / "ledger.db"
    ledger = Ledger(path, REGION)
    with ledger.begin() as books:
        books.add_account("somebody", 1)
        books.add_card("0000000001", 0)
    ledger.close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = raw.execute("PRAGMA page_size").fetchone()
        (page,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_cards_account'").fetchone()
    raw.close()
    content = bytearray(path.read_bytes())
    at = content.index(b"0000000001", (page - 1) * size, page * size)
    content[at : at + 10] = b"0000000077"
    path.write_bytes(content)
    ledger = Ledger(path, REGION)
    assert any("integrity check" in str(finding) for finding in audit(ledger).findings)
    ledger.close()
