"""The books: what may stand in them together, what survives, what is refused."""

import json
import sqlite3
import sys
import threading
from datetime import UTC, datetime

import pytest
from tests.conftest import require_part

from gascard import codes
from gashall import errors
from gashall.errors import LedgerError, RequestError

require_part("sqlalchemy")
from gashall import books as books_module  # noqa: E402
from gashall import statements  # noqa: E402
from gashall.audit import audit  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.rows import CardRow, MeterRow, ReportRow  # noqa: E402
from gashall.terms import PENDING  # noqa: E402

METER = MeterRow("32060012345678", 2, 10_000_000, 1, 0)
PARAMETERS = {"alarm": 500, "ceiling": 100_000, "overdraft": 0, "over_flow_seconds": 0}


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db", 1)
    yield ledger
    ledger.close()


def bound(books):
    """An account with a meter and a card."""
    account = books.add_account("Li Wei", 100)
    books.add_meter(METER)
    binding = books.bind(METER, account.number, 0, PARAMETERS)
    return binding, books.add_card(account.number, 0)


def order(books, binding, card, sequence=1):
    return books.add_order(
        binding,
        card.number,
        b"frame",
        sequence=sequence,
        paid=3000,
        released=3000 * sequence,
        fen=None,
        made_at=100,
    )


def code_of(refusal):
    return refusal.value.code


def test_sqlite_is_durable_and_keeps_its_keys(ledger, tmp_path):
    with ledger.begin() as books:
        pragmas = {
            name: books._connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "page_size")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "page_size": 1024}


def test_orders_not_loaded_are_found_without_reading_the_others(ledger):
    """A binding may have had 65 535 orders; a report asks for the one or two of them that are not loaded."""
    with ledger.begin() as books:
        statement = str(statements.LOADED.compile(dialect=books._connection.dialect))
        plan = books._connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (1, 2, 3)).all()
    assert "USING INDEX orders_not_done (binding=? AND sequence<?)" in plan[0][3]


def test_rows_come_back_as_they_were_written(ledger):
    with ledger.begin() as books:
        binding, card = bound(books)
        first = order(books, binding, card)
    with ledger.begin() as books:
        assert books.account("0000000001").name == "Li Wei"
        assert books.meter(METER.number).highest_binding == 1
        assert books.binding_of("0000000001") == books.binding_on(METER.number) == binding
        assert books.card(1) == books.card_of("0000000001") == card
        assert books.last_order(binding.id) == first
        assert first.state == PENDING
        assert books.account("0000000002") is None
        assert books.last_report(METER.number) is None


def test_place_of_a_card_is_what_its_rows_say(ledger):
    with ledger.begin() as books:
        binding, card = bound(books)
        place = books.place(card.number)
        assert (place.card, place.binding, place.replaced) == (card, binding, False)
        assert (place.account, place.meter) == (books.account(binding.account), books.meter(METER.number))
        assert books.place(9) is None
        lone = books.add_card(books.add_account("Wang", 0).number, 0)
        assert (books.place(lone.number).binding, books.place(lone.number).meter) == (None, None)
        insert = "INSERT INTO cards SELECT 7, account, 1, 0, 3, 1, NULL, NULL FROM cards WHERE number = 1"
        books._connection.exec_driver_sql(insert)
        assert books.place(card.number).replaced
        assert not books.place(7).replaced


def test_transaction_that_fails_leaves_nothing(ledger):
    with pytest.raises(ZeroDivisionError), ledger.begin() as books:
        bound(books)
        raise ZeroDivisionError
    with ledger.begin() as books:
        assert books.account("0000000001") is None


def test_second_pending_order_of_an_account_is_refused(ledger):
    with ledger.begin() as books:
        binding, card = bound(books)
        first = order(books, binding, card)
    with pytest.raises(LedgerError) as refusal, ledger.begin() as books:
        order(books, binding, card, sequence=2)
    assert code_of(refusal) == errors.PENDING_ELSEWHERE
    with ledger.begin() as books:
        books.mark_written(first.id)
        order(books, binding, card, sequence=2)


def test_sequence_is_used_once(ledger):
    with ledger.begin() as books:
        binding, card = bound(books)
        books.mark_written(order(books, binding, card).id)
    with pytest.raises(LedgerError), ledger.begin() as books:
        order(books, binding, card)


