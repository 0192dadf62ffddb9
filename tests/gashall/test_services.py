"""The counter's rules, one row a case: what is sold, what is refused, and that a refusal writes nothing."""

import shutil
from contextlib import contextmanager
from decimal import Decimal
from functools import partial

import pytest
from paper import METER, NEIGHBOUR, ORDER, REGION, REPORT, ROOT, PaperMeter, put
from tests.conftest import require_part

from gascard import codes, frames, records
from gascard.chip import DEFAULT_PSC, MAIN, SECURITY, Chip
from gascard.crc import crc16
from gascard.records import ORDER_AT, REPORT_AT
from gashall import encode, errors, units
from gashall.encode import decode_card
from gashall.errors import CardError, GasError, LedgerError, ReaderError, RequestError
from gashall.readers import ChipReader, FileReader
from gashall.signer import KeyFileSigner

require_part("sqlalchemy")
from gashall import services  # noqa: E402

ACCOUNT = "0000000001"


def books_of(desk):
    """Everything the ledger says, to see that nothing changed."""
    with desk.hall().ledger.begin() as books:
        last = books.last_report(METER)
        return (
            books.orders(ACCOUNT),
            books.account(ACCOUNT),
            books.meter(METER),
            books.card(1),
            last and (last.binding, last.report_number),
        )


def chip_of(desk):
    return desk.card_path.read_bytes(), (desk.folder / "card.bin.chip").read_bytes()


def refused(desk, attempt, code, kind=GasError):
    """The attempt is refused by that code; the card stays as it was and no order is made."""
    chip, frames = chip_of(desk), [order.frame for order in books_of(desk)[0]]
    with pytest.raises(kind) as refusal:
        attempt()
    assert refusal.value.code == code
    assert chip_of(desk) == chip
    assert [order.frame for order in books_of(desk)[0]] == frames


# Opening.


def test_open_account_issues_a_card_the_meter_can_load(desk):
    hall = desk.hall()
    sale = hall.open_account(
        desk.blank(),
        meter=METER,
        volume="30",
        name="Li Wei",
        fen=7500,
        pulse_weight=2,
        initial_reading="12.34",
        alarm="5",
        ceiling=1000,
        overdraft="2",
        over_flow_seconds=9,
        issue_batch=2603,
    )
    assert (sale.account, sale.card, sale.sequence, sale.volume) == (ACCOUNT, 1, 1, Decimal("30.00"))
    assert (sale.pulses, sale.bought_total, sale.fen, sale.state, sale.resumed) == (
        3000,
        3000,
        7500,
        "written",
        False,
    )
    card = decode_card(desk.card_path.read_bytes(), desk.signer)
    assert card.order.authentic
    assert card.order.kind == records.ORDER_OPENING
    assert card.order.values == ORDER | {
        "meter": METER,
        "account": ACCOUNT,
        "sequence": 1,
        "bought_total": 3000,
        "amount": 3000,
        "alarm": 500,
        "ceiling": 100_000,
        "overdraft": 200,
        "over_flow_seconds": 9,
        "time": 13_761_360,
        "flags": records.FLAG_PARAMETERS,
        "psc_mask": desk.signer.masked_psc(METER, 1, 1),
    }
    assert card.identity.values["issue_batch"] == 2603
    with desk.card as reader:
        assert reader.error_counter() == 7
        protection = int.from_bytes(reader.protection(), "little")
        assert [i for i in range(32) if not protection >> i & 1] == [0, 1, 2, 3, *range(0x08, 0x15)]
        assert reader.present(desk.signer.card_psc(1))
    orders, account, meter, row, report = books_of(desk)
    assert [(order.state, order.frame, order.paid_pulses, order.released_pulses) for order in orders] == [
        ("written", card.order.raw, 3000, 3000)
    ]
    assert (account.name, meter.wheel_pulses, meter.highest_binding, row.issued, report) == (
        "Li Wei",
        10_000_000,
        1,
        True,
        None,
    )


def test_open_account_without_gas_is_possible(desk):
    assert desk.hall().open_account(desk.blank(), meter=METER, volume=0).bought_total == 0


def test_longest_name_is_kept(desk):
    desk.hall().open_account(desk.blank(), meter=METER, volume=30, name="李" * 200)
    assert books_of(desk)[1].name == "李" * 200


def test_remedy_fits_what_was_wrong(desk):
    hall = desk.opened()
    opening = {"meter": NEIGHBOUR, "volume": 30}
    for attempt, message, remedy in (
        (lambda: hall.sell(desk.card, -3), "The volume of -3 m³ is outside 0.01 to", "Enter 0.01 to 83886.07 m³."),
        (lambda: hall.sell(desk.card, 3, fen=-1), "-1 is no sum of money", "Give whole fen"),
        (lambda: hall.open_account(desk.card, **opening, alarm=-1), "The alarm of -1 m³", "Enter 0 to 655.35 m³."),
        (lambda: hall.sell("card.bin", 3), "'card.bin' is no card reader", "Give a Reader"),
        (lambda: hall.open_account(None, **opening), "None is no card reader", "Give a Reader"),
        (lambda: hall.read_back(desk.card_path), "card.bin') is no card reader", "Give a Reader"),
    ):
        with pytest.raises(RequestError) as refusal:
            attempt()
        assert message in refusal.value.message
        assert refusal.value.remedy.startswith(remedy)


def test_open_account_takes_a_blank_of_another_make(desk):
    chip = Chip()
    chip.main[4:8] = b"\x12\x34\x56\x78"
    chip.main[0x15:0x20] = bytes(11)
    desk.hall().open_account(ChipReader(chip), meter=METER, volume=30)
    assert decode_card(bytes(chip.main), desk.signer).order.authentic
    assert chip.main[0x15:0x20] == bytes(11)


