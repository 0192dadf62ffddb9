"""The key file under a passphrase: what opens it, what does not, and that nothing shows what it holds."""

import hashlib
import json
import os
import traceback
import unicodedata

import pytest
from paper import REGION, ROOT, at_terminal
from tests.conftest import require_part

from gashall import errors, keyfile, passphrase, viewer
from gashall.errors import GasError, RequestError
from gashall.keyfile import Cost
from gashall.readers import FileReader
from gashall.signer import KeyFileSigner

require_part("cryptography")
require_part("alembic")
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402

from gashall import hall_command  # noqa: E402

LEAST = Cost(1 << 14, 8, 1)
SECRET = "four words by chance"
OTHER = "quite another sentence"


def sealed_file(folder, secret=SECRET, cost=LEAST):
    path = folder / "region.key"
    keyfile.write(path, keyfile.seal(ROOT, REGION, secret, cost))
    return path


def plain_file(folder):
    path = folder / "region.key"
    keyfile.write(path, keyfile.plain(ROOT, REGION))
    return path


def refused(attempt, *words):
    """KEY_FILE in those words and with a remedy; no key and no passphrase anywhere in what a log would show."""
    with pytest.raises(GasError) as refusal:
        attempt()
    assert refusal.value.code == errors.KEY_FILE and refusal.value.remedy
    told = "".join(traceback.format_exception(refusal.value))
    for secret in (SECRET, OTHER, ROOT.hex()):
        assert secret not in str(refusal.value) and secret not in told
    for word in words:
        assert word in str(refusal.value)


# ---------------------------------------------------------------------- the format


