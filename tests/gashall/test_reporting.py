"""Reports of a day and a month: which day an order is of, and that the figures are the shifts' and the journal's."""

import csv
import io
import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape

import pytest
from paper import METER, NEIGHBOUR, REGION, ROOT
from test_tool_cards import Stand
from tests.conftest import require_part

from gascard import codes
from gascard.chip import Chip
from gashall import errors, journal
from gashall.errors import RequestError
from gashall.readers import ChipReader, FileReader

require_part("alembic")
from gashall import hall_command, reporting, restoring  # noqa: E402
from gashall.labels import both  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.services import Hall  # noqa: E402

MARCH, APRIL = date(2026, 3, 31), date(2026, 4, 1)


class Time:
    """The hall's clock."""

    def __init__(self):
        self.now = datetime(2026, 3, 31, 1, 0, tzinfo=UTC)

    def __call__(self):
        return self.now

    def set(self, text):
        self.now = datetime.fromisoformat(text)


class Office:
    """A hall over two days of its own clock, three shifts, two customers and a box of blanks."""

    def __init__(self, desk):
        self.desk, self.time = desk, Time()
        self.hall = Hall(Ledger(desk.folder / "ledger.db", REGION), desk.signer, self.time)
        desk.halls.append(self.hall)

    def work(self):
        hall, desk, time = self.hall, self.desk, self.time
        hall.set_price(None, "263.15")
        hall.stock_in(10)
        hall.open_shift("李明")
        hall.stock_out(4)
        hall.open_account(desk.blank(), meter=METER, volume="20.5", name="Li Wei")
        desk.meter.insert(desk.card_path)
        hall.stock_spoiled(1)
        time.set("2026-03-31T23:59+08:00")
        hall.sell(desk.card, "0.01")
        desk.meter.insert(desk.card_path)
        hall.close_shift(hall.shift().money, cards=2)
        hall.open_shift("Wang")
        hall.stock_out(3)
        # The first minute of April at the hall, and still March by UTC.
        time.set("2026-04-01T00:00+08:00")
        hall.sell(desk.card, 7, fen=1, price_agreed=True)
        desk.meter.insert(desk.card_path)
        hall.close_shift(hall.shift().money, cards=3)
        time.set("2026-04-01T09:00+08:00")
        hall.open_shift("李明")
        hall.stock_out(2)
        hall.open_account(desk.blank("other.bin"), meter=NEIGHBOUR, volume=9, pulse_weight=0)
        hall.stock_spoiled(1)
        hall.close_shift(hall.shift().money, cards=0)
        return self


@pytest.fixture
def office(desk):
    return Office(desk).work()


def figures(told, kind=None):
    total = told.total(kind)
    return total.orders, total.volume, total.money, total.unpaid


def test_day_begins_at_the_halls_own_midnight(office):
    told = office.hall.daily_report(MARCH)
    assert figures(told, "opening") == (1, Decimal("20.50"), 5395, 0)
    assert figures(told, "purchase") == (1, Decimal("0.01"), 3, 0)
    assert told.cards == {"issued": 1, "replaced": 0, "made up": 0, "gifted": 0, "spoiled": 1}
    assert told.over
    told = office.hall.daily_report()
    assert (told.first, told.last, told.over) == (APRIL, APRIL, False)
    assert figures(told, "opening") == (1, Decimal("9.00"), 2368, 0)
    assert figures(told, "purchase") == (1, Decimal("7.00"), 1, 0)
    office.hall.set_limits(utc_offset=0)
    assert figures(office.hall.daily_report(MARCH)) == (3, Decimal("27.51"), 5399, 0)


# (rule, any day of the month, its orders)
MONTHS = [
    ("the month of the day", date(2026, 3, 1), 2),
    ("whichever day that is", date(2026, 3, 31), 2),
    ("its last day's last minute is its own", date(2026, 4, 30), 2),
    ("a month without orders", date(2026, 2, 10), 0),
    ("a month to come", date(2026, 12, 10), 0),
    ("the first month there is", date(2000, 1, 1), 0),
    ("the last", date(9999, 12, 31), 0),
]


@pytest.mark.parametrize(("day", "orders"), [row[1:] for row in MONTHS], ids=[row[0] for row in MONTHS])
def test_month_is_whole(office, day, orders):
    told = office.hall.monthly_report(day)
    assert (told.first.day, (told.last + timedelta(days=1)).day if day.year < 9999 else 1) == (1, 1)
    assert told.total().orders == orders
    assert told.title == day.isoformat()[:7]


