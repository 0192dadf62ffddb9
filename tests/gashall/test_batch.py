"""A whole estate from a list: what is found in it beforehand, what a run makes, and that none is made twice."""

import csv
import io
import json
import os
import random
import signal
import traceback
from contextlib import contextmanager

import pytest
from paper import METER, REGION, ROOT, Desk, at_terminal
from tests.conftest import require_part

from gascard import codes
from gascard.chip import MAIN, SECURITY, Chip
from gascard.records import ORDER_AT
from gashall import errors
from gashall.encode import decode_card
from gashall.errors import GasError, LedgerError, ReaderError, RequestError
from gashall.readers import ChipReader, FileReader

require_part("alembic")
from gashall import batch as batch_module  # noqa: E402
from gashall import hall_command  # noqa: E402
from gashall.batch import ATTEMPTS, CardFolder  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402

HEAD = "meter,name,volume,initial_reading"
OWN = HEAD + ",account"
METERS = [f"{32060012345600 + i}" for i in range(5)]
ROWS = "\n".join([HEAD, *(f"{meter},Flat {i},{30 + i},{i}.5" for i, meter in enumerate(METERS))]) + "\n"


def estate(desk, text=ROWS, name="estate.csv"):
    path = desk.folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def made(hall, path, folder, **options):
    return hall.batch(path, CardFolder(folder, resume=options.get("resume", False)), **options)


def check_whole(desk, folder, meters=METERS):
    """Exactly one account a row, each on one good card; every card file in a tray; the ledger sound."""
    hall = desk.hall()
    with hall.ledger.look() as books:
        accounts = books.accounts()
        assert len(accounts) == len(meters)
        orders = {books.binding_of(account).meter: books.orders(account) for account in accounts}
        cards = {books.binding_of(account).meter: books.cards(account) for account in accounts}
    assert sorted(orders) == sorted(meters)
    good = {}
    for path in (folder / "good").glob("*.bin"):
        card = decode_card(path.read_bytes(), desk.signer)
        assert card.order.authentic
        meter = card.order.values["meter"]
        assert meter not in good
        good[meter] = path
        (order,), (row,) = orders[meter], cards[meter]
        assert (order.state, order.sequence, order.frame) == ("written", 1, card.order.raw)
        assert row.issued and row.number == card.number
        with FileReader(path) as reader:
            assert reader.error_counter() == 7
            assert reader.present(desk.signer.card_psc(row.number))
    assert sorted(good) == sorted(meters)
    assert {name.name for name in folder.iterdir() if name.is_file()} - {"results.csv"} == {"list.sha256"}
    assert hall.audit().findings == ()
    desk.close()


# ---------------------------------------------------------------------- what is found beforehand


def bound(desk):
    desk.hall().open_account(desk.blank(), meter=METERS[1], volume=30)


def begun(desk):
    """A clerk's opening of one of the meters that died before its card was finished."""
    reader = desk.blank()

    def step(plan):
        raise KeyboardInterrupt

    hall = desk.hall()
    reader.step = None
    write = reader.write
    reader.write = lambda *_: step(None)
    with pytest.raises(KeyboardInterrupt):
        hall.open_account(reader, meter=METERS[1], volume=31, name="Flat 1", initial_reading="1.5")
    reader.write = write


def other_weight(desk):
    desk.hall().open_account(desk.blank(), meter=METERS[1], volume=30, pulse_weight=1)


def limited(desk):
    desk.hall().set_limits(purchase=32)


def four_blanks(desk):
    desk.hall().stock_in(4)


def no_shift(desk):
    hall = desk.hall()
    hall.open_shift("李明")
    hall.close_shift(0)


def nothing(desk):
    pass


def rows(*lines, head=HEAD):
    return "\n".join([head, *lines]) + "\n"


