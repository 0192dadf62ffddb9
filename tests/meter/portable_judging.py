# Judging: one row for each rule of meanings.JUDGING_ORDER, and every pair of rules broken at once.

from binascii import unhexlify

from gascard import codes, frames, keys, meanings
from gascard.chip import Chip
from gascard.codec import unpack
from gascard.crc import crc16
from gascard.records import (
    CARD_CUSTOMER,
    CARD_TEST,
    FLAG_PARAMETERS,
    FLAG_REFUND,
    IDENTITY_AT,
    MARK,
    ORDER,
    ORDER_AT,
    ORDER_OPENING,
    ORDER_USER,
    REPORT,
    TOTAL_MAX,
    offset_of,
    size_of,
)
from gasrig.parts import CardSlot, Fram, Panel, ValveMotor
from meter.factory import create
from meter.judging import judge
from meter.layouts import EVENTS_AT, FINAL_RECORD_AT, LOCKOUT_AT, TALLY_AT
from meter.lockout import CARDS, TOKENS_FULL
from meter.meter import Meter, Settings

REGION = 0xFFFF
METER = "00000000000017"
KEY = unhexlify("000102030405060708090a0b0c0d0e0f")
ORDER_KEY = keys.derive(KEY, b"order")
CARD = 77
PSC = b"\x12\x34\x56"
MINUTES = 13000000
LENGTH = 64


def order(**changed):
    """The values of a good purchase for the meter of ``Stand``, which has loaded sequence 3, 5000 pulses."""
    values = {
        "meter": METER,
        "account": "0000000042",
        "binding": 1,
        "replacement": 2,
        "key_version": 1,
        "sequence": 4,
        "bought_total": 6000,
        "amount": 1000,
        "correction_total": 0,
        "pulse_weight": 2,
        "alarm": 100,
        "ceiling": 7000,
        "overdraft": 0,
        "over_flow_seconds": 30,
        "time": MINUTES,
        "psc_mask": keys.mask_psc(keys.derive(KEY, b"wrap"), changed.get("card", CARD), PSC),
        "flags": FLAG_PARAMETERS,
    }
    for name in changed:
        if name in values:
            values[name] = changed[name]
    return values


def card(kind=ORDER_USER, key=ORDER_KEY, number=CARD, **changed):
    """A chip with identity and order. Other names change fields of the order."""
    chip = Chip()
    identity = {"mark": MARK, "format": 1, "region": REGION, "kind": CARD_CUSTOMER, "card": number, "issue_batch": 1}
    chip.main[IDENTITY_AT : IDENTITY_AT + 13] = frames.build_identity(identity)
    changed["card"] = number
    frame = frames.build(ORDER, order(**changed), kind, number, REGION, key)
    chip.main[ORDER_AT : ORDER_AT + len(frame)] = frame
    chip.security[1:4] = PSC
    return chip


class Stand:
    """A meter and its parts; with ``bound`` it has loaded sequence 3, 5000 pulses in all, and burned 100."""

    def __init__(self, bound=True, memory=Fram, lanes=1, length=LENGTH, **opening):
        self.settings = Settings(lanes, length, 2)
        self.memory = memory(TALLY_AT + lanes * length)
        self.key_memory = memory(0x80)
        self.motor = ValveMotor(1000)
        self.slot = CardSlot()
        self.panel = Panel()
        values = {"meter": METER, "region": REGION, "key_version": 1, "key": KEY, "tool_key": b"t" * 16}
        values["register"] = opening.pop("register", 0)
        create(self.memory, self.key_memory, self.settings, values)
        self.boot()
        if bound:
            first = {"kind": ORDER_OPENING, "sequence": 3, "bought_total": 5000}
            first.update(opening)
            self.chip = card(**first)
            assert self.visit(self.chip) == codes.OK
            self.meter.pulses(100)

    def boot(self):
        self.meter = Meter(self.memory, self.key_memory, self.motor, self.slot, self.panel, self.settings)
        return self.meter.boot(MINUTES, 0)

    def pass_time(self, milliseconds):
        while milliseconds > 0:
            step = min(milliseconds, max(1, self.meter.next_ms))
            self.motor.advance(step)
            self.meter.tick(step)
            milliseconds -= step

    def settle(self):
        for _ in range(2000):
            if not (self.meter.session.active or self.meter.valve.moving):
                return
            self.pass_time(max(1, self.meter.next_ms))
        raise ValueError("the meter does not come to rest")

    def visit(self, chip):
        """Put the card in, let the meter come to rest, take it out: the code at the end."""
        self.slot.insert(chip)
        code = self.meter.card_in()
        self.settle()
        if code == codes.OK or code == codes.REPEAT:
            code = code if self.meter.last_code == code else self.meter.last_code
        self.slot.remove()
        self.meter.card_out()
        return code

    def dump(self):
        """All that is stored, but for lockout ring and event log."""
        cells = bytes(self.memory.cells)
        return cells[:LOCKOUT_AT] + cells[0x380:EVENTS_AT] + cells[FINAL_RECORD_AT[0] :] + bytes(self.key_memory.cells)


