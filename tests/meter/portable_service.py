# The meter's side of the service port: every identifier and error, frames in pieces and in dirt, the log by pages.

from gascard import codes, service
from gascard.codec import unpack
from gascard.link import ANSWER, ANY_METER, ERROR, LONGEST, MAX_BODY, READ, READ_ADDRESS, WRITE, Decoder, Frame
from gascard.records import REPORT_DATA, SHUT_UNBOUND, size_of
from gasrig.bench import MEMORY_FRAM, Bench
from meter import events
from meter.layouts import ACCOUNT_AT, EVENT_PLACES, EVENTS_AT, KEYS_AT
from meter.service import Service

METER = "00000000000017"
OWN = b"\x00\x00\x00\x00\x00\x00\x17"
OTHER = b"\x00\x00\x00\x00\x00\x00\x18"
KEY = b"the meter's key!"
TOOL_KEY = b"key of the tool."
MINUTES = 13000000
EVENT_SIZE = size_of(service.EVENT)


def bench():
    """A new meter, not bound, on the bench, and its port."""
    made = Bench()
    made.build(
        {
            "memory": MEMORY_FRAM,
            "lanes": 1,
            "lane_length": 64,
            "pulse_weight": 2,
            "region": 0xFFFF,
            "meter": METER,
            "key_version": 1,
            "key": KEY,
            "tool_key": TOOL_KEY,
            "register": 5,
            "index": 500,
            "travel_ms": 4000,
            "wheels": 10000000,
            "minutes": MINUTES,
        }
    )
    return made, Service(made.meter)


def answers(data):
    """The frames in ``data``, which holds nothing else but wake-up bytes."""
    decoder = Decoder()
    frames = decoder.feed(data)
    assert decoder.dropped == 3 * len(frames)
    assert not decoder.flush()
    return frames


def ask(port, identifier, body=b"", control=READ, meter=OWN, serial=7):
    """One question and the one answer to it: (body, the ERROR_ number or 0)."""
    reply = port.receive(Frame(control, identifier, serial, body, meter).encode())
    assert len(reply) <= 3 + LONGEST
    (frame,) = answers(reply)
    assert frame.identifier == identifier and frame.serial == serial
    assert frame.control & ~ERROR == control | ANSWER
    if frame.is_error():
        assert len(frame.body) == 1
        return b"", frame.body[0]
    assert len(frame.body) <= MAX_BODY
    return frame.body, 0


def page(port, number):
    """(the newest number, entries from ``number`` down)."""
    body, error = ask(port, service.READ_LOG, number.to_bytes(3, "big"))
    assert not error and (len(body) - 3) % EVENT_SIZE == 0
    return int.from_bytes(body[:3], "big"), [
        unpack(service.EVENT, body[at : at + EVENT_SIZE]) for at in range(3, len(body), EVENT_SIZE)
    ]


def fill(made, number):
    """Entries up to ``number``, the register and the time rising with them."""
    meter = made.meter
    while meter.events.number < number:
        n = meter.events.number + 1
        meter.events.note(events.SELF_TEST, n, n, MINUTES + n)


def test_status_is_a_report_as_of_now():
    made, port = bench()
    made.meter.pulses(3)
    values = unpack(REPORT_DATA, ask(port, service.READ_STATUS)[0])
    assert values["meter"] == METER and values["time"] == MINUTES
    assert (values["register"], values["index"], values["status"]) == (8, 503, SHUT_UNBOUND)
    assert values["report_number"] == 0
    assert unpack(REPORT_DATA, ask(port, service.READ_STATUS)[0]) == values  # asking changes nothing


def test_counters_are_the_meters():
    made, port = bench()
    made.meter.magnet(True)
    made.meter.magnet(False)
    made.meter.battery(3456)
    made.meter.power_failing()
    made.meter.power_back()
    values = unpack(service.COUNTERS, ask(port, service.READ_COUNTERS)[0])
    assert set(values) == set(service.COUNTERS.names)
    assert (values["boots"], values["power_failures"], values["brown_outs"], values["magnet_events"]) == (1, 0, 1, 1)
    assert values["battery_mv"] == 3456
    made.meter.uncounted = 100000
    made.meter.valve.travel_ms = 70000
    values = unpack(service.COUNTERS, ask(port, service.READ_COUNTERS)[0])
    assert (values["uncounted"], values["travel_ms"]) == (0xFFFF, 0xFFFF)


