"""Records and whole cards, both ways; what each kind of damage is called; the published vectors."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper import METER, NEIGHBOUR, ORDER, REGION, REPORT, ROOT, PaperMeter

from gascard import codes, frames, records
from gascard.records import IDENTITY_AT, ORDER_AT, REPORT_AT
from gashall import encode, errors
from gashall.encode import decode_card
from gashall.errors import CardError, RequestError
from gashall.signer import KeyFileSigner

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
CARD = 7


def image(signer, *, card=CARD, order=ORDER, reports=(), region=REGION):
    identity = encode.encode_identity(region=region, card=card)
    return encode.encode_card(identity, order and encode.encode_order(signer, card, order), reports)


def field_values(kind):
    """Any value a field of this kind can hold."""
    size = records.kind_size(kind)
    sort = kind >> 4
    if sort == records.BCD5 >> 4:
        return st.text("0123456789", min_size=2 * size, max_size=2 * size)
    if sort == records.RAW3 >> 4:
        return st.binary(min_size=size, max_size=size)
    if sort == records.S24 >> 4:
        return st.integers(-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1)
    if sort == records.TIME >> 4:
        return st.integers(0, records.TIME_MAX)
    return st.integers(0, records.TOTAL_MAX if sort == records.TOTAL >> 4 else (1 << 8 * size) - 1)


def record_values(layout, **narrower):
    return st.fixed_dictionaries(
        {name: narrower[name] if name in narrower else field_values(kind) for name, kind in layout}
    )


ORDERS = record_values(
    records.ORDER,
    pulse_weight=st.integers(0, 2),
    flags=st.integers(0, records.FLAGS_ALL),
    sequence=st.integers(1, records.SEQUENCE_MAX),
    binding=st.integers(1, records.BINDING_MAX),
)
REPORTS = record_values(records.REPORT_DATA)


@pytest.mark.parametrize("record", encode._LAYOUTS)
@given(st.data())
def test_hall_reads_records_as_the_meter_does(record, data):
    """The hall has a faster reader, sum and end of a frame of its own; they say what the meter's code says."""
    layout = encode._LAYOUTS[record]
    size = layout.size
    # Digits mostly: of random bytes hardly any record would be whole.
    at, byte = data.draw(st.integers(0, 9)), st.one_of(st.sampled_from((0, 0x12, 0x99)), st.integers(0, 255))
    image = bytes(data.draw(st.lists(byte, min_size=at + size + 15, max_size=at + size + 15)))
    assert encode._VALUES[record](image, at + frames.HEAD) == frames.read(layout, image, at)
    frame = bytearray(image[at:])
    frame[:4] = 0x68, 1, size, records.FORMAT_VERSION
    mac = image[:8]
    closed = encode._closed(bytearray(frame), frames.HEAD + size, mac)
    assert closed == frames.close(bytearray(frame), frames.HEAD + size, mac)
    assert encode._is_right(closed, size)
    place = data.draw(st.integers(0, len(closed) - 1))
    wrong = bytearray(closed)
    wrong[place] ^= data.draw(st.integers(1, 255))
    for raw in (bytes(wrong), closed[:-1]):
        assert encode._is_right(raw, size) == (frames.check(raw, 0, size) == codes.OK)


@given(ORDERS, st.integers(1, 0xFFFFFFFF), st.sampled_from(encode.ORDER_KINDS))
def test_order_round_trip(values, card, kind):
    frame = encode.encode_order(KeyFileSigner(ROOT, REGION), card, values, kind)
    assert len(frame) == encode.ORDER_FRAME_SIZE == 59
    assert encode.decode_order(frame) == values


@given(REPORTS, st.integers(1, 0xFFFFFFFF))
def test_report_round_trip(values, card):
    frame = encode.encode_report(bytes(16), REGION, card, values)
    assert len(frame) == encode.REPORT_FRAME_SIZE == 74
    assert encode.decode_report(frame) == values