def test_root_comes_back_with_its_passphrase_only(tmp_path):
    path = sealed_file(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keyfile.load(path, lambda: SECRET) == (ROOT, REGION)
    assert ROOT.hex() not in path.read_text() and SECRET not in path.read_text()
    assert KeyFileSigner.load(path, lambda: SECRET).card_psc(1) == KeyFileSigner(ROOT, REGION).card_psc(1)
    refused(lambda: keyfile.load(path, lambda: OTHER), "the passphrase is another")
    refused(lambda: keyfile.load(path, lambda: SECRET + " "), "the passphrase is another")
    refused(lambda: keyfile.load(path, lambda: "\ud800"), "the passphrase is another")
    refused(lambda: keyfile.load(path), "none was given", "--passphrase-file")


def test_file_is_what_the_format_says(tmp_path):
    """Opened by hand, as docs/ledger.md describes it."""
    content = json.loads(sealed_file(tmp_path).read_text())
    kdf = content["kdf"]
    key = hashlib.scrypt(SECRET.encode(), salt=bytes.fromhex(kdf["salt"]), n=16384, r=8, p=1, dklen=32)
    beside = (
        f'{{"cipher":{{"name":"AES-256-GCM","nonce":"{content["cipher"]["nonce"]}"}},"format":"icgas key file 2",'
        f'"kdf":{{"n":16384,"name":"scrypt","p":1,"r":8,"salt":"{kdf["salt"]}"}},"region":33}}'
    )
    nonce = bytes.fromhex(content["cipher"]["nonce"])
    assert AESGCM(key).decrypt(nonce, bytes.fromhex(content["sealed"]), beside.encode()) == ROOT


def test_two_files_of_one_root_and_passphrase_have_nothing_in_common(tmp_path):
    first, second = (json.loads(keyfile.seal(ROOT, REGION, SECRET, LEAST)) for _ in range(2))
    assert first["kdf"]["salt"] != second["kdf"]["salt"]
    assert first["cipher"]["nonce"] != second["cipher"]["nonce"]
    assert first["sealed"] != second["sealed"]


def test_accents_may_be_composed_in_either_way(tmp_path):
    path = sealed_file(tmp_path, unicodedata.normalize("NFD", "Müller öffnet"))
    assert keyfile.load(path, lambda: unicodedata.normalize("NFC", "Müller öffnet"))[0] == ROOT


def flip(text):
    return f"{int(text[0], 16) ^ 1:x}{text[1:]}"


# (what was changed, the change)
TAMPERED = [
    ("region", lambda told: told.update(region=34)),
    ("n", lambda told: told["kdf"].update(n=1 << 15)),
    ("r", lambda told: told["kdf"].update(r=9)),
    ("p", lambda told: told["kdf"].update(p=2)),
    ("salt", lambda told: told["kdf"].update(salt=flip(told["kdf"]["salt"]))),
    ("nonce", lambda told: told["cipher"].update(nonce=flip(told["cipher"]["nonce"]))),
    ("sealed root", lambda told: told.update(sealed=flip(told["sealed"]))),
    ("tag", lambda told: told.update(sealed=told["sealed"][:-1] + flip(told["sealed"][-1]))),
]


@pytest.mark.parametrize("change", [row[1] for row in TAMPERED], ids=[row[0] for row in TAMPERED])
def test_tampered_file_opens_no_more(tmp_path, change):
    path = sealed_file(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    refused(lambda: keyfile.load(path, lambda: SECRET), "does not open")


# (what is wrong, the change): refused before a byte of memory is spent on them
MALFORMED = [
    ("n below 16 MiB", lambda told: told["kdf"].update(n=1 << 13)),
    ("n no power of two", lambda told: told["kdf"].update(n=(1 << 14) + 1)),
    ("n that fills the computer", lambda told: told["kdf"].update(n=1 << 24)),
    ("n and r that do so together", lambda told: told["kdf"].update(n=1 << 18, r=32)),
    ("n no number", lambda told: told["kdf"].update(n="16384")),
    ("n true", lambda told: told["kdf"].update(n=True)),
    ("r 0", lambda told: told["kdf"].update(r=0)),
    ("r 33", lambda told: told["kdf"].update(r=33)),
    ("p 0", lambda told: told["kdf"].update(p=0)),
    ("p that lasts for ever", lambda told: told["kdf"].update(p=1 << 20)),
    ("another function", lambda told: told["kdf"].update(name="pbkdf2")),
    ("another cipher", lambda told: told["cipher"].update(name="AES-256-CTR")),
    ("a short salt", lambda told: told["kdf"].update(salt="00")),
    ("no salt", lambda told: told["kdf"].pop("salt")),
    ("a nonce with blanks", lambda told: told["cipher"].update(nonce=" " * 24)),
    ("a short root", lambda told: told.update(sealed=told["sealed"][2:])),
    ("no kdf", lambda told: told.update(kdf=None)),
    ("a field more", lambda told: told.update(note="x")),
    ("a format to come", lambda told: told.update(format="icgas key file 3")),
    ("a region there is none", lambda told: told.update(region=65536)),
]


@pytest.mark.parametrize("change", [row[1] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_malformed_file_is_refused_before_anything_is_stretched(tmp_path, change, monkeypatch):
    path = sealed_file(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    monkeypatch.setattr(hashlib, "scrypt", None)
    refused(lambda: keyfile.load(path, lambda: SECRET), "is no key file")


def test_truncated_file_is_refused_at_every_length(tmp_path):
    path = sealed_file(tmp_path)
    data = path.read_bytes().rstrip()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        refused(lambda: keyfile.load(path, lambda: SECRET), "is no key file")


def test_plain_file_stays_readable_and_asks_for_nothing(tmp_path):
    path = plain_file(tmp_path)
    assert keyfile.load(path, None) == keyfile.load(path, lambda: pytest.fail("asked")) == (ROOT, REGION)
    assert not keyfile.is_sealed(path)


@pytest.mark.parametrize("text", ["", "short", "x" * 1025, "two\nlines of it", None, b"bytes of it"])
def test_passphrase_that_is_none_is_refused_without_quoting_it(tmp_path, text):
    with pytest.raises(RequestError) as refusal:
        keyfile.seal(ROOT, REGION, text, LEAST)
    assert refusal.value.code == errors.FIELD and not (text and str(text) in str(refusal.value))


# ---------------------------------------------------------------------- setting and changing it


def test_passphrase_is_set_and_changed(tmp_path):
    path = plain_file(tmp_path)
    assert keyfile.change_passphrase(path, None, SECRET, LEAST) == REGION
    assert ROOT.hex() not in path.read_text()
    keyfile.change_passphrase(path, lambda: SECRET, OTHER, LEAST)
    assert keyfile.load(path, lambda: OTHER) == (ROOT, REGION)
    refused(lambda: keyfile.load(path, lambda: SECRET))
    assert os.listdir(tmp_path) == ["region.key"] and path.stat().st_mode & 0o777 == 0o600


def test_link_to_a_key_file_stays_a_link(tmp_path):
    (tmp_path / "safe").mkdir()
    path = plain_file(tmp_path / "safe")
    (tmp_path / "link").symlink_to(path)
    keyfile.change_passphrase(tmp_path / "link", None, SECRET, LEAST)
    assert (tmp_path / "link").is_symlink() and keyfile.is_sealed(path)


def full(*_):
    raise OSError(28, "No space left on device")


def secret():
    return SECRET


def change(path, new=OTHER, old=secret):
    keyfile.change_passphrase(path, old, new, LEAST)


# (what fails, how)
FAILURES = [
    ("the old passphrase", lambda path, patch: change(path, SECRET, lambda: OTHER)),
    ("the new one", lambda path, patch: change(path, "x")),
    ("the disk", lambda path, patch: (patch("fsync", full), change(path))),
    ("the renaming", lambda path, patch: (patch("replace", full), change(path))),
]


@pytest.mark.parametrize("attempt", [row[1] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_failure_leaves_the_old_file_as_it_was_and_no_other(tmp_path, attempt, monkeypatch):
    path = sealed_file(tmp_path)
    before = path.read_bytes()
    with pytest.raises(GasError) as refusal:
        attempt(path, lambda name, stand_in: monkeypatch.setattr(os, name, stand_in))
    monkeypatch.undo()
    assert refusal.value.code in (errors.KEY_FILE, errors.FIELD)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["region.key"]


# (what the passphrase file is, its bytes, its rights, words of the refusal)
FILES = [
    ("open to others", SECRET.encode(), 0o640, "Others than its owner"),
    ("empty", b"", 0o600, "one line"),
    ("two lines", f"{SECRET}\n{OTHER}\n".encode(), 0o600, "one line"),
    ("no text", b"\xff\xfe\xff", 0o600, "no text"),
    ("not there", None, 0, "cannot be read"),
]


@pytest.mark.parametrize(("data", "rights", "words"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_passphrase_file_is_refused(tmp_path, data, rights, words):
    path = tmp_path / "passphrase"
    if data is not None:
        path.write_bytes(data)
        path.chmod(rights)
    refused(lambda: keyfile.passphrase_in(path), words)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_passphrase_file_holds_one_line(tmp_path, end, mark):
    path = tmp_path / "passphrase"
    path.write_bytes((mark + SECRET + end).encode())
    path.chmod(0o600)
    assert keyfile.passphrase_in(path) == SECRET


# ---------------------------------------------------------------------- the commands


class Folder:
    """A folder with ledger, key file and passphrase files, and the command run in it."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys

    def run(self, *words):
        places = ["--key", str(self.folder / "region.key")]
        if words[0] != "key":
            places += ["--ledger", str(self.folder / "ledger.db")]
        code = hall_command.command([*words, *places])
        told = self.capsys.readouterr()
        for text in (SECRET, OTHER):
            assert text not in told.out + told.err
        return code, told.out, told.err

    def file(self, text, name="passphrase"):
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text + "\n")
        return str(path)


@pytest.fixture
def folder(tmp_path, capsys, monkeypatch):
    for name in (hall_command.LEDGER_VARIABLE, hall_command.KEY_VARIABLE, passphrase.VARIABLE, passphrase.NEW_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return Folder(tmp_path, capsys)


def test_every_command_takes_the_passphrase_from_a_file_or_the_environment(folder, monkeypatch):
    given = folder.file(SECRET)
    code, out, err = folder.run("init", "--region", "33", "--passphrase-file", given)
    assert (code, err) == (0, "") and "its passphrase into another" in out
    assert keyfile.is_sealed(folder.folder / "region.key")
    assert folder.run("stock", "show", "--passphrase-file", given)[0] == 0
    assert folder.run("audit", "--passphrase-file", given)[0] == 0
    code, _, err = folder.run("audit")
    assert code == 1 and "KEY_FILE" in err and "nobody is here to be asked" in err and "ICGAS_PASSPHRASE" in err
    code, _, err = folder.run("audit", "--passphrase-file", folder.file(OTHER, "other"))
    assert code == 1 and "the passphrase is another" in err
    monkeypatch.setenv("ICGAS_PASSPHRASE", SECRET)
    assert folder.run("audit")[0] == 0
    # The option goes before the environment.
    assert folder.run("audit", "--passphrase-file", folder.file(OTHER, "other"))[0] == 1


def test_card_viewer_takes_it_from_the_environment(folder, monkeypatch, capsys):
    path = sealed_file(folder.folder)
    FileReader.blank(folder.folder / "card.bin")
    words = ["show", str(folder.folder / "card.bin"), "--key", str(path)]
    assert viewer.command(words) == viewer.UNUSABLE
    assert "nobody is here to be asked" in capsys.readouterr().err
    monkeypatch.setenv("ICGAS_PASSPHRASE", SECRET)
    assert viewer.command(words) != viewer.UNUSABLE


def test_passphrase_is_not_taken_from_the_command_line(folder):
    for words in (["--passphrase", "x"], ["--passphrase=x"], ["--passphrase-file"]):
        assert folder.run("init", "--region", "33", *words)[0] == hall_command.USAGE
    assert os.listdir(folder.folder) == []


def test_init_with_an_impossible_passphrase_makes_nothing(folder):
    code, _, err = folder.run("init", "--region", "33", "--passphrase-file", folder.file("short"))
    assert code == 1 and "FIELD" in err
    assert os.listdir(folder.folder) == ["passphrase"]


def test_init_on_a_sealed_key_file_that_is_there(folder):
    sealed_file(folder.folder)
    assert folder.run("init", "--region", "33", "--existing-key")[0] == 1
    assert os.listdir(folder.folder) == ["region.key"]
    given = folder.file(SECRET)
    assert folder.run("init", "--region", "33", "--existing-key", "--passphrase-file", given)[0] == 0


def test_key_passphrase_sets_and_changes_it(folder, monkeypatch):
    assert folder.run("init", "--region", "33")[0] == 0
    assert not keyfile.is_sealed(folder.folder / "region.key")
    code, _, err = folder.run("key", "passphrase")
    assert code == 1 and "No new passphrase was given" in err
    first, second = folder.file(SECRET), folder.file(OTHER, "other")
    code, out, _ = folder.run("key", "passphrase", "--new-passphrase-file", first)
    assert code == 0 and "renew them" in out
    assert folder.run("audit", "--passphrase-file", first)[0] == 0
    assert folder.run("key", "passphrase", "--new-passphrase-file", second)[0] == 1
    monkeypatch.setenv("ICGAS_NEW_PASSPHRASE", OTHER)
    assert folder.run("key", "passphrase", "--passphrase-file", first, "--json")[0] == 0
    assert folder.run("audit", "--passphrase-file", second)[0] == 0
    assert folder.run("audit", "--passphrase-file", first)[0] == 1


# (what is typed, exit code, whether the key file is under a passphrase; None: there is none)
TYPED = [
    ("twice the same", [SECRET, SECRET], 0, True),
    ("two that differ", [SECRET, OTHER], 1, None),
    ("nothing", [""], 0, False),
    ("too short", ["short", "short"], 1, None),
]


@pytest.mark.parametrize(("answers", "code", "sealed"), [row[1:] for row in TYPED], ids=[row[0] for row in TYPED])
def test_at_a_terminal_init_asks_twice_and_shows_nothing(folder, answers, code, sealed):
    path = folder.folder / "region.key"
    places = ["--key", str(path), "--ledger", str(folder.folder / "ledger.db")]
    ended, screen = at_terminal(["init", "--region", "33", *places], answers)
    assert ended == code, screen
    assert all(answer not in screen for answer in answers if answer and answer != "short")
    assert (keyfile.is_sealed(path) if path.exists() else None) is sealed
    if sealed:
        ended, screen = at_terminal(["audit", *places], [SECRET])
        assert ended == 0 and SECRET not in screen and "0 findings" in screen


def test_key_file_that_is_not_there_says_how_one_is_made(tmp_path):
    with pytest.raises(GasError, match=r"There is no key file .*none\.key\. .*icgas hall init"):
        KeyFileSigner.load(tmp_path / "none.key")
