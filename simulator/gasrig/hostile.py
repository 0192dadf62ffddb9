"""What a stranger may hand to a meter: one function a decoder, each fed any bytes at all.

Portable: the same text runs on the virtual machines and on CPython. ``feed`` decides whether the outcome is one
the decoder documents (a code, a value, RecordError, None, False) and gives it as an int or a str that is the same
on every target; anything else is raised. Nothing is timed: that no loop is without a bound is seen by counting
what goes over the parts. Memory and slot count their calls and end what passes its named bound.

Who makes such bytes, and the hall's own decoders, is ``gasrig.fuzz``'s business.
"""

from binascii import crc32, hexlify, unhexlify

from gascard import codes, frames, link, records, tools
from gascard.chip import DUMP_SIZE, Chip
from gascard.codec import RecordError, pack_into, unpack
from gascard.crc import crc16
from gascard.keys import ORDER_KEY, WRAP_KEY, derive, frame_mac, mask_psc
from gascard.records import (
    CARD_CLEAR,
    CARD_CUSTOMER,
    CARD_KEY,
    CARD_MANAGEMENT,
    CARD_SETTING,
    CARD_TEST,
    CARD_TRANSFER,
    FLAG_PARAMETERS,
    FLAG_REFUND,
    FORMAT_VERSION,
    IDENTITY,
    IDENTITY_AT,
    IMAGE_SIZE,
    MARK,
    ORDER,
    ORDER_AT,
    ORDER_OPENING,
    ORDER_USER,
    REPORT_AT,
    REPORT_DATA,
    SPARE_AT,
    TOTAL_MAX,
    Layout,
    size_of,
)
from gascard.sle4442 import ATR
from gasrig.parts import CardSlot, Panel, ValveMotor
from meter import layouts
from meter.factory import create
from meter.judging import judge
from meter.layouts import (
    ACCOUNT_AT,
    BOUND,
    CHECKPOINT,
    CHECKPOINT_AT,
    COPY_SIZE,
    EVENT,
    EVENT_PLACES,
    EVENTS_AT,
    FACTORY,
    KEYED,
    KEYS_AT,
    LOCKOUT,
    LOCKOUT_AT,
    LOCKOUT_PLACES,
    LOCKOUT_STRIDE,
    STATE_AT,
    TALLY_AT,
)
from meter.lockout import CARDS, TOKENS_FULL, Lockout
from meter.meter import Meter, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

# The meter all this is shown to. Its key hangs below a region root, so that the hall can judge the same cards.
ROOT = bytes(range(32))
REGION = 0xFFFF
METER = "00000000000017"
KEY_VERSION = 1
KEY = derive(ROOT, b"meter", b"\xff\xff" + unhexlify(METER) + bytes((KEY_VERSION,)))
TOOL_KEY = derive(ROOT, b"tool", b"\xff\xff" + bytes((KEY_VERSION,)))
CARD = 77
PSC = b"\x12\x34\x56"
MINUTES = 13000000
PULSE_WEIGHT = 2
REGISTER = 1000  # what the meter has counted before its first card
SEQUENCE = 3  # of the order that bound it
BOUGHT = 5000

LANE_LENGTHS = {1: 192, 4: 64}  # by number of lanes: one lane long enough for a hole beyond what a write covers
VISITS_MOST = 3  # cards of one input
POLL_MS = 50

# Bounds, in calls of a part. A write is tried three times and read back each time.
_TRIES = 3
_ENTRY = _TRIES  # writes, and reads, that store one record once
SLOT_READS = 3 + 1  # main memory, the error counter twice, the report read back
SLOT_WRITES = 5 + frames.frame_size(REPORT_DATA)  # the password procedure, then a report that differs in each byte
STEPS_MOST = frames.frame_size(REPORT_DATA) + 1
VALVE_STEPS = 3 * 10000 // 50 + 10  # three attempts of a motor that never arrives, before a binding ends
JUDGE_CALLS = _ENTRY  # the lockout's one entry
# Of a visit: a token; keys, account twice, state three times (alarm, report number, barred card); four events.
VISIT_CALLS = 1 * _ENTRY + 6 * _ENTRY + 4 * _ENTRY
HELD_MOST = link.LONGEST - 1  # bytes a link decoder keeps between two calls
# What boot may answer where a field's value breaks an assumption, and a meter afterwards where nothing is broken.
BOOT_CODES = (codes.OK, codes.STORE_LOST, codes.FAULT)
LAST_CARD_CODE = codes.CARD_OUT  # codes of a card run from OK down to here; behind it are the meter's own troubles
# ... and those that a card of the company's has besides.
TOOL_CODES = (
    codes.STORE_LOST,
    codes.CARD_FULL,
    codes.NO_FINAL_RECORD,
    codes.EXPIRED,
    codes.TEST_GAS,
    codes.NOT_UNBOUND,
    codes.ONE_TRY_LEFT,
)


