"""``icgas hall`` makeup, gift, refund, replace, take-back, transfer-account, stop and resume, each once through."""

import pytest
from paper import METER
from test_hall_command import ACCOUNT, Counter

from gashall import hall_command

WHO = ("--reason", "meter lost it", "--requester", "Li Ming")


@pytest.fixture
def window(tmp_path, capsys, monkeypatch):
    """A counter whose first customer has opened an account and loaded her card."""
    for name in (hall_command.LEDGER_VARIABLE, hall_command.KEY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    window = Counter(tmp_path, capsys)
    window.fine("init", "--region", "0x0021")
    window.fine("open", "--card", window.card, "--blank", "--meter", METER, "--volume", "30", "--name", "王芳")
    window.load()
    return window


def request(window, sort, *more):
    told = window.told(sort, "request", "--account", ACCOUNT, "--volume", "5", *more, *WHO)
    return str(told["number"])


def approved(window, sort, *more):
    number = request(window, sort, *more)
    window.fine(sort, "approve", number, "--approver", "王芳")
    return number


def refused(window, code, *words):
    """Refused by the name of that error, and the ledger is as it was."""
    head = window.head()
    status, out, err = window.run(*words)
    assert (status, out) == (1, "")
    assert code in err
    assert window.head() == head
    return err


SORTS = [("makeup", ("--kind", "loss")), ("gift", ()), ("refund", ("--money", "12.50"))]


@pytest.mark.parametrize("sort", [row[0] for row in SORTS])
def test_only_the_help_of_a_makeup_speaks_of_gas_taken_off(window, sort):
    told = window.run(sort, "request", "--help")[1]
    assert ("negative" in told) is (sort == "makeup")
    words = (sort, "request", "--account", ACCOUNT, "--volume", "-5", *WHO)
    if sort == "makeup":
        window.fine(*words, "--kind", "drift")
    else:
        refused(window, "RANGE", *words)


@pytest.mark.parametrize(("sort", "more"), SORTS, ids=[row[0] for row in SORTS])
def test_request_is_approved_written_listed_and_printed(window, sort, more):
    window.fine("read", "--card", window.card)
    number = request(window, sort, *more)
    told = refused(window, "GRANT_NOT_APPROVED", sort, "write", number, "--card", window.card)
    assert f"{sort} approve" in told
    refused(window, "APPROVER", sort, "approve", number, "--approver", "LI MING")
    slip = window.fine(sort, "approve", number, "--approver", "王芳")
    assert slip == window.fine(sort, "slip", number)
    assert f"单 {number}\n" in slip and "王芳" in slip and "____" in slip
    out = window.fine(sort, "write", number, "--card", window.card)
    assert "order 2 on card 1" in out
    refused(window, "GRANT_WRITTEN", sort, "write", number, "--card", window.card)
    assert f"{number}  2026-03-01  account {ACCOUNT}" in window.fine(sort, "list")
    assert window.told(sort, "list", "--account", "0000000002") == {"requests": []}
    assert window.fine(sort, "list", "--account", "0000000002") == "there is none\n"
    page = window.folder / "slip.html"
    window.fine(sort, "slip", number, "--out", str(page))
    assert "王芳" in page.read_text(encoding="utf-8")
    refused(window, "FIELD", sort, "slip", number, "--out", str(page))
    other = "gift" if sort == "makeup" else "makeup"
    assert f"Use icgas hall {sort}." in refused(window, "GRANT_MISSING", other, "slip", number)
    refused(window, "GRANT_MISSING", sort, "approve", "9", "--approver", "x")
    assert window.told("audit")["clean"]


def test_refund_is_paid_or_cancelled(window):
    window.fine("read", "--card", window.card)
    number = approved(window, "refund", "--money", "12.50")
    window.fine("refund", "write", number, "--card", window.card)
    refused(window, "REFUND_NOT_PROVEN", "refund", "pay", number)
    refused(window, "FIELD", "refund", "cancel", number)
    assert "cancelled" in window.fine("refund", "cancel", number, "--card", window.card)
    window.load()
    window.fine("read", "--card", window.card)
    number = approved(window, "refund", "--money", "12.50")
    window.fine("refund", "write", number, "--card", window.card)
    window.memory["bought"], window.memory["sequence"] = 2500, 4
    window.load()
    window.fine("read", "--card", window.card)
    window.fine("shift", "open", "Li Ming")
    assert "12.50 yuan" in window.fine("refund", "pay", number)
    assert f"money 金额{'-12.50 yuan':>32}" in window.fine("shift", "close", "--cash", "-12.50")


def test_request_is_cancelled(window):
    number = approved(window, "makeup", "--kind", "other")
    assert window.told("makeup", "cancel", number)["state"] == "cancelled"


def test_card_is_replaced_and_taken_back(window):
    window.fine("read", "--card", window.card)
    window.fine("sell", "--card", window.card, "--volume", "20")
    new = str(window.folder / "new.bin")
    out = window.fine("replace", "--card", new, "--blank", "--account", ACCOUNT, "--reason", "lost in use")
    assert "card 2 is account 0000000001's, replacement 1: written" in out
    assert "released: 30.00 m³ in all; held: 20.00 m³" in out
    refused(window, "REPLACED", "read", "--card", window.card)
    out = window.fine("take-back", "--card", window.card, "--clear")
    assert out.endswith("Its order is taken off it.\n")
    assert f"makeup request --account {ACCOUNT} --kind held --volume 20.00 --reason" in out
    assert "card 1 of account 0000000001, replaced by card 2, is taken back" in out
    assert "gas on it that no report shows loaded: 20.00 m³; held: 20.00 m³" in out
    assert "held since the card was replaced: 20.00 m³" in window.fine("read", "--card", new)
    refused(window, "HELD", "sell", "--card", new, "--volume", "1")
    newer = ("replace", "--card", str(window.folder / "n.bin"), "--blank", "--account", ACCOUNT, "--reason", "broken")
    told = window.told(*newer, "--old-card", new)
    assert (told["replacement"], told["old_card"], told["held"]) == (2, 2, "20.00")


def test_replacement_tells_of_the_refund_it_cancels_and_of_no_other(window):
    window.fine("read", "--card", window.card)
    number = approved(window, "refund", "--money", "12.50")
    window.fine("refund", "write", number, "--card", window.card)
    words = ("replace", "--blank", "--account", ACCOUNT, "--reason", "lost in use", "--card")
    assert f"Refund {number} is cancelled by it" in window.fine(*words, str(window.folder / "new.bin"))
    assert "cancelled" not in window.fine(*words, str(window.folder / "newer.bin"), "--again")


def test_blank_made_for_a_refused_replacement_is_taken_away_again(window):
    new = str(window.folder / "new.bin")
    before = window.files()
    words = ("replace", "--card", new, "--blank", "--account", "0000000009", "--reason", "broken")
    refused(window, "ACCOUNT_UNKNOWN", *words)
    assert window.files() == before


def test_holder_and_state_of_an_account(window):
    window.fine("read", "--card", window.card)
    why = ("--reason", "inherited", "--approver", "王芳")
    assert window.fine("transfer-account", "--account", ACCOUNT, "--name", "Li Na", *why).endswith("Li Na: open\n")
    assert window.fine("stop", "--account", ACCOUNT, *why).endswith("Li Na: stopped\n")
    refused(window, "ACCOUNT_STOPPED", "sell", "--card", window.card, "--volume", "1")
    assert window.told("resume", "--account", ACCOUNT, *why)["state"] is None
    window.fine("sell", "--card", window.card, "--volume", "1")


@pytest.mark.parametrize(
    "words",
    [
        ("makeup", "request", "--account", ACCOUNT, "--volume", "5", *WHO),
        ("makeup", "request", "--account", ACCOUNT, "--volume", "5", "--kind", "gift", *WHO),
        ("gift", "pay", "1"),
        ("makeup", "write", "1"),
        ("replace", "--card", "x", "--account", ACCOUNT, "--reason", "eaten"),
        ("stop", "--account", ACCOUNT, "--reason", "x"),
    ],
)
def test_wrong_usage_touches_nothing(window, words):
    head = window.head()
    assert window.run(*words)[0] == 2
    assert window.head() == head
