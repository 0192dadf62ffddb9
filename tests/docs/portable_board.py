# A board made of virtual parts, for the loop and the factory program of docs/porting.md. Runs on every target; the
# loop's class and the factory's function come in as arguments, as the document has them.

from gascard import codes, link, service
from gascard.chip import DEFAULT_PSC, Chip
from gascard.codec import unpack
from gascard.frames import build, build_identity, check
from gascard.keys import ORDER_KEY, WRAP_KEY, derive, mask_psc
from gascard.records import (
    CARD_CUSTOMER,
    FORMAT_VERSION,
    IDENTITY_AT,
    MARK,
    ORDER,
    ORDER_AT,
    ORDER_OPENING,
    REPORT,
    REPORT_AT,
    REPORT_DATA,
    SHUT_FAULT,
    size_of,
)
from gasrig.parts import QUARTER, CardSlot, Eeprom, Fram, Panel, ValveMotor, Wheels
from meter import display, events, guards, valve
from meter.layouts import GUARDS
from meter.meter import Meter, Settings

METER = "32060012345678"
REGION = 0xFFFF
CARD = 0x00A1B2C3
KEY = bytes(range(16))
MINUTES = 13762695
REGISTER = 120
LONGEST_SLEEP_MS = 1000
PULSE_MS = 400  # of full flow


class FlakyFram(Fram):
    # Does not answer the first ``refusals`` marks.
    refusals = 0

    def put(self, address, value):
        if self.refusals:
            self.refusals -= 1
            raise OSError(5)
        Fram.put(self, address, value)


class Board:
    # What a port has to supply. ``failing_after`` is the number of turns of the loop before the supply goes.

    def __init__(self, memory, lanes, lane_length, wheels):
        self.memory = memory
        self.key_memory = Fram(128)
        self.motor = ValveMotor(700)
        self.slot = CardSlot()
        self.panel = Panel()
        self.settings = Settings(lanes, lane_length, 2)
        self.wheels = wheels
        self.failing_after = 0
        self.plan = {}  # turn of the loop -> what a person does before it
        self.turns = 0
        self.resets = 0
        self.held_ms = 0
        self.magnet_near = False
        self.sent = b""  # to the service port
        self.answered = b""  # by it
        self.dips = 0  # failures of the supply that it recovers from
        self._reed = None
        self._elapsed_ms = 0
        self._flow_ms = 0

    def on_reeds(self, handler):
        self._reed = handler

    def reed_levels(self):
        return self.wheels.levels

    def minutes(self):
        return MINUTES

    def battery_mv(self):
        return None if self.turns % 60 else 3600

    def magnet(self):
        return self.magnet_near

    def cover_open(self):
        return False

    def port_received(self):
        sent, self.sent = self.sent[:5], self.sent[5:]
        return sent

    def port_send(self, data):
        self.answered += data

    def card_present(self):
        return self.slot.chip is not None

    def key_held_ms(self):
        held_ms, self.held_ms = self.held_ms, 0
        return held_ms

    def supply_failing(self):
        self.turns += 1
        self.plan.get(self.turns, lambda: None)()
        return self.turns > self.failing_after

    def supply_back(self):
        back = self.dips > 0
        if back:
            self.dips -= 1
            self.failing_after += 200
        return back

    def elapsed_ms(self):
        elapsed, self._elapsed_ms = self._elapsed_ms, 0
        return elapsed

    def sleep(self, milliseconds):
        milliseconds = max(1, min(milliseconds, LONGEST_SLEEP_MS)) + self.slot.busy_ms
        self.slot.busy_ms = 0
        self._elapsed_ms += milliseconds
        self.motor.advance(milliseconds)
        if self.motor.flows:
            self._flow_ms += milliseconds
        while self._flow_ms >= PULSE_MS // 4:
            self._flow_ms -= PULSE_MS // 4
            self.wheels.turn(QUARTER)
            self._reed(None)

    def reset(self):
        self.resets += 1


def opening_card():
    order = {"meter": METER, "account": "0000104417", "binding": 1, "replacement": 0, "key_version": 1}
    order.update({"sequence": 1, "bought_total": 1000, "amount": 1000, "correction_total": 0, "pulse_weight": 2})
    order.update({"alarm": 0, "ceiling": 0, "overdraft": 0, "over_flow_seconds": 0, "time": MINUTES, "flags": 0})
    order["psc_mask"] = mask_psc(derive(KEY, WRAP_KEY), CARD, DEFAULT_PSC)
    identity = {"mark": MARK, "format": FORMAT_VERSION, "region": REGION, "kind": CARD_CUSTOMER}
    identity.update({"card": CARD, "issue_batch": 1})
    chip = Chip()
    raw = build_identity(identity)
    chip.main[IDENTITY_AT : IDENTITY_AT + len(raw)] = raw
    raw = build(ORDER, order, ORDER_OPENING, CARD, REGION, derive(KEY, ORDER_KEY))
    chip.main[ORDER_AT : ORDER_AT + len(raw)] = raw
    return chip