@given(st.integers(0, 0xFFFF), st.integers(1, 0xFFFFFFFF), st.integers(1, 7), st.integers(0, 0xFFFF))
def test_identity_round_trip(region, card, kind, batch):
    identity = encode.encode_identity(region=region, card=card, kind=kind, issue_batch=batch)
    values = encode.decode_identity(identity)
    assert (values["region"], values["card"], values["kind"], values["issue_batch"]) == (
        region,
        card,
        kind,
        batch,
    )


def test_order_password_mask_is_the_signers(signer):
    values = encode.decode_order(encode.encode_order(signer, CARD, ORDER))
    assert values["psc_mask"] == signer.masked_psc(METER, 1, CARD)


BAD_ORDERS = [
    ({"meter": "123"}, errors.FIELD),
    ({"account": "00000000zz"}, errors.FIELD),
    ({"bought_total": 100_000_000}, errors.FIELD),
    ({"bought_total": -1}, errors.FIELD),
    ({"sequence": 0x10000}, errors.FIELD),
    ({"amount": 0x800000}, errors.FIELD),
    ({"amount": 30.0}, errors.FIELD),
    ({"alarm": 0x10000}, errors.FIELD),
    ({"ceiling": True}, errors.FIELD),
    ({"flags": 0x10}, errors.FIELD),
    ({"sequence": 0}, errors.FIELD),
    ({"binding": 0}, errors.FIELD),
    ({"psc_mask": b"12"}, errors.FIELD),
    ({"meter": None}, errors.FIELD),
    ({"sequenze": 1}, errors.FIELD),
    ({"pulse_weight": 3}, codes.WEIGHT),
]


@pytest.mark.parametrize(("changes", "code"), BAD_ORDERS)
def test_impossible_order_is_refused(signer, changes, code):
    with pytest.raises(RequestError) as refusal:
        encode.encode_order(signer, CARD, ORDER | changes)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "attempt",
    [
        lambda signer: encode.encode_order(signer, CARD, {}),
        lambda signer: encode.encode_order(signer, -1, ORDER),
        lambda signer: encode.encode_order(signer, 1 << 32, ORDER),
        lambda signer: encode.encode_order(signer, CARD, ORDER, kind=records.REPORT),
        lambda signer: encode.encode_identity(region=0x10000, card=1),
        lambda signer: encode.encode_identity(region=1, card=True),
        lambda signer: encode.encode_identity(region=1, card=1, kind=8),
        lambda signer: encode.encode_report(bytes(16), REGION, CARD, REPORT | {"used": -1}),
        lambda signer: encode.encode_report(bytes(16), REGION, CARD, {}),
        lambda signer: encode.encode_card(bytes(12)),
        lambda signer: encode.encode_card(bytes(13), bytes(58)),
        lambda signer: encode.encode_card(bytes(13), None, [None, None, None]),
    ],
)
def test_impossible_request_is_refused(signer, attempt):
    with pytest.raises(RequestError):
        attempt(signer)


@pytest.mark.parametrize("size", [0, 1, 255, 257, 263, 265])
def test_image_of_another_size_is_refused(size):
    with pytest.raises(RequestError) as refusal:
        decode_card(bytes(size))
    assert refusal.value.code == errors.IMAGE_SIZE


@pytest.mark.parametrize(
    ("decode", "frame"),
    [
        (encode.decode_identity, encode.encode_identity(region=1, card=1)),
        (encode.decode_order, encode.encode_order(KeyFileSigner(ROOT, REGION), CARD, ORDER)),
        (encode.decode_report, encode.encode_report(bytes(16), REGION, CARD, REPORT)),
    ],
)
def test_record_truncated_extended_or_flipped_is_refused(decode, frame):
    decode(frame)
    damaged = [frame[:size] for size in range(len(frame))]
    damaged += [frame + b"\0", frame + frame]
    for i in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[i >> 3] ^= 1 << (i & 7)
        damaged.append(bytes(flipped))
    for data in damaged:
        with pytest.raises(CardError):
            decode(data)