# --- how to break each rule; several may be broken in one card


def identity_byte(name_at, value):
    def spoil(chip):
        chip.main[IDENTITY_AT + name_at] = value
        crc = crc16(chip.main, IDENTITY_AT, IDENTITY_AT + 11)
        chip.main[IDENTITY_AT + 11] = crc >> 8
        chip.main[IDENTITY_AT + 12] = crc & 0xFF

    return spoil


def mend_crc(chip):
    end = ORDER_AT + 4 + size_of(ORDER) + 8
    crc = crc16(chip.main, ORDER_AT + 1, end)
    chip.main[end], chip.main[end + 1] = crc >> 8, crc & 0xFF


def set_version(chip):
    chip.main[ORDER_AT + 3] = 2
    mend_crc(chip)


def set_start(chip):
    chip.main[ORDER_AT] = 0x67


def spoil_crc(chip):
    chip.main[ORDER_AT + 4 + size_of(ORDER) + 8] ^= 0x10


def set_mark(chip):
    chip.main[IDENTITY_AT] = 0x68


# rule: (what of the order changes, what is done to the finished card, whether the meter must be unbound)
BREAK = {
    codes.NOT_OURS: ({}, set_mark),
    codes.SHAPE: ({}, set_start),
    codes.CRC: ({}, spoil_crc),
    codes.VERSION: ({}, set_version),
    codes.REGION: ({}, identity_byte(3, 0xFE)),
    codes.KIND: ({}, identity_byte(4, CARD_TEST + 1)),
    codes.METER: ({"meter": "00000000000018"}, None),
    codes.ALREADY_BOUND: ({"kind": ORDER_OPENING, "binding": 2}, None),
    codes.BINDING: ({"binding": 3}, None),
    codes.REPLACED: ({"replacement": 1}, None),
    codes.WEIGHT: ({"pulse_weight": 1}, None),
    codes.KEY_VERSION: ({"key_version": 2}, None),
    codes.LOCKED_OUT: ({}, "empty bucket"),
    codes.MAC: ({"key": b"another key....."}, None),
    codes.OLDER: ({"sequence": 2}, None),
    codes.SEQUENCE_CONFLICT: ({"sequence": 3}, None),
    codes.RANGE: ({"correction_total": -8388607, "bought_total": TOTAL_MAX}, None),
    codes.REFUND_TOO_LARGE: ({"flags": FLAG_REFUND, "bought_total": 10}, None),
    codes.CEILING: ({}, "over the ceiling"),
}
# The same for a meter that is not bound, whose good card is an opening card.
BREAK_UNBOUND = {
    codes.NOT_BOUND: ({"kind": ORDER_USER}, None),
    codes.NUMBER_USED_UP: ({}, "last binding"),
    codes.REFUND_TOO_LARGE: ({"flags": FLAG_REFUND, "bought_total": 10, "correction_total": 20}, None),
}
# These speak of a binding, and there is none; those of one that is to be.
BOUND_ONLY = (codes.ALREADY_BOUND, codes.REPLACED, codes.OLDER, codes.SEQUENCE_CONFLICT, codes.CEILING)
UNBOUND_ONLY = (codes.NOT_BOUND, codes.NUMBER_USED_UP)
for _rule in BREAK:
    if _rule not in BOUND_ONLY and _rule not in BREAK_UNBOUND:
        BREAK_UNBOUND[_rule] = BREAK[_rule]
