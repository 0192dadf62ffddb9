"""``icgas hall``: each service at the command line, what it prints, where it refuses, and what it leaves."""

import json
import os
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from paper import METER, NEIGHBOUR, REGION, PaperMeter
from tests.conftest import require_part

require_part("alembic")
from gashall import hall_command  # noqa: E402
from gashall.audit import audit  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.readers import FileReader  # noqa: E402
from gashall.signer import KeyFileSigner  # noqa: E402

DATA = Path(__file__).parent / "data"
ACCOUNT = "0000000001"


class Counter:
    """A folder with ledger, key file and cards, and the command run in it."""

    def __init__(self, folder, capsys):
        self.folder = folder
        self.capsys = capsys

    def run(self, *words, ledger="ledger.db", key="key.json"):
        """Exit code, standard output, standard error."""
        places = ["--ledger", str(self.folder / ledger)] if ledger else []
        if key and words[:1] != ("upgrade",):
            places += ["--key", str(self.folder / key)]
        code = hall_command.command([*words, *places], lambda: datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
        told = self.capsys.readouterr()
        return code, told.out, told.err

    def fine(self, *words, **places):
        """Standard output of a run that must succeed."""
        code, out, err = self.run(*words, **places)
        assert (code, err) == (0, "")
        return out

    def told(self, *words, **places):
        """The same as JSON."""
        return json.loads(self.fine(*words, "--json", **places))

    @property
    def card(self):
        return str(self.folder / "card.bin")

    def load(self):
        meter = PaperMeter(KeyFileSigner.load(self.folder / "key.json"))
        meter.__dict__.update(getattr(self, "memory", {}))
        meter.insert(self.folder / "card.bin")
        self.memory = {name: value for name, value in meter.__dict__.items() if name != "key"}

    def head(self):
        return self.told("audit")["head"]

    def files(self):
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def empty(tmp_path, capsys, monkeypatch):
    for name in (hall_command.LEDGER_VARIABLE, hall_command.KEY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "counter"
    folder.mkdir()
    return Counter(folder, capsys)


@pytest.fixture
def counter(empty):
    """A counter whose first customer has opened an account and loaded her card."""
    empty.fine("init", "--region", "0x0021")
    empty.fine(
        "open", "--card", empty.card, "--blank", "--meter", METER, "--volume", "30", "--money", "75", "--name", "王芳"
    )
    empty.load()
    return empty


# ---------------------------------------------------------------------- each service


def test_init_makes_key_and_ledger_for_their_owner_only_and_shows_no_key(empty):
    out = empty.fine("init", "--region", "33")
    assert empty.files() == ["key.json", "ledger.db"]
    for name in empty.files():
        assert os.stat(empty.folder / name).st_mode & 0o777 == 0o600
    root = json.loads((empty.folder / "key.json").read_text())["root"]
    assert root not in out and not re.search("[0-9a-f]{16}", out)
    assert KeyFileSigner.load(empty.folder / "key.json").region == REGION
    assert empty.told("audit")["clean"]


def test_init_whose_database_cannot_be_reached_is_repeated_with_the_key_file_it_left(empty):
    elsewhere = ["init", "--region", "33", "--ledger", "postgresql+nothing://x/y", "--key"]
    assert hall_command.command([*elsewhere, str(empty.folder / "key.json")]) == 1
    empty.capsys.readouterr()
    code, _, err = empty.run("init", "--region", "33")
    assert code == 1 and "KEY_FILE" in err and "use the key file that is there: --existing-key." in err
    assert empty.files() == ["key.json"]
    empty.fine("init", "--region", "33", "--existing-key")


@pytest.mark.parametrize(
    ("standing", "words", "name"),
    [
        ("key.json", (), "KEY_FILE"),
        ("ledger.db", (), "LEDGER"),
        ("ledger.db", ("--existing-key",), "LEDGER"),
        (None, ("--existing-key",), "KEY_FILE"),
    ],
)
def test_init_overwrites_nothing_and_leaves_nothing_half_made(empty, standing, words, name):
    if standing is not None:
        (empty.folder / standing).write_text("what was here before")
    code, out, err = empty.run("init", "--region", "33", *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"icgas hall init: {name} (")
    assert empty.files() == ([] if standing is None else [standing])
    if standing is not None:
        assert (empty.folder / standing).read_text() == "what was here before"


def test_init_with_an_existing_key_wants_its_region(empty):
    KeyFileSigner.create(empty.folder / "key.json", REGION)
    code, _, err = empty.run("init", "--region", "34", "--existing-key")
    assert code == 1 and "LEDGER_REGION" in err and "0x0021" in err
    assert empty.files() == ["key.json"]
    assert empty.told("init", "--region", "33", "--existing-key")["region"] == REGION


def test_open_issues_the_card_and_says_what_was_paid(empty):
    empty.fine("init", "--region", "33")
    out = empty.fine(
        "open",
        "--card",
        empty.card,
        "--blank",
        "--meter",
        METER,
        "--volume",
        "12.34",
        "--money",
        "30.5",
        "--alarm",
        "2",
    )
    assert out == (
        f"account opened: 12.34 m³ for 30.50 yuan\naccount {ACCOUNT}, meter {METER}, card 1, order 1: written\n"
    )
    told = empty.told("history", "--account", ACCOUNT)["histories"][0]
    assert told["bindings"][0]["alarm"] == 200
    assert told["orders"][0]["fen"] == 3050


def test_open_repeated_is_not_made_twice(empty):
    empty.fine("init", "--region", "33")
    words = ("open", "--card", empty.card, "--meter", METER, "--volume", "30")
    empty.fine(*words, "--blank")
    code, _, err = empty.run(*words)
    assert code == 1 and "ALREADY_BOUND" in err
    assert len(empty.told("history", "--account", ACCOUNT)["histories"][0]["orders"]) == 1


def test_sell_tells_volume_money_and_order(counter):
    out = counter.fine("sell", "--card", counter.card, "--volume", "20", "--money", "50.00")
    assert out == f"sold: 20.00 m³ for 50.00 yuan\naccount {ACCOUNT}, meter {METER}, card 1, order 2: written\n"
    counter.load()
    told = counter.told("sell", "--card", counter.card, "--volume", "0.01", "--money", "0.03")
    assert told == {
        "account": ACCOUNT,
        "meter": METER,
        "card": 1,
        "sequence": 3,
        "volume": "0.01",
        "pulses": 1,
        "bought_total": 5001,
        "fen": 3,
        "state": "written",
        "resumed": False,
        "price": None,
        "kind": None,
        "yuan": "0.03",
    }


def test_sale_that_died_is_finished_and_said_so(counter):
    hall = hall_command.Hall.open(counter.folder / "ledger.db", counter.folder / "key.json")
    reader = FileReader(counter.card)

    def dead(plan):
        raise KeyboardInterrupt

    reader.write = dead
    with pytest.raises((KeyboardInterrupt, TypeError)):
        hall.sell(reader, 20, fen=5000)
    hall.close()
    out = counter.fine("sell", "--card", counter.card, "--volume", "20", "--money", "50")
    assert "finished now; it was not made twice" in out
    assert len(counter.told("history", "--account", ACCOUNT)["histories"][0]["orders"]) == 2


def test_price_is_set_listed_and_charged(counter):
    assert counter.fine("price", "list") == "no price is set\n"
    out = counter.fine("price", "set", "2.6315")
    assert out == "from 2026-03-01 20:00+08:00  2.6315 yuan/m³  (set 2026-03-01 20:00+08:00)\n"
    counter.fine("price", "set", "3", "--from", "2026-07-01T00:00+08:00")
    told = counter.told("price", "list")["prices"]
    assert [row["valid_from"] for row in told] == ["2026-03-01T20:00:00+08:00", "2026-07-01T00:00:00+08:00"]
    assert [row["fen_per_cubic_metre"] for row in told] == ["263.15", "300.00"]
    code, _, err = counter.run("sell", "--card", counter.card, "--volume", "20", "--money", "50")
    assert code == 1 and "20.00 m³ at 2.6315 yuan/m³ cost 52.63 yuan, not 50.00" in err
    assert counter.fine("sell", "--card", counter.card, "--volume", "20").startswith("sold: 20.00 m³ for 52.63 yuan\n")
    assert "20.00 m³, 52.63 yuan at 2.6315, total 50.00 m³" in counter.fine("history", "--account", ACCOUNT)
    counter.load()
    words = ("sell", "--card", counter.card, "--volume", "20", "--money", "50", "--price-agreed")
    assert counter.told(*words)["fen"] == 5000


def test_limits_are_set_shown_and_kept(counter):
    none = "purchase  no limit\nday       no limit\nmonth     no limit\ndays begin at midnight, UTC+08:00\n"
    assert counter.fine("limits") == none
    counter.fine("limits", "--purchase", "15", "--day", "99.5", "--month", "1000")
    assert counter.told("limits") == {"purchase": "15.00", "day": "99.50", "month": "1000.00", "utc_offset": 480}
    code, _, err = counter.run("sell", "--card", counter.card, "--volume", "15.01")
    assert code == 1 and "OVER_LIMIT (-134): 15.01 m³ cannot be sold: the limit of a purchase is 15.00 m³." in err
    counter.fine("sell", "--card", counter.card, "--volume", "15")
    counter.fine("limits", "--purchase", "none", "--day", "none", "--month", "none")
    assert counter.fine("limits") == none
    assert counter.fine("limits", "--utc-offset", "-210").endswith("UTC-03:30\n")


# Every label in both languages; a Chinese character takes two of the 42 columns.
SLIP = f"""\
shift slip 交班单 1
clerk 收款员  李明
opened at 开班时间  2026-03-01 20:00+08:00
closed at 交班时间  2026-03-01 20:00+08:00
{"-" * 42}
accounts opened 开户数                   0
sales 售气笔数                           1
gas 气量                          20.00 m³
money 金额                      50.00 yuan
cards issued 发卡张数                    0
cash counted 清点现金           49.50 yuan
difference 差额                 -0.50 yuan
reason 原因  wrong change
{"-" * 42}
journal 流水校验值
"""
SIGNED = f"\nclerk 收款员              {'_' * 16}\n\ntaken over by 接班人      {'_' * 16}\n"


def test_shift_is_opened_closed_and_its_slip_printed_again(counter):
    assert counter.fine("shift", "open", "李明") == "shift 1 of 李明 is open\n"
    counter.fine("sell", "--card", counter.card, "--volume", "20", "--money", "50")
    assert "not closed 未交班\n" in counter.fine("shift", "slip")
    code, _, err = counter.run("shift", "close", "--cash", "49.50")
    assert code == 1 and "SHIFT_DIFFERS" in err
    assert "cash 49.50 yuan counted, 50.00 yuan by the orders: 0.50 yuan short." in err
    out = counter.fine("shift", "close", "--cash", "49.50", "--differs", "wrong change")
    head = counter.head()
    end = f"{head[:32]}\n{head[32:]}\n{'-' * 42}\n{SIGNED}"
    assert out == SLIP + end
    code, _, err = counter.run("shift", "close", "--cash", "49.50")
    assert code == 1 and "SHIFT_MISSING" in err and "icgas hall shift slip" in err
    counter.fine("shift", "open", "Wang")
    page = counter.folder / "slip.html"
    assert counter.fine("shift", "slip", "--number", "1", "--out", str(page)) == f"{out}page written to {page}\n"
    assert head in page.read_text("utf-8") and "wrong change" in page.read_text("utf-8")
    assert counter.told("shift", "slip", "--number", "1")["head"] == head
    assert counter.told("shift", "close", "--cash", "0")["closed_at"] == "2026-03-01T20:00:00+08:00"
    counter.load()
    code, _, err = counter.run("sell", "--card", counter.card, "--volume", "20")
    assert code == 1 and "SHIFT_MISSING" in err and "icgas hall shift open CLERK" in err


STOCK = """\
in the store                 5
with the open shift          2
delivered                   10
used                         1
spoiled                      2
missing                      0
"""


def test_blank_cards_are_counted_from_delivery_to_close(counter):
    counter.fine("stock", "in", "10")
    counter.fine("shift", "open", "Wang")
    counter.fine("stock", "out", "5")
    counter.fine("stock", "spoiled", "2", "--reason", "scratched")
    other = str(counter.folder / "other.bin")
    counter.fine("open", "--card", other, "--blank", "--meter", NEIGHBOUR, "--volume", "0")
    assert counter.fine("stock", "show") == STOCK
    code, _, err = counter.run("shift", "close", "--cash", "0", "--cards", "1")
    assert code == 1 and "blank cards 1 counted, 2 by the stock: 1 short." in err
    lines = counter.fine("shift", "close", "--cash", "0", "--cards", "1", "--differs", "lost").splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("blank cards")] == ["5", "2", "2", "1"]
    told = {"store": 6, "hand": None, "delivered": 10, "used": 1, "spoiled": 2, "missing": 1}
    assert counter.told("stock", "show") == told


def test_read_tells_what_the_card_says_and_writes_nothing_on_it(counter):
    before = Path(counter.card).read_bytes()
    assert counter.fine("read", "--card", counter.card) == (
        f"account {ACCOUNT}, meter {METER}, card 1: last order done\n"
        "report 1: 30.00 m³ left on the meter\n"
        "on the card: 0.00 m³\n"
    )
    assert Path(counter.card).read_bytes() == before
    told = counter.told("read", "--card", counter.card)
    assert (told["remaining"], told["state"], told["report"]["bought_total"]) == ("30.00", "done", 3000)


def test_reconcile_gives_the_slip(counter):
    counter.fine("read", "--card", counter.card)
    lines = counter.fine("reconcile", "--account", ACCOUNT).splitlines()
    assert lines[0] == f"account {ACCOUNT}, meter {METER}, index 0.00 to 0.00 m³"
    assert lines[-1] == "difference 0 pulses"
    told = counter.told("reconcile", "--account", ACCOUNT, "--reading", "0.05")
    assert (told["difference"], told["drift"]["verdict"], told["drift"]["correction"]) == (-5, "apart", 5)
    assert counter.fine("reconcile", "--account", ACCOUNT, "--reading", "0.05").splitlines()[-5:-1] == [
        "wheels 0.05 m³, meter 0.00 m³ by its report of 2026-03-02 18:15+08:00",
        "index: apart; drift 5 pulses, 1 pulse allowed",
        "if gas was burned after that report this is use, no drift: read the wheels with a new report",
        "proposed correction: 0.05 m³, to be approved with its reason: "
        f"icgas hall makeup request --account {ACCOUNT} --reason TEXT --requester NAME --kind drift --volume -0.05",
    ]
    # What is told is typed as it stands.
    words = counter.fine("reconcile", "--account", ACCOUNT, "--reading", "0.05").splitlines()[-2].split()
    assert "drift -0.05 m³" in counter.fine(*words[words.index("makeup") :])


def test_audit_gives_the_head_and_asks_for_an_earlier_one(counter):
    head = counter.head()
    assert re.fullmatch("[0-9a-f]{64}", head)
    counter.fine("sell", "--card", counter.card, "--volume", "20")
    out = counter.fine("audit", "--head", head)
    assert re.fullmatch(r"\d+ rows of the journal and \d+ of the tables checked: 0 findings\nhead [0-9a-f]{64}\n", out)
    code, out, _ = counter.run("audit", "--head", "0" * 64)
    assert code == 1 and "cut off or made anew" in out


def test_audit_names_what_somebody_changed(counter):
    with sqlite3.connect(counter.folder / "ledger.db") as raw:
        raw.execute("UPDATE orders SET fen = 1")
    raw.close()
    code, out, err = counter.run("audit")
    assert (code, err) == (1, "")
    assert out.splitlines()[0] == "orders id=1, fen: 1 stands here; the journal says 7500"
    assert "Sell nothing" in out
    code, out, _ = counter.run("audit", "--json")
    told = json.loads(out)
    assert (code, told["clean"]) == (1, False)
    assert told["findings"] == [
        {"table": "orders", "key": "id=1", "column": "fen", "message": "1 stands here; the journal says 7500"}
    ]


def test_upgrade_keeps_a_copy_and_is_done_once(empty):
    with sqlite3.connect(empty.folder / "ledger.db") as raw:
        raw.executescript((DATA / "ledger-1.sql").read_text(encoding="utf-8"))
    raw.close()
    code, _, err = empty.run("audit", key=None)
    assert code == 2
    path = str(empty.folder / "ledger.db")
    assert empty.fine("upgrade") == f"ledger {path} brought from version 1 to 2\nas it was: {path}.version-1\n"
    assert empty.fine("upgrade") == f"ledger {path} is of version 2: there is nothing to do\n"
    assert empty.told("upgrade")["before"] == 2
    ledger = Ledger(path, REGION, create=False)
    assert audit(ledger).clean
    ledger.close()


def test_old_ledger_tells_the_clerk_to_upgrade(counter):
    (counter.folder / "ledger.db").unlink()
    with sqlite3.connect(counter.folder / "ledger.db") as raw:
        raw.executescript((DATA / "ledger-1.sql").read_text(encoding="utf-8"))
    raw.close()
    code, _, err = counter.run("sell", "--card", counter.card, "--volume", "20")
    assert code == 1
    assert "LEDGER_VERSION (-130)" in err and "icgas hall upgrade" in err


HISTORY = f"""\
account {ACCOUNT}
name    王芳
opened  2026-03-01 20:00+08:00

bindings
    1  meter {METER}, open, from index 0.00 m³
       alarm 5.00 m³, ceiling 1000.00 m³, overdraft 0.00 m³, over-flow 0 s, key version 1

cards
           1  replacement 0, batch 0, issued

orders
    1/1     2026-03-01 20:00+08:00  30.00 m³, 75.00 yuan, total 30.00 m³, card 1, done
    1/2     2026-03-01 20:00+08:00  20.00 m³, total 50.00 m³, card 1, written

reports
    1/1        2026-03-01 20:00+08:00  order 1, loaded 30.00 m³, used 0.00 m³, left 30.00 m³, index 0.00 m³, card 1
"""


def test_history_is_the_customers_file(counter):
    counter.fine("sell", "--card", counter.card, "--volume", "20")
    assert counter.fine("history", "--account", ACCOUNT) == HISTORY
    told = counter.told("history", "--all")["histories"]
    assert [one["account"]["name"] for one in told] == ["王芳"]
    assert told[0]["reports"][0]["fields"]["bought_total"] == 3000


def test_history_writes_one_file_for_each_customer_and_overwrites_none(counter):
    counter.fine("sell", "--card", counter.card, "--volume", "20")
    other = str(counter.folder / "other.bin")
    name = "Li\nWei\x1b[2J"
    words = ("open", "--card", other, "--blank", "--meter", NEIGHBOUR, "--volume", "0", "--name")
    code, _, err = counter.run(*words, name)
    assert code == 1 and "FIELD" in err and not os.path.exists(other)
    counter.fine(*words, "Li Wei")
    ledger = Ledger(counter.folder / "ledger.db", REGION, create=False)
    with ledger.begin() as books:  # as an earlier version took it
        books.change_account(books.account("0000000002"), "holder", name, at=0, reason="it was", approver="nobody")
    ledger.close()
    folder = counter.folder / "files"
    assert counter.fine("history", "--all", "--out", str(folder)) == f"2 files written to {folder}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["0000000001.txt", "0000000002.txt"]
    assert (folder / f"{ACCOUNT}.txt").read_text(encoding="utf-8") == HISTORY
    assert "name    Li\\nWei\\x1b[2J\n" in (folder / "0000000002.txt").read_text(encoding="utf-8")
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    (folder / "0000000002.txt").unlink()
    code, _, err = counter.run("history", "--all", "--out", str(folder))
    assert code == 1 and "0000000001.txt already" in err
    assert [path.name for path in folder.iterdir()] == ["0000000001.txt"]
    counter.fine("history", "--all", "--out", str(folder), "--json")
    assert json.loads((folder / "0000000002.json").read_text(encoding="utf-8"))["account"]["name"] == name


def test_backup_is_one_audited_file_that_can_be_sold_from(counter):
    copy = counter.folder / "copy.db"
    head = counter.head()
    out = counter.fine("backup", "--to", str(copy))
    assert out.splitlines()[0] == f"copied to {copy}"
    assert out.splitlines()[-1] == f"head {head}"
    assert [name for name in counter.files() if name.startswith("copy")] == ["copy.db"]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.read_bytes()[18:20] == b"\x01\x01"  # no write-ahead log beside it
    assert counter.told("audit", ledger="copy.db")["head"] == head
    assert counter.told("sell", "--card", counter.card, "--volume", "1", ledger="copy.db")["sequence"] == 2


def test_backup_while_a_window_writes_is_what_was_committed(counter):
    ledger = Ledger(counter.folder / "ledger.db", REGION, create=False)
    with ledger.begin() as books:
        books.add_account("not committed", 0)
        counter.fine("backup", "--to", str(counter.folder / "copy.db"))
    ledger.close()
    assert len(counter.told("history", "--all", ledger="copy.db")["histories"]) == 1
    assert len(counter.told("history", "--all")["histories"]) == 2


def test_backup_of_a_changed_ledger_stays_and_is_told(counter):
    with sqlite3.connect(counter.folder / "ledger.db") as raw:
        raw.execute("UPDATE orders SET fen = 1")
    raw.close()
    code, out, _ = counter.run("backup", "--to", str(counter.folder / "copy.db"))
    assert code == 1 and "orders id=1, fen" in out
    assert "copy.db" in counter.files()


@pytest.mark.parametrize("place", ["ledger.db", "none/copy.db", "nul\0.db", "."])
def test_backup_that_cannot_be_written_is_refused_and_overwrites_nothing(counter, place):
    before = counter.files()
    code, out, err = counter.run("backup", "--to", str(counter.folder / place))
    assert (code, out) == (1, "")
    assert err.startswith("icgas hall backup: LEDGER (")
    assert counter.files() == before


# ---------------------------------------------------------------------- refusals and wrong usage

GROUPS = ("price", "shift", "stock")
REFUSED = [
    ("gas waits on the card", ("sell", "--card", "@card.bin", "--volume", "1"), "GAS_ON_CARD"),
    ("no such card", ("sell", "--card", "@none.bin", "--volume", "1"), "NO_CARD"),
    ("no such card to read", ("read", "--card", "@none.bin"), "NO_CARD"),
    ("no volume", ("sell", "--card", "@card.bin", "--volume", "0"), "AMOUNT"),
    ("no number", ("sell", "--card", "@card.bin", "--volume", "ten"), "AMOUNT"),
    ("no whole pulses", ("sell", "--card", "@card.bin", "--volume", "0.001"), "NOT_WHOLE_PULSES"),
    ("card there already", ("open", "--card", "@card.bin", "--blank", "--meter", NEIGHBOUR, "--volume", "1"), "READER"),
    ("card not blank", ("open", "--card", "@card.bin", "--meter", NEIGHBOUR, "--volume", "1"), "CARD_NOT_BLANK"),
    ("meter malformed", ("open", "--card", "@card.bin", "--meter", "1", "--volume", "1"), "NUMBER_MALFORMED"),
    (
        "account malformed",
        ("open", "--card", "@card.bin", "--meter", NEIGHBOUR, "--volume", "1", "--account", "7"),
        "NUMBER_MALFORMED",
    ),
    (
        "weight of no meter",
        ("open", "--card", "@card.bin", "--meter", NEIGHBOUR, "--volume", "1", "--pulse-weight", "3"),
        "WEIGHT",
    ),
    (
        "blank card for nothing",
        ("open", "--card", "@new.bin", "--blank", "--meter", "1", "--volume", "1"),
        "NUMBER_MALFORMED",
    ),
    (
        "blank card, bound meter",
        ("open", "--card", "@new.bin", "--blank", "--meter", METER, "--volume", "1"),
        "ALREADY_BOUND",
    ),
    ("account unknown", ("reconcile", "--account", "0000000009"), "ACCOUNT_UNKNOWN"),
    ("no report", ("reconcile", "--account", ACCOUNT, "--reading", "x"), "AMOUNT"),
    ("history of nobody", ("history", "--account", "0000000009"), "ACCOUNT_UNKNOWN"),
    ("history of no number", ("history", "--account", "1"), "NUMBER_MALFORMED"),
    ("history into a file", ("history", "--all", "--out", "@key.json"), "FIELD"),
    ("price of a yesterday", ("price", "set", "2", "--from", "2026-03-01T11:59Z"), "PRICE_PAST"),
    ("price of no number", ("price", "set", "2.63151"), "AMOUNT"),
    ("price for nothing", ("price", "set", "0"), "AMOUNT"),
    ("time without a zone", ("price", "set", "2", "--from", "2026-04-01"), "FIELD"),
    ("time of no clock", ("price", "set", "2", "--from", "noon"), "FIELD"),
    ("limit of nothing", ("limits", "--day", "0"), "AMOUNT"),
    ("limit of no number", ("limits", "--month", "much"), "AMOUNT"),
    ("a day that begins nowhere", ("limits", "--utc-offset", "841"), "FIELD"),
    ("no shift to close", ("shift", "close", "--cash", "0"), "SHIFT_MISSING"),
    ("no shift to print", ("shift", "slip"), "SHIFT_MISSING"),
    ("shift 0", ("shift", "slip", "--number", "0"), "FIELD"),
    ("nobody", ("shift", "open", " "), "FIELD"),
    ("cards to nobody", ("stock", "out", "1"), "SHIFT_MISSING"),
    ("cards that are not there", ("stock", "spoiled", "1"), "STOCK_SHORT"),
    ("no cards", ("stock", "in", "0"), "FIELD"),
    ("head of no journal", ("audit", "--head", "12"), "FIELD"),
    ("region beyond", ("init", "--region", "65536"), "FIELD"),
]


@pytest.mark.parametrize(("words", "name"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refusal_is_a_sentence_with_a_remedy_and_leaves_all_as_it_was(counter, words, name):
    counter.fine("sell", "--card", counter.card, "--volume", "1")
    head, files, card = counter.head(), counter.files(), Path(counter.card).read_bytes()
    words = [str(counter.folder / word[1:]) if word.startswith("@") else word for word in words]
    code, out, err = counter.run(*words)
    assert (code, out) == (1, "")
    action = " ".join(words[: 2 if words[0] in GROUPS else 1])
    assert re.match(rf"icgas hall {action}: {name} \(-\d+\): .+\. .+\.\n$", err)
    code, out, err = counter.run(*words, "--json")
    assert (code, err) == (1, "")
    told = json.loads(out)["error"]
    assert told["name"] == name and told["remedy"] and told["message_zh"]
    assert (counter.head(), counter.files(), Path(counter.card).read_bytes()) == (head, files, card)


PLACES = [
    ("no ledger", {"ledger": "none.db"}, "LEDGER_MISSING"),
    ("no key", {"key": "none.json"}, "KEY_FILE"),
    ("ledger for key", {"key": "ledger.db"}, "KEY_FILE"),
    ("key for ledger", {"ledger": "key.json"}, "LEDGER"),
]


@pytest.mark.parametrize(("places", "name"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES])
@pytest.mark.parametrize("action", ["open", "sell", "read", "reconcile", "audit", "history", "backup"])
def test_wrong_place_is_refused_by_every_service(counter, action, places, name):
    words = {
        "open": ("--card", counter.card, "--meter", METER, "--volume", "1"),
        "sell": ("--card", counter.card, "--volume", "1"),
        "read": ("--card", counter.card),
        "reconcile": ("--account", ACCOUNT),
        "audit": (),
        "history": ("--all",),
        "backup": ("--to", str(counter.folder / "copy.db")),
    }[action]
    files = counter.files()
    code, _, err = counter.run(action, *words, **places)
    assert (code, f": {name} (" in err) == (1, True), err
    assert counter.files() == files


USAGE = [
    (),
    ("nothing",),
    ("init",),
    ("init", "--region", "x"),
    ("init", "--region", "-1"),
    ("init", "--region", "1.0"),
    ("init", "--region", "٣"),
    ("open", "--meter", METER, "--volume", "1"),
    ("open", "--card", "c", "--volume", "1"),
    ("open", "--card", "c", "--meter", METER),
    ("open", "--card", "c", "--meter", METER, "--volume", "1", "--key-version", "one"),
    ("sell", "--card", "c"),
    ("sell", "--volume", "1"),
    *[("sell", "--card", "c", "--volume", "1", "--money", money) for money in ("x", "1.234", "-1", "1e3", "", "1,5")],
    *[("sell", "--card", "c", "--volume", "1", "--money", money) for money in (".5", "5.", "+5", " 5", "9" * 20, "٣")],
    ("read",),
    ("reconcile",),
    ("audit", "--head"),
    ("upgrade", "--key", "k"),
    ("history",),
    ("history", "--all", "--account", ACCOUNT),
    ("limits", "--day"),
    ("limits", "--utc-offset", "8h"),
    ("stock", "in"),
    ("stock", "in", "-1"),
    ("stock", "out", "1", "--reason", "x"),
    ("shift", "open"),
    ("shift", "close"),
    ("shift", "close", "--cash", "x"),
    ("price",),
    ("price", "set"),
    ("price", "list", "2"),
    ("backup",),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_wrong_usage_touches_nothing(empty, words):
    code, out, err = empty.run(*words)
    assert (code, out) == (2, "")
    assert "usage: icgas hall" in err
    assert empty.files() == []


@pytest.mark.parametrize("missing", ["ledger", "key"])
def test_place_may_stand_in_the_environment(counter, monkeypatch, missing):
    code, _, err = counter.run("audit", **{missing: None})
    assert code == 2 and f"set ICGAS_{missing.upper()}" in err
    value = {"ledger": counter.folder / "ledger.db", "key": counter.folder / "key.json"}[missing]
    monkeypatch.setenv(f"ICGAS_{missing.upper()}", str(value))
    counter.fine("audit", **{missing: None})


def test_folder_stands_for_its_ledger(counter):
    counter.fine("audit", ledger=".")
    assert counter.fine("upgrade", ledger=".").startswith(f"ledger {counter.folder}/ledger.db is of version 2")


@pytest.mark.parametrize("words", [("--help",), *[(name, "--help") for name in ("init", "open", "sell", "history")]])
def test_help_is_no_error(empty, words):
    code, out, _ = empty.run(*words, ledger=None, key=None)
    assert (code, out.startswith("usage: icgas hall")) == (0, True)


def test_output_that_cannot_be_written_is_told(counter, monkeypatch):
    class Full:
        encoding = "ascii"

        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    monkeypatch.setattr(Full, "fileno", lambda self: 1, raising=False)
    arguments = ["audit", "--ledger", str(counter.folder / "ledger.db"), "--key", str(counter.folder / "key.json")]
    assert hall_command.command(arguments) == 1
    assert "not printed: No space left" in counter.capsys.readouterr().err


def test_entry_point_is_declared():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["icgas.commands"]["hall"] == "gashall.hall_command:command"
    assert any(part.startswith("alembic") for part in project["optional-dependencies"]["hall"])


# ---------------------------------------------------------------------- what a review found


def test_password_of_a_database_url_is_never_printed(counter):
    for url in ("postgresql://u:geheim@127.0.0.1:1/d", "postgresql://127.0.0.1:1/d?user=u&password=geheim"):
        for words in (("audit",), ("init", "--region", "33")):
            key = "key.json" if words == ("audit",) else "other.json"
            code, out, err = hall_run(counter, *words, "--ledger", url, "--key", str(counter.folder / key))
            assert code == 1 and "geheim" not in out + err
        (counter.folder / "other.json").unlink(missing_ok=True)


def hall_run(counter, *words):
    code = hall_command.command(list(words), lambda: datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
    told = counter.capsys.readouterr()
    return code, told.out, told.err


def test_half_an_option_is_no_option(counter):
    words = ("sell", "--volume", "1", "--card", counter.card, "--money", "1")
    code, _, err = counter.run(*words, "--price")
    assert code == 2 and "--price" in err
    assert "--price" not in counter.run(*words)[2]


@pytest.mark.parametrize("yuan", ["0", "0.0000", "10000", "999999999"])
def test_price_beyond_what_there_is_is_answered_in_yuan(counter, yuan):
    code, out, err = counter.run("price", "set", yuan)
    assert code == 1 and out == "" and "in yuan" in err and "9999.9999" in err


@pytest.mark.parametrize("end", ["-journal", "-wal", "-shm"])
def test_backup_takes_no_name_that_sqlite_uses(counter, end):
    code, _, err = counter.run("backup", "--to", str(counter.folder / f"ledger.db{end}"))
    assert code == 1 and "SQLite uses" in err


def test_closed_output_is_told_and_what_was_done_is_done(counter, monkeypatch):
    arguments = ["--ledger", str(counter.folder / "ledger.db"), "--key", str(counter.folder / "key.json")]
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", None)  # as Python has it where the descriptor is closed
        assert hall_command.command(["price", "set", "2.63", *arguments]) == 1
    assert "not printed: standard output is closed" in counter.capsys.readouterr().err
    assert hall_command.command(["price", "list", *arguments]) == 0
    assert "2.63" in counter.capsys.readouterr().out
