"""The company's own cards: made by the hall, taken by the real firmware, read back by the hall; what is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paper import METER, NEIGHBOUR, ORDER, REGION, REPORT, ROOT
from test_encode import BAD_ORDERS, field_values

from gascard import codes, frames, keys, meanings, records, tools
from gascard.chip import Chip
from gascard.records import IDENTITY_AT, IMAGE_SIZE, TOTAL_MAX
from gashall import encode, errors, viewer
from gashall.encode import PLACES, decode_card
from gashall.errors import CardError, RequestError
from gashall.signer import KeyFileSigner
from gasrig.parts import CardSlot, Fram, Panel, ValveMotor
from meter.factory import create
from meter.layouts import BOUND, CLOSED, TALLY_AT, TRANSFERRED
from meter.meter import Meter, Settings

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
CARD = 7
NOW = ORDER["time"]
FACTORY_KEY = b"F" * 16
NO_GUARDS = dict.fromkeys(tools.SETTING.names[9:], 0)
GUARDS = NO_GUARDS | {"report": 0xFF, "pause_seconds": 300, "large_flow_gap": 900, "large_flow_for": 30}

TRANSFER = {
    "meter": METER,
    "binding": 1,
    "key_version": 1,
    "new_meter": NEIGHBOUR,
    "new_binding": 1,
    "time": NOW,
}
MANAGEMENT = {"key_version": 1, "expires": NOW + 60, "time": NOW}
SETTING = {
    "key_version": 1,
    "meter": METER,
    "service_number": 1,
    "expires": 0,
    "time": NOW,
    "what": tools.SET_ALL,
    "clock": NOW + 5,
    "index": 4321,
    **GUARDS,
}
KEYS = {"meter": METER, "key_version": 1, "time": NOW}
TEST = ORDER | {"sequence": 1, "binding": 1, "bought_total": 40, "amount": 40}
COMING = ORDER | {"meter": NEIGHBOUR, "sequence": 1, "binding": 1, "bought_total": 5000, "amount": 0}


def tool_order(signer, kind, card=CARD, **changed):
    base = {tools.ORDER_TEST: TEST, tools.TRANSFER_IN: COMING}.get(kind, ORDER)
    return encode.encode_order(signer, card, base | changed, kind)


def transfer(signer, card=CARD, most=5000, **changed):
    out = encode.encode_transfer_out(signer, card, TRANSFER | changed, new_key_version=1)
    heir = {"meter": changed.get("new_meter", NEIGHBOUR), "binding": changed.get("new_binding", 1)}
    return out, tool_order(signer, tools.TRANSFER_IN, card, bought_total=most, **heir)


def card_of(kind, *parts, card=CARD):
    identity = encode.encode_identity(region=REGION, card=card, kind=kind)
    return encode.encode_card(identity, parts[0], parts[1:])


class Stand:
    """A real meter on the table, as the factory made it or keyed."""

    def __init__(self, signer, number=METER, keyed=True):
        self.signer = signer
        self.settings = Settings(1, 64, 2, test_gas=100)
        memory, key_memory = Fram(TALLY_AT + 64), Fram(0x80)
        self.motor, self.slot = ValveMotor(3000), CardSlot()
        values = {"meter": number, "factory_key": FACTORY_KEY}
        if keyed:
            key, tool_key = signer.meter_keys(number, 1)
            values |= {"region": REGION, "key_version": 1, "key": key, "tool_key": tool_key}
        create(memory, key_memory, self.settings, values)
        self.meter = Meter(memory, key_memory, self.motor, self.slot, Panel(), self.settings)
        assert self.meter.boot(NOW, 0) == codes.OK

    def visit(self, image, counter=0x07):
        """The code, and the card's 256 bytes as they come out of the slot; ``counter`` is its error counter."""
        chip = Chip()
        chip.main[:] = image
        card = int.from_bytes(image[IDENTITY_AT + 5 : IDENTITY_AT + 9], "big")
        chip.security[:] = bytes((counter,)) + self.signer.card_psc(card)
        self.slot.insert(chip)
        code = self.meter.card_in()
        for _ in range(20000):
            if not (self.meter.session.active or self.meter.valve.moving):
                break
            step = max(1, self.meter.next_ms)
            self.motor.advance(step)
            self.meter.tick(step)
        if code == codes.OK and self.meter.last_code != code:
            code = self.meter.last_code
        self.slot.remove()
        self.meter.card_out()
        return code, bytes(chip.main)

    def bound(self, bought=3000, burned=0):
        opening = encode.encode_order(
            self.signer, 1, ORDER | {"sequence": 1, "bought_total": bought, "meter": self.number}, records.ORDER_OPENING
        )
        assert self.visit(card_of(records.CARD_CUSTOMER, opening, card=1))[0] == codes.OK
        self.meter.pulses(burned)
        return self

    @property
    def number(self):
        return self.meter.keys.values["meter"]

    @property
    def state(self):
        return self.meter.account.values["state"]


