"""The hall's cuts and pulls: every flow fires and holds, planted bugs are found, and a record is as good as a death."""

import sqlite3
from contextlib import contextmanager

import pytest
from tests.conftest import require_part

from gascard import codes
from gascard.chip import Chip
from gascard.records import ORDER_AT
from gascard.sle4442 import tries_left
from gashall.errors import CardError, GasError
from gashall.readers.base import Reader
from gashall.readers.chip import ChipReader

require_part("sqlalchemy")
from gashall import counter, encode, toolmaking, toolreading  # noqa: E402
from gashall.books import Books  # noqa: E402
from gashall.counter import Counter  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.rows import ToolRow  # noqa: E402
from gashall.terms import PENDING, WRITTEN  # noqa: E402
from gasrig import checkers  # noqa: E402
from gasrig.bench import TEST_REGION  # noqa: E402
from gasrig.counter_cut import (  # noqa: E402
    HALL_FLOWS,
    HALL_RULES,
    OTHERS,
    DeadError,
    Desk,
    Socket,
    run,
)
from meter.account import Account  # noqa: E402

# Of how many shards the suite tries one: a few seconds in all. ``icgas cut`` tries them all.
SHARDS = {"hall opening": 16, "hall replacement": 16}
SHARDS |= {name: 1 for name, flow in HALL_FLOWS.items() if not flow.writes}
TABLES = (
    *("about", "accounts", "meters", "bindings", "cards", "orders", "reports", "grants", "recoveries", "adoptions"),
    *("tools", "transfers", "finals", "account_changes", "suspensions", "stock_moves", "shifts"),
)


def chip_of(dump):
    chip = Chip()
    chip.restore(dump)
    return chip


def rules(counts):
    """The names of the rules that were found broken, all of them listed ones."""
    found = {violation.text.partition(":")[0] for violation in counts.violations}
    assert found <= HALL_RULES.keys() | checkers.RULES.keys(), counts.violations
    return found


# ---------------------------------------------------------------------- the flows


@pytest.mark.parametrize("name", HALL_FLOWS)
def test_slice_of_every_hall_flow_fires_and_holds(name):
    counts = run(name, 1, (1, SHARDS.get(name, 8)))
    assert counts.fired > 0
    assert counts.states > 0
    assert counts.violations == []


def test_slice_of_the_second_stop_holds():
    counts = run("hall sale resumed", 2, (1, 3))
    assert counts.fired > 1000
    assert counts.violations == []


def test_read_back_survives_a_second_stop():
    counts = run("hall read back", 2)
    assert counts.fired > counts.states >= 3
    assert counts.violations == []


def test_flows_cover_what_the_hall_writes_and_reads():
    kinds = {"opening", "replacement", "sale", "makeup", "read back", "refund", "pay", "take back", "probe", "adopt"}
    others = {"tool", "exchange", "empties", "paper", "reads"}
    assert {flow.kind for flow in HALL_FLOWS.values()} == kinds | others
    assert {flow.kind for flow in HALL_FLOWS.values() if flow.does is not None} >= others
    assert any(flow.rescue for flow in HALL_FLOWS.values())
    assert "neighbour, last try" in OTHERS


def test_shards_part_the_states_and_the_faults_among_them():
    whole = run("hall sale resumed")
    parts = [run("hall sale resumed", 1, (shard, 3)) for shard in (1, 2, 3)]
    assert sum(part.fired for part in parts) == whole.fired
    assert sum(part.states for part in parts) == whole.states
    assert min(part.states for part in parts) > whole.states // 6


def test_progress_hears_of_every_state():
    heard = []
    counts = run("hall read back", progress=lambda counts: heard.append(counts.states))
    assert heard == list(range(1, counts.states + 1))


# ---------------------------------------------------------------------- one case


@pytest.mark.parametrize(
    "case",
    [
        "death/byte 3",
        "death/op 2",
        "death/commit 1/before",
        "death/commit 1/after",
        "pull/op 23",
        "swap/op 4/neighbour",
        "death/byte 5/then death/byte 4",
        "pull/op 14/then swap/op 3/copy",
    ],
)
@pytest.mark.parametrize("prefix", ["", "hall sale/"])
def test_only_replays_exactly_one_case(case, prefix):
    counts = run("hall sale", only=prefix + case)
    assert (counts.fired, counts.states, counts.violations) == (1, 1, [])


