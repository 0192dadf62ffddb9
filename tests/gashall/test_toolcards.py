"""The hall's side of the company's own cards, end to end: made by the hall, taken by a real meter, read back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from paper import METER, NEIGHBOUR, REGION, Desk
from test_services_cuts import DeadError, DyingLedger, stop
from test_tool_cards import FACTORY_KEY, Stand
from tests.conftest import require_part

from gascard import codes
from gashall import encode, errors
from gashall.encode import decode_card
from gashall.errors import GasError
from gashall.sizes import guard_limits

require_part("sqlalchemy")
from gashall import toolcards  # noqa: E402
from gashall.closing import Closure  # noqa: E402

FIRST, SECOND = "0000000001", "0000000002"
APPROVED = {"requester": "Li Ming", "approver": "王芳", "reason": "moved out"}
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def visit(stand, path):
    """Put the card in the file into the meter; its code."""
    code, image = stand.visit(path.read_bytes())
    path.write_bytes(image)
    return code


def customers(desk, *more):
    """A hall and two customers with real meters, 30 and 20 m³ loaded."""
    hall = desk.hall(*more)
    stands = Stand(desk.signer), Stand(desk.signer, NEIGHBOUR)
    for stand, name, volume in zip(stands, ("card.bin", "neighbour.bin"), (30, 20), strict=True):
        hall.open_account(desk.blank(name), meter=stand.number, volume=volume, fen=volume * 250)
        assert visit(stand, desk.folder / name) == codes.OK
    return hall, *stands


def check_told_alike(hall, state):
    """The list of tool cards and the account's file say the same of its one tool card."""
    (tool,), (line,) = hall.tools(), [line for line in hall.history(FIRST).lines() if " card of " in line]
    assert tool.state == state
    assert f", {state}" in line


def states(hall, account=FIRST):
    with hall.ledger.look() as books:
        return [order.state for order in books.orders(account)]


def refused(code, service, *words, **named):
    with pytest.raises(GasError) as refusal:
        service(*words, **named)
    assert errors.words(refusal.value.code)[0] == errors.words(code)[0]
    return refusal.value


def reader_of(desk, name):
    reader = desk.card
    reader.path = str(desk.folder / name)
    return reader


# ---------------------------------------------------------------------- management


def test_management_card_settles_two_accounts_and_is_used_again(desk):
    hall, first, second = customers(desk)
    tool = desk.folder / "tool.bin"
    made = hall.issue_management(desk.blank("tool.bin"), purpose="round of Mr Zhao")
    assert (made.card, made.state, made.resumed) == (3, "out", False)
    first.meter.pulses(700)
    for _ in range(2):
        assert visit(first, tool) == visit(second, tool) == codes.OK
        assert visit(first, tool) == codes.CARD_FULL
        read = hall.read_tool(reader_of(desk, "tool.bin"))
        assert [(row.account, row.remaining, row.kept) for row in read.reports] == [
            (FIRST, 23, True),
            (SECOND, 20, True),
        ]
        assert read.emptied
        assert decode_card(tool.read_bytes()).reports[0].written is False
        assert read.lines() and read.record()["emptied"]
    assert states(hall) == states(hall, SECOND) == ["done"], "RULES settling: done without the customer's card"
    assert hall.sell(desk.card, 10).bought_total == 4000
    assert hall.read_tool(reader_of(desk, "tool.bin")).reports == ()
    assert hall.end_tool(3).state == "taken back"
    refused(errors.TOOL_ENDED, hall.end_tool, 3)
    assert hall.audit().clean


@pytest.mark.parametrize("torn", [0x69, 0xEA, 0xFE, 0xFF])
def test_report_whose_taking_off_was_cut_short_in_its_first_byte_is_taken_off(desk, torn):
    hall, first, second = customers(desk)
    tool = desk.folder / "tool.bin"
    hall.issue_management(desk.blank("tool.bin"), purpose="round")
    for stand in (first, second):
        assert visit(stand, tool) == codes.OK
    image = bytearray(tool.read_bytes())
    kept = bytes(image)
    hall.read_tool(reader_of(desk, "tool.bin"))
    emptied = tool.read_bytes()
    image[0x5B] = torn  # of 68, on its way to FF, bits have risen
    tool.write_bytes(image)
    read = hall.read_tool(reader_of(desk, "tool.bin"))
    assert ([row.kept for row in read.reports], read.emptied) == ([True], True)
    assert tool.read_bytes()[:256] == emptied[:256] != kept[:256]
    assert hall.audit().clean


def test_report_ahead_of_the_ledger_stays_on_the_card_and_the_other_is_kept(desk):
    hall, first, second = customers(desk)
    tool = desk.folder / "tool.bin"
    hall.issue_management(desk.blank("tool.bin"), purpose="round")
    hall.read_back(reader_of(desk, "neighbour.bin"))
    hall.sell(reader_of(desk, "neighbour.bin"), 5, fen=1250)
    lost = desk.copy(desk.folder.parent / "lost")
    hall = desk.hall()
    hall.read_back(desk.card)
    hall.sell(desk.card, 10, fen=2500)
    assert visit(first, desk.card_path) == codes.OK
    for stand in (first, second):
        assert visit(stand, tool) == codes.OK
    behind = lost.hall()
    (lost.folder / "tool.bin").write_bytes(tool.read_bytes())
    read = behind.read_tool(reader_of(lost, "tool.bin"))
    assert [(row.kept, row.error and row.error.code) for row in read.reports] == [
        (False, errors.LEDGER_BEHIND),
        (True, None),
    ]
    assert not read.emptied
    reports = decode_card((lost.folder / "tool.bin").read_bytes(), desk.signer).reports
    assert [part.written for part in reports] == [True, False], "an unkept report is never taken off"
    assert behind.audit().clean


REPORTS_NOT_KEPT = [
    # (why, what stands in slot 0, the code)
    ("RULES 1 binding: of a later binding than the ledger's", {"binding": 2}, errors.LEDGER_BEHIND),
    ("no such meter in the ledger", {"meter": "00000000000009"}, errors.METER_UNKNOWN),
    ("made by nobody's key", None, codes.MAC),
]


@pytest.mark.parametrize(
    ("changes", "code"), [row[1:] for row in REPORTS_NOT_KEPT], ids=[r[0] for r in REPORTS_NOT_KEPT]
)
def test_report_that_is_not_kept_stays(desk, changes, code):
    hall = desk.opened()
    hall.issue_management(desk.blank("tool.bin"), purpose="round")
    values = desk.meter.report(2)
    decoded = dict(encode.decode_report(values)) | (changes or {})
    key = bytes(16) if changes is None else encode.report_key(desk.signer.meter_keys(decoded["meter"], 1)[0])
    frame = encode.encode_report(key, REGION, 2, decoded)
    path = desk.folder / "tool.bin"
    path.write_bytes(path.read_bytes()[:0x5B] + frame + path.read_bytes()[0x5B + 74 :])
    read = hall.read_tool(reader_of(desk, "tool.bin"))
    assert [(row.kept, row.error.code) for row in read.reports] == [(False, code)]
    assert decode_card(path.read_bytes()).reports[0].raw == frame
    refused(errors.TOOL_OUT, hall.end_tool, 2, reader_of(desk, "tool.bin"))