IMPOSSIBLE_OPENINGS = [
    ({"meter": "123"}, errors.NUMBER_MALFORMED),
    ({"account": "12"}, errors.NUMBER_MALFORMED),
    ({"account": "0000000000"}, errors.NUMBER_MALFORMED),
    ({"volume": "0.001"}, errors.NOT_WHOLE_PULSES),
    ({"volume": 0.5}, errors.AMOUNT),
    ({"volume": "-1"}, codes.RANGE),
    ({"volume": "83886.08"}, codes.RANGE),
    ({"pulse_weight": 3}, codes.WEIGHT),
    ({"alarm": "655.36"}, codes.RANGE),
    ({"alarm": "0.005"}, errors.NOT_WHOLE_PULSES),
    ({"ceiling": "167772.16"}, codes.RANGE),
    ({"overdraft": "655.36"}, codes.RANGE),
    ({"initial_reading": "100000"}, codes.RANGE),
    ({"wheel_digits": 7}, errors.FIELD),
    ({"over_flow_seconds": 256}, errors.FIELD),
    ({"key_version": 0}, errors.FIELD),
    ({"issue_batch": -1}, errors.FIELD),
    ({"fen": -1}, errors.AMOUNT),
    ({"fen": 1.5}, errors.AMOUNT),
    ({"wheel_digits": "5"}, errors.FIELD),
    ({"wheel_digits": True}, errors.FIELD),
    ({"key_version": 1.0}, errors.FIELD),
    ({"issue_batch": "1"}, errors.FIELD),
    *[
        ({field: value}, errors.FIELD)
        for field in ("issue_batch", "key_version", "over_flow_seconds", "wheel_digits")
        for value in ("1", 2.5, True, None, 10**5000)
    ],
    ({"fen": 10**5000}, errors.AMOUNT),
    ({"volume": 10**5000}, codes.RANGE),
    ({"alarm": Decimal("1e999999")}, codes.RANGE),
    ({"name": "Li \ud800"}, errors.FIELD),
    ({"name": "Li\tWei"}, errors.FIELD),
    ({"name": "Li Wei\n"}, errors.FIELD),
    ({"name": "\x1b[2JLi"}, errors.FIELD),
    ({"name": "  "}, errors.FIELD),
    ({"name": None}, errors.FIELD),
    ({"name": b"Li Wei"}, errors.FIELD),
    ({"name": "x" * 201}, errors.FIELD),
]


@pytest.mark.parametrize(("changes", "code"), IMPOSSIBLE_OPENINGS)
def test_impossible_opening_is_refused(desk, changes, code):
    hall, reader = desk.hall(), desk.blank()
    refused(
        desk,
        lambda: hall.open_account(reader, **{"meter": METER, "volume": 30} | changes),
        code,
        RequestError,
    )
    assert books_of(desk)[1] is None


def not_blank(at):
    chip = Chip()
    chip.main[at] = 0x7F
    return chip


def protected():
    chip = Chip()
    chip.protection[1] = 0xFE
    return chip


def other_password():
    chip = Chip()
    chip.security[1:4] = b"\1\2\3"
    return chip


def last_try():
    chip = Chip()
    chip.security[0] = 4
    return chip


def dead():
    chip = Chip()
    chip.security[0] = 0
    return chip


@pytest.mark.parametrize(
    ("chip", "code"),
    [
        (not_blank(0x08), errors.CARD_NOT_BLANK),
        (not_blank(0x20), errors.CARD_NOT_BLANK),
        (not_blank(0xFF), errors.CARD_NOT_BLANK),
        (protected(), errors.CARD_NOT_BLANK),
        (other_password(), codes.PASSWORD_REFUSED),
        (last_try(), errors.LAST_TRY),
        (dead(), errors.CARD_DEAD),
    ],
)
def test_opening_on_a_card_that_is_not_blank_is_refused(desk, chip, code):
    desk.blank()
    main, security = bytes(chip.main), bytes(chip.security[1:])
    refused(desk, lambda: desk.hall().open_account(ChipReader(chip), meter=METER, volume=30), code, CardError)
    assert books_of(desk)[1] is None
    assert (bytes(chip.main), bytes(chip.security[1:])) == (main, security)


def test_opening_on_an_issued_card_is_refused(desk):
    hall = desk.opened()
    refused(desk, lambda: hall.open_account(desk.card, meter=NEIGHBOUR, volume=30), errors.CARD_NOT_BLANK)


def test_opening_without_a_card_is_refused(desk):
    with pytest.raises(ReaderError) as refusal:
        desk.hall().open_account(desk.card, meter=METER, volume=30)
    assert refusal.value.code == codes.NO_CARD


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, codes.ALREADY_BOUND),
        ({"pulse_weight": 1, "volume": 30}, codes.WEIGHT),
        ({"meter": NEIGHBOUR, "account": ACCOUNT}, codes.ALREADY_BOUND),
    ],
)
def test_opening_twice_is_refused(desk, changes, code):
    hall = desk.opened()
    other = desk.blank("other.bin")
    refused(desk, lambda: hall.open_account(other, **{"meter": METER, "volume": 30} | changes), code)


def test_opening_repeated_after_its_last_step_tells_which_order_is_on_the_card(desk):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30)
    told = r"order 1 over 30.00 m³ of 2026-03-01 20:00\+08:00 is on card 1, not yet loaded"
    with pytest.raises(LedgerError, match=told):
        hall.open_account(desk.card, meter=METER, volume=30)
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    with pytest.raises(LedgerError, match="order 1 .* was loaded from card 1"):
        hall.open_account(desk.card, meter=METER, volume=30)
    unfinished_sale(hall, desk)
    with pytest.raises(LedgerError, match="order 2 .* is not finished"):
        hall.open_account(desk.card, meter=METER, volume=30)


@pytest.mark.parametrize(
    ("rule", "money", "told"),
    [
        ("decision 146: agreed money", {"fen": 1, "price_agreed": True}, "over 30.00 m³ for 0.01 yuan of 2026-03-01"),
        ("decision 146: by the list", {}, "over 30.00 m³ for 78.90 yuan of 2026-03-01"),
        ("decision 146: nothing was taken", {"fen": 0, "price_agreed": True}, "over 30.00 m³ for 0.00 yuan of 2026-03"),
    ],
)
def test_an_order_told_of_names_its_money(desk, rule, money, told):
    hall = desk.hall()
    hall.set_price(None, 263)
    hall.open_account(desk.blank(), meter=METER, volume=30, **money)
    with pytest.raises(LedgerError, match=told):
        hall.open_account(desk.card, meter=METER, volume=30, **money)
    with pytest.raises(CardError, match=told):
        hall.sell(desk.card, 30, **money)
    desk.meter.insert(desk.card_path)
    hall.sell(desk.card, 30, **money)
    with pytest.raises(CardError, match=f"order 2 {told}") as refusal:
        hall.sell(desk.card, 30, **money)
    assert refusal.value.code == errors.GAS_ON_CARD