def test_only_replays_torn_values_by_their_name():
    desk = Desk(HALL_FLOWS["hall sale"])
    plans = [step.plan for step in desk.record(desk.start)[0] if step.plan]
    desk.close()
    assert plans[-1] is not None
    torn = f"{len(plans) - 1}/={plans[-1][2]:02X}"
    assert run("hall sale", only=f"death/byte {torn}").loaded == 1


@pytest.mark.parametrize(
    "case", ["death/byte 999", "pull/op 999", "pull/op 1/=00", "nonsense", "death/byte 1/then nonsense"]
)
def test_only_refuses_a_case_there_is_not(case):
    with pytest.raises(ValueError, match="no case"):
        run("hall sale", only=case)


@pytest.mark.parametrize(("depth", "shard"), [(0, (1, 1)), (3, (1, 1)), (1, (0, 1)), (1, (3, 2))])
def test_depth_or_shard_there_is_not_is_refused(depth, shard):
    with pytest.raises(ValueError, match="depth"):
        run("hall read back", depth, shard)


# ---------------------------------------------------------------------- a record is as good as a death


class DyingLedger(Ledger):
    """A ledger in a file, whose host dies before or after commit number ``left``, counted from 0."""

    left = 999
    before = False

    @contextmanager
    def begin(self):
        self.left -= 1
        with super().begin() as books:
            yield books
            if self.left == -1 and self.before:
                raise DeadError
        if self.left == -1:
            raise DeadError


