"""Readers: the password procedure as a chip wants it, only changed bytes, no last try by accident, cards in files."""

import errno
import logging
import os

import pytest

from gascard import codes
from gascard.chip import DEFAULT_PSC, MAIN, SECURITY, Chip
from gascard.sle4442 import ATR
from gashall import errors
from gashall.errors import CardError, ReaderError
from gashall.readers import ChipReader, FileReader, Reader


@pytest.fixture(params=["chip", "file"])
def reader(request, tmp_path):
    """Each reader with a new blank card in it."""
    return ChipReader(Chip()) if request.param == "chip" else FileReader.blank(tmp_path / "card.bin")


def code_of(refusal):
    return refusal.value.code


def test_connect_gives_the_atr(reader):
    assert reader.connect() == ATR
    reader.disconnect()
    reader.disconnect()


def test_read_gives_main_memory_without_a_password(reader):
    with reader:
        assert reader.read(0, 256) == bytes(Chip().main)
        assert reader.read(0x15, 6) == b"\xd2\x76\x00\x00\x04\x00"
        assert reader.error_counter() == 7


def test_write_needs_the_password_and_touches_only_changed_bytes(reader):
    stored = []
    with reader:
        with pytest.raises(ReaderError) as refusal:
            reader.write(0x20, b"\1")
        assert code_of(refusal) == errors.READER_USE
        assert reader.present(DEFAULT_PSC)
        assert reader.write(0x20, b"\1\xff\2\3") == 3
        reader.step = stored.append
        assert reader.write(0x20, b"\1\7\2\3") == 1
        assert stored == [(MAIN, 0x21, 7)]
        assert reader.read(0x20, 4) == b"\1\7\2\3"


def test_password_is_gone_after_disconnect(reader):
    with reader:
        assert reader.present(DEFAULT_PSC)
    with reader, pytest.raises(ReaderError):
        reader.write(0x20, b"\1")


def test_protected_byte_is_never_written_again(reader):
    with reader:
        reader.present(DEFAULT_PSC)
        reader.write(8, b"abc")
        reader.protect(8, b"abc")
        reader.protect(8, b"abc")
        assert reader.protection() == bytes((0xF0, 0xF8, 0xFF, 0xFF))
        with pytest.raises(CardError) as refusal:
            reader.write(8, b"x")
        assert code_of(refusal) == errors.WRITE_REFUSED
        with pytest.raises(CardError):
            reader.protect(11, b"x")


def test_wrong_password_costs_a_try_and_the_right_one_restores_them(reader):
    with reader:
        assert not reader.present(b"\1\2\3")
        assert reader.error_counter() in (3, 5, 6)
        assert reader.present(DEFAULT_PSC)
        assert reader.error_counter() == 7


def test_last_try_is_spent_only_on_purpose(reader):
    with reader:
        reader.present(b"\1\2\3")
        reader.present(b"\1\2\3")
        for _ in range(3):
            with pytest.raises(CardError) as refusal:
                reader.present(DEFAULT_PSC)
            assert code_of(refusal) == errors.LAST_TRY
        assert reader.present(DEFAULT_PSC, rescue=True)
        assert reader.error_counter() == 7


def test_dead_card_is_read_and_never_presented_a_password(reader):
    with reader:
        for _ in range(3):
            reader.present(b"\1\2\3", rescue=True)
        assert reader.error_counter() == 0
        with pytest.raises(CardError) as refusal:
            reader.present(DEFAULT_PSC, rescue=True)
        assert code_of(refusal) == errors.CARD_DEAD
        assert reader.read(0, 4) == ATR


def test_changed_password_is_the_one_from_then_on(reader):
    with reader:
        reader.present(DEFAULT_PSC)
        reader.change_psc(b"\1\2\3")
    with reader:
        assert not reader.present(DEFAULT_PSC)
        assert reader.present(b"\1\2\3")


@pytest.mark.parametrize(
    "misuse",
    [
        lambda reader: reader.read(0, 257),
        lambda reader: reader.read(-1, 1),
        lambda reader: reader.read(256, 1),
        lambda reader: reader.read(0, 0),
        lambda reader: reader.write(250, bytes(7)),
        lambda reader: reader.write(0x20, b""),
        lambda reader: reader.protect(31, b"ab"),
        lambda reader: reader.present(b"12"),
        lambda reader: reader.change_psc(b"1234"),
    ],
)
def test_call_out_of_range_is_refused(reader, misuse):
    with reader:
        reader.present(DEFAULT_PSC)
        with pytest.raises(ReaderError) as refusal:
            misuse(reader)
        assert code_of(refusal) == errors.READER_USE


