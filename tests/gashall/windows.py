"""Two windows that are two processes: rounds that begin at one moment, and what each was told."""

import json
import multiprocessing
import shutil
from datetime import UTC, datetime

from paper import METER, NEIGHBOUR, REGION, PaperMeter

from gashall.encode import decode_card
from gashall.errors import GasError
from gashall.ledger import Ledger
from gashall.readers import FileReader
from gashall.services import Hall

ROUNDS = 50
SECONDS = 60  # how long one window waits for the other before it gives up
# What a window is told when the other was faster: before the order was there, while it was made, and afterwards.
REFUSALS = {"PENDING_ELSEWHERE", "ORDER_FINISHED", "GAS_ON_CARD", "OLDER"}
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def hall_of(place, signer):
    return Hall(Ledger(place, REGION), signer, clock=lambda: NOON)


def card_of(folder, name):
    return FileReader(folder / f"{name}.bin")


def copy_card(folder, name, other):
    for end in (".bin", ".bin.chip"):
        shutil.copy(folder / (name + end), folder / (other + end))


def at_two_windows(place, folder, signer, serve, prepare=None, rounds=ROUNDS):
    """Run ``serve(hall, window, round)`` at both windows at once, so many times; what each was told, round by round.

    ``prepare()`` runs before each round and after the last, always in the first window's process. What is told is what
    ``serve`` gives, or its refusal's name and text.
    """
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    windows = [
        context.Process(target=_window, args=(place, folder, signer, serve, prepare, rounds, barrier, window))
        for window in (0, 1)
    ]
    for window in windows:
        window.start()
    for window in windows:
        window.join()
    assert [window.exitcode for window in windows] == [0, 0]
    return list(zip(*[json.loads((folder / f"told-{window}").read_text()) for window in (0, 1)], strict=True))


def _window(place, folder, signer, serve, prepare, rounds, barrier, window):
    told = []
    hall = hall_of(place, signer)
    for number in range(rounds):
        if window == 0 and prepare is not None:
            prepare()
        barrier.wait(SECONDS)
        try:
            told.append(["done", serve(hall, window, number)])
        except GasError as error:
            told.append(["refused", error.name, str(error)])
        barrier.wait(SECONDS)
    hall.close()
    if window == 0 and prepare is not None:
        prepare()
    (folder / f"told-{window}").write_text(json.dumps(told))


def load(signer, meter: PaperMeter, folder, *names):
    """The meter loads the one of these cards that bears the newest order; the others become copies of it."""
    cards = {name: decode_card((folder / f"{name}.bin").read_bytes(), signer) for name in names}
    newest = max(names, key=lambda name: (cards[name].order.whole, (cards[name].order.values or {}).get("sequence", 0)))
    meter.insert(folder / f"{newest}.bin")
    for name in names:
        if name != newest:
            copy_card(folder, newest, name)


def orders_of(hall, account):
    with hall.ledger.look() as books:
        return books.orders(account)


def opened(place, folder, signer, *meters):
    """Customers with a card each, loaded; their meters."""
    hall = hall_of(place, signer)
    found = []
    for name, number in zip(("first", "second"), meters, strict=False):
        hall.open_account(FileReader.blank(folder / f"{name}.bin"), meter=number, volume=30)
        found.append(PaperMeter(signer, number))
        found[-1].insert(folder / f"{name}.bin")
    hall.close()
    return found


