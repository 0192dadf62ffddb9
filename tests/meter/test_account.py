"""meter.account: the portable tests, and orders in any order."""

import random

from portable_account import *  # noqa: F403
from portable_account import REGISTER, account, order

from gascard import codes


def test_cards_in_any_order_converge_on_the_newest():
    # Clones, replays and lost visits: whatever subset of the orders is shown, newest last, the credit is the same.
    dice = random.Random(11)
    for _ in range(200):
        orders = [order(sequence=6 + i, bought_total=1000 + 100 * i) for i in range(5)]
        made = account()
        shown = dice.sample(orders[:-1], dice.randint(0, 4)) + [orders[-1]] + dice.sample(orders, 3)
        for one in shown:
            if one["sequence"] <= made.values["sequence"]:
                continue  # older or a repeat: meter.judging answers
            code, values, lowers = made.plan(one, 9, b"newnewne", REGISTER)
            assert code == codes.OK
            made.commit(values, lowers)
        assert made.values["bought_total"] == 1400