# ---------------------------------------------------------------------- setting, key, test


def test_setting_card_sets_a_meter_and_its_number_only_rises(desk):
    hall, stand = desk.hall(), Stand(desk.signer)
    hall.add_meter(METER)
    tool = desk.folder / "tool.bin"
    made = hall.issue_setting(
        desk.blank("tool.bin"),
        purpose="new estate",
        meter=METER,
        clock=NOON,
        index="43.21",
        size="G4",
        guards={"idle_days": 9},
    )
    assert made.service_number == 1
    assert visit(stand, tool) == codes.OK
    assert (stand.meter.shown_index, stand.meter.limits.values["idle_days"]) == (4321, 9)
    wanted = guard_limits("G4", 2) | {"idle_days": 9}
    assert {name: stand.meter.limits.values[name] for name in wanted} == wanted
    read = hall.read_tool(reader_of(desk, "tool.bin"))
    assert (read.reports[0].kept, read.tool.state) == (True, "read")
    second = hall.issue_setting(desk.blank("second.bin"), purpose="new estate", clock=NOON)
    assert (second.service_number, second.meter) == (2, None)
    assert visit(stand, desk.folder / "second.bin") == codes.OK
    assert visit(stand, tool) == codes.OLDER
    assert hall.audit().clean


def test_no_two_setting_cards_have_one_number(desk):
    """RULES 1, tool limits: the meter answers REPEAT to a number it has; so none is given twice, at no window."""
    windows, stand = (desk.hall(), desk.hall()), Stand(desk.signer)
    windows[0].add_meter(METER)
    asked = {"purpose": "clocks", "clock": NOON}
    numbers, files = [], []
    for place, (window, meter) in enumerate([(0, METER), (1, METER), (0, None), (1, METER)]):
        files.append(desk.folder / f"{place}.bin")
        made = windows[window].issue_setting(desk.blank(f"{place}.bin"), meter=meter, **asked)
        numbers.append(made.service_number)
    assert numbers == [1, 2, 3, 4]
    assert [visit(stand, file) for file in files] == [codes.OK] * 4
    assert visit(stand, files[3]) == codes.REPEAT
    # Taken back without ever being used, its number is used up all the same.
    windows[0].end_tool(4)
    assert windows[1].issue_setting(desk.blank("5.bin"), meter=METER, **asked).service_number == 5
    with pytest.raises(GasError) as refusal, windows[0].ledger.begin() as books:
        books.add_tool(replace(books.tool(5), number=books.free_card()))
    assert refusal.value.code == errors.LEDGER
    assert windows[0].audit().clean


SETTINGS_REFUSED = [
    # (why, what is asked for, the code)
    ("nothing is set", {}, errors.FIELD),
    ("an index of every meter", {"index": 1}, errors.FIELD),
    ("RULES setting: bound, index", {"index": 1, "meter": METER}, codes.NOT_UNBOUND),
    ("RULES setting: bound, guards", {"size": "G4", "meter": METER}, codes.NOT_UNBOUND),
    ("an index needs the meter's weight", {"index": 1, "meter": NEIGHBOUR}, errors.METER_UNKNOWN),
    ("limits need a weight", {"size": "G4"}, errors.FIELD),
    ("no such limit", {"guards": {"colour": 1}}, errors.FIELD),
    ("a limit out of its range", {"guards": {"idle_days": 256}}, errors.FIELD),
    ("expired before it is made", {"clock": NOON, "expires": datetime(2025, 1, 1, tzinfo=UTC)}, errors.FIELD),
]


# What is asked for -> words of the refusal: what to type, and a time as people write it.
SETTINGS_TOLD = [({}, "--clock, --index, --size or --limit"), (SETTINGS_REFUSED[-1][1], "2025-01-01 08:00+08:00")]


@pytest.mark.parametrize(("asked", "words"), SETTINGS_TOLD, ids=["nothing is set", "expired"])
def test_refused_setting_says_what_to_type(desk, asked, words):
    error = refused(errors.FIELD, desk.opened().issue_setting, desk.blank("tool.bin"), purpose="x", **asked)
    assert words in str(error)


def test_management_card_that_expires_before_it_is_made_is_refused_by_the_halls_clock(desk):
    hall, reader = desk.opened(), desk.blank("tool.bin")
    head, minute = hall.audit().head, timedelta(minutes=1)
    error = refused(errors.FIELD, hall.issue_management, reader, purpose="round", expires=NOON - minute)
    assert "made at 2026-03-01 20:00+08:00 cannot hold until 2026-03-01 19:59+08:00" in str(error)
    assert "UTC" not in str(error) and hall.audit().head == head
    assert decode_card((desk.folder / "tool.bin").read_bytes()).blank
    made = hall.issue_management(reader, purpose="round", expires=NOON)
    assert made.expires == NOON
    assert "2026-03-01 20:00+08:00" in made.line()
    assert ">2026-03-01 20:00+08:00</td>" in toolcards.printed([made], made.made_at)


@pytest.mark.parametrize(("asked", "code"), [row[1:] for row in SETTINGS_REFUSED], ids=[r[0] for r in SETTINGS_REFUSED])
def test_setting_that_no_meter_would_take_is_refused(desk, asked, code):
    hall = desk.opened()
    head = hall.audit().head
    refused(code, hall.issue_setting, desk.blank("tool.bin"), purpose="x", **asked)
    assert hall.audit().head == head
    assert decode_card((desk.folder / "tool.bin").read_bytes()).blank


def test_keys_rise_when_the_meter_says_so_and_the_customer_buys_on(desk):
    hall, stand, _ = customers(desk)
    refused(errors.ORDER_WAITS, hall.issue_key, desk.blank("tool.bin"), meter=METER, purpose="yearly")
    hall.read_back(desk.card)
    assert hall.issue_key(reader_of(desk, "tool.bin"), meter=METER, purpose="yearly").key_version == 2
    sold = hall.sell(desk.card, 10, fen=2500)  # with the keys the ledger knows the meter to have
    assert sold.sequence == 2
    assert visit(stand, desk.folder / "tool.bin") == codes.OK
    assert visit(stand, desk.card_path) == codes.KEY_VERSION
    refused(errors.GAS_ON_CARD, hall.sell, desk.card, 10, fen=2500)
    refused(errors.TOOL_OUT, hall.end_tool, 3)
    read = hall.read_tool(reader_of(desk, "tool.bin"))
    assert (read.reports[0].kept, read.tool.state) == (True, "read")
    again = hall.rekey(desk.card)
    assert (again.sequence, again.bought_total, again.pulses) == (3, 4000, 0)
    refused(errors.FIELD, hall.rekey, desk.card)
    assert visit(stand, desk.card_path) == codes.OK
    assert stand.meter.remaining == 4000
    assert hall.read_back(desk.card).on_card == 0
    assert hall.sell(desk.card, 10, fen=2500).bought_total == 5000
    assert hall.audit().clean