class Undocumented(Exception):
    """An outcome that no document promises. The text says which promise is broken."""


def boot_reads(capacity: int) -> int:
    """The most reads of a boot over a tally of ``capacity`` places: all of it three times, and each write read back."""
    blocks = capacity // COPY_SIZE
    recovery = 2 * EVENT_PLACES + 6 + 2 + 4 + 3 * blocks + LOCKOUT_PLACES
    return _TRIES * recovery + boot_writes(capacity)


def boot_writes(capacity: int) -> int:
    """The most writes of a boot: each place of the tally mended once, two checkpoints, four events, the state."""
    return _TRIES * (capacity + 2 + 4 + 1)


def use_calls(capacity: int) -> int:
    """The most reads, and the most writes, of what ``_use`` does with a meter that has booted."""
    return VISIT_CALLS + boot_writes(capacity) + 15 * _ENTRY


class CountedMemory:
    """A nonvolatile memory over ``cells`` that counts its calls and raises Undocumented at the first one too many.

    ``flaky``: every so many-th call does not answer (OSError), 0: all do. ``stuck``: address of a byte that takes
    nothing new, -1: all do.
    """

    def __init__(self, cells: bytearray, reads_most: int, writes_most: int) -> None:
        self.cells = cells
        self.reads = 0
        self.writes = 0
        self.reads_most = reads_most
        self.writes_most = writes_most
        self.flaky = 0
        self.stuck = -1

    def allow(self, reads: int, writes: int) -> None:
        """Count again from nought, up to these bounds."""
        self.reads = self.writes = 0
        self.reads_most = reads
        self.writes_most = writes

    def _within(self, address: int, size: int) -> None:
        if address < 0 or address + size > len(self.cells):
            raise Undocumented(f"address {address} is outside the memory")

    def read_into(self, address: int, buffer: bytearray) -> None:
        """Fill ``buffer`` from ``address`` on."""
        self._within(address, len(buffer))
        self.reads += 1
        if self.reads > self.reads_most:
            raise Undocumented(f"more than {self.reads_most} reads of the memory")
        self._answer()
        buffer[:] = self.cells[address : address + len(buffer)]

    def write(self, address: int, data: "bytes | bytearray") -> None:
        """Write ``data`` from ``address`` on."""
        self._within(address, len(data))
        self.writes += 1
        if self.writes > self.writes_most:
            raise Undocumented(f"more than {self.writes_most} writes to the memory")
        self._answer()
        kept = self.cells[self.stuck]
        self.cells[address : address + len(data)] = data
        if self.stuck >= 0:
            self.cells[self.stuck] = kept

    def _answer(self) -> None:
        if self.flaky and (self.reads + self.writes) % self.flaky == 0:
            raise OSError(5)

    def put(self, address: int, value: int) -> None:
        """Write one byte."""
        self.write(address, bytes((value,)))

    def fill(self, address: int, value: int, count: int) -> None:
        """Write ``count`` equal bytes."""
        self.write(address, bytes((value,)) * count)


class CountedSlot(CardSlot):
    """A slot that counts its calls; the card is pulled before call ``pull``, 0 for never."""

    def __init__(self, pull: int = 0) -> None:
        super().__init__()
        self.reads = 0
        self.writes = 0
        self.pull = pull

    def _allow(self) -> None:
        if self.reads > SLOT_READS or self.writes > SLOT_WRITES:
            raise Undocumented(f"{self.reads} reads and {self.writes} writes in one visit")
        if self.reads + self.writes == self.pull:
            self.remove()

    def read(self, control: int, address: int, buffer: bytearray) -> None:
        """As a slot does."""
        self.reads += 1
        self._allow()
        super().read(control, address, buffer)

    def write(self, control: int, address: int, data: int) -> None:
        """As a slot does."""
        self.writes += 1
        self._allow()
        super().write(control, address, data)


class EmulatedCard(CountedSlot):
    """No chip at all, but somebody's own circuit: each read is answered by the next bytes of ``stream``, then by FF.

    ``image`` is what it gave for the main memory when first asked.
    """

    def __init__(self, stream: bytes) -> None:
        super().__init__()
        self._stream = stream
        self._at = 0
        self.image = b""

    def power_on(self) -> "bytes | None":
        """The right answer to a reset: with another one the visit is over."""
        return ATR

    def read(self, control: int, address: int, buffer: bytearray) -> None:
        """Whatever comes next."""
        self.reads += 1
        self._allow()
        data = self._stream[self._at : self._at + len(buffer)]
        self._at += len(data)
        buffer[:] = data + b"\xff" * (len(buffer) - len(data))
        if not self.image:
            self.image = bytes(buffer)


# ---------------------------------------------------------------------- genuine cards, for seeds and for comparison


