"""A card that knows more than the ledger, and a ledger out of a copy: what is adopted, refused, and goes on."""

import json
import shutil
import sqlite3
from datetime import UTC, datetime

import pytest
from paper import METER, NEIGHBOUR, ORDER, REGION, ROOT, put
from test_tool_cards import Stand
from tests.conftest import require_part

from gascard import codes
from gascard.records import FLAG_REFUND, ORDER_AT, REPORT_AT, SEQUENCE_MAX
from gashall import encode, errors
from gashall.encode import decode_card
from gashall.errors import GasError, LedgerError
from gashall.keyfile import PLAIN
from gashall.signer import KeyFileSigner

require_part("sqlalchemy")
from gashall import probe, restoring  # noqa: E402
from gashall.books import NUMBERS_LOST  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.readers import FileReader  # noqa: E402
from gashall.services import Hall  # noqa: E402

ACCOUNT = "0000000001"
APPROVED = {"requester": "Li Ming", "approver": "王芳", "reason": "the disk broke"}
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def code_of(attempt):
    with pytest.raises(GasError) as refusal:
        attempt()
    return refusal.value.code


def orders(hall):
    with hall.ledger.look() as books:
        return books.orders(ACCOUNT)


def lose(desk, signer=None, **fields):
    """Put an order on the card that the ledger does not know, as if it had lost the row."""
    values = ORDER | {"sequence": 2, "bought_total": 5000, "amount": 2000} | fields
    put(desk.card_path, ORDER_AT, encode.encode_order(signer or desk.signer, 1, values))


def report(desk, **fields):
    desk.meter.report_number += 1
    put(desk.card_path, REPORT_AT[1], desk.meter.report(**fields))


def load(desk):
    desk.meter.insert(desk.card_path)


# Rule, what is on the card -> new rows (sequence, paid, released, state), account's total.
TAKEN = [
    ("an order that is not loaded", [lose], [(2, 2000, 5000, "written")]),
    ("an order and the report of it", [lose, load], [(2, 2000, 5000, "done")]),
    (
        "orders between are lost: their gas is in the total",
        [lambda desk: lose(desk, sequence=4, bought_total=9000)],
        [(4, 6000, 9000, "written")],
    ),
    (
        "a report alone, the order torn",
        [lose, load, lambda desk: put(desk.card_path, ORDER_AT + 20, b"\0\0\0")],
        [(2, 2000, 5000, "done")],
    ),
    (
        "a report behind the order of the card",
        [lose, load, lambda desk: lose(desk, sequence=3, bought_total=6000)],
        [(3, 3000, 6000, "written")],
    ),
    (
        "RULES 1: nothing is lowered, not by a refund order the ledger has lost",
        [lambda desk: lose(desk, bought_total=1000, amount=-2000, flags=FLAG_REFUND)],
        [(2, 0, 3000, "written")],
    ),
]


@pytest.mark.parametrize(("bends", "rows"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN])
def test_cards_word_is_adopted_and_the_next_sale_goes_on_above_it(desk, bends, rows):
    hall = desk.opened()
    hall.read_back(desk.card)
    known = orders(hall)
    for bend in bends:
        bend(desk)
    assert code_of(lambda: hall.sell(desk.card, 10)) in (errors.LEDGER_BEHIND, codes.CRC)
    image = desk.card_path.read_bytes()
    told = hall.adopt(desk.card, **APPROVED)
    assert desk.card_path.read_bytes() == image
    new = [order for order in orders(hall) if order.id not in [row.id for row in known]]
    assert [(row.sequence, row.paid_pulses, row.released_pulses, row.state) for row in new] == rows
    assert {(row.kind, row.fen, row.price, row.shift) for row in new} == {("adopted", None, None, None)}
    assert int(told.released * 100) == rows[-1][2] and not told.recovering
    assert "adopted" in "\n".join(hall.history(ACCOUNT).lines())
    assert "asked for by Li Ming, approved by 王芳: the disk broke" in "\n".join(hall.history(ACCOUNT).lines())
    assert hall.audit().clean
    if rows[-1][3] == "written":
        load(desk)
    if decode_card(desk.card_path.read_bytes(), desk.signer).order.authentic:
        assert hall.sell(desk.card, 10).bought_total == rows[-1][2] + 1000