def test_sequence_ends(ledger):
    with ledger.begin() as books:
        binding, card = bound(books)
        with pytest.raises(LedgerError) as refusal:
            order(books, binding, card, sequence=0x10000)
        assert code_of(refusal) == codes.NUMBER_USED_UP


def test_binding_ends(ledger):
    with ledger.begin() as books:
        account = books.add_account("", 0)
        worn = MeterRow("1" * 14, 2, 100, 1, 255)
        books.add_meter(worn)
        with pytest.raises(LedgerError) as refusal:
            books.bind(worn, account.number, 0, PARAMETERS)
        assert code_of(refusal) == codes.NUMBER_USED_UP


@pytest.mark.parametrize(
    ("sequence", "bought", "state"),
    [(1, 3000, "done"), (2, 9000, "done"), (0, 3000, "pending"), (1, 2999, "pending")],
)
def test_report_settles_by_sequence_and_total(ledger, sequence, bought, state):
    with ledger.begin() as books:
        binding, card = bound(books)
        order(books, binding, card)
        books.mark_done(binding.id, sequence, bought)
        assert books.last_order(binding.id).state == state
        books.mark_written(books.last_order(binding.id).id)
        assert books.last_order(binding.id).state == ("done" if state == "done" else "written")


def test_order_needs_its_card(ledger):
    with pytest.raises(LedgerError), ledger.begin() as books:
        binding, card = bound(books)
        order(books, binding, CardRow(9, binding.account, 0, 0, 0, False))


def test_newest_report_goes_by_binding_then_number(ledger):
    with ledger.begin() as books:
        bound(books)
        for binding, number in ((1, 99), (2, 1), (2, 2)):
            books.keep_report(ReportRow(METER.number, binding, number, 1, b"", 0))
        newest = books.last_report(METER.number)
        assert (newest.binding, newest.report_number) == (2, 2)
    with pytest.raises(LedgerError), ledger.begin() as books:
        books.keep_report(ReportRow(METER.number, 2, 2, 1, b"", 0))


def test_numbers_are_given_out_once_each(ledger):
    with ledger.begin() as books:
        assert [books.add_account("", 0).number for _ in range(3)] == [f"{n:010d}" for n in (1, 2, 3)]
        books.add_account("", 0, "0000000900")
        assert books.add_account("", 0).number == "0000000901"
        books.add_account("", 0, "9999999999")
        books.add_account("", 0, "9999999998")
        assert [books.add_account("", 0).number for _ in range(2)] == ["0000000902", "0000000903"]


def test_chosen_last_number_is_not_the_end_of_all_numbers(ledger, monkeypatch):
    with ledger.begin() as books:
        books.add_account("", 0, "9999999999")
        assert [books.add_account("", 0).number for _ in range(2)] == ["0000000001", "0000000002"]
        monkeypatch.setattr(books_module, "ACCOUNT_MAX", 2)
        books._connection.exec_driver_sql("DELETE FROM accounts WHERE number = '9999999999'")
        with pytest.raises(LedgerError) as refusal:
            books.add_account("", 0)
        assert code_of(refusal) == codes.NUMBER_USED_UP


def test_issued_card_stays_issued(ledger):
    with ledger.begin() as books:
        _, card = bound(books)
        books.mark_card(card.number, psc_bytes=2, issued=False)
        books.mark_card(card.number, psc_bytes=3, issued=True)
    for issued in (False, True):
        with pytest.raises(LedgerError, match="issued card 1 meanwhile") as refusal, ledger.begin() as books:
            books.mark_card(1, psc_bytes=1, issued=issued)
        assert code_of(refusal) == errors.PENDING_ELSEWHERE
    with ledger.begin() as books:
        assert (books.card(1).issued, books.card(1).psc_bytes) == (True, 3)


def test_only_an_order_made_elsewhere_is_another_window(ledger):
    attempts = (
        lambda books: books.add_account(None, 0),
        lambda books: books.add_account("", 0, "0000000001"),
        lambda books: books.add_card("0000000009", 0),
    )
    with ledger.begin() as books:
        bound(books)
    for attempt in attempts:
        with pytest.raises(LedgerError, match="does not take a row") as refusal, ledger.begin() as books:
            attempt(books)
        assert code_of(refusal) == errors.LEDGER