def test_card_with_a_report_of_earlier_keys_is_no_forged_one(desk):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    hall.issue_key(desk.blank("tool.bin"), meter=METER, purpose="yearly")
    assert visit(stand, desk.folder / "tool.bin") == codes.OK
    hall.read_tool(reader_of(desk, "tool.bin"))
    error = refused(codes.KEY_VERSION, hall.read_back, desk.card)
    assert "Sell as usual" in error.remedy
    seen = hall.verify(desk.card, password=True)
    assert (seen.good, seen.password) == (True, "right")
    assert any(line.split() == ["report", "slot", "0", "whole,", "of", "earlier", "keys"] for line in seen.lines())
    hall.sell(desk.card, 10, fen=2500)
    assert visit(stand, desk.card_path) == codes.OK
    read = hall.read_back(desk.card)
    assert (read.damaged, read.on_card) == ((), 0), "the other place has its old report still"
    assert hall.verify(desk.card).good


def test_old_card_tells_no_gas_as_waiting_that_another_card_s_report_shows_loaded(desk):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    hall.issue_key(desk.blank("tool.bin"), meter=METER, purpose="yearly")
    assert visit(stand, desk.folder / "tool.bin") == codes.OK
    hall.read_tool(reader_of(desk, "tool.bin"))
    hall.replace(desk.blank("new.bin"), account=hall.verify(desk.card).account, reason="lost in use")
    told = hall.take_back(desk.card)
    assert (told.waiting, told.report, told.why_not) == (0, None, codes.KEY_VERSION)


def test_sale_goes_over_an_order_the_meter_can_load_no_more(desk):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    hall.issue_key(desk.blank("tool.bin"), meter=METER, purpose="yearly")
    hall.sell(desk.card, 10, fen=2500)
    assert visit(stand, desk.folder / "tool.bin") == codes.OK
    assert hall.end_tool(3, keys_taken=True).state == "taken back", "told, the card being lost"
    hall.sell(desk.card, 5, fen=1250)
    assert visit(stand, desk.card_path) == codes.OK
    assert stand.meter.remaining == 4500
    assert hall.read_back(desk.card).on_card == 0
    assert set(states(hall)) == {"done"}


def test_first_keys_come_from_the_makers_file_and_are_kept_nowhere(desk):
    hall, stand = desk.hall(), Stand(desk.signer, keyed=False)
    lot = desk.folder / "lot.csv"
    lot.write_text(f"{NEIGHBOUR},{'00' * 16}\n{METER},{FACTORY_KEY.hex()}\n")
    blank = desk.blank("tool.bin")
    words = {"meter": METER, "purpose": "first keys", "factory_keys": lot}
    refused(errors.METER_UNKNOWN, lambda: (lot.chmod(0o600), hall.issue_key(blank, **words)))
    hall.add_meter(METER)
    lot.chmod(0o644)
    refused(errors.KEY_FILE, hall.issue_key, blank, **words)
    lot.chmod(0o600)
    told = hall.issue_key(blank, **words)
    assert told.key_version == 1
    assert visit(stand, desk.folder / "tool.bin") == codes.OK
    assert hall.read_tool(reader_of(desk, "tool.bin")).reports[0].kept
    desk.close()
    assert FACTORY_KEY not in b"".join(path.read_bytes() for path in desk.folder.glob("ledger.db*"))
    assert FACTORY_KEY.hex() not in repr(told)


def test_test_gas_is_told_as_a_total(desk):
    hall, stand = desk.hall(), Stand(desk.signer)
    hall.add_meter(METER)
    for volume, total in (("0.40", 40), ("0.30", 70)):
        name = f"{total}.bin"
        hall.issue_test(desk.blank(name), meter=METER, volume=volume, purpose="test bench")
        assert visit(stand, desk.folder / name) == codes.OK
        assert stand.meter.state.values["test_gas"] == total
        assert hall.read_tool(reader_of(desk, name)).reports[0].kept
    assert visit(stand, desk.folder / "40.bin") == codes.OLDER
    hall.open_account(desk.blank(), meter=METER, volume=1)
    refused(codes.NOT_UNBOUND, hall.issue_test, desk.blank("x.bin"), meter=METER, volume=1, purpose="x")
    refused(errors.METER_UNKNOWN, hall.issue_test, desk.blank("y.bin"), meter=NEIGHBOUR, volume=1, purpose="x")


# ---------------------------------------------------------------------- clear, close, and the next customer


def cleared(desk, hall, stand):
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    assert visit(stand, desk.folder / "tool.bin") == codes.OK
    return hall.read_tool(reader_of(desk, "tool.bin"))


def test_account_is_cleared_closed_and_its_meter_opened_for_another(desk):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    hall.open_shift("Li Ming")
    hall.sell(desk.card, 10, fen=3000)
    stand.meter.pulses(700)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    refused(errors.BINDING_ENDS, hall.replace, desk.blank("new.bin"), account=FIRST, reason="broken")
    refused(errors.FINAL_MISSING, hall.read_tool, reader_of(desk, "tool.bin"))
    check_told_alike(hall, "out")
    refused(errors.BINDING_ENDS, hall.close_account, FIRST, **APPROVED)
    refused(errors.TOOL_OUT, hall.end_tool, 3)
    assert visit(stand, desk.folder / "tool.bin") == codes.OK
    refused(errors.TOOL_OUT, hall.end_tool, 3, reader_of(desk, "tool.bin"))
    ended = hall.read_tool(reader_of(desk, "tool.bin")).ended
    assert (ended.remaining, ended.not_loaded, ended.resumed) == (23, 10, False)
    check_told_alike(hall, "read")
    read = hall.read_tool(reader_of(desk, "tool.bin"))
    assert read.ended.resumed
    assert any("hall close" in line for line in read.lines())
    assert visit(stand, desk.card_path) == codes.NOT_BOUND
    closure = hall.close_account(FIRST, **APPROVED, card=desk.card)
    # The 10 m³ bought last cost 30 yuan, 23 of the 30 m³ before cost 2.50 each.
    assert (closure.paid_back, closure.owed, closure.fen) == (33, 0, 3000 + 23 * 250)
    assert hall.close_account(FIRST, **APPROVED).resumed
    assert not any("hall close" in line for line in hall.read_tool(reader_of(desk, "tool.bin")).lines())
    assert hall.close_shift(3000 - closure.fen).cash == 3000 - closure.fen
    assert hall.history(FIRST).account.state == "closed"
    hall.open_shift("Li Ming")
    sale = hall.open_account(desk.blank("next.bin"), meter=METER, volume=5, fen=1250, name="Zhao")
    assert sale.account == "0000000003"
    assert visit(stand, desk.folder / "next.bin") == codes.OK
    assert (stand.meter.remaining, stand.meter.account.values["binding"]) == (500, 2)
    assert hall.read_back(reader_of(desk, "next.bin")).remaining == 5
    assert hall.sell(reader_of(desk, "next.bin"), 1, fen=250).bought_total == 600
    assert hall.end_tool(3, reader_of(desk, "tool.bin")).state == "taken back"
    check_told_alike(hall, "taken back")
    assert visit(stand, desk.folder / "tool.bin") == codes.SHAPE, "what it ordered is off it"
    assert hall.audit().clean