# ---------------------------------------------------------------------- what the firmware makes of the hall's cards


def test_clear_card_comes_back_with_an_authentic_final_record(signer):
    stand = Stand(signer).bound(3000, 700)
    code, image = stand.visit(card_of(records.CARD_CLEAR, tool_order(signer, tools.ORDER_CLEAR, sequence=2)))
    card = decode_card(image, signer)
    assert (code, stand.state, card.kind) == (codes.OK, CLOSED, records.CARD_CLEAR)
    assert card.order.authentic
    assert card.final.authentic
    assert (card.reports, card.newest_report, card.transfer_in) == ((), None, None)
    assert encode.remaining(card.final.values) == 2300
    assert [part.name for part in card.parts] == ["identity", "clear order", "final record"]


def test_transfer_card_carries_the_gas_from_meter_to_meter(signer):
    old, new = Stand(signer).bound(3000, 700), Stand(signer, NEIGHBOUR)
    made = card_of(records.CARD_TRANSFER, *transfer(signer))
    assert new.visit(made)[0] == codes.NO_FINAL_RECORD
    code, image = old.visit(made)
    assert (code, old.state) == (codes.OK, TRANSFERRED)
    card = decode_card(image, signer)
    assert [part.authentic for part in card.parts[1:]] == [True] * 3
    assert (card.final.values["meter"], encode.remaining(card.final.values)) == (METER, 2300)
    code, after = new.visit(image)
    assert (code, new.state, new.meter.remaining) == (codes.OK, BOUND, 2300)
    assert after == image, "the new meter writes nothing"
    assert new.visit(image)[0] == codes.REPEAT
    assert old.visit(made) == (codes.REPEAT, image)


def test_transfer_keys_may_be_of_other_versions_than_the_meters_first(signer):
    old, new = Stand(signer).bound(3000), Stand(signer, NEIGHBOUR)
    block = encode.encode_key_block(signer, 9, KEYS | {"meter": NEIGHBOUR, "key_version": 4}, parent=1)
    assert new.visit(card_of(records.CARD_KEY, block, card=9))[0] == codes.OK
    out = encode.encode_transfer_out(signer, CARD, TRANSFER, new_key_version=4)
    made = card_of(records.CARD_TRANSFER, out, tool_order(signer, tools.TRANSFER_IN, key_version=4))
    code, image = old.visit(made)
    assert (code, decode_card(image, signer).final.authentic) == (codes.OK, True)
    assert new.visit(image)[0] == codes.OK


def test_final_record_of_another_transfer_is_not_this_ones(signer):
    made = card_of(records.CARD_TRANSFER, *transfer(signer))
    code, image = Stand(signer).bound(3000).visit(card_of(records.CARD_TRANSFER, *transfer(signer, new_binding=2)))
    assert code == codes.OK
    final = image[tools.FINAL_AT : tools.FINAL_AT + 74]
    grafted = made[: tools.FINAL_AT] + final + made[tools.FINAL_AT + 74 :]
    assert decode_card(grafted, signer).final.mac == codes.MAC
    assert Stand(signer, NEIGHBOUR).visit(grafted)[0] == codes.MAC


