# The company's own cards on a meter: clear, transfer, management, setting, key, test gas (RULES 1).

from binascii import unhexlify

from gascard import codes, frames, keys, tools
from gascard.chip import Chip
from gascard.records import (
    CARD_CLEAR,
    CARD_CUSTOMER,
    CARD_KEY,
    CARD_MANAGEMENT,
    CARD_SETTING,
    CARD_TEST,
    CARD_TRANSFER,
    FLAG_PARAMETERS,
    IDENTITY_AT,
    MARK,
    ORDER,
    ORDER_AT,
    ORDER_OPENING,
    ORDER_USER,
    REPORT,
    REPORT_AT,
    REPORT_DATA,
    REPORT_NUMBER_MAX,
    SHUT_UNBOUND,
    size_of,
)
from gascard.sle4442 import tries_left
from gasrig.parts import CardSlot, Eeprom, Fram, Panel, ValveMotor
from meter import events, valve
from meter.factory import create
from meter.layouts import (
    ACCOUNT_AT,
    BOUND,
    CLOSED,
    FACTORY,
    FINAL_RECORD_AT,
    KEYED,
    KEYS_AT,
    STATE_AT,
    TALLY_AT,
    TRANSFERRED,
)
from meter.meter import Meter, Settings
from meter.tools import Closing

REGION = 0xFFFF
OLD = "00000000000017"
NEW = "00000000000018"
THIRD = "00000000000019"
KEY = {
    OLD: unhexlify("000102030405060708090a0b0c0d0e0f"),
    NEW: unhexlify("101112131415161718191a1b1c1d1e1f"),
    THIRD: unhexlify("202122232425262728292a2b2c2d2e2f"),
}
TOOL_KEY = b"t" * 16
FACTORY_KEY = b"f" * 16
CARD = 77
PSC = b"\x12\x34\x56"
MINUTES = 13000000
LENGTH = 64
TRAVEL_MS = 4000
NO_GUARDS = {name: 0 for name in tools.SETTING.names[9:]}


def chip_of(kind, number=CARD, region=REGION):
    chip = Chip()
    identity = {"mark": MARK, "format": 1, "region": region, "kind": kind, "card": number, "issue_batch": 1}
    chip.main[IDENTITY_AT : IDENTITY_AT + 13] = frames.build_identity(identity)
    chip.security[1:4] = PSC
    return chip


def masked_psc(key, number=CARD):
    return keys.mask_psc(keys.derive(key, keys.WRAP_KEY), number, PSC)


def put(chip, at, layout, values, kind, key, number=CARD, region=REGION):
    frame = frames.build(layout, values, kind, number, region, keys.derive(key, keys.ORDER_KEY))
    chip.main[at : at + len(frame)] = frame
    return chip


def order(meter, key=None, number=CARD, **changed):
    values = {
        "meter": meter,
        "account": "0000000042",
        "binding": 1,
        "replacement": 0,
        "key_version": 1,
        "sequence": 1,
        "bought_total": 1000,
        "amount": 0,
        "correction_total": 0,
        "pulse_weight": 2,
        "alarm": 0,
        "ceiling": 0,
        "overdraft": 50,
        "over_flow_seconds": 0,
        "time": MINUTES,
        "psc_mask": masked_psc(key or KEY[meter], number),
        "flags": FLAG_PARAMETERS,
    }
    values.update(changed)
    return values


def customer(meter=OLD, kind=ORDER_USER, number=CARD, **changed):
    chip = chip_of(CARD_CUSTOMER, number)
    return put(chip, ORDER_AT, ORDER, order(meter, None, number, **changed), kind, KEY[meter], number)


def clear(meter=OLD, key=None, **changed):
    chip = chip_of(CARD_CLEAR)
    return put(chip, ORDER_AT, ORDER, order(meter, **changed), tools.ORDER_CLEAR, key or KEY[meter])


def gas_card(meter=OLD, total=30, **changed):
    chip = chip_of(CARD_TEST)
    values = order(meter, bought_total=total, **changed)
    return put(chip, ORDER_AT, ORDER, values, tools.ORDER_TEST, KEY[meter])


def transfer(old=OLD, new=NEW, binding=1, new_binding=1, most=100000, number=CARD, key=None, **changed):
    """A transfer card: ``changed`` are fields of the order for the new meter."""
    chip = chip_of(CARD_TRANSFER, number)
    plain = keys.derive(KEY[new], tools.TRANSFER_KEY, tools.transfer_context(old, binding, new_binding))
    wrap = keys.derive(KEY[old], keys.WRAP_KEY)
    mask = keys.derive(wrap, tools.TRANSFER_KEY, tools.wrap_context(binding, new, new_binding))
    out = {
        "meter": old,
        "binding": binding,
        "key_version": 1,
        "new_meter": new,
        "new_binding": new_binding,
        "transfer_key": tools.masked(plain, mask),
        "time": MINUTES,
        "psc_mask": masked_psc(KEY[old], number),
    }
    put(chip, tools.TOOL_AT, tools.TRANSFER, out, tools.TRANSFER_OUT, key or KEY[old], number)
    values = order(new, None, number, binding=new_binding, bought_total=most, **changed)
    return put(chip, tools.TRANSFER_IN_AT, ORDER, values, tools.TRANSFER_IN, KEY[new], number)


