# What must hold for every record, whatever its fields. Runs on every VM: nothing is imported but gascard.
# A record that is added to RECORDS is tested by being there.

from gascard import codes, frames, records, tools
from gascard.codec import RecordError, pack_into, unpack

# Record, its table, the kind byte of its frame (None: the identity has no frame), its bytes on the card.
RECORDS = (
    ("identity", records.IDENTITY, None, 13),
    ("order", records.ORDER, records.ORDER_USER, 59),
    ("report", records.REPORT_DATA, records.REPORT, 74),
    ("transfer", tools.TRANSFER, tools.TRANSFER_OUT, 55),
    ("management", tools.MANAGEMENT, tools.MANAGE, 27),
    ("setting", tools.SETTING, tools.SET, 66),
    ("key", tools.KEY_BLOCK, tools.KEY, 62),
)
FRAMED = [row for row in RECORDS if row[2] is not None]

KEY = b"0123456789abcdef"
CARD = 0x00A1B2C3
REGION = 0x0021


def bounds(kind):
    """Lowest and highest value of a field of this kind."""
    size = records.kind_size(kind)
    sort = kind >> 4
    if sort == 2:
        return "0" * (2 * size), "9" * (2 * size)
    if sort == 3:
        return bytes(size), b"\xff" * size
    if sort == 1:
        return -(1 << 8 * size - 1), (1 << 8 * size - 1) - 1
    if sort == 5:
        return 0, records.TOTAL_MAX
    if sort == 4:
        return 0, records.TIME_MAX
    return 0, (1 << 8 * size) - 1


def refused_values(kind):
    """Values no field of this kind may take."""
    size = records.kind_size(kind)
    low, top = bounds(kind)
    if kind >> 4 == 2:
        return None, "", top[1:], top + "0", "A" + top[1:], "-" + top[1:], " " + top[1:], 1, b"1" * (2 * size)
    if kind >> 4 == 3:
        return None, b"", bytes(size - 1), bytes(size + 1), size, "0" * size, 1 << 40
    return None, low - 1, top + 1, 1 << 40, "1", b"1", 1.0, True, False


def values_of(layout, which):
    """A dict of values: all lowest (0), all highest (1), or every field another pattern (2)."""
    values = {}
    for count, (name, kind) in enumerate(layout, 1):
        if which < 2:
            values[name] = bounds(kind)[which]
        elif kind >> 4 == 2:
            values[name] = (f"{10 + count}" * 8)[: 2 * records.kind_size(kind)]
        elif kind >> 4 == 3:
            values[name] = bytes([count + i for i in range(records.kind_size(kind))])
        elif kind >> 4 == 1:
            values[name] = -1000 - count
        else:
            values[name] = 3 * count
    return values


def packed(layout, values):
    buffer = bytearray(records.size_of(layout))
    assert pack_into(layout, values, buffer) == len(buffer)
    return bytes(buffer)


def frame_of(layout, kind, which=2):
    return frames.build(layout, values_of(layout, which), kind, CARD, REGION, KEY)


def accepted(layout, image, at=0):
    """What a reader does before it believes a frame."""
    size = records.size_of(layout)
    if frames.check(image, at, size) != codes.OK:
        return False
    return frames.mac_right(image, at, size, CARD, REGION, KEY)


def refuses(layout, values, name):
    """Whether packing is refused for this very field and leaves the buffer alone."""
    buffer = bytearray(b"\xa5" * (records.size_of(layout) + 2))
    before = bytes(buffer)
    try:
        pack_into(layout, values, buffer, 1)
    except RecordError as error:
        return error.args[0] == name and bytes(buffer) == before
    return False


def test_round_trip_low_high_and_mixed():
    for _, layout, _, _ in RECORDS:
        for which in (0, 1, 2):
            values = values_of(layout, which)
            data = packed(layout, values)
            assert unpack(layout, data) == values
            assert packed(layout, unpack(layout, data)) == data


def test_round_trip_at_an_offset_touches_nothing_else():
    for _, layout, _, _ in RECORDS:
        values = values_of(layout, 2)
        size = records.size_of(layout)
        buffer = bytearray(b"\xa5" * (size + 7))
        assert pack_into(layout, values, buffer, 3) == size + 3
        assert buffer[:3] == b"\xa5" * 3 and buffer[size + 3 :] == b"\xa5" * 4
        assert unpack(layout, buffer, 3) == values
        assert unpack(layout, memoryview(buffer), 3) == values


def test_fields_lie_where_offset_of_says_high_byte_first():
    for _, layout, _, _ in RECORDS:
        data = packed(layout, values_of(layout, 2))
        values = values_of(layout, 2)
        for name, kind in layout:
            at = records.offset_of(layout, name)
            size = records.kind_size(kind)
            value = 0
            for byte in data[at : at + size]:
                value = value << 8 | byte
            if kind >> 4 == 1 and value >> 8 * size - 1:
                value -= 1 << 8 * size
            if kind >> 4 == 2:
                value = ("0" * 16 + f"{value:x}")[-2 * size :]
            if kind >> 4 == 3:
                value = data[at : at + size]
            assert value == values[name]