NONSENSE = [
    ("meters", "key_version", 300),
    ("meters", "wheel_pulses", 0),
    ("meters", "pulse_weight", "two"),
    ("accounts", "name", b"\xff"),
    ("accounts", "opened_at", "never"),
    ("cards", "replacement", "x"),
    ("cards", "psc_bytes", 4),
    ("bindings", "alarm", -1),
    ("bindings", "initial_reading", 1.5),
    ("orders", "frame", "text"),
    ("orders", "released_pulses", "x"),
    ("orders", "fen", "x"),
    ("reports", "frame", 7),
    ("about", "version", "x"),
    ("about", "root_check", "text"),
]


@pytest.mark.parametrize(("table", "column", "value"), NONSENSE)
def test_cell_that_holds_nonsense_is_named(ledger, tmp_path, table, column, value):
    with ledger.begin() as books:
        binding, card = bound(books)
        order(books, binding, card)
        books.keep_report(ReportRow(METER.number, 1, 1, 1, b"", 0))
        books._connection.exec_driver_sql(f"UPDATE {table} SET {column} = ?", (value,))
    with pytest.raises(LedgerError, match=f"damaged: {table}.{column} holds") as refusal:
        again = Ledger(tmp_path / "ledger.db", 1)
        try:
            with again.begin() as books:
                books.place(1), books.last_order(1), books.last_report(METER.number)
        finally:
            again.close()
    assert code_of(refusal) == errors.LEDGER


def test_numbers_that_are_none_are_named(ledger):
    with ledger.begin() as books:
        bound(books)
        books._connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        books._connection.exec_driver_sql("UPDATE cards SET account = 'x'")
        books._connection.exec_driver_sql("UPDATE bindings SET account = 'x'")
        books._connection.exec_driver_sql("UPDATE accounts SET number = 'x'")
        with pytest.raises(LedgerError, match=r"accounts\.number holds 'x'"):
            books.add_account("", 0)
        books._connection.exec_driver_sql("UPDATE cards SET number = 4294967296")
        with pytest.raises(LedgerError, match=r"cards\.number holds '4294967296'"):
            books.add_card("x", 0)


def test_ledger_of_another_region_is_refused(ledger, tmp_path):
    with pytest.raises(LedgerError) as refusal:
        Ledger(tmp_path / "ledger.db", 2)
    assert code_of(refusal) == errors.LEDGER_REGION
    with pytest.raises(RequestError):
        Ledger(tmp_path / "ledger.db", "2")


def test_ledger_knows_the_root_it_was_first_shown(ledger, tmp_path):
    ledger.check_root(b"one")
    ledger.check_root(b"one")
    again = Ledger(tmp_path / "ledger.db", 1, create=False)
    with pytest.raises(LedgerError, match=r"ledger\.db was made with another root key") as refusal:
        again.check_root(b"two")
    assert code_of(refusal) == errors.LEDGER_KEY
    again.check_root(b"one")
    again.close()


def test_ledger_that_is_not_there_is_made_only_on_purpose(tmp_path):
    for place in (tmp_path / "legder.db", f"sqlite:///{tmp_path}/legder.db", "sqlite://"):
        with pytest.raises(LedgerError, match="no ledger") as refusal:
            Ledger(place, 1, create=False)
        assert code_of(refusal) == errors.LEDGER_MISSING
    assert not list(tmp_path.iterdir())
    (tmp_path / "empty").touch()
    with pytest.raises(LedgerError) as refusal:
        Ledger(tmp_path / "empty", 1, create=False)
    assert code_of(refusal) == errors.LEDGER_MISSING


