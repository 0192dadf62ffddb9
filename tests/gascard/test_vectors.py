"""Every published vector, built and judged by gascard; the host's second codec has its own test of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gascard import codes, frames, keys, meanings, records, sle4442, tools
from gascard.chip import Chip
from gascard.codec import RecordError, unpack
from gascard.crc import crc16

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
KINDS = {
    "order": (records.ORDER_OPENING, records.ORDER_USER),
    "report": (records.REPORT,),
    "transfer": (tools.TRANSFER_OUT,),
    "management": (tools.MANAGE,),
    "setting": (tools.SET,),
    "key": (tools.KEY,),
}
KEY = {"order": "Ko", "report": "Kr", "transfer": "Ko", "management": "Kt_order", "setting": "Kt_order"}
KEY["key"] = "parent_order"
FRAMED = tuple(KEY)
# Parts of the company's own cards: (part, record, place, kinds, where in the case's keys its reader's are, key).
_SLOTS = [(f"report_slot_{i}", "report", at, (records.REPORT,), (), "Kr") for i, at in enumerate(records.REPORT_AT)]
TOOL_PARTS = {
    records.CARD_CUSTOMER: [("order", "order", 0x20, KINDS["order"], (), "Ko"), *_SLOTS],
    records.CARD_CLEAR: [
        ("clear_order", "order", 0x20, (tools.ORDER_CLEAR,), (), "Ko"),
        ("final_record", "report", 0xA5, (tools.FINAL,), (), "Kr"),
    ],
    records.CARD_TRANSFER: [
        ("transfer_out", "transfer", 0x20, KINDS["transfer"], (), "Ko"),
        ("transfer_in", "order", 0x5B, (tools.TRANSFER_IN,), ("new",), "Ko"),
        ("final_record", "report", 0xA5, (tools.FINAL,), (), "T_report"),
    ],
    records.CARD_MANAGEMENT: [("management", "management", 0x20, KINDS["management"], (), "Kt_order"), *_SLOTS],
    records.CARD_SETTING: [("setting", "setting", 0x20, KINDS["setting"], (), "Kt_order"), _SLOTS[1]],
    records.CARD_KEY: [("key_block", "key", 0x20, KINDS["key"], (), "parent_order"), _SLOTS[1]],
    records.CARD_TEST: [("test_order", "order", 0x20, (tools.ORDER_TEST,), (), "Ko"), *_SLOTS],
}


def load(record):
    return json.loads((VECTORS / f"{record}.json").read_text(encoding="utf-8"))


def cases(*files, direction=None):
    return [
        pytest.param(record, case, id=f"{record}-{case['name']}")
        for record in files
        for case in load(record)
        if direction is None or case["direction"] in (direction, "both")
    ]


def values(record, fields):
    """The fields as gascard takes them: raw bytes are hex in JSON."""
    raw = {name for name, kind in meanings.RECORDS[record] if kind >> 4 == 3}
    return {name: bytes.fromhex(value) if name in raw else value for name, value in fields.items()}


def judge_identity(image, region):
    if image[:4] != sle4442.ATR:
        return codes.NO_CARD
    code = frames.check_identity(image)
    if code:
        return code
    fields = unpack(records.IDENTITY, image, records.IDENTITY_AT)
    if fields["region"] != region:
        return codes.REGION
    return codes.OK if fields["kind"] in meanings.CARD_KINDS else codes.KIND


def version_is_wrong(record, fields, own):
    """A key block must be above the reader's own version, whatever else names one must be of it."""
    return fields["key_version"] <= own if record == "key" else fields.get("key_version", own) != own