def test_final_record_of_a_clear_is_no_transfers_and_the_other_way_round(signer):
    _, cleared = Stand(signer).bound(3000).visit(card_of(3, tool_order(signer, tools.ORDER_CLEAR)))
    _, moved = Stand(signer).bound(3000).visit(card_of(2, *transfer(signer)))
    at = slice(tools.FINAL_AT, tools.FINAL_AT + 74)
    for genuine, other in ((cleared, moved), (moved, cleared)):
        grafted = bytearray(genuine)
        grafted[at] = other[at]
        assert decode_card(bytes(grafted), signer).final.mac == codes.MAC
    grafted = bytearray(moved)
    grafted[at] = cleared[at]
    assert Stand(signer, NEIGHBOUR).visit(bytes(grafted))[0] == codes.MAC


def test_management_card_collects_reports_of_two_meters(signer):
    image = card_of(records.CARD_MANAGEMENT, encode.encode_management(signer, CARD, MANAGEMENT))
    first, second = Stand(signer).bound(3000), Stand(signer, NEIGHBOUR).bound(2000)
    for stand in (first, second):
        code, image = stand.visit(image)
        assert code == codes.OK
    card = decode_card(image, signer)
    assert [(part.authentic, part.values["meter"]) for part in card.reports] == [(True, METER), (True, NEIGHBOUR)]
    assert card.order.authentic
    assert card.newest_report is None, "two meters' reports have no common order"
    assert first.visit(image)[0] == codes.CARD_FULL


def test_setting_card_sets_clock_index_and_guards(signer):
    stand = Stand(signer)
    code, image = stand.visit(card_of(records.CARD_SETTING, encode.encode_setting(signer, CARD, SETTING)))
    assert code == codes.OK
    assert (stand.meter.minutes, stand.meter.shown_index) == (NOW + 5, 4321)
    assert {name: stand.meter.limits.values[name] for name in GUARDS} == GUARDS
    card = decode_card(image, signer)
    assert [part.name for part in card.parts] == ["identity", "setting", "report slot 1"]
    assert card.order.authentic
    assert card.newest_report.values["index"] == 4321


@pytest.mark.parametrize(("keyed", "version", "parent"), [(False, 1, FACTORY_KEY), (True, 2, 1), (True, 9, 1)])
def test_key_card_gives_the_hall_s_keys(signer, keyed, version, parent):
    stand = Stand(signer, keyed=keyed)
    block = encode.encode_key_block(signer, CARD, KEYS | {"key_version": version}, parent=parent)
    code, image = stand.visit(card_of(records.CARD_KEY, block))
    assert code == codes.OK
    kept = stand.meter.keys.values
    assert (kept["key"], kept["tool_key"]) == signer.meter_keys(METER, version)
    assert (kept["key_version"], kept["region"]) == (version, REGION)
    card = decode_card(image, signer, parent=parent)
    assert card.order.authentic
    assert card.newest_report.authentic, "the report is made with the new keys"
    assert decode_card(image, signer).order.mac is None, "without its parent nobody can judge it"
    others = [b"G" * 16, version, 0] + ([2] if version == 9 else [])
    assert [decode_card(image, signer, parent=other).order.mac for other in others] == [codes.MAC] * len(others)


def test_test_card_gives_its_total_once(signer):
    stand = Stand(signer)
    made = card_of(records.CARD_TEST, tool_order(signer, tools.ORDER_TEST))
    code, image = stand.visit(made)
    assert (code, stand.meter.state.values["test_gas"]) == (codes.OK, 40)
    card = decode_card(image, signer)
    assert card.order.authentic
    assert card.newest_report.values["binding"] == 0
    assert stand.visit(made)[0] == codes.REPEAT


# ---------------------------------------------------------------------- frames, both ways


FRAMES = [
    ("clear", tools.ORDER_CLEAR, lambda s: tool_order(s, tools.ORDER_CLEAR)),
    ("test", tools.ORDER_TEST, lambda s: tool_order(s, tools.ORDER_TEST)),
    ("transfer in", tools.TRANSFER_IN, lambda s: tool_order(s, tools.TRANSFER_IN)),
    ("transfer out", tools.TRANSFER_OUT, lambda s: transfer(s)[0]),
    ("management", tools.MANAGE, lambda s: encode.encode_management(s, CARD, MANAGEMENT)),
    ("setting", tools.SET, lambda s: encode.encode_setting(s, CARD, SETTING)),
    ("key", tools.KEY, lambda s: encode.encode_key_block(s, CARD, KEYS, parent=FACTORY_KEY)),
    ("final", tools.FINAL, lambda s: encode.encode_report(bytes(16), REGION, CARD, REPORT, tools.FINAL)),
]


