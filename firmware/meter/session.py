# One visit of a card: read, judge, password, journal, valve, report, in this order and no other (docs/DESIGN.md, D5).
#
# Everything up to the journal happens when the card goes in; the report is written one byte a step, so that pulses
# and the valve are served between the bytes. A card may be gone after any byte; what is in the journal stays true.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from gascard import codes
from gascard.frames import HEAD, build, check
from gascard.keys import REPORT_KEY, WRAP_KEY, derive, mask_psc
from gascard.records import (
    CARD_CUSTOMER,
    CARD_TEST,
    IDENTITY_AT,
    IMAGE_SIZE,
    ORDER_AT,
    REPORT,
    REPORT_AT,
    REPORT_DATA,
    REPORT_NUMBER_MAX,
    offset_of,
    size_of,
)
from gascard.sle4442 import ATR, COMPARE, READ_MAIN, READ_SECURITY, TRIES_FULL, UPDATE_MAIN, UPDATE_SECURITY, tries_left
from meter.judging import judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from meter.meter import Meter
    from meter.parts import Slot

_LINE_HIGH = const(0xFF)  # what an empty slot reads: the pull-up
_KIND_AT = const(4)  # the card's kind in the identity


class Session:
    """The slot and what goes on in it. ``active`` while a report is still being written."""

    def __init__(self, meter: "Meter", slot: "Slot") -> None:
        self._meter = meter
        self._slot = slot
        self._image = bytearray(IMAGE_SIZE)
        self._frame = b""
        self._at = 0
        self._next = 0
        self.active = False

    def insert(self) -> int:
        """A card is in: everything but the report. The code of the judging (RULES 1), OK, REPEAT or what went wrong."""
        slot = self._slot
        self.active = False  # a switch that bounced: what was being written belongs to the visit before
        if slot.power_on() != ATR:
            slot.power_off()
            return codes.NO_CARD
        slot.read(READ_MAIN, 0, self._image)
        # A chip's first byte is its answer's: where it is none, the card went after the reset.
        code = codes.CARD_OUT if self._image[0] == _LINE_HIGH else self._load()
        if not self.active:
            slot.power_off()
        return code

    def _load(self) -> int:
        meter = self._meter
        if CARD_CUSTOMER < self._image[IDENTITY_AT + _KIND_AT] <= CARD_TEST:
            try:
                from meter import tools
            except ImportError:
                pass  # a build without them answers KIND
            else:
                return tools.visit(self, meter, self._image)
        keys = meter.keys.values
        account = meter.account
        settings = meter.settings
        code, identity, order, mac = judge(self._image, keys, account.values, meter.lockout, settings.pulse_weight)
        repeat = code == codes.REPEAT
        values, lowers = None, False
        if code == codes.OK:
            code, values, lowers = account.plan(order, identity["card"], mac, meter.register.value)
        if code and not repeat:
            return code
        psc = mask_psc(derive(keys["key"], WRAP_KEY), identity["card"], order["psc_mask"])
        del order  # a small heap wants the room back before the report is built
        verified = self.verify(identity["card"], psc)
        if verified not in (codes.OK, codes.REPORT_NOT_WRITTEN):
            return verified
        if values:
            meter.journal(values, lowers)
        else:
            account.confirm()
        meter.asked()
        if not verified:
            verified = self.prepare(identity)
        return verified or code

    def verify(self, card: int, psc: bytes) -> int:
        """Present the password: OK, writing is open; REPORT_NOT_WRITTEN, too few tries to dare it; else no credit."""
        state = self._meter.state
        security = bytearray(4)
        slot = self._slot
        slot.read(READ_SECURITY, 0, security)
        counter = security[0]
        if counter == _LINE_HIGH:
            return codes.CARD_OUT
        barred = state.values["barred_card"] == card != 0
        if barred and counter != TRIES_FULL:
            return codes.CARD_BARRED
        if tries_left(counter) <= 1:
            return codes.REPORT_NOT_WRITTEN
        slot.write(UPDATE_SECURITY, 0, counter & (counter - 1))
        for i in range(3):
            slot.write(COMPARE, i + 1, psc[i])
        slot.write(UPDATE_SECURITY, 0, 0xFF)
        slot.read(READ_SECURITY, 0, security)
        if security[0] == _LINE_HIGH:
            return codes.CARD_OUT
        if security[0] != TRIES_FULL:
            state.values["barred_card"] = card
            self._meter.save_state()
            return codes.PASSWORD_REFUSED
        if barred:
            state.values["barred_card"] = 0
        return codes.OK

    def prepare(self, identity: dict, at: int = 0) -> int:
        """Have a report written at ``at``, else into the slot that does not hold the newest one: OK, or
        REPORT_NOT_WRITTEN. Its number is stored before it is used.
        """
        meter = self._meter
        state = meter.state
        if state.values["report_number"] >= REPORT_NUMBER_MAX:
            return codes.REPORT_NOT_WRITTEN
        state.values["report_number"] += 1
        meter.save_state()
        keys = meter.keys.values
        key = derive(keys["key"], REPORT_KEY)
        frame = build(REPORT_DATA, meter.report(), REPORT, identity["card"], identity["region"], key)
        self.put(frame, at or (REPORT_AT[1] if self._newest() == 0 else REPORT_AT[0]))
        return codes.OK

    def put(self, frame: bytes, at: int) -> None:
        """Have ``frame`` written to the card at ``at``, step by step."""
        self._frame = frame
        self._at = at
        self._next = 0
        self.active = True

    def _newest(self) -> int:
        # Of this meter's whole reports the one of the latest binding, and of that the highest number; read in place,
        # since a whole dict for each would be the most a session takes of the heap. Whose meter it is stands in the
        # order, which has been judged.
        image = self._image
        newest, highest = 1, (-1, b"")
        meter = HEAD + offset_of(REPORT_DATA, "meter")
        binding = HEAD + offset_of(REPORT_DATA, "binding")
        number = HEAD + offset_of(REPORT_DATA, "report_number")
        own = image[ORDER_AT + HEAD : ORDER_AT + HEAD + 7]
        for place in (0, 1):
            at = REPORT_AT[place]
            if not check(image, at, size_of(REPORT_DATA)) and image[at + meter : at + meter + 7] == own:
                rank = (image[at + binding], bytes(image[at + number : at + number + 3]))
                if rank > highest:
                    newest, highest = place, rank
        return newest

    def step(self) -> int:
        """Write the next byte of the report that differs, or end the session: OK, or REPORT_NOT_WRITTEN."""
        image, frame, at = self._image, self._frame, self._at
        place = self._next
        while place < len(frame) and image[at + place] == frame[place]:
            place += 1
        self._next = place + 1
        if place < len(frame):
            self._slot.write(UPDATE_MAIN, at + place, frame[place])
            return codes.OK
        back = bytearray(len(frame))
        self._slot.read(READ_MAIN, at, back)
        self.end()
        return codes.OK if back == frame else codes.REPORT_NOT_WRITTEN

    def end(self) -> None:
        """Take the power from the slot: the card may go, or is gone."""
        self.active = False
        self._slot.power_off()