def genuine(kind: int = ORDER_USER, order: "dict[str, Any] | None" = None, number: int = CARD) -> "Chip":
    """A genuine card for the meter above; ``order`` changes fields of its order."""
    values: "dict[str, Any]" = {
        "meter": METER,
        "account": "0000000042",
        "binding": 1,
        "replacement": 0,
        "key_version": KEY_VERSION,
        "sequence": SEQUENCE,
        "bought_total": BOUGHT,
        "amount": 0,
        "correction_total": 0,
        "pulse_weight": PULSE_WEIGHT,
        "alarm": 100,
        "ceiling": 90000,
        "overdraft": 50,
        "over_flow_seconds": 0,
        "time": MINUTES,
        "psc_mask": mask_psc(derive(KEY, WRAP_KEY), number, PSC),
        "flags": FLAG_PARAMETERS,
    }
    values.update(order or {})
    chip = Chip()
    identity = {"mark": MARK, "format": FORMAT_VERSION, "region": REGION, "kind": CARD_CUSTOMER}
    identity["card"], identity["issue_batch"] = number, 1
    _lay(chip.main, IDENTITY_AT, frames.build_identity(identity))
    _lay(chip.main, ORDER_AT, frames.build(ORDER, values, kind, number, REGION, derive(KEY, ORDER_KEY)))
    _lay(chip.security, 1, PSC)
    return chip


def _lay(memory: bytearray, at: int, data: bytes) -> None:
    memory[at : at + len(data)] = data


def authentic(image: "bytes | bytearray") -> "dict[str, Any] | None":
    """The order on this card if the hall made it for this meter's key: by CRC and MAC alone, no business rule."""
    size = size_of(ORDER)
    if frames.check_identity(image) or frames.check(image, ORDER_AT, size):
        return None
    identity = unpack(IDENTITY, image, IDENTITY_AT)
    key = derive(KEY, ORDER_KEY)
    if not frames.mac_right(image, ORDER_AT, size, identity["card"], identity["region"], key):
        return None
    return frames.read(ORDER, image, ORDER_AT)


# What the hall makes on each card: (place, record, kind of frame, key below which its order key is).
HALL_FRAMES = {
    CARD_CUSTOMER: ((ORDER_AT, ORDER, ORDER_USER, KEY),),
    CARD_TRANSFER: (
        (tools.TOOL_AT, tools.TRANSFER, tools.TRANSFER_OUT, KEY),
        (tools.TRANSFER_IN_AT, ORDER, tools.TRANSFER_IN, KEY),
    ),
    CARD_CLEAR: ((tools.TOOL_AT, ORDER, tools.ORDER_CLEAR, KEY),),
    CARD_MANAGEMENT: ((tools.TOOL_AT, tools.MANAGEMENT, tools.MANAGE, TOOL_KEY),),
    CARD_SETTING: ((tools.TOOL_AT, tools.SETTING, tools.SET, TOOL_KEY),),
    CARD_KEY: ((tools.TOOL_AT, tools.KEY_BLOCK, tools.KEY, KEY),),
    CARD_TEST: ((tools.TOOL_AT, ORDER, tools.ORDER_TEST, KEY),),
}


def hall_frames(image: "bytes | bytearray", at: int = 0) -> "tuple[tuple[int, Layout, int, bytes], ...]":
    """Where the hall's frames lie on the card whose image begins at ``at``; a customer's for a kind there is not."""
    kind = _byte(image, at + IDENTITY_AT + 4)
    return HALL_FRAMES.get(kind, HALL_FRAMES[CARD_CUSTOMER])


def genuine_frames(image: "bytes | bytearray") -> "list[int]":
    """The places on a card of the company's where a frame lies that the hall made for this meter, or for all."""
    if frames.check_identity(image) or image[IDENTITY_AT + 4] == CARD_CUSTOMER:
        return []
    identity = unpack(IDENTITY, image, IDENTITY_AT)
    found = []
    for at, layout, kind, key in hall_frames(image):
        size = size_of(layout)
        if frames.check(image, at, size) or image[at + 1] != kind:
            continue
        if frames.mac_right(image, at, size, identity["card"], identity["region"], derive(key, ORDER_KEY)):
            found.append(at)
    return found


def mend_identity(image: bytearray, at: int = 0) -> None:
    """Give the identity of the image at ``at`` the CRC its bytes ask for."""
    end = at + IDENTITY_AT + size_of(IDENTITY) - 2
    _lay(image, end, crc16(image, at + IDENTITY_AT, end).to_bytes(2, "big"))


def mend_frame(image: bytearray, at: int, size: int) -> None:
    """Make the ``size`` data bytes at ``at`` a whole frame: marks, length, version and CRC."""
    image[at], image[at + 2], image[at + 3] = 0x68, size, FORMAT_VERSION
    end = at + frames.HEAD + size + 8
    _lay(image, end, crc16(image, at + 1, end).to_bytes(2, "big") + b"\x16")