def management(key=TOOL_KEY, expires=0, version=1):
    values = {"key_version": version, "expires": expires, "time": MINUTES, "psc_mask": masked_psc(key)}
    return put(chip_of(CARD_MANAGEMENT), tools.TOOL_AT, tools.MANAGEMENT, values, tools.MANAGE, key)


def setting(what, number=1, meter=tools.ANY, key=TOOL_KEY, expires=0, version=1, clock=0, index=0, **limits):
    values = dict(NO_GUARDS)
    values.update(limits)
    values.update({"key_version": version, "meter": meter, "service_number": number, "expires": expires})
    values.update({"time": MINUTES, "psc_mask": masked_psc(key), "what": what, "clock": clock, "index": index})
    return put(chip_of(CARD_SETTING), tools.TOOL_AT, tools.SETTING, values, tools.SET, key)


def key_card(meter=OLD, above=FACTORY_KEY, version=1, region=REGION, key=None, tool_key=TOOL_KEY, signed=None):
    wrap = keys.derive(above, keys.WRAP_KEY)
    values = {"meter": meter, "key_version": version, "time": MINUTES, "psc_mask": masked_psc(above)}
    for i, (name, plain) in enumerate((("key", key or KEY[meter]), ("tool_key", tool_key))):
        values[name] = tools.masked(plain, keys.derive(wrap, tools.KEY_WRAP, tools.key_context(region, version, i)))
    chip = chip_of(CARD_KEY, CARD, region)
    return put(chip, tools.TOOL_AT, tools.KEY_BLOCK, values, tools.KEY, signed or above, CARD, region)


class Stand:
    """A meter on the table; ``bought``: bound, with so much, its valve open; ``keyed`` None: without any key at all."""

    def __init__(self, number=OLD, bought=0, burned=0, keyed=True, register=0, test_gas=100, part=Fram):
        self.number = number
        self.settings = Settings(1, LENGTH, 2, test_gas=test_gas)
        self.memory, self.key_memory = part(TALLY_AT + LENGTH), part(0x80)
        self.motor, self.slot, self.panel = ValveMotor(TRAVEL_MS), CardSlot(), Panel()
        values = {"meter": number, "register": register}
        if keyed:
            values.update({"region": REGION, "key_version": 1, "key": KEY[number], "tool_key": TOOL_KEY})
        elif keyed is not None:
            values["factory_key"] = FACTORY_KEY
        create(self.memory, self.key_memory, self.settings, values)
        self.boot()
        if bought:
            assert self.visit(customer(number, ORDER_OPENING, bought_total=bought)) == codes.OK
            assert self.meter.valve.state == valve.OPEN
            self.pass_time(70000)
            self.meter.pulses(burned)

    def boot(self):
        self.meter = Meter(self.memory, self.key_memory, self.motor, self.slot, self.panel, self.settings)
        code = self.meter.boot(MINUTES, 0)
        self.settle()
        return code

    def pass_time(self, milliseconds):
        while milliseconds > 0:
            step = min(milliseconds, max(1, self.meter.next_ms))
            self.motor.advance(step)
            self.meter.tick(step)
            milliseconds -= step

    def busy(self):
        return self.meter.session.active or self.meter.valve.moving

    def settle(self):
        for _ in range(20000):
            if not self.busy():
                return
            self.pass_time(max(1, self.meter.next_ms))
        raise ValueError("the meter does not come to rest")

    def insert(self, chip):
        self.slot.insert(chip)
        return self.meter.card_in()

    def remove(self):
        self.slot.remove()
        self.meter.card_out()

    def visit(self, chip):
        code = self.insert(chip)
        self.settle()
        self.remove()
        last = self.meter.last_code
        return last if code in (codes.OK, codes.REPEAT) else code

    @property
    def account(self):
        return self.meter.account.values

    def dump(self):
        return bytes(self.memory.cells), bytes(self.key_memory.cells)


def final(chip, key):
    """The final record on a card, if it was made with the key below ``key``."""
    at = tools.FINAL_AT
    assert frames.check(chip.main, at, size_of(REPORT_DATA)) == codes.OK
    assert chip.main[at + 1] == tools.FINAL
    assert frames.mac_right(chip.main, at, size_of(REPORT_DATA), CARD, REGION, keys.derive(key, keys.REPORT_KEY))
    return frames.read(REPORT_DATA, chip.main, at)


