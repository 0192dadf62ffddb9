# The meter's side of the service port: whole frames in, answers out. Reads only; the bytes are in gascard.service.
#
# A board that has a port gives every byte that arrives to ``receive`` and sends what it gives back. It allocates, so
# call it from the main loop. Nothing here can change the meter, open the valve or give a key away.

from binascii import unhexlify

from gascard import service
from gascard.codec import pack_into
from gascard.link import ANSWER, ANY_METER, ERROR, READ, Decoder
from gascard.records import REPORT_DATA, SHUT_STORE_LOST, size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gascard.records import Layout
    from meter.meter import Meter


class Service:
    """Answers for one meter."""

    def __init__(self, meter: "Meter") -> None:
        self._meter = meter
        self._decoder = Decoder()

    def receive(self, data: bytes) -> bytes:
        """Bytes from the port, in pieces of any size; the answers to the frames that are now whole, empty if none.

        No bytes: the line has been silent for longer than a frame has gaps, and what looked like a frame's start was
        none. A frame for another meter, or an answer, is passed over in silence.
        """
        reply = b""
        for frame in self._decoder.feed(data) if data else self._decoder.flush():
            own = self.number
            if frame.is_answer() or frame.meter not in (own, ANY_METER):
                continue
            if frame.control != READ:
                body, error = b"", service.ERROR_CONTROL
            else:
                body, error = self.answer(frame.identifier, frame.body)
            frame.control |= ANSWER
            frame.meter = own
            frame.body = body
            if error:
                frame.control |= ERROR
                frame.body = bytes((error,))
            reply += frame.encode()
        return reply

    @property
    def number(self) -> bytes:
        """The meter's number in 7 bytes; any meter's while the store is lost and it is not known."""
        values = self._meter.keys.values
        return unhexlify(values["meter"]) if values else ANY_METER

    def answer(self, identifier: int, body: bytes) -> "tuple[bytes, int]":
        """One read: (the body of the answer, 0), or (empty, an ERROR_ number of gascard.service)."""
        meter = self._meter
        if meter.status & SHUT_STORE_LOST:
            return b"", service.ERROR_STORE
        if not service.READ_STATUS <= identifier <= service.READ_LOG:
            return b"", service.ERROR_IDENTIFIER
        if len(body) != (3 if identifier == service.READ_LOG else 0):
            return b"", service.ERROR_BODY
        try:
            if identifier == service.READ_LOG:
                return self._log(int.from_bytes(body, "big")), 0
            if identifier == service.READ_STATUS:
                return _packed(REPORT_DATA, meter.report()), 0
            return _packed(service.COUNTERS, self._counters()), 0
        except (OSError, ValueError):
            return b"", service.ERROR_STORE  # a meter in a fault may hold figures that no field takes

    def _counters(self) -> dict:
        meter = self._meter
        values = dict(meter.state.values)
        values["valve_moves"] = meter.valve.moves
        values["valve_failures"] = meter.valve.failures
        values["travel_ms"] = min(0xFFFF, meter.valve.travel_ms)
        values["uncounted"] = min(0xFFFF, meter.uncounted)
        values["battery_mv"] = min(0xFFFF, meter.battery_mv)
        return values

    def _log(self, number: int) -> bytes:
        events = self._meter.events
        answer = events.number.to_bytes(3, "big")
        number = min(number or events.number, events.number)
        for _ in range(service.LOG_ENTRIES):
            values = events.read(number) if number > 0 else None
            if not values or values["number"] != number:
                break  # overwritten since, or garbled by a cut: what is older is asked for by its own number
            answer += _packed(service.EVENT, values)
            number -= 1
        return answer


def _packed(layout: "Layout", values: dict) -> bytes:
    buffer = bytearray(size_of(layout))
    pack_into(layout, values, buffer)
    return bytes(buffer)