def test_card_with_everything_is_authentic(signer):
    meter = PaperMeter(signer)
    data = image(signer, reports=[meter.report(CARD, report_number=9), meter.report(CARD, report_number=8)])
    card = decode_card(data, signer)
    assert all(part.authentic for part in (card.order, *card.reports))
    assert card.identity.whole
    assert (card.number, card.region_code, card.chip_code, card.blank) == (CARD, codes.OK, codes.OK, False)
    assert card.newest_report is card.reports[0]
    assert [part.at for part in card.parts] == [IDENTITY_AT, ORDER_AT, *REPORT_AT]


def test_card_without_key_has_no_mac_verdict(signer):
    card = decode_card(image(signer))
    assert card.order.whole
    assert not card.order.authentic
    assert card.order.mac is None


def test_every_flipped_bit_of_a_record_is_noticed(signer):
    meter = PaperMeter(signer)
    data = image(signer, reports=[meter.report(CARD), meter.report(CARD, report_number=2)])
    for part in decode_card(data, signer).parts:
        for i in range(8 * part.at, 8 * (part.at + len(part.raw))):
            flipped = bytearray(data)
            flipped[i >> 3] ^= 1 << (i & 7)
            card = decode_card(bytes(flipped), signer)
            assert {other.name for other in card.parts if other.code} == {part.name}


def newer_version(frame):
    frame = bytearray(frame)
    frame[3] = 2
    return frames.close(frame, len(frame) - 11, bytes(frame[-11:-3]))


def foreign(data):
    return data[:8] + bytes(13) + data[21:]


BAD_CARDS = [
    ("foreign", lambda signer, data: foreign(data), "identity", codes.NOT_OURS),
    (
        "identity flipped",
        lambda signer, data: data[:14] + bytes((data[14] ^ 1,)) + data[15:],
        "identity",
        codes.CRC,
    ),
    ("order truncated", lambda signer, data: data[:0x30] + b"\xff" * (256 - 0x30), "order", codes.SHAPE),
    (
        "order flipped",
        lambda signer, data: data[:0x30] + bytes((data[0x30] ^ 1,)) + data[0x31:],
        "order",
        codes.CRC,
    ),
    (
        "newer version",
        lambda signer, data: data[:0x20] + newer_version(data[0x20:0x5B]) + data[0x5B:],
        "order",
        codes.VERSION,
    ),
    ("wrong key", lambda signer, data: image(KeyFileSigner(bytes(32), REGION)), "order", codes.MAC),
    (
        "other card's order",
        lambda signer, data: data[:8] + image(signer, card=8)[8:0x20] + data[0x20:],
        "order",
        codes.MAC,
    ),
    (
        "report in the order's place",
        lambda signer, data: (
            data[:0x20] + frames.close(bytearray(b"\x68\x81" + data[0x22:0x5B]), 48, bytes(8)) + data[0x5B:]
        ),
        "order",
        codes.KIND,
    ),
    (
        "neighbour's report",
        lambda signer, data: (
            data[:0x5B]
            + encode.encode_report(PaperMeter(signer, NEIGHBOUR).key, REGION, CARD, REPORT)
            + data[0x5B + 74 :]
        ),
        "report slot 0",
        codes.MAC,
    ),
]


@pytest.mark.parametrize(("bend", "part", "code"), [row[1:] for row in BAD_CARDS], ids=[row[0] for row in BAD_CARDS])
def test_bad_card_is_called_by_its_fault(signer, bend, part, code):
    card = decode_card(bend(signer, image(signer)), signer)
    assert {each.name: each.code for each in card.parts}[part] == code


def test_card_of_another_region_says_so(signer):
    other = KeyFileSigner(ROOT, REGION + 1)
    card = decode_card(image(other, region=REGION + 1), signer)
    assert card.region_code == codes.REGION
    assert card.order.mac == codes.MAC


def test_report_is_judged_by_the_key_version_given(signer):
    data = image(signer, order=None, reports=[PaperMeter(signer).report(CARD)])
    assert decode_card(data, signer).reports[0].authentic
    assert decode_card(data, signer, key_version=2).reports[0].mac == codes.KEY_VERSION


