"""The card viewer: every vector, every kind of damage, every unusable file, in tables and in JSON."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from paper import METER, ORDER, REGION, PaperMeter

from gascard import codes, records
from gascard.chip import Chip
from gascard.meanings import FIELD_MEANINGS
from gascard.records import REPORT_AT
from gashall import encode, viewer
from gashall.readers import FileReader
from gashall.signer import KeyFileSigner

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"


@pytest.fixture
def key(tmp_path):
    KeyFileSigner.create(tmp_path / "region.key", REGION)
    return tmp_path / "region.key"


@pytest.fixture
def image(tmp_path, key):
    """A customer's card with an order and two reports, in a file."""
    signer = KeyFileSigner.load(key)
    meter = PaperMeter(signer)
    reports = [meter.report(7, report_number=number, sequence=7, bought_total=21000) for number in (3, 2)]
    card = encode.encode_card(
        encode.encode_identity(region=REGION, card=7), encode.encode_order(signer, 7, ORDER), reports
    )
    path = tmp_path / "card.bin"
    path.write_bytes(card)
    return path


def show(capsys, *arguments):
    """Exit code and JSON of ``icgas card show … --json``."""
    code = viewer.command(["show", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_fine_card_is_shown_with_every_field(capsys, image, key):
    assert viewer.command(["show", str(image), "--key", str(key)]) == viewer.FINE
    text = capsys.readouterr().out
    for layout in (records.IDENTITY, records.ORDER, records.REPORT_DATA):
        assert all(name in text for name, _ in layout)
    assert "21000 (210.00 m³)" in text
    assert "mac OK" in text
    assert "The card is fine." in text


def test_meanings_are_shown_on_request(capsys, image):
    assert viewer.command(["show", str(image), "--meanings"]) == viewer.FINE
    text = capsys.readouterr().out
    assert "meaning" in text
    assert FIELD_MEANINGS["order"]["sequence"][1].split()[0] in text


def test_json_says_the_same(capsys, image, key):
    code, description = show(capsys, image, "--key", key)
    assert (code, description["verdict"], description["problems"]) == (viewer.FINE, "fine", [])
    assert [part["name"] for part in description["parts"]] == ["identity", "order", "report slot 0", "report slot 1"]
    order = description["parts"][1]
    assert order["verdicts"] == {"shape": "OK", "crc": "OK", "version": "OK", "mac": "OK"}
    assert order["fields"]["meter"]["value"] == METER
    assert order["fields"]["bought_total"]["unit"] == "pulse"
    assert order["fields"]["time"]["text"] == "2026-03-02 10:15 UTC"
    assert {name: field["value"] for name, field in order["fields"].items() if name != "psc_mask"} == ORDER
    assert description["newest_report"] == "report slot 0"
    assert description["parts"][2]["fields"]["status"]["text"] == "0x10000 (valve_open)"


def test_without_key_no_mac_is_judged(capsys, image):
    code, description = show(capsys, image)
    assert code == viewer.FINE
    assert [part["verdicts"].get("mac") for part in description["parts"]] == [None] + ["not checked"] * 3


def test_key_of_another_region_is_told(capsys, image, tmp_path):
    KeyFileSigner.create(tmp_path / "other.key", REGION + 1)
    code, description = show(capsys, image, "--key", tmp_path / "other.key")
    assert code == viewer.DAMAGED
    assert [problem["name"] for problem in description["problems"]] == ["REGION"]
    assert description["verdict"] == "foreign"
    unchecked = f"not checked: the key is of region {REGION + 1:#06x}"
    assert [part["verdicts"]["mac"] for part in description["parts"][1:]] == [unchecked] * 3


def test_key_version_may_be_told_for_a_card_without_an_order(capsys, image, key):
    content = bytearray(image.read_bytes())
    content[0x20:0x5B] = b"\xff" * 59
    image.write_bytes(content)
    assert show(capsys, image, "--key", key)[0] == viewer.FINE
    assert show(capsys, image, "--key", key, "--key-version", "2")[0] == viewer.DAMAGED


def test_blank_card_is_no_damaged_card(capsys, tmp_path):
    FileReader.blank(tmp_path / "card.bin")
    code, description = show(capsys, tmp_path / "card.bin")
    assert (code, description["verdict"]) == (viewer.FINE, "blank")
    assert not any(part["written"] for part in description["parts"])
    assert viewer.command(["show", str(tmp_path / "card.bin")]) == viewer.FINE
    assert "The card is blank." in capsys.readouterr().out


DAMAGES = [
    ("no chip of this kind", 0, b"\0", "chip", "NO_CARD", "begins with 00"),
    ("foreign", 0x08, bytes(13), "identity", "NOT_OURS", "instead of 69"),
    ("identity wiped", 0x08, b"\xff" * 13, "identity", "NOT_OURS", "the place is blank"),
    ("identity flipped", 0x0E, b"\xaa", "identity", "CRC", "checksum"),
    ("order flipped", 0x30, b"\xaa", "order", "CRC", "checksum"),
    ("order pulled", 0x40, b"\xff" * 27, "order", "SHAPE", "only the first 32 of 59 bytes"),
    ("order begins wrong", 0x20, b"\0", "order", "SHAPE", "begins with 00 instead of 68"),
    ("order length", 0x22, b"\x2d", "order", "SHAPE", "length says 45 instead of 44"),
    ("order end", 0x5A, b"\0", "order", "SHAPE", "ends with 00 instead of 16"),
    ("report pulled", REPORT_AT[0] + 20, b"\xff" * 54, "report slot 0", "SHAPE", "only the first 20 of 74 bytes"),
]


@pytest.mark.parametrize(
    ("at", "data", "part", "name", "words"), [row[1:] for row in DAMAGES], ids=[row[0] for row in DAMAGES]
)
def test_damaged_card_is_shown_and_its_damage_told(capsys, image, at, data, part, name, words):
    content = bytearray(image.read_bytes())
    content[at : at + len(data)] = data
    image.write_bytes(content)
    code, description = show(capsys, image)
    assert (code, description["verdict"]) == (viewer.DAMAGED, "damaged")
    problem = description["problems"][0]
    assert (problem["part"], problem["name"]) == (part, name)
    assert words in problem["message"]
    assert problem["remedy"].endswith(".")
    assert viewer.command(["show", str(image)]) == viewer.DAMAGED
    assert name in capsys.readouterr().out


def test_field_that_cannot_be_and_unknown_kind_are_told(capsys, tmp_path, image):
    from gascard import frames

    for change, name, words in (((4, 0xFF), "SHAPE", "a field holds"), ((1, 0x81), "KIND", "kind 0x81")):
        content = bytearray(image.read_bytes())
        frame = content[0x20:0x5B]
        frame[change[0]] = change[1]
        content[0x20:0x5B] = frames.close(frame, 48, bytes(8))
        (tmp_path / "bent.bin").write_bytes(content)
        code, description = show(capsys, tmp_path / "bent.bin")
        assert code == viewer.DAMAGED
        assert description["problems"][0]["name"] == name
        assert words in description["problems"][0]["message"]


def test_dump_with_security_memory_is_shown(capsys, tmp_path):
    chip = Chip()
    chip.security[0] = 3
    (tmp_path / "dump.bin").write_bytes(chip.dump())
    code, description = show(capsys, tmp_path / "dump.bin")
    assert code == viewer.FINE
    assert description["security"] == {
        "protected": [0, 1, 2, 3],
        "identity_protected": False,
        "error_counter": 3,
        "tries_left": 2,
        "password": "the maker's",
    }
    assert viewer.command(["show", str(tmp_path / "dump.bin")]) == viewer.FINE
    assert "tries left: 2" in capsys.readouterr().out


@pytest.mark.parametrize("size", [0, 1, 255, 257, 263, 265, 4096])
def test_file_of_another_size_is_unusable(capsys, tmp_path, size):
    (tmp_path / "card.bin").write_bytes(bytes(size))
    assert viewer.command(["show", str(tmp_path / "card.bin")]) == viewer.UNUSABLE
    said = capsys.readouterr().err
    assert "IMAGE_SIZE" in said
    assert f"card.bin has {size} bytes" in said


def test_what_is_no_regular_file_is_refused(capsys, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        assert viewer.command(["show", str(place)]) == viewer.UNUSABLE
        assert f"{place} cannot be read: it is no regular file" in capsys.readouterr().err


NOTHING_OF_OURS = [
    ("zeros", bytes(256), "NO_CARD"),
    ("erased", b"\xff" * 256, "NO_CARD"),
    ("random", random.Random(4442).randbytes(256), "NO_CARD"),
    ("another use of the chip", bytes(Chip().main[:8]) + bytes(248), "NOT_OURS"),
]


@pytest.mark.parametrize(("content", "name"), [row[1:] for row in NOTHING_OF_OURS], ids=[r[0] for r in NOTHING_OF_OURS])
def test_bytes_that_are_no_card_get_one_verdict(capsys, tmp_path, content, name):
    (tmp_path / "card.bin").write_bytes(content)
    code, description = show(capsys, tmp_path / "card.bin")
    assert (code, description["verdict"]) == (viewer.DAMAGED, "foreign")
    assert [(problem["part"], problem["name"]) for problem in description["problems"]] == [("card", name)]
    assert "no card of this system" in description["problems"][0]["message"]
    assert "right file" in description["problems"][0]["remedy"]


def test_remaining_gas_and_versions_are_spelt_out(capsys, image):
    _, description = show(capsys, image)
    assert [list(part["derived"]) for part in description["parts"]] == [[], [], ["remaining"], ["remaining"]]
    left = description["parts"][2]["derived"]["remaining"]
    assert (left["value"], left["text"], left["unit"]) == (21000, "21000 (210.00 m³)", "pulse")
    assert description["parts"][2]["fields"]["versions"]["text"] == "0x11 (1 to 1)"
    viewer.command(["show", str(image)])
    said = capsys.readouterr().out
    assert "remaining" in said
    assert "shape OK, crc OK, version OK, mac not checked\n" in said


def test_chip_file_beside_the_image_is_shown_and_never_the_password(capsys, image):
    beside = image.with_name("card.bin.chip")
    beside.write_bytes(bytes((0xF0, 0, 0xE0, 0xFF, 3, 0xA1, 0xB2, 0xC3)))
    code, description = show(capsys, image)
    security = description["security"]
    assert (code, security["tries_left"], security["password"]) == (viewer.FINE, 2, "changed")
    assert security["identity_protected"]
    viewer.command(["show", str(image)])
    said = capsys.readouterr().out
    assert "password: changed" in said
    assert not any(psc in said.lower() for psc in ("a1b2c3", "a1 b2 c3", "161, 178"))
    for psc, state in ((b"\xff\xff\xff", "the maker's"), (bytes(3), "not told")):
        beside.write_bytes(beside.read_bytes()[:5] + psc)
        assert show(capsys, image)[1]["security"]["password"] == state
    beside.write_bytes(bytes(7))
    assert viewer.command(["show", str(image)]) == viewer.FINE
    captured = capsys.readouterr()
    assert "card.bin.chip has not 8 bytes" in captured.err
    assert "password" not in captured.out


def run(image, *arguments, **options):
    """The viewer as a process of its own; the command's arguments after the image."""
    program = "import sys; from gashall import viewer; sys.exit(viewer.command(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "show", str(image), *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, **options)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
@pytest.mark.parametrize("target", ["full device", "closed pipe"])
def test_output_that_cannot_be_written_is_told_in_a_line(image, arguments, target):
    if target == "full device":
        if not os.path.exists("/dev/full"):
            pytest.skip("no /dev/full here")
        handle = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, handle = os.pipe()
        os.close(reading)
    result = run(image, *arguments, stdout=handle)
    os.close(handle)
    said = result.stderr.decode()
    assert result.returncode == 1
    assert said.startswith("icgas card show: the output cannot be written")
    assert len(said.splitlines()) == 1


def test_output_without_our_characters_replaces_them(image):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = run(image, stdout=subprocess.PIPE, env=environment)
    assert result.returncode == viewer.FINE, result.stderr
    assert "210.00 m?" in result.stdout.decode("ascii")
    result = run(image, "--json", stdout=subprocess.PIPE, env=environment)
    assert json.loads(result.stdout)["parts"][1]["fields"]["bought_total"]["text"] == "21000 (210.00 m³)"


def test_missing_file_folder_key_or_argument_is_unusable(capsys, tmp_path, image):
    for arguments in (
        ["show", str(tmp_path / "none.bin")],
        ["show", str(tmp_path)],
        ["show", str(image), "--key", str(tmp_path / "none.key")],
        ["show", str(image), "--key", str(image)],
        *(["show", str(image), "--key-version", version] for version in ("256", "0", "-1", "x", "9" * 5000)),
        ["show", str(image), "--vector", "blank"],
        ["show"],
        ["hide"],
        [],
    ):
        assert viewer.command(arguments) == viewer.UNUSABLE
        captured = capsys.readouterr()
        assert captured.err
        assert not captured.out


def test_refusal_is_one_plain_line(capsys, tmp_path, image):
    image.chmod(0o644)
    broken = tmp_path / "broken.json"
    broken.write_text('[{"name": "x", "image": 5,}]')
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"[1, \x80]")
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    odd = tmp_path / "odd.json"
    blank = bytes(Chip().main).hex()
    cases = [("hex", "zz", None), ("short", "00", None), ("keys", blank, {"root": "zz", "region": 1})]
    cases += [("no keys", blank, {}), ("number", blank, {"root": 5, "region": 1})]
    wrong = [[1], "x", 7, {"region": 1}, {"root": "00" * 32, "region": "1"}]
    wrong += [{"root": "00" * 32, "region": 1, "key_version": version} for version in ("1", 1.5, True, 300, [])]
    cases += [(f"odd {i}", blank, keys) for i, keys in enumerate(wrong)]
    odd.write_text(json.dumps([{"name": name, "image": text, "keys": keys} for name, text, keys in cases]))
    for arguments, words in (
        ([image, "--key-version", "256"], "--key-version is 1 to 255, not 256."),
        ([image, "--vector", "x"], f"{image} is none."),
        ([image, "--key", image], f"{image} is no key file"),
        ([broken], f"{broken} is no JSON: look at line 1, column"),
        ([binary], f"{binary} is no JSON text."),
        ([deep], f"{deep} is no JSON text."),
        ([odd, "--vector", "hex"], "case hex: the image is not hexadecimal."),
        ([odd, "--vector", "short"], "case short: the image has 1 bytes"),
        ([odd, "--vector", "keys"], "case keys: its keys cannot be used."),
        ([odd, "--vector", "no keys"], "case no keys: its keys cannot be used."),
        ([odd, "--vector", "number"], "case number: its keys cannot be used."),
        *[([odd, "--vector", f"odd {i}"], f"case odd {i}: its keys cannot be used.") for i in range(len(wrong))],
        ([VECTORS / "keys.json"], "keys.json has no card images."),
        ([VECTORS / "card.json"], "loaded, pulled_while_reporting, pulled_while_selling and 2 more."),
    ):
        assert viewer.command(["show", *map(str, arguments)]) == viewer.UNUSABLE
        said = capsys.readouterr().err
        assert words in said
        assert len(said.splitlines()) == 1


def test_help_is_no_failure(capsys):
    assert viewer.command(["show", "--help"]) == viewer.FINE
    assert "IMAGE" in capsys.readouterr().out


@pytest.mark.parametrize("file", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_every_published_vector_is_shown(capsys, file):
    for case in json.loads(file.read_text(encoding="utf-8")):
        if "image" not in case:
            continue
        code, description = show(capsys, file, "--vector", case["name"])
        assert viewer.command(["show", str(file), "--vector", case["name"]]) == code
        capsys.readouterr()
        if case["expect"].get("code") == codes.OK:
            assert code == viewer.FINE
        parts = description["parts"]
        places = encode.PLACES.get(bytes.fromhex(case["image"])[0x0C], encode.PLACES[records.CARD_CUSTOMER])
        customer = [place.name for place in encode.PLACES[records.CARD_CUSTOMER]]
        assert [part["name"] for part in parts[1:]] in ([place.name for place in places], customer)
        readable = parts[0]["fields"]
        assert readable or len(parts) == 4, "a card that does not tell what it is is shown as a customer's"


def test_vector_is_chosen_by_name(capsys, tmp_path):
    assert viewer.command(["show", str(VECTORS / "card.json")]) == viewer.UNUSABLE
    assert "blank" in capsys.readouterr().err
    for text in ("[]", "{}", "no json", '[{"image": "zz", "name": "x"}]', '[{"image": "00", "name": "x"}]'):
        (tmp_path / "v.json").write_text(text)
        assert viewer.command(["show", str(tmp_path / "v.json")]) == viewer.UNUSABLE
    blank = bytes(Chip().main).hex()
    (tmp_path / "v.json").write_text(json.dumps({"name": "only", "image": blank}))
    assert viewer.command(["show", str(tmp_path / "v.json")]) == viewer.FINE


def test_output_that_is_closed_is_told(image, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout", None)
    assert viewer.command(["show", str(image)]) == 1
    assert "standard output is closed" in capsys.readouterr().err