def mend_mac(image: bytearray, at: int = 0) -> None:
    """Sign what the hall makes on the card of the image at ``at`` as it would for this meter, whatever it says."""
    identity = at + IDENTITY_AT
    card = int.from_bytes(image[identity + 5 : identity + 9], "big")
    region = int.from_bytes(image[identity + 2 : identity + 4], "big")
    for place, layout, _, key in hall_frames(image, at):
        size = size_of(layout)
        frame = image[at + place : at + place + frames.frame_size(layout)]
        mac = frame_mac(derive(key, ORDER_KEY), card, region, FORMAT_VERSION, frame[1], frame[4 : 4 + size])
        _lay(image, at + place + frames.HEAD + size, mac)


# ---------------------------------------------------------------------- a result that is the same everywhere


def told(layout: "Layout", values: "dict[str, Any]") -> int:
    """A checksum over a record's values in the order of its table; a dict has an order of its own on each target."""
    total = 0
    for name in layout.names:
        value = values[name]
        text = hexlify(value).decode() if isinstance(value, bytes) else str(value)
        total = crc32(f"{name}={text};".encode(), total) & 0xFFFFFFFF
    return total


def _entries(module: "Any") -> "list[Layout]":
    return [getattr(module, name) for name in sorted(dir(module)) if isinstance(getattr(module, name), Layout)]


LAYOUTS = tuple(_entries(records) + _entries(layouts) + _entries(tools))


# ---------------------------------------------------------------------- the decoders


def codec(data: bytes) -> str:
    """``codec.unpack``. Bytes: layout, offset 0-15, then the record's surroundings.

    Either RecordError, or values that the encoder turns into the very same bytes.
    """
    number = _byte(data, 0) % len(LAYOUTS)
    layout, which = LAYOUTS[number], f"layout{number}"
    offset = _byte(data, 1) & 15
    body = data[2:]
    try:
        values = unpack(layout, body, offset)
    except RecordError as error:
        name = error.args[0]
        if name not in layout.names:
            raise Undocumented(f"RecordError names {name!r}, which is no field") from error
        return f"RecordError {which} {name} 0"
    again = bytearray(size_of(layout))
    pack_into(layout, values, again)
    if again != body[offset : offset + len(again)]:
        raise Undocumented("what was decoded is encoded otherwise")
    return f"values {which} {told(layout, values):08x}"


def frame(data: bytes) -> str:
    """``frames``. Bytes: place, size, then an image of any length, read there and at its own places."""
    at, size, image = _byte(data, 0), _byte(data, 1), data[2:]
    said = [frames.check_identity(image)]
    if said[0] not in (codes.OK, codes.NOT_OURS, codes.CRC, codes.VERSION):
        raise Undocumented(f"check_identity gives {said[0]}")
    said.append(frames.check(image, at, size))
    total = 0
    places = [(ORDER, ORDER_AT), (REPORT_DATA, REPORT_AT[0]), (REPORT_DATA, REPORT_AT[1]), (ORDER, at)]
    for kind in range(CARD_TRANSFER, CARD_TEST + 1):
        places += [(layout, place) for place, layout, _, _ in HALL_FRAMES[kind]]
    for layout, place in places:
        code = frames.check(image, place, size_of(layout))
        said.append(code)
        if code:
            continue
        if place + frames.frame_size(layout) > len(image):
            raise Undocumented("a whole frame reaches beyond the image")
        right = frames.mac_right(image, place, size_of(layout), CARD, REGION, KEY)
        if not isinstance(right, bool) or len(frames.mac_at(image, place, size_of(layout))) != 8:
            raise Undocumented("a whole frame has no MAC")
        values = frames.read(layout, image, place)
        if values is None:
            said.append(1)
            continue
        total ^= told(layout, values)
        if layout is ORDER and frames.unfilled(values) not in ("", "flags", "sequence", "binding"):
            raise Undocumented("unfilled names no field it checks")
    for code in said[1:]:
        if code not in (1, codes.OK, codes.SHAPE, codes.CRC, codes.VERSION):
            raise Undocumented(f"check gives {code}")
    return f"{said} {total:08x}"


_BINDINGS = (0, 1, 2, 255)