@pytest.mark.parametrize(("kind", "make"), [row[1:] for row in FRAMES], ids=[row[0] for row in FRAMES])
def test_frame_truncated_extended_or_flipped_is_refused(signer, kind, make):
    frame = make(signer)
    encode.decode_frame(frame, kind)
    damaged = [frame[:size] for size in range(len(frame))] + [frame + b"\0"]
    for i in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[i >> 3] ^= 1 << (i & 7)
        damaged.append(bytes(flipped))
    for data in damaged:
        with pytest.raises(CardError):
            encode.decode_frame(data, kind)


def test_frame_of_another_kind_is_refused(signer):
    made = {kind: make(signer) for _, kind, make in FRAMES}
    assert set(made) | {1, 2, records.REPORT} == set(meanings.FRAME_KINDS)
    for kind, frame in made.items():
        for other in made.keys() - {kind}:
            with pytest.raises(CardError):
                encode.decode_frame(frame, other)
    for decode in (encode.decode_order, encode.decode_report):
        for frame in made.values():
            with pytest.raises(CardError):
                decode(frame)
    with pytest.raises(RequestError):
        encode.decode_frame(made[tools.KEY], 0x7E)


def test_every_card_kind_has_its_places_and_every_frame_its_place():
    assert PLACES.keys() == meanings.CARD_KINDS.keys()
    placed = {kind for places in PLACES.values() for place in places for kind in place.kinds}
    assert placed == set(meanings.FRAME_KINDS)


@given(st.data())
def test_what_is_encoded_is_decoded(data):
    signer = KeyFileSigner(ROOT, REGION)
    card = data.draw(st.integers(1, 0xFFFFFFFF))
    layouts = {"transfer": tools.TRANSFER, "management": tools.MANAGEMENT, "setting": tools.SETTING}
    for record, layout in layouts.items():
        own = meanings.SECRET_FIELDS[record]
        values = {name: data.draw(field_values(kind)) for name, kind in layout if name not in own}
        for name in ("binding", "new_binding", "key_version", "service_number", "clock"):
            if name in values:
                values[name] = max(1, values[name])
        if "expires" in values:
            values["expires"] = data.draw(st.sampled_from((0, values["time"], records.TIME_MAX)))
        if record == "transfer":
            values["new_meter"] = values["meter"][:-1] + str((int(values["meter"][-1]) + 1) % 10)
            frame = encode.encode_transfer_out(signer, card, values, new_key_version=1)
        elif record == "management":
            frame = encode.encode_management(signer, card, values)
        else:
            values["what"] = data.draw(st.sampled_from((1, 4, 5) if values["meter"] == tools.ANY else range(1, 8)))
            frame = encode.encode_setting(signer, card, values)
        decoded = encode.decode_frame(frame, frame[1])
        assert {name: value for name, value in decoded.items() if name not in own} == values