def test_accounts_get_numbers_and_cards_of_their_own(desk):
    hall = desk.hall()
    first = hall.open_account(desk.blank(), meter=METER, volume=30)
    second = hall.open_account(desk.blank("other.bin"), meter=NEIGHBOUR, volume=30, account="0000104417")
    assert (first.account, first.card, second.account, second.card) == (ACCOUNT, 1, "0000104417", 2)
    refused(desk, lambda: hall.sell(FileReader(desk.folder / "other.bin"), 1), errors.OPENING_NOT_LOADED)


def two_windows(desk, at):
    """Window A stalls as its card is to store password byte ``at``; B issues the same opening on another blank."""
    mine, other = Chip(), Chip()
    first, second = ChipReader(mine), ChipReader(other)
    sales = []

    def step(plan):
        if plan[0] == SECURITY and plan[1] == at and not sales:
            sales.append(desk.hall().open_account(second, meter=METER, volume=30))

    first.step = step
    with pytest.raises(LedgerError, match="on another blank") as refusal:
        desk.hall().open_account(first, meter=METER, volume=30)
    assert refusal.value.code == errors.PENDING_ELSEWHERE
    assert [sale.state for sale in sales] == ["written"]
    return other


@pytest.mark.parametrize("at", [1, 2, 3])
def test_opening_overtaken_by_another_window_takes_nothing_back(desk, at):
    other = two_windows(desk, at)
    orders, _, _, row, _ = books_of(desk)
    assert ([order.state for order in orders], row.issued, row.psc_bytes) == (["written"], True, 3)
    desk.card_path.write_bytes(bytes(other.main))
    desk.meter.insert(desk.card_path)
    other.main[:] = desk.card_path.read_bytes()
    reader = ChipReader(other)
    unfinished_chip_sale(desk, reader)
    sale = desk.hall().sell(reader, 20, fen=5000)
    assert (sale.sequence, sale.state, sale.resumed) == (2, "written", True)


def unfinished_chip_sale(desk, reader):
    """The card is pulled before the first byte of a sale of 20 m³ stands on it."""
    chip = reader.chip

    def step(plan):
        if plan[0] == MAIN:
            reader.pull()

    reader.step = step
    with pytest.raises(ReaderError):
        desk.hall().sell(reader, 20, fen=5000)
    reader.step = None
    reader.insert(chip)


def test_pending_sale_is_never_taken_for_an_opening(desk):
    desk.opened()
    unfinished_sale(desk.hall(), desk)
    with desk.hall().ledger.begin() as books:
        books._connection.exec_driver_sql("UPDATE cards SET issued = 0, psc_bytes = 2")
    sale = desk.hall().sell(desk.card, 20, fen=5000)
    assert (sale.sequence, sale.state, sale.resumed) == (2, "written", True)


# Selling.


def test_sale_after_sale_adds_up(desk):
    hall = desk.opened()
    total = 3000
    for sequence, volume in enumerate(("20", Decimal("0.01"), 7), start=2):
        sale = hall.sell(desk.card, volume, fen=100 * sequence)
        total += sale.pulses
        assert (sale.sequence, sale.bought_total, sale.fen, sale.state) == (
            sequence,
            total,
            100 * sequence,
            "written",
        )
        order = decode_card(desk.card_path.read_bytes(), desk.signer).order
        assert order.authentic
        assert (order.kind, order.values["flags"]) == (records.ORDER_USER, 0)
        assert (order.values["bought_total"], order.values["amount"]) == (total, sale.pulses)
        desk.meter.insert(desk.card_path)
    assert desk.meter.bought == total
    hall.read_back(desk.card)
    assert [order.state for order in books_of(desk)[0]] == ["done"] * 4


def test_sale_writes_only_changed_bytes(desk):
    hall = desk.opened()
    before, stored = desk.card_path.read_bytes(), []
    reader = desk.card
    reader.step = stored.append
    hall.sell(reader, 20)
    after = desk.card_path.read_bytes()
    changed = [(0, i, after[i]) for i in range(256) if after[i] != before[i]]
    assert [plan for plan in stored if plan[0] == 0] == changed
    assert len(stored) == len(changed) + 2  # and the password's two


IMPOSSIBLE_SALES = [
    (0, errors.AMOUNT),
    ("0.00", errors.AMOUNT),
    ("0.001", errors.NOT_WHOLE_PULSES),
    (1.5, errors.AMOUNT),
    ("many", errors.AMOUNT),
    (None, errors.AMOUNT),
    ("-1", codes.RANGE),
    (-30, codes.RANGE),
    ("83886.08", codes.RANGE),
    ("1000000", codes.RANGE),
]


@pytest.mark.parametrize(("volume", "code"), IMPOSSIBLE_SALES)
def test_impossible_amount_is_refused(desk, volume, code):
    hall = desk.opened()
    refused(desk, lambda: hall.sell(desk.card, volume), code, RequestError)


@pytest.mark.parametrize("fen", [-1, 1.0, True, 1 << 60])
def test_impossible_money_is_refused(desk, fen):
    hall = desk.opened()
    refused(desk, lambda: hall.sell(desk.card, 20, fen=fen), errors.AMOUNT, RequestError)


def test_total_above_the_highest_is_refused(desk):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=8_388_607, pulse_weight=0)
    for _ in range(10):
        desk.meter.insert(desk.card_path)
        hall.sell(desk.card, 8_388_607)
    desk.meter.insert(desk.card_path)
    left = 99_999_999 - desk.meter.bought
    refused(desk, lambda: hall.sell(desk.card, left + 1), codes.RANGE, RequestError)
    assert hall.sell(desk.card, left).bought_total == 99_999_999


@pytest.mark.parametrize("seen", ["card", "ledger"])
def test_sale_the_meters_register_could_not_measure_is_refused(desk, seen):
    hall = desk.opened()
    hall.read_back(desk.card)
    # 10 m³ of the 30 are used; 20 m³ are left, and the wheels of the register end 25 m³ from here.
    report(desk, register=99_999_999 - 2500, used=1000)
    if seen == "ledger":
        hall.read_back(desk.card)
        for at in REPORT_AT:
            put(desk.card_path, at, b"\xff" * 20)
    with pytest.raises(RequestError) as refusal:
        hall.sell(desk.card, "5.01")
    assert refusal.value.code == codes.RANGE
    assert "register would end before its gas" in refusal.value.message
    assert refusal.value.remedy == "Sell at most 5.00 m³; then the meter is to be exchanged."
    assert len(books_of(desk)[0]) == 1
    assert hall.sell(desk.card, 5).state == "written"