def judging(data: bytes) -> str:
    """``judging.judge``. Bytes: meter's state, account's state, then a card's 256 bytes (FF behind their end).

    Meter: bit 0 bound, bits 1-2 binding 0, 1, 2, 255, bit 3 factory keys, high half tokens. Account: low half
    sequence, bits 4-5 replacement, bit 6 it knows this order's MAC, bit 7 the key record is a binding ahead.
    """
    first, second, image = _byte(data, 0), _byte(data, 1), _image(data[2:])
    binding = _BINDINGS[first >> 1 & 3]
    mac = bytes(frames.mac_at(image, ORDER_AT, size_of(ORDER))) if second & 0x40 else bytes(8)
    account = {"state": BOUND if first & 1 else KEYED, "binding": binding, "sequence": second & 15}
    account["replacement"] = second >> 4 & 3
    account_mac = dict(account, order_mac=mac)
    keys = {"state": FACTORY if first & 8 else KEYED, "region": REGION, "meter": METER, "key_version": KEY_VERSION}
    keys_whole = dict(keys, key=KEY, binding=min(255, binding + (second >> 7)))
    memory = CountedMemory(bytearray(LOCKOUT_AT + LOCKOUT_PLACES * LOCKOUT_STRIDE), JUDGE_CALLS, JUDGE_CALLS)
    lockout = Lockout(memory)
    tokens = min(TOKENS_FULL, first >> 4)
    lockout.tokens[CARDS] = lockout.stored[CARDS] = tokens
    code, identity, order, mac = judge(image, keys_whole, account_mac, lockout, PULSE_WEIGHT)
    if not codes.NUMBER_USED_UP <= code <= codes.OK:
        raise Undocumented(f"judge gives {code}")
    left = tokens - (code == codes.MAC)
    if lockout.tokens[CARDS] != left or lockout.stored[CARDS] > left or memory.writes > JUDGE_CALLS:
        raise Undocumented(f"code {code} leaves {lockout.tokens[CARDS]} tokens of {tokens}")
    judged = code in (codes.OK, codes.REPEAT, codes.OLDER, codes.SEQUENCE_CONFLICT)
    if judged:
        if not tokens or lockout.stored[CARDS] >= tokens:
            raise Undocumented("a MAC was judged and no token taken")
        if not authentic(image) or len(mac) != 8:
            raise Undocumented(f"code {code} for a card that is not genuine")
    known = (told(IDENTITY, identity) if identity else 0) ^ (told(ORDER, order) if order else 0)
    return f"{code} {known:08x}"


def card(data: bytes) -> str:
    """``Meter.card_in``. Bytes: meter's state, call before which the card is pulled, then cards of 264 bytes.

    State: bit 0 bound, bit 1 four lanes, bits 2-3 tokens 8, 1, 0, 2.
    """
    first, pull = _byte(data, 0), _byte(data, 1)
    said = []
    slot = CountedSlot()
    meter, memory, keys = _booted(first, slot)
    for at in range(2, min(len(data), 2 + VISITS_MOST * DUMP_SIZE), DUMP_SIZE):
        dump = data[at : at + DUMP_SIZE]
        dump += b"\xff" * (DUMP_SIZE - len(dump))
        chip = Chip()
        chip.restore(dump)
        slot.insert(chip)
        slot.reads = slot.writes = 0
        slot.pull = pull
        said.append(_visit(meter, memory, keys, slot, dump))
        kind = dump[IDENTITY_AT + 4]
        # Of these the first slot is no place for a report.
        first_at = REPORT_AT[1] if kind in (CARD_TRANSFER, CARD_CLEAR, CARD_SETTING, CARD_KEY) else REPORT_AT[0]
        if chip.main[:first_at] != dump[:first_at] or chip.main[SPARE_AT:] != dump[SPARE_AT:IMAGE_SIZE]:
            raise Undocumented("the meter wrote outside the report slots")
    _again(meter, memory, keys)
    return f"{said} {meter.register.value} {told(layouts.ACCOUNT, _books(meter)):08x}"


def emulator(data: bytes) -> str:
    """``Meter.card_in`` with an emulated card. Bytes: meter's state as in ``card``, then what its reads give."""
    slot = EmulatedCard(data[1:])
    meter, memory, keys = _booted(_byte(data, 0), slot)
    first = data[1 : 1 + IMAGE_SIZE]
    said = _visit(meter, memory, keys, slot, first + b"\xff" * (IMAGE_SIZE - len(first)))
    _again(meter, memory, keys)
    return f"{said} {told(layouts.ACCOUNT, _books(meter)):08x}"