def report(chip, slot, key, region=REGION):
    at = REPORT_AT[slot]
    assert frames.check(chip.main, at, size_of(REPORT_DATA)) == codes.OK
    assert chip.main[at + 1] == REPORT
    assert frames.mac_right(chip.main, at, size_of(REPORT_DATA), CARD, region, keys.derive(key, keys.REPORT_KEY))
    return frames.read(REPORT_DATA, chip.main, at)


def left(values):
    return values["bought_total"] - values["used"] - values["correction_total"]


# --- clear


def test_clear_ends_the_binding_once_the_valve_has_stopped():
    stand = Stand(bought=1000, burned=100)
    chip = clear()
    assert stand.insert(chip) == codes.OK
    assert isinstance(stand.meter.session, Closing) and stand.meter.valve.moving
    stand.pass_time(TRAVEL_MS // 2)
    assert stand.account["state"] == BOUND
    stand.meter.pulse()  # what flows while it shuts is debited
    stand.settle()
    stand.remove()
    assert stand.account["state"] == CLOSED and stand.meter.reasons == SHUT_UNBOUND
    told = final(chip, KEY[OLD])
    assert (told["bought_total"], told["used"], told["binding"]) == (1000, 101, 1)
    assert stand.meter.valve.state == valve.SHUT
    # The same card gets the same record, on the same card and on one that was written for the lost one.
    image = chip.dump()
    assert stand.visit(chip) == codes.REPEAT and chip.dump() == image
    stand.boot()
    again = clear()
    assert stand.visit(again) == codes.REPEAT
    assert final(again, KEY[OLD]) == told


def test_clear_leaves_the_next_binding_and_no_earlier_one():
    stand = Stand(bought=1000, burned=100)
    assert stand.visit(clear()) == codes.OK
    assert stand.visit(customer()) == codes.NOT_BOUND
    assert stand.visit(customer(kind=ORDER_OPENING)) == codes.BINDING
    assert stand.visit(customer(kind=ORDER_OPENING, binding=2, bought_total=70)) == codes.OK
    assert stand.meter.remaining == 70
    assert stand.visit(clear()) == codes.BINDING
    assert stand.visit(clear(binding=2)) == codes.OK


def test_clear_card_pulled_before_the_valve_stopped_has_changed_nothing():
    stand = Stand(bought=1000, burned=100)
    stored = stand.dump()[0][0x80:0x100]
    chip = clear()
    stand.insert(chip)
    stand.pass_time(TRAVEL_MS // 2)
    stand.remove()
    assert stand.meter.session.active is False and stand.meter.reasons == 0
    stand.settle()
    assert stand.dump()[0][0x80:0x100] == stored
    assert chip.main[tools.FINAL_AT] == 0xFF
    stand.meter.key()
    stand.settle()
    assert stand.meter.valve.state == valve.OPEN and stand.meter.remaining == 900
    stand.meter.pulses(10)
    assert stand.visit(chip) == codes.OK
    assert left(final(chip, KEY[OLD])) == 890


def test_power_going_while_the_valve_travels_changes_nothing():
    for warned in (False, True):
        stand = Stand(bought=1000, burned=100)
        stand.insert(clear())
        stand.pass_time(TRAVEL_MS // 2)
        if warned:
            stand.meter.power_failing()
        stand.boot()
        assert stand.account["state"] == BOUND and stand.meter.remaining == 900


def test_switch_that_bounces_begins_anew():
    stand = Stand(bought=1000)
    chip = clear()
    assert stand.insert(chip) == codes.OK
    stand.pass_time(1000)
    assert stand.meter.card_in() == codes.OK
    stand.settle()
    assert stand.account["state"] == CLOSED
    final(chip, KEY[OLD])


def test_binding_ends_on_a_memory_whose_writes_stay_in_their_page():
    stand = Stand(bought=1000, burned=100, part=Eeprom)
    chip = clear()
    assert stand.visit(chip) == codes.OK
    assert stand.account["state"] == CLOSED
    for at in FINAL_RECORD_AT:
        stand.memory.cells[at ^ 0x80] ^= 1  # of two copies either will do
        again = clear()
        assert stand.visit(again) == codes.REPEAT and final(again, KEY[OLD]) == final(chip, KEY[OLD])
        stand.memory.cells[at ^ 0x80] ^= 1


def test_core_may_sleep_while_a_binding_that_ends_waits_for_the_valve():
    stand = Stand(bought=1000)
    stand.insert(clear())
    assert stand.meter.next_ms == valve.POLL_MS
    for _ in range(TRAVEL_MS // valve.POLL_MS):
        assert stand.account["state"] == BOUND
        stand.pass_time(valve.POLL_MS)
    assert stand.account["state"] == CLOSED and stand.meter.next_ms == 0


# --- what a cut has left in one copy only stands in both before the card says it


class Stubborn(Fram):
    """A memory that refuses one place: what has been written up to there is what a cut there leaves."""

    refused = -1

    def write(self, address, data):
        if address == self.refused:
            raise OSError(5)
        super().write(address, data)


def newest(memory, places):
    """Which of two copies is the newer entry; the second to be written over when both are."""
    first, second = (memory.cells[at] << 8 | memory.cells[at + 1] for at in places)
    return places[0] if first > second else places[1]


def cut_between_copies(stand, chip, memory, places):
    """The card comes and the power goes between the two copies of an entry, and comes back."""
    memory.refused = newest(memory, places)
    assert stand.visit(chip) == codes.FAULT or stand.meter.reasons
    memory.refused = -1
    chip.power_off()
    stand.boot()


def test_final_record_goes_on_the_card_when_both_copies_say_that_it_is_over():
    for make, state in ((clear, CLOSED), (transfer, TRANSFERRED)):
        stand = Stand(bought=1000, burned=100, part=Stubborn)
        chip = make()
        cut_between_copies(stand, chip, stand.memory, ACCOUNT_AT)
        assert stand.account["state"] == state and chip.main[tools.FINAL_AT] == 0xFF
        assert stand.visit(chip) == codes.REPEAT
        # With the newest copy gone, as memories do, it is still over.
        stand.memory.cells[newest(stand.memory, ACCOUNT_AT) + 8] ^= 1
        stand.boot()
        assert stand.account["state"] == state, make


def test_key_card_shown_again_leaves_no_key_that_is_over():
    for keyed, above in ((True, KEY[OLD]), (False, FACTORY_KEY)):
        stand = Stand(keyed=keyed, part=Stubborn)
        chip = key_card(above=above, version=2, key=b"k" * 16)
        cut_between_copies(stand, chip, stand.key_memory, KEYS_AT)
        assert stand.meter.keys.values["key"] == b"k" * 16
        assert above in bytes(stand.key_memory.cells)
        assert stand.visit(chip) == codes.KEY_VERSION
        assert above not in bytes(stand.key_memory.cells)


# --- what tool cards are refused for: (rule, meter as it stands, card)

REFUSED = (
    ("clear of another meter", codes.METER, lambda: Stand(bought=100), lambda: clear(NEW)),
    ("clear of another binding", codes.BINDING, lambda: Stand(bought=100), lambda: clear(binding=2)),
    ("clear of no binding", codes.NOT_BOUND, Stand, clear),
    ("clear by another key", codes.MAC, lambda: Stand(bought=100), lambda: clear(key=KEY[NEW])),
    ("clear by another key version", codes.KEY_VERSION, lambda: Stand(bought=100), lambda: clear(key_version=2)),
    ("transfer to itself", codes.SHAPE, lambda: Stand(bought=100), lambda: transfer(OLD, OLD)),
    ("transfer of strangers", codes.METER, lambda: Stand(THIRD), transfer),
    ("transfer of no binding", codes.NOT_BOUND, Stand, transfer),
    ("transfer by another key", codes.MAC, lambda: Stand(bought=100), lambda: transfer(key=KEY[NEW])),
    ("transfer in before out", codes.NO_FINAL_RECORD, lambda: Stand(NEW), transfer),
    ("transfer into a bound meter", codes.ALREADY_BOUND, lambda: Stand(NEW, 100), lambda: transfer(new_binding=2)),
    ("transfer into a later binding", codes.BINDING, lambda: Stand(NEW), lambda: transfer(new_binding=2)),
    ("transfer of another weight", codes.WEIGHT, lambda: Stand(NEW), lambda: transfer(pulse_weight=1)),
    ("management by another key", codes.MAC, Stand, lambda: management(key=b"u" * 16)),
    ("management over time", codes.EXPIRED, Stand, lambda: management(expires=MINUTES - 1)),
    ("management of another version", codes.KEY_VERSION, Stand, lambda: management(version=2)),
    ("setting by another key", codes.MAC, Stand, lambda: setting(tools.SET_CLOCK, key=KEY[OLD])),
    ("setting over time", codes.EXPIRED, Stand, lambda: setting(tools.SET_CLOCK, expires=1)),
    ("setting for another meter", codes.METER, Stand, lambda: setting(tools.SET_CLOCK, meter=NEW)),
    ("setting nothing", codes.SHAPE, Stand, lambda: setting(0)),
    ("setting what there is not", codes.SHAPE, Stand, lambda: setting(8)),
    ("index of any meter", codes.SHAPE, Stand, lambda: setting(tools.SET_INDEX)),
    ("guards of a bound meter", codes.NOT_UNBOUND, lambda: Stand(bought=9), lambda: setting(tools.SET_GUARDS)),
    ("index of a bound meter", codes.NOT_UNBOUND, lambda: Stand(bought=9), lambda: setting(tools.SET_INDEX, 1, OLD)),
    ("index beyond wheels", codes.RANGE, Stand, lambda: setting(tools.SET_INDEX, 1, OLD, index=10000000)),
    ("keys for another meter", codes.METER, lambda: Stand(keyed=False), lambda: key_card(NEW)),
    ("keys by another factory", codes.MAC, lambda: Stand(keyed=False), lambda: key_card(signed=b"g" * 16)),
    ("keys of the version there is", codes.KEY_VERSION, Stand, lambda: key_card(above=KEY[OLD])),
    ("keys of another region", codes.REGION, Stand, lambda: key_card(version=2, region=0x21)),
    ("test gas of a bound meter", codes.NOT_UNBOUND, lambda: Stand(bought=9), gas_card),
    ("test gas of another meter", codes.METER, Stand, lambda: gas_card(NEW)),
    ("more test gas than a life has", codes.TEST_GAS, Stand, lambda: gas_card(total=101)),
    ("keys for a meter without any", codes.REGION, lambda: Stand(keyed=None), lambda: key_card(above=bytes(16))),
    ("anything before the keys", codes.REGION, lambda: Stand(keyed=False), management),
)


def test_tool_cards_are_refused_with_their_code_and_nothing_is_written():
    for name, rule, make, card in REFUSED:
        stand = make()
        chip = card()
        stored, image = stand.dump(), chip.dump()
        assert stand.visit(chip) == rule, name
        assert chip.dump() == image, name
        now = stand.dump()
        assert now[1] == stored[1], name
        # All but the lockout ring and the log.
        kept = [bytes(a[:0x180] + a[0x380:0x400] + a[0xF00:]) for a in (stored[0], now[0])]
        assert kept[0] == kept[1], name


def test_tool_card_with_one_try_left_is_refused():
    for make, card in (
        (lambda: Stand(bought=100), clear),
        (lambda: Stand(bought=100), transfer),
        (Stand, management),
        (Stand, lambda: setting(tools.SET_CLOCK)),
        (lambda: Stand(keyed=False), key_card),
        (Stand, gas_card),
    ):
        stand, chip = make(), card()
        chip.security[0] = 1
        stored = stand.dump()
        assert stand.visit(chip) == codes.ONE_TRY_LEFT
        assert tries_left(chip.security[0]) == 1
        assert stand.dump()[0][:0x100] == stored[0][:0x100] and stand.dump()[1] == stored[1]


def test_another_chip_behind_genuine_data_is_refused():
    stand, chip = Stand(bought=100), clear()
    chip.security[1:4] = b"xyz"
    assert stand.visit(chip) == codes.PASSWORD_REFUSED
    assert stand.account["state"] == BOUND


def test_frame_of_another_kind_is_refused():
    stand = Stand(bought=100)
    chip = chip_of(CARD_CLEAR)
    put(chip, ORDER_AT, ORDER, order(OLD, sequence=2), ORDER_USER, KEY[OLD])
    assert stand.visit(chip) == codes.KIND
    chip = chip_of(CARD_CUSTOMER)
    put(chip, ORDER_AT, ORDER, order(OLD, sequence=2), tools.ORDER_CLEAR, KEY[OLD])
    assert stand.visit(chip) == codes.KIND


# --- transfer


def test_transfer_moves_what_is_left():
    for bought, burned, most, credited, owed in (
        (1000, 100, 100000, 900, 0),
        (1000, 1000, 100000, 0, 0),
        (1000, 1030, 100000, 0, 30),  # below zero: the overdraft comes along
        (1000, 100, 500, 500, 0),  # never more than the hall has released
    ):
        old, new = Stand(OLD, bought, burned), Stand(NEW)
        chip = transfer(most=most)
        assert new.visit(chip) == codes.NO_FINAL_RECORD
        assert old.visit(chip) == codes.OK
        assert old.account["state"] == TRANSFERRED
        plain = keys.derive(KEY[NEW], tools.TRANSFER_KEY, tools.transfer_context(OLD, 1, 1))
        assert left(final(chip, plain)) == bought - burned
        image = bytes(chip.main)
        assert new.visit(chip) == codes.OK
        assert bytes(chip.main) == image
        assert (new.account["bought_total"], new.account["correction_total"]) == (credited, owed)
        assert new.meter.remaining == credited - owed
        assert new.visit(chip) == codes.REPEAT
        assert old.visit(chip) == codes.REPEAT
        assert new.meter.remaining == credited - owed
        assert new.visit(customer(NEW, sequence=2, bought_total=credited + 50, correction_total=owed)) == codes.OK
        assert new.meter.remaining == credited - owed + 50


def test_account_whose_second_copy_a_cut_has_missed_is_mended_before_the_card_speaks():
    # RULES 1, lowering: both copies, each read back, before the card is written.
    old, new = Stand(OLD, 1000, 100), Stand(NEW)
    earlier = old.memory.cells[0x80:0x100], new.memory.cells[0x80:0x100]
    chip = transfer()
    assert old.visit(chip) == codes.OK and new.visit(chip) == codes.OK
    for stand, before in ((old, earlier[0]), (new, earlier[1])):
        # Of the two copies the one with the lower entry is as it was.
        cells = stand.memory.cells
        first = 0x80 if (cells[0xC0] << 8 | cells[0xC1]) > (cells[0x80] << 8 | cells[0x81]) else 0xC0
        cells[first : first + 64] = before[first - 0x80 : first - 0x40]
        stand.boot()
        assert stand.visit(chip) == codes.REPEAT
        other = 0x140 - first
        cells[other] ^= 0xFF
        stand.boot()
        assert stand.account["state"] == (TRANSFERRED if stand is old else BOUND)
    assert old.meter.remaining == 0 and new.meter.remaining == 900


def test_transfer_card_that_was_lost_is_written_anew():
    old, new = Stand(OLD, 1000, 100), Stand(NEW)
    assert old.visit(transfer(number=5)) == codes.OK
    chip = transfer()
    assert old.visit(chip) == codes.REPEAT
    assert new.visit(chip) == codes.OK and new.meter.remaining == 900
    # The lost one turns up: it has the final record too, and is of the same binding.
    stale = transfer(number=5)
    assert old.visit(stale) == codes.REPEAT
    assert new.visit(stale) == codes.BINDING
    assert new.meter.remaining == 900


def test_transfer_to_a_second_heir_is_refused():
    old = Stand(OLD, 1000, 100)
    assert old.visit(transfer()) == codes.OK
    chip = transfer(new_binding=2)
    assert old.visit(chip) == codes.SEQUENCE_CONFLICT
    assert chip.main[tools.FINAL_AT] == 0xFF
    assert old.visit(clear()) == codes.NOT_BOUND


def test_final_record_of_another_transfer_is_refused():
    # All that was ever on transfer cards may be put together anew.
    old, new = Stand(OLD, 1000, 100), Stand(NEW)
    first = transfer()
    assert old.visit(first) == codes.OK and new.visit(first) == codes.OK
    assert new.visit(clear(NEW)) == codes.OK
    second = transfer(new_binding=2)
    second.main[tools.FINAL_AT : tools.FINAL_AT + 74] = first.main[tools.FINAL_AT : tools.FINAL_AT + 74]
    tokens = new.meter.lockout.tokens[0]
    assert new.visit(second) == codes.MAC
    assert new.meter.lockout.tokens[0] == tokens - 1
    # Nor does a clear's serve, nor one that somebody wrote.
    cleared = Stand(OLD, 1000, 100)
    card = clear()
    assert cleared.visit(card) == codes.OK
    third = transfer(new_binding=2)
    third.main[tools.FINAL_AT : tools.FINAL_AT + 74] = card.main[tools.FINAL_AT : tools.FINAL_AT + 74]
    assert new.visit(third) == codes.MAC


def test_transfer_card_pulled_at_every_byte_of_the_final_record_converges():
    for pulled in range(75):
        old, new = Stand(OLD, 1000, 100), Stand(NEW)
        chip = transfer()
        assert old.insert(chip) == codes.OK
        while isinstance(old.meter.session, Closing):
            old.pass_time(max(1, old.meter.next_ms))
        for _ in range(pulled):
            if old.meter.session.active:
                old.meter.tick(1)
        old.remove()
        assert old.meter.remaining == 0
        shown = new.visit(chip)
        assert shown in (codes.OK, codes.NO_FINAL_RECORD)
        assert old.visit(chip) == codes.REPEAT
        assert new.visit(chip) == (codes.OK if shown else codes.REPEAT)
        assert new.meter.remaining == 900


def test_final_record_whose_copies_are_lost_is_told():
    old = Stand(OLD, 1000, 100)
    assert old.visit(transfer()) == codes.OK
    old.memory.cells[FINAL_RECORD_AT[0]] ^= 1
    assert old.visit(transfer()) == codes.REPEAT
    old.memory.cells[FINAL_RECORD_AT[1]] ^= 1
    assert old.visit(transfer()) == codes.STORE_LOST


def test_report_numbers_used_up_end_no_binding():
    old = Stand(OLD, 1000, 100)
    old.meter.state.values["report_number"] = REPORT_NUMBER_MAX
    assert old.visit(clear()) == codes.NUMBER_USED_UP
    assert old.account["state"] == BOUND


# --- the tool key


def test_tool_key_opens_nothing_that_carries_gas():
    # Whoever has it makes management and setting cards; everything else wants the meter's own key.
    for make, card, at, layout, kind in (
        (lambda: Stand(bought=100), clear, ORDER_AT, ORDER, tools.ORDER_CLEAR),
        (lambda: Stand(bought=100), transfer, tools.TOOL_AT, tools.TRANSFER, tools.TRANSFER_OUT),
        (Stand, gas_card, ORDER_AT, ORDER, tools.ORDER_TEST),
        (Stand, lambda: key_card(above=KEY[OLD], version=2), tools.TOOL_AT, tools.KEY_BLOCK, tools.KEY),
        (lambda: Stand(bought=100), lambda: customer(sequence=2), ORDER_AT, ORDER, ORDER_USER),
    ):
        stand, chip = make(), card()
        before = stand.dump()[0][0x80:0x100], bytes(stand.key_memory.cells)
        put(chip, at, layout, frames.read(layout, chip.main, at), kind, TOOL_KEY)
        assert stand.visit(chip) == codes.MAC, kind
        assert (stand.dump()[0][0x80:0x100], bytes(stand.key_memory.cells)) == before
    old, new, chip = Stand(bought=100), Stand(NEW), transfer()
    assert old.visit(chip) == codes.OK
    at = tools.TRANSFER_IN_AT
    put(chip, at, ORDER, frames.read(ORDER, chip.main, at), tools.TRANSFER_IN, TOOL_KEY)
    assert new.visit(chip) == codes.MAC and not new.meter.account.bound


# --- management


def test_management_card_takes_two_reports_and_no_third():
    chip = management()
    first, second = Stand(OLD, 1000, 100), Stand(NEW)
    assert first.visit(chip) == codes.OK
    assert second.visit(chip) == codes.OK
    assert report(chip, 0, KEY[OLD])["used"] == 100
    assert report(chip, 1, KEY[NEW])["binding"] == 0
    image = chip.dump()
    for stand in (first, second):
        assert stand.visit(chip) == codes.CARD_FULL
    assert chip.dump() == image
    # One was read and made blank by the hall.
    chip.main[REPORT_AT[0] : REPORT_AT[0] + 74] = b"\xff" * 74
    assert second.visit(chip) == codes.OK
    assert report(chip, 0, KEY[NEW])["report_number"] == 2
    assert bytes(chip.main[REPORT_AT[1] :]) == image[REPORT_AT[1] : 256]


def test_management_report_cut_short_is_written_over():
    chip, stand = management(), Stand(OLD, 1000, 100)
    stand.insert(chip)
    for _ in range(20):
        stand.meter.tick(1)
    stand.remove()
    assert chip.main[REPORT_AT[0]] == 0x68
    assert stand.visit(chip) == codes.OK
    report(chip, 0, KEY[OLD])
    assert chip.main[REPORT_AT[1]] == 0xFF


def test_management_card_opens_no_valve():
    stand = Stand(OLD, 1000, 100)
    stand.boot()
    assert stand.visit(management()) == codes.OK
    stand.pass_time(10000)
    assert stand.meter.valve.state == valve.SHUT


# --- setting


def test_setting_card_sets_what_it_says():
    stand = Stand(register=40)
    what = tools.SET_CLOCK | tools.SET_INDEX | tools.SET_GUARDS
    chip = setting(what, 1, OLD, clock=MINUTES + 5, index=123456, shut=2, small_flow_hours=7, battery_low=160)
    assert stand.visit(chip) == codes.OK
    meter = stand.meter
    assert meter.minutes == meter.clock_set == MINUTES + 5
    assert meter.shown_index == 123456
    assert (meter.limits.values["shut"], meter.limits.values["small_flow_hours"]) == (2, 7)
    assert report(chip, 1, KEY[OLD])["index"] == 123456
    stand.boot()
    assert stand.meter.shown_index == 123456 and stand.meter.limits.values["battery_low"] == 160


def test_setting_card_is_taken_once_and_no_older_one():
    stand = Stand()
    assert stand.visit(setting(tools.SET_GUARDS, 5, shut=1)) == codes.OK
    assert stand.visit(setting(tools.SET_GUARDS, 4, shut=2)) == codes.OLDER
    assert stand.visit(setting(tools.SET_GUARDS, 5, shut=2)) == codes.REPEAT
    assert stand.meter.limits.values["shut"] == 1
    assert stand.visit(setting(tools.SET_GUARDS, 6, shut=2)) == codes.OK
    assert stand.meter.limits.values["shut"] == 2


def test_clock_is_set_on_a_bound_meter_too():
    stand = Stand(bought=100)
    assert stand.visit(setting(tools.SET_CLOCK, 1, clock=MINUTES + 9)) == codes.OK
    assert stand.meter.minutes == MINUTES + 9


# --- keys


def test_key_card_takes_a_meter_from_factory_to_region():
    stand = Stand(keyed=False)
    assert stand.account["state"] == FACTORY
    chip = key_card(region=0x21)
    assert stand.visit(chip) == codes.OK
    values = stand.meter.keys.values
    assert (values["region"], values["key_version"], values["state"]) == (0x21, 1, KEYED)
    assert values["key"] == KEY[OLD] and values["tool_key"] == TOOL_KEY
    assert stand.account["state"] == KEYED
    report(chip, 1, KEY[OLD], 0x21)
    assert FACTORY_KEY not in bytes(stand.key_memory.cells)
    assert stand.visit(chip) == codes.KEY_VERSION
    stand.boot()
    assert stand.meter.keys.values["key"] == KEY[OLD]


def test_key_versions_only_rise_and_the_account_goes_on():
    stand = Stand(bought=1000, burned=100)
    later = b"k" * 16
    assert stand.visit(key_card(above=KEY[OLD], version=3, key=later)) == codes.OK
    assert stand.visit(key_card(above=later, version=2)) == codes.KEY_VERSION
    assert KEY[OLD] not in bytes(stand.key_memory.cells)
    assert stand.meter.remaining == 900
    assert stand.visit(customer(sequence=2)) == codes.KEY_VERSION
    values = order(OLD, later, sequence=2, bought_total=1200, key_version=3)
    chip = put(chip_of(CARD_CUSTOMER), ORDER_AT, ORDER, values, ORDER_USER, later)
    assert stand.visit(chip) == codes.OK and stand.meter.remaining == 1100


# --- test gas


def test_test_gas_flows_until_it_is_used_up():
    stand = Stand(register=500)
    assert stand.visit(gas_card(total=30)) == codes.OK
    assert stand.meter.valve.state == valve.OPEN
    stand.pass_time(70000)
    stand.meter.pulses(29)
    stand.settle()
    assert stand.meter.valve.state == valve.OPEN
    stand.meter.pulse()
    stand.settle()
    assert stand.meter.valve.state == valve.SHUT and stand.meter.reasons == SHUT_UNBOUND
    assert stand.visit(gas_card(total=30)) == codes.REPEAT
    assert stand.visit(gas_card(total=29)) == codes.OLDER
    assert stand.meter.reasons == SHUT_UNBOUND
    assert stand.visit(gas_card(total=50)) == codes.OK
    stand.boot()
    stand.meter.key()
    stand.settle()
    stand.meter.pulses(20)
    stand.settle()
    assert stand.meter.valve.state == valve.SHUT and stand.meter.register.value == 550


def test_test_gas_is_dropped_at_binding_and_does_not_come_back():
    stand = Stand()
    assert stand.visit(gas_card(total=100)) == codes.OK
    stand.meter.pulses(10)
    assert stand.visit(customer(kind=ORDER_OPENING, bought_total=40)) == codes.OK
    assert stand.meter.remaining == 40
    stand.meter.pulses(5)
    assert stand.visit(clear()) == codes.OK
    assert stand.meter.reasons == SHUT_UNBOUND
    assert stand.visit(gas_card(total=100)) == codes.NOT_UNBOUND
    stand.boot()
    stand.meter.key()
    stand.settle()
    assert stand.meter.valve.state == valve.SHUT


def test_test_gas_beyond_the_end_is_owed():
    # What passes while the valve shuts: a life's test gas is no more for being given in many small cards.
    stand = Stand(register=500)
    assert stand.visit(gas_card(total=30)) == codes.OK
    stand.meter.pulses(33)
    stand.settle()
    assert stand.visit(gas_card(total=32)) == codes.OK
    assert stand.meter.valve.state == valve.SHUT
    assert stand.visit(gas_card(total=40)) == codes.OK
    stand.meter.pulses(7)
    stand.settle()
    assert stand.meter.valve.state == valve.SHUT and stand.meter.register.value == 540


def test_test_gas_does_not_come_back_with_an_older_copy():
    stand = Stand()
    assert stand.visit(gas_card(total=100)) == codes.OK
    stand.meter.pulses(10)
    granted = bytes(stand.memory.cells[STATE_AT[0] : STATE_AT[1] + 64])
    assert stand.visit(customer(kind=ORDER_OPENING, bought_total=40)) == codes.OK
    assert stand.visit(clear()) == codes.OK
    # Whatever is left of the state that says so, the account knows better.
    stand.memory.cells[STATE_AT[0] : STATE_AT[1] + 64] = granted
    stand.boot()
    stand.meter.key()
    stand.settle()
    assert stand.meter.valve.state == valve.SHUT and stand.meter.reasons == SHUT_UNBOUND


# --- the log


def test_log_tells_of_them():
    stand = Stand(keyed=False)
    assert stand.visit(key_card()) == codes.OK
    assert stand.visit(gas_card(total=30)) == codes.OK
    assert stand.visit(setting(tools.SET_CLOCK)) == codes.OK
    assert stand.visit(customer(kind=ORDER_OPENING)) == codes.OK
    assert stand.visit(clear()) == codes.OK
    found = {}
    for number in range(1, stand.meter.events.number + 1):
        entry = stand.meter.events.read(number)
        found[entry["kind"]] = entry["detail"]
    assert found[events.KEYED] == 1 and found[events.TEST_GAS] == 30
    assert found[events.SET] == tools.SET_CLOCK and found[events.ENDED] == 1