def test_totals_are_the_sum_of_the_shifts(office):
    shifts = [office.hall.shift(number) for number in (1, 2, 3)]
    reports = [office.hall.daily_report(day) for day in (MARCH, APRIL)]
    months = [office.hall.monthly_report(day) for day in (MARCH, APRIL)]
    for told in (reports, months):
        assert sum(row.total("opening").orders for row in told) == sum(row.openings for row in shifts) == 2
        assert sum(row.total("purchase").orders for row in told) == sum(row.sales for row in shifts) == 2
        assert sum(row.total().volume for row in told) == sum(row.volume for row in shifts) == Decimal("36.51")
        assert sum(row.total().money for row in told) == sum(row.money for row in shifts)
        assert sum(row.total().unpaid for row in told) == sum(row.unpaid for row in shifts)
        assert sum(row.cards["spoiled"] for row in told) == sum(row.spoiled for row in shifts) == 2
        assert sum(row.cards["issued"] for row in told) == sum(row.used for row in shifts)
    # A shift that lies in one day is that day's.
    first, day = shifts[0], reports[0]
    assert (day.total().money, day.total().volume) == (first.money, first.volume)


def test_figures_can_be_worked_out_again_from_the_journal(office):
    """By the bodies alone, as docs/ledger.md describes them, against both days."""
    with office.hall.ledger.raw_rows() as read:
        bodies = [json.loads(row["body"]) for row in read("journal")]

    def rows(table):
        return [row for body in bodies for row in body.get(table, []) if len(row) > 2]

    weights = {row["number"]: row["pulse_weight"] for row in rows("meters") if "pulse_weight" in row}
    meters = {row["id"]: row["meter"] for row in rows("bindings")}
    told = {}
    for row in (row for row in rows("orders") if "made_at" in row):
        day = (datetime(2000, 1, 1, 8, tzinfo=UTC) + timedelta(minutes=row["made_at"])).date()
        kind = "opening" if row["sequence"] == 1 else "purchase"
        cubic = Decimal(row["paid_pulses"]).scaleb(-weights[meters[row["binding"]]])
        count, volume, money = told.get((day, kind), (0, 0, 0))
        told[day, kind] = count + 1, volume + cubic, money + (row["fen"] or 0)
    report = [*office.hall.monthly_report(MARCH).days, *office.hall.monthly_report(APRIL).days]
    assert told == {(day, kind): (row.orders, row.volume, row.money) for day, kind, row in report}
    spoiled = sum(row["count"] for row in rows("stock_moves") if row["kind"] == b"spoiled".hex())
    assert spoiled == sum(office.hall.monthly_report(day).cards["spoiled"] for day in (MARCH, APRIL))


def test_orders_without_money_and_unfinished_ones_count(desk):
    office = Office(desk)
    office.hall.open_account(desk.blank(), meter=METER, volume=30)
    reader = desk.blank("dead.bin")

    def write(*_):
        raise KeyboardInterrupt

    reader.write = write
    with pytest.raises(KeyboardInterrupt):
        office.hall.open_account(reader, meter=NEIGHBOUR, volume=1)
    assert figures(office.hall.daily_report()) == (2, Decimal("31.00"), 0, 2)


def test_kind_new_to_the_report_is_counted_and_named_last(desk, monkeypatch):
    """What ``kind_of`` tells is what is counted; none is lost for having no word of its own here."""
    kinds = iter(["refund", "transfer", "gift", "makeup", "replacement"])
    monkeypatch.setattr(reporting, "kind_of", lambda order: next(kinds))
    office = Office(desk)
    for number in range(5):
        office.hall.open_account(ChipReader(Chip()), meter=f"{int(METER) + number}", volume=1)
    told = office.hall.daily_report()
    assert told.cards == {"issued": 5, "replaced": 1, "made up": 1, "gifted": 1, "spoiled": 0}
    known = ["opening", "purchase", "replacement", "makeup", "gift", "refund"]
    assert list(told.record()["totals"]) == [*known, "transfer"]
    assert told.total().orders == 5