# Rules that cannot be broken by one card at once, and why.
EXCLUSIVE = (
    (codes.ALREADY_BOUND, codes.BINDING),  # a binding is own + 1 or it is not
    (codes.ALREADY_BOUND, codes.REPLACED),  # judged on own + 1, where no replacement counts: the first is the answer
    (codes.OLDER, codes.SEQUENCE_CONFLICT),  # lower or equal
    (codes.RANGE, codes.REFUND_TOO_LARGE),  # too much left, or too little
    (codes.REFUND_TOO_LARGE, codes.CEILING),  # a ceiling is not for refunds
)


def spoilt(rules, breaks):
    """(chip, marks) of a card that breaks all ``rules``."""
    changed = {"kind": ORDER_OPENING} if breaks is BREAK_UNBOUND else {}
    for rule in rules:
        changed.update(breaks[rule][0])
    chip = card(**changed)
    marks = []
    # The frame is mended after its version and before its checksum is spoilt.
    for what in [breaks[rule][1] for rule in rules if rule == codes.VERSION]:
        what(chip)
    for rule in rules:
        what = breaks[rule][1]
        if isinstance(what, str):
            marks.append(what)
        elif what and rule != codes.VERSION:
            what(chip)
    return chip, marks


def prepare(stand, marks):
    meter = stand.meter
    values = meter.account.values
    meter.lockout.tokens[CARDS] = 0 if "empty bucket" in marks else TOKENS_FULL
    values["ceiling"] = meter.remaining - 1 if "over the ceiling" in marks else 7000
    if not meter.account.bound:
        values["binding"] = 255 if "last binding" in marks else 0


def judged(stand, chip):
    meter = stand.meter
    code, identity, values, mac = judge(chip.main, meter.keys.values, meter.account.values, meter.lockout, 2)
    if code == codes.OK:
        code = meter.account.plan(values, identity["card"], mac, meter.register.value)[0]
    return code


def shown(stand, chip):
    """What the meter answers to the card, after checking that it cost its owner and the store nothing."""
    stored = stand.dump()
    image = chip.dump()
    code = stand.visit(chip)
    assert stand.slot.compares == 0, code
    assert chip.dump() == image, code
    assert stand.dump() == stored, code
    assert stand.meter.valve.state != 1
    return code


def test_good_card_is_loaded():
    stand = Stand()
    assert stand.meter.remaining == 4900
    stored = stand.dump()
    chip = card()
    image = chip.dump()
    assert judged(stand, chip) == codes.OK
    assert stand.visit(chip) == codes.OK
    # The same eyes that must see nothing after a bad card do see a good one.
    assert stand.meter.remaining == 5900 and stand.slot.compares == 3
    assert stand.dump() != stored and chip.dump() != image
    assert stand.visit(chip) == codes.REPEAT


def test_every_rule_of_the_order_is_here():
    assert len(BREAK) == len(meanings.JUDGING_ORDER) - len(UNBOUND_ONLY)
    assert len(BREAK_UNBOUND) == len(meanings.JUDGING_ORDER) - len(BOUND_ONLY)
    for rule in meanings.JUDGING_ORDER:
        assert rule in BREAK or rule in BREAK_UNBOUND, rule


def test_each_rule_has_its_code():
    for bound, breaks in ((True, BREAK), (False, BREAK_UNBOUND)):
        stand = Stand(bound)
        for rule in meanings.JUDGING_ORDER:
            if rule not in breaks:
                continue
            chip, marks = spoilt([rule], breaks)
            prepare(stand, marks)
            assert judged(stand, chip) == rule, (bound, rule)
            prepare(stand, marks)
            assert shown(stand, chip) == rule, (bound, rule)
        prepare(stand, ())
        # None of it harmed the customer.
        assert stand.visit(card() if bound else card(kind=ORDER_OPENING)) == codes.OK


def test_first_rule_broken_names_the_answer():
    for bound, breaks in ((True, BREAK), (False, BREAK_UNBOUND)):
        stand = Stand(bound)
        rules = [rule for rule in meanings.JUDGING_ORDER if rule in breaks]
        pairs = 0
        for i in range(len(rules)):
            for j in range(i + 1, len(rules)):
                if (rules[i], rules[j]) in EXCLUSIVE:
                    continue
                chip, marks = spoilt([rules[i], rules[j]], breaks)
                prepare(stand, marks)
                assert judged(stand, chip) == rules[i], (bound, rules[i], rules[j])
                pairs += 1
        exclusive = len([pair for pair in EXCLUSIVE if pair[0] in breaks and pair[1] in breaks])
        assert pairs == len(rules) * (len(rules) - 1) // 2 - exclusive