def test_kept_report_that_is_none_is_named(desk):
    hall = desk.opened()
    hall.read_back(desk.card)
    with hall.ledger.begin() as books:
        books._connection.exec_driver_sql("UPDATE reports SET frame = X'00'")
    for at in REPORT_AT:
        put(desk.card_path, at, b"\xff" * 20)
    for attempt in (lambda: hall.sell(desk.card, 20), lambda: hall.reconcile(ACCOUNT)):
        with pytest.raises(LedgerError, match=r"damaged: reports\.frame") as refusal:
            attempt()
        assert refusal.value.code == errors.LEDGER


def test_sequence_at_its_end_is_refused(desk):
    hall = desk.opened()
    with hall.ledger.begin() as books:
        books._connection.exec_driver_sql("UPDATE orders SET sequence = 65535, state = 'done'")
    with pytest.raises(LedgerError) as refusal:
        hall.sell(desk.card, 20)
    assert refusal.value.code == codes.NUMBER_USED_UP


def forge(desk, **changes):
    """Put an authentic order on the card that the hall never made."""
    values = decode_card(desk.card_path.read_bytes()).order.values
    kind = changes.pop("kind", records.ORDER_USER)
    signer = changes.pop("signer", desk.signer)
    put(desk.card_path, ORDER_AT, encode.encode_order(signer, 1, dict(values) | changes, kind))


def newer_version(desk):
    frame = bytearray(desk.card_path.read_bytes()[ORDER_AT : ORDER_AT + 59])
    frame[3] = 2
    put(desk.card_path, ORDER_AT, frames.close(frame, 48, bytes(8)))


def re_region(desk):
    put(desk.card_path, 0x08, encode.encode_identity(region=REGION + 1, card=1))


def re_kind(desk):
    put(desk.card_path, 0x08, encode.encode_identity(region=REGION, card=1, kind=records.CARD_TEST))


def flip(at):
    return lambda desk: put(desk.card_path, at, bytes((desk.card_path.read_bytes()[at] ^ 0x10,)))


def newer_identity():
    identity = bytearray(encode.encode_identity(region=REGION, card=1))
    identity[1] = 2
    identity[-2:] = crc16(identity, 0, 11).to_bytes(2, "big")
    return bytes(identity)


def report(desk, **changes):
    put(desk.card_path, REPORT_AT[1], desk.meter.report(1, **{"report_number": 50} | changes))


def rebind(desk):
    with desk.hall().ledger.begin() as books:
        books._connection.exec_driver_sql("UPDATE bindings SET number = 2")
        books._connection.exec_driver_sql("UPDATE orders SET frame = X'00'")


def replace_card(desk):
    with desk.hall().ledger.begin() as books:
        insert = "INSERT INTO cards SELECT 7, account, 1, 0, 3, 1, NULL, NULL FROM cards WHERE number = 1"
        books._connection.exec_driver_sql(insert)


def unbind(desk):
    with desk.hall().ledger.begin() as books:
        books._connection.exec_driver_sql("UPDATE bindings SET open = 0")


def roll_back(desk):
    """The customer shows the image of before the last purchase."""
    old = desk.card_path.read_bytes()
    desk.hall().sell(desk.card, 20)
    put(desk.card_path, 0, old)


def cut_order(desk):
    put(desk.card_path, 0x40, b"\xff" * 27)


flip_order = flip(0x30)
DAMAGED_ORDERS = [cut_order, flip_order]

BAD_CARDS = [
    ("blank", lambda desk: put(desk.card_path, 0, bytes(Chip().main)), errors.CARD_BLANK),
    ("foreign", lambda desk: put(desk.card_path, 0x08, bytes(13)), codes.NOT_OURS),
    ("identity wiped", lambda desk: put(desk.card_path, 0x08, b"\xff" * 13), codes.NOT_OURS),
    ("identity flipped", flip(0x0E), codes.CRC),
    ("identity of a newer format", lambda desk: put(desk.card_path, 0x08, newer_identity()), codes.VERSION),
    ("wrong region", re_region, codes.REGION),
    ("no customer card", re_kind, codes.KIND),
    (
        "unknown card",
        lambda desk: put(desk.card_path, 0x08, encode.encode_identity(region=REGION, card=9)),
        errors.CARD_UNKNOWN,
    ),
    ("card replaced", replace_card, codes.REPLACED),
    ("account without a meter", unbind, errors.ACCOUNT_UNKNOWN),
    ("order truncated", cut_order, codes.SHAPE),
    ("order flipped", flip_order, codes.CRC),
    ("order wiped", lambda desk: put(desk.card_path, ORDER_AT, b"\xff" * 59), errors.ORDER_MISSING),
    ("newer version", newer_version, codes.VERSION),
    ("wrong key", lambda desk: forge(desk, signer=KeyFileSigner(bytes(32), REGION)), codes.MAC),
    ("wrong meter", lambda desk: forge(desk, meter=NEIGHBOUR), codes.METER),
    ("earlier binding", rebind, codes.BINDING),
    ("older sequence", roll_back, codes.OLDER),
    ("order ahead of the ledger", lambda desk: forge(desk, sequence=2), errors.LEDGER_BEHIND),
    ("binding ahead of the ledger", lambda desk: forge(desk, binding=2), errors.LEDGER_BEHIND),
    ("other order of the same number", lambda desk: forge(desk, bought_total=9999), codes.SEQUENCE_CONFLICT),
    ("report ahead by sequence", lambda desk: report(desk, sequence=2), errors.LEDGER_BEHIND),
    ("report ahead by total", lambda desk: report(desk, bought_total=3001), errors.LEDGER_BEHIND),
    ("report ahead by binding", lambda desk: report(desk, binding=2), errors.LEDGER_BEHIND),
]


@pytest.mark.parametrize(("bend", "code"), [row[1:] for row in BAD_CARDS], ids=[row[0] for row in BAD_CARDS])
@pytest.mark.parametrize("service", ["sell", "read_back"])
def test_bad_card_is_refused_by_its_own_code(desk, bend, code, service):
    hall = desk.opened()
    bend(desk)
    attempt = {"sell": lambda: hall.sell(desk.card, 20), "read_back": lambda: hall.read_back(desk.card)}[service]
    if service == "read_back" and bend in DAMAGED_ORDERS:
        assert attempt().damaged == ("order",)
        return
    refused(desk, attempt, code)