# (rule, the ledger beforehand, the file, [(line, code, words of it)])
FINDINGS = [
    ("RULES 1: every row needs a meter", nothing, rows(",A,30,0"), [(2, errors.FIELD, "no meter")]),
    ("CJ/T 188: 14 digits", nothing, rows("123,A,30,0"), [(2, errors.NUMBER_MALFORMED, "'123'")]),
    ("CJ/T 188: 14 digits", nothing, rows("３２０６００１２３４５６７８,A,30,0"), [(2, errors.NUMBER_MALFORMED, "14")]),
    ("no volume", nothing, rows(f"{METER},A,,0"), [(2, errors.FIELD, "no volume")]),
    ("a name that can be printed", nothing, rows(f"{METER},\x1b[2JLi,30,0"), [(2, errors.FIELD, "printable")]),
    ("no initial reading", nothing, rows(f"{METER},A,30,"), [(2, errors.FIELD, "no initial_reading")]),
    ("DESIGN D1: whole pulses", nothing, rows(f"{METER},A,30.001,0"), [(2, errors.NOT_WHOLE_PULSES, "30.001")]),
    (
        "DESIGN D1: whole pulses of this meter",
        nothing,
        rows(f"{METER},A,30.01,0,1", head=HEAD + ",pulse_weight"),
        [(2, errors.NOT_WHOLE_PULSES, "30.01")],
    ),
    ("a figure", nothing, rows(f"{METER},A,thirty,0"), [(2, errors.AMOUNT, "thirty")]),
    ("within its field", nothing, rows(f"{METER},A,200000,0"), [(2, codes.RANGE, "200000")]),
    ("within the wheels", nothing, rows(f"{METER},A,30,100000"), [(2, codes.RANGE, "initial reading")]),
    ("RULES 5: no weight", nothing, rows(f"{METER},A,3,0,3", head=HEAD + ",pulse_weight"), [(2, codes.WEIGHT, "3")]),
    (
        "every fault of a row",
        nothing,
        rows(f"{METER},A,30.001,x,7000,-1,300", head=HEAD + ",alarm,overdraft,over_flow_seconds"),
        [
            (2, errors.NOT_WHOLE_PULSES, "30.001"),
            (2, errors.AMOUNT, "initial reading"),
            (2, codes.RANGE, "alarm"),
            (2, codes.RANGE, "overdraft"),
            (2, errors.FIELD, "over_flow_seconds"),
        ],
    ),
    (
        "every row with a fault, by its line",
        nothing,
        rows(f'{METER},"A\nB",30,0', "1,C,30,0", "", f"{METERS[0]},D,x,0"),
        [(2, errors.FIELD, "'A\\nB'"), (4, errors.NUMBER_MALFORMED, "1"), (6, errors.AMOUNT, "x")],
    ),
    ("no meter twice", nothing, rows(f"{METER},A,30,0", f"{METER},B,9,0"), [(3, errors.FIELD, "in line 2 already")]),
    (
        "no account twice",
        nothing,
        rows(f"{METER},A,30,0,0000000007", f"{METERS[0]},B,9,0,0000000007", head=HEAD + ",account"),
        [(3, errors.FIELD, "account 0000000007 stands in line 2")],
    ),
    (
        "account 0 is none",
        nothing,
        rows(f"{METER},A,9,0,0000000000", head=OWN),
        [(2, errors.NUMBER_MALFORMED, "0")],
    ),
    ("RULES 1: bound", bound, ROWS, [(3, codes.ALREADY_BOUND, METERS[1])]),
    (
        "an account there is",
        bound,
        rows(f"{METER},A,9,0,0000000001", head=OWN),
        [(2, codes.ALREADY_BOUND, "0000000001")],
    ),
    ("RULES 1: settling", begun, ROWS, [(3, errors.PENDING_ELSEWHERE, "begun already")]),
    ("booked with another weight", other_weight, ROWS, [(3, codes.WEIGHT, METERS[1])]),
    ("DOMAIN 3.16: limits", limited, ROWS, [(5, errors.OVER_LIMIT, "33.00"), (6, errors.OVER_LIMIT, "34.00")]),
    (
        "DOMAIN 1.16: stock, in total",
        four_blanks,
        ROWS,
        [(0, errors.STOCK_SHORT, "has 4 blank cards; the rows need 5")],
    ),
    ("DOMAIN 1.20: shifts", no_shift, ROWS, [(0, errors.SHIFT_MISSING, "No shift")]),
    ("an empty file", nothing, "", [(0, errors.FIELD, "no rows")]),
    ("a head and no rows", nothing, HEAD + "\n", [(0, errors.FIELD, "no rows")]),
    (
        "semicolons",
        nothing,
        ROWS.replace(",", ";"),
        [(1, errors.FIELD, "divided by semicolons.")],
    ),
    ("tabs", nothing, ROWS.replace(",", "\t"), [(1, errors.FIELD, "divided by tabs.")]),
    ("a spreadsheet's line", nothing, "sep=,\n" + ROWS, [(1, errors.FIELD, "sep= line")]),
    ("the same, and semicolons", nothing, "sep=;\n" + ROWS, [(1, errors.FIELD, "sep= line")]),
    ("a column twice in other capitals", nothing, "name,Name\n", [(1, errors.FIELD, "twice: 'name'")]),
    ("columns missing", nothing, "meter,volume\n1,2\n", [(1, errors.FIELD, "missing: name, initial_reading")]),
    ("a column misspelt", nothing, rows(head=HEAD + ",alarrm"), [(1, errors.FIELD, "'alarrm'")]),
    ("a column twice", nothing, rows(head=HEAD + ",name"), [(1, errors.FIELD, "'name'")]),
    ("a cell too many", nothing, rows(f"{METER},A,30,0,9"), [(2, errors.FIELD, "5 cells")]),
    ("GB 18030", nothing, rows(f"{METER},王芳,30,0").encode("gb18030"), [(2, errors.FIELD, "UTF-8")]),
    ("a quote left open", nothing, rows(f'{METER},"A,30,0'), [(2, errors.FIELD, "no CSV")]),
]