def test_offset_of_unknown_field_raises():
    try:
        records.offset_of(records.ORDER, "nothing")
    except KeyError:
        return
    assert False, "no such field, and no KeyError"  # noqa: B011


def test_pack_refuses_what_no_field_can_hold():
    for _, layout, _, _ in RECORDS:
        for name, kind in layout:
            for value in refused_values(kind):
                values = values_of(layout, 2)
                values[name] = value
                assert refuses(layout, values, name), (name, value)


def test_pack_refuses_a_missing_field():
    for _, layout, _, _ in RECORDS:
        for name, _ in layout:
            values = values_of(layout, 2)
            del values[name]
            assert refuses(layout, values, name), name


def test_pack_refuses_a_buffer_too_short():
    for _, layout, _, _ in RECORDS:
        buffer = bytearray(records.size_of(layout) - 1)
        try:
            pack_into(layout, values_of(layout, 1), buffer)
        except RecordError:
            assert buffer == bytearray(len(buffer))
        else:
            assert False, "a byte was lost"  # noqa: B011


def test_unpack_refuses_every_truncation():
    for _, layout, _, _ in RECORDS:
        data = packed(layout, values_of(layout, 2))
        for length in range(len(data)):
            try:
                unpack(layout, data[:length])
            except RecordError:
                continue
            assert False, length  # noqa: B011


def test_unpack_ignores_bytes_behind_the_record():
    for _, layout, _, _ in RECORDS:
        values = values_of(layout, 2)
        assert unpack(layout, packed(layout, values) + b"\xff\x16\x00") == values


def test_unpack_refuses_digits_and_totals_that_no_encoder_writes():
    for _, layout, _, _ in RECORDS:
        for name, kind in layout:
            if kind >> 4 not in (2, 5):
                continue
            at = records.offset_of(layout, name)
            data = bytearray(packed(layout, values_of(layout, 2)))
            data[at : at + 4] = b"\x05\xf5\xe1\x00" if kind >> 4 == 5 else b"\x0a\x00\x00\x00"
            try:
                unpack(layout, data)
            except RecordError as error:
                assert error.args[0] == name
            else:
                assert False, name  # noqa: B011


def test_frame_round_trip():
    for _, layout, kind, size in FRAMED:
        for which in (0, 1, 2):
            frame = frame_of(layout, kind, which)
            assert len(frame) == frames.frame_size(layout) == size
            assert (frame[0], frame[1], frame[2], frame[3]) == (0x68, kind, size - 15, records.FORMAT_VERSION)
            assert frame[-1] == 0x16
            assert accepted(layout, frame)
            assert frames.read(layout, frame, 0) == values_of(layout, which)
            assert frames.mac_at(frame, 0, size - 15) == frame[-11:-3]


def test_frame_truncated_anywhere_is_refused():
    for _, layout, kind, _ in FRAMED:
        frame = frame_of(layout, kind)
        for length in range(len(frame)):
            assert frames.check(frame[:length], 0, records.size_of(layout)) == codes.SHAPE
            for filler in (b"\xff", b"\0"):
                assert not accepted(layout, frame[:length] + filler * (len(frame) - length))


def test_frame_with_any_bit_flipped_is_refused():
    for _, layout, kind, _ in FRAMED:
        frame = bytearray(frame_of(layout, kind))
        for place in range(len(frame)):
            for bit in range(8):
                frame[place] ^= 1 << bit
                assert frames.check(frame, 0, records.size_of(layout)) in (codes.SHAPE, codes.CRC)
                frame[place] ^= 1 << bit
        assert accepted(layout, frame)


def test_frame_with_any_bit_flipped_and_its_crc_repaired_is_refused():
    for _, layout, kind, _ in FRAMED:
        whole = frame_of(layout, kind)
        end = len(whole) - frames.TAIL
        for place in range(1, end):
            for bit in range(8):
                frame = bytearray(whole)
                frame[place] ^= 1 << bit
                assert not accepted(layout, frames.close(frame, end, whole[end : end + 8]))


def test_frame_any_mac_bit_counts():
    for _, layout, kind, _ in FRAMED:
        whole = frame_of(layout, kind)
        end = len(whole) - frames.TAIL
        for place in range(8):
            mac = bytearray(whole[end : end + 8])
            mac[place] ^= 0x10
            frame = frames.close(bytearray(whole), end, mac)
            assert frames.check(frame, 0, records.size_of(layout)) == codes.OK
            assert not accepted(layout, frame)