def without_reports(desk):
    put(desk.card_path, REPORT_AT[0], b"\xff" * 148)


@pytest.mark.parametrize("bend", DAMAGED_ORDERS)
def test_damaged_order_is_refused_without_a_report(desk, bend):
    hall = desk.opened()
    bend(desk)
    without_reports(desk)
    with pytest.raises(CardError) as refusal:
        hall.read_back(desk.card)
    assert refusal.value.code in (codes.SHAPE, codes.CRC)


@pytest.mark.parametrize("reported", [True, False])
def test_forged_order_is_no_damaged_one_even_while_a_sale_is_unfinished(desk, reported):
    hall = unfinished(desk)
    values = encode.decode_order(books_of(desk)[0][-1].frame)
    put(desk.card_path, ORDER_AT, encode.encode_order(KeyFileSigner(bytes(32), REGION), 1, values))
    if not reported:
        without_reports(desk)
    refused(desk, lambda: hall.read_back(desk.card), codes.MAC, CardError)
    assert hall.sell(desk.card, 20, fen=5000).resumed


@pytest.mark.parametrize(("loaded", "code"), [(False, errors.OPENING_NOT_LOADED), (True, errors.GAS_ON_CARD)])
def test_card_with_gas_on_it_is_refused(desk, loaded, code):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30)
    if loaded:
        desk.meter.insert(desk.card_path)
        hall.sell(desk.card, 20)
    refused(desk, lambda: hall.sell(desk.card, 20), code, CardError)
    told = "order 2 over 20.00" if loaded else "order 1 over 30.00"
    with pytest.raises(CardError, match=rf"{told} m³ of 2026-03-01 20:00\+08:00 is on card 1, not yet loaded\."):
        hall.sell(desk.card, 20)
    desk.meter.insert(desk.card_path)
    assert hall.sell(desk.card, 20).state == "written"


FORGED_REPORTS = [
    ("other key", lambda desk: encode.encode_report(bytes(16), REGION, 1, REPORT), codes.MAC),
    (
        "copied from another card",
        lambda desk: PaperMeter(desk.signer).report(2, sequence=1, bought_total=3000),
        codes.MAC,
    ),
    (
        "neighbour's meter",
        lambda desk: PaperMeter(desk.signer, NEIGHBOUR).report(1, sequence=1, bought_total=3000),
        errors.OPENING_NOT_LOADED,
    ),
    (
        "shows less",
        lambda desk: PaperMeter(desk.signer).report(1, sequence=0, bought_total=0),
        errors.OPENING_NOT_LOADED,
    ),
    (
        "shows the number, not the gas",
        lambda desk: PaperMeter(desk.signer).report(1, sequence=1, bought_total=2999),
        errors.OPENING_NOT_LOADED,
    ),
]


@pytest.mark.parametrize(("make", "code"), [row[1:] for row in FORGED_REPORTS], ids=[row[0] for row in FORGED_REPORTS])
def test_report_that_proves_nothing_moves_nothing(desk, make, code):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30)
    put(desk.card_path, REPORT_AT[0], make(desk))
    refused(desk, lambda: hall.sell(desk.card, 20), code, CardError)
    assert books_of(desk)[0][0].state == "written"


@pytest.mark.parametrize(
    ("make", "code"),
    [(row[1], row[2]) for row in FORGED_REPORTS[:2]],
    ids=[row[0] for row in FORGED_REPORTS[:2]],
)
def test_forged_report_is_named_when_read_back(desk, make, code):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30)
    put(desk.card_path, REPORT_AT[0], make(desk))
    refused(desk, lambda: hall.read_back(desk.card), code, CardError)


def test_torn_report_beside_a_whole_one_does_no_harm(desk):
    hall = desk.opened()
    put(desk.card_path, REPORT_AT[1], desk.meter.report(1, report_number=2)[:30])
    assert hall.read_back(desk.card).damaged == ("report slot 1",)
    assert hall.sell(desk.card, 20).state == "written"


def test_only_report_torn_is_named(desk):
    hall = desk.opened()
    flip(REPORT_AT[0] + 30)(desk)
    refused(desk, lambda: hall.read_back(desk.card), codes.CRC, CardError)
    refused(desk, lambda: hall.sell(desk.card, 20), errors.OPENING_NOT_LOADED, CardError)


def test_older_report_moves_nothing(desk):
    hall = desk.opened()
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    put(desk.card_path, REPORT_AT[1], b"\xff" * 74)  # back to report 1
    before = books_of(desk)
    refused(desk, lambda: hall.read_back(desk.card), errors.REPORT_OLDER, CardError)
    assert books_of(desk) == before
    # The sale goes by what the hall knows already: the order is done.
    assert hall.sell(desk.card, 20).sequence == 2


def test_older_report_never_settles_an_order(desk):
    hall = desk.opened()
    early = desk.card_path.read_bytes()
    hall.sell(desk.card, 20)
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    hall.sell(desk.card, 20)
    put(desk.card_path, REPORT_AT[0], early[REPORT_AT[0] : 256])
    refused(desk, lambda: hall.sell(desk.card, 20), errors.GAS_ON_CARD, CardError)


def test_report_settles_a_refused_sale_all_the_same(desk):
    """What the report proves is kept even when the sale itself is impossible."""
    hall = desk.opened()
    with pytest.raises(RequestError):
        hall.sell(desk.card, 0)
    assert books_of(desk)[0][0].state == "done"


def test_wrong_password_leaves_no_order(desk):
    """A copy of the card's data on another chip: genuine to read, refused by its password."""
    hall = desk.opened()
    chip = Chip()
    chip.main[:] = desk.card_path.read_bytes()
    refused(desk, lambda: hall.sell(ChipReader(chip), 20), codes.PASSWORD_REFUSED, CardError)
    assert hall.sell(desk.card, 20).sequence == 2


@pytest.mark.parametrize(("tries", "code"), [(4, errors.LAST_TRY), (2, errors.LAST_TRY), (0, errors.CARD_DEAD)])
def test_last_try_is_not_spent_and_a_dead_card_not_written(desk, tries, code):
    hall = desk.opened()
    sidecar = desk.folder / "card.bin.chip"
    sidecar.write_bytes(sidecar.read_bytes()[:4] + bytes((tries,)) + sidecar.read_bytes()[5:])
    refused(desk, lambda: hall.sell(desk.card, 20), code, CardError)
    if tries:
        assert hall.sell(desk.card, 20, rescue=True).state == "written"
        assert sidecar.read_bytes()[4] == 7
    else:
        refused(desk, lambda: hall.sell(desk.card, 20, rescue=True), code, CardError)


