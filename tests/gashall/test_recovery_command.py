"""``icgas hall restore``, ``recovering``, ``probe``, ``reconcile adopt`` and ``suspend``, as a person runs them."""

import json
from datetime import UTC, datetime

import pytest
from paper import METER, PaperMeter
from tests.conftest import require_part

require_part("alembic")
from gashall import hall_command  # noqa: E402
from gashall.signer import KeyFileSigner  # noqa: E402

ACCOUNT = "0000000001"
PEOPLE = ("--requester", "Li Ming", "--approver", "王芳", "--reason", "the disk broke")


class Counter:
    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.card, self.ledger = str(folder / "card.bin"), "ledger.db"

    def run(self, *words, places=True):
        more = ["--ledger", str(self.folder / self.ledger)] if places else []
        more += ["--key", str(self.folder / "key.json")]
        code = hall_command.command([*words, *more], lambda: datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
        told = self.capsys.readouterr()
        return code, told.out, told.err

    def fine(self, *words, **more):
        code, out, err = self.run(*words, **more)
        assert (code, err) == (0, "")
        return out

    def load(self):
        self.meter.insert(self.folder / "card.bin")


@pytest.fixture
def counter(tmp_path, capsys, monkeypatch):
    for name in (hall_command.LEDGER_VARIABLE, hall_command.KEY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    counter = Counter(tmp_path, capsys)
    counter.fine("init", "--region", "0x0021")
    counter.fine("open", "--card", counter.card, "--blank", "--meter", METER, "--volume", "30")
    counter.meter = PaperMeter(KeyFileSigner.load(tmp_path / "key.json"))
    counter.load()
    return counter


def test_from_copy_to_sale(counter):
    copy, new = str(counter.folder / "copy.db"), str(counter.folder / "new.db")
    counter.fine("read", "--card", counter.card)
    counter.fine("backup", "--to", copy)
    counter.fine("sell", "--card", counter.card, "--volume", "20")
    code, _, err = counter.run("restore", "--from", copy, "--to", new, "--head", "00" * 32, places=False)
    assert code == 1 and f"{copy} fails its audit" in err, "the file that was given, not the one being written"
    out = counter.fine("restore", "--from", copy, "--to", new, places=False)
    assert out.startswith(f"ledger {new} restored") and "1 account recovering" in out
    counter.ledger = "new.db"
    assert "no probe yet" in counter.fine("recovering")
    for action in ("probe", "sell"):
        words = (action, "--card", counter.card, *(("--volume", "1") if action == "sell" else ()))
        code, _, err = counter.run(*words)
        assert code == 1 and "LEDGER_BEHIND" in err and "icgas hall reconcile adopt" in err
    out = counter.fine("reconcile", "adopt", "--card", counter.card, *PEOPLE)
    assert "20.00 m³ more than the ledger knew, 50.00 m³ in all" in out and "still recovering" in out
    counter.load()
    code, _, err = counter.run("sell", "--card", counter.card, "--volume", "1")
    assert code == 1 and "RECOVERING (-165)" in err and "icgas hall probe" in err
    assert "probe is on the card" in counter.fine("probe", "--card", counter.card)
    counter.load()
    told = json.loads(counter.fine("reconcile", "adopt", "--card", counter.card, *PEOPLE, "--json"))
    assert (told["raised"], told["recovering"], told["approver"]) == ("0.00", False, "王芳")
    assert json.loads(counter.fine("recovering", "--json")) == {"recovering": []}
    assert "order 102" in counter.fine("sell", "--card", counter.card, "--volume", "1")
    text = counter.fine("history", "--account", ACCOUNT)
    assert "adopted 20.00 m³" in text
    assert "  probe 0.00 m³" in text


def test_database_restored_elsewhere_is_marked(counter):
    code, out, err = counter.run("restore", "--mark")
    assert (
        (code, out) == (1, "") and "FIELD" in err and "1 account would be recovering" in err and "--mark --yes" in err
    )
    assert "recovering: 0 accounts\n" in counter.fine("recovering"), "a live ledger is not marked by mistake"
    assert "1 account recovering" in counter.fine("restore", "--mark", "--yes")
    assert "recovering: 1 account\n" in counter.fine("recovering", "--sell", "yes")
    assert "order 101" in counter.fine("sell", "--card", counter.card, "--volume", "1")


def test_card_lost_while_recovering(counter):
    counter.fine("read", "--card", counter.card)
    counter.fine("restore", "--mark", "--yes")
    new = str(counter.folder / "new.bin")
    out = counter.fine("replace", "--card", new, "--blank", "--account", ACCOUNT, "--reason", "lost in use")
    assert "account is recovering" in out and "icgas hall reconcile adopt" in out
    counter.meter.insert(counter.folder / "new.bin")
    counter.fine("reconcile", "adopt", "--card", new, *PEOPLE)
    assert "order 102" in counter.fine("sell", "--card", new, "--volume", "1")


def test_suspension(counter):
    words = ("suspend", "begin", "--account", ACCOUNT, "--reading", "3", "--reason", "complaint")
    assert "under test (complaint)" in counter.fine(*words)
    code, _, err = counter.run("sell", "--card", counter.card, "--volume", "1")
    assert code == 1 and "SUSPENDED (-166)" in err
    out = counter.fine("suspend", "end", "--account", ACCOUNT, "--reading", "5.5")
    assert "suggested make-up 2.50 m³" in out and "makeup request --account 0000000001 " in out
    people = ("--requester", "Li Ming", "--approver", "Wang Fang", "--reason", "8 read as 5")
    out = counter.fine("suspend", "correct", "--account", ACCOUNT, "--end-reading", "8.5", *people)
    assert "suggested make-up 5.50 m³" in out
    counter.fine(*words)
    assert "is cancelled" in counter.fine("suspend", "cancel", "--account", ACCOUNT, "--reason", "the neighbour's")
    assert "sold: 1" in counter.fine("sell", "--card", counter.card, "--volume", "1")


USAGE = [
    ("restore",),
    ("restore", "--from", "x"),
    ("restore", "--to", "x"),
    ("restore", "--mark", "--to", "x"),
    ("restore", "--from", "x", "--to", "y", "--yes"),
    ("reconcile",),
    ("reconcile", "adopt", "--card", "x"),
    ("reconcile", "nothing"),
    ("suspend",),
    ("suspend", "begin", "--account", ACCOUNT, "--reading", "1"),
    ("suspend", "cancel", "--account", ACCOUNT),
    ("suspend", "correct", "--account", ACCOUNT, "--reading", "1", "--reason", "x"),
    ("recovering", "--sell", "perhaps"),
    ("probe",),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_wrong_usage_touches_nothing(counter, words):
    files = sorted(path.name for path in counter.folder.iterdir())
    code, out, err = counter.run(*words)
    assert (code, out) == (2, "")
    assert "usage: icgas hall" in err
    assert sorted(path.name for path in counter.folder.iterdir()) == files