def test_after_adopting_sequence_and_totals_stand_above(desk):
    hall = desk.opened()
    lose(desk, sequence=5, bought_total=7000)
    load(desk)
    hall.adopt(desk.card, **APPROVED)
    sale = hall.sell(desk.card, 10)
    assert (sale.sequence, sale.bought_total) == (6, 8000)


def test_refund_that_was_lost_and_loaded_does_not_stop_the_next_sale(desk):
    hall = desk.opened()
    lose(desk, bought_total=1000, amount=-2000, flags=FLAG_REFUND)
    hall.adopt(desk.card, **APPROVED)
    desk.meter.sequence, desk.meter.bought = 2, 1000
    report(desk)
    assert hall.sell(desk.card, 10).bought_total == 4000


def test_correction_that_was_lost_is_in_the_next_order(desk):
    hall = desk.opened()
    lose(desk, correction_total=-30)
    desk.meter.correction = -30
    load(desk)
    report(desk)
    hall.adopt(desk.card, **APPROVED)
    hall.sell(desk.card, 10)
    assert decode_card(desk.card_path.read_bytes(), desk.signer).order.values["correction_total"] == -30


OTHER_KEY = KeyFileSigner(bytes(32), REGION)

# Rule, what is on the card, who asks -> code.
NOT_TAKEN = [
    ("the ledger has it all", lambda desk: None, {}, errors.NOTHING_TO_ADOPT),
    ("RULES 1: approved, by somebody else", lose, {"approver": "Li Ming"}, errors.APPROVER),
    ("by somebody", lose, {"approver": " "}, errors.FIELD),
    ("for a reason", lose, {"reason": ""}, errors.FIELD),
    ("never an unauthentic order", lambda desk: lose(desk, OTHER_KEY), {}, codes.MAC),
    ("an order of a later binding", lambda desk: lose(desk, binding=2), {}, errors.LEDGER_BEHIND),
    ("an order of another account", lambda desk: lose(desk, account="0000000002"), {}, errors.LEDGER_BEHIND),
    ("an order for another meter", lambda desk: lose(desk, meter=NEIGHBOUR), {}, codes.METER),
    ("a report of a later binding", lambda desk: report(desk, binding=2), {}, errors.LEDGER_BEHIND),
    (
        "never an unauthentic report",
        lambda desk: put(desk.card_path, REPORT_AT[0] + 4, b"\0" * 4),
        {},
        errors.NOTHING_TO_ADOPT,
    ),
]


@pytest.mark.parametrize(("bend", "asked", "code"), [row[1:] for row in NOT_TAKEN], ids=[row[0] for row in NOT_TAKEN])
def test_what_is_not_adopted_changes_nothing(desk, bend, asked, code):
    hall = desk.opened()
    hall.read_back(desk.card)
    bend(desk)
    before = hall.audit().head
    assert code_of(lambda: hall.adopt(desk.card, **APPROVED | asked)) == code
    assert hall.audit().head == before


# Restoring.


class Restoring:
    """A desk whose ledger was copied, lost and restored; ``lost`` is done between."""

    def __init__(self, desk, lost=None):
        self.desk, self.folder = desk, desk.folder
        key = {"format": PLAIN, "region": REGION, "root": ROOT.hex()}
        (self.folder / "key.json").write_text(json.dumps(key))
        (self.folder / "key.json").chmod(0o600)
        hall = desk.hall()
        hall.backup(self.folder / "copy.db")
        if lost is not None:
            lost(hall)
        desk.close()

    def restore(self, **how):
        self.told = Hall.restore(
            self.folder / "copy.db", self.folder / "new.db", self.folder / "key.json", lambda: NOON, **how
        )
        return self.desk.hall(Ledger(self.folder / "new.db", REGION))


