"""Looking a card over: what is said of every kind of card, and what its error counter holds afterwards, exactly."""

import json
from datetime import UTC, datetime

import pytest
from paper import METER, NEIGHBOUR, REGION, ROOT, put
from tests.conftest import require_part

from gascard import codes
from gascard.chip import DEFAULT_PSC, SECURITY, Chip
from gascard.records import IMAGE_SIZE, ORDER_AT, REPORT_AT
from gashall import errors
from gashall.errors import ReaderError, RequestError
from gashall.readers import ChipReader, FileReader
from gashall.signer import KeyFileSigner

require_part("alembic")
from gashall import hall_command, services  # noqa: E402
from gashall.exchange import NewMeter  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402

COUNTERS = {3: 7, 2: 3, 1: 1, 0: 0}


def genuine(desk):
    desk.opened().read_back(desk.card)


def opened(desk):
    """Issued, and not in its meter yet."""
    desk.hall().open_account(desk.blank(), meter=METER, volume=30, name="Li Wei")


def blank(desk):
    desk.blank()


def stranger(desk):
    """Another trade's card in the slot: something stands where our identity would."""
    desk.blank()
    put(desk.card_path, 0x08, bytes(range(1, 14)))


def other_region(desk):
    folder = desk.folder / "elsewhere"
    folder.mkdir()
    hall = services.Hall(Ledger(folder / "ledger.db", 0x22), KeyFileSigner(ROOT, 0x22))
    hall.open_account(desk.blank(), meter=METER, volume=30)
    hall.close()


def unknown_number(desk):
    """A card of our key that this ledger has never heard of: another ledger's of the region."""
    folder = desk.folder / "elsewhere"
    folder.mkdir()
    hall = services.Hall(Ledger(folder / "ledger.db", REGION), KeyFileSigner(ROOT, REGION))
    hall.open_account(desk.blank(), meter=METER, volume=30)
    hall.close()


def damaged_identity(desk):
    genuine(desk)
    put(desk.card_path, 0x0D, b"\x55")


def damaged_order(desk):
    genuine(desk)
    put(desk.card_path, ORDER_AT + 20, b"\x55")


def forged_order(desk):
    """Right in everything but the key."""
    genuine(desk)
    forger = services.Hall(Ledger(desk.folder / "forger.db", REGION), KeyFileSigner(bytes(32), REGION))
    forger.open_account(desk.blank("forged.bin"), meter=METER, volume=30)
    forger.close()
    put(desk.card_path, ORDER_AT, (desk.folder / "forged.bin").read_bytes()[ORDER_AT : ORDER_AT + 59])


def forged_report(desk):
    genuine(desk)
    desk.meter.key = bytes(16)
    desk.meter.report_number = 9
    put(desk.card_path, REPORT_AT[1], desk.meter.report())


def damaged_report(desk):
    genuine(desk)
    put(desk.card_path, REPORT_AT[0] + 20, b"\x55")


def rolled_back(desk):
    """The card as it was before the last sale: genuine bytes, an order that is no longer the last."""
    genuine(desk)
    before = desk.card_path.read_bytes()
    desk.hall().sell(desk.card, 20)
    put(desk.card_path, 0, before)


def replaced(desk):
    """The account has a newer card, booked by hand as a replacement's service does."""
    genuine(desk)
    hall = desk.hall()
    with hall.ledger.begin() as books:
        row = books.add_card("0000000001", 0)
        books._connection.exec_driver_sql(f"UPDATE cards SET replacement = 1, issued = 1 WHERE number = {row.number}")


def clone(desk):
    """Genuine data on another chip: whoever copied it did not know the password."""
    genuine(desk)
    place = desk.folder / "card.bin.chip"
    dump = bytearray(place.read_bytes())
    dump[5:8] = b"\x12\x34\x56"
    place.write_bytes(dump)


def half_made(desk):
    """The program died while the opening card was written."""
    reader = desk.blank()

    def step(plan):
        if plan[0] == SECURITY and plan[1]:
            raise KeyboardInterrupt

    reader.step = step
    with pytest.raises(KeyboardInterrupt):
        desk.hall().open_account(reader, meter=METER, volume=30)