IMPOSSIBLE = [
    # ("what a meter never takes, or takes for something else", attempt)
    ("no such order", lambda s: encode.encode_order(s, CARD, ORDER, tools.TRANSFER_OUT)),
    ("a clear is no refund", lambda s: tool_order(s, tools.ORDER_CLEAR, flags=records.FLAG_REFUND)),
    ("a clear names a binding", lambda s: tool_order(s, tools.ORDER_CLEAR, binding=0)),
    ("test gas is for a meter never bound", lambda s: tool_order(s, tools.ORDER_TEST, binding=2)),
    ("a transfer begins a binding", lambda s: tool_order(s, tools.TRANSFER_IN, sequence=2)),
    ("a transfer is no gift", lambda s: tool_order(s, tools.TRANSFER_IN, flags=records.FLAG_GIFT)),
    ("an unknown pulse weight", lambda s: tool_order(s, tools.TRANSFER_IN, pulse_weight=3)),
    ("more than a total holds", lambda s: tool_order(s, tools.ORDER_TEST, bought_total=TOTAL_MAX + 1)),
    ("a meter its own heir", lambda s: transfer(s, new_meter=METER)),
    ("binding 0", lambda s: transfer(s, binding=0)),
    ("new binding 0", lambda s: encode.encode_transfer_out(s, CARD, TRANSFER | {"new_binding": 0}, new_key_version=1)),
    ("binding 256", lambda s: encode.encode_transfer_out(s, CARD, TRANSFER | {"binding": 256}, new_key_version=1)),
    ("key version 0", lambda s: encode.encode_transfer_out(s, CARD, TRANSFER | {"key_version": 0}, new_key_version=1)),
    ("new key version 0", lambda s: encode.encode_transfer_out(s, CARD, TRANSFER, new_key_version=0)),
    ("new key version 256", lambda s: encode.encode_transfer_out(s, CARD, TRANSFER, new_key_version=256)),
    (
        "a transfer key given",
        lambda s: encode.encode_transfer_out(s, CARD, TRANSFER | {"transfer_key": bytes(16)}, new_key_version=1),
    ),
    ("a field missing", lambda s: encode.encode_transfer_out(s, CARD, {"meter": METER}, new_key_version=1)),
    ("a bad meter", lambda s: transfer(s, meter="12")),
    ("a bad card", lambda s: encode.encode_management(s, -1, MANAGEMENT)),
    ("expired when made", lambda s: encode.encode_management(s, CARD, MANAGEMENT | {"expires": NOW - 1})),
    ("no tool key 0", lambda s: encode.encode_management(s, CARD, MANAGEMENT | {"key_version": 0})),
    ("nothing given", lambda s: encode.encode_management(s, CARD, {})),
    *[
        (f"what {what!r}", lambda s, what=what: encode.encode_setting(s, CARD, SETTING | {"what": what}))
        for what in (0, 8, 15, -1, True, None, "1")
    ],
    ("index of every meter", lambda s: encode.encode_setting(s, CARD, SETTING | {"meter": tools.ANY})),
    ("clock not set", lambda s: encode.encode_setting(s, CARD, SETTING | {"clock": 0})),
    ("service number 0", lambda s: encode.encode_setting(s, CARD, SETTING | {"service_number": 0})),
    ("service number used up", lambda s: encode.encode_setting(s, CARD, SETTING | {"service_number": 1 << 24})),
    ("setting expired", lambda s: encode.encode_setting(s, CARD, SETTING | {"expires": 1})),
    ("an index no total holds", lambda s: encode.encode_setting(s, CARD, SETTING | {"index": TOTAL_MAX + 1})),
    ("keys of version 0", lambda s: encode.encode_key_block(s, CARD, KEYS | {"key_version": 0}, parent=FACTORY_KEY)),
    ("keys given", lambda s: encode.encode_key_block(s, CARD, KEYS | {"key": bytes(16)}, parent=FACTORY_KEY)),
    ("keys below themselves", lambda s: encode.encode_key_block(s, CARD, KEYS, parent=1)),
    ("a short factory key", lambda s: encode.encode_key_block(s, CARD, KEYS, parent=b"F" * 15)),
    ("a report of no kind", lambda s: encode.encode_report(bytes(16), REGION, CARD, REPORT, tools.KEY)),
    ("an order too long for its place", lambda s: card_of(2, tool_order(s, tools.TRANSFER_IN))),
    ("a report on a clear card", lambda s: card_of(3, tool_order(s, tools.ORDER_CLEAR), bytes(74), bytes(74))),
    ("no slot 0 on a setting card", lambda s: card_of(5, encode.encode_setting(s, CARD, SETTING), None, bytes(74))),
]


@pytest.mark.parametrize("attempt", [row[1] for row in IMPOSSIBLE], ids=[row[0] for row in IMPOSSIBLE])
def test_impossible_request_is_refused(signer, attempt):
    with pytest.raises(RequestError) as refusal:
        attempt(signer)
    assert refusal.value.code in (errors.FIELD, codes.KIND, codes.WEIGHT)
    assert str(refusal.value)


@pytest.mark.parametrize("kind", encode.TOOL_ORDER_KINDS)
def test_tool_order_is_refused_what_every_order_is(signer, kind):
    for changes, _ in BAD_ORDERS:
        with pytest.raises(RequestError):
            tool_order(signer, kind, **changes)


# ---------------------------------------------------------------------- published vectors


