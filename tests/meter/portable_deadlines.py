# Deadlines against the plain way: a list of times and a clock.

from meter.deadlines import DISPLAY, REFILL, SLOTS, WINDOW, Deadlines

HOUR = 3600000


def test_nothing_waits_at_first():
    made = Deadlines()
    for slot in range(SLOTS):
        assert not made.runs(slot) and made.left(slot) == 0 and not made.expired(slot)
    assert made.next == HOUR


def test_slot_expires_once_and_not_before():
    for total, step in ((60000, 1000), (60000, 60000), (60000, 7), (1, 1), (HOUR * 5, HOUR)):
        made = Deadlines()
        made.set(WINDOW, total)
        passed = 0
        while passed < total:
            assert made.runs(WINDOW) and made.left(WINDOW) == total - passed
            assert made.next <= total - passed
            passed += step
            if made.advance(step):
                assert made.expired(WINDOW) == (passed >= total)
            else:
                assert passed < total
        assert not made.runs(WINDOW) and not made.expired(WINDOW)


def test_setting_again_restarts():
    made = Deadlines()
    made.set(WINDOW, 100)
    made.advance(60)
    made.set(WINDOW, 100)
    assert not made.advance(60)
    assert made.left(WINDOW) == 40
    assert made.advance(40) and made.expired(WINDOW)


def test_slots_do_not_disturb_each_other():
    made = Deadlines()
    made.set(WINDOW, 100)
    made.advance(30)
    made.set(REFILL, 50)
    made.advance(30)
    made.set(DISPLAY, 1000)
    assert (made.left(WINDOW), made.left(REFILL), made.left(DISPLAY)) == (40, 20, 1000)
    assert made.next == 20
    assert made.advance(20)
    assert not made.expired(WINDOW) and made.expired(REFILL) and not made.expired(DISPLAY)
    assert made.next == 20 and made.left(DISPLAY) == 980


def test_cleared_slot_never_expires():
    made = Deadlines()
    made.set(WINDOW, 100)
    made.advance(10)
    made.clear(WINDOW)
    assert not made.runs(WINDOW)
    made.advance(1000)
    assert not made.expired(WINDOW)


def test_random_life_agrees_with_the_plain_way():
    seed = 1
    made = Deadlines()
    now = 0
    due = [None] * SLOTS
    fired = 0
    for _ in range(3000):
        seed = (seed * 1103 + 12345) % 65521
        slot = seed % SLOTS
        action = seed // 7 % 4
        if action == 0:
            wait = 1 + seed * 97 % 200000
            made.set(slot, wait)
            due[slot] = now + wait
        elif action == 1 and seed % 5 == 0:
            made.clear(slot)
            due[slot] = None
        else:
            step = min(seed * 3 % 40000, made.next) if seed % 2 else seed
            now += step
            over = made.advance(step)
            late = [i for i in range(SLOTS) if due[i] is not None and due[i] <= now]
            assert over or not late
            if over:
                for i in range(SLOTS):
                    assert made.expired(i) == (i in late)
                    if i in late:
                        due[i] = None
                        fired += 1
        for i in range(SLOTS):
            assert made.runs(i) == (due[i] is not None)
            if due[i] is not None:
                assert made.left(i) == due[i] - now
    assert fired > 100
