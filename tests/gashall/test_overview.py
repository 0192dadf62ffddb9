"""The list of all accounts: each in its category, off by so much, the most urgent first."""

import csv
import json
from decimal import Decimal

import pytest
from paper import REGION, ROOT, PaperMeter
from tests.conftest import require_part

from gascard import codes
from gashall import errors
from gashall.errors import GasError, RequestError

require_part("alembic")
from gashall import hall_command, units  # noqa: E402
from gashall.keyfile import PLAIN  # noqa: E402
from gashall.overview import HEAD, Category, csv_text, printed, read_readings, text_lines  # noqa: E402
from gashall.rows import ReportRow  # noqa: E402

NEW = 13_761_000  # minutes, hours before the hall's now
OLD = 13_762_695 - 70 * 24 * 60


def meter_number(n):
    return f"320600123456{n:02d}"


class Town:
    """A hall with customers, each of 30 m³ and 2 m³ burnt, whose last report is of yesterday."""

    def __init__(self, desk):
        self.desk, self.hall, self.count = desk, desk.hall(), 0

    def customer(self, *, report=True, sell=0, **fields):
        self.count += 1
        name = f"card{self.count}.bin"
        reader = self.desk.blank(name)
        number = meter_number(self.count)
        self.hall.open_account(reader, meter=number, volume=30, name=f"customer <{self.count}>")
        if report:
            meter = PaperMeter(self.desk.signer, number)
            meter.used = 200
            frame = meter.report
            meter.report = lambda card: frame(card, **({"time": NEW} | fields))
            meter.insert(self.desk.folder / name)
            self.hall.read_back(self.reader(name))
        if sell:
            self.hall.sell(self.reader(name), sell)
        return f"{self.count:010d}"

    def reader(self, name):
        reader = self.desk.card
        reader.path = str(self.desk.folder / name)
        return reader


@pytest.fixture
def town(desk):
    return Town(desk)


# Rule, customer, reading, days -> category, off, make-up, unbilled, on the card.
CASES = [
    ("DOMAIN 2: the wheels say the same", {}, "2.00", Category.AGREES, "0", "0", "0", "0"),
    ("DOMAIN 2: within one pulse", {}, "2.01", Category.AGREES, "0.01", "0", "0", "0"),
    ("nobody read: the meter's own index", {}, None, Category.AGREES, "0", "0", "0", "0"),
    (
        "fault model: power cuts explain it",
        {"power_failures": 4},
        "2.05",
        Category.EXPLAINED,
        "0.05",
        "0",
        "0.05",
        "0",
    ),
    ("DOMAIN 1.2: gas burnt and not counted", {}, "7.00", Category.APART, "5", "0", "5", "0"),
    ("DOMAIN 1.2: counted and not burnt is made up", {}, "1.50", Category.APART, "-0.5", "0.5", "0", "0"),
    ("what was corrected is not found again", {"correction_total": 500}, "7.00", Category.AGREES, "0", "0", "0", "0"),
    ("index and count of the meter differ", {"index": 700}, None, Category.APART, "5", "0", "5", "0"),
    ("gas waits on the card", {"sell": 20}, "2.00", Category.ON_CARD, "0", "0", "0", "20"),
    ("off comes before gas on the card", {"sell": 20}, "7.00", Category.APART, "5", "0", "5", "20"),
    ("the report is old", {"time": OLD}, "2.00", Category.OLD, "0", "0", "0", "0"),
    ("off comes before old", {"time": OLD}, "7.00", Category.APART, "5", "0", "5", "0"),
    ("the card was never in the meter", {"report": False}, None, Category.NO_REPORT, None, "0", "0", None),
    ("a reading without a report", {"report": False}, "3", Category.NO_REPORT, None, "0", "0", None),
]


def figure(text):
    return None if text is None else Decimal(text)