def judge_frame(record, image, at, known, kinds=None, key_name=None):
    """The verdict of a reader with keys but without an account, in the published order."""
    layout = meanings.RECORDS[record]
    size = records.size_of(layout)
    code = frames.check(image, at, size)
    if code:
        return code
    fields = frames.read(layout, image, at)
    if fields is None:
        return codes.SHAPE
    if record == "order" and (fields["flags"] & ~records.FLAGS_ALL or not fields["sequence"] or not fields["binding"]):
        return codes.SHAPE
    what = fields.get("what", tools.SET_CLOCK)
    if not 0 < what < 8 or (what & 2 and fields["meter"] == "0" * 14):
        return codes.SHAPE
    identity = unpack(records.IDENTITY, image, records.IDENTITY_AT)
    key = bytes.fromhex(known[key_name or KEY[record]])
    meters = (known["meter"], "0" * 14) if record == "setting" else (known["meter"],)
    for broken, answer in (
        (identity["region"] != known["region"], codes.REGION),
        (image[at + 1] not in (kinds or KINDS[record]), codes.KIND),
        (fields.get("meter", known["meter"]) not in meters, codes.METER),
        (version_is_wrong(record, fields, known["key_version"]), codes.KEY_VERSION),
        (not frames.mac_right(image, at, size, identity["card"], known["region"], key), codes.MAC),
    ):
        if broken:
            return answer
    return codes.OK


