"""The key tree on the host against the portable one, the key file's rights, and what is never shown."""

import copy
import hmac
import json
import os
import pickle

import pytest

from gascard import keys, tools
from gashall import errors
from gashall.errors import GasError, RequestError
from gashall.signer import KeyFileSigner, Signer

ROOT = bytes(range(32))
METER = "32060012345678"
CARD = 0x00A1B2C3


def test_keys_are_those_of_the_tree():
    signer = KeyFileSigner(ROOT, 0x21)
    key = keys.derive(ROOT, b"meter", b"\x00\x21" + bytes.fromhex(METER) + b"\x01")
    assert signer.meter_keys(METER, 1) == (key, keys.derive(ROOT, b"tool", b"\x00\x21\x01"))
    psc = keys.hmac_sha256(keys.derive(ROOT, b"psc", b"\x00\x21"), CARD.to_bytes(4, "big"))[:3]
    assert signer.card_psc(CARD) == psc
    assert signer.masked_psc(METER, 1, CARD) == keys.mask_psc(keys.derive(key, b"wrap"), CARD, psc)
    data = b"some record"
    order = keys.frame_mac(keys.derive(key, b"order"), CARD, 0x21, 1, 2, data)
    assert signer.order_mac(METER, 1, CARD, 1, 2, data) == order
    report = keys.frame_mac(keys.derive(key, b"report"), CARD, 0x21, 1, 0x81, data)
    assert signer.report_is_authentic(METER, 1, CARD, 1, 0x81, data, report)
    assert not signer.report_is_authentic(METER, 1, CARD, 1, 0x81, data, order)
    assert not signer.report_is_authentic(METER, 2, CARD, 1, 0x81, data, report)
    assert signer.ledger_check() == keys.derive(ROOT, b"ledger", b"\x00\x21")


def test_trivial_passwords_are_passed_over(monkeypatch):
    signer = KeyFileSigner(ROOT, 1)
    digest = b"\xff\xff\xff" + b"\0\0\0" + b"\0\0\1" + bytes(23)
    monkeypatch.setattr(hmac, "digest", lambda *_: digest)
    assert signer.card_psc(1) == b"\0\0\1"


@pytest.mark.parametrize(
    ("root", "region"),
    [(bytes(31), 1), ("0" * 32, 1)] + [(bytes(32), region) for region in (-1, 0x10000, True, "1", 1.0, None)],
)
def test_impossible_root_or_region_is_refused(root, region):
    with pytest.raises(RequestError):
        KeyFileSigner(root, region)


def test_key_file_is_made_once_and_for_its_owner_only(tmp_path):
    path = tmp_path / "region.key"
    made = KeyFileSigner.create(path, 0x21)
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyFileSigner.load(path).card_psc(1) == made.card_psc(1)
    assert KeyFileSigner.load(path).region == 0x21
    with pytest.raises(GasError) as refusal:
        KeyFileSigner.create(path, 0x21)
    assert refusal.value.code == errors.KEY_FILE
    other = KeyFileSigner.create(tmp_path / "other.key", 0x21)
    assert other.card_psc(1) != made.card_psc(1)


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_key_file_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "region.key"
    KeyFileSigner.create(path, 1)
    path.chmod(mode)
    with pytest.raises(GasError) as refusal:
        KeyFileSigner.load(path)
    assert refusal.value.code == errors.KEY_FILE
    assert "chmod" in refusal.value.remedy


def test_file_that_is_no_key_file_is_called_so_before_its_rights_are_judged(tmp_path):
    path = tmp_path / "letter.txt"
    for content in (b"Dear sirs", b"\xff\xfe", b" " * 10_000, b"[" * 4000):
        path.write_bytes(content)
        path.chmod(0o644)
        with pytest.raises(GasError, match="is no key file of this program"):
            KeyFileSigner.load(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 2000 + "]" * 2000,
        '{"format": ' * 300 + "1" + "}" * 300,
        '{"format": "other", "region": 1, "root": ""}',
    ]
    + [
        json.dumps({"format": "icgas key file 1", "region": region, "root": root})
        for region, root in [(1, "00"), (1, "zz"), (-1, "00" * 32), ("1", "00" * 32), (1, None)]
    ],
)
def test_malformed_key_file_is_refused_without_quoting_it(tmp_path, text):
    path = tmp_path / "region.key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(GasError) as refusal:
        KeyFileSigner.load(path)
    assert refusal.value.code == errors.KEY_FILE
    assert refusal.value.__cause__ is None


def test_missing_key_file_is_refused(tmp_path):
    for attempt in (
        lambda: KeyFileSigner.load(tmp_path / "none"),
        lambda: KeyFileSigner.create(tmp_path / "a/b", 1),
    ):
        with pytest.raises(GasError) as refusal:
            attempt()
        assert refusal.value.code == errors.KEY_FILE