@pytest.mark.parametrize("content", [b"no database at all, but long enough to look at" * 40])
def test_file_that_is_no_ledger_is_refused(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(LedgerError) as refusal:
        Ledger(tmp_path / "other", 1)
    assert code_of(refusal) == errors.LEDGER
    assert str(tmp_path / "other") in refusal.value.message


@pytest.mark.parametrize(
    "path",
    ["none/ledger.db", "nosuchdatabase://x/y", "://", "postgresql://a@host:port/b", "sqlite://host/x", "nul\0.db"]
    + ["half\ud800.db", "sqlite:///:memory:?timeout=soon"],
)
def test_place_that_cannot_be_opened_is_refused(tmp_path, path):
    with pytest.raises(LedgerError) as refusal:
        Ledger(path if "://" in path else tmp_path / path, 1)
    assert code_of(refusal) == errors.LEDGER


def test_missing_database_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(LedgerError, match="driver psycopg2") as refusal:
        Ledger("postgresql+psycopg2://clerk:secret@host/books", 1)
    assert code_of(refusal) == errors.LEDGER
    assert refusal.value.remedy == "Install it: pip install psycopg2"
    assert "secret" not in str(refusal.value)


def test_ledger_is_opened_by_url(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/books.db", 1)
    with ledger.begin() as books:
        bound(books)
    ledger.close()
    with sqlite3.connect(tmp_path / "books.db") as raw:
        assert raw.execute("SELECT count(*) FROM bindings").fetchone() == (1,)
    raw.close()


def test_windows_take_turns(tmp_path):
    """Two writers at once: the second waits for the first and sees what it wrote."""
    first, second = (Ledger(tmp_path / "ledger.db", 1) for _ in range(2))
    numbers = []

    def open_accounts(ledger):
        for _ in range(20):
            with ledger.begin() as books:
                numbers.append(books.add_account("", 0).number)

    threads = [threading.Thread(target=open_accounts, args=(ledger,)) for ledger in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.close()
    second.close()
    assert sorted(numbers) == [f"{n:010d}" for n in range(1, 41)]


# ---------------------------------------------------------------------- the journal


def told(ledger):
    """The journal's rows: number, kind, account, body."""
    with ledger.raw_rows() as read:
        rows = read("journal")
    return [(row["number"], row["kind"], row["account"], json.loads(row["body"])) for row in rows]


def test_every_change_has_its_row_in_the_journal(ledger):
    ledger.check_root(b"root")
    with ledger.begin() as books:
        binding, card = bound(books)
        first = order(books, binding, card)
        for psc_bytes in (1, 1, 2, 3):
            books.mark_card(card.number, psc_bytes=psc_bytes, issued=psc_bytes == 3)
        books.mark_written(first.id)
        books.mark_written(first.id)
        books.keep_report(ReportRow(METER.number, 1, 1, 1, b"report", 7))
        books.mark_done(binding.id, 1, 3000)
        books.mark_done(binding.id, 1, 3000)
    account, meter = "30303030303030303031", METER.number.encode().hex()
    parameters = {"alarm": 500, "ceiling": 100_000, "overdraft": 0, "over_flow_seconds": 0}
    made = {"id": 1, "account": account, "binding": 1, "card": 1, "sequence": 1, "state": b"pending".hex()}
    made |= {
        "frame": b"frame".hex(),
        "paid_pulses": 3000,
        "released_pulses": 3000,
        "fen": None,
        "made_at": 100,
        "price": None,
        "shift": None,
        "kind": None,
        "correction": None,
        "adopted_pulses": None,
        "frame_pulses": None,
    }
    of_meter = {"pulse_weight": 2, "wheel_pulses": 10_000_000, "key_version": 1, "highest_binding": 0}
    of_binding = {"id": 1, "meter": meter, "number": 1, "account": account, "initial_reading": 0, "open": 1}
    of_card = {"number": 1, "account": account, "replacement": 0, "issue_batch": 0, "psc_bytes": 0, "issued": 0}
    of_card |= {"reason": None, "ended": None}
    of_account = {"number": account, "name": b"Li Wei".hex(), "opened_at": 100, "state": None}
    report = {"meter": meter, "binding": 1, "report_number": 1, "card": 1, "frame": b"report".hex(), "seen_at": 7}
    one = "0000000001"
    expected = [
        ("ledger made", "", {"about": [{"id": 1, "version": 2, "region": 1, "root_check": None}]}),
        ("root known", "", {"about": [{"id": 1, "root_check": b"root".hex()}]}),
        ("account opened", one, {"accounts": [of_account]}),
        ("meter added", "", {"meters": [{"number": meter, **of_meter}]}),
        (
            "bound",
            one,
            {"bindings": [of_binding | parameters], "meters": [{"number": meter, "highest_binding": 1}]},
        ),
        ("card added", one, {"cards": [of_card]}),
        ("order made", one, {"orders": [made]}),
        ("password announced", one, {"cards": [{"number": 1, "psc_bytes": 1}]}),
        ("password announced", one, {"cards": [{"number": 1, "psc_bytes": 2}]}),
        ("card issued", one, {"cards": [{"number": 1, "psc_bytes": 3, "issued": 1}]}),
        ("order written", one, {"orders": [{"id": 1, "state": b"written".hex()}]}),
        ("report kept", one, {"reports": [report]}),
        ("order done", one, {"orders": [{"id": 1, "state": b"done".hex()}]}),
    ]
    assert told(ledger) == [(number, *row) for number, row in enumerate(expected, start=1)]
    assert audit(ledger).clean


def test_journal_bears_the_ledgers_clock(tmp_path):
    noon = datetime(2000, 1, 1, 12, 0, tzinfo=UTC)
    ledger = Ledger(tmp_path / "clocked.db", 1, clock=lambda: noon)
    with ledger.begin() as books:
        books.add_account("", 0)
    with ledger.raw_rows() as read:
        assert [row["at"] for row in read("journal")] == [720, 720]
    ledger.close()


def test_transaction_that_fails_leaves_no_journal_row(ledger):
    before = told(ledger)
    with pytest.raises(ZeroDivisionError), ledger.begin() as books:
        bound(books)
        raise ZeroDivisionError
    assert told(ledger) == before
    with ledger.begin() as books:
        bound(books)
    assert audit(ledger).clean


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET at = at",
        "UPDATE journal SET number = 7",
        "DELETE FROM journal",
        "INSERT OR REPLACE INTO journal SELECT * FROM journal WHERE number = 1",
        "INSERT INTO journal SELECT 3, at, kind, account, body, hash FROM journal",
        "INSERT INTO journal SELECT 0, at, kind, account, body, hash FROM journal",
        "INSERT INTO journal SELECT NULL, at, kind, account, body, hash FROM journal",
        "INSERT OR IGNORE INTO journal SELECT * FROM journal",
    ],
)
def test_database_refuses_to_change_the_journal(ledger, tmp_path, statement):
    before = told(ledger)
    raw = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    with pytest.raises(sqlite3.IntegrityError, match="the journal (is append-only|has no gaps)"):
        raw.execute(statement)
    raw.close()
    assert told(ledger) == before


def test_window_that_read_an_older_journal_is_told_another_was_faster(ledger):
    with ledger.begin() as books:
        books.add_account("", 0)
    with pytest.raises(LedgerError, match="Another window was faster") as refusal, ledger.begin() as books:
        books._head = 1, bytes(32)
        books.add_account("", 0)
    assert code_of(refusal) == errors.PENDING_ELSEWHERE
    assert refusal.value.remedy == "Repeat it: the ledger is as that window left it."
    assert audit(ledger).clean


def test_books_that_were_opened_to_be_read_write_nothing(ledger):
    before = told(ledger)
    with pytest.raises(LedgerError, match="opened to be read"), ledger.look() as books:
        books.add_account("", 0)
    assert told(ledger) == before
    assert audit(ledger).clean


def test_books_beyond_their_transaction_are_closed(ledger):
    before = told(ledger)
    for opened in (ledger.begin, ledger.look):
        with opened() as books:
            books.accounts()
        for attempt in (books.accounts, lambda: books.add_account("", 0, "0000000001")):
            with pytest.raises(LedgerError, match="is over"):
                attempt()
    assert told(ledger) == before


def test_reading_waits_for_no_window_and_sees_what_was_committed(ledger, tmp_path):
    with ledger.begin() as books:
        books.add_account("", 0)
        again = Ledger(tmp_path / "ledger.db", 1)
        with again.look() as other:
            assert other.accounts() == []
        assert audit(again).entries == 1
        again.close()
    with ledger.look() as books:
        assert books.accounts() == ["0000000001"]


def test_ledger_whose_about_row_is_gone_is_not_made_anew(ledger, tmp_path):
    with ledger.begin() as books:
        books._connection.exec_driver_sql("DELETE FROM about")
    for attempt in (lambda: Ledger(tmp_path / "ledger.db", 1), lambda: ledger.upgrade(ledger.name)):
        with pytest.raises(LedgerError, match="about has no row") as refusal:
            attempt()
        assert code_of(refusal) == errors.LEDGER
