# The reed decoder against a wheel.

from meter.reeds import REED_A, REED_B, SENSOR_A, SENSOR_B, SENSOR_BACK, SENSOR_BOTH, Reeds

TURN = (0, REED_A, REED_A | REED_B, REED_B)  # levels in the four quarters of a pulse


class Wheel:
    """The oracle: a wheel at a place in quarters, which pays a pulse for each whole turn it is first to reach.

    Going back more than a turn behind what was paid is forgotten turn by turn.
    """

    def __init__(self, place=0):
        self.place = place
        self.paid = 0

    def step(self, quarters):
        self.place += quarters
        if self.place < 4 * self.paid - 4:
            self.paid -= 1
        if self.place // 4 > self.paid:
            self.paid += 1
            return True
        return False

    @property
    def levels(self):
        return TURN[self.place % 4]


def turn(reeds, levels):
    count = 0
    for level in levels:
        count += reeds.edge(level)
    return count


FORWARD = (1, 3, 2, 0)
BACK = (2, 3, 1, 0)


def walk(steps, length):
    """Every sequence of forward and back steps of ``length``, as a bit pattern, against the oracle."""
    reeds = Reeds()
    wheel = Wheel()
    for i in range(length):
        quarters = 1 if steps >> i & 1 else -1
        right = wheel.step(quarters)
        assert reeds.edge(wheel.levels) == right, (steps, i)
    return wheel.paid


def test_every_walk_of_ten_quarters():
    most = 0
    for steps in range(1 << 10):
        most = max(most, walk(steps, 10))
    assert most == 2


def test_one_pulse_a_turn():
    reeds = Reeds()
    assert turn(reeds, FORWARD * 1000) == 1000
    assert reeds.fault == 0 and not reeds.behind


def test_bounce_of_either_reed_counts_nothing():
    for quarter in range(4):
        reeds = Reeds()
        wheel = Wheel()
        count = 0
        for _ in range(3):
            for step in range(4):
                count += wheel.step(1)
                assert reeds.edge(wheel.levels) == (step == 3)
                if step == quarter:
                    for _ in range(6):
                        before = TURN[(wheel.place - 1) % 4]
                        assert not reeds.edge(before)
                        assert not reeds.edge(wheel.levels)
        assert count == 3 and reeds.fault == 0, quarter


def test_same_levels_again_are_nothing():
    reeds = Reeds()
    assert turn(reeds, (0, 0, 1, 1, 1, 3, 3, 2, 2, 0, 0)) == 1


def test_reversal_is_paid_back_before_a_pulse_counts():
    for quarters in range(1, 5):
        reeds = Reeds()
        assert turn(reeds, FORWARD * 3) == 3
        assert turn(reeds, BACK[:quarters]) == 0
        assert reeds.behind and reeds.fault == 0
        assert turn(reeds, FORWARD[4 - quarters :]) == 0
        assert not reeds.behind
        assert turn(reeds, FORWARD) == 1


def test_turning_back_and_back_owes_one_turn_and_is_flagged():
    # A magnet led past the reeds the wrong way: without a bound each turn would be a pulse of free gas.
    for turns in (2, 9, 500):
        reeds = Reeds()
        assert turn(reeds, BACK * turns) == 0
        assert reeds.fault == SENSOR_BACK
        assert turn(reeds, FORWARD) == 0
        assert turn(reeds, FORWARD * 3) == 3
        assert reeds.fault == SENSOR_BACK


def test_restart_behind_the_last_pulse_counts_nothing_twice():
    for quarters in range(1, 5):
        reeds = Reeds()
        assert turn(reeds, FORWARD + BACK[:quarters]) == 1
        reeds = Reeds((FORWARD + BACK[:quarters])[-1])
        reeds.fall_behind()
        assert turn(reeds, FORWARD[4 - quarters :]) == 0
        assert turn(reeds, FORWARD) == 1


def test_dead_reed_is_flagged_and_counts_nothing():
    for alive, dead in ((REED_A, SENSOR_B), (REED_B, SENSOR_A)):
        reeds = Reeds()
        for _ in range(8):
            assert turn(reeds, (alive, 0)) == 0
        assert reeds.fault == 0  # as many as a bounce has
        for _ in range(8):
            turn(reeds, (alive, 0))
        assert reeds.fault == dead
        # One that lives again clears the flag with a whole turn.
        assert turn(reeds, FORWARD * 2) >= 1
        assert reeds.fault == 0


def test_reed_that_is_stuck_closed_is_flagged():
    for stuck, other, dead in ((REED_B, REED_A, SENSOR_B), (REED_A, REED_B, SENSOR_A)):
        reeds = Reeds(stuck)
        for _ in range(9):
            assert turn(reeds, (stuck | other, stuck)) <= 1
        assert reeds.fault == dead
        assert turn(reeds, (stuck | other, stuck) * 50) == 0


def test_both_at_once_is_a_magnet():
    for before in range(4):
        reeds = Reeds(before)
        assert not reeds.edge(before ^ 3)
        assert reeds.fault == SENSOR_BOTH
        assert not reeds.edge(before)
        assert reeds.fault == SENSOR_BOTH
    # It does not clear by itself: somebody has to look.
    reeds = Reeds(0)
    turn(reeds, (3, 0) + FORWARD * 3)
    assert reeds.fault == SENSOR_BOTH


def test_restart_in_mid_turn_loses_nothing():
    for cuts in range(1, 9):
        wheel = Wheel()
        reeds = Reeds()
        count = 0
        for quarter in range(4 * 25):
            if quarter % cuts == 0:
                reeds = Reeds(wheel.levels)
            wheel.step(1)
            count += reeds.edge(wheel.levels)
        assert count == 25, cuts