def test_files_generator_makes_the_same():
    command = [sys.executable, VECTORS / "generate.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("record", meanings.RECORDS)
def test_record_has_vectors_good_and_bad_both_ways(record):
    seen = {(case["direction"], case["expect"]["code"] == codes.OK) for case in load(record)}
    assert seen >= {("both", True), ("decode", False), ("encode", False)}
    assert "by_hand" in {case["name"] for case in load(record)}


@pytest.mark.parametrize(("record", "case"), cases("identity", *FRAMED))
def test_case_is_consistent(record, case):
    assert meanings.CODES[case["expect"]["code"]][0] == case["expect"]["name"]
    if "image" in case:
        image = bytes.fromhex(case["image"])
        at = case.get("at", records.IDENTITY_AT)
        frame = bytes.fromhex(case["frame"])
        assert len(image) == records.IMAGE_SIZE
        assert image[at : at + len(frame)] == frame


@pytest.mark.parametrize(("record", "case"), cases(*FRAMED, direction="encode"))
def test_encode_frame_equals_vector(record, case):
    layout, known, identity = meanings.RECORDS[record], case["keys"], case["identity"]
    key = bytes.fromhex(known[KEY[record]])
    fields = values(record, case["fields"])
    if case["expect"]["code"]:
        with pytest.raises(RecordError) as refused:
            frames.build(layout, fields, case["kind"], identity["card"], identity["region"], key)
        assert refused.value.args[0] == case["expect"]["field"]
        return
    frame = frames.build(layout, fields, case["kind"], identity["card"], identity["region"], key)
    assert frame.hex() == case["frame"]
    image = Chip().main
    image[records.IDENTITY_AT : records.IDENTITY_AT + 13] = frames.build_identity(identity)
    image[case["at"] : case["at"] + len(frame)] = frame
    assert image.hex() == case["image"]


@pytest.mark.parametrize(("record", "case"), cases(*FRAMED, direction="decode"))
def test_decode_frame_answers_expected_code(record, case):
    image = bytes.fromhex(case["image"])
    assert judge_identity(image, case["identity"]["region"]) == codes.OK
    assert judge_frame(record, image, case["at"], case["keys"]) == case["expect"]["code"]
    if "fields" in case:
        assert frames.read(meanings.RECORDS[record], image, case["at"]) == values(record, case["fields"])


@pytest.mark.parametrize(("record", "case"), cases("identity", direction="encode"))
def test_encode_identity_equals_vector(record, case):
    if case["expect"]["code"]:
        with pytest.raises(RecordError) as refused:
            frames.build_identity(case["fields"])
        assert refused.value.args[0] == case["expect"]["field"]
        return
    assert frames.build_identity(case["fields"]).hex() == case["frame"]


@pytest.mark.parametrize(("record", "case"), cases("identity", direction="decode"))
def test_decode_identity_answers_expected_code(record, case):
    image = bytes.fromhex(case["image"])
    assert judge_identity(image, case["region"]) == case["expect"]["code"]
    if "fields" in case:
        read = unpack(records.IDENTITY, image, records.IDENTITY_AT)
        read.pop("crc")
        assert read == case["fields"]


@pytest.mark.parametrize("case", load("card"), ids=lambda case: case["name"])
def test_card_every_part_answers_expected_code(case):
    image, known, expect = bytes.fromhex(case["image"]), case["keys"], case["expect"]
    assert len(image) == records.IMAGE_SIZE
    assert judge_identity(image, known["region"]) == expect["identity"]["code"]
    assert judge_frame("order", image, records.ORDER_AT, known) == expect["order"]["code"]
    numbers = {}
    for slot, at in enumerate(records.REPORT_AT):
        code = judge_frame("report", image, at, known)
        assert code == expect[f"report_{slot}"]["code"]
        if code == codes.OK:
            fields = frames.read(records.REPORT_DATA, image, at)
            numbers[slot] = (fields["binding"], fields["report_number"])
    assert max(numbers, key=numbers.get, default=None) == case["newest_report"]


@pytest.mark.parametrize("case", load("tool_card"), ids=lambda case: case["name"])
def test_tool_card_every_part_answers_expected_code(case):
    image = bytes.fromhex(case["image"])
    assert judge_identity(image, case["keys"]["region"]) == case["expect"].pop("identity")["code"]
    kind = unpack(records.IDENTITY, image, records.IDENTITY_AT)["kind"]
    parts = TOOL_PARTS[kind]
    assert [part[0] for part in parts] == list(case["expect"])
    for name, record, at, kinds, path, key_name in parts:
        known = case["keys"][path[0]] if path else case["keys"]
        code = judge_frame(record, image, at, known, kinds, key_name)
        assert (meanings.CODES[code][0], code) == tuple(case["expect"][name].values()), name


def test_tool_cards_are_of_every_kind():
    kinds = {bytes.fromhex(case["image"])[0x0C] for case in load("tool_card")}
    assert kinds == set(TOOL_PARTS) == set(meanings.CARD_KINDS)


@pytest.mark.parametrize("case", load("transfer"), ids=lambda case: case["name"])
def test_transfer_key_is_derived_and_wrapped_as_published(case):
    known, new = case["keys"], case["keys"]["new"]
    binding, new_binding = (bytes((number,)) for number in known["bindings"])
    meters = [bytes.fromhex(each["meter"]) for each in (known, new)]
    made = keys.derive(bytes.fromhex(new["Km"]), b"transfer", new_binding + meters[0] + binding)
    assert made.hex() == known["T"]
    assert keys.derive(made, b"report").hex() == known["T_report"]
    if case["direction"] == "both":
        mask = keys.derive(bytes.fromhex(known["Kw"]), b"transfer", binding + meters[1] + new_binding)
        assert tools.masked(bytes.fromhex(case["fields"]["transfer_key"]), mask) == made


@pytest.mark.parametrize("case", load("key"), ids=lambda case: case["name"])
def test_keys_come_out_of_the_block_as_published(case):
    wrap = keys.derive(bytes.fromhex(case["keys"]["parent"]), b"wrap")
    assert wrap.hex() == case["keys"]["parent_wrap"]
    if case["direction"] == "both":
        for i, (field, name) in enumerate((("key", "Km"), ("tool_key", "Kt"))):
            of = case["keys"]["region"].to_bytes(2, "big") + bytes((case["fields"]["key_version"], i))
            mask = keys.derive(wrap, b"key", of)
            assert tools.masked(bytes.fromhex(case["fields"][field]), mask).hex() == case["keys"][name]


@pytest.mark.parametrize("case", load("keys"), ids=lambda case: case["name"])
def test_keys_computation_equals_vector(case):
    def raw(name):
        return bytes.fromhex(case[name])

    operation = case["operation"]
    if operation == "hmac":
        assert keys.hmac_sha256(raw("key"), raw("message")).hex() == case["result"]
    elif operation == "tree":
        context = case["region"].to_bytes(2, "big") + raw("meter") + bytes((case["key_version"],))
        assert keys.derive(raw("root"), b"meter", context).hex() == case["Km"]
        for label, name in ((keys.ORDER_KEY, "Ko"), (keys.REPORT_KEY, "Kr"), (keys.WRAP_KEY, "Kw")):
            assert keys.derive(raw("Km"), label).hex() == case[name]
    elif operation == "mac":
        made = keys.frame_mac(raw("key"), case["card"], case["region"], case["version"], case["kind"], raw("data"))
        assert made.hex() == case["result"]
    elif operation == "psc":
        assert keys.mask_psc(raw("Kw"), case["card"], raw("psc")).hex() == case["mask"]
        assert keys.mask_psc(raw("Kw"), case["card"], raw("mask")).hex() == case["psc"]
    else:
        assert operation == "crc"
        assert crc16(raw("data")) == case["result"]