@pytest.mark.parametrize(
    "call",
    [
        lambda reader: reader.read(0, 1),
        lambda reader: reader.error_counter(),
        lambda reader: reader.protection(),
        lambda reader: reader.present(DEFAULT_PSC),
        lambda reader: reader.change_psc(DEFAULT_PSC),
    ],
)
def test_call_before_connect_is_refused(reader, call):
    with pytest.raises(ReaderError) as refusal:
        call(reader)
    assert code_of(refusal) == errors.READER_USE


def test_pulled_card_is_out(reader):
    with reader:
        reader.present(DEFAULT_PSC)
        reader.step = lambda plan: reader.pull() and None
        with pytest.raises(ReaderError) as refusal:
            reader.write(0x20, b"\1")
        assert code_of(refusal) == codes.CARD_OUT
        with pytest.raises(ReaderError):
            reader.read(0, 1)


def test_empty_slot_has_no_card(tmp_path):
    for reader in (ChipReader(), FileReader(tmp_path / "none")):
        with pytest.raises(ReaderError) as refusal:
            reader.connect()
        assert code_of(refusal) == codes.NO_CARD


def test_other_chip_is_no_card():
    chip = Chip()
    chip.main[0:4] = b"\xa2\x13\x20\x91"
    with pytest.raises(ReaderError) as refusal:
        ChipReader(chip).connect()
    assert code_of(refusal) == codes.NO_CARD


def test_inserted_chip_takes_the_place_of_the_one_before():
    first, second = Chip(), Chip()
    second.main[0x20] = 7
    reader = ChipReader(first)
    reader.insert(second)
    with reader:
        assert reader.read(0x20, 1) == b"\7"


def test_trace_shows_the_bytes_and_no_password(caplog):
    lines = []
    reader = ChipReader(Chip(), trace=lines.append)
    with reader, caplog.at_level(logging.DEBUG):
        reader.present(DEFAULT_PSC)
        reader.write(0x20, b"\xab\xcd")
        reader.change_psc(b"\x12\x34\x56")
        reader.present(b"\x12\x34\x56")
    text = "\n".join(lines)
    assert "abcd" in text
    assert "123456" not in text
    assert not caplog.records
    with ChipReader(Chip()) as silent, caplog.at_level(logging.DEBUG, "gashall.readers"):
        silent.read(0, 1)
    assert caplog.records


def test_driver_error_becomes_a_reader_error():
    class Broken(ChipReader):
        def _read(self, address, length):
            raise OSError("unplugged")

    with Broken(Chip()) as reader, pytest.raises(ReaderError, match="unplugged") as refusal:
        reader.read(0, 1)
    assert code_of(refusal) == errors.READER


def test_short_answer_becomes_a_reader_error():
    class Short(ChipReader):
        def _read(self, address, length):
            return b""

    with Short(Chip()) as reader, pytest.raises(ReaderError) as refusal:
        reader.read(0, 1)
    assert code_of(refusal) == errors.READER


def test_reader_with_a_header_before_the_atr_is_understood():
    class PcscLike(ChipReader):
        def _connect(self):
            return b"\x3b\x04" + super()._connect()

    assert PcscLike(Chip()).connect() == ATR


def test_reader_base_class_alone_is_none():
    with pytest.raises(TypeError):
        Reader()


def test_file_holds_each_byte_before_the_next_is_stored(tmp_path):
    path = tmp_path / "card.bin"
    reader = FileReader.blank(path)
    seen = []

    def look(plan):
        seen.append((plan, path.read_bytes(), (tmp_path / "card.bin.chip").read_bytes()))

    with reader:
        reader.step = look
        reader.present(DEFAULT_PSC)
        reader.write(0x20, b"\1\2")
        reader.protect(8, b"\xff")
    after = [*seen[1:], (None, path.read_bytes(), (tmp_path / "card.bin.chip").read_bytes())]
    for (plan, _, _), (_, main, chip) in zip(seen, after, strict=True):
        area, place, value = plan
        assert (main[place] if area == MAIN else chip[place + (4 if area == SECURITY else 0)]) == value


def test_file_is_read_anew_at_each_connect(tmp_path):
    reader = FileReader.blank(tmp_path / "card.bin")
    with reader:
        pass
    (tmp_path / "card.bin").write_bytes(bytes(Chip().main[:0x20]) + b"\5" + b"\xff" * 0xDF)
    with reader:
        assert reader.read(0x20, 1) == b"\5"