def test_last_try_is_not_spent_on_a_forged_card(desk):
    hall = desk.opened()
    sidecar = desk.folder / "card.bin.chip"
    sidecar.write_bytes(sidecar.read_bytes()[:4] + b"\4" + sidecar.read_bytes()[5:])
    put(desk.card_path, REPORT_AT[1], encode.encode_report(bytes(16), REGION, 1, REPORT))
    refused(desk, lambda: hall.sell(desk.card, 20, rescue=True), errors.LAST_TRY, CardError)


class Swapping(FileReader):
    """The card is exchanged for another while the hall thinks."""

    other = b""
    after = 1

    def _read(self, address, length):
        if address == 0x08 and length == 13:
            self.after -= 1
            if self.after < 0:
                return self.other
        return super()._read(address, length)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_card_swapped_before_the_write_is_noticed(desk, after):
    hall = desk.opened()
    reader = Swapping(desk.card_path)
    reader.other, reader.after = encode.encode_identity(region=REGION, card=2), after
    before = desk.card_path.read_bytes()
    with pytest.raises(CardError) as refusal:
        hall.sell(reader, 20)
    assert refusal.value.code == errors.CARD_SWAPPED
    assert desk.card_path.read_bytes() == before
    # Seen before the row was made there is none; later the row stands, and is finished with the right card.
    assert len(books_of(desk)[0]) == 1 + (after == 2)
    assert hall.sell(desk.card, 20).sequence == 2
    assert len(books_of(desk)[0]) == 2


def test_write_that_does_not_hold_is_noticed(desk):
    class Forgetful(FileReader):
        def _write(self, address, data):
            super()._write(address, bytes((data[0] ^ 1,)) + data[1:])

    hall = desk.opened()
    with pytest.raises(CardError) as refusal:
        hall.sell(Forgetful(desk.card_path), 20)
    assert refusal.value.code == errors.READ_BACK_DIFFERS
    assert books_of(desk)[0][-1].state == "pending"
    assert hall.sell(desk.card, 20).resumed


def test_byte_changed_elsewhere_is_noticed(desk):
    class Spilling(FileReader):
        def _write(self, address, data):
            super()._write(address, data)
            put(desk.card_path, 0xF0, b"\0")
            self.chip.main[0xF0] = 0

    hall = desk.opened()
    with pytest.raises(CardError) as refusal:
        hall.sell(Spilling(desk.card_path), 20)
    assert refusal.value.code == errors.READ_BACK_DIFFERS


# Unfinished orders and other windows.


class DeadError(BaseException):
    """The program stops here."""


def die_at(reader, count):
    """Let ``reader`` store ``count`` bytes, then stop the program."""
    left = [count]

    def step(plan):
        left[0] -= 1
        if left[0] < 0:
            raise DeadError

    reader.step = step
    return reader


def unfinished_sale(hall, desk):
    with pytest.raises(DeadError):
        hall.sell(die_at(desk.card, 6), 20, fen=5000)


def unfinished(desk):
    unfinished_sale(desk.opened(), desk)
    return desk.hall()


def test_unfinished_sale_is_finished_by_the_same_sale(desk):
    sale = unfinished(desk).sell(desk.card, 20, fen=5000)
    assert (sale.sequence, sale.resumed, sale.bought_total) == (2, True, 5000)
    refused(desk, lambda: desk.hall().sell(desk.card, 20, fen=5000), errors.GAS_ON_CARD)


@pytest.mark.parametrize(("volume", "fen"), [(21, 5000), (20, 5001), (20, None), ("x", 5000), (0, None)])
def test_unfinished_sale_is_finished_before_another_is_refused(desk, volume, fen):
    hall = unfinished(desk)
    with pytest.raises(RequestError) as refusal:
        hall.sell(desk.card, volume, fen=fen)
    assert refusal.value.code == errors.ORDER_FINISHED
    assert "order 2 over 20.00 m³ for 50.00 yuan has been finished" in refusal.value.message
    assert [order.state for order in books_of(desk)[0]] == ["done", "written"]
    assert decode_card(desk.card_path.read_bytes(), desk.signer).order.values["bought_total"] == 5000


def test_unfinished_sale_is_not_cancelled_by_an_old_image(desk):
    hall = desk.opened()
    old = desk.card_path.read_bytes()
    with pytest.raises(DeadError):
        hall.sell(die_at(desk.card, 10), 20)
    put(desk.card_path, 0, old)
    assert desk.hall().sell(desk.card, 20).resumed
    assert books_of(desk)[0][-1].released_pulses == 5000


def test_written_sale_unbooked_is_settled_by_a_report(desk):
    """The host died after the last byte; the customer loads the card before he comes back."""
    hall = desk.opened()

    class Silent(FileReader):
        def _read(self, address, length):
            if self.wrote and length == 256:
                raise DeadError
            return super()._read(address, length)

        wrote = False

        def _write(self, address, data):
            super()._write(address, data)
            self.wrote = True

    with pytest.raises(DeadError):
        hall.sell(Silent(desk.card_path), 20)
    assert books_of(desk)[0][-1].state == "pending"
    desk.meter.insert(desk.card_path)
    assert desk.meter.bought == 5000
    sale = desk.hall().sell(desk.card, 20)
    assert (sale.sequence, sale.resumed, sale.bought_total) == (3, False, 7000)
    assert [order.state for order in books_of(desk)[0]] == ["done", "done", "written"]


def test_written_sale_unbooked_is_settled_by_reading_back(desk):
    hall = unfinished(desk)
    frame = books_of(desk)[0][-1].frame
    put(desk.card_path, ORDER_AT, frame)
    assert hall.read_back(desk.card).state == "written"
    assert books_of(desk)[0][-1].state == "written"


def test_unfinished_sale_and_a_card_ahead_of_it_is_ledger_behind(desk):
    hall = unfinished(desk)
    values = encode.decode_order(books_of(desk)[0][-1].frame)
    put(desk.card_path, ORDER_AT, encode.encode_order(desk.signer, 1, dict(values) | {"sequence": 3}))
    refused(desk, lambda: hall.sell(desk.card, 20, fen=5000), errors.LEDGER_BEHIND, LedgerError)