def test_signer_shows_and_gives_away_no_key():
    signer = KeyFileSigner(ROOT, 0x21)
    assert repr(signer) == str(signer) == "KeyFileSigner(region=0x0021)"
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(signer)


def test_key_file_that_is_a_pipe_or_a_folder_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(GasError, match="no regular file") as refusal:
            KeyFileSigner.load(place)
        assert refusal.value.code == errors.KEY_FILE


# ---------------------------------------------------------------------- what the company's own cards need

NEW_METER = "32060012345679"


def tree():
    """Km of both meters (versions 1 and 2) and Kt, by gascard's own HMAC."""
    km = [
        keys.derive(ROOT, b"meter", b"\x00\x21" + bytes.fromhex(meter) + bytes((version,)))
        for meter, version in ((METER, 1), (NEW_METER, 2), (METER, 2))
    ]
    return km, keys.derive(ROOT, b"tool", b"\x00\x21\x01"), keys.derive(ROOT, b"tool", b"\x00\x21\x02")


def test_tool_orders_are_made_below_the_tool_key():
    signer, (_, tool, _) = KeyFileSigner(ROOT, 0x21), tree()
    made = keys.frame_mac(keys.derive(tool, b"order"), CARD, 0x21, 1, tools.MANAGE, b"data")
    assert signer.tool_mac(1, CARD, 1, tools.MANAGE, b"data") == made
    mask = keys.mask_psc(keys.derive(tool, b"wrap"), CARD, signer.card_psc(CARD))
    assert signer.tool_masked_psc(1, CARD) == mask


def test_transfer_key_is_the_new_meters_and_wrapped_for_the_old_one():
    signer, (km, _, _) = KeyFileSigner(ROOT, 0x21), tree()
    transfer = keys.derive(km[1], b"transfer", b"\x05" + bytes.fromhex(METER) + b"\x03")
    context = b"\x03" + bytes.fromhex(NEW_METER) + b"\x05"
    mask = keys.derive(keys.derive(km[0], b"wrap"), b"transfer", context)
    assert signer.wrapped_transfer_key(METER, 1, 3, NEW_METER, 2, 5) == tools.masked(transfer, mask)
    mac = keys.frame_mac(keys.derive(transfer, b"report"), CARD, 0x21, 1, tools.FINAL, b"data")
    rest = (CARD, 1, tools.FINAL, b"data", mac)
    assert signer.transfer_is_authentic(METER, 3, NEW_METER, 2, 5, *rest)
    for other in (
        (NEW_METER, 3, NEW_METER, 2, 5),
        (METER, 4, NEW_METER, 2, 5),
        (METER, 3, METER, 2, 5),
        (METER, 3, NEW_METER, 1, 5),
        (METER, 3, NEW_METER, 2, 6),
    ):
        assert not signer.transfer_is_authentic(*other, *rest)
    assert not signer.report_is_authentic(METER, 1, *rest), "a transfer's final record is no clear's"


@pytest.mark.parametrize("parent", [b"F" * 16, 1])
def test_keys_are_masked_below_the_key_the_meter_has(parent):
    signer, (km, _, tool) = KeyFileSigner(ROOT, 0x21), tree()
    key = parent if isinstance(parent, bytes) else km[0]
    wrap = keys.derive(key, b"wrap")
    masked = [
        tools.masked(new, keys.derive(wrap, b"key", b"\x00\x21\x02" + bytes((i,))))
        for i, new in enumerate((km[2], tool))
    ]
    psc = keys.mask_psc(wrap, CARD, signer.card_psc(CARD))
    assert signer.masked_keys(METER, parent, 2, CARD) == (*masked, psc)
    made = keys.frame_mac(keys.derive(key, b"order"), CARD, 0x21, 1, tools.KEY, b"data")
    assert signer.key_mac(METER, parent, 2, CARD, 1, tools.KEY, b"data") == made


@pytest.mark.parametrize("parent", [b"", b"F" * 15, b"F" * 17, 0, 2, 3, -1, True, "1", None])
def test_keys_of_no_possible_parent_are_refused(parent):
    signer = KeyFileSigner(ROOT, 0x21)
    for attempt in (
        lambda: signer.masked_keys(METER, parent, 2, CARD),
        lambda: signer.key_mac(METER, parent, 2, CARD, 1, tools.KEY, b"data"),
    ):
        with pytest.raises(RequestError) as refusal:
            attempt()
        assert refusal.value.code == errors.FIELD


def test_signer_fits_the_interface():
    def asked(signer: Signer) -> int:
        return signer.region

    assert asked(KeyFileSigner(ROOT, 0x21)) == 0x21
    methods = {name for name in vars(Signer) if not name.startswith("_")}
    assert methods <= set(dir(KeyFileSigner))
