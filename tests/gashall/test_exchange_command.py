"""``icgas hall exchange``: the whole way at the command line."""

import json
from datetime import UTC, datetime

import pytest
from paper import METER, NEIGHBOUR
from test_tool_cards import Stand
from tests.conftest import require_part

from gascard import codes

require_part("alembic")
from gashall import hall_command  # noqa: E402
from gashall.signer import KeyFileSigner  # noqa: E402

ACCOUNT = "0000000001"
PEOPLE = ["--requester", "Li Ming", "--approver", "Wang Fang", "--reason", "meter of ten years"]
NEW = ["--account", ACCOUNT, "--new-meter", NEIGHBOUR, "--initial-reading", "0", *PEOPLE]


class Window:
    """A folder with ledger, key file and cards, the command run in it, and two real meters."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.fine("init", "--region", "0x0021")
        self.fine("open", "--card", self.file("card.bin"), "--blank", "--meter", METER, "--volume", "30")
        signer = KeyFileSigner.load(folder / "key.json")
        self.old, self.new = Stand(signer), Stand(signer, NEIGHBOUR)
        self.show(self.old, "card.bin")
        self.old.meter.pulses(700)

    def file(self, name):
        return str(self.folder / name)

    def run(self, *words):
        places = ["--ledger", self.file("ledger.db"), "--key", self.file("key.json")]
        code = hall_command.command([*words, *places], lambda: datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
        told = self.capsys.readouterr()
        return code, told.out, told.err

    def fine(self, *words):
        code, out, err = self.run(*words)
        assert (code, err) == (0, "")
        return out

    def told(self, *words):
        return json.loads(self.fine(*words, "--json"))

    def show(self, stand, name):
        path = self.folder / name
        code, image = stand.visit(path.read_bytes())
        path.write_bytes(image)
        assert code == codes.OK


@pytest.fixture
def window(tmp_path, capsys):
    return Window(tmp_path, capsys)


def test_exchange_by_transfer_card(window):
    card = window.file("transfer.bin")
    code, _, err = window.run("exchange", "begin", "--card", card, "--blank", *NEW)
    assert code == 1 and "OPENING_NOT_LOADED" in err
    window.fine("read", "--card", window.file("card.bin"))
    out = window.fine("exchange", "begin", "--card", card, "--blank", *NEW)
    assert "30.00 m³ at most" in out
    code, _, err = window.run("sell", "--card", window.file("card.bin"), "--volume", "5")
    assert code == 1
    assert "EXCHANGE (-190)" in err
    again = window.told("exchange", "again", "--card", window.file("second.bin"), "--blank", "--account", ACCOUNT)
    assert (again["state"], again["tool"]) == ("begun", 3)
    code, _, err = window.run("exchange", "read", "--card", card)
    assert (code, "NO_FINAL_RECORD" in err) == (1, True)
    window.show(window.old, "second.bin")
    window.show(window.new, "second.bin")
    told = window.told("exchange", "read", "--card", window.file("second.bin"))
    assert (told["state"], told["moved"], told["owed"]) == ("read", "23.00", "0.00")
    out = window.fine("exchange", "card", "--card", window.file("card.bin"))
    assert "The customer's card 1 is for the new meter." in out
    window.show(window.new, "card.bin")
    assert "from the meter before" in window.fine("read", "--card", window.file("card.bin")) + window.fine(
        "reconcile", "--account", ACCOUNT
    )
    page = window.folder / "exchange.html"
    out = window.fine("exchange", "show", "--account", ACCOUNT, "--out", str(page))
    assert f"page written to {page}" in out
    for cell in ("through 已完成", "Li Ming", "Wang Fang", "meter of ten years", "2026-03-01 20:00+08:00"):
        assert f"{cell}</td>" in page.read_text("utf-8")
    assert window.told("exchange", "show", "--account", ACCOUNT)["state"] == "through"
    assert window.new.meter.remaining == 2300


def test_exchange_of_a_dead_meter(window):
    out = window.fine("exchange", "dead", "--closing-index", "7.00", *NEW)
    assert "23.00 m³: to be requested as a make-up of kind dead meter" in out
    page = window.folder / "dead.html"
    window.fine("exchange", "show", "--account", ACCOUNT, "--out", str(page))
    assert "closing index 旧表止码" in page.read_text("utf-8") and "7.00 m³</td>" in page.read_text("utf-8")
    out = window.fine(
        "exchange", "card", "--card", window.file("new.bin"), "--blank", "--account", ACCOUNT, "--reason", "broken"
    )
    assert "card 2" in out
    code, _, err = window.run("exchange", "proven", "--account", ACCOUNT)
    assert (code, "EXCHANGE_MISSING (-191)" in err) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ["exchange"],
        ["exchange", "begin", "--card", "x"],
        ["exchange", "dead", *NEW],
        ["exchange", "card"],
        ["exchange", "card", "--card", "x", "--reason", "no such"],
    ],
)
def test_wrong_usage_touches_nothing(window, words):
    before = (window.folder / "ledger.db").read_bytes()
    assert window.run(*words)[0] == 2
    assert (window.folder / "ledger.db").read_bytes() == before