def test_sale_at_two_windows_is_made_once(desk):
    """A second window sells on a copy of the card while the first has presented its password."""
    hall = desk.opened()
    shutil.copy(desk.card_path, desk.folder / "copy.bin")
    shutil.copy(desk.folder / "card.bin.chip", desk.folder / "copy.bin.chip")
    reader, other = desk.card, desk.hall()

    def step(plan):
        reader.step = None
        other.sell(FileReader(desk.folder / "copy.bin"), 20)

    reader.step = step
    with pytest.raises(CardError) as refusal:
        hall.sell(reader, 20)
    assert refusal.value.code == codes.OLDER
    assert [order.released_pulses for order in books_of(desk)[0]] == [3000, 5000]


def test_sale_begun_at_another_window_blocks_this_one(desk):
    hall = desk.opened()
    shutil.copy(desk.card_path, desk.folder / "copy.bin")
    shutil.copy(desk.folder / "card.bin.chip", desk.folder / "copy.bin.chip")
    reader, other = desk.card, desk.hall()

    def step(plan):
        reader.step = None
        with pytest.raises(DeadError):
            other.sell(die_at(FileReader(desk.folder / "copy.bin"), 5), 20)

    reader.step = step
    with pytest.raises(LedgerError) as refusal:
        hall.sell(reader, 20)
    assert refusal.value.code == errors.PENDING_ELSEWHERE
    assert hall.sell(desk.card, 20).sequence == 2


def turns(hall, monkeypatch, between=None):
    """The kinds of transaction ``hall`` begins from now on; ``between`` is done once, after the first."""
    begun = []

    @contextmanager
    def turn(kind, real):
        begun.append(kind)
        with real() as books:
            yield books
        if len(begun) == 1 and between is not None:
            between()

    for kind in ("look", "begin"):
        monkeypatch.setattr(hall.ledger, kind, partial(turn, kind, getattr(hall.ledger, kind)))
    return begun


def test_sale_keeps_another_window_waiting_twice(desk, monkeypatch):
    hall = desk.opened()
    begun = turns(hall, monkeypatch)
    hall.sell(desk.card, 20)
    assert begun == ["look", "begin", "begin"]


def test_refused_sale_books_the_report(desk, monkeypatch):
    hall = desk.opened()
    hall.set_limits(purchase=10)
    begun = turns(hall, monkeypatch)
    refused(desk, lambda: hall.sell(desk.card, 20), errors.OVER_LIMIT, RequestError)
    assert begun[:2] == ["look", "begin"]
    assert books_of(desk)[0][-1].state == "done"


def test_refusal_another_window_has_lifted_is_none(desk, monkeypatch):
    hall, other = desk.opened(), desk.hall()
    hall.set_limits(purchase=10)
    begun = turns(hall, monkeypatch, lambda: other.set_limits(purchase=None))
    assert hall.sell(desk.card, 20).sequence == 2
    assert begun == ["look", "begin", "begin", "begin"]


def test_order_another_window_has_finished_is_not_finished_again(desk, monkeypatch):
    hall, other = unfinished(desk), desk.hall()
    put(desk.card_path, ORDER_AT, books_of(desk)[0][-1].frame)
    turns(hall, monkeypatch, lambda: other.read_back(desk.card))
    refused(desk, lambda: hall.sell(desk.card, 20), errors.GAS_ON_CARD, CardError)


def half_opened(desk, stored=30, **changes):
    hall = desk.hall()
    with pytest.raises(DeadError):
        hall.open_account(die_at(desk.blank(), stored), **{"meter": METER, "volume": 30, "name": "Li Wei"} | changes)
    return desk.hall()


def test_unfinished_opening_is_finished_on_another_blank_card(desk):
    hall = half_opened(desk)
    sale = hall.open_account(desk.blank("other.bin"), meter=METER, volume=30, name="Li Wei")
    assert (sale.card, sale.sequence, sale.resumed) == (1, 1, True)
    assert len(books_of(desk)[0]) == 1


@pytest.mark.parametrize(
    "changes", [{"volume": 31}, {"name": "Wang"}, {"alarm": 6}, {"fen": 1}, {"initial_reading": 1}]
)
def test_unfinished_opening_with_other_particulars_is_refused(desk, changes):
    hall = half_opened(desk)
    attempt = {"meter": METER, "volume": 30, "name": "Li Wei"} | changes
    refused(desk, lambda: hall.open_account(desk.card, **attempt), errors.OPENING_DIFFERS, LedgerError)


def test_half_made_card_of_one_account_is_not_used_for_another(desk):
    hall = half_opened(desk)
    refused(desk, lambda: hall.open_account(desk.card, meter=NEIGHBOUR, volume=30), errors.CARD_NOT_BLANK)


def test_issued_card_is_not_taken_for_an_unfinished_opening(desk):
    hall = half_opened(desk)
    other = desk.blank("other.bin")
    hall.open_account(other, meter=NEIGHBOUR, volume=30)
    with pytest.raises(CardError) as refusal:
        hall.open_account(other, meter=METER, volume=30, name="Li Wei")
    assert refusal.value.code == errors.CARD_NOT_BLANK


def test_sale_on_a_half_made_card_finishes_the_opening_only(desk):
    hall = half_opened(desk, stored=80)
    with pytest.raises(RequestError) as refusal:
        hall.sell(desk.card, 20)
    assert refusal.value.code == errors.ORDER_FINISHED
    assert books_of(desk)[3].issued
    refused(desk, lambda: hall.sell(desk.card, 20), errors.OPENING_NOT_LOADED)


# Reading back and reconciling.


def test_read_back_gives_the_report(desk):
    hall = desk.opened()
    desk.meter.used = 1234
    desk.meter.insert(desk.card_path)
    chip = chip_of(desk)
    result = hall.read_back(desk.card)
    assert (result.account, result.meter, result.card, result.state) == (ACCOUNT, METER, 1, "done")
    assert result.report["report_number"] == 2
    assert (result.remaining, result.on_card, result.damaged) == (Decimal("17.66"), Decimal("0.00"), ())
    assert chip_of(desk) == chip
    assert hall.read_back(desk.card) == result


def test_read_back_leaves_no_trace_on_the_disk(desk):
    hall = desk.opened()
    (desk.folder / "card.bin.chip").unlink()
    card = desk.card_path.read_bytes()
    assert hall.read_back(desk.card).state == "done"
    assert not (desk.folder / "card.bin.chip").exists()
    with pytest.raises(ReaderError, match=r"There is no .*card\.bin\.chip"):
        hall.sell(desk.card, 20)
    assert len(books_of(desk)[0]) == 1
    assert desk.card_path.read_bytes() == card


