# The valve: its table, time limits and retries; no meter round it.

from meter import valve
from meter.valve import (
    ARRIVED,
    ASK_OPEN,
    ASK_SHUT,
    DRIVE_OPEN,
    DRIVE_SHUT,
    DRIVE_STOP,
    LATE,
    OPEN,
    OPENING,
    SHUT,
    SHUTTING,
    STUCK,
    TRANSITIONS,
    Valve,
)

LIMIT = 1000


class Motor:
    """A motor whose end switches say what the test wants; ``driven`` is what it was told."""

    def __init__(self, at=0):
        self.at = at
        self.draws = True
        self.driven = []

    def drive(self, direction):
        self.driven.append(direction)

    def current(self):
        return self.draws

    def position(self):
        return self.at


def at(state):
    """A valve that has come to ``state``."""
    motor = Motor()
    made = Valve(motor, LIMIT)
    made.state = state
    return made, motor


# what every state does with every event: (next state, motor), None where nothing happens
TABLE = (
    (SHUT, ASK_OPEN, (OPENING, DRIVE_OPEN)),
    (SHUT, ASK_SHUT, (SHUT, DRIVE_STOP)),
    (SHUT, ARRIVED, None),
    (SHUT, LATE, None),
    (OPENING, ASK_OPEN, None),
    (OPENING, ASK_SHUT, (SHUTTING, DRIVE_SHUT)),
    (OPENING, ARRIVED, (OPEN, DRIVE_STOP)),
    (OPENING, LATE, (SHUTTING, DRIVE_SHUT)),
    (OPEN, ASK_OPEN, None),
    (OPEN, ASK_SHUT, (SHUTTING, DRIVE_SHUT)),
    (OPEN, ARRIVED, None),
    (OPEN, LATE, None),
    (SHUTTING, ASK_OPEN, (OPENING, DRIVE_OPEN)),
    (SHUTTING, ASK_SHUT, None),
    (SHUTTING, ARRIVED, (SHUT, DRIVE_STOP)),
    (SHUTTING, LATE, (SHUTTING, DRIVE_SHUT)),
    (STUCK, ASK_OPEN, (OPENING, DRIVE_OPEN)),
    (STUCK, ASK_SHUT, (SHUTTING, DRIVE_SHUT)),
    (STUCK, ARRIVED, None),
    (STUCK, LATE, None),
)


def test_table_is_complete():
    seen = 0
    for state, event, outcome in TABLE:
        assert TRANSITIONS[state * 4 + event] == (outcome[0] if outcome else 0xFF), (state, event)
        seen += outcome is not None
        made, motor = at(state)
        changed = made.tell(event)
        assert made.state == (outcome[0] if outcome else state), (state, event)
        assert motor.driven == ([outcome[1]] if outcome else [])
        assert changed == (made.state != state)
    assert len(TABLE) == len(TRANSITIONS) == 5 * 4 and seen == 11


def test_whole_movement_counts_and_tells_its_time():
    made, motor = at(SHUT)
    made.tell(ASK_OPEN)
    for _ in range(7):
        assert not made.advance(50) and made.moving
    motor.at = 1
    assert made.advance(50)
    assert (made.state, made.travel_ms, made.moves, made.failures) == (OPEN, 400, 1, 0)
    made.tell(ASK_SHUT)
    assert not made.advance(50)
    motor.at = -1
    assert made.advance(50)
    assert (made.state, made.travel_ms, made.moves) == (SHUT, 100, 2)
    assert motor.driven == [DRIVE_OPEN, DRIVE_STOP, DRIVE_SHUT, DRIVE_STOP]
    assert not made.advance(5000)  # at rest time is nothing


def test_valve_that_does_not_open_is_shut():
    made, motor = at(SHUT)
    made.tell(ASK_OPEN)
    assert not made.advance(LIMIT - 1)
    assert made.advance(1)
    assert made.state == SHUTTING and made.failures == 1
    motor.at = -1
    assert made.advance(50) and made.state == SHUT


def test_valve_that_moves_nowhere_is_stuck_after_three_tries():
    for event, late in ((ASK_OPEN, 3), (ASK_SHUT, 3)):
        made, motor = at(SHUT if event == ASK_OPEN else OPEN)
        made.tell(event)
        times = 0
        while made.moving:
            times += made.advance(LIMIT) or 1
            assert times <= late
        assert made.state == STUCK and made.failures == late
        assert motor.driven[-1] == DRIVE_STOP
        assert not made.advance(LIMIT)


def test_valve_that_never_opens_is_left_shut_and_stuck():
    made, motor = at(SHUT)
    motor.at = -1
    opened = 0
    while made.state != STUCK:
        made.tell(ASK_OPEN)  # somebody stands there and the minute is not over
        opened += 1
        motor.at = 0
        assert made.advance(LIMIT) and made.state == SHUTTING
        motor.at = -1
        assert made.advance(50) and not made.moving
        assert opened <= 3
    assert opened == 3 == made.failures
    assert motor.driven[-2:] == [DRIVE_SHUT, DRIVE_STOP]  # shut before it is given up


def test_valve_that_opens_after_all_has_its_tries_back():
    made, motor = at(SHUT)
    for _ in range(4):
        made.tell(ASK_OPEN)
        motor.at = 0
        made.advance(LIMIT)
        motor.at = -1
        made.advance(1)
        made.tell(ASK_OPEN)
        motor.at = 1
        made.advance(1)
        assert made.state == OPEN
        made.tell(ASK_SHUT)
        motor.at = -1
        made.advance(1)
        assert made.state == SHUT


