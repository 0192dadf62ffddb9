"""``icgas hall tool`` and ``close``, each once through, and what is refused."""

import pytest
from paper import METER, NEIGHBOUR
from test_grant_command import refused
from test_hall_command import ACCOUNT, Counter
from test_tool_cards import Stand

from gashall import hall_command
from gashall.signer import KeyFileSigner

WHO = ("--requester", "Li Ming", "--approver", "王芳", "--reason", "moved out")


@pytest.fixture
def window(tmp_path, capsys, monkeypatch):
    """A counter with one customer and her real meter, 30 m³ loaded."""
    for name in (hall_command.LEDGER_VARIABLE, hall_command.KEY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    window = Counter(tmp_path, capsys)
    window.fine("init", "--region", "0x0021")
    window.stand = Stand(KeyFileSigner.load(tmp_path / "key.json"))
    window.fine(
        "open", "--card", window.card, "--blank", "--meter", METER, "--volume", "30", "--money", "75", "--name", "王芳"
    )
    visit(window, window.card)
    return window


def visit(window, path):
    with open(path, "r+b") as file:
        _, image = window.stand.visit(file.read())
        file.seek(0)
        file.write(image)


def issue(window, kind, *more):
    path = str(window.folder / f"{kind}.bin")
    return path, window.fine("tool", "issue", kind, "--card", path, "--blank", *more)


def test_customers_card_is_told_as_one_and_who_reads_it(window):
    err = refused(window, "KIND", "tool", "read", "--card", window.card)
    assert err.endswith("This is a customer's card, none of the company's. It is read by icgas hall read.\n")
    assert "30.00 m³ left on the meter" in window.fine("read", "--card", window.card)


def test_round_clear_and_close(window):
    path, out = issue(window, "management", "--purpose", "round", "--expires", "2027-01-01T00:00+08:00")
    assert "management, until 2027-01-01 00:00+08:00: out  (round)" in out
    visit(window, path)
    out = window.fine("tool", "read", "--card", path)
    assert f"meter {METER}, account {ACCOUNT}, 30.00 m³ left" in out and "used again" in out
    page = window.folder / "tools.html"
    out = window.fine("tool", "list", "--page", str(page))
    assert "2  2026-03-01  management" in out and f"page written to {page}" in out
    assert "management 管理卡" in page.read_text("utf-8")
    refused(window, "FIELD", "tool", "list", "--page", str(page))
    path = str(window.folder / "clear.bin")
    out = window.fine("clear", "--card", path, "--blank", "--account", ACCOUNT, *WHO)
    assert f"clear, meter {METER}, account {ACCOUNT}: out" in out
    refused(window, "BINDING_ENDS", "sell", "--card", window.card, "--volume", "1")
    refused(window, "TOOL_OUT", "tool", "end", "3")
    visit(window, path)
    out = window.fine("tool", "read", "--card", path)
    assert "30.00 m³ were left on the meter, 0.00 m³ never came to it" in out and "icgas hall close" in out
    page = window.folder / "closing.html"
    out = window.fine("close", "--account", ACCOUNT, "--card", window.card, *WHO, "--out", str(page))
    for cell in ("75.00 yuan", "2026-03-01 20:00+08:00", "Li Ming", "王芳"):
        assert f"{cell}</td>" in page.read_text("utf-8")
    assert f"page written to {page}" in out
    assert "closing slip 销户单" in out and "30.00 m³\n" in out and "75.00 yuan\n" in out
    assert "nothing is paid twice" in window.fine("close", "--account", ACCOUNT, *WHO)
    assert "taken back" in window.fine("tool", "end", "3", "--card", path)
    assert "account 0000000002" in window.fine(
        "open", "--card", str(window.folder / "next.bin"), "--blank", "--meter", METER, "--volume", "5"
    )
    window.fine("audit")


def test_setting_test_and_keys(window):
    window.fine("tool", "meter", NEIGHBOUR)
    _, out = issue(window, "setting", "--meter", NEIGHBOUR, "--purpose", "x", "--size", "G4", "--limit", "idle_days=9")
    assert "service number 1" in out
    _, out = issue(window, "test", "--meter", NEIGHBOUR, "--volume", "0.5", "--purpose", "bench")
    assert "0.50 m³ of test gas in all" in out
    window.fine("read", "--card", window.card)
    path, out = issue(window, "key", "--meter", METER, "--purpose", "yearly")
    assert "keys 2" in out
    refused(window, "TOOL_OUT", "tool", "end", "4")
    visit(window, path)
    window.fine("tool", "end", "4", "--keys-taken", "yes")
    out = window.fine("sell", "--card", window.card, "--volume", "1", "--money", "2.50")
    refused(window, "FIELD", "tool", "rekey", "--card", window.card)


REFUSED = [
    ("FIELD", "issue", "management"),
    ("FIELD", "issue", "management", "--purpose", "x", "--meter", METER),
    ("FIELD", "issue", "setting", "--purpose", "x"),
    ("FIELD", "issue", "setting", "--purpose", "x", "--clock", "noon"),
    ("FIELD", "issue", "setting", "--purpose", "x", "--limit", "idle_days"),
    ("METER_UNKNOWN", "issue", "test", "--purpose", "x", "--meter", NEIGHBOUR, "--volume", "1"),
    ("ORDER_WAITS", "issue", "key", "--purpose", "x", "--meter", METER),
    ("TOOL_UNKNOWN", "end", "9"),
]


@pytest.mark.parametrize("row", REFUSED, ids=[" ".join(row[1:3]) + f" {i}" for i, row in enumerate(REFUSED)])
def test_what_cannot_be_made_leaves_no_card_file(window, row):
    code, *words = row
    more = ["--card", str(window.folder / "tool.bin"), "--blank"] if words[0] == "issue" else []
    refused(window, code, "tool", *words, *more)
    assert not (window.folder / "tool.bin").exists()