def die(desk, path, byte=None, value=None, commit=None, before=False):
    """Run the service on a ledger in a real file and die; the rows and the card another program finds then."""
    path.write_bytes(desk.ledger.content(desk.start.ledger))
    ledger = DyingLedger(path, TEST_REGION)
    if commit is not None:
        ledger.left, ledger.before = commit, before
    socket = Socket(chip_of(desk.start.dump))
    if byte is not None:
        socket.die_at = (byte, value)
    with pytest.raises(DeadError):
        desk.serve(desk.hall(0, ledger), socket, desk.flow.rescue)
    ledger.close()
    connection = sqlite3.connect(path)
    rows = tuple(tuple(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in TABLES)
    connection.close()
    return rows, socket.card.dump()


@pytest.mark.parametrize("name", ["hall sale", "hall opening"])
def test_recorded_states_are_those_a_killed_program_leaves(name, tmp_path):
    desk = Desk(HALL_FLOWS[name])
    steps = desk.record(desk.start)[0]
    stores = [step for step in steps if step.plan is not None]
    assert len(stores) > (85 if name == "hall opening" else 15)
    for byte, step in enumerate(stores):
        assert die(desk, tmp_path / f"{byte}.db", byte) == (desk.ledger.rows(step.ledger), step.dump)
    # And torn: the byte in flight is what the fault says, everything else as recorded.
    byte = len(stores) // 2
    area, place, _ = stores[byte].plan
    torn = bytearray(stores[byte].dump)
    torn[(0, 256, 260)[area] + place] = 0xFE
    assert die(desk, tmp_path / "torn.db", byte, 0xFE) == (desk.ledger.rows(stores[byte].ledger), bytes(torn))
    commits = [step for step in steps if step.operation < 0]
    assert len(commits) == (6 if name == "hall opening" else 2)
    for number, step in enumerate(commits):
        for before in (True, False):
            left = die(desk, tmp_path / f"{number}{before}.db", commit=number, before=before)
            assert left == (desk.ledger.rows(step.ledger if before else step.after), step.dump)
    desk.close()


def test_ledger_put_back_is_the_one_that_was_kept():
    desk = Desk(HALL_FLOWS["hall sale"])
    begun = desk.start.ledger
    _, end, how = desk.record(desk.start)
    assert how == "finished"
    assert desk.ledger.keep() == end.ledger != begun
    desk.ledger.back(begun)
    assert desk.ledger.keep() == begun
    assert [row.state for row in desk.facts(end.ledger).orders] == ["done", "written"]
    desk.close()


# ---------------------------------------------------------------------- planted bugs


def test_row_marked_written_before_the_card_is_found(monkeypatch):
    def write_order(self, reader, card, order):
        with self.ledger.begin() as books:
            books.mark_written(order.id)
        reader.write(ORDER_AT, order.frame)

    monkeypatch.setattr(Counter, "write_order", write_order)
    assert "row_first" in rules(run("hall sale", 1, (1, 8)))


def test_order_booked_only_after_the_card_is_written_is_found(monkeypatch):
    real_book, real_write = Counter.book, Counter.write_order
    missing = []

    def book(self, books, standing, count, fen):
        order = real_book(self, books, standing, count, fen)
        sql = books._connection.exec_driver_sql
        missing[:] = [tuple(sql("SELECT * FROM orders WHERE id = ?", (order.id,)).one())]
        sql("DELETE FROM orders WHERE id = ?", (order.id,))
        return order

    def write_order(self, reader, card, order):
        reader.write(ORDER_AT, order.frame)
        with self.ledger.begin() as books:
            places = ", ".join("?" * len(missing[0]))
            books._connection.exec_driver_sql(f"INSERT INTO orders VALUES ({places})", missing[0])
        real_write(self, reader, card, order)

    monkeypatch.setattr(Counter, "book", book)
    monkeypatch.setattr(Counter, "write_order", write_order)
    assert rules(run("hall sale", 1, (1, 8))) & {"row_first", "frame_known"}


def test_pending_row_that_is_skipped_is_found(monkeypatch):
    # The row says written at once: nobody finishes what was begun.
    monkeypatch.setattr("gashall.books.PENDING", WRITTEN)
    assert PENDING != WRITTEN
    assert "row_first" in rules(run("hall sale", 1, (1, 8)))


def test_missing_look_at_the_card_before_the_booking_is_found(monkeypatch):
    monkeypatch.setattr(Counter, "check_same", lambda self, reader, card: None)
    assert "booked_for_it" in rules(run("hall sale", 1, (1, 2)))


def test_order_made_anew_when_it_is_resumed_is_found(monkeypatch):
    real = Counter.write_order

    def write_order(self, reader, card, order):
        values = encode.decode_card(_with_order(card.image, order.frame), self.signer).order.values
        values = {name: value for name, value in values.items() if name != "psc_mask"} | {"time": self.now()}
        frame = encode.encode_order(self.signer, card.number, values, 2)
        reader.write(ORDER_AT, frame)
        if frame == order.frame:
            return real(self, reader, card, order)
        with self.ledger.begin() as books:
            books.mark_written(order.id)
        return None

    monkeypatch.setattr(Counter, "write_order", write_order)
    assert run("hall sale", only="death/op 2").violations == []
    assert "frame_known" in rules(run("hall sale", 1, (1, 8)))


def _with_order(image, frame):
    return image[:ORDER_AT] + frame + image[ORDER_AT + len(frame) :]


def test_password_byte_announced_too_late_is_found(monkeypatch):
    real = Books.mark_card

    def mark_card(self, card, *, psc_bytes, issued):
        real(self, card, psc_bytes=psc_bytes if issued else max(0, psc_bytes - 1), issued=issued)

    monkeypatch.setattr(Books, "mark_card", mark_card)
    found = {rule for shard in (1, 2) for rule in rules(run("hall opening resumed", 1, (shard, 8)))}
    assert "password_kept" in found


def test_last_try_spent_without_being_asked_for_is_found(monkeypatch):
    real = Reader.present
    monkeypatch.setattr(Reader, "present", lambda self, psc, *, rescue=False: real(self, psc, rescue=True))
    monkeypatch.setattr(Counter, "check_same", lambda self, reader, card: None)
    case = "swap/op 2/neighbour, last try"
    assert rules(run("hall sale", only=case)) == {"stranger_whole"}


def test_write_outside_the_order_is_found(monkeypatch):
    real = Counter.write_order

    def write_order(self, reader, card, order):
        real(self, reader, card, order)
        reader.write(0xF0, b"\x00")

    monkeypatch.setattr(Counter, "write_order", write_order)
    assert "card_places" in rules(run("hall sale", only="death/byte 3"))


def test_commit_after_the_card_was_pulled_is_found(monkeypatch):
    real = Counter.write_order

    def write_order(self, reader, card, order):
        try:
            real(self, reader, card, order)
        except GasError:
            with self.ledger.begin() as books:
                books.mark_written(order.id)
            raise

    monkeypatch.setattr(Counter, "write_order", write_order)
    assert "pull_is_death" in rules(run("hall sale", only="pull/op 20"))


@pytest.mark.parametrize("name", ["hall refund", "hall makeup, gas held", "hall probe"])
def test_repetition_that_does_not_end_what_was_begun_is_found(monkeypatch, name):
    def finish(self, reader, standing, order, rescue):
        self.unlock(reader, standing.card, rescue)
        reader.write(ORDER_AT, order.frame)

    case = "death/byte 5"
    assert run(name, only=case).violations == []
    monkeypatch.setattr(Counter, "finish", finish)
    assert rules(run(name, only=case)) == {"same_end"}


def test_thinned_flow_still_stops_at_every_byte_commit_and_pull():
    counts = run("hall replacement, gas held", 1, (1, 8))
    assert counts.fired > 50 and counts.violations == []


@pytest.mark.parametrize("name", ["hall management card", "hall key card"])
def test_company_card_written_before_its_row_is_found(monkeypatch, name):
    add, mark, missing = Books.add_tool, Books.mark_tool, []

    def add_tool(self, row):
        missing.append(row)
        return row

    def mark_tool(self, row, **more):
        while missing:
            add(self, missing.pop())
        mark(self, row, **more)

    monkeypatch.setattr(Books, "add_tool", add_tool)
    monkeypatch.setattr(Books, "mark_tool", mark_tool)
    assert rules(run(name, only="death/byte 30")) == {"row_first"}


@pytest.mark.parametrize("name", ["hall transfer card", "hall clear card", "hall setting card", "hall test gas card"])
def test_company_card_with_another_byte_than_its_row_is_found(monkeypatch, name):
    real = Counter.issuing

    def issuing(self, reader, card, row, frames, **more):
        if isinstance(row, ToolRow):
            frames = frames[:-1] + b"\x00"
        return real(self, reader, card, row, frames, **more)

    assert run(name, only="death/byte 30").violations == []
    monkeypatch.setattr(Counter, "issuing", issuing)
    assert rules(run(name, only="death/byte 30")) == {"card_sound"}


def test_write_outside_a_company_card_s_places_is_found(monkeypatch):
    real = toolmaking.unlock_blank

    def unlock_blank(reader, card):
        real(reader, card)
        reader.write(0x16, b"\x00")

    monkeypatch.setattr(toolmaking, "unlock_blank", unlock_blank)
    monkeypatch.setattr(counter, "check_image", lambda reader, card: None)
    monkeypatch.setattr(counter, "check_read_back", lambda reader, image: None)
    assert rules(run("hall clear card", only="death/byte 30")) == {"card_places"}


def test_gas_that_an_exchange_moves_twice_is_found(monkeypatch):
    real = Account.plan

    def plan(self, order, *more):
        return real(self, order | {"bought_total": order["bought_total"] + (order["amount"] == 0)}, *more)

    assert run("hall transfer card", only="death/commit 4/after").violations == []
    monkeypatch.setattr(Account, "plan", plan)
    assert rules(run("hall transfer card", only="death/commit 4/after")) == {"one_delivers"}


@pytest.mark.parametrize("case", ["death/byte 2/=EA", "death/byte 76/=69"])
def test_report_being_taken_off_is_known_by_its_torn_first_byte(monkeypatch, case):
    assert run("hall management card read", only=case).violations == []
    monkeypatch.setattr(toolreading, "_START", 0xFF)
    assert rules(run("hall management card read", only=case)) == {"same_end"}


def test_clear_card_made_twice_is_found(monkeypatch):
    monkeypatch.setattr(toolmaking, "unfinished", lambda books, kind, meter: None)
    found = run("hall clear card", only="death/byte 30").violations
    assert [violation.text.partition(" ")[0] for violation in found] == ["BINDING_ENDS"]


def test_error_no_service_tells_of_is_found(monkeypatch):
    real = Counter.write_order

    def write_order(self, reader, card, order):
        if order.released_pulses == 5000:
            raise ZeroDivisionError
        real(self, reader, card, order)

    monkeypatch.setattr(Counter, "write_order", write_order)
    counts = run("hall sale")
    assert [(found.case, found.text) for found in counts.violations] == [("whole", "ZeroDivisionError: ")]


# ---------------------------------------------------------------------- the socket


def test_socket_pulls_swaps_and_counts():
    desk = Desk(HALL_FLOWS["hall sale"])
    card, other = chip_of(desk.start.dump), chip_of(desk.neighbour.dump())
    socket = Socket(card)
    socket.fault_at, socket.other = 2, other
    with ChipReader(socket) as reader:
        assert reader.read(0, 256) == bytes(card.main)
        assert reader.read(0, 256) == bytes(other.main)
        assert socket.pulled is card
        with pytest.raises(CardError):
            # The password went to another card, which has lost a try by it and nothing else.
            if not reader.present(desk.signer.card_psc(2)):
                raise CardError(codes.PASSWORD_REFUSED)
    assert tries_left(other.security[0]) == 2
    assert other.dump()[:260] == desk.neighbour.dump()[:260]
    assert card.dump() == desk.start.dump
    desk.close()