def test_identity_is_judged_whole_before_the_order():
    stand = Stand()
    chip = card()
    set_start(chip)
    chip.main[IDENTITY_AT + 11] ^= 1
    assert judged(stand, chip) == codes.CRC
    chip = card()
    spoil_crc(chip)
    identity_byte(1, 2)(chip)
    assert judged(stand, chip) == codes.VERSION


def test_malformed_fields_have_their_code():
    for code, changed in (
        (codes.SHAPE, {"flags": 0x10}),
        (codes.SHAPE, {"sequence": 0}),
        (codes.SHAPE, {"binding": 0}),
        (codes.KIND, {"kind": REPORT}),
        (codes.KIND, {"kind": 3}),
        (codes.OK, {}),
    ):
        stand = Stand()
        chip = card(**changed)
        assert judged(stand, chip) == code, changed
    # A decimal field that is none, and a total past its range, in frames that are whole and authentic.
    for name, byte in (("meter", 0x1A), ("account", 0xF0), ("bought_total", 0x06)):
        chip = card()
        at = ORDER_AT + 4
        chip.main[at + offset_of(ORDER, name)] = byte
        data = bytes(chip.main[at : at + size_of(ORDER)])
        mac = keys.frame_mac(ORDER_KEY, CARD, REGION, 1, ORDER_USER, data)
        chip.main[at + size_of(ORDER) : at + size_of(ORDER) + 8] = mac
        mend_crc(chip)
        assert shown(stand, chip) == codes.SHAPE, name


def test_every_bit_flip_of_the_order_is_refused_without_a_password():
    stand = Stand()
    good = card()
    identity = range(IDENTITY_AT * 8, (IDENTITY_AT + 13) * 8, 5)
    frame = range(ORDER_AT * 8, (ORDER_AT + 59) * 8, 3)
    seen = {}
    for bits in (identity, frame):
        for bit in bits:
            chip = Chip()
            chip.restore(good.dump())
            chip.main[bit >> 3] ^= 1 << (bit & 7)
            code = judged(stand, chip)
            assert code < codes.REPEAT, bit
            seen[code] = True
    assert codes.CRC in seen and codes.NOT_OURS in seen and codes.SHAPE in seen
    assert stand.meter.lockout.tokens[CARDS] == TOKENS_FULL  # nor a token


def test_card_of_another_chip_number_is_a_mac_error():
    # The frame of card 77 copied to card 78: whole, addressed to this meter, and still a stranger.
    stand = Stand()
    chip = card()
    identity_byte(8, 78)(chip)
    assert unpack((("card", 0x04),), chip.main, IDENTITY_AT + 5)["card"] == 78
    assert shown(stand, chip) == codes.MAC
    assert stand.meter.lockout.tokens[CARDS] == TOKENS_FULL - 1


def test_opening_order_of_the_own_binding_is_a_purchase():
    stand = Stand()
    chip = card(kind=ORDER_OPENING)
    assert stand.visit(chip) == codes.OK
    assert stand.meter.remaining == 5900 and stand.meter.account.values["binding"] == 1


def test_unbound_meter_at_its_last_binding_takes_no_more():
    stand = Stand(bound=False)
    for own, code in ((254, codes.OK), (255, codes.NUMBER_USED_UP)):
        stand.meter.account.values["binding"] = own
        chip = card(kind=ORDER_OPENING, binding=255)
        assert judged(stand, chip) == code, own
    # The key record is raised first: an order below it is of a binding that was begun and given up.
    stand.meter.account.values["binding"] = 4
    for stored, code in ((4, codes.OK), (5, codes.OK), (6, codes.BINDING)):
        stand.meter.keys.values["binding"] = stored
        assert judged(stand, card(kind=ORDER_OPENING, binding=5)) == code


def test_factory_meter_serves_nobody():
    stand = Stand(bound=False)
    stand.meter.keys.values["state"] = 1
    assert judged(stand, card(kind=ORDER_OPENING)) == codes.REGION


def test_empty_slot_and_strange_chip():
    stand = Stand()
    assert stand.meter.card_in() == codes.NO_CARD
    chip = card()
    chip.main[0] = 0xA3
    assert shown(stand, chip) == codes.NO_CARD
    assert shown(stand, Chip()) == codes.NOT_OURS
    zeros = Chip()
    for i in range(4, 256):
        zeros.main[i] = 0
    assert shown(stand, zeros) == codes.NOT_OURS