def test_frame_between_other_bytes_is_found_and_trailing_bytes_do_not_matter():
    for _, layout, kind, _ in FRAMED:
        frame = frame_of(layout, kind)
        image = b"\x68\x16" * 5 + frame + b"\x68\x16\xff"
        assert accepted(layout, image, 10)
        assert frames.read(layout, image, 10) == values_of(layout, 2)
        assert not accepted(layout, image, 9) and not accepted(layout, image, 11)


def test_frame_of_another_card_or_region_is_refused():
    for _, layout, kind, _ in FRAMED:
        frame = frame_of(layout, kind)
        size = records.size_of(layout)
        assert not frames.mac_right(frame, 0, size, CARD + 1, REGION, KEY)
        assert not frames.mac_right(frame, 0, size, CARD, REGION + 1, KEY)
        assert not frames.mac_right(frame, 0, size, CARD, REGION, KEY[:-1] + b"g")


def test_frame_with_a_malformed_field_reads_as_none():
    for _, layout, kind, _ in FRAMED:
        frame = bytearray(frame_of(layout, kind))
        # Digits, times and totals: of them no encoder writes one that begins with FF.
        name = [name for name, field in layout if field >> 4 in (2, 4, 5)][0]
        frame[frames.HEAD + records.offset_of(layout, name)] = 0xFF
        assert frames.read(layout, frame, 0) is None


def test_newer_frame_of_any_length_that_fits_is_called_newer():
    for _, layout, _, _ in FRAMED:
        for length in (0, 1, 40, 100, 200):
            frame = bytearray(length + 15)
            frame[0], frame[1], frame[2], frame[3] = 0x68, 0x02, length, records.FORMAT_VERSION + 1
            whole = frames.close(frame, 4 + length, bytes(8))
            assert frames.check(whole, 0, records.size_of(layout)) == codes.VERSION
            assert frames.check(whole[:-1], 0, records.size_of(layout)) == codes.SHAPE


def test_identity_any_bit_flipped_is_refused():
    image = bytearray(256)
    image[8:21] = frames.build_identity(values_of(records.IDENTITY, 1))
    assert frames.check_identity(image) == codes.NOT_OURS
    values = values_of(records.IDENTITY, 2)
    values["mark"], values["format"] = records.MARK, records.FORMAT_VERSION
    image[8:21] = frames.build_identity(values)
    assert frames.check_identity(image) == codes.OK
    for place in range(8, 21):
        for bit in range(8):
            image[place] ^= 1 << bit
            assert frames.check_identity(image) == (codes.NOT_OURS if place == 8 else codes.CRC)
            image[place] ^= 1 << bit
    for length in range(21):
        assert frames.check_identity(image[:length]) == codes.NOT_OURS


def test_identity_build_ignores_a_crc_given_and_keeps_the_dict():
    values = values_of(records.IDENTITY, 2)
    values["crc"] = 0x1234
    made = frames.build_identity(values)
    assert values["crc"] == 0x1234
    del values["crc"]
    assert frames.build_identity(values) == made


def test_area_map_no_overlap_fits_and_leaves_17_bytes():
    areas = [(0x00, 0x08), (records.IDENTITY_AT, 13), (0x15, 0x0B), (records.ORDER_AT, 59)]
    for at in records.REPORT_AT:
        areas.append((at, 74))
    areas.append((records.SPARE_AT, 17))
    place = 0
    for at, size in areas:
        assert at == place, "each area begins where the one before ends"
        place += size
    assert place == records.IMAGE_SIZE == 256
    assert records.size_of(records.IDENTITY) == 13
    assert frames.frame_size(records.ORDER) == 59
    assert frames.frame_size(records.REPORT_DATA) == 74


def test_company_cards_frames_lie_apart_and_leave_the_slots_that_are_written():
    # What lies at ORDER_AT, and where the first thing behind it lies (gascard.tools tells which card has what).
    for layout, behind in (
        (records.ORDER, records.REPORT_AT[0]),  # clear and test
        (tools.TRANSFER, tools.TRANSFER_IN_AT),
        (tools.MANAGEMENT, records.REPORT_AT[0]),
        (tools.SETTING, records.REPORT_AT[1]),
        (tools.KEY_BLOCK, records.REPORT_AT[1]),
    ):
        assert tools.TOOL_AT + frames.frame_size(layout) <= behind
    assert tools.TRANSFER_IN_AT + frames.frame_size(records.ORDER) <= tools.FINAL_AT
    assert tools.FINAL_AT + frames.frame_size(records.REPORT_DATA) <= records.SPARE_AT


def test_tables_names_are_unique_and_kinds_known():
    for _, layout, _, _ in RECORDS:
        names = [row[0] for row in layout]
        assert len(names) == len(set(names))
        for _, kind in layout:
            assert 0 <= kind >> 4 <= 5 and 1 <= records.kind_size(kind) <= 16