def boot(data: bytes) -> str:
    """``Meter.boot`` over any memory. Bytes: template, flakiness, reeds and stuck byte, then patches.

    Template: bit 0 four lanes, bits 1-2 keyed, bound, all nought, noise. Flakiness: every so many-th call fails.
    Bits 0-1 the reeds' levels, bits 2-7 a place whose first byte is stuck, 0 none. A patch: place (high bit: give the
    record a right checksum), offset, length, bytes.
    """
    first, levels, stuck = _byte(data, 0), _byte(data, 2) & 3, _byte(data, 2) >> 2
    lanes = 4 if first & 1 else 1
    cells, key_cells = _patched(first, lanes, data[3:])
    capacity = lanes * LANE_LENGTHS[lanes]
    memory = CountedMemory(cells, boot_reads(capacity), boot_writes(capacity))
    memory.flaky = _byte(data, 1)
    if stuck and not PLACES[stuck][0] and PLACES[stuck][1] < len(cells):
        memory.stuck = PLACES[stuck][1]
    keys = CountedMemory(key_cells, boot_reads(capacity), boot_writes(capacity))
    slot = CardSlot()
    meter = Meter(memory, keys, ValveMotor(), slot, Panel(), _settings(lanes))
    said = [meter.boot(MINUTES, levels)]
    _sound_boot(meter, said[0])
    memory.flaky = 0
    said += _use(meter, memory, keys, slot, capacity)
    value, whole = meter.register.value, said[0] == codes.OK and codes.FAULT not in said and memory.stuck < 0
    memory.allow(boot_reads(capacity), boot_writes(capacity))
    keys.allow(boot_reads(capacity), boot_writes(capacity))
    meter = Meter(memory, keys, ValveMotor(), slot, Panel(), _settings(lanes))
    said.append(meter.boot(MINUTES, levels))
    _sound_boot(meter, said[-1])
    if whole and (said[-1] != codes.OK or meter.register.value != value):
        raise Undocumented(f"a sound meter boots with {said[-1]} at {meter.register.value}, not {value}")
    return f"{said} {meter.register.value}"


def stream(data: bytes) -> str:
    """``link.Decoder``. Bytes: how to cut, then the stream; whole, cut and byte by byte give the same frames."""
    body = data[1:]
    whole, dropped = _decoded(body, [len(body)])
    for cuts in (_cuts(_byte(data, 0), len(body)), [1] * len(body)):
        if _decoded(body, cuts) != (whole, dropped):
            raise Undocumented("another cut of the stream, other frames")
    total = 0
    for text in whole:
        total = crc32(text, total) & 0xFFFFFFFF
    return f"{len(whole)} {dropped} {total:08x}"


# ---------------------------------------------------------------------- what they are made of


def _byte(data: "bytes | bytearray", at: int) -> int:
    return data[at] if at < len(data) else 0


def _image(data: bytes) -> bytearray:
    image = bytearray(b"\xff" * IMAGE_SIZE)
    _lay(image, 0, data[:IMAGE_SIZE])
    return image


def _settings(lanes: int) -> "Settings":
    return Settings(lanes, LANE_LENGTHS[lanes], PULSE_WEIGHT)


_templates: "dict[tuple[int, bool], tuple[bytes, bytes]]" = {}


def template(lanes: int, bound: bool) -> "tuple[bytes, bytes]":
    """The memory and the key memory of a meter fresh from the factory, or bound by its opening card."""
    made = _templates.get((lanes, bound))
    if made is None:
        capacity = lanes * LANE_LENGTHS[lanes]
        memory = CountedMemory(bytearray(TALLY_AT + capacity), 10000, 10000)
        keys = CountedMemory(bytearray(2 * COPY_SIZE), 10000, 10000)
        values = {"meter": METER, "region": REGION, "key_version": KEY_VERSION, "register": REGISTER}
        create(memory, keys, _settings(lanes), dict(values, key=KEY, tool_key=TOOL_KEY))
        if bound:
            slot = CardSlot()
            meter = Meter(memory, keys, ValveMotor(), slot, Panel(), _settings(lanes))
            meter.boot(MINUTES, 0)
            slot.insert(genuine(ORDER_OPENING))
            if meter.card_in() != codes.OK:
                raise ValueError("the opening card was refused")
            _finish(meter)
            meter.card_out()
            meter.pulses(10)
        made = _templates[(lanes, bound)] = (bytes(memory.cells), bytes(keys.cells))
    return made


def _booted(first: int, slot: "CardSlot") -> "tuple[Meter, CountedMemory, CountedMemory]":
    lanes = 4 if first & 2 else 1
    cells, key_cells = template(lanes, bool(first & 1))
    capacity = lanes * LANE_LENGTHS[lanes]
    reads, writes = boot_reads(capacity), boot_writes(capacity)
    memory = CountedMemory(bytearray(cells), reads, writes)
    keys = CountedMemory(bytearray(key_cells), reads, writes)
    meter = Meter(memory, keys, ValveMotor(), slot, Panel(), _settings(lanes))
    if meter.boot(MINUTES, 0) != codes.OK:
        raise Undocumented("a sound meter does not boot")
    _leave(meter.lockout, (TOKENS_FULL, 1, 0, 2)[first >> 2 & 3])
    return meter, memory, keys


def _leave(lockout: "Lockout", tokens: int) -> None:
    # As if wrong cards had used up all but so many tokens, in the memory too.
    lockout.tokens[CARDS] = lockout.stored[CARDS] = max(1, tokens) - (tokens > 0)
    if tokens:
        lockout.refill()
    elif lockout.take(CARDS):
        lockout.failed(CARDS)


