"""The same ledger in PostgreSQL: a server of the tests' own, a database for each test."""

import itertools
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from paper import METER, NEIGHBOUR, REGION
from test_tool_cards import Stand
from tests.conftest import require_part

from gashall import errors
from gashall.errors import LedgerError

require_part("alembic")
require_part("postgresql")
import sqlalchemy as sa  # noqa: E402
from windows import check_one_customer, check_one_meter, check_two_customers  # noqa: E402

from gashall import ledger as ledger_module  # noqa: E402
from gashall.audit import audit  # noqa: E402
from gashall.batch import CardFolder  # noqa: E402
from gashall.exchange import NewMeter  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.readers import FileReader  # noqa: E402
from gashall.schema import SCHEMA_VERSION, TRIGGERS, metadata  # noqa: E402
from gashall.services import Hall  # noqa: E402

DATABASES = itertools.count(1)


@pytest.fixture(scope="module")
def server():
    """The folder of a running server's socket. It may not be root's, so root runs it as another."""
    # Not below pytest's own folder, which nobody but its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="icgas-pg-"))
    os.chmod(folder, 0o755)
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        subprocess.run(["chown", user, folder], check=True)

    def run(*call):
        done = subprocess.run(call, user=user, capture_output=True, text=True, cwd=folder, check=False)
        assert done.returncode == 0, done.stderr + done.stdout

    data, log = str(folder / "data"), str(folder / "log")
    run("initdb", "-D", data, "-U", "icgas", "--auth=trust", "-N")
    run("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-k {folder} -F -h ''", "start")
    yield folder
    run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server):
    """A database with nothing in it."""
    name = f"books{next(DATABASES)}"
    engine = sa.create_engine(address(server, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return address(server, name)


def address(server, name):
    return f"postgresql+psycopg://icgas@/{name}?host={server}"


@pytest.fixture
def raw(url):
    """A connection that no foreign key and no trigger binds, as a database's owner can have one."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("SET session_replication_role = replica")
        yield connection
    engine.dispose()


@pytest.fixture
def hall(desk, url):
    hall = desk.hall(Ledger(url, REGION))
    hall.set_price(None, 250)
    hall.set_limits(day=100, month=None)
    hall.open_shift("李明")
    hall.stock_in(9)
    hall.stock_out(5)
    hall.stock_spoiled(1, reason="bent")
    hall.open_account(desk.blank(), meter=METER, volume=30, name="王芳", fen=7500)
    desk.meter.insert(desk.card_path)
    hall.sell(desk.card, 20, fen=5000)
    hall.approve_grant(hall.request_gift("0000000001", 1, reason="jubilee", requester="李明").number, "王芳")
    hall.stop_account("0000000001", reason="moved out", approver="王芳")
    hall.resume_account("0000000001", reason="came back", approver="王芳")
    return hall


def test_services_work_and_the_audit_is_clean(desk, hall):
    desk.meter.insert(desk.card_path)
    assert hall.read_back(desk.card).state == "done"
    assert hall.reconcile("0000000001").difference == 0
    assert len(hall.history("0000000001").orders) == 2
    found = hall.audit()
    assert found.clean and hall.audit(found.head).clean
    slip = hall.grant(1)
    assert slip.head is not None
    assert hall.audit(slip.head).clean
    assert hall.write_grant(desk.card, 1).state == "on the card"
    told = hall.replace(desk.blank("new.bin"), account=slip.account, reason="broken", old_card=desk.card)
    assert told.held == 1
    assert hall.audit().clean
    with pytest.raises(LedgerError, match="pg_dump"):
        hall.backup(desk.folder / "copy.db")


def cleared(desk, hall):
    """A second customer whose meter was read out, cleared and read back; her account."""
    stand = Stand(desk.signer, NEIGHBOUR)
    account = hall.open_account(desk.blank("second.bin"), meter=NEIGHBOUR, volume=20, fen=5000).account
    hall.issue_management(desk.blank("tool.bin"), purpose="round")

    def visited(name):
        path = desk.folder / name
        path.write_bytes(stand.visit(path.read_bytes())[1])
        return FileReader(path)

    visited("second.bin")
    assert [row.kept for row in hall.read_tool(visited("tool.bin")).reports] == [True]
    hall.issue_clear(desk.blank("clear.bin"), account=account, requester="李明", approver="王芳", reason="left")
    assert hall.read_tool(visited("clear.bin")).ended.remaining == 20
    return account


def test_tool_cards_clear_and_close_work_and_the_audit_is_clean(desk, hall):
    hall.stock_in(9)
    hall.stock_out(9)
    account = cleared(desk, hall)
    assert hall.issue_setting(desk.blank("set.bin"), purpose="x", clock=hall.counter.clock()).service_number == 1
    assert hall.close_account(account, requester="李明", approver="王芳", reason="left").fen == 5000
    assert hall.open_account(desk.blank("next.bin"), meter=NEIGHBOUR, volume=1, fen=250).bought_total == 100
    hall.mark_restored()
    with hall.ledger.begin() as books:
        assert books.free_service() == 1002
        assert books.free_card() == 10_007
    assert hall.audit().clean


@pytest.mark.parametrize("statement", ["UPDATE journal SET at = 0", "DELETE FROM journal", "TRUNCATE journal"])
def test_journal_is_append_only(hall, statement):
    with pytest.raises(LedgerError, match="append-only"), hall.ledger.begin() as books:
        books._connection.exec_driver_sql(statement)
    assert hall.audit().clean


def recovered(desk, hall):
    """The ledger was restored by the database's own means, and its one customer has come by."""
    account = "0000000001"
    desk.meter.insert(desk.card_path)
    assert [hall.mark_restored().recovering for _ in range(2)] == [1, 1]
    assert hall.probe(desk.card).sequence == 202
    desk.meter.insert(desk.card_path)
    assert not hall.adopt(desk.card, requester="Li Ming", approver="王芳", reason="restored").recovering
    hall.reconcile(account, "0.05")
    hall.suspend(account, "0.05", "complaint")
    assert hall.end_suspension(account, "1.05").make_up == 1
    assert [row.account for row in hall.reconcile_list()] == [account]


def test_restored_database_recovers(desk, hall):
    recovered(desk, hall)
    hall.sell(desk.card, 10, price_agreed=True)
    assert hall.audit().clean


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_every_cell_changed_is_found(desk, hall, raw, table):
    recovered(desk, hall)
    hall.approve_grant(hall.request_gift("0000000001", 1, reason="jubilee", requester="Li Ming").number, "Wang")
    hall.stop_account("0000000001", reason="moved out", approver="Wang")
    hall.stock_in(9)
    hall.stock_out(9)
    people = {"requester": "Li Ming", "approver": "Wang", "reason": "meter of ten years"}
    coming = NewMeter(METER[:-1] + "5", 0)
    hall.begin_exchange(desk.blank("transfer.bin"), account="0000000001", meter=coming, **people)
    cleared(desk, hall)
    columns = metadata.tables[table].columns
    count = raw.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()
    assert count
    for place, column in itertools.product(range(count), columns):
        other = "CASE WHEN {0} IS NULL THEN {1} ELSE {2} END"
        if isinstance(column.type, sa.LargeBinary):
            other = other.format(column.name, "'x'::bytea", f"{column.name} || 'x'::bytea")
        elif isinstance(column.type, sa.Boolean):
            other = f"NOT {column.name}"
        elif isinstance(column.type, sa.Integer):
            other = other.format(column.name, 1, f"{column.name} + 100")
            if (table, column.name) == ("about", "id"):
                raw.exec_driver_sql("ALTER TABLE about DROP CONSTRAINT about_id_check")
        elif column.name == "kind" and table == "account_changes":
            other = "CASE kind WHEN 'state' THEN 'holder' ELSE 'state' END"
        elif column.name == "kind" and table == "stock_moves":
            other = "CASE kind WHEN 'in' THEN 'out' ELSE 'in' END"
        elif column.name == "kind" and table == "account_changes":
            other = "CASE kind WHEN 'state' THEN 'holder' ELSE 'state' END"
        elif column.name == "state":
            other = "CASE state WHEN 'done' THEN 'written' ELSE 'done' END"
        else:
            other = f"left('9' || coalesce({column.name}, ''), 4)"
        at, kept = one_row(raw, table, place)
        changed = f"UPDATE {table} SET {column.name} = {other} WHERE ctid = '{at}' RETURNING ctid::text"
        at = raw.exec_driver_sql(changed).scalar()
        found = [finding for finding in audit(hall.ledger).findings if finding.table == table]
        assert found, (place, column.name)
        back = sa.text(f"UPDATE {table} SET {column.name} = :value WHERE ctid = '{at}'")
        raw.execute(back, {"value": kept[column.name]})
        assert hall.audit().clean, (place, column.name)


def one_row(raw, table, place):
    """Where it stands and its cells, the rows counted by their keys."""
    keys = ", ".join(key.name for key in metadata.tables[table].primary_key)
    query = f"SELECT ctid::text AS standing, * FROM {table} ORDER BY {keys} OFFSET {place} LIMIT 1"
    row = dict(raw.exec_driver_sql(query).mappings().one())
    return row.pop("standing"), row


@pytest.mark.parametrize("table", sorted(metadata.tables))
def test_every_row_deleted_is_found(hall, raw, table):
    for place in range(raw.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()):
        at, kept = one_row(raw, table, place)
        raw.exec_driver_sql(f"DELETE FROM {table} WHERE ctid = '{at}'")
        assert not hall.audit().clean, place
        values = ", ".join(f":{name}" for name in kept)
        raw.execute(sa.text(f"INSERT INTO {table} VALUES ({values})"), dict(kept))
        assert hall.audit().clean, place


def test_missing_index_is_named(hall, raw):
    raw.exec_driver_sql("DROP INDEX one_pending_order")
    assert [found.table for found in hall.audit().findings] == ["orders"]


@pytest.mark.parametrize("name", [name for name in TRIGGERS["postgresql"] if name != "journal_append_only"])
def test_missing_guard_is_named(hall, raw, name):
    for statement in (f"ALTER TABLE journal DISABLE TRIGGER {name}", f"DROP TRIGGER {name} ON journal"):
        raw.exec_driver_sql(statement)
        assert [name in str(found) for found in hall.audit().findings] == [True]


def test_windows_take_turns(url):
    first, second = (Ledger(url, REGION) for _ in range(2))
    numbers, wrong = [], []

    def open_accounts(ledger):
        try:
            for _ in range(20):
                with ledger.begin() as books:
                    numbers.append(books.add_account("", 0).number)
        except LedgerError as error:
            wrong.append(error)

    threads = [threading.Thread(target=open_accounts, args=(ledger,)) for ledger in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sorted(numbers) == [f"{n:010d}" for n in range(1, 41)]
    assert audit(first).clean
    first.close()
    second.close()


@pytest.mark.parametrize("volumes", [(20, 30), (20, 20)], ids=["two volumes", "one volume"])
def test_one_customer_at_two_windows_buys_once(url, tmp_path, signer, volumes):
    check_one_customer(url, tmp_path, signer, volumes)


def test_two_customers_at_two_windows_buy_both(url, tmp_path, signer):
    check_two_customers(url, tmp_path, signer)


def test_one_meter_opened_at_two_windows_gets_one_account_and_one_card(url, tmp_path, signer):
    check_one_meter(url, tmp_path, signer)


def test_window_that_did_not_wait_its_turn_is_told_another_was_faster(url, monkeypatch):
    monkeypatch.setattr(ledger_module, "_POSTGRESQL_TURN", "SELECT 1")
    first, second = (Ledger(url, REGION) for _ in range(2))
    with pytest.raises(LedgerError, match="Another window was faster") as refusal, second.begin() as late:
        late.head()
        with first.begin() as books:
            books.add_account("", 0, "0000000001")
        late.add_account("", 0, "0000000002")
    assert refusal.value.code == errors.PENDING_ELSEWHERE
    assert "Repeat" in refusal.value.remedy
    assert audit(first).clean
    with first.begin() as books:
        assert books.accounts() == ["0000000001"]
    first.close()
    second.close()


def test_ledger_of_version_1_is_upgraded(url, raw, desk, monkeypatch):
    from alembic import command

    from gashall import migrations

    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: upgrade(config, migrations.revision(1)))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        migrations.migrate(connection, 0, 0)
    engine.dispose()
    monkeypatch.undo()
    for statement in (
        "DROP TABLE alembic_version",
        f"INSERT INTO about VALUES (1, 1, {REGION}, NULL)",
        "INSERT INTO accounts VALUES ('0000000001', '王芳', 0)",
        f"INSERT INTO meters VALUES ('{METER}', 2, 10000000, 1, 1)",
        f"INSERT INTO bindings VALUES (1, '{METER}', 1, '0000000001', 0, 500, 100000, 0, 0, true)",
        "INSERT INTO cards VALUES (1, '0000000001', 0, 0, 3, true)",
        "INSERT INTO orders VALUES (1, '0000000001', 1, 1, 1, 'done', 'x'::bytea, 3000, 3000, NULL, 0)",
        f"INSERT INTO reports VALUES ('{METER}', 1, 1, 1, 'x'::bytea, 0)",
    ):
        raw.exec_driver_sql(statement)
    with pytest.raises(LedgerError, match="of version 1") as refusal:
        Ledger(url, REGION)
    assert refusal.value.code == errors.LEDGER_VERSION
    done = Ledger.upgrade(url)
    assert (done.before, done.after, done.copy) == (1, SCHEMA_VERSION, None)
    ledger = Ledger(url, REGION)
    assert audit(ledger).entries == 7
    assert audit(ledger).clean
    ledger.close()


def test_tables_are_those_the_migrations_make(server, url):
    Ledger(url, REGION).close()
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        made = described(connection)
    engine.dispose()
    other = f"books{next(DATABASES)}"
    engine = sa.create_engine(address(server, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {other}")
    engine.dispose()
    engine = sa.create_engine(address(server, other))
    from gashall import migrations

    with engine.begin() as connection:
        migrations.migrate(connection, 0, 0)
        assert described(connection) == made
    engine.dispose()


def described(connection):
    queries = (
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
        " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    )
    return [[tuple(row) for row in connection.exec_driver_sql(query)] for query in queries]


def test_batch_card_check_and_report_are_those_of_any_ledger(url, signer, tmp_path):
    hall = Hall(Ledger(url, REGION), signer)
    hall.stock_in(5)
    path = tmp_path / "estate.csv"
    path.write_text("meter,name,volume,initial_reading\n" + "".join(f"{int(METER) + i},,3,0\n" for i in range(3)))
    done = hall.batch(path, CardFolder(tmp_path / "cards"))
    assert (len(done.made), done.stopped) == (3, None)
    hall.stock_spoiled(1)
    again = hall.batch(path, CardFolder(tmp_path / "cards", resume=True), resume=True)
    assert all(made.earlier for made in again.made)
    told = hall.verify(FileReader(tmp_path / "cards" / done.made[0].place), password=True)
    assert (told.findings, told.password, told.account) == ((), "right", "0000000001")
    report = hall.monthly_report()
    assert (report.total().orders, report.total().hundredths, report.cards["spoiled"]) == (3, 900, 1)
    assert hall.audit().findings == ()
    hall.close()