@pytest.mark.parametrize(("before", "text", "found"), [row[1:] for row in FINDINGS], ids=[row[0] for row in FINDINGS])
def test_finding_is_told_by_its_line_and_nothing_is_written(desk, before, text, found):
    before(desk)
    path, hall = estate(desk, text), desk.hall()
    head = hall.audit().head
    told = hall.judge_batch(path).problems
    assert [(problem.line, problem.error.code) for problem in told] == [row[:2] for row in found]
    for problem, (_, _, words) in zip(told, found, strict=True):
        assert words in problem.error.message and problem.error.remedy
    folder = CardFolder(desk.folder / "cards")
    with pytest.raises(RequestError) as refusal:
        hall.batch(path, folder)
    assert refusal.value.code == errors.BATCH_ROWS and str(told[0].error.message) in refusal.value.message
    assert not list(folder.folder.rglob("*.bin"))
    assert hall.audit().head == head


@pytest.mark.parametrize("missing", ["none.csv", ".", "pipe"])
def test_file_that_cannot_be_read_is_refused_and_not_waited_for(desk, missing):
    os.mkfifo(desk.folder / "pipe")
    with pytest.raises(RequestError) as refusal:
        desk.hall().judge_batch(desk.folder / missing)
    assert refusal.value.code == errors.FIELD


# ---------------------------------------------------------------------- a run


