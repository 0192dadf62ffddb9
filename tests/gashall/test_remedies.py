"""What a person at the counter is told to do can be done as it stands: in his own words, and it works."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from paper import METER
from tests.conftest import require_part

require_part("alembic")
from gashall import hall_command  # noqa: E402

ACCOUNT = "0000000001"
SECRET = "four words taken by chance"


class Window:
    """A folder, and ``icgas hall`` run in it."""

    def __init__(self, folder, capsys):
        self.folder = folder
        self.capsys = capsys

    def run(self, *words, ledger="ledger.db"):
        places = ["--ledger", str(self.folder / ledger)] if ledger else []
        words = [str(self.folder / word[1:]) if word.startswith("@") else word for word in words]
        places += ["--key", str(self.folder / "region.key")]
        code = hall_command.command([*words, *places], lambda: datetime(2026, 3, 1, 12, 0, tzinfo=UTC))
        told = self.capsys.readouterr()
        return code, told.out + told.err


@pytest.fixture
def window(tmp_path, capsys, monkeypatch):
    for name in ("ICGAS_LEDGER", "ICGAS_KEY", "ICGAS_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    window = Window(tmp_path, capsys)
    for words in (
        ("init", "--region", "33"),
        ("price", "set", "2.63"),
        ("open", "--card", "@card.bin", "--blank", "--meter", METER, "--volume", "30"),
        ("makeup", "request", "--account", ACCOUNT, "--volume", "1", "--kind", "loss", "--reason", "r")
        + ("--requester", "Wang Fang"),
        ("shift", "open", "Wang Fang"),
    ):
        assert window.run(*words)[0] == 0
    return window


OPENING = ("open", "--card", "@card.bin", "--meter", METER, "--volume", "30")
SELL = ("sell", "--card", "@card.bin", "--volume")
LIST = ("reconcile", "list")
TOLD = [
    ("begun with --blank, and repeated", (*OPENING, "--blank"), "go on with it without --blank"),
    ("the same without --blank", OPENING, "If that is the opening you were making, it is made."),
    ("a comma in a volume", (*SELL, "1,5"), "Enter digits with a decimal point, as 20 or 20.5"),
    ("no card", ("sell", "--card", "@none.bin", "--volume", "1"), "made by --blank where one is issued"),
    ("another price", (*OPENING[:4], "32060012345679", "--volume", "30", "--money", "1"), "--price-agreed"),
    ("cash below nothing", ("shift", "close", "--cash", "-13.15"), "-13.15 yuan cannot have been counted"),
    ("a line of the readings", (*LIST, "--readings", "@readings.csv"), "Line 2 of "),
    ("a file that is there", (*LIST, "--page", "@card.bin"), "card.bin already; none is overwritten. Choose another"),
    ("the same for a report", ("report", "daily", "--csv", "@card.bin"), "already; none is overwritten."),
    ("the same for a slip", ("makeup", "slip", "1", "--out", "@card.bin"), "already; none is overwritten."),
    ("no folder", (*LIST, "--csv", "@no/list.csv"), "cannot be written: No such file or directory. Correct the path"),
    ("a list that is written", (*LIST, "--csv", "@list.csv", "--page", "@list.html"), "list.html\n"),
]


@pytest.mark.parametrize(("case", "words", "told"), TOLD, ids=[case for case, _, _ in TOLD])
def test_answer_says_what_to_do_in_the_clerks_words(window, case, words, told):
    (window.folder / "readings.csv").write_text("account,reading\n1,0.05\n")
    code, said = window.run(*words)
    assert told in said
    assert code == (0 if case.startswith("a list") else 1)


def test_ledger_that_is_not_there_is_made_by_init(window):
    assert "icgas hall init" in window.run("audit", ledger="none.db")[1]


def test_refund_that_is_not_approved_says_so_when_it_is_to_be_paid(window, desk):
    hall = desk.opened()
    hall.sell(desk.card, 20, fen=5000)
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    number = hall.request_refund("0000000001", 5, reason="moves", requester="Wang Fang").number
    with pytest.raises(Exception, match=rf"Refund {number} is not approved\. Have it approved first"):
        hall.pay_refund(number)
    hall.approve_grant(number, "Li Na")
    with pytest.raises(Exception, match="Write it first .icgas hall refund write."):
        hall.pay_refund(number)


def test_replaced_card_says_at_every_service_by_which_and_what_to_do(desk):
    hall = desk.opened()
    hall.read_back(desk.card)
    hall.replace(desk.blank("new.bin"), account=ACCOUNT, reason="lost in use")
    for service in (hall.read_back, lambda card: hall.sell(card, 1, fen=1)):
        with pytest.raises(Exception, match=r"Card 1 of account 0000000001 was replaced by card 2\. .*take-back"):
            service(desk.card)
    hall.take_back(desk.card)
    with pytest.raises(Exception, match="was replaced by card 2\\. It was taken back before"):
        hall.sell(desk.card, 1, fen=1)


def test_proposed_correction_is_typed_as_it_is_told(window, desk):
    """DOMAIN 1: a meter that counted too little has its customer pay: what he gains is less than nothing."""
    hall = desk.opened()
    hall.read_back(desk.card)
    told = hall.reconcile(ACCOUNT, 2)
    assert told.drift.correction == 200
    line = next(line for line in told.lines() if line.startswith("proposed correction: 2.00 m³"))
    request = f"icgas hall makeup request --account {ACCOUNT} --reason TEXT --requester NAME"
    assert line.endswith(f"{request} --kind drift --volume -2.00")
    grant = hall.request_makeup(ACCOUNT, line.split()[-1], kind="drift", reason="wheels", requester="Wang Fang")
    hall.approve_grant(grant.number, "Li Na")
    hall.write_grant(desk.card, grant.number)
    with hall.ledger.look() as books:
        assert books.orders(ACCOUNT)[-1].correction == 200


def test_copy_is_restored_under_a_passphrase(window):
    secret = window.folder / "secret"
    secret.write_text(SECRET + "\n")
    os.chmod(secret, 0o600)
    assert window.run("key", "passphrase", "--new-passphrase-file", "@secret", ledger=None)[0] == 0
    given = ("--passphrase-file", "@secret")
    assert window.run("backup", "--to", "@copy.db", *given)[0] == 0
    code, said = window.run("restore", "--from", "@copy.db", "--to", "@new.db", *given, ledger=None)
    assert (code, "1 account recovering" in said) == (0, True)


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (("reconcile",), "usage: icgas hall reconcile [-h]"),
        (("restore", "--from", "copy.db"), "usage: icgas hall restore [-h]"),
        (("stock", "show"), "usage: icgas hall stock show [-h]"),
    ],
)
def test_wrong_usage_shows_the_usage_of_what_was_asked_for(words, usage, capsys, monkeypatch):
    monkeypatch.delenv("ICGAS_LEDGER", raising=False)
    assert hall_command.command([*words, "--key", "region.key"]) == 2
    assert capsys.readouterr().err.startswith(usage)


def test_every_command_that_is_named_anywhere_exists(capsys):
    root = Path(__file__).parents[2]
    files = [*(root / "host" / "gashall").rglob("*.py"), root / "README.md", *(root / "docs").glob("*.md")]
    named = set()
    for file in files:
        # A sentence may go on in the next literal.
        text = re.sub(r'"\s*\n\s*f?"', "", file.read_text(encoding="utf-8"))
        named |= {(found[1], found[2].strip()) for found in re.finditer(r"icgas hall ([a-z-]+)((?: [a-z]+)?)", text)}
    assert len(named) > 40

    def there(*words):
        return hall_command.command([*words, "--help"]) == 0

    # What follows a command that is no group may be anything.
    assert [words for words in sorted(named) if not there(words[0]) or (words[1] and not there(*words))] == []
