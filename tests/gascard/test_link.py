"""gascard.link: the CJ/T 188-shaped frame, whole, cut, damaged and in bad company."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gascard import link
from gascard.link import Decoder, Frame
from gasrig.targets import run_script

METER = bytes.fromhex("20240000000123")
# Written out by hand from the layout at the head of gascard/link.py.
BY_HAND = bytes.fromhex("FEFEFE 68 30 23010000002420 01 06 1F90 07 010203 C3 16")

CASES = [
    pytest.param(link.READ, 0x901F, 0, b"", link.ANY_METER, id="empty"),
    pytest.param(link.READ, 0x901F, 7, b"\x01\x02\x03", METER, id="short"),
    pytest.param(link.WRITE | link.ANSWER, 0xA018, 255, bytes(252), METER, id="longest"),
    pytest.param(link.READ | link.ANSWER | link.ERROR, 0xFFFF, 1, b"\x68\x16\x68\x16", METER, id="markers"),
    pytest.param(link.READ, 0, 0, b"\x68" * 252, METER, id="all-starts"),
    pytest.param(link.READ, 0x6868, 0x68, b"\xfe\xfe\xfe", b"\x68" * 7, id="starts-in-head"),
]
SHORT = Frame(link.READ, 0x901F, 7, b"\x01\x02\x03", METER).encode()


def seen(frame: Frame) -> tuple[Any, ...]:
    return (frame.kind, frame.meter, frame.control, frame.identifier, frame.serial, frame.body)


def all_seen(frames: list[Frame]) -> list[tuple[Any, ...]]:
    return [seen(frame) for frame in frames]


def expected(control: int, identifier: int, serial: int, body: bytes, meter: bytes) -> list[tuple[Any, ...]]:
    return [(link.TYPE_GAS, meter, control, identifier, serial, body)]


def test_encode_matches_the_frame_written_by_hand() -> None:
    checked = BY_HAND[:-2]
    assert sum(checked[3:]) & 0xFF == BY_HAND[-2]
    assert Frame(link.READ, 0x901F, 7, b"\x01\x02\x03", METER).encode() == BY_HAND


@pytest.mark.parametrize(("control", "identifier", "serial", "body", "meter"), CASES)
@pytest.mark.parametrize("wake", [0, 3, 20])
def test_frame_round_trips(control: int, identifier: int, serial: int, body: bytes, meter: bytes, wake: int) -> None:
    raw = Frame(control, identifier, serial, body, meter).encode(wake)
    frames = Decoder().feed(raw)
    assert all_seen(frames) == expected(control, identifier, serial, body, meter)
    assert frames[0].encode(wake) == raw


@pytest.mark.parametrize(("control", "identifier", "serial", "body", "meter"), CASES)
def test_frame_fed_byte_by_byte_is_found_at_its_last_byte(
    control: int, identifier: int, serial: int, body: bytes, meter: bytes
) -> None:
    decoder = Decoder()
    raw = Frame(control, identifier, serial, body, meter).encode()
    for i in range(len(raw) - 1):
        assert decoder.feed(raw[i : i + 1]) == []
    assert all_seen(decoder.feed(raw[-1:])) == expected(control, identifier, serial, body, meter)


@pytest.mark.parametrize(("control", "identifier", "serial", "body", "meter"), CASES)
def test_reader_that_waits_for_missing_bytes_never_overruns(
    control: int, identifier: int, serial: int, body: bytes, meter: bytes
) -> None:
    for junk in (b"", b"\x00" * 5, b"\x68", b"\x68\x30", b"\xfe" * 40):
        stream = junk + Frame(control, identifier, serial, body, meter).encode()
        decoder = Decoder()
        at = 0
        frames: list[Frame] = []
        while at < len(stream):
            count = decoder.missing()
            assert count > 0
            frames += decoder.feed(stream[at : at + count])
            at += count
        if junk[:1] != b"\x68":  # a false start may keep the true frame waiting until the line falls silent
            assert at == len(stream)
        frames += decoder.flush()
        assert expected(control, identifier, serial, body, meter)[0] in all_seen(frames)


@pytest.mark.parametrize(("control", "identifier", "serial", "body", "meter"), CASES)
def test_truncated_frame_is_never_a_frame(
    control: int, identifier: int, serial: int, body: bytes, meter: bytes
) -> None:
    raw = Frame(control, identifier, serial, body, meter).encode(0)
    for size in range(len(raw)):
        decoder = Decoder()
        assert decoder.feed(raw[:size]) == []
        assert decoder.flush() == []


def test_truncated_frame_does_not_hide_the_one_behind_it() -> None:
    for size in range(len(SHORT)):
        decoder = Decoder()
        frames = decoder.feed(SHORT[:size] + SHORT)
        frames += decoder.flush()
        assert all_seen(frames) == all_seen(Decoder().feed(SHORT))


@pytest.mark.parametrize(("control", "identifier", "serial", "body", "meter"), CASES)
def test_flipped_bit_is_never_another_frame(
    control: int, identifier: int, serial: int, body: bytes, meter: bytes
) -> None:
    raw = Frame(control, identifier, serial, body, meter).encode(0)
    for bit in range(len(raw) * 8):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        decoder = Decoder()
        for frame in decoder.feed(bytes(damaged)) + decoder.flush():
            # A flipped length or start can make another stretch of the same bytes add up: a one-byte sum
            # promises no more. It must then really add up.
            again = frame.encode(0)
            assert again in bytes(damaged)
            assert seen(frame) not in all_seen(Decoder().feed(raw)) or again == raw
            assert len(again) != len(raw), f"bit {bit} made a frame of the same length"


def test_short_frame_with_a_flipped_bit_gives_nothing_and_the_next_is_found() -> None:
    for bit in range(3 * 8, len(SHORT) * 8):
        damaged = bytearray(SHORT)
        damaged[bit // 8] ^= 1 << bit % 8
        decoder = Decoder()
        frames = decoder.feed(bytes(damaged) + SHORT)
        frames += decoder.flush()
        assert all_seen(frames) == all_seen(Decoder().feed(SHORT)), bit


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100, 10_000])
def test_frames_between_junk_are_all_found_whatever_the_chunks(chunk: int) -> None:
    rng = random.Random(188)
    stream = b""
    sent = []
    for i in range(60):
        body = rng.randbytes(rng.randrange(253))
        sent.append((link.TYPE_GAS, METER, link.READ, i, i, body))
        # Junk without a start byte; a false start is a case of its own, above.
        stream += bytes(b for b in rng.randbytes(rng.randrange(40)) if b != link.START)
        stream += Frame(link.READ, i, i, body, METER).encode()
    decoder = Decoder()
    frames: list[Frame] = []
    for at in range(0, len(stream), chunk):
        frames += decoder.feed(stream[at : at + chunk])
        assert len(decoder._held) < link.LONGEST
    assert all_seen(frames) == sent
    assert decoder.dropped == len(stream) - sum(len(Frame(2, 0, 0, s[5], METER).encode(0)) for s in sent)


@given(st.lists(st.binary(max_size=400)))
def test_decoder_survives_any_bytes_with_a_bounded_buffer(chunks: list[bytes]) -> None:
    decoder = Decoder()
    for chunk in chunks:
        for frame in decoder.feed(chunk):
            assert frame.encode(0) in b"".join(chunks)
        assert len(decoder._held) < link.LONGEST
        assert 0 < decoder.missing() <= link.LONGEST
    decoder.flush()
    assert decoder._held == b""
    assert all_seen(decoder.feed(SHORT)) == all_seen(Decoder().feed(SHORT))


PIECES = [b"\x68", b"\x30", b"\x16", b"\x03", b"\xfe", b"\x68\x30", SHORT, SHORT[3:-1]]


@given(st.lists(st.sampled_from(PIECES)))
def test_decoder_survives_streams_of_false_starts(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    whole = Decoder()
    frames = whole.feed(stream) + whole.flush()
    single = Decoder()
    bytewise: list[Frame] = []
    for i in range(len(stream)):
        bytewise += single.feed(stream[i : i + 1])
    bytewise += single.flush()
    assert all_seen(bytewise) == all_seen(frames)
    assert len(frames) >= parts.count(SHORT)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"control": 256}, id="control"),
        pytest.param({"control": -1}, id="control-negative"),
        pytest.param({"identifier": 0x10000}, id="identifier"),
        pytest.param({"serial": 256}, id="serial"),
        pytest.param({"body": bytes(253)}, id="body"),
        pytest.param({"meter": bytes(6)}, id="meter"),
        pytest.param({"kind": 0x20}, id="kind"),
        pytest.param({"wake": -1}, id="wake"),
    ],
)
def test_encode_refuses_what_has_no_room(values: dict[str, Any]) -> None:
    fields = {"control": link.READ, "identifier": 1, "serial": 0, "wake": 0} | values
    wake = fields.pop("wake")
    with pytest.raises(ValueError):
        Frame(**fields).encode(wake)


ON_VM = """
from gascard.link import ANSWER, READ, Decoder, Frame
from binascii import hexlify
METER = b"\\x20\\x24\\x00\\x00\\x00\\x01\\x23"
raw = Frame(READ | ANSWER, 0x901F, 255, bytes(range(252)), METER).encode()
print(hexlify(raw).decode())
one = Decoder()
found = []
for i in range(len(raw)):
    found += one.feed(raw[i:i + 1])
assert len(found) == 1 and found[0].body == bytes(range(252)) and found[0].meter == METER, found
assert found[0].is_answer() and not found[0].is_error()
two = Decoder()
found = two.feed(b"\\x00\\x68\\x30" + raw[:40] + raw + b"junk" + raw)
found += two.flush()
assert len(found) == 2, found
for bit in range(24, len(raw) * 8, 5):
    bad = bytearray(raw)
    bad[bit // 8] ^= 1 << bit % 8
    three = Decoder()
    for f in three.feed(bytes(bad)) + three.flush():
        assert f.encode(0) != raw[3:]
for n in (-1, 256):
    try:
        Frame(n, 0, 0).encode()
        assert False
    except ValueError:
        pass
"""


def test_link_runs_unchanged_on_every_target(target_name: str) -> None:
    raw = Frame(link.READ | link.ANSWER, 0x901F, 255, bytes(range(252)), METER).encode()
    assert run_script(target_name, ON_VM).strip() == raw.hex()
