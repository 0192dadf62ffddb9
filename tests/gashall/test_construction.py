"""The second engine agrees with the first: on every value, on every damage, on every published vector."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper import REGION
from tests.conftest import require_part

from gascard import codec, codes, frames, meanings, records, tools

require_part("construct")
require_part("crcmod")
import construct  # noqa: E402

from gashall import construction  # noqa: E402

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
LAYOUTS = meanings.RECORDS
FRAMES = {
    "order": construction.ORDER_FRAME,
    "report": construction.REPORT_FRAME,
    "transfer": construction.TRANSFER_FRAME,
    "management": construction.MANAGEMENT_FRAME,
    "setting": construction.SETTING_FRAME,
    "key": construction.KEY_FRAME,
}
KINDS = {
    "order": records.ORDER_USER,
    "report": records.REPORT,
    "transfer": tools.TRANSFER_OUT,
    "management": tools.MANAGE,
    "setting": tools.SET,
    "key": tools.KEY,
}


def vector_cases(name):
    cases = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return [(name, case) for case in cases if case["direction"] != "encode"]


def parsed(layout, data):
    try:
        values = dict(construction.record(layout).parse(data))
    except (construct.ConstructError, ValueError):
        return None
    values.pop("_io", None)
    return values


def unpacked(layout, data):
    try:
        return codec.unpack(layout, data)
    except codec.RecordError:
        return None


@pytest.mark.parametrize("name", LAYOUTS)
@given(data=st.data())
def test_engines_read_the_same_from_any_bytes(name, data):
    layout = LAYOUTS[name]
    size = records.size_of(layout)
    # Mostly digits and small numbers, or BCD fields and totals would hardly ever be right.
    byte = st.sampled_from((0, 0, 0, 1, 0x12, 0x05, 0x99, 0xF5, 0xFF))
    raw = bytes(data.draw(st.lists(byte, min_size=size, max_size=size)))
    assert parsed(layout, raw) == unpacked(layout, raw)
    assert construction.record(layout).sizeof() == size


@pytest.mark.parametrize("name", LAYOUTS)
@given(data=st.data())
def test_engines_write_the_same_or_refuse_alike(name, data):
    layout = LAYOUTS[name]
    values = {}
    for field, kind in layout:
        size = records.kind_size(kind)
        if kind >> 4 == records.BCD5 >> 4:
            values[field] = data.draw(st.text("0123456789", min_size=2 * size, max_size=2 * size))
        elif kind >> 4 == records.RAW3 >> 4:
            values[field] = data.draw(st.binary(min_size=size, max_size=size))
        elif kind >> 4 == records.S24 >> 4:
            values[field] = data.draw(st.integers(-(1 << 23), (1 << 23) - 1))
        else:
            values[field] = data.draw(st.integers(0, (1 << 8 * size) - 1))
    buffer = bytearray(records.size_of(layout))
    try:
        codec.pack_into(layout, values, buffer)
        first = bytes(buffer)
    except codec.RecordError:
        first = None
    try:
        second = construction.record(layout).build(values)
    except construct.ConstructError:
        second = None
    assert first == second


def test_every_framed_record_has_a_declaration():
    assert FRAMES.keys() == KINDS.keys() == LAYOUTS.keys() - {"identity"}


REFUSED = [(name, field) for name in ("order", "transfer", "setting", "key") for field in LAYOUTS[name].names]


@pytest.mark.parametrize(("name", "field"), REFUSED)
@pytest.mark.parametrize("value", [-(1 << 40), 1 << 40, "x", b"", None])
def test_engines_refuse_the_same_impossible_values(name, field, value):
    layout = LAYOUTS[name]
    values = codec.unpack(layout, bytes(records.size_of(layout))) | {field: value}
    with pytest.raises(codec.RecordError):
        codec.pack_into(layout, values, bytearray(64))
    with pytest.raises((construct.ConstructError, TypeError)):
        construction.record(layout).build(values)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
@given(st.binary(min_size=16, max_size=16))
def test_engines_build_the_same_frame(name, kind, key):
    layout = LAYOUTS[name]
    values = codec.unpack(layout, bytes(records.size_of(layout)))
    first = frames.build(layout, values, kind, 7, REGION, key)
    size = records.size_of(layout)
    body = {"kind": kind, "version": 1, "data": values, "mac": frames.mac_at(first, 0, size)}
    assert FRAMES[name].build({"body": {"value": body}}) == first
    assert dict(FRAMES[name].parse(first).body.value.data).items() >= values.items()


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(*pair, id=f"{pair[0]}-{pair[1]['name']}") for name in FRAMES for pair in vector_cases(name)],
)
def test_engines_agree_on_every_frame_vector(name, case):
    layout, image, at = LAYOUTS[name], bytes.fromhex(case["image"]), case["at"]
    size = records.size_of(layout)
    whole = frames.check(image, at, size) == codes.OK and frames.read(layout, image, at) is not None
    try:
        second = FRAMES[name].parse(image[at : at + frames.frame_size(layout)])
    except construct.ConstructError:
        second = None
    assert (second is not None) == whole
    if whole and case["direction"] == "both":
        fields = {
            key: value.hex() if isinstance(value, bytes) else value for key, value in second.body.value.data.items()
        }
        assert fields.items() >= case["fields"].items()
        built = FRAMES[name].build({"body": {"value": second.body.value}})
        assert built.hex() == case["frame"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for _, case in vector_cases("identity")])
def test_engines_agree_on_every_identity_vector(case):
    raw = bytes.fromhex(case["image"])[0x08:0x15]
    code = frames.check_identity(bytes(8) + raw)
    try:
        value = construction.IDENTITY_RECORD.parse(raw).body.value
    except construct.ConstructError:
        value = None
    # construct checks no mark and no format: it says whether the identity is whole.
    assert (value is not None) == (code in (codes.OK, codes.VERSION)) or code == codes.NOT_OURS
    if case["direction"] == "both":
        assert dict(value).items() >= case["fields"].items()
        assert construction.IDENTITY_RECORD.build({"body": {"value": value}}).hex() == case["frame"]