def vector_cases(*names, but=""):
    return [
        pytest.param(name, case, id=f"{name}-{case['name']}")
        for name in names
        for case in json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
        if case["direction"] != but
    ]


def of_vector(case):
    """(signer, key version of the reader, parent of a key block) of a published case."""
    known = case["keys"]
    signer = KeyFileSigner(bytes.fromhex(known["root"]), known["region"])
    return signer, known["key_version"], bytes.fromhex(known["parent"]) if "parent" in known else None


TOOL_RECORDS = ("transfer", "management", "setting", "key")


@pytest.mark.parametrize(("record", "case"), vector_cases(*TOOL_RECORDS, but="encode"))
def test_vector_is_decoded_as_published(record, case):
    signer, version, parent = of_vector(case)
    card = decode_card(bytes.fromhex(case["image"]), signer, parent=parent)
    part, known = card.order, case["keys"]
    assert (part.record, part.at) == (record, case["at"])
    code = part.code if part.written else codes.SHAPE
    meters = (known["meter"], tools.ANY) if record == "setting" else (known["meter"],)
    if card.region_code:
        code = card.region_code
    elif part.values is not None and part.values.get("meter", known["meter"]) not in meters:
        code = codes.METER
    elif part.values is not None and (
        part.values["key_version"] <= version if record == "key" else part.values["key_version"] != version
    ):
        code = codes.KEY_VERSION
    assert code == case["expect"]["code"]
    if case["direction"] == "both":
        values = {name: value.hex() if isinstance(value, bytes) else value for name, value in part.values.items()}
        assert values == case["fields"]


@pytest.mark.parametrize(("record", "case"), vector_cases(*TOOL_RECORDS, but="decode"))
def test_vector_is_encoded_as_published(record, case):
    signer, version, parent = of_vector(case)
    secret = meanings.SECRET_FIELDS[record]
    fields = {name: value for name, value in case["fields"].items() if name not in secret}

    def build():
        card = case["identity"]["card"]
        if record == "transfer":
            return encode.encode_transfer_out(signer, card, fields, new_key_version=case["keys"]["new"]["key_version"])
        if record == "key":
            return encode.encode_key_block(signer, card, fields, parent=version or parent)
        encoder = encode.encode_management if record == "management" else encode.encode_setting
        return encoder(signer, card, fields)

    if case["expect"]["code"] == codes.OK:
        assert build().hex() == case["frame"]
    elif case["expect"]["field"] not in secret:
        with pytest.raises(RequestError):
            build()


@pytest.mark.parametrize(("record", "case"), vector_cases("tool_card"))
def test_card_vector_is_decoded_as_published(record, case):
    signer, _, parent = of_vector(case)
    card = decode_card(bytes.fromhex(case["image"]), signer, parent=parent)
    found = {part.name.replace(" ", "_"): part.code if part.written else codes.SHAPE for part in card.parts}
    assert found == {name: verdict["code"] for name, verdict in case["expect"].items()}
    assert all(part.authentic for part in card.parts[1:] if part.written and not part.code)


# ---------------------------------------------------------------------- hostile bytes, and what is shown


IMAGES = [
    ("clear", 3, lambda s: (tool_order(s, tools.ORDER_CLEAR),)),
    ("transfer", 2, transfer),
    ("management", 4, lambda s: (encode.encode_management(s, CARD, MANAGEMENT),)),
    ("setting", 5, lambda s: (encode.encode_setting(s, CARD, SETTING),)),
    ("key", 6, lambda s: (encode.encode_key_block(s, CARD, KEYS, parent=FACTORY_KEY),)),
    ("test", 7, lambda s: (tool_order(s, tools.ORDER_TEST),)),
]
EVERY_IMAGE = pytest.mark.parametrize(("kind", "make"), [row[1:] for row in IMAGES], ids=[row[0] for row in IMAGES])


@EVERY_IMAGE
def test_every_flipped_bit_of_a_tool_card_is_noticed(signer, kind, make):
    data = card_of(kind, *make(signer))
    for part in decode_card(data, signer, parent=FACTORY_KEY).parts:
        if not part.written:
            continue
        for i in range(8 * part.at, 8 * (part.at + len(part.raw))):
            flipped = bytearray(data)
            flipped[i >> 3] ^= 1 << (i & 7)
            card = decode_card(bytes(flipped), signer, parent=FACTORY_KEY)
            assert part.name in {other.name for other in card.parts if other.code}