def test_read_back_judges_reports_by_the_ledgers_key_version(desk):
    """The order, which names the version, is torn."""
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30, key_version=2)
    desk.meter.key = encode.report_key(desk.signer.meter_keys(METER, 2)[0])
    desk.meter.insert(desk.card_path)
    cut_order(desk)
    assert hall.read_back(desk.card).damaged == ("order",)


def test_read_back_of_an_unused_opening_card_has_no_report(desk):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30)
    result = hall.read_back(desk.card)
    assert (result.report, result.remaining, result.on_card, result.state) == (
        None,
        None,
        Decimal("30.00"),
        "written",
    )


RECONCILED = [
    # initial reading, used, closing reading, sold later, correction: used by index, left, on card, difference
    ("0", 0, None, 0, 0, (0, 3000, 0, 0)),
    ("0", 1234, None, 0, 0, (1234, 1766, 0, 0)),
    ("500", 1234, "512.34", 20, 0, (1234, 1766, 2000, 0)),
    ("99999.99", 1234, "12.33", 0, 0, (1234, 1766, 0, 0)),
    ("0", 1234, "12.35", 0, 0, (1235, 1766, 0, -1)),
    ("0", 1234, "12.33", 0, 0, (1233, 1766, 0, 1)),
    ("0", 1234, None, 0, -7, (1234, 1773, 0, 0)),
    ("0", 2990, "99999.99", 0, 0, (-1, 10, 0, 2991)),
]


@pytest.mark.parametrize(("initial", "used", "closing", "later", "correction", "expected"), RECONCILED)
def test_reconciliation_adds_up(desk, initial, used, closing, later, correction, expected):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30, initial_reading=initial)
    desk.meter.used, desk.meter.correction = used, correction
    desk.meter.initial = int(Decimal(initial) * 100) % 10_000_000
    if desk.meter.initial + used > 9_999_999:
        desk.meter.initial -= 10_000_000
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    if later:
        hall.sell(desk.card, later)
    result = hall.reconcile(ACCOUNT, closing)
    assert result.sold == 3000 + 100 * later
    assert (result.used_by_index, result.left_on_meter, result.on_card, result.difference) == expected
    assert result.corrections == correction
    text = "\n".join(result.lines())
    assert f"difference {units.counted(result.difference, 'pulse')}" in text
    assert str(Decimal(expected[0]) / 100)[:4] in text
    assert dict(result.rows())["sold"] == Decimal(30 + later)


def test_wheels_that_turned_more_than_once_are_counted_by_the_register(desk):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=300, pulse_weight=0, wheel_digits=2)
    desk.meter.used = 257
    desk.meter.initial = -200
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    result = hall.reconcile(ACCOUNT, 57)
    assert (result.used_by_index, result.left_on_meter, result.difference) == (257, 43, 0)


@pytest.mark.parametrize(
    ("account", "closing", "code"),
    [
        ("12", None, errors.NUMBER_MALFORMED),
        ("0000000009", None, errors.ACCOUNT_UNKNOWN),
        (ACCOUNT, "100000", codes.RANGE),
        (ACCOUNT, "0.001", errors.NOT_WHOLE_PULSES),
    ],
)
def test_impossible_reconciliation_is_refused(desk, account, closing, code):
    hall = desk.opened()
    hall.read_back(desk.card)
    refused(desk, lambda: hall.reconcile(account, closing), code)


def test_reconciliation_without_a_report_is_refused(desk):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30)
    refused(desk, lambda: hall.reconcile(ACCOUNT), errors.REPORT_MISSING, CardError)


# The door.


def test_hall_opens_on_folder_or_file(tmp_path):
    KeyFileSigner.create(tmp_path / "region.key", REGION)
    for place, file in ((tmp_path, tmp_path / "ledger.db"), (tmp_path / "books.db", tmp_path / "books.db")):
        with pytest.raises(LedgerError) as refusal:
            services.Hall.open(place, tmp_path / "region.key")
        assert refusal.value.code == errors.LEDGER_MISSING
        assert not file.exists()
        hall = services.Hall.open(place, tmp_path / "region.key", create=True)
        hall.open_account(FileReader.blank(file.with_suffix(".card")), meter=METER, volume=30)
        hall.close()
        assert file.exists()
        services.Hall.open(place, tmp_path / "region.key").close()


def test_hall_refuses_the_ledger_of_another_region(tmp_path):
    for name, region in (("a.key", 1), ("b.key", 2)):
        KeyFileSigner.create(tmp_path / name, region)
    services.Hall.open(tmp_path, tmp_path / "a.key", create=True).close()
    with pytest.raises(LedgerError) as refusal:
        services.Hall.open(tmp_path, tmp_path / "b.key")
    assert refusal.value.code == errors.LEDGER_REGION


def test_hall_refuses_another_key_file_of_the_same_region(tmp_path):
    for name in ("a.key", "b.key"):
        KeyFileSigner.create(tmp_path / name, REGION)
    services.Hall.open(tmp_path, tmp_path / "a.key", create=True).close()
    with pytest.raises(LedgerError, match=r"ledger\.db was made with another root key") as refusal:
        services.Hall.open(tmp_path, tmp_path / "b.key")
    assert refusal.value.code == errors.LEDGER_KEY
    services.Hall.open(tmp_path, tmp_path / "a.key").close()


def test_hall_asks_any_signer_for_the_root_of_its_ledger(desk):
    class Module:
        """A security module, as far as a hall's door goes."""

        region = REGION

        def __init__(self, check):
            self.ledger_check = lambda: check

    desk.opened()
    ledger = type(desk.hall().ledger)
    for check, fits in ((desk.signer.ledger_check(), True), (bytes(16), False)):
        books = ledger(desk.folder / "ledger.db", REGION)
        if fits:
            services.Hall(books, Module(check)).close()
            continue
        with pytest.raises(LedgerError) as refusal:
            services.Hall(books, Module(check))
        assert refusal.value.code == errors.LEDGER_KEY


def test_password_is_the_makers_until_issued_and_the_cards_afterwards(desk):
    desk.opened()
    with desk.card as reader:
        assert not reader.present(DEFAULT_PSC)
        assert reader.present(KeyFileSigner(ROOT, REGION).card_psc(1))