def test_restored_ledger_waits_for_the_report_of_an_order_written_since(desk):
    desk.opened().read_back(desk.card)
    restoring = Restoring(desk)
    copy = (desk.folder / "copy.db").read_bytes()
    hall = restoring.restore()
    assert (desk.folder / "copy.db").read_bytes() == copy
    assert restoring.told.recovering == 1 and restoring.told.head == hall.audit().head
    assert [(row.account, row.probed) for row in hall.recovering()] == [(ACCOUNT, False)]
    assert code_of(lambda: hall.sell(desk.card, 10)) == errors.RECOVERING
    assert code_of(lambda: hall.adopt(desk.card, **APPROVED)) == errors.NOTHING_TO_ADOPT
    probe = hall.probe(desk.card)
    assert (probe.sequence, probe.pulses, probe.fen) == (101, 0, None)
    order = decode_card(desk.card_path.read_bytes(), desk.signer).order.values
    assert (order["bought_total"], order["amount"], order["flags"]) == (0, 0, 0)
    again = hall.probe(desk.card)
    assert (again.sequence, again.resumed) == (101, True)
    assert code_of(lambda: hall.adopt(desk.card, **APPROVED)) == errors.NOTHING_TO_ADOPT
    load(desk)
    assert code_of(lambda: hall.sell(desk.card, 10)) == errors.RECOVERING
    assert [row.probed for row in hall.recovering()] == [True]
    assert not hall.adopt(desk.card, **APPROVED).recovering
    assert hall.recovering() == []
    sale = hall.sell(desk.card, 10)
    assert (sale.sequence, sale.bought_total) == (102, 4000)
    assert code_of(lambda: hall.probe(desk.card)) == errors.NOT_RECOVERING
    assert hall.audit().clean


def test_probe_bears_the_corrections_made_so_far(desk):
    """The meter takes a correction total as it stands: a probe without it would take one back."""
    desk.meter.correction = -30
    desk.opened().read_back(desk.card)
    hall = Restoring(desk).restore()
    hall.probe(desk.card)
    assert decode_card(desk.card_path.read_bytes(), desk.signer).order.values["correction_total"] == -30


def test_refused_sale_keeps_what_the_card_proved_and_asks_no_password(desk):
    hall = desk.opened()
    hall.mark_restored()
    reader = desk.card
    reader.present = None
    assert code_of(lambda: hall.sell(reader, 10)) == errors.RECOVERING
    with hall.ledger.look() as books:
        assert books.last_report(METER).report_number == 1


def test_company_may_sell_meanwhile(desk):
    desk.opened().read_back(desk.card)
    hall = Restoring(desk).restore()
    hall.sell_while_recovering(True)
    assert hall.sell(desk.card, 10).sequence == 101
    load(desk)
    assert hall.sell(desk.card, 10).sequence == 102
    assert [row.account for row in hall.recovering()] == [ACCOUNT]
    load(desk)
    assert not hall.adopt(desk.card, **APPROVED).recovering
    hall.sell_while_recovering(False)
    assert hall.sell(desk.card, 10).sequence == 103


def test_order_on_the_card_is_loaded_before_the_probe_or_overwritten_on_demand(desk):
    hall = desk.opened()
    hall.sell(desk.card, 20)
    hall = Restoring(desk).restore()
    assert code_of(lambda: hall.probe(desk.card)) == errors.GAS_ON_CARD
    assert hall.probe(desk.card, overwrite=True).sequence == 102
    load(desk)
    assert not hall.adopt(desk.card, **APPROVED).recovering
    assert hall.read_back(desk.card).on_card == 20
    assert [order.state for order in orders(hall)] == ["done", "written", "done"]
    assert hall.sell(desk.card, 10).bought_total == 6000


def test_probe_over_a_torn_order_of_which_no_row_is_left(desk):
    """The counter died in the lost sale, between the card's bytes."""
    desk.opened().read_back(desk.card)
    hall = Restoring(desk).restore()
    put(desk.card_path, ORDER_AT + 20, b"\0\0\0")
    assert hall.probe(desk.card).sequence == 101
    load(desk)
    assert not hall.adopt(desk.card, **APPROVED).recovering