def loaded_twice_sold(desk):
    """A sale on its way to the meter: the card is ahead of the newest report, as it should be."""
    genuine(desk)
    desk.hall().sell(desk.card, 20)


# (rule, what is in the slot, codes found, whether the ledger knows it, whether it may be given its password, and
# whether that is right)
CARDS = [
    ("DOMAIN 3.4: ours, whole, alive", genuine, [], True, True),
    ("opening card not loaded yet", opened, [], True, True),
    ("gas on its way to the meter", loaded_twice_sold, [], True, True),
    ("DOMAIN 3.4: blank", blank, [errors.CARD_BLANK], False, False),
    ("DESIGN D4: a stranger's chip", stranger, [codes.NOT_OURS], False, False),
    ("RULES 1: another region's", other_region, [codes.REGION], False, False),
    ("not this ledger's", unknown_number, [errors.CARD_UNKNOWN], False, False),
    ("RULES 1: identity damaged", damaged_identity, [codes.CRC], False, False),
    ("RULES 1: order damaged", damaged_order, [codes.CRC], True, False),
    ("RULES 1: order forged", forged_order, [codes.MAC], True, False),
    ("RULES 1: report forged", forged_report, [codes.MAC], True, False),
    ("a damaged report does no harm to a password", damaged_report, [codes.CRC], True, True),
    ("RULES 1: sequence older", rolled_back, [codes.OLDER], True, True),
    ("RULES 1: replacement number", replaced, [codes.REPLACED], True, True),
    ("genuine data, another chip", clone, [], True, None),
    ("an opening that was never finished", half_made, [errors.CARD_HALF_MADE], True, False),
]
MODES = {
    "not asked": {},
    "asked": {"password": True},
    "rescue": {"password": True, "rescue": True},
}


@pytest.mark.parametrize("tries", COUNTERS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("put_in", "found", "known", "fit"), [row[1:] for row in CARDS], ids=[row[0] for row in CARDS])
def test_card_is_told_and_its_error_counter_is_left_as_it_must_be(desk, put_in, found, known, fit, mode, tries):
    put_in(desk)
    sidecar = desk.folder / "card.bin.chip"
    dump = bytearray(sidecar.read_bytes())
    dump[4] = COUNTERS[tries]
    sidecar.write_bytes(dump)
    image = desk.card_path.read_bytes()
    hall = desk.hall()
    with hall.ledger.look() as books:
        head = books.head()

    told = hall.verify(desk.card, **MODES[mode])

    presented = mode != "not asked" and fit is not False and tries >= (1 if mode == "rescue" else 2)
    left = tries if not presented else 3 if fit else tries - 1
    password = "not asked" if mode == "not asked" else "not presented"
    expected = list(found)
    if presented:
        password = "right" if fit else "refused"
        expected += [] if fit else [codes.PASSWORD_REFUSED]
    if left < 2:
        expected.append(errors.LAST_TRY if left else errors.CARD_DEAD)
    assert [error.code for error in told.findings] == expected
    assert all(error.remedy for error in told.findings)
    assert (told.password, told.tries_before, told.tries_left) == (password, tries, left)
    assert told.good is (not expected)
    assert (told.account is not None) is known
    # The chip: its error counter as told, and not a byte else.
    counter = COUNTERS[tries]
    dump[4] = counter if not presented else 7 if fit else counter & (counter - 1)
    assert (sidecar.read_bytes(), desk.card_path.read_bytes()) == (bytes(dump), image)
    with hall.ledger.look() as books:
        assert books.head() == head


def test_rescue_without_a_password_is_refused(desk):
    genuine(desk)
    with pytest.raises(RequestError) as refusal:
        desk.hall().verify(desk.card, rescue=True)
    assert refusal.value.code == errors.FIELD


def test_other_region_card_is_not_accused_of_forgery(desk):
    other_region(desk)
    told = desk.hall().verify(desk.card)
    assert (told.region, told.card) == (0x22, 1)
    assert [part.mac for part in told.parts] == [None] * 4


def test_empty_slot_and_chip_of_another_kind_are_no_card(desk):
    for chip in (None, Chip()):
        if chip is not None:
            chip.main[0:4] = b"\x3b\x00\x00\x00"
        with pytest.raises(ReaderError) as refusal:
            desk.hall().verify(ChipReader(chip))
        assert refusal.value.code == codes.NO_CARD