def test_stuck_valve_tries_again_when_asked():
    for event, state in ((ASK_OPEN, OPENING), (ASK_SHUT, SHUTTING)):
        made, motor = at(OPEN)
        made.tell(ASK_SHUT)
        for _ in range(3):
            made.advance(LIMIT)
        assert made.state == STUCK
        assert made.tell(event) and made.state == state
        made.advance(LIMIT)
        assert made.moving  # with all its tries
        motor.at = -1
        made.advance(1)
        assert made.state == SHUT


def test_arrival_gives_the_tries_back():
    made, motor = at(OPEN)
    for _ in range(5):
        motor.at = 0
        made.tell(ASK_SHUT)
        made.advance(LIMIT)
        made.advance(LIMIT)
        assert made.state == SHUTTING
        motor.at = -1
        made.advance(1)
        assert made.state == SHUT
        made.tell(ASK_OPEN)
        motor.at = 1
        made.advance(1)
        assert made.state == OPEN
    assert made.failures == 10 and made.moves == 10


def test_counters_end_at_their_field():
    made, motor = at(OPEN)
    made.moves, made.failures = 0xFFFF, 255
    made.tell(ASK_SHUT)
    made.advance(LIMIT)
    motor.at = -1
    made.advance(1)
    assert (made.moves, made.failures) == (0xFFFF, 255)


def test_power_up_shuts_or_stays_shut():
    for position, state, drive in ((-1, SHUT, DRIVE_STOP), (0, SHUTTING, DRIVE_SHUT), (1, SHUTTING, DRIVE_SHUT)):
        motor = Motor(position)
        made = Valve(motor, LIMIT)
        made.start()
        assert made.state == state and motor.driven == [drive]
        assert DRIVE_OPEN not in motor.driven


def test_poll_is_shorter_than_any_travel():
    assert 0 < valve.POLL_MS < LIMIT


def test_motor_without_current_is_given_up_long_before_the_time_is_over():
    for event, state in ((ASK_OPEN, SHUT), (ASK_SHUT, OPEN)):
        made, motor = at(state)
        motor.draws = False
        made.tell(event)
        assert not made.advance(199)  # it may take a moment to start
        assert made.advance(1) == (event == ASK_OPEN)
        assert made.state == SHUTTING and made.failures == 1 and made.cause == valve.NO_CURRENT
        passed = 200
        while made.moving:
            made.advance(valve.POLL_MS)
            passed += valve.POLL_MS
            assert passed <= 600
        assert (made.state, made.failures, passed) == (STUCK, 3, 600)
        assert motor.driven[-1] == DRIVE_STOP


def test_motor_that_has_arrived_needs_no_current():
    made, motor = at(OPEN)
    made.tell(ASK_SHUT)
    motor.at, motor.draws = -1, False
    assert made.advance(500) and (made.state, made.failures) == (SHUT, 0)


def test_current_that_comes_back_lets_a_try_go_on():
    made, motor = at(OPEN)
    motor.draws = False
    made.tell(ASK_SHUT)
    made.advance(200)
    motor.draws = True
    for _ in range(15):
        assert not made.advance(50) and made.moving
    motor.at = -1
    assert made.advance(50) and (made.state, made.failures, made.travel_ms) == (SHUT, 1, 800)


def test_cause_tells_which_of_both_it_was():
    made, motor = at(OPEN)
    made.tell(ASK_SHUT)
    made.advance(LIMIT)
    assert made.cause == valve.NO_ARRIVAL
    motor.draws = False
    made.advance(200)
    assert made.cause == valve.NO_CURRENT
    motor.draws = True
    made.advance(LIMIT)
    assert (made.cause, made.state) == (valve.NO_ARRIVAL, STUCK)


def test_slow_movement_arrives_as_long_as_its_time_lasts():
    for travel in (LIMIT - 50, LIMIT):
        made, motor = at(SHUT)
        made.tell(ASK_OPEN)
        for _ in range(travel // 50 - 1):
            assert not made.advance(50)
        motor.at = 1
        assert made.advance(50)
        assert (made.state, made.travel_ms, made.failures) == (OPEN, travel, 0)


def test_press_drives_on_whatever_the_end_switch_says():
    made, motor = at(SHUT)
    motor.at = -1
    made.travel_ms = 400
    made.press()
    assert made.moving and motor.driven == [DRIVE_SHUT]
    for _ in range(LIMIT // 50 - 1):
        assert not made.advance(50) and made.state == SHUTTING
    assert made.advance(50) and made.state == SHUT
    assert motor.driven == [DRIVE_SHUT, DRIVE_STOP]
    assert (made.failures, made.travel_ms) == (0, 400)


def test_press_is_for_a_valve_that_is_shut():
    for state in (OPENING, OPEN, SHUTTING, STUCK):
        made, motor = at(state)
        made.press()
        assert made.state == state and motor.driven == []


def test_press_that_finds_the_valve_open_goes_on_shutting():
    made, motor = at(SHUT)
    made.press()
    motor.at = 0  # the switch was held, and is so no more
    made.advance(LIMIT)
    assert made.state == SHUTTING
    motor.at = -1
    while made.moving:
        made.advance(50)
    assert made.state == SHUT


def test_asking_ends_a_press():
    made, motor = at(SHUT)
    motor.at = -1
    made.press()
    assert made.tell(ASK_OPEN) and made.state == OPENING
    motor.at = 1
    assert made.advance(50) and made.state == OPEN