def test_file_without_sidecar_is_as_the_maker_ships(tmp_path):
    (tmp_path / "card.bin").write_bytes(bytes(Chip().main))
    with FileReader(tmp_path / "card.bin") as reader:
        assert reader.read(0, 256) == bytes(Chip().main)
        assert reader.error_counter() == 7
        assert not (tmp_path / "card.bin.chip").exists()
        assert reader.present(DEFAULT_PSC)
        reader.protect(8, b"\xff")
    assert (tmp_path / "card.bin.chip").read_bytes() == b"\xf0\xfe\xff\xff\x07\xff\xff\xff"


@pytest.mark.parametrize(
    "call",
    [
        lambda reader: reader.present(DEFAULT_PSC),
        lambda reader: reader.present(DEFAULT_PSC, rescue=True),
        lambda reader: reader.write(0x20, b"\1"),
        lambda reader: reader.protect(8, b"\1"),
        lambda reader: reader.change_psc(DEFAULT_PSC),
        lambda reader: reader.error_counter(),
        lambda reader: reader.protection(),
    ],
)
def test_written_file_without_sidecar_is_read_and_no_more(tmp_path, call):
    image = bytearray(Chip().main)
    image[0x20] = 1
    (tmp_path / "card.bin").write_bytes(image)
    with FileReader(tmp_path / "card.bin") as reader:
        assert reader.read(0, 256) == image
        with pytest.raises(ReaderError, match=r"There is no .*card\.bin\.chip") as refusal:
            call(reader)
    assert (code_of(refusal), refusal.value.remedy[:8]) == (errors.READER, "Put the ")
    assert [path.name for path in tmp_path.iterdir()] == ["card.bin"]


def test_file_of_264_bytes_is_told_where_its_last_eight_belong(tmp_path):
    (tmp_path / "card.bin").write_bytes(Chip().dump())
    with pytest.raises(ReaderError, match=r"264 bytes.*card\.bin\.chip"):
        FileReader(tmp_path / "card.bin").connect()


@pytest.mark.parametrize(("card", "chip", "words"), [(None, None, "Correct the path"), (256, 7, "Restore it")])
def test_missing_card_file_or_bad_sidecar_has_a_remedy_of_its_own(tmp_path, card, chip, words):
    if card:
        FileReader.blank(tmp_path / "card.bin")
        (tmp_path / "card.bin.chip").write_bytes(bytes(chip))
    with pytest.raises(ReaderError) as refusal:
        FileReader(tmp_path / "card.bin").connect()
    assert refusal.value.remedy.startswith(words)


@pytest.mark.parametrize(("main", "sidecar"), [(255, 8), (257, 8), (0, 8), (256, 7), (256, 9)])
def test_file_of_another_size_is_no_card(tmp_path, main, sidecar):
    (tmp_path / "card.bin").write_bytes(bytes(Chip().main)[:main].ljust(main, b"\0"))
    (tmp_path / "card.bin.chip").write_bytes(bytes(sidecar))
    with pytest.raises(ReaderError) as refusal:
        FileReader(tmp_path / "card.bin").connect()
    assert code_of(refusal) == codes.NO_CARD


def test_blank_never_overwrites_a_card(tmp_path):
    FileReader.blank(tmp_path / "card.bin")
    with pytest.raises(ReaderError) as refusal:
        FileReader.blank(tmp_path / "card.bin")
    assert code_of(refusal) == errors.READER
    with pytest.raises(ReaderError):
        FileReader.blank(tmp_path / "none" / "card.bin")


def write_protected(folder, monkeypatch):
    reader, real = FileReader.blank(folder / "card.bin"), os.open

    def refusing(path, flags, *more):
        if flags & os.O_RDWR:  # whoever tests as root may write everywhere
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", refusing)
    return reader


FILES = [
    ("a folder", lambda folder, _: FileReader(folder), "{folder} cannot be used: it is no regular file."),
    ("a device", lambda folder, _: FileReader("/dev/null"), "/dev/null cannot be used: it is no regular file."),
    ("write-protected", write_protected, "{folder}/card.bin cannot be used: Permission denied."),
]


@pytest.mark.parametrize(("card", "told"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_card_file_that_cannot_be_used_is_told_as_a_file_and_not_as_a_reader(tmp_path, monkeypatch, card, told):
    with pytest.raises(ReaderError) as refusal:
        card(tmp_path, monkeypatch).connect()
    assert code_of(refusal) == errors.READER
    assert refusal.value.message == "The card file " + told.format(folder=tmp_path)
    assert "cable" not in refusal.value.remedy and "read and written" in refusal.value.remedy


def test_card_file_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReaderError, match="no regular file") as refusal:
        FileReader(tmp_path / "pipe").connect()
    assert code_of(refusal) == errors.READER
