# What an order makes of the account (RULES 1), row by row.

from gascard import codes
from gascard.records import FLAG_GIFT, FLAG_MAKEUP, FLAG_PARAMETERS, FLAG_REFUND, TOTAL_MAX
from gasrig.parts import Fram
from meter.account import Account
from meter.factory import create_pair
from meter.layouts import ACCOUNT, ACCOUNT_AT, BOUND, KEYED

REGISTER = 1600  # 600 burned since the binding


def account(**changed):
    """An account of sequence 5: bought 1000, burned 600, so 400 left."""
    values = {
        "state": BOUND,
        "binding": 1,
        "replacement": 0,
        "card": 7,
        "account": "0000000001",
        "sequence": 5,
        "bought_total": 1000,
        "register_at_binding": 1000,
        "correction_total": 0,
        "alarm": 10,
        "ceiling": 0,
        "overdraft": 20,
        "over_flow_seconds": 30,
        "latest_time": 5000,
        "order_mac": b"oldoldol",
    }
    values.update(changed)
    memory = Fram(0x200)
    create_pair(memory, ACCOUNT_AT, ACCOUNT, values)
    made = Account(memory)
    made.load()
    made.memory = memory
    return made


def order(**changed):
    values = {
        "account": "0000000002",
        "binding": 1,
        "replacement": 1,
        "sequence": 6,
        "bought_total": 1000,
        "amount": 0,
        "correction_total": 0,
        "alarm": 11,
        "ceiling": 22,
        "overdraft": 33,
        "over_flow_seconds": 44,
        "time": 6000,
        "flags": 0,
    }
    values.update(changed)
    return values


# account, order, code, bought total after, remaining after, credit falls
ROWS = (
    # the greater total
    ({}, {"bought_total": 1500}, codes.OK, 1500, 900, False),
    ({}, {"bought_total": 1000}, codes.OK, 1000, 400, False),
    ({}, {"bought_total": 999}, codes.OK, 1000, 400, False),
    ({}, {"bought_total": 0}, codes.OK, 1000, 400, False),  # a probe takes nothing
    ({}, {"bought_total": 1500, "flags": FLAG_GIFT}, codes.OK, 1500, 900, False),
    ({}, {"bought_total": 1500, "flags": FLAG_MAKEUP}, codes.OK, 1500, 900, False),
    # refund: the total is what the order says, as long as it is not burned
    ({}, {"bought_total": 700, "flags": FLAG_REFUND}, codes.OK, 700, 100, True),
    ({}, {"bought_total": 600, "flags": FLAG_REFUND}, codes.OK, 600, 0, True),
    ({}, {"bought_total": 599, "flags": FLAG_REFUND}, codes.REFUND_TOO_LARGE, None, None, None),
    ({}, {"bought_total": 0, "flags": FLAG_REFUND}, codes.REFUND_TOO_LARGE, None, None, None),
    ({}, {"bought_total": 1000, "flags": FLAG_REFUND}, codes.OK, 1000, 400, False),
    # of a purchase that never came here only a part is taken back
    ({}, {"bought_total": 1200, "flags": FLAG_REFUND}, codes.OK, 1200, 600, False),
    ({"bought_total": 590}, {"bought_total": 595, "flags": FLAG_REFUND}, codes.REFUND_TOO_LARGE, None, None, None),
    # correction: signed, the total of the binding
    ({}, {"correction_total": -50}, codes.OK, 1000, 450, False),
    ({}, {"correction_total": 50}, codes.OK, 1000, 350, True),
    ({}, {"correction_total": 450}, codes.OK, 1000, -50, True),
    ({"correction_total": 50}, {"correction_total": 0}, codes.OK, 1000, 400, False),
    ({"correction_total": -50}, {"correction_total": 0}, codes.OK, 1000, 400, True),
    ({}, {"bought_total": 1100, "correction_total": 100}, codes.OK, 1100, 400, False),
    ({}, {"bought_total": 1100, "correction_total": 101}, codes.OK, 1100, 399, True),
    ({}, {"bought_total": 700, "correction_total": 100, "flags": FLAG_REFUND}, codes.OK, 700, 0, True),
    (
        {},
        {"bought_total": 700, "correction_total": 101, "flags": FLAG_REFUND},
        codes.REFUND_TOO_LARGE,
        None,
        None,
        None,
    ),
    # ceiling: none at 0; judged on what was left before the load; not for refunds; the account's, not the order's
    ({"ceiling": 400}, {"bought_total": 9000}, codes.OK, 9000, 8400, False),
    ({"ceiling": 399}, {"bought_total": 9000}, codes.CEILING, None, None, None),
    ({"ceiling": 399}, {"bought_total": 700, "flags": FLAG_REFUND}, codes.OK, 700, 100, True),
    ({"ceiling": 399}, {"bought_total": 9000, "ceiling": 0, "flags": FLAG_PARAMETERS}, codes.CEILING, None, None, None),
    ({"ceiling": 1, "bought_total": 600}, {"bought_total": 700}, codes.OK, 700, 100, False),
    ({"ceiling": 1, "bought_total": 500}, {"bought_total": 700}, codes.OK, 700, 100, False),
    # range: the register would end before the gas
    ({}, {"bought_total": TOTAL_MAX - 1000}, codes.OK, TOTAL_MAX - 1000, TOTAL_MAX - 1600, False),
    ({}, {"bought_total": TOTAL_MAX - 999}, codes.RANGE, None, None, None),
    ({}, {"bought_total": TOTAL_MAX - 1000, "correction_total": -1}, codes.RANGE, None, None, None),
    ({"ceiling": 1}, {"bought_total": TOTAL_MAX}, codes.RANGE, None, None, None),
    # binding: nothing of a life before counts
    ({"state": KEYED, "binding": 0}, {"bought_total": 300}, codes.OK, 300, 300, False),
    ({"state": KEYED, "ceiling": 1}, {"bought_total": 300, "binding": 2}, codes.OK, 300, 300, False),
    ({"state": KEYED}, {"bought_total": 0, "correction_total": 5, "binding": 2}, codes.OK, 0, -5, True),
    (
        {"state": KEYED},
        {"bought_total": TOTAL_MAX - 1600, "binding": 2},
        codes.OK,
        TOTAL_MAX - 1600,
        TOTAL_MAX - 1600,
        False,
    ),
    ({"state": KEYED}, {"bought_total": TOTAL_MAX - 1599, "binding": 2}, codes.RANGE, None, None, None),
)