def check_one_customer(place, folder, signer, volumes):
    """He buys once in every round. Each window has a copy of his card: nobody has two, and no window could tell."""
    (meter,) = opened(place, folder, signer, METER)
    copy_card(folder, "first", "second")

    def prepare():
        load(signer, meter, folder, "first", "second")

    def serve(hall, window, number):
        card = card_of(folder, ("first", "second")[window])
        sale = hall.sell(card, volumes[window], fen=volumes[window] * 250)
        return sale.sequence, sale.pulses, sale.fen, sale.resumed

    rounds = at_two_windows(place, folder, signer, serve, prepare)
    won = []
    for number, told in enumerate(rounds):
        made = [answer[1] for answer in told if answer[0] == "done" and not answer[1][3]]
        assert len(made) == 1, (number, told)
        for answer in told:
            if answer[0] == "refused":
                assert answer[1] in REFUSALS, (number, told)
            elif answer[1][3]:
                # It has finished the other's order, and says so: of one volume that is no refusal.
                assert volumes[0] == volumes[1], (number, told)
                assert answer[1][:3] == made[0][:3], (number, told)
        won += made
    hall = hall_of(place, signer)
    orders = orders_of(hall, "0000000001")
    assert [(order.sequence, order.paid_pulses, order.fen) for order in orders[1:]] == [tuple(sale[:3]) for sale in won]
    assert len(won) == ROUNDS
    assert orders[-1].released_pulses == 3000 + sum(sale[1] for sale in won)
    assert [order.state for order in orders] == ["done"] * ROUNDS + ["written"]
    assert hall.read_back(card_of(folder, "first")).on_card == 0
    assert hall.reconcile("0000000001").difference == 0
    assert hall.audit().findings == ()
    hall.close()


def check_two_customers(place, folder, signer):
    """Both buy in every round, each what he asked for."""
    meters = opened(place, folder, signer, METER, NEIGHBOUR)

    def prepare():
        for name, meter in zip(("first", "second"), meters, strict=True):
            load(signer, meter, folder, name)

    def serve(hall, window, number):
        sale = hall.sell(card_of(folder, ("first", "second")[window]), 20 + window, fen=5000 + window)
        return sale.account, sale.sequence, sale.resumed

    rounds = at_two_windows(place, folder, signer, serve, prepare)
    for number, told in enumerate(rounds):
        expected = [["done", [f"{window + 1:010d}", number + 2, False]] for window in (0, 1)]
        assert list(told) == expected
    hall = hall_of(place, signer)
    for window, account in enumerate(("0000000001", "0000000002")):
        orders = orders_of(hall, account)
        assert orders[-1].released_pulses == 3000 + ROUNDS * (2000 + 100 * window)
        assert sum(order.fen or 0 for order in orders) == ROUNDS * (5000 + window)
        assert hall.read_back(card_of(folder, ("first", "second")[window])).on_card == 0
        assert hall.reconcile(account).difference == 0
    assert hall.audit().findings == ()
    hall.close()


def check_one_meter(place, folder, signer):
    """One opening, on two blanks: one account, one card, one blank used."""
    hall = hall_of(place, signer)
    hall.stock_in(2 * ROUNDS)
    hall.close()
    for number in range(ROUNDS):
        for window in (0, 1):
            FileReader.blank(folder / f"{number}-{window}.bin")

    def serve(hall, window, number):
        sale = hall.open_account(
            card_of(folder, f"{number}-{window}"), meter=f"{number:014d}", volume=20 + window, fen=5000 + window
        )
        return sale.account, sale.card, sale.pulses

    rounds = at_two_windows(place, folder, signer, serve)
    hall = hall_of(place, signer)
    for number, told in enumerate(rounds):
        assert sorted(answer[0] for answer in told) == ["done", "refused"], (number, told)
        refusal = next(answer for answer in told if answer[0] == "refused")
        assert refusal[1] in {"ALREADY_BOUND", "OPENING_DIFFERS", "PENDING_ELSEWHERE"}, (number, told)
        account, card, pulses = next(answer[1] for answer in told if answer[0] == "done")
        (order,) = orders_of(hall, account)
        assert (order.card, order.paid_pulses, order.state) == (card, pulses, "written")
    assert len({answer[1][0] for told in rounds for answer in told if answer[0] == "done"}) == ROUNDS
    assert (hall.stock().used, hall.stock().store) == (ROUNDS, ROUNDS)
    assert hall.audit().findings == ()
    hall.close()