@pytest.mark.parametrize(
    ("customer", "reading", "category", "off", "make_up", "unbilled", "on_card"),
    [row[1:] for row in CASES],
    ids=[row[0] for row in CASES],
)
def test_account_is_in_its_category(town, customer, reading, category, off, make_up, unbilled, on_card):
    account = town.customer(**customer)
    head = town.hall.audit().head
    (line,) = town.hall.reconcile_list({} if reading is None else {account: reading})
    assert line.category is category
    assert (line.off, line.on_card) == (figure(off), figure(on_card))
    assert (line.make_up, line.unbilled) == (Decimal(make_up), Decimal(unbilled))
    assert line.reading == figure(reading)
    assert town.hall.audit().head == head


def test_account_of_a_restored_ledger_is_behind(town):
    town.customer()
    town.hall.mark_restored()
    assert [line.category for line in town.hall.reconcile_list()] == [Category.BEHIND]


def test_account_whose_total_falls_is_not_behind(town):
    # A refund on the card, and a replacement card that releases less than the meter turns out to have loaded.
    town.customer()
    hall, account = town.hall, "0000000001"
    hall.request_refund(account, 10, reason="x", requester="Li Ming", fen=1)
    hall.approve_grant(1, "Wang Fang")
    hall.write_grant(town.reader("card1.bin"), 1)
    (line,) = hall.reconcile_list()
    assert (line.category, line.on_card) == (Category.ON_CARD, -10)
    town.customer(sell=5)
    hall.replace(town.desk.blank("new.bin"), account="0000000002", reason="lost in use")
    meter = PaperMeter(town.desk.signer, meter_number(2))
    meter.used, meter.report_number = 200, 1
    frame = meter.report
    meter.report = lambda card: frame(card, time=NEW, sequence=3, bought_total=3500)
    meter.insert(town.desk.folder / "new.bin")
    assert hall.read_back(town.reader("new.bin")).held == 0
    assert [(line.category, line.on_card) for line in hall.reconcile_list()] == [
        (Category.ON_CARD, -10),
        (Category.AGREES, 0),
    ]


@pytest.mark.parametrize("ahead", [{"sequence": 2}, {"bought_total": 3001}])
def test_account_whose_report_is_ahead_is_behind(town, ahead):
    """No service keeps such a report; another ledger's copy may hold it."""
    town.customer()
    meter = PaperMeter(town.desk.signer, meter_number(1))
    frame = meter.report(1, **({"report_number": 2, "sequence": 1, "bought_total": 3000} | ahead))
    with town.hall.ledger.begin() as books:
        books.keep_report(ReportRow(meter_number(1), 1, 2, 1, frame, 1))
    assert [line.category for line in town.hall.reconcile_list()] == [Category.BEHIND]


def test_most_urgent_comes_first_and_among_them_the_largest(town):
    readings = {}
    for customer, reading in (
        ({}, "2"),
        ({}, "7"),
        ({"report": False}, None),
        ({}, "1"),
        ({"sell": 5}, "2"),
        ({"power_failures": 9}, "2.09"),
        ({}, "12"),
    ):
        account = town.customer(**customer)
        if reading is not None:
            readings[account] = reading
    rows = town.hall.reconcile_list(readings)
    assert [int(row.account) for row in rows] == [7, 2, 4, 6, 3, 5, 1]
    lines = text_lines(rows)
    assert lines[-1] == ("7 accounts: 3 apart, 1 drift explained, 1 no report yet, 1 gas on card, 1 agrees")
    table = list(csv.reader(csv_text(rows).splitlines()))
    assert tuple(table[0]) == HEAD and len(table) == 8
    # By the hall's clock, and with it (decision 199).
    assert {row[8] for row in table[1:]} == {"", "2026-03-01 14:00+08:00"}
    assert "2026-03-01 14:00+08:00" in lines[1]
    assert table[1][:6] == ["0000000007", meter_number(7), "apart", "10.00", "", "10.00"]
    page = printed(rows, units.moment(13_761_360), "12ab")
    assert (
        "customer &lt;7&gt;" in page
        and ">2026-03-01 14:00+08:00</td>" in page
        and "journal 流水校验值 12ab" in page
        and "accounts 户数: 7; 3 apart 不符; " in page
    )