def dead_sale(hall, desk, volume=20):
    """The counter dies with the row pending and the card as it was."""
    reader = desk.card

    def dead(plan):
        raise KeyboardInterrupt

    unlock = reader.present

    def present(*words, **more):
        right = unlock(*words, **more)
        reader.step = dead
        return right

    reader.present = present
    with pytest.raises(KeyboardInterrupt):
        hall.sell(reader, volume)


# Rule, what happened between copy and loss -> what a sale after the restore is answered.
PENDING = [
    ("nothing: the same frame is written", [], errors.ORDER_FINISHED),
    ("it was finished: the card bears it", ["finish"], errors.ORDER_FINISHED),
    ("it was finished and loaded: the report settles it", ["finish", "load"], errors.RECOVERING),
    ("it was finished, and another order made", ["finish", "load", "sell"], errors.LEDGER_BEHIND),
]


@pytest.mark.parametrize(("steps", "code"), [row[1:] for row in PENDING], ids=[row[0] for row in PENDING])
def test_pending_row_of_the_copy_is_settled_as_ever(desk, steps, code):
    """RULES 1, settling: its frame may be out already, so writing it again gives nobody what he has not."""
    hall = desk.opened()
    hall.read_back(desk.card)
    dead_sale(hall, desk)
    assert orders(hall)[-1].state == "pending"
    total = 5000

    def lost(hall):
        if "finish" in steps:
            with pytest.raises(GasError, match="ORDER_FINISHED"):
                hall.sell(desk.card, 1)
        if "load" in steps:
            load(desk)
        if "sell" in steps:
            hall.sell(desk.card, 7)

    total += 700 * ("sell" in steps)
    hall = Restoring(desk, lost).restore()
    assert code_of(lambda: hall.sell(desk.card, 1)) == code
    if code == errors.LEDGER_BEHIND:
        hall.adopt(desk.card, **APPROVED)
    load(desk)
    hall.read_back(desk.card)
    assert [order.state for order in orders(hall)] == ["done"] * len(orders(hall))
    hall.probe(desk.card)
    load(desk)
    assert not hall.adopt(desk.card, **APPROVED).recovering
    assert hall.sell(desk.card, 1).bought_total == total + 100
    load(desk)
    assert desk.meter.bought == total + 100
    assert hall.audit().clean


def test_later_order_proves_that_the_pending_one_was_finished(desk):
    """Where no report can be read any more: a window makes no order while another is pending."""
    hall = desk.opened()
    hall.read_back(desk.card)
    dead_sale(hall, desk)
    lose(desk, sequence=3, bought_total=5700)
    for at in REPORT_AT:
        put(desk.card_path, at, b"\xff" * 74)
    hall.adopt(desk.card, **APPROVED)
    assert [order.state for order in orders(hall)] == ["done", "written", "written"]
    load(desk)
    assert hall.sell(desk.card, 1).bought_total == 5800


def test_numbers_that_may_be_in_use_are_not_given_again(desk):
    desk.opened()
    lost = Restoring(desk, lambda hall: hall.open_account(desk.blank("lost.bin"), meter=NEIGHBOUR, volume=5))
    hall = lost.restore()
    reader = desk.blank("other.bin")
    reader.path = str(desk.folder / "lost.bin")
    assert code_of(lambda: hall.read_back(reader)) == errors.CARD_UNKNOWN
    sale = hall.open_account(desk.blank("next.bin"), meter="32060012345670", volume=5)
    assert (int(sale.account), sale.card) == (NUMBERS_LOST + 2, NUMBERS_LOST + 2)
    assert sale.sequence == 1 and [row.account for row in hall.recovering()] == [ACCOUNT]


def test_ledger_restored_twice_jumps_twice(desk):
    desk.opened().read_back(desk.card)
    hall = Restoring(desk).restore()
    hall.probe(desk.card)
    load(desk)
    assert hall.mark_restored().recovering == 1
    # The report of the first probe was written before the second restore: another one is wanted.
    assert code_of(lambda: hall.adopt(desk.card, **APPROVED)) == errors.NOTHING_TO_ADOPT
    assert hall.probe(desk.card).sequence == 201
    load(desk)
    assert not hall.adopt(desk.card, **APPROVED).recovering
    assert hall.audit().clean