def test_report_of_keys_the_meter_has_not_yet_is_forged(signer):
    """Earlier keys are the meter's own, later ones nobody has."""
    meter = PaperMeter(signer)
    meter.key = encode.report_key(signer.meter_keys(METER, 3)[0])
    data = image(signer, order=None, reports=[meter.report(CARD)])
    verdicts = {version: decode_card(data, signer, key_version=version).reports[0] for version in (2, 3, 4)}
    assert {version: part.mac for version, part in verdicts.items()} == {2: codes.MAC, 3: 0, 4: codes.KEY_VERSION}
    assert [version for version, part in verdicts.items() if part.authentic] == [3]


def test_newest_report_goes_by_binding_first(signer):
    meter = PaperMeter(signer)
    data = image(
        signer,
        reports=[
            meter.report(CARD, binding=1, report_number=99),
            meter.report(CARD, binding=2, report_number=3),
        ],
    )
    assert decode_card(data, signer).newest_report is not None
    assert decode_card(data, signer).newest_report.name == "report slot 1"


def vector_cases(*names, but=""):
    return [
        pytest.param(case, id=f"{name}-{case['name']}")
        for name in names
        for case in json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
        if case["direction"] != but
    ]


def judge(card, part, keys):
    """The verdict of a reader with its keys but no account, as protocol/vectors/README.md orders it."""
    if card.chip_code:
        return card.chip_code
    if not card.identity.written:
        return codes.NOT_OURS
    if card.identity.code or card.region_code:
        return card.identity.code or card.region_code
    if part.record == "identity":
        return codes.OK
    if not part.written:
        return codes.SHAPE
    if part.values is None:
        return part.code
    if part.values["meter"] != keys["meter"]:
        return codes.METER
    if part.values.get("key_version", keys["key_version"]) != keys["key_version"]:
        return codes.KEY_VERSION
    return part.code


@pytest.mark.parametrize("case", vector_cases("identity", "order", "report", but="encode"))
def test_record_vector_is_decoded_as_published(case):
    keys = case.get("keys", {"root": ROOT.hex(), "region": case.get("region"), "key_version": 1})
    signer = KeyFileSigner(bytes.fromhex(keys["root"]), keys["region"])
    card = decode_card(bytes.fromhex(case["image"]), signer, key_version=keys["key_version"])
    part = card.identity
    if "kind" in case or "at" in case:
        part = next(part for part in card.parts if part.at == case["at"])
    assert judge(card, part, keys) == case["expect"]["code"]
    if case["direction"] == "both":
        values = {name: value.hex() if isinstance(value, bytes) else value for name, value in part.values.items()}
        assert {name: values[name] for name in case["fields"]} == case["fields"]


@pytest.mark.parametrize("case", vector_cases("card"))
def test_card_vector_is_decoded_as_published(case):
    keys = case["keys"]
    signer = KeyFileSigner(bytes.fromhex(keys["root"]), keys["region"])
    card = decode_card(bytes.fromhex(case["image"]), signer, key_version=keys["key_version"])
    parts = dict(zip(("identity", "order", "report_0", "report_1"), card.parts, strict=True))
    assert {name: part.code if part.written else None for name, part in parts.items()} == {
        name: case["expect"][name]["code"] if part.written else None for name, part in parts.items()
    }
    newest = case["newest_report"]
    assert card.newest_report is (None if newest is None else card.reports[newest])


@pytest.mark.parametrize("case", vector_cases("identity", "order", "report", but="decode"))
def test_record_vector_is_encoded_as_published(case):
    fields = {
        name: bytes.fromhex(value) if name == "psc_mask" and value is not None else value
        for name, value in case["fields"].items()
    }

    def build():
        if "keys" not in case:
            return encode.encode_identity(
                region=fields["region"],
                card=fields["card"],
                kind=fields.get("kind"),
                issue_batch=fields["issue_batch"],
            )
        keys, card = case["keys"], case["identity"]["card"]
        if case["kind"] == records.REPORT:
            return encode.encode_report(bytes.fromhex(keys["Kr"]), keys["region"], card, fields)
        signer = KeyFileSigner(bytes.fromhex(keys["root"]), keys["region"])
        return encode.encode_order(signer, card, fields, case["kind"])

    if case["expect"]["code"] == codes.OK:
        assert build().hex() == case["frame"]
    else:
        with pytest.raises(RequestError):
            build()