def test_card_file_without_its_other_half_is_told_without_its_tries(desk):
    genuine(desk)
    (desk.folder / "card.bin.chip").unlink()
    told = desk.hall().verify(desk.card, password=True)
    assert (told.tries_left, told.password) == (None, "not presented")
    assert [error.code for error in told.findings] == [errors.READER]
    assert told.lines()[1] == "tries left    not readable"


def test_card_swapped_before_its_password_is_presented_is_given_none(desk):
    genuine(desk)

    class Swapping(ChipReader):
        """The card is another from the second reading on."""

        def _error_counter(self):
            self.chip = other
            return super()._error_counter()

    chip, other = Chip(), Chip()
    chip.main[:] = desk.card_path.read_bytes()
    with pytest.raises(errors.CardError) as refusal:
        desk.hall().verify(Swapping(chip), password=True)
    assert refusal.value.code == errors.CARD_SWAPPED
    assert bytes(other.main) == bytes(Chip().main) and other.security == bytearray(b"\x07" + DEFAULT_PSC)


TOLD = """\
chip          answers as an SLE4442
tries left    3 of 3
card          1 of region 0x0021
identity      whole, batch 0, customer card
order         whole, MAC right
report slot 0 whole, MAC right
report slot 1 blank
ledger        account 0000000001, Li Wei, meter 32060012345678, replacement 0
last order    1: done
password      right
The card is good.
"""


def run(desk, capsys, *words):
    path = desk.folder / "region.key"
    if not path.exists():
        path.touch(0o600)
        path.write_text(json.dumps({"format": "icgas key file 1", "region": REGION, "root": ROOT.hex()}))
    desk.hall().close()
    places = ("--ledger", str(desk.folder), "--key", str(path), "--card", str(desk.card_path))
    code = hall_command.command(["verify", *words, *places])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_command_prints_the_card_and_ends_with_0_for_a_good_one(desk, capsys):
    genuine(desk)
    code, out, err = run(desk, capsys, "--password")
    assert (code, out, err) == (0, TOLD, "")


def test_command_ends_with_1_where_something_is_found(desk, capsys):
    clone(desk)
    code, out, _ = run(desk, capsys, "--password", "--json")
    told = json.loads(out)
    assert (code, told["good"], told["password"], told["tries_left"]) == (1, False, "refused", 2)
    assert [row["name"] for row in told["findings"]] == ["PASSWORD_REFUSED"]
    assert told["parts"][1] == {
        "name": "order",
        "written": True,
        "shape": "OK",
        "crc": "OK",
        "version": "OK",
        "mac": "OK",
    }
    code, out, _ = run(desk, capsys)
    assert code == 0 and "password      not asked\n" in out
    code, _, err = run(desk, capsys, "--rescue")
    assert code == 1 and "FIELD" in err


def test_text_of_a_name_cannot_move_the_cursor(desk):
    """Nobody types one in any more; an earlier ledger may hold one."""
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=NEIGHBOUR, volume=30)
    with hall.ledger.begin() as books:
        known = books.account("0000000001")
        books.change_account(known, "holder", "\x1b[2J王", at=hall.counter.now(), reason="it was", approver="nobody")
    lines = "\n".join(desk.hall().verify(FileReader(desk.card_path)).lines())
    assert "\x1b" not in lines and "王" in lines
    assert len(desk.card_path.read_bytes()) == IMAGE_SIZE


# ---------------------------------------------------------------------- the company's own cards

PEOPLE = {"requester": "Li Ming", "approver": "Wang Fang", "reason": "moved out"}


def at_noon(hour=12):
    return datetime(2026, 3, 1, hour, 0, tzinfo=UTC)


# Kind -> how it is made on the card in the reader.
TOOLS = {
    "management": lambda hall, reader: hall.issue_management(reader, purpose="inspection", expires=at_noon(13)),
    "setting": lambda hall, reader: hall.issue_setting(reader, meter=METER, purpose="clocks", clock=at_noon()),
    "key": lambda hall, reader: hall.issue_key(reader, meter=METER, purpose="new keys"),
    "test": lambda hall, reader: hall.issue_test(reader, meter=NEIGHBOUR, volume=1, purpose="bench"),
    "clear": lambda hall, reader: hall.issue_clear(reader, account="0000000001", **PEOPLE),
    "transfer": lambda hall, reader: hall.begin_exchange(
        reader, account="0000000001", meter=NewMeter(NEIGHBOUR, 0), **PEOPLE
    ),
}