@EVERY_IMAGE
def test_tool_card_called_another_kind_is_whole_as_none(signer, kind, make):
    data = card_of(kind, *make(signer))
    for other in PLACES.keys() - {kind}:
        identity = encode.encode_identity(region=REGION, card=CARD, kind=other)
        card = decode_card(data[:IDENTITY_AT] + identity + data[IDENTITY_AT + 13 :], signer, parent=FACTORY_KEY)
        assert not card.order.whole, (kind, other)


@pytest.mark.parametrize("form", [["--json"], [], ["--meanings"]])
@EVERY_IMAGE
def test_tool_card_is_shown_without_a_masked_key(capsys, tmp_path, kind, make, form):
    KeyFileSigner.create(tmp_path / "region.key", REGION)
    signer = KeyFileSigner.load(tmp_path / "region.key")
    image = card_of(kind, *make(signer))
    card = decode_card(image, signer, parent=FACTORY_KEY)
    for bent in (image, image[:0x50] + bytes((image[0x50] ^ 1,)) + image[0x51:]):
        (tmp_path / "card.bin").write_bytes(bent)
        code = viewer.command(["show", str(tmp_path / "card.bin"), "--key", str(tmp_path / "region.key"), *form])
        said = "".join(capsys.readouterr().out.split())
        if bent is image:
            assert code == viewer.FINE
            assert all(name in said for name in card.order.values)
        for part in card.parts[1:]:
            for name, value in (part.values or {}).items():
                if isinstance(value, bytes):
                    assert value.hex() not in said, name
                    assert f"masked,{len(value)}bytes" in said or bent is not image
    assert len(image) == IMAGE_SIZE


def test_key_block_is_told_as_not_checked(tmp_path, signer):
    image = card_of(6, encode.encode_key_block(signer, CARD, KEYS, parent=FACTORY_KEY))
    shown = viewer.describe(image, signer)
    assert shown["parts"][1]["verdicts"]["mac"] == viewer.NOT_CHECKED
    assert shown["verdict"] == "fine"


def test_final_record_tells_what_is_left_in_the_new_meters_volume(signer):
    _, image = Stand(signer).bound(3000, 700).visit(card_of(2, *transfer(signer)))
    parts = viewer.describe(image, signer)["parts"]
    assert parts[3]["derived"]["remaining"]["text"] == "2300 (23.00 m³)"
    assert parts[3]["kind"] == meanings.FRAME_KINDS[tools.FINAL][1]


def test_setting_is_told_in_words(signer):
    values = SETTING | {"meter": tools.ANY, "what": tools.SET_CLOCK | tools.SET_GUARDS}
    image = card_of(5, encode.encode_setting(signer, CARD, values))
    fields = viewer.describe(image, signer)["parts"][1]["fields"]
    assert fields["what"]["text"] == "0x5 (clock, guards)"
    assert fields["expires"]["text"] == "never"
    assert fields["meter"]["text"].endswith("(every meter of the region)")
    assert fields["report"]["text"] == "0xff"


def test_final_record_of_an_unreadable_transfer_order_is_judged_by_the_order_for_the_new_meter(signer):
    _, image = Stand(signer).bound(3000).visit(card_of(2, *transfer(signer)))
    torn = image[:0x30] + bytes((image[0x30] ^ 1,)) + image[0x31:]
    card = decode_card(torn, signer)
    assert (card.order.code, card.final.authentic) == (codes.CRC, True)
    both = torn[:0x70] + bytes((torn[0x70] ^ 1,)) + torn[0x71:]
    card = decode_card(both, signer)
    assert (card.final.mac, card.final.authentic) == (None, False), "nothing tells whose transfer it is"


def test_frames_are_those_of_the_portable_codec(signer):
    key = keys.derive(signer.meter_keys(METER, 1)[0], keys.ORDER_KEY)
    out = transfer(signer)[0]
    values = frames.read(tools.TRANSFER, out, 0)
    assert frames.build(tools.TRANSFER, values, tools.TRANSFER_OUT, CARD, REGION, key) == out