def test_gifts_and_what_is_paid_out_are_counted_by_their_kinds(desk):
    hall = desk.opened()
    hall.read_back(desk.card)
    account, people = "0000000001", {"reason": "jubilee", "requester": "Li Ming"}
    hall.approve_grant(hall.request_refund(account, 5, **people, fen=1200).number, "Wang")
    hall.write_grant(desk.card, 1)
    desk.meter.bought, desk.meter.sequence = 2500, 2  # as a meter that has loaded the refund
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    hall.pay_refund(1)
    hall.approve_grant(hall.request_gift(account, 2, **people).number, "Wang")
    hall.write_grant(desk.card, 2)
    told = hall.daily_report()
    assert told.cards["gifted"] == 1
    found = {kind: (told.total(kind).volume, told.total(kind).money) for kind in ("gift", "refund", "paid out")}
    assert found == {"gift": (2, 0), "refund": (-5, 0), "paid out": (0, -1200)}
    table = told.lines()[3 : told.lines().index("", 3)]
    assert "refunds paid out" in "".join(table) and len({len(line) for line in table}) == 1, "one column below another"
    assert told.total("gift").unpaid == told.total("refund").unpaid == 0


@pytest.mark.parametrize("day", [datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01", 20260301])
def test_day_that_is_none_is_refused(desk, day):
    for service in (desk.hall().daily_report, desk.hall().monthly_report):
        with pytest.raises(RequestError) as refusal:
            service(day)
        assert refusal.value.code == errors.FIELD


TEXT = """\
REPORT 2026-04
days from midnight, UTC+08:00; not over yet

kind                orders            m³          yuan  without money
openings                 1          9.00         23.68              0
purchases                1          7.00          0.01              0
total                    2         16.00         23.69              0

day                 orders            m³          yuan  without money
2026-04-01               2         16.00         23.69              0

cards issued               1
cards replaced             0
cards made up              0
cards gifted               0
cards spoiled              1
"""


def run(office, capsys, *words):
    path = office.desk.folder / "region.key"
    if not path.exists():
        path.touch(0o600)
        path.write_text(json.dumps({"format": "icgas key file 1", "region": REGION, "root": ROOT.hex()}))
    places = ("--ledger", str(office.desk.folder), "--key", str(path))
    code = hall_command.command(["report", *words, *places], office.time)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_command_prints_writes_and_ends_with_the_head(office, capsys):
    head = office.hall.audit().head
    table, sheet = office.desk.folder / "april.csv", office.desk.folder / "april.html"
    code, out, err = run(office, capsys, "monthly", "--csv", str(table), "--page", str(sheet))
    assert (code, err) == (0, "")
    assert out.startswith(TEXT) and f"head {head}\n" in out and f"written to {table}\n" in out
    assert office.hall.audit(head).findings == ()
    assert list(csv.reader(io.StringIO(table.read_text("utf-8-sig")))) == [
        ["day", "kind", "count", "m3", "yuan", "without_money"],
        ["2026-04-01", "opening", "1", "9.00", "23.68", "0"],
        ["2026-04-01", "purchase", "1", "7.00", "0.01", "0"],
        ["2026-04-01", "spoiled", "1", "", "", ""],
    ]
    text = unescape(sheet.read_text("utf-8"))
    assert text.startswith("<!doctype html>") and "<h1>Monthly report 月报 2026-04</h1>" in text
    assert head in text[text.index('class="foot"') :] and "23.69" in text
    assert {path.stat().st_mode & 0o777 for path in (table, sheet)} == {0o600}
    code, _, err = run(office, capsys, "monthly", "--csv", str(table))
    assert code == 1 and "none is overwritten" in err


def test_command_gives_json(office, capsys):
    code, out, _ = run(office, capsys, "daily", "--day", "2026-03-31", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["totals"]["opening"] == {"orders": 1, "volume": "20.50", "fen": 5395, "yuan": "53.95", "unpaid": 0}
    assert told["cards"] == {"issued": 1, "replaced": 0, "made_up": 0, "gifted": 0, "spoiled": 1}
    assert (told["first"], told["last"], told["over"]) == ("2026-03-31", "2026-03-31", True)


@pytest.mark.parametrize(
    "words",
    [
        ("daily", "--day", "2026-02-30"),
        ("daily", "--day", "2026-03"),
        ("daily", "--day", "yesterday"),
        ("monthly", "--month", "2026-13"),
        ("monthly", "--month", "2026-03-01"),
        ("monthly", "--month", "２０２６-03"),
    ],
)
def test_command_refuses_what_is_no_day_or_month(office, capsys, words):
    code, _, err = run(office, capsys, *words)
    assert code == 1 and "FIELD" in err and "Enter it as 2026-03" in err


def test_empty_ledger_has_a_report(desk):
    told = Office(desk).hall.monthly_report()
    assert (told.days, told.total().volume) == ((), Decimal("0.00"))


def test_the_companys_own_cards_are_counted_by_kind(office):
    hall, desk, time = office.hall, office.desk, office.time
    time.set("2026-04-02T09:00+08:00")
    hall.open_shift("Wang")
    hall.stock_out(2)
    hall.issue_management(desk.blank("m.bin"), purpose="inspection")
    hall.issue_setting(desk.blank("s.bin"), purpose="clocks", clock=time.now)
    slip = hall.close_shift(0, cards=0)
    # What was handed out is on the slip: 2 cards, none of them a customer's.
    assert (slip.handed_out, slip.used, slip.issued, slip.tools) == (2, 2, 0, (("management", 1), ("setting", 1)))
    text = "\n".join(slip.lines())
    assert re.search("management cards .* 1\nsetting cards .* 1\nblank cards handed out .* 2\n", text)
    time.set("2026-04-03T09:00+08:00")
    hall.open_shift("Wang")
    hall.stock_out(1)
    hall.issue_setting(desk.blank("t.bin"), purpose="clocks again", clock=time.now)
    hall.close_shift(0, cards=0)
    told = hall.monthly_report()
    assert told.cards == {"issued": 1, "replaced": 0, "made up": 0, "gifted": 0, "spoiled": 1} | {
        "management cards": 1,
        "setting cards": 2,
    }
    second, third = date(2026, 4, 2), date(2026, 4, 3)
    assert told.tools == ((second, "management", 1), (second, "setting", 1), (third, "setting", 1))
    assert told.csv().endswith(
        "2026-04-02,management card,1,,,\n2026-04-02,setting card,1,,,\n2026-04-03,setting card,1,,,\n"
    )
    assert re.search("setting cards +2\n", "\n".join(told.lines()))
    # Whatever uses a blank card is in the report, whoever the card is for.
    shifts = [hall.shift(number) for number in (3, 4, 5)]
    assert told.cards["issued"] + sum(count for *_, count in told.tools) == sum(row.used for row in shifts)
    assert hall.audit().clean


# ---------------------------------------------------------------------- gas that no order tells of

ACCOUNT = "0000000001"
ASKED = {"reason": "moved out", "requester": "Li Ming"}
APPROVED = ASKED | {"approver": "Wang Fang"}


def visit(stand, path):
    """Put the card in the file into a real meter."""
    code, image = stand.visit(path.read_bytes())
    assert code == codes.OK
    path.write_bytes(image)


def loaded(desk, hall):
    """A real meter with 30 m³ loaded, and reported."""
    stand = Stand(desk.signer)
    hall.open_account(desk.blank(), meter=METER, volume=30)
    visit(stand, desk.card_path)
    hall.read_back(desk.card)
    return stand


def test_gas_and_money_paid_back_for_a_closed_account_are_in_the_report_and_on_the_slip(desk):
    hall = desk.hall()
    hall.set_price(None, 263)
    hall.open_shift("Wang")
    stand = loaded(desk, hall)
    stand.meter.pulses(1000)
    hall.issue_clear(desk.blank("clear.bin"), account=ACCOUNT, **APPROVED)
    visit(stand, desk.folder / "clear.bin")
    hall.read_tool(FileReader(desk.folder / "clear.bin"))
    closure = hall.close_account(ACCOUNT, **APPROVED)
    assert (closure.paid_back, closure.fen) == (20, 5260)
    shift = hall.shift()
    for told in (hall.daily_report(), hall.monthly_report()):
        assert figures(told, "paid out") == (1, -20, -5260, 0)
        assert told.total().volume == shift.volume - shift.refunded == 10
        assert told.total().money == shift.money == 2630


def test_gas_paid_back_is_counted_by_the_weight_of_its_meter(desk):
    hall = desk.hall()
    hall.open_shift("Wang")
    hall.open_account(desk.blank(), meter=METER, volume=9, pulse_weight=0)
    with hall.ledger.begin() as books:
        now = hall.counter.now()
        row = books.add_grant(books.binding_of(ACCOUNT), kind="close", pulses=7, fen=100, at=now, **ASKED)
        books.change_grant(row, journal.REFUND_PAID, paid_at=now, shift=1)
    told = hall.daily_report()
    assert told.total("paid out").volume == -hall.shift().refunded == -7
    assert told.total().volume == 2


def made_up(hall, desk, stand, volume):
    """A make-up of drift, asked for, approved, written and loaded."""
    number = hall.request_makeup(ACCOUNT, volume, kind="drift", **ASKED).number
    hall.approve_grant(number, "Wang Fang")
    hall.write_grant(desk.card, number)
    visit(stand, desk.card_path)
    hall.read_back(desk.card)
    return hall.grant(number).volume


def test_drift_is_told_as_corrected_by_slip_and_report_and_is_in_no_total(desk):
    hall = desk.hall()
    hall.open_shift("Wang")
    stand = loaded(desk, hall)
    assert made_up(hall, desk, stand, 5) == 5
    assert stand.meter.remaining == 3500
    shift, told = hall.shift(), hall.monthly_report()
    assert (shift.granted, shift.granted_volume, shift.corrected) == (1, 0, 5)
    assert any(re.fullmatch("corrected 校正气量 +5.00 m³", line) for line in shift.lines())
    assert (figures(told, "makeup"), told.corrected, told.total().volume) == ((1, 0, 0, 0), 5, 30)
    assert "corrected 5.00 m³, in no total" in told.lines()
    assert "corrected 校正气量: 5.00 m³" in unescape(told.page())
    day = "2026-03-01"
    assert f"{day},corrected,,5.00,,\n" in told.csv()
    assert told.record()["corrections"] == [{"day": day, "volume": "5.00"}]
    assert (told.record()["corrected"], hall.daily_report(date(2026, 2, 28)).corrections) == ("5.00", ())
    # The meter counted too little: gas is taken off, in the next shift.
    hall.close_shift(0)
    hall.open_shift("Li Ming")
    assert made_up(hall, desk, stand, -2) == -2
    assert (hall.shift().corrected, hall.shift(1).corrected, hall.daily_report().corrected) == (-2, 5, 3)


# What the customer's card still knows of a purchase of March that was lost with the ledger, to be adopted in April.
WAYS = [("its order", False), ("a report alone, on another card", True)]


@pytest.mark.parametrize("alone", [row[1] for row in WAYS], ids=[row[0] for row in WAYS])
def test_adopted_gas_is_of_the_day_it_was_adopted_and_no_signed_month_changes(desk, alone):
    time = Time()
    time.set("2026-03-31T12:00+08:00")
    path, copy = desk.folder / "copy.db", desk.folder / "again.db"
    hall = Hall(Ledger(desk.folder / "ledger.db", REGION), desk.signer, time)
    desk.halls.append(hall)
    hall.set_limits(month=50)
    stand = loaded(desk, hall)
    hall.backup(path)
    hall.sell(desk.card, 20)
    visit(stand, desk.card_path)
    time.set("2026-04-02T12:00+08:00")
    restoring.restore(path, copy, desk.signer, clock=time)
    hall = Hall(Ledger(copy, REGION), desk.signer, time)
    desk.halls.append(hall)
    signed = hall.monthly_report(MARCH)
    card = desk.card
    if alone:
        hall.replace(desk.blank("new.bin"), account=ACCOUNT, reason="lost in use")
        visit(stand, desk.folder / "new.bin")
        card = FileReader(desk.folder / "new.bin")
    assert hall.adopt(card, **APPROVED).raised == 20
    told, april = hall.monthly_report(MARCH), hall.monthly_report(APRIL)
    assert (told.days, told.issued, told.total().volume) == (signed.days, signed.issued, 30)
    assert figures(april, "adopted") == (1, 20, 0, 0)
    assert (april.total().volume, april.cards["issued"]) == (20, int(alone))
    assert figures(hall.daily_report(date(2026, 4, 2)), "adopted") == (1, 20, 0, 0)
    assert both("adopted") in unescape(april.page())
    # It is in the account's reckoning, as it was; and no limit counts it, as none did.
    assert ("adopted", Decimal(20)) in hall.reconcile(ACCOUNT).rows()
    with hall.ledger.look() as books:
        assert sum(count for _, count in books.bought(ACCOUNT, 0)) == 3000
    assert hall.audit().clean