def test_copy_of_a_recovering_ledger_jumps_above_its_own_lost_orders(desk):
    desk.opened().read_back(desk.card)
    hall = Restoring(desk).restore()
    assert hall.mark_restored().recovering == 1
    assert hall.probe(desk.card).sequence == 201
    assert [row.account for row in hall.recovering()] == [ACCOUNT]


def test_the_same_copy_restored_twice_adopts_the_probe_it_lost(desk):
    desk.opened().read_back(desk.card)
    hall = Restoring(desk).restore()
    hall.probe(desk.card)
    load(desk)
    desk.close()
    (desk.folder / "new.db").unlink()
    hall = Hall.open(desk.folder / "copy.db", desk.folder / "key.json", lambda: NOON)
    desk.halls.append(hall)
    hall.mark_restored()
    assert code_of(lambda: hall.probe(desk.card)) == errors.LEDGER_BEHIND
    assert hall.adopt(desk.card, **APPROVED).recovering
    assert code_of(lambda: hall.adopt(desk.card, **APPROVED)) == errors.NOTHING_TO_ADOPT
    assert hall.probe(desk.card).sequence == 102
    load(desk)
    assert not hall.adopt(desk.card, **APPROVED).recovering
    assert hall.sell(desk.card, 10).bought_total == 4000


def test_sequences_that_would_pass_their_end_are_refused(desk):
    hall = desk.opened()
    lose(desk, sequence=SEQUENCE_MAX - 50)
    load(desk)
    hall.adopt(desk.card, **APPROVED)
    hall = Restoring(desk).restore()
    hall.sell_while_recovering(True)
    replace = lambda: hall.replace(desk.blank("new.bin"), account=ACCOUNT, reason="lost in use")  # noqa: E731
    for attempt in (lambda: hall.probe(desk.card), lambda: hall.sell(desk.card, 1), replace):
        assert code_of(attempt) == codes.NUMBER_USED_UP


def test_card_lost_while_recovering_is_replaced_by_a_probe(desk):
    hall = desk.opened()
    hall.read_back(desk.card)
    hall = Restoring(desk, lambda hall: (hall.sell(desk.card, 20), load(desk))).restore()
    reader = desk.blank("new.bin")
    told = hall.replace(reader, account=ACCOUNT, reason="lost in use")
    assert (told.sequence, told.released, told.opening, told.probe) == (101, 0, False, True)
    new = desk.folder / "new.bin"
    order = decode_card(new.read_bytes(), desk.signer).order.values
    assert (order["bought_total"], order["amount"], order["replacement"], order["flags"]) == (0, 0, 1, 0)
    assert code_of(lambda: hall.sell(reader, 1)) == errors.RECOVERING
    assert [row.probed for row in hall.recovering()] == [True]
    desk.meter.insert(new)
    adopted = hall.adopt(reader, **APPROVED)
    assert (adopted.recovering, adopted.raised, adopted.released) == (False, 20, 50)
    assert hall.sell(reader, 10).bought_total == 6000
    assert hall.audit().clean


def spoil(desk):
    with sqlite3.connect(desk.folder / "copy.db") as raw:
        raw.execute("UPDATE orders SET paid_pulses = 1")
    raw.close()