def test_plan_row_by_row():
    for own, changed, code, bought, left, lowers in ROWS:
        made = account(**own)
        stored = dict(made.values)
        cells = bytes(made.memory.cells)
        answer, values, falls = made.plan(order(**changed), 9, b"newnewne", REGISTER)
        row = (own, changed)
        assert answer == code, (row, answer)
        assert made.values == stored and bytes(made.memory.cells) == cells, row  # a plan is only a plan
        if code != codes.OK:
            assert values is None, row
            continue
        assert falls == lowers, row
        assert values["bought_total"] == bought, row
        made.commit(values, falls)
        assert made.remaining(REGISTER) == left, row
        assert made.remaining(REGISTER + 1) == left - 1, row


def test_plan_takes_parameters_only_with_the_flag():
    names = ("alarm", "ceiling", "overdraft", "over_flow_seconds")
    for state in (BOUND, KEYED):
        for flags in (0, FLAG_GIFT, FLAG_REFUND, FLAG_PARAMETERS, FLAG_PARAMETERS | FLAG_REFUND):
            made = account(state=state)
            code, values, _ = made.plan(order(flags=flags), 9, b"newnewne", REGISTER)
            assert code == codes.OK
            if flags & FLAG_PARAMETERS:
                expected = [11, 22, 33, 44]
            else:
                expected = [10, 0, 20, 30] if state == BOUND else [0, 0, 0, 0]
            assert [values[name] for name in names] == expected, (state, flags)


def test_plan_keeps_what_identifies_the_order():
    made = account()
    _, values, _ = made.plan(order(), 9, b"newnewne", REGISTER)
    assert (values["card"], values["order_mac"], values["replacement"]) == (9, b"newnewne", 1)
    assert (values["account"], values["sequence"], values["register_at_binding"]) == ("0000000002", 6, 1000)
    for own, given, latest in ((5000, 6000, 6000), (5000, 4000, 5000)):
        made = account(latest_time=own)
        assert made.plan(order(time=given), 9, b"newnewne", REGISTER)[1]["latest_time"] == latest


def test_binding_starts_at_the_register():
    made = account(state=KEYED, bought_total=777, sequence=9, correction_total=5, replacement=3)
    code, values, lowers = made.plan(
        order(binding=2, sequence=1, replacement=0, bought_total=50), 9, b"newnewne", 123456
    )
    assert code == codes.OK and not lowers
    assert values["register_at_binding"] == 123456 and values["bought_total"] == 50
    assert values["state"] == BOUND and values["binding"] == 2 and values["sequence"] == 1
    made.commit(values, lowers)
    assert made.bound and made.remaining(123456) == 50


def test_commit_that_lowers_stands_in_both_copies():
    for lowers, copies in ((False, 1), (True, 2)):
        made = account()
        _, values, _ = made.plan(order(bought_total=800, flags=FLAG_REFUND), 9, b"newnewne", REGISTER)
        made.commit(values, lowers)
        found = 0
        for place in ACCOUNT_AT:
            copy = Account(made.memory)
            spoilt = bytes(made.memory.cells[place : place + 1])
            made.memory.cells[place] ^= 1
            copy.load()
            made.memory.cells[place : place + 1] = spoilt
            found += copy.values["bought_total"] == 800
        assert found == copies


def test_commit_that_fails_leaves_the_account_as_it_was():
    made = account()
    _, values, _ = made.plan(order(bought_total=2000), 9, b"newnewne", REGISTER)

    def refuse(address, data):
        raise OSError(5)

    made.memory.write = refuse
    try:
        made.commit(values, False)
        failed = False
    except Exception:
        failed = True
    assert failed and made.values["bought_total"] == 1000