def test_errors_are_told():
    made, port = bench()
    for identifier in (0, 0x9100, 0x9104, 0x9001, 0xF001, 0xFFFF):
        assert ask(port, identifier) == (b"", service.ERROR_IDENTIFIER)
    for identifier in (service.READ_STATUS, service.READ_COUNTERS):
        for body in (b"\x00", bytes(MAX_BODY)):
            assert ask(port, identifier, body) == (b"", service.ERROR_BODY)
    for body in (b"", b"\x00", bytes(2), bytes(4), bytes(MAX_BODY)):
        assert ask(port, service.READ_LOG, body) == (b"", service.ERROR_BODY)
    for control in (WRITE, READ_ADDRESS, 0, 0x15, 0x16, 0x3F):
        assert ask(port, service.READ_STATUS, control=control) == (b"", service.ERROR_CONTROL)
    assert made.meter.register.value == 5 and made.meter.reasons == SHUT_UNBOUND


def test_other_meters_and_answers_are_passed_over_in_silence():
    made, port = bench()
    for identifier in (service.READ_STATUS, 0, service.READ_LOG):
        assert port.receive(Frame(READ, identifier, 1, b"", OTHER).encode()) == b""
        assert port.receive(Frame(READ | ANSWER, identifier, 1, b"", OWN).encode()) == b""
        assert port.receive(Frame(READ | ANSWER | ERROR, identifier, 1, b"\x01", ANY_METER).encode()) == b""
    # Whoever does not know the number asks any meter; the answer tells it.
    (frame,) = answers(port.receive(Frame(READ, service.READ_STATUS, 1).encode()))
    assert frame.meter == OWN and not frame.is_error()


def test_frame_may_be_cut_at_every_byte():
    made, port = bench()
    question = Frame(READ, service.READ_COUNTERS, 9, b"", OWN).encode()
    whole = port.receive(question)
    assert len(answers(whole)) == 1
    for cut in range(len(question) + 1):
        reply = port.receive(question[:cut])
        assert reply == (whole if cut == len(question) else b"")
        reply += port.receive(question[cut:])
        assert reply == whole, cut
    assert b"".join([port.receive(question[i : i + 1]) for i in range(len(question))]) == whole


def test_several_frames_at_once_are_answered_in_their_order():
    made, port = bench()
    asked = b"".join([Frame(READ, service.READ_COUNTERS, serial, b"", OWN).encode() for serial in range(5)])
    foreign = Frame(READ, service.READ_COUNTERS, 99, b"", OTHER).encode()
    told = [frame.serial for frame in answers(port.receive(asked + foreign + asked))]
    assert told == [0, 1, 2, 3, 4] * 2


def test_dirt_before_a_frame_hides_nothing():
    made, port = bench()
    question = Frame(READ, service.READ_COUNTERS, 9, b"", OWN).encode(0)
    whole = port.receive(question)
    for dirt in (
        b"\x00",
        b"\xfe" * 20,
        b"\x16\x16",
        b"hello\r\n",
        b"\x68\x00",
        b"\x68\x68\x68",
        question[:-1] + b"\x00",
    ):
        assert port.receive(dirt + question) == whole, dirt
    for place in range(len(question)):
        damaged = bytearray(question)
        damaged[place] ^= 0x01
        if place != 10:  # a length of one more waits for a byte that the next frame brings
            assert port.receive(bytes(damaged)) == b""
        assert whole in port.receive(bytes(damaged) + question + question), place
        port.receive(b"")


def test_start_of_a_frame_that_never_ends_is_given_up_in_silence():
    made, port = bench()
    question = Frame(READ, service.READ_COUNTERS, 9, b"", OWN).encode(0)
    whole = port.receive(question)
    head = bytearray(Frame(READ, service.READ_LOG, 1, bytes(MAX_BODY), OWN).encode(0)[:14])
    assert port.receive(bytes(head) + question) == b""  # it may be a part of the long frame
    assert port.receive(b"") == whole
    assert port.receive(b"") == b""