# Rule, what is wrong, how it is asked for -> code, what the remedy says.
NOT_RESTORED = [
    ("the copy is not what its journal says", spoil, {}, errors.LEDGER, "earlier copy"),
    ("it lacks the head that was kept", lambda desk: None, {"head": "0" * 64}, errors.LEDGER, "earlier copy"),
    ("the head is none", lambda desk: None, {"head": "12"}, errors.FIELD, "Copy it"),
    ("there is no copy", lambda desk: (desk.folder / "copy.db").unlink(), {}, errors.LEDGER_MISSING, "path"),
    ("the copy is no ledger", lambda desk: (desk.folder / "copy.db").write_bytes(b"x" * 99), {}, errors.LEDGER, "copy"),
    (
        "nothing is overwritten",
        lambda desk: (desk.folder / "new.db").write_text("there"),
        {},
        errors.LEDGER,
        "another path",
    ),
    (
        "another restore is under way, or died",
        lambda desk: (desk.folder / "new.db.restoring").write_text("there"),
        {},
        errors.LEDGER,
        "may be deleted",
    ),
    (
        "another root's key",
        lambda desk: (desk.folder / "key.json").write_text(
            (desk.folder / "key.json").read_text().replace("0001020304", "ff01020304")
        ),
        {},
        errors.LEDGER_KEY,
        "key file",
    ),
]


@pytest.mark.parametrize(
    ("wrong", "how", "code", "remedy"), [row[1:] for row in NOT_RESTORED], ids=[row[0] for row in NOT_RESTORED]
)
def test_what_cannot_be_restored_leaves_no_ledger(desk, wrong, how, code, remedy):
    desk.opened()
    restoring = Restoring(desk)
    wrong(desk)
    files = {path.name: path.read_bytes() for path in desk.folder.iterdir()}
    with pytest.raises(GasError) as refusal:
        restoring.restore(**how)
    assert refusal.value.code == code
    assert remedy in refusal.value.remedy
    after = {path.name: path.read_bytes() for path in desk.folder.iterdir()}
    assert after == files


def test_file_that_appears_meanwhile_is_not_overwritten(desk, monkeypatch):
    desk.opened()
    restored = Restoring(desk)
    mark = restoring.mark

    def slow(*words, **more):
        (desk.folder / "new.db").write_text("there")
        return mark(*words, **more)

    monkeypatch.setattr(restoring, "mark", slow)
    assert code_of(restored.restore) == errors.LEDGER
    assert (desk.folder / "new.db").read_text() == "there"
    assert not (desk.folder / "new.db.restoring").exists()


def test_database_is_restored_by_its_own_means_and_then_marked(desk):
    desk.opened()
    restoring = Restoring(desk)
    for place in ("postgresql://hall@db/icgas", "sqlite:///copy.db"):
        with pytest.raises(LedgerError, match="no SQLite file") as refusal:
            Hall.restore(desk.folder / "copy.db", place, desk.folder / "key.json")
        assert "pg_restore" in refusal.value.remedy and "--mark" in refusal.value.remedy
    shutil.copy(desk.folder / "copy.db", desk.folder / "new.db")
    hall = restoring.desk.hall(Ledger(desk.folder / "new.db", REGION))
    assert hall.mark_restored().recovering == 1
    assert [row.account for row in hall.recovering()] == [ACCOUNT]
    with hall.ledger.begin() as books:
        books._connection.exec_driver_sql("UPDATE orders SET paid_pulses = 1")
    assert code_of(hall.mark_restored) == errors.LEDGER


def test_adopted_gas_is_not_counted_as_bought_today_nor_in_a_shift(desk):
    hall = desk.opened()
    hall.set_limits(day=40)
    hall.open_shift("Li Ming")
    lose(desk, bought_total=90_000)
    load(desk)
    hall.adopt(desk.card, **APPROVED)
    assert hall.sell(desk.card, 10).bought_total == 91_000
    assert hall.shift().sales == 1


def test_adopted_gas_hides_nothing_that_is_held(desk):
    # RULES 1, paid and released: what was adopted is loaded, and is not the gas on the lost card.
    hall = desk.opened()
    hall.read_back(desk.card)
    hall.mark_restored()
    hall.sell_while_recovering(True)
    desk.meter.sequence, desk.meter.bought = 2, 5000  # 20 m³ the ledger has lost
    hall.sell(desk.card, 5)
    load(desk)
    assert (hall.adopt(desk.card, **APPROVED).raised, hall.sell(desk.card, 20).bought_total) == (20, 7500)
    # Paid 30, 20, 5 and 20 m³; the meter has 50.
    assert hall.replace(desk.blank("new.bin"), account=ACCOUNT, reason="lost in use").held == 25
    told = hall.reconcile(ACCOUNT)
    assert (told.adopted, told.sold, told.held, told.difference) == (2000, 5500, 2500, 0)
    assert hall.audit().clean