def test_sales_wait_while_a_clear_card_is_out_and_go_on_when_it_is_taken_back(desk):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    error = refused(errors.BINDING_ENDS, hall.sell, desk.card, 10, fen=2500)
    assert "tool read" in error.remedy
    refused(errors.BINDING_ENDS, hall.issue_clear, desk.blank("x.bin"), account=FIRST, **APPROVED)
    assert hall.end_tool(3, reader_of(desk, "tool.bin")).state == "taken back"
    assert hall.sell(desk.card, 10, fen=2500).bought_total == 4000
    assert visit(stand, desk.folder / "tool.bin") == codes.SHAPE
    assert hall.audit().clean


@pytest.mark.parametrize("counter", [0x00, 0x04])
def test_clear_card_with_no_try_to_spare_is_taken_back_as_it_is(desk, counter):
    # No meter takes it (RULES 1, last try), so that it must not keep the account from buying for ever.
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    path, chip = desk.folder / "tool.bin", desk.folder / "tool.bin.chip"
    chip.write_bytes(chip.read_bytes()[:4] + bytes((counter,)) + chip.read_bytes()[5:])
    before = path.read_bytes() + chip.read_bytes()
    assert stand.visit(path.read_bytes(), counter)[0] == codes.ONE_TRY_LEFT
    assert hall.end_tool(3, reader_of(desk, "tool.bin")).state == "taken back"
    checked = hall.verify(reader_of(desk, "tool.bin"), password=True, rescue=True)
    assert checked.password == "not presented", "with all its tries it would clear the meter"
    assert path.read_bytes() + chip.read_bytes() == before
    assert hall.sell(desk.card, 10, fen=2500).bought_total == 4000
    assert visit(stand, desk.card_path) == codes.OK
    assert hall.audit().clean


def lost(desk, name="tool.bin"):
    """The card is gone, and its chip with it."""
    for path in (desk.folder / name, desk.folder / f"{name}.chip"):
        path.unlink()


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_lost_clear_card_is_made_again_and_the_account_goes_on(desk, used):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    stand.meter.pulses(700)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    if used:
        assert visit(stand, desk.folder / "tool.bin") == codes.OK
    lost(desk)
    assert "clear --again" in refused(errors.BINDING_ENDS, hall.sell, desk.card, 1, fen=250).remedy
    assert "clear --again" in refused(errors.TOOL_OUT, hall.end_tool, 3).remedy
    refused(errors.BINDING_ENDS, hall.issue_clear, desk.blank("x.bin"), account=FIRST, **APPROVED)
    made = hall.issue_clear(desk.blank("again.bin"), account=FIRST, **APPROVED, again=True)
    assert (made.card, made.state, made.resumed) == (4, "out", False)
    assert visit(stand, desk.folder / "again.bin") == (codes.REPEAT if used else codes.OK)
    ended = hall.read_tool(reader_of(desk, "again.bin")).ended
    assert (ended.remaining, ended.not_loaded, ended.resumed) == (23, 0, False)
    assert [tool.state for tool in hall.tools()] == ["out", "read"]
    assert hall.end_tool(3).state == "taken back", "it can end nothing any more, wherever it is"
    assert hall.close_account(FIRST, **APPROVED).paid_back == 23
    assert hall.audit().clean


def test_clear_card_made_again_and_not_used_frees_no_account_while_the_lost_one_is_out(desk):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    hall.issue_clear(desk.blank("again.bin"), account=FIRST, **APPROVED, again=True)
    assert hall.end_tool(4, reader_of(desk, "again.bin")).state == "taken back"
    refused(errors.BINDING_ENDS, hall.sell, desk.card, 1, fen=250)
    refused(errors.TOOL_OUT, hall.end_tool, 3)
    # It was found after all, unused.
    assert hall.end_tool(3, reader_of(desk, "tool.bin")).state == "taken back"
    refused(errors.TOOL_UNKNOWN, hall.issue_clear, desk.blank("x.bin"), account=FIRST, **APPROVED, again=True)
    assert hall.sell(desk.card, 1, fen=250).bought_total == 3100
    assert hall.audit().clean


def test_two_clear_cards_of_one_binding_tell_the_same(desk):
    hall, stand, _ = customers(desk)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    hall.issue_clear(desk.blank("again.bin"), account=FIRST, **APPROVED, again=True)
    for name, code in (("tool.bin", codes.OK), ("again.bin", codes.REPEAT)):
        assert visit(stand, desk.folder / name) == code
    assert not hall.read_tool(reader_of(desk, "again.bin")).ended.resumed
    assert hall.read_tool(reader_of(desk, "tool.bin")).ended.resumed
    assert [tool.state for tool in hall.tools()] == ["read", "read"]
    assert hall.end_tool(3, reader_of(desk, "tool.bin")).state == "taken back"
    assert visit(stand, desk.folder / "tool.bin") == codes.SHAPE, "what it ordered is off it"
    assert hall.audit().clean


def test_used_clear_card_that_turns_up_late_is_taken_back_with_its_order_off(desk):
    hall, stand, _ = customers(desk)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    assert visit(stand, desk.folder / "tool.bin") == codes.OK
    refused(errors.TOOL_OUT, hall.end_tool, 3, reader_of(desk, "tool.bin"))
    hall.issue_clear(desk.blank("again.bin"), account=FIRST, **APPROVED, again=True)
    visit(stand, desk.folder / "again.bin")
    hall.read_tool(reader_of(desk, "again.bin"))
    assert hall.end_tool(3, reader_of(desk, "tool.bin")).state == "taken back"
    assert visit(stand, desk.folder / "tool.bin") == codes.SHAPE


@pytest.mark.parametrize("writes", [2, 9, 40])
def test_clear_card_made_again_that_dies_half_made_is_finished(desk, writes):
    hall, stand, _ = customers(desk)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    lost(desk)
    reader = desk.blank("again.bin")
    stop(reader, "killed", writes)
    with pytest.raises(DeadError):
        hall.issue_clear(reader, account=FIRST, **APPROVED, again=True)
    refused(errors.BINDING_ENDS, hall.sell, desk.card, 1, fen=250)
    made = hall.issue_clear(reader_of(desk, "again.bin"), account=FIRST, **APPROVED, again=True)
    assert (made.card, made.resumed) == (4, True)
    assert hall.issue_clear(reader_of(desk, "again.bin"), account=FIRST, **APPROVED, again=True).resumed
    assert len(hall.tools()) == 2
    assert visit(stand, desk.folder / "again.bin") == codes.OK
    assert hall.read_tool(reader_of(desk, "again.bin")).ended.remaining == 30
    assert hall.audit().clean