def test_days_are_the_callers(town):
    town.customer(time=13_761_360 - 10 * 24 * 60)
    assert [row.category for row in town.hall.reconcile_list(days=10)] == [Category.AGREES]
    assert [row.category for row in town.hall.reconcile_list(days=9)] == [Category.OLD]
    for days in (0, 10_001, 1.5):
        with pytest.raises(RequestError, match="days is"):
            town.hall.reconcile_list(days=days)


def test_no_accounts_are_no_error(town):
    assert text_lines(town.hall.reconcile_list())[-1] == "0 accounts: none"


WRONG = [
    ("beyond the wheels", "0000000001", "100000", codes.RANGE),
    ("finer than the meter counts", "0000000001", "2.001", errors.NOT_WHOLE_PULSES),
    ("no number", "0000000001", "two", errors.AMOUNT),
    ("no such account", "0000000009", "2", errors.FIELD),
    ("no account number", "1", "2", errors.NUMBER_MALFORMED),
]


@pytest.mark.parametrize("report", [True, False])
@pytest.mark.parametrize(("account", "reading", "code"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_impossible_reading_is_refused_under_its_account(town, account, reading, code, report):
    town.customer(report=report)
    with pytest.raises(GasError) as refusal:
        town.hall.reconcile_list({account: reading})
    assert refusal.value.code == code
    assert account in refusal.value.message


FILES = [
    ("two columns", "0000000001,2.00\n0000000002,3\n", {"0000000001": "2.00", "0000000002": "3"}),
    ("a head, blanks, a byte-order mark", "\ufeffaccount,reading\n\n 0000000001 , 2 \n", {"0000000001": "2"}),
    ("nothing", "", {}),
    ("three columns", "0000000001,2,3\n", "Line 1"),
    ("one column", "account,reading\n0000000001\n", "Line 2"),
    ("an account twice", "0000000001,2\n0000000001,3\n", "Line 2 .*twice"),
    ("no account", "1,2\n", "NUMBER_MALFORMED"),
    ("an open quote", '"0000000001,2\n', "no CSV file"),
]


@pytest.mark.parametrize(("text", "told"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_file_of_readings(tmp_path, text, told):
    path = tmp_path / "readings.csv"
    path.write_text(text, encoding="utf-8")
    if isinstance(told, dict):
        assert read_readings(path) == told
    else:
        with pytest.raises(RequestError, match=told):
            read_readings(path)


def test_file_of_readings_that_is_none(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("none", "bytes", "."):
        with pytest.raises(RequestError, match="cannot be read"):
            read_readings(tmp_path / name)


def test_command_writes_the_list_where_it_is_asked_to(town, tmp_path, capsys):
    town.customer()
    key = tmp_path / "key.json"
    key.write_text(json.dumps({"format": PLAIN, "region": REGION, "root": ROOT.hex()}))
    key.chmod(0o600)
    readings = tmp_path / "readings.csv"
    readings.write_text("0000000001,7\n")
    places = ["--ledger", str(town.desk.folder / "ledger.db"), "--key", str(key)]
    words = ["reconcile", "list", "--readings", str(readings), *places]
    made = ["--csv", str(tmp_path / "list.csv"), "--page", str(tmp_path / "list.html")]
    assert hall_command.command([*words, *made]) == 0
    assert "apart" in capsys.readouterr().out
    assert "5.00" in (tmp_path / "list.csv").read_text()
    assert "<table>" in (tmp_path / "list.html").read_text()
    assert hall_command.command([*words, *made]) == 1
    assert "none is overwritten" in capsys.readouterr().err
    assert hall_command.command([*words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["accounts"]
    assert [row[name] for name in ("account", "category", "off")] == ["0000000001", "apart", "5.00"]