def tool(desk, kind):
    """A hall, and a reader with the tool card of that kind in it."""
    genuine(desk)
    hall = desk.hall()
    hall.add_meter(NEIGHBOUR)
    TOOLS[kind](hall, desk.blank("tool.bin"))
    desk.card_path = desk.folder / "tool.bin"
    return hall


@pytest.mark.parametrize("kind", TOOLS)
def test_tool_card_that_is_good_is_called_what_it_is(desk, kind):
    told = tool(desk, kind).verify(desk.card, password=True)
    assert (told.findings, told.password, told.tool.kind, told.tool.state) == ((), "right", kind, "out")
    assert (told.card, told.replacement, told.sequence) == (2, None, None)
    assert told.meter == {"management": None, "test": NEIGHBOUR}.get(kind, METER)
    text = "\n".join(told.lines())
    assert f"whole, batch 0, {kind} card" in text and f"  {kind}" in text and ": out  (" in text
    assert told.lines()[-1] == "The card is good."
    assert told.record()["tool"]["kind"] == kind


def test_command_ends_with_0_for_a_tool_card_too(desk, capsys):
    tool(desk, "clear")
    code, out, err = run(desk, capsys)
    assert (code, err) == (0, "")
    assert "2  2026-03-01  clear, meter 32060012345678, account 0000000001: out  (moved out)" in out
    tool_end = desk.hall().end_tool(2, desk.card)
    assert tool_end.state == "taken back"
    code, out, _ = run(desk, capsys, "--json")
    assert (code, [row["name"] for row in json.loads(out)["findings"]]) == (1, ["TOOL_ENDED"])


def spoil(desk, hall):
    put(desk.card_path, ORDER_AT + 20, b"\x55")


def of_another_ledger(desk, hall):
    with hall.ledger.begin() as books:
        books._connection.exec_driver_sql("DELETE FROM tools")


def half_made(desk, hall):
    with hall.ledger.begin() as books:
        books._connection.exec_driver_sql("UPDATE tools SET issued = 0")


def expire(desk, hall):
    hall.counter.clock = lambda: at_noon(14)


def empty(desk, hall):
    put(desk.card_path, ORDER_AT, b"\xff" * 61)


def forge_a_report(desk, hall):
    put(desk.card_path, REPORT_AT[0], desk.meter.report(desk.meter.report_number, register=9)[:-10] + bytes(10))


# What was done to a management card -> the finding; whether it is still given its password.
FOUND_ON_TOOLS = [
    ("damaged", spoil, errors.READ_BACK_DIFFERS, False),
    ("its order taken off by nobody the ledger knows", empty, errors.READ_BACK_DIFFERS, True),
    ("another ledger's", of_another_ledger, errors.TOOL_UNKNOWN, False),
    ("never finished", half_made, errors.CARD_HALF_MADE, False),
    ("no meter takes it any more", expire, codes.EXPIRED, True),
    ("what a meter wrote is damaged", forge_a_report, codes.SHAPE, True),
]


@pytest.mark.parametrize(
    ("change", "code", "given"), [row[1:] for row in FOUND_ON_TOOLS], ids=[row[0] for row in FOUND_ON_TOOLS]
)
def test_what_is_wrong_with_a_tool_card_is_found(desk, change, code, given):
    hall = tool(desk, "management")
    change(desk, hall)
    told = hall.verify(desk.card, password=True)
    assert [error.name for error in told.findings] == [errors.words(code)[0]]
    assert told.password == ("right" if given else "not presented")
    assert told.tries_left == 3


def test_copy_of_a_tool_card_refuses_its_password(desk):
    hall = tool(desk, "clear")
    image = desk.card_path.read_bytes()
    desk.blank("copy.bin")
    desk.card_path = desk.folder / "copy.bin"
    desk.card_path.write_bytes(image)
    told = hall.verify(desk.card, password=True)
    assert ([error.code for error in told.findings], told.tries_left) == ([codes.PASSWORD_REFUSED], 2)