@pytest.mark.parametrize("group", [1, 2, 50])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_row_is_opened_as_the_counter_opens_it(desk, group, mark):
    folder = CardFolder(desk.folder / "cards")
    folder.group = group
    hall = desk.hall()
    hall.set_price(None, "263.15")
    hall.open_shift("李明")
    hall.stock_in(7)
    hall.stock_out(6)
    told = []
    done = hall.batch(estate(desk, mark + ROWS), folder, report=lambda *count: told.append(count))
    assert (done.left, done.bad, done.stopped) == ((), (), None)
    assert told[-1] == (5, 5) and len(told) == -(-5 // group)
    assert [(row.line, row.sale.meter, row.sale.fen, row.earlier) for row in done.made] == [
        (2 + i, meter, (30 + i) * 26315 // 100 + ((30 + i) * 26315 % 100 >= 50), False)
        for i, meter in enumerate(METERS)
    ]
    history = hall.history("0000000002")
    assert (history.account.name, history.bindings[0][0].initial_reading) == ("Flat 1", 150)
    assert (history.orders[0].shift, history.orders[0].paid_pulses) == (1, 3100)
    assert (hall.stock().hand, hall.stock().used) == (1, 5)
    check_whole(desk, folder.folder)


@pytest.mark.parametrize("written", [str, str.upper, str.title])
def test_rows_may_name_all_particulars_in_any_capitals(desk, written):
    columns = "account,alarm,ceiling,overdraft,pulse_weight,wheel_digits,over_flow_seconds,key_version,issue_batch"
    text = rows(f"{METER},王芳,30.1,4.5,0000000042,1.5,500,2.5,1,4,9,2,2603", head=written(f"{HEAD},{columns}"))
    hall = desk.hall()
    made(hall, estate(desk, text), desk.folder / "cards")
    known = hall.history("0000000042")
    (binding, meter), card = known.bindings[0], known.cards[0]
    assert (binding.alarm, binding.ceiling, binding.overdraft, binding.over_flow_seconds) == (15, 5000, 25, 9)
    assert (meter.pulse_weight, meter.wheel_pulses, meter.key_version, card.issue_batch) == (1, 100_000, 2, 2603)
    assert (known.account.name, known.orders[0].paid_pulses, binding.initial_reading) == ("王芳", 301, 45)


class Bad(CardFolder):
    """A box of blanks in which some are no good: ``kinds`` by the order in which they are taken."""

    kinds: dict[int, str] = {}
    taken = 0

    def take(self, row):
        reader = super().take(row)
        self.taken += 1
        kind = self.kinds.get(self.taken)
        path = self.folder / os.path.basename(reader.path)
        if kind == "used":
            path.write_bytes(path.read_bytes()[:0x40] + bytes(0xC0))
        if kind == "password":
            (self.folder / f"{path.name}.chip").write_bytes(b"\xf0\xff\xff\xff\x07\x01\x02\x03")
        if kind == "dead":
            (self.folder / f"{path.name}.chip").write_bytes(b"\xf0\xff\xff\xff\x00\xff\xff\xff")
        if kind == "gone":
            left = [40]

            def step(plan):
                left[0] -= 1
                if not left[0]:
                    reader.step = None
                    reader.pull()

            reader.step = step
        return reader


@pytest.mark.parametrize("group", [1, 50])
@pytest.mark.parametrize("kind", ["used", "password", "dead"])
def test_card_that_fails_goes_to_the_bad_tray_and_another_is_taken(desk, group, kind):
    folder = Bad(desk.folder / "cards")
    folder.group, folder.kinds = group, {2: kind, 3: kind} if group == 1 else {2: kind, 6: kind}
    hall = desk.hall()
    done = hall.batch(estate(desk), folder)
    assert done.stopped is None and [line for line, _, _ in done.bad] == [3, 3]
    assert sorted(path.name for path in (folder.folder / "bad").glob("*.bin")) == [
        f"00003-{METERS[1]}-2.bin",
        f"00003-{METERS[1]}.bin",
    ]
    assert [row.place for row in done.made][:2] == [f"good/00002-{METERS[0]}.bin", f"good/00003-{METERS[1]}-3.bin"]
    check_whole(desk, folder.folder)


@pytest.mark.parametrize("group", [1, 50])
def test_card_pulled_in_the_middle_is_finished_or_put_aside(desk, group):
    folder = Bad(desk.folder / "cards")
    folder.group, folder.kinds = group, {3: "gone"}
    done = desk.hall().batch(estate(desk), folder)
    assert done.stopped is None
    # One by one the reader says the card is gone; in a group the card is tried once more and finished.
    assert len(done.bad) == (1 if group == 1 else 0)
    check_whole(desk, folder.folder)


@pytest.mark.parametrize("group", [1, 50])
def test_three_bad_cards_in_succession_stop_the_batch_and_it_can_be_resumed(desk, group):
    folder = Bad(desk.folder / "cards")
    folder.group = group
    folder.kinds = dict.fromkeys(range(2, 2 + ATTEMPTS) if group == 1 else (2, 6, 7, 8), "password")
    hall, path = desk.hall(), estate(desk)
    done = hall.batch(path, folder)
    assert (done.stopped.line, done.stopped.error.code) == (3, errors.BATCH_STOPPED)
    assert 3 in done.left
    again = hall.batch(path, CardFolder(folder.folder, resume=True), resume=True)
    assert (again.left, again.stopped) == ((), None)
    assert [row.earlier for row in again.made].count(True) == len(done.made)
    check_whole(desk, folder.folder)


def test_rows_that_were_right_when_judged_stop_where_they_no_longer_are(desk):
    """The stock ran short meanwhile: what is open stays open, and the rest is done when cards are there."""
    hall, path = desk.hall(), estate(desk)
    hall.stock_in(5)
    judged = hall.judge_batch(path)
    hall.stock_spoiled(2)
    folder = CardFolder(desk.folder / "cards")
    done = hall.batch(judged, folder)
    assert (done.stopped.line, done.stopped.error.code, done.left) == (5, errors.STOCK_SHORT, (5, 6))
    hall.stock_in(2)
    assert made(hall, path, folder.folder, resume=True).stopped is None
    check_whole(desk, folder.folder)


def test_repeated_without_resume_it_opens_nothing(desk):
    hall, path = desk.hall(), estate(desk)
    made(hall, path, desk.folder / "cards")
    assert {row.error.code for row in hall.judge_batch(path).problems} == {codes.ALREADY_BOUND}
    with pytest.raises(RequestError, match="not empty"):
        CardFolder(desk.folder / "cards")
    again = made(hall, path, desk.folder / "cards", resume=True)
    assert all(row.earlier and row.place.startswith("good/") for row in again.made)
    check_whole(desk, desk.folder / "cards")


def test_resumed_with_other_particulars_is_refused(desk):
    hall = desk.hall()
    made(hall, estate(desk), desk.folder / "cards")
    told = hall.judge_batch(estate(desk, ROWS.replace("Flat 1,31", "Flat 1,13")), resume=True).problems
    assert [(row.line, row.error.code) for row in told] == [(3, codes.ALREADY_BOUND)]


def contents(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


MORE = ROWS + "32060012345699,Flat 9,30,0\n"
PART = "\n".join(ROWS.splitlines()[:3]) + "\n"
OTHER = rows("32060012345699,Somebody else,30,0")


@pytest.mark.parametrize("text", [MORE, PART, OTHER], ids=["more rows", "a part", "another list"])
def test_folder_of_another_list_is_not_gone_on_with(desk, text):
    """Its results would be overwritten, and its cards moved as if they were other rows'."""
    hall, folder = desk.hall(), desk.folder / "cards"
    made(hall, estate(desk), folder)
    before, head = contents(folder), hall.audit().head
    judged = hall.judge_batch(estate(desk, text, "other.csv"), resume=True)
    assert judged.problems == ()
    with pytest.raises(RequestError, match=r"another list, 'estate.csv'; 'other.csv' is not") as refusal:
        hall.batch(judged, CardFolder(folder, resume=True))
    assert (refusal.value.code, contents(folder), hall.audit().head) == (errors.FIELD, before, head)
    made(hall, estate(desk, name="renamed.csv"), folder, resume=True)
    check_whole(desk, folder)


@pytest.mark.parametrize("which", ["cards/good", "letters", "nowhere", "."])
def test_folder_in_which_no_batch_was_begun_is_not_gone_on_with(desk, which):
    hall = desk.hall()
    made(hall, estate(desk), desk.folder / "cards")
    (desk.folder / "letters").mkdir()
    before = set(desk.folder.rglob("*"))
    with pytest.raises(RequestError, match="No batch was begun in") as refusal:
        CardFolder(desk.folder / which, resume=True)
    assert refusal.value.code == errors.FIELD and "above good and bad" in refusal.value.remedy
    assert set(desk.folder.rglob("*")) == before


def test_mark_half_made_is_of_a_run_that_did_nothing(desk):
    folder = desk.folder / "cards"
    folder.mkdir()
    (folder / "list.sha256.new").write_bytes(b"12")
    with pytest.raises(RequestError, match="No batch was begun"):
        CardFolder(folder, resume=True)
    made(desk.hall(), estate(desk), folder)
    check_whole(desk, folder)


def test_blanks_may_come_from_a_function(desk):
    chips = []

    def next_blank():
        if len(chips) == 3:
            raise ReaderError(codes.NO_CARD, "The feeder is empty.")
        chips.append(Chip())
        return ChipReader(chips[-1])

    hall, path = desk.hall(), estate(desk)
    done = hall.batch(path, next_blank)
    assert (done.stopped.line, done.stopped.error.message, done.left) == (5, "The feeder is empty.", (5, 6))
    chips.clear()
    assert hall.batch(path, next_blank, resume=True).stopped is None
    assert [decode_card(bytes(chip.main), desk.signer).number for chip in chips] == [4, 5]


def test_another_window_that_issues_a_card_meanwhile_is_not_overwritten(desk):
    """While the group is being written, another window finishes one of its rows on a blank of its own."""
    hall, path = desk.hall(), estate(desk)
    other = desk.hall()

    class Slow(CardFolder):
        done = False

        def take(self, row):
            reader = super().take(row)

            def step(plan):
                if not self.done and plan[0] == 1:  # protection: the rows are booked
                    self.done = True
                    other.open_account(
                        desk.blank("other.bin"), meter=METERS[2], volume=32, name="Flat 2", initial_reading="2.5"
                    )

            reader.step = step
            return reader

    done = hall.batch(path, Slow(desk.folder / "cards"))
    # Those before it are finished one by one; it is named, and not the group's first.
    assert (done.stopped.line, done.stopped.error.code, done.left) == (4, codes.ALREADY_BOUND, (4, 5, 6))
    again = made(hall, path, desk.folder / "cards", resume=True)
    assert again.stopped is None and len(again.made) == 5
    with hall.ledger.look() as books:
        assert len(books.accounts()) == 5
    good = [decode_card(file.read_bytes()).number for file in (desk.folder / "cards" / "good").glob("*.bin")]
    number = decode_card((desk.folder / "other.bin").read_bytes()).number
    assert sorted([*good, number]) == [1, 2, 3, 4, 5]
    assert [file.name for file in (desk.folder / "cards" / "bad").glob("*.bin")] == [f"00004-{METERS[2]}.bin"]
    assert hall.audit().findings == ()


@pytest.mark.parametrize("group", [1, 2, 50])
def test_nothing_is_on_a_card_that_the_ledger_does_not_hold_yet(desk, group):
    """DESIGN D5: at every byte stored, another window sees the row with its frame and the password byte announced."""
    witness = desk.hall()
    seen = {"order": 0, "password": 0}

    class Watched(CardFolder):
        def take(self, row):
            reader = super().take(row)

            def step(plan):
                area, place, value = plan
                if area == SECURITY and place == 0:
                    return  # a try: it says nothing
                with witness.ledger.look() as books:
                    binding = books.binding_on(row.meter)
                    order = books.last_order(binding.id)
                    card = books.card(order.card)
                assert (order.state, card.issued) == ("pending", False)
                if area == MAIN and ORDER_AT <= place < ORDER_AT + len(order.frame):
                    assert order.frame[place - ORDER_AT] == value
                    seen["order"] += 1
                if area == SECURITY:
                    assert card.psc_bytes == place
                    seen["password"] += 1

            reader.step = step
            return reader

    folder = Watched(desk.folder / "cards")
    folder.group = group
    assert desk.hall().batch(estate(desk), folder).stopped is None
    assert seen["order"] > 5 * 40 and seen["password"] == 15


# ---------------------------------------------------------------------- killed


class Killing(Ledger):
    """A ledger whose host is killed before or after a commit of that number; counts them."""

    left, before = 10**9, True

    @contextmanager
    def begin(self):
        self.left -= 1
        with super().begin() as books:
            yield books
            if self.left < 0 and self.before:
                os.kill(os.getpid(), signal.SIGKILL)
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Stepping(CardFolder):
    """Kills at the stored byte, or the file moved, of that number."""

    byte, move = 10**9, 10**9

    def take(self, row):
        reader = super().take(row)

        def step(plan):
            self.byte -= 1
            if self.byte < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        reader.step = step
        return reader


def killed(desk, where, number, group, before=True):
    """Run the batch in a child that is killed there; whether it was."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    try:
        ledger = Killing(desk.folder / "ledger.db", REGION)
        folder = Stepping(desk.folder / "cards", resume=(desk.folder / "cards").exists())
        folder.group = group
        if where == "commit":
            ledger.left, ledger.before = number, before
        elif where == "byte":
            folder.byte = number
        else:
            moves, replace = [number], os.replace

            def dying(*names):
                moves[0] -= 1
                if moves[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                replace(*names)

            os.replace = dying
        desk.hall(ledger).batch(desk.folder / "estate.csv", folder, resume=True)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def start(tmp_path, signer):
    (tmp_path / "start").mkdir()
    desk = Desk(tmp_path / "start", signer)
    hall = desk.hall()
    hall.stock_in(20)
    estate(desk)
    desk.close()
    return desk


def resume(desk):
    done = made(desk.hall(), desk.folder / "estate.csv", desk.folder / "cards", resume=True)
    assert (done.left, done.stopped) == ((), None)
    # Stock: one blank a row, however often it died.
    assert desk.hall().stock().used == 5
    desk.close()
    check_whole(desk, desk.folder / "cards")


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("group", "commits"), [(50, 5), (1, 30)])
def test_killed_at_every_commit_it_is_resumed_and_makes_every_account_once(tmp_path, signer, group, commits, before):
    begin = start(tmp_path, signer)
    for number in range(commits + 1):
        desk = begin.copy(tmp_path / f"{number}")
        assert killed(desk, "commit", number, group, before) is (number < commits)
        resume(desk)


@pytest.mark.parametrize("group", [50, 1])
def test_killed_at_bytes_of_its_cards_it_is_resumed_and_makes_every_account_once(tmp_path, signer, group):
    begin = start(tmp_path, signer)
    whole, number, step = begin.copy(tmp_path / "whole"), 0, 13
    assert not killed(whole, "byte", 10**9, group)
    while True:
        desk = begin.copy(tmp_path / f"{number}")
        fired = killed(desk, "byte", number, group)
        resume(desk)
        if not fired:
            break
        number += step
    assert number > 5 * 85


def test_killed_at_every_file_moved_it_is_resumed_and_makes_every_account_once(tmp_path, signer):
    begin = start(tmp_path, signer)
    for number in range(11):
        desk = begin.copy(tmp_path / f"{number}")
        assert killed(desk, "move", number, 50) is (number < 10)
        resume(desk)


def test_killed_again_in_its_recovery_it_makes_every_account_once(tmp_path, signer):
    begin = start(tmp_path, signer)
    chance = random.Random(4442)
    for case in range(15):
        desk = begin.copy(tmp_path / f"{case}")
        for _ in range(3):
            where = chance.choice(("byte", "byte", "commit", "move"))
            most = {"byte": 450, "commit": 5, "move": 10}[where]
            killed(desk, where, chance.randrange(most), chance.choice((1, 2, 50)), chance.random() < 0.5)
        resume(desk)


# ---------------------------------------------------------------------- the command


def run(desk, capsys, *words):
    path = desk.folder / "region.key"
    if not path.exists():
        path.touch(0o600)
        path.write_text(json.dumps({"format": "icgas key file 1", "region": REGION, "root": ROOT.hex()}))
    desk.hall().close()
    places = ("--ledger", str(desk.folder), "--key", str(path), "--cards", str(desk.folder / "cards"))
    code = hall_command.command(["batch", str(desk.folder / "estate.csv"), *words, *places])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_key_file_given_for_a_list_is_not_printed(desk, capsys):
    (desk.folder / "estate.csv").write_text(json.dumps({"format": "icgas key file 1", "root": ROOT.hex()}))
    code, out, err = run(desk, capsys)
    assert (code, ROOT.hex() in out + err) == (1, False)
    assert "unknown or twice: what is no word, what is no word; missing: meter" in out


def test_command_judges_opens_and_resumes(desk, capsys):
    estate(desk)
    code, out, err = run(desk, capsys, "--dry-run")
    assert (code, err) == (0, "")
    assert out == "5 rows can be read, 160.00 m³; 0 faults found\nNothing was written.\n"
    assert not (desk.folder / "cards").exists()
    page = desk.folder / "estate.html"
    code, out, err = run(desk, capsys, "--page", str(page))
    assert (code, err) == (0, "")
    assert all(meter in page.read_text("utf-8") for meter in METERS)
    assert out == f"5 accounts opened\nresults in {desk.folder / 'cards' / 'results.csv'}\n"
    text = (desk.folder / "cards" / "results.csv").read_text("utf-8-sig")
    told = list(csv.DictReader(io.StringIO(text)))
    assert [(row["line"], row["result"], row["meter"], row["card"]) for row in told] == [
        (f"{2 + i}", "opened", meter, f"{1 + i}") for i, meter in enumerate(METERS)
    ]
    assert told[0] | {"account": "0000000001", "m3": "30.00", "yuan": ""} == told[0]
    code, out, _ = run(desk, capsys)
    assert code == 1 and "line 2: ALREADY_BOUND" in out and "Nothing was written." in out
    assert out.endswith(f"If this batch was begun in {desk.folder / 'cards'}, go on with it: --resume.\n")
    code, out, _ = run(desk, capsys, "--resume", "--json")
    told = json.loads(out)
    assert (code, told["opened"], told["earlier"], told["left"], told["stopped"]) == (0, 0, 5, 0, None)
    check_whole(desk, desk.folder / "cards")


def test_command_that_is_interrupted_says_how_to_go_on(desk, capsys, monkeypatch):
    estate(desk)
    put = CardFolder.put

    def interrupted(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr(CardFolder, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(desk, capsys)
    told = capsys.readouterr().err
    assert told == "icgas hall batch: What is opened stays. Go on with the same list and folder, and --resume.\n"
    monkeypatch.setattr(CardFolder, "put", put)
    assert run(desk, capsys, "--resume")[0] == 0
    check_whole(desk, desk.folder / "cards")


def test_bar_is_drawn_where_somebody_watches_and_nowhere_else(desk, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    estate(desk)
    assert run(desk, capsys, "--dry-run")[2] == ""
    places = ["--ledger", str(desk.folder), "--key", str(desk.folder / "region.key")]
    words = ["batch", str(desk.folder / "estate.csv"), "--cards", str(desk.folder / "cards"), *places]
    code, screen = at_terminal(words, [])
    assert code == 0 and "5/5" in screen and "5 accounts opened" in screen
    assert run(desk, capsys, "--resume")[2] == ""


def test_command_tells_every_finding_with_its_line(desk, capsys):
    estate(desk, rows("1,A,30,0", f"{METER},B,x,0"))
    code, out, _ = run(desk, capsys)
    assert code == 1
    assert [line[:6] for line in out.splitlines()[:2]] == ["line 2", "line 3"]
    assert "--resume" not in out
    code, out, _ = run(desk, capsys, "--dry-run", "--json")
    assert code == 1 and [row["line"] for row in json.loads(out)["problems"]] == [2, 3]


def test_command_into_a_folder_that_holds_something_is_refused(desk, capsys):
    estate(desk)
    (desk.folder / "cards").mkdir()
    (desk.folder / "cards" / "letter.txt").touch()
    code, _, err = run(desk, capsys)
    assert code == 1 and "not empty" in err
    with desk.hall().ledger.look() as books:
        assert books.accounts() == []


def test_defaults_are_those_of_the_counter():
    import inspect

    from gashall.services import Hall

    known = inspect.signature(Hall.open_account).parameters
    assert {name: known[name].default for name in batch_module.DEFAULTS if name != "volume"} == {
        name: value for name, value in batch_module.DEFAULTS.items() if name != "volume"
    }
    assert set(batch_module.COLUMNS) == set(known) - {"self", "reader", "fen", "price_agreed"}
    assert issubclass(LedgerError, GasError)