def test_log_is_read_page_by_page_past_the_end_of_the_ring():
    made, port = bench()
    for newest in (1, 13, 14, 15, 28, 29, EVENT_PLACES, EVENT_PLACES + 1, 3 * EVENT_PLACES + 5):
        fill(made, newest)
        number, found = 0, []
        pages = 0
        while True:
            told, entries = page(port, number)
            pages += 1
            assert told == newest and len(entries) <= service.LOG_ENTRIES
            found += entries
            if not entries or entries[-1]["number"] == 1:
                break
            number = entries[-1]["number"] - 1
        oldest = max(1, newest - EVENT_PLACES + 1)
        assert [entry["number"] for entry in found] == list(range(newest, oldest - 1, -1))
        assert pages <= EVENT_PLACES // service.LOG_ENTRIES + 2
        for entry in found[:-1]:
            n = entry["number"]
            assert n == 1 or (entry["detail"], entry["register"], entry["time"]) == (n, n, MINUTES + n)
    # Numbers that are not yet, and that are no more.
    assert page(port, 0xFFFFFF)[1] == page(port, 0)[1]
    assert page(port, 1) == (newest, []) and page(port, oldest - 1) == (newest, [])


def test_entry_garbled_in_the_middle_ends_a_page_and_not_the_log():
    made, port = bench()
    fill(made, 20)
    at = EVENTS_AT + 12 * EVENT_SIZE
    made.memory.cells[at + 5] ^= 0x40
    assert [entry["number"] for entry in page(port, 0)[1]] == list(range(20, 12, -1))
    assert page(port, 12) == (20, [])
    assert [entry["number"] for entry in page(port, 11)[1]] == list(range(11, 0, -1))


def test_log_entry_of_a_meter_that_writes_on_is_never_another():
    # Asked for page by page while entries come: what is overwritten between two pages is missing, not mistaken.
    made, port = bench()
    fill(made, EVENT_PLACES + 20)
    entries = page(port, 40)[1]
    assert [entry["number"] for entry in entries] == list(range(40, 26, -1))
    fill(made, EVENT_PLACES + 30)
    assert page(port, 26)[1] == []
    assert [entry["number"] for entry in page(port, 40)[1]] == list(range(40, 30, -1))


def test_lost_store_is_an_error_and_the_number_is_told_where_it_is_known():
    for key_memory in (False, True):
        made, _ = bench()
        made.power_off(False)
        cells = made.key_memory.cells if key_memory else made.memory.cells
        for address in KEYS_AT if key_memory else ACCOUNT_AT:
            cells[address : address + 64] = bytes(64)
        assert made.power_on() == codes.STORE_LOST
        port = Service(made.meter)
        for identifier in (service.READ_STATUS, service.READ_COUNTERS, service.READ_LOG, 0x1234):
            (frame,) = answers(port.receive(Frame(READ, identifier, 3, b"\x00\x00\x00").encode()))
            assert frame.is_error() and frame.body == bytes((service.ERROR_STORE,))
            assert frame.meter == (ANY_METER if key_memory else OWN)


def test_memory_that_does_not_answer_is_an_error():
    made, port = bench()

    def silent(address, buffer):
        raise OSError(5)

    made.memory.read_into = silent
    assert ask(port, service.READ_LOG, bytes(3)) == (b"", service.ERROR_STORE)
    assert ask(port, service.READ_COUNTERS)[1] == 0  # these are at hand
    assert made.meter.reasons == SHUT_UNBOUND


def test_no_answer_holds_a_part_of_a_key():
    made, port = bench()
    fill(made, 40)
    told = b""
    for identifier in range(0x90F0, 0x9210):
        for body in (b"", bytes(3), b"\x00\x00\x20"):
            told += port.receive(Frame(READ, identifier, 1, body, OWN).encode())
    for number in range(48):
        told += port.receive(Frame(READ, service.READ_LOG, 1, number.to_bytes(3, "big"), OWN).encode())
    assert len(told) > 9000
    for key in (KEY, TOOL_KEY):
        for at in range(len(key) - 3):
            assert key[at : at + 4] not in told