def test_clear_card_made_again_is_none_where_another_window_takes_the_first_one_back_meanwhile(desk):
    hall, *_ = customers(desk)
    hall.read_back(desk.card)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    reader, other = desk.blank("again.bin"), desk.hall()

    def meanwhile(plan):
        reader.step = None
        other.end_tool(3, reader_of(desk, "tool.bin"))

    reader.step = meanwhile
    refused(errors.TOOL_UNKNOWN, hall.issue_clear, reader, account=FIRST, **APPROVED, again=True)
    assert [tool.card for tool in hall.tools()] == [3]
    assert hall.sell(desk.card, 1, fen=250).bought_total == 3100


def test_clear_card_lost_before_a_restore_is_made_again_while_recovering(desk):
    hall, stand, _ = customers(desk)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    lost(desk)
    hall.mark_restored()
    refused(errors.RECOVERING, hall.issue_clear, desk.blank("x.bin"), account=FIRST, **APPROVED)
    hall.issue_clear(desk.blank("again.bin"), account=FIRST, **APPROVED, again=True)
    assert visit(stand, desk.folder / "again.bin") == codes.OK
    hall.read_tool(reader_of(desk, "again.bin"))
    assert [row.account for row in hall.recovering()] == [SECOND]
    assert hall.close_account(FIRST, **APPROVED).paid_back == 30


CLEARS_REFUSED = [
    # (why, what was done before, the code)
    ("RULES money back: a refund is unpaid", "refund", errors.REFUND_UNPAID),
    ("RULES paid and released: gas is held", "held", errors.HELD),
    ("RULES ledger behind: recovering", "recovering", errors.RECOVERING),
    ("DOMAIN 1.24: under test", "suspended", errors.SUSPENDED),
    ("RULES settling: an order is pending", "pending", errors.PENDING_ELSEWHERE),
]


@pytest.mark.parametrize(("before", "code"), [row[1:] for row in CLEARS_REFUSED], ids=[r[0] for r in CLEARS_REFUSED])
def test_clear_card_is_refused_while_something_stands_open(desk, before, code):
    hall, *_ = customers(desk)
    hall.read_back(desk.card)
    if before == "refund":
        number = hall.request_refund(FIRST, 5, reason="x", requester="Li Ming", fen=100).number
        hall.approve_grant(number, "王芳")
        hall.write_grant(desk.card, number)
    elif before == "held":
        hall.sell(desk.card, 10, fen=2500)
        hall.replace(desk.blank("new.bin"), account=FIRST, reason="lost in use")
    elif before == "recovering":
        hall.mark_restored()
    elif before == "suspended":
        hall.suspend(FIRST, 0, "complaint")
    else:
        reader = desk.card
        stop(reader, "killed", 9)
        with pytest.raises(DeadError):
            hall.sell(reader, 10, fen=2500)
    refused(code, hall.issue_clear, desk.blank("tool.bin"), account=FIRST, **APPROVED)
    with hall.ledger.look() as books:
        assert books.tools() == []


REFUSALS = [
    # (why, what is asked for, the code)
    ("DOMAIN 1.10: approved by another person", {"approver": "LI MING"}, errors.APPROVER),
    ("a reason is named", {"reason": ""}, errors.FIELD),
]