def made(make, memory, lanes, lane_length):
    board = Board(memory, lanes, lane_length, Wheels(REGISTER + 25))
    make(board, METER, REGISTER, REGISTER + 25, REGION, 1, KEY, bytes(16))
    return board


def play(loop_class, make, memory, lanes, lane_length):
    # A meter is made, opened by its card, gives gas, loses its supply, and wakes up with the same register.
    board = made(make, memory, lanes, lane_length)
    chip = opening_card()
    board.plan[3] = lambda: board.slot.insert(chip)
    board.plan[200] = board.slot.remove
    board.plan[210] = lambda: setattr(board, "held_ms", 80)
    board.failing_after = 400
    if isinstance(memory, FlakyFram):
        board.plan[150] = lambda: setattr(memory, "refusals", 2)
    loop = loop_class(board)
    loop.run()
    meter = loop.meter
    assert not getattr(memory, "refusals", 0)
    assert meter.last_code == codes.OK, meter.last_code
    assert check(chip.main, REPORT_AT[0], size_of(REPORT_DATA)) == codes.OK
    assert chip.main[REPORT_AT[0] + 1] == REPORT
    turned = board.wheels.pulses - (REGISTER + 25)
    assert turned > 100, turned
    assert meter.register.value == REGISTER + turned, (meter.register.value, turned)
    assert meter.remaining == 1000 - turned
    assert meter.valve.state == valve.SHUT and not board.motor.flows
    assert board.resets == 1 and board.turns == board.failing_after + 1

    board.failing_after = board.turns + 5
    loop = loop_class(board)
    loop.run()
    assert loop.meter.register.value == REGISTER + turned, "nothing lost by the warned cut"
    assert loop.meter.state.values["boots"] == 2
    assert loop.meter.state.values["power_failures"] == 0
    assert board.resets == 2


def play_people(loop_class, make):
    # A dip of the supply, the self-test, a magnet and the service port, all through the document's loop.
    board = made(make, Fram(), 1, 4096)
    opening = opening_card()
    board.plan[3] = lambda: board.slot.insert(opening)
    board.plan[190] = board.slot.remove
    board.failing_after = 200
    board.dips = 1
    seen = []

    def look():
        seen.append((meter.valve.state, board.panel.text, board.panel.pattern))

    board.plan[250] = look  # the supply is back: shut, until the key
    board.plan[251] = lambda: setattr(board, "held_ms", display.SELF_TEST_MS)
    board.plan[252] = look
    board.plan[290] = look  # a key that is held asks for nothing else
    board.plan[291] = lambda: setattr(board, "held_ms", 80)
    board.plan[330] = look
    board.plan[335] = lambda: setattr(board, "magnet_near", True)
    board.plan[375] = look
    board.plan[376] = lambda: setattr(board, "sent", link.Frame(link.READ, service.READ_COUNTERS, 7).encode())
    loop = loop_class(board)
    meter = loop.meter
    limits = {name: 0 for name in GUARDS.names}
    limits.update({"spare": bytes(16), "spare_more": bytes(13), "spare_last": bytes(8), "shut": 1 << guards.MAGNET})
    board.plan[150] = lambda: meter.set_limits(limits)
    loop.run()
    assert seen[0][0] == valve.SHUT, seen
    assert seen[1][1:] == ("88888888", display.BEEP_TEST), seen
    assert seen[2][0] == valve.SHUT, seen
    assert seen[3][0] == valve.OPEN, seen
    assert seen[4][:2] == (valve.SHUT, "E33"), seen
    frames = link.Decoder().feed(board.answered)
    assert [(frame.identifier, frame.serial, frame.control) for frame in frames] == [(service.READ_COUNTERS, 7, 0x81)]
    values = unpack(service.COUNTERS, frames[0].body)
    assert (values["brown_outs"], values["magnet_events"], values["battery_mv"]) == (1, 1, 3600), values
    kinds = [meter.events.read(number)["kind"] for number in range(1, meter.events.number + 1)]
    for kind in (events.BROWN_OUT, events.SELF_TEST):
        assert kinds.count(kind) == 1, kinds
    assert board.resets == 1 and not board.dips


def play_dead_memory(loop_class, make):
    # A memory that takes no mark any more: the meter shuts, the loop goes on, and the next power-up tries again.
    memory = FlakyFram()
    board = made(make, memory, 1, 4096)
    board.slot.insert(opening_card())
    board.plan[150] = lambda: setattr(memory, "refusals", 1000000)
    board.failing_after = 400
    loop = loop_class(board)
    loop.run()
    assert loop.meter.reasons & SHUT_FAULT and loop.meter.valve.state == valve.SHUT
    assert loop.meter.uncounted > 0
    meter = Meter(memory, board.key_memory, board.motor, board.slot, board.panel, board.settings)
    assert meter.boot(MINUTES, 0) == codes.OK
    assert meter.valve.state == valve.SHUT


def play_all(loop_class, make):
    play(loop_class, make, FlakyFram(), 1, 4096)
    play(loop_class, make, Fram(0x1000 + 64), 1, 64)
    play(loop_class, make, Eeprom(), 4, 1024)
    play_people(loop_class, make)
    play_dead_memory(loop_class, make)
    print("played")