def _finish(meter: "Meter") -> None:
    steps = 0
    most = STEPS_MOST + (VALVE_STEPS if meter.ending else 0)
    while meter.session.active:
        steps += 1
        if steps > most:
            raise Undocumented(f"a report takes more than {most} steps")
        meter.tick(POLL_MS)


def _books(meter: "Meter") -> "dict[str, Any]":
    # The account less what only says how it is stored: the entry rises when a missing second copy is written.
    values = dict(meter.account.values)
    values["entry"] = values["crc"] = 0
    return values


def _visit(
    meter: "Meter", memory: "CountedMemory", keys: "CountedMemory", slot: "CountedSlot", image: bytes
) -> "tuple[int, int]":
    # One card from in to out, and every promise about the account: (code, code shown at last).
    before = _books(meter)
    tokens = meter.lockout.tokens[CARDS]
    memory.allow(VISIT_CALLS, VISIT_CALLS)
    keys.allow(VISIT_CALLS, VISIT_CALLS)
    code = meter.card_in()
    _finish(meter)
    slot.remove()
    meter.card_out()
    of_company = CARD_CUSTOMER < _byte(image, IDENTITY_AT + 4) <= CARD_TEST
    for said in (code, meter.last_code):
        if not LAST_CARD_CODE <= said <= codes.OK and not (of_company and said in TOOL_CODES):
            raise Undocumented(f"card_in gives {code}, the display {meter.last_code}")
    if meter.lockout.tokens[CARDS] != tokens - (code == codes.MAC) or meter.lockout.stored[CARDS] > TOKENS_FULL:
        raise Undocumented(f"code {code} leaves {meter.lockout.tokens[CARDS]} tokens of {tokens}")
    order = authentic(image)
    genuine_ones = order or genuine_frames(image)
    if slot.compares and not genuine_ones:
        raise Undocumented("a password was spent on a stranger")
    after = _books(meter)
    if after != before:
        if code not in (codes.OK, codes.REPORT_NOT_WRITTEN):
            raise Undocumented(f"code {code} and another account")
        if not genuine_ones:
            raise Undocumented("another account without a genuine card")
        falls = after["bought_total"] < before["bought_total"]
        if falls and after["binding"] == before["binding"] and not (order and order["flags"] & FLAG_REFUND):
            raise Undocumented("credit fell without a refund")
        if after["binding"] < before["binding"]:
            raise Undocumented("the binding number fell")
    return code, meter.last_code


def _again(meter: "Meter", memory: "CountedMemory", keys: "CountedMemory") -> None:
    # What the memory holds is what the meter knows: after a power-up nothing is lost and nothing is gained.
    reads, writes = boot_reads(meter.register.capacity), boot_writes(meter.register.capacity)
    memory.allow(reads, writes)
    keys.allow(reads, writes)
    other = Meter(memory, keys, ValveMotor(), CardSlot(), Panel(), meter.settings)
    if other.boot(MINUTES, 0) != codes.OK:
        raise Undocumented("the store is lost")
    if _books(other) != _books(meter) or other.register.value != meter.register.value:
        raise Undocumented("after a power-up the account is another")
    if other.lockout.tokens[CARDS] > meter.lockout.tokens[CARDS]:
        raise Undocumented("a power cut refilled the bucket")


# Where a patch of ``boot`` goes: (in the key memory, address, size, bytes of checksum).
PLACES = tuple(
    [(0, address, size_of(CHECKPOINT), 2) for address in CHECKPOINT_AT]
    + [(0, address, COPY_SIZE, 4) for address in ACCOUNT_AT + STATE_AT]
    + [(1, address, COPY_SIZE, 4) for address in KEYS_AT]
    + [(0, LOCKOUT_AT + n * LOCKOUT_STRIDE, size_of(LOCKOUT), 2) for n in range(LOCKOUT_PLACES)]
    + [(0, TALLY_AT + n * COPY_SIZE, COPY_SIZE, 0) for n in range(4)]
    + [(0, EVENTS_AT + n * size_of(EVENT), size_of(EVENT), 2) for n in range(0, EVENT_PLACES, 2)]
)


def _patched(first: int, lanes: int, patches: bytes) -> "tuple[bytearray, bytearray]":
    source = first >> 1 & 3
    if source < 2:
        made = template(lanes, source == 1)
        cells, key_cells = bytearray(made[0]), bytearray(made[1])
    else:
        cells, key_cells = bytearray(TALLY_AT + lanes * LANE_LENGTHS[lanes]), bytearray(2 * COPY_SIZE)
        if source == 3:
            _noise(cells, first)
            _noise(key_cells, ~first & 0xFF)
    at = 0
    while at + 3 <= len(patches):
        where, offset, length = patches[at], patches[at + 1], patches[at + 2]
        data = patches[at + 3 : at + 3 + length]
        at += 3 + length
        in_keys, address, size, check = PLACES[(where & 0x7F) % len(PLACES)]
        target = key_cells if in_keys else cells
        if address + size > len(target):
            continue  # a lane this meter has not got
        offset %= size
        _lay(target, address + offset, data[: size - offset])
        if where & 0x80:
            _mend(target, address, address + size - check, check)
    return cells, key_cells