@pytest.mark.parametrize(("changes", "code"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_clear_and_close_want_two_people_and_a_reason(desk, changes, code):
    hall, *_ = customers(desk)
    refused(code, hall.issue_clear, desk.blank("tool.bin"), account=FIRST, **APPROVED | changes)
    refused(code, hall.close_account, FIRST, **APPROVED | changes)


def test_close_tells_of_an_overdraft_and_pays_nothing(desk):
    hall = desk.hall()
    stand = Stand(desk.signer)
    hall.open_account(desk.blank(), meter=METER, volume=30, fen=7500, overdraft=5)
    assert visit(stand, desk.card_path) == codes.OK
    stand.meter.pulses(3200)
    cleared(desk, hall, stand)
    closure: Closure = hall.close_account(FIRST, **APPROVED)
    assert (closure.paid_back, closure.fen, closure.owed) == (0, 0, 2)
    assert any("owed by the customer 用户欠气量" in line and "2.00 m³" in line for line in closure.lines())


def test_close_needs_the_money_where_none_was_named_and_pays_no_gift_back(desk):
    hall, stand = desk.hall(), Stand(desk.signer)
    hall.open_account(desk.blank(), meter=METER, volume=30)
    assert visit(stand, desk.card_path) == codes.OK
    hall.read_back(desk.card)
    number = hall.request_gift(FIRST, 4, reason="jubilee", requester="Li Ming").number
    hall.approve_grant(number, "王芳")
    hall.write_grant(desk.card, number)
    assert visit(stand, desk.card_path) == codes.OK
    cleared(desk, hall, stand)
    refused(errors.AMOUNT, hall.close_account, FIRST, **APPROVED)
    closure = hall.close_account(FIRST, **APPROVED, fen=7000)
    assert (closure.remaining, closure.paid_back, closure.fen) == (34, 30, 7000)


RECKONED = [
    # (why, pulses burned, what is done before the clear, left, never loaded, paid back, owed)
    ("all of it burned", 3000, None, 0, 0, 0, 0),
    ("some left", 1000, None, 20, 0, 20, 0),
    ("an order on the card, never loaded", 1000, "sale", 20, 10, 30, 0),
    ("overdraft, an order on the card pays it first", 3200, "sale", -2, 10, 8, 0),
    ("overdraft", 3200, None, -2, 0, 0, 2),
    ("a gift on the card is not paid back", 0, "gift", 30, 4, 30, 0),
    ("a correction ordered, the meter never got it", 1000, "drift", 22, 0, 22, 0),
]


@pytest.mark.parametrize("row", RECKONED, ids=[row[0] for row in RECKONED])
def test_close_reckons_by_the_final_record(desk, row):
    _, burned, before, left, waiting, paid, owed = row
    hall, stand = desk.hall(), Stand(desk.signer)
    hall.open_account(desk.blank(), meter=METER, volume=30, fen=7500, overdraft=5)
    assert visit(stand, desk.card_path) == codes.OK
    hall.read_back(desk.card)
    if before == "sale":
        hall.sell(desk.card, 10, fen=2500)
    elif before is not None:
        ask = {"gift": lambda: hall.request_gift(FIRST, 4, reason="x", requester="Li Ming")}
        ask["drift"] = lambda: hall.request_makeup(FIRST, 2, kind="drift", reason="x", requester="Li Ming")
        number = ask[before]().number
        hall.approve_grant(number, "王芳")
        hall.write_grant(desk.card, number)
    stand.meter.pulses(burned)
    open_request = hall.request_gift(FIRST, 1, reason="x", requester="Li Ming").number
    cleared(desk, hall, stand)
    closure = hall.close_account(FIRST, **APPROVED)
    assert (closure.remaining, closure.not_loaded, closure.paid_back, closure.owed) == (left, waiting, paid, owed)
    assert closure.fen == paid * 250
    assert hall.grant(open_request).state == "cancelled"
    assert hall.audit().clean


def test_final_record_settles_orders_without_the_card(desk):
    hall, stand, _ = customers(desk)
    assert states(hall) == ["written"]
    cleared(desk, hall, stand)
    assert states(hall) == ["done"]


def test_unfinished_clear_card_blocks_too_and_is_given_up_without_a_card(desk):
    hall, *_ = customers(desk)
    hall.read_back(desk.card)
    reader = desk.blank("tool.bin")
    stop(reader, "killed", 9)
    with pytest.raises(DeadError):
        hall.issue_clear(reader, account=FIRST, **APPROVED)
    refused(errors.BINDING_ENDS, hall.sell, desk.card, 1, fen=250)
    hall.end_tool(3)
    assert hall.sell(desk.card, 1, fen=250).bought_total == 3100


def test_clear_card_of_a_restored_account_ends_its_recovery(desk):
    hall, stand, _ = customers(desk)
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    hall.mark_restored()
    hall.sell_while_recovering(True)
    refused(errors.BINDING_ENDS, hall.sell, desk.card, 1, fen=250)
    refused(errors.BINDING_ENDS, hall.probe, desk.card)
    assert visit(stand, desk.folder / "tool.bin") == codes.OK
    hall.read_tool(reader_of(desk, "tool.bin"))
    assert [row.account for row in hall.recovering()] == [SECOND]
    assert hall.close_account(FIRST, **APPROVED).paid_back == 30
    assert hall.audit().clean


def test_final_record_that_tells_less_use_than_before_is_refused(desk):
    """Who has the meter's key could else be paid for what he has burned (threat model)."""
    hall, stand, _ = customers(desk)
    stand.meter.pulses(900)
    hall.issue_management(desk.blank("round.bin"), purpose="round")
    assert visit(stand, desk.folder / "round.bin") == codes.OK
    hall.read_tool(reader_of(desk, "round.bin"))
    hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED)
    path = desk.folder / "tool.bin"
    assert visit(stand, path) == codes.OK
    final = dict(decode_card(path.read_bytes(), desk.signer).final.values)
    final |= {"register": final["register"] - 100, "used": final["used"] - 100}
    key = encode.report_key(desk.signer.meter_keys(METER, 1)[0])
    image = path.read_bytes()
    path.write_bytes(image[:0xA5] + encode.encode_report(key, REGION, 4, final, 0x82) + image[0xA5 + 74 :])
    refused(codes.SEQUENCE_CONFLICT, hall.read_tool, reader_of(desk, "tool.bin"))
    path.write_bytes(image)
    assert hall.read_tool(reader_of(desk, "tool.bin")).ended.remaining == 21
    refused(
        codes.SEQUENCE_CONFLICT,
        lambda: (path.write_bytes(forged(path, key, final)), hall.read_tool(reader_of(desk, "tool.bin"))),
    )
    assert hall.close_account(FIRST, **APPROVED).paid_back == 21
    lines = hall.history(FIRST).lines()
    assert any("21.00 m³ left" in line for line in lines)
    assert hall.history(FIRST).record()["finals"][0]["fields"]["binding"] == 1


def forged(path, key, final):
    image = path.read_bytes()
    return image[:0xA5] + encode.encode_report(key, REGION, 4, final, 0x82) + image[0xA5 + 74 :]


def test_meter_whose_keys_and_wheels_are_booked_is_opened_and_finished_after_a_death(desk):
    hall = desk.hall()
    hall.add_meter(METER, key_version=3)
    refused(errors.FIELD, hall.open_account, desk.blank(), meter=METER, volume=30, wheel_digits=4)
    reader = reader_of(desk, "card.bin")
    stop(reader, "killed", 30)
    with pytest.raises(DeadError):
        hall.open_account(reader, meter=METER, volume=30)
    assert hall.open_account(desk.card, meter=METER, volume=30).resumed
    assert decode_card(desk.card_path.read_bytes()).order.values["key_version"] == 3


# ---------------------------------------------------------------------- stopped everywhere


def stopped(desk, service, ledger=None):
    """One run of the program; whether it went to its end."""
    try:
        service(desk.hall(ledger))
    except DeadError:
        return False
    except GasError as error:
        if error.code not in (codes.CARD_OUT, codes.NO_CARD):
            raise
        return False
    finally:
        desk.close()
    return True


def check_round(desk):
    assert stopped(desk, lambda hall: hall.read_tool(reader_of(desk, "tool.bin")))
    hall = desk.hall()
    with hall.ledger.look() as books:
        assert [len(books.reports(meter, 1)) for meter in (METER, NEIGHBOUR)] == [1, 1]
    assert states(hall) == states(hall, SECOND) == ["done"]
    card = decode_card((desk.folder / "tool.bin").read_bytes(), desk.signer)
    assert card.order.authentic
    assert not any(part.written for part in card.reports)
    assert hall.audit().clean
    desk.close()


def management_start(folder, signer):
    folder.mkdir()
    desk = Desk(folder, signer)
    hall, first, second = customers(desk)
    hall.issue_management(desk.blank("tool.bin"), purpose="round")
    for stand in (first, second):
        assert visit(stand, folder / "tool.bin") == codes.OK
    desk.close()
    return desk


@pytest.mark.parametrize("mode", ["killed", "pulled", "torn"])
def test_management_read_stopped_at_every_stored_byte_loses_nothing(tmp_path, signer, mode):
    before = management_start(tmp_path / "start", signer)
    # Every byte is the same to the program: each at the ends, every seventh between.
    counts = [*range(12), *range(12, 140, 7), *range(140, 200)]
    for count in counts:
        desk = before.copy(tmp_path / f"{count}")
        reader = reader_of(desk, "tool.bin")
        stop(reader, mode, count)
        ended = stopped(desk, lambda hall, reader=reader: hall.read_tool(reader))
        check_round(desk)
        if ended:
            break
    assert 100 < count < 199


@pytest.mark.parametrize("before_commit", [True, False])
def test_management_read_dying_at_every_commit_loses_nothing(tmp_path, signer, before_commit):
    before = management_start(tmp_path / "start", signer)
    for count in range(9):
        desk = before.copy(tmp_path / f"{count}")
        ledger = DyingLedger(desk.folder / "ledger.db", REGION).die_at(count, before_commit)
        ended = stopped(desk, lambda hall, desk=desk: hall.read_tool(reader_of(desk, "tool.bin")), ledger)
        check_round(desk)
        if ended:
            break
    assert count == 2


@pytest.mark.parametrize("before_commit", [True, False])
@pytest.mark.parametrize("service", ["read_tool", "close_account", "end_tool"])
def test_end_of_an_account_dying_at_every_commit_is_made_once(tmp_path, signer, service, before_commit):
    folder = tmp_path / "start"
    folder.mkdir()
    before = Desk(folder, signer)
    hall, stand, _ = customers(before)
    hall.issue_clear(before.blank("tool.bin"), account=FIRST, **APPROVED)
    assert visit(stand, folder / "tool.bin") == codes.OK
    if service != "read_tool":
        hall.read_tool(reader_of(before, "tool.bin"))
    before.close()
    runs = {
        "read_tool": lambda hall, desk: hall.read_tool(reader_of(desk, "tool.bin")),
        "close_account": lambda hall, desk: hall.close_account(FIRST, **APPROVED),
        "end_tool": lambda hall, desk: hall.end_tool(3, reader_of(desk, "tool.bin")),
    }
    for count in range(4):
        desk = before.copy(tmp_path / f"{count}")
        ledger = DyingLedger(desk.folder / "ledger.db", REGION).die_at(count, before_commit)
        ended = stopped(desk, lambda hall, desk=desk: runs[service](hall, desk), ledger)
        hall = desk.hall()
        hall.read_tool(reader_of(desk, "tool.bin")) if service == "read_tool" else None
        assert hall.close_account(FIRST, **APPROVED).fen == 7500
        with hall.ledger.look() as books:
            assert len([grant for grant in books.grants() if grant.kind == "close"]) == 1
            assert books.tool(3).seen_at is not None
            if service == "end_tool" and books.tool(3).ended is None:
                hall.end_tool(3, reader_of(desk, "tool.bin"))
        assert hall.audit().clean
        desk.close()
        if ended:
            break
    assert count == 1


@pytest.mark.parametrize("mode", ["killed", "pulled", "torn"])
def test_taking_a_clear_card_back_stopped_at_every_byte_keeps_the_account_shut_till_it_is_done(tmp_path, signer, mode):
    folder = tmp_path / "start"
    folder.mkdir()
    before = Desk(folder, signer)
    hall, *_ = customers(before)
    hall.read_back(before.card)
    hall.issue_clear(before.blank("tool.bin"), account=FIRST, **APPROVED)
    before.close()
    count = 0
    while True:
        desk = before.copy(tmp_path / f"{count}")
        reader = reader_of(desk, "tool.bin")
        stop(reader, mode, count)
        ended = stopped(desk, lambda hall, reader=reader: hall.end_tool(3, reader))
        hall = desk.hall()
        if not ended:
            refused(errors.BINDING_ENDS, hall.sell, desk.card, 10, fen=2500)
            hall.end_tool(3, reader_of(desk, "tool.bin"))
        assert not decode_card((desk.folder / "tool.bin").read_bytes()).order.written
        assert hall.sell(desk.card, 10, fen=2500).bought_total == 4000
        desk.close()
        if ended:
            break
        count += 1
    assert count > 30


# ---------------------------------------------------------------------- the same customer's meter again


def again(desk, hall, volume=5, file="again.bin", **changed):
    given = {"meter": METER, "account": FIRST, "volume": volume, "fen": volume * 250} | changed
    return hall.open_account(desk.blank(file), **given)


def reopened(desk, burned=700, sold=0, loaded=0):
    """A hall and a meter that was cleared and bound again for the same customer: pulses burned, m³ sold before."""
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    if sold:
        hall.sell(desk.card, sold, fen=sold * 300)
    stand.meter.pulses(burned)
    cleared(desk, hall, stand)
    return hall, stand, again(desk, hall, initial_reading=Decimal(burned) / 100)


# Why, pulses burned, m³ on the card that were never loaded -> what the meter has after the new opening of 5 m³.
CARRIED = [
    ("RULES no number wraps: clear and open again", 700, 0, 2300 + 500),
    ("what was never loaded comes along", 700, 10, 2300 + 1000 + 500),
    ("everything is burned", 3000, 0, 500),
    ("burned beyond zero: it is taken off", 3150, 0, 350),
    ("both", 3150, 10, 1000 - 150 + 500),
]


@pytest.mark.parametrize(("burned", "sold", "left"), [row[1:] for row in CARRIED], ids=[row[0] for row in CARRIED])
def test_cleared_account_gets_its_meter_again_with_what_was_left(desk, burned, sold, left):
    hall, stand, sale = reopened(desk, burned, sold)
    carried = left - 500
    assert (sale.account, sale.volume, sale.fen) == (FIRST, 5, 1250)
    assert sale.bought_total == max(carried, 0) + 500
    assert visit(stand, desk.folder / "again.bin") == codes.OK
    assert (stand.meter.remaining, stand.meter.account.values["binding"]) == (left, 2)
    back = hall.read_back(reader_of(desk, "again.bin"))
    assert (back.remaining * 100, back.state, back.held) == (left, "done", 0)
    assert hall.reconcile(FIRST).difference == 0
    # The old card is replaced, and gives nothing anywhere.
    refused(codes.REPLACED, hall.sell, desk.card, 1, fen=1)
    assert visit(stand, desk.card_path) == codes.BINDING
    assert stand.meter.remaining == left
    assert hall.sell(reader_of(desk, "again.bin"), 1, fen=250).sequence == (3 if carried else 2)
    assert visit(stand, desk.folder / "again.bin") == codes.OK
    assert hall.read_back(reader_of(desk, "again.bin")).remaining * 100 == left + 100
    # What was sold, once: the gas that came along is no purchase.
    told = hall.daily_report()
    assert told.total().volume == 30 + 20 + sold + 5 + 1
    assert (told.cards["issued"], told.cards["clear cards"]) == (3, 1)
    assert "after a clear, through" in "\n".join(hall.history(FIRST).lines()) or not carried
    refused(errors.EXCHANGE_MISSING, hall.exchange, FIRST)
    assert hall.audit().clean


def test_makeup_that_was_never_loaded_is_told_as_carried_over_once_its_binding_is_over(desk):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    asked = hall.request_makeup(FIRST, 5, kind="loss", reason="a cut", requester="Li Ming").number
    hall.approve_grant(asked, approver="Wang Fang")
    assert hall.write_grant(desk.card, asked).state == "on the card"

    def written():
        (line,) = [line for line in hall.history(FIRST).lines() if "makeup 5.00" in line]
        return line.rpartition(", ")[2]

    assert written() == "written"
    cleared(desk, hall, stand)
    for service in (lambda: hall.sell(desk.card, 1, fen=250), lambda: hall.reconcile(FIRST)):
        remedy = refused(errors.ACCOUNT_UNKNOWN, service).remedy
        assert all(f"icgas hall {words} --account {FIRST}" in remedy for words in ("open", "close"))
    again(desk, hall)
    assert visit(stand, desk.folder / "again.bin") == codes.OK
    assert stand.meter.remaining == 3000 + 500 + 500, "it came along"
    (told,) = hall.grants(FIRST)
    assert (told.state, hall.grant(asked).state, written()) == ("carried over",) * 3
    assert any("carried over 已结转" in line for line in told.lines())
    with hall.ledger.look() as books:
        assert [order.state for order in books.orders(FIRST)][1] == "written", "what the row says is as it was"


def test_gas_that_came_along_is_paid_back_for_what_it_cost_when_the_account_is_closed(desk):
    hall, stand, _ = reopened(desk, sold=10)
    assert visit(stand, desk.folder / "again.bin") == codes.OK
    hall.issue_clear(desk.blank("clear.bin"), account=FIRST, **APPROVED)
    assert visit(stand, desk.folder / "clear.bin") == codes.OK
    ended = hall.read_tool(reader_of(desk, "clear.bin")).ended
    assert (ended.remaining, ended.not_loaded) == (23 + 10 + 5, 0)
    closure = hall.close_account(FIRST, **APPROVED)
    # The last 5 m³ cost 12.50 yuan, 10 before them 30, 23 of the first 30 cost 2.50 each.
    assert (closure.paid_back, closure.fen) == (38, 1250 + 3000 + 23 * 250)
    assert hall.audit().clean


def test_opening_again_that_died_is_finished_and_nothing_comes_along_twice(desk):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    stand.meter.pulses(700)
    cleared(desk, hall, stand)
    reader = desk.blank("again.bin")
    stop(reader, "dead", 40)
    with pytest.raises(DeadError):
        hall.open_account(reader, meter=METER, account=FIRST, volume=5, fen=1250)
    refused(errors.OPENING_DIFFERS, hall.open_account, desk.blank("x.bin"), meter=METER, volume=5, fen=1250)
    refused(errors.OPENING_DIFFERS, again, desk, hall, 6, "y.bin")
    sale = hall.open_account(reader_of(desk, "again.bin"), meter=METER, account=FIRST, volume=5, fen=1250)
    assert sale.resumed
    assert visit(stand, desk.folder / "again.bin") == codes.OK
    assert stand.meter.remaining == 2800
    assert hall.read_back(reader_of(desk, "again.bin")).remaining == 28
    with hall.ledger.look() as books:
        assert [(row.old, row.moved_pulses) for row in books.transfers(FIRST)] == [(1, 2300)]
    refused(codes.ALREADY_BOUND, again, desk, hall, 5, "z.bin")
    assert hall.audit().clean


def test_another_meter_is_as_good_if_it_counts_alike(desk):
    hall, stand, _ = customers(desk)
    stand.meter.pulses(700)
    cleared(desk, hall, stand)
    third = Stand(desk.signer, METER[:-1] + "5")
    error = refused(codes.WEIGHT, again, desk, hall, 5, "x.bin", meter=third.number, pulse_weight=1)
    assert "23.00 m³ left" in str(error)
    again(desk, hall, 0, meter=third.number)
    assert visit(third, desk.folder / "again.bin") == codes.OK
    assert third.meter.remaining == 2300
    assert hall.audit().clean


def closed(desk, hall, stand):
    cleared(desk, hall, stand)
    hall.close_account(FIRST, **APPROVED)


def held_up(desk, hall, stand):
    cleared(desk, hall, stand)
    hall.stop_account(FIRST, reason="moved out", approver="王芳")


# Why, what was done before -> the code.
NOT_AGAIN = [
    ("it has a meter", lambda desk, hall, stand: None, codes.ALREADY_BOUND, {}),
    (
        "the clear card was not read back",
        lambda desk, hall, stand: hall.issue_clear(desk.blank("tool.bin"), account=FIRST, **APPROVED),
        codes.ALREADY_BOUND,
        {},
    ),
    ("the account is closed", closed, errors.ACCOUNT_CLOSED, {}),
    ("the customer is stopped", held_up, errors.ACCOUNT_STOPPED, {}),
    ("another name", cleared, errors.FIELD, {"name": "Zhao"}),
]


@pytest.mark.parametrize(("before", "code", "changed"), [row[1:] for row in NOT_AGAIN], ids=[r[0] for r in NOT_AGAIN])
def test_account_that_gets_no_meter_again_is_refused(desk, before, code, changed):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    before(desk, hall, stand)
    head = hall.audit().head
    refused(code, again, desk, hall, **changed)
    assert hall.audit().head == head


@pytest.mark.parametrize("burned", [700, 3000, 3150], ids=["left", "nothing", "owed"])
def test_meter_that_is_had_again_is_counted_as_opened_whatever_was_left(desk, burned):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    stand.meter.pulses(burned)
    cleared(desk, hall, stand)
    hall.open_shift("Zhao")
    again(desk, hall)
    shift = hall.shift()
    assert (shift.openings, shift.sales, shift.issued, shift.money) == (1, 0, 1, 1250)
    report = hall.daily_report()
    assert (report.total("opening").orders, report.total("purchase").orders) == (3, 0)


@pytest.mark.parametrize("burned", [700, 3150], ids=["left", "owed"])
def test_what_was_left_before_a_copy_comes_along_to_no_second_meter(desk, burned):
    """Gas must not move twice: the restored ledger cannot know of the meter it moved to after the copy."""
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    stand.meter.pulses(burned)
    cleared(desk, hall, stand)
    hall.backup(desk.folder / "copy.db")
    again(desk, hall, 0, meter=METER[:-1] + "5")
    desk.close()
    for path in desk.folder.glob("ledger.db*"):
        path.unlink()
    (desk.folder / "copy.db").rename(desk.folder / "ledger.db")
    hall = desk.hall()
    hall.mark_restored()
    head, card = hall.audit().head, desk.blank("second.bin")
    error = refused(
        errors.RECOVERING, hall.open_account, card, meter=METER[:-1] + "6", account=FIRST, volume=5, fen=1250
    )
    assert "before the ledger was restored" in str(error)
    assert hall.audit().head == head
    assert decode_card((desk.folder / "second.bin").read_bytes(), desk.signer).blank


@pytest.mark.parametrize("burned", [0, 1000], ids=["nothing left", "cleared since"])
def test_account_of_a_restored_ledger_gets_a_meter_again_where_nothing_can_move_twice(desk, burned):
    hall, stand, _ = customers(desk)
    hall.read_back(desk.card)
    if burned:
        hall.mark_restored()
        hall.probe(desk.card)
        assert visit(stand, desk.card_path) == codes.OK
        hall.adopt(desk.card, **APPROVED)
    stand.meter.pulses(burned or 3000)
    cleared(desk, hall, stand)
    if not burned:
        hall.mark_restored()
    assert again(desk, hall).bought_total == 500 + (3000 - burned if burned else 0)