@pytest.mark.parametrize("bought", [0, 2], ids=["never bought since", "bought twice since"])
def test_meter_opened_after_the_copy_is_opened_again_and_its_gas_adopted(desk, bought):
    """docs/ledger.md, Restored: the ledger knows neither account nor binding, and the meter is bound all the same."""
    stand, hall = Stand(desk.signer), desk.hall()
    paths = [desk.folder / name for name in ("lost.bin", "new.bin", *(f"again{n}.bin" for n in range(bought + 1)))]

    def visit(path):
        code, image = stand.visit(path.read_bytes())
        path.write_bytes(image)
        return code

    hall.backup(desk.folder / "copy.db")
    hall.open_account(desk.blank("lost.bin"), meter=METER, volume=30, fen=7500)
    assert visit(paths[0]) == codes.OK
    for _ in range(bought):
        hall.sell(FileReader(paths[0]), 10, fen=2500)
        assert visit(paths[0]) == codes.OK
        hall.read_back(FileReader(paths[0]))
    total = 30 + 10 * bought
    desk.close()
    for path in desk.folder.glob("ledger.db*"):
        path.unlink()
    (desk.folder / "copy.db").rename(desk.folder / "ledger.db")
    hall = desk.hall()
    hall.mark_restored()
    assert code_of(lambda: hall.read_back(FileReader(paths[0]))) == errors.CARD_UNKNOWN
    account = hall.open_account(desk.blank("new.bin"), meter=METER, volume=0).account
    assert visit(paths[1]) == (codes.OLDER if bought else codes.SEQUENCE_CONFLICT)
    for number, path in enumerate(paths[2:]):
        blank = desk.blank(path.name)
        hall.replace(blank, account=account, reason="lost never used", again=number > 0)
        code = visit(path)
    assert code == codes.OK
    card = FileReader(paths[-1])
    assert code_of(lambda: hall.read_back(card)) == errors.LEDGER_BEHIND
    assert hall.adopt(card, requester="Li Ming", approver="Wang Fang", reason="opened after the copy").raised == total
    assert hall.sell(card, 5, fen=1250).bought_total == 100 * (total + 5)
    assert visit(paths[-1]) == codes.OK
    assert hall.read_back(card).remaining == total + 5
    assert stand.meter.remaining == 100 * (total + 5)
    assert hall.audit().clean


@pytest.mark.parametrize("begun", ["drift", "purchase"])
def test_order_begun_before_the_restore_is_told_apart_from_the_probe(desk, begun):
    hall, stand = desk.hall(), Stand(desk.signer)

    def visit():
        code, image = stand.visit(desk.card_path.read_bytes())
        desk.card_path.write_bytes(image)
        assert code == codes.OK

    hall.open_account(desk.blank(), meter=METER, volume=30)
    visit()
    hall.read_back(desk.card)
    number = hall.request_makeup(ACCOUNT, 5, kind="drift", reason="x", requester="Li Ming").number
    hall.approve_grant(number, "王芳")
    reader = desk.card

    def dead(at, data):
        raise KeyboardInterrupt

    reader.write = dead
    with pytest.raises(KeyboardInterrupt):
        hall.write_grant(reader, number) if begun == "drift" else hall.sell(reader, 5)
    hall.mark_restored()
    told = probe.lines(hall.probe(desk.card))
    assert told[0].startswith("an earlier order is on the card") and told[1].endswith("icgas hall probe.")
    visit()
    assert code_of(lambda: hall.adopt(desk.card, **APPROVED)) == errors.NOTHING_TO_ADOPT
    told = probe.lines(hall.probe(desk.card))
    assert told[0].startswith("probe is on the card") and told[1].endswith("icgas hall reconcile adopt.")
    visit()
    assert not hall.adopt(desk.card, **APPROVED).recovering
    assert stand.meter.remaining == 3500