def _mend(target: bytearray, start: int, end: int, check: int) -> None:
    if check == 2:
        _lay(target, end, crc16(target, start, end).to_bytes(2, "big"))
    elif check == 4:
        _lay(target, end, (crc32(bytes(target[start:end])) & 0xFFFFFFFF).to_bytes(4, "big"))


def _noise(cells: bytearray, seed: int) -> None:
    value = seed + 1
    for i in range(len(cells)):
        value = (value * 75 + 74) % 65537
        cells[i] = value & 0xFF


def _sound_boot(meter: "Meter", code: int) -> None:
    if code not in BOOT_CODES:
        raise Undocumented(f"boot gives {code}")
    if not code and not 0 <= meter.register.value <= TOTAL_MAX:
        raise Undocumented(f"the register reads {meter.register.value}")
    if meter.lockout.tokens[CARDS] > TOKENS_FULL:
        raise Undocumented(f"{meter.lockout.tokens[CARDS]} tokens")
    if code and not meter.reasons:
        raise Undocumented("the valve may open on a meter that did not boot")


def _use(
    meter: "Meter", memory: "CountedMemory", keys: "CountedMemory", slot: "CardSlot", capacity: int
) -> "list[int]":
    # Whatever boot made of the memory, the meter goes on being a meter: gas, time, a key, a card, a power failure.
    for part in (memory, keys):
        part.allow(use_calls(capacity), use_calls(capacity))
    meter.pulse()
    meter.pulses(2)
    meter.key()
    meter.tick(POLL_MS)
    slot.insert(genuine(ORDER_OPENING))
    said = [meter.card_in()]
    _finish(meter)
    slot.remove()
    meter.card_out()
    meter.tick(60000)
    meter.refresh()
    meter.power_failing()
    said.append(meter.last_code)
    for code in said:
        if not codes.FAULT <= code <= codes.OK:
            raise Undocumented(f"card_in gives {code}")
    return said + [meter.reasons]


def _cuts(seed: int, size: int) -> "Iterator[int]":
    value = seed + 1
    while size > 0:
        value = (value * 75 + 74) % 65537
        piece = value % 40
        yield piece
        size -= piece
        if not piece:
            size -= 1  # an empty read now and then, but not for ever


def _decoded(body: bytes, cuts: "Any") -> "tuple[list[bytes], int]":
    decoder = link.Decoder()
    found = []
    at = 0
    for piece in cuts:
        found += decoder.feed(body[at : at + piece])
        at += piece
        if len(decoder._held) > HELD_MOST:
            raise Undocumented(f"the decoder holds {len(decoder._held)} bytes")
        if not 1 <= decoder.missing() <= link.LONGEST:
            raise Undocumented(f"the decoder waits for {decoder.missing()} bytes")
    found += decoder.feed(body[at:])
    found += decoder.flush()
    texts = [frame.encode(0) for frame in found]
    size = 0
    for text in texts:
        size += len(text)
        if text not in body:
            raise Undocumented("a frame that was not in the stream")
    if decoder._held or size + decoder.dropped != len(body):
        raise Undocumented(f"{size} bytes in frames and {decoder.dropped} dropped are not {len(body)}")
    return texts, decoder.dropped


DECODERS: "dict[str, Callable[[bytes], int | str]]" = {
    "codec": codec,
    "frames": frame,
    "judge": judging,
    "card": card,
    "emulator": emulator,
    "boot": boot,
    "link": stream,
}


def feed(name: str, data: bytes) -> "int | str":
    """Show ``data`` to the decoder ``name``: its documented outcome. Undocumented, or whatever it raised, if none."""
    return DECODERS[name](bytes(data))


# ---------------------------------------------------------------------- packs of inputs


def packed(inputs: "list[bytes]") -> bytes:
    """A corpus as one file: each input behind its length in two bytes."""
    return b"".join([len(data).to_bytes(2, "big") + data for data in inputs])


def unpacked(pack: bytes) -> "Iterator[bytes]":
    """The inputs of a pack, in order. ValueError if it ends within one."""
    at = 0
    while at < len(pack):
        end = at + 2 + int.from_bytes(pack[at : at + 2], "big")
        if end > len(pack) or at + 2 > len(pack):
            raise ValueError("the pack ends within an input")
        yield pack[at + 2 : end]
        at = end


def replay(name: str, pack: bytes) -> "tuple[int, int]":
    """Feed every input of a pack: how many, and a checksum over all results. Equal on every target."""
    count, total = 0, 0
    for data in unpacked(pack):
        total = crc32(f"{feed(name, data)}\n".encode(), total) & 0xFFFFFFFF
        count += 1
    return count, total
