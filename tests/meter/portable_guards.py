# Flow guards: at the limit, just short of it, and a batch as its pulses one by one.

from meter.guards import IDLE, LARGE_FLOW, LONG_FLOW, OVER_FLOW, SMALL_FLOW, Guards

HOUR = 3600000
LIMITS = {
    "pause_seconds": 1800,
    "over_flow_seconds": 9,
    "over_flow_for": 60,
    "large_flow_gap": 2000,
    "large_flow_for": 10,
    "small_flow_gap": 600,
    "small_flow_hours": 5,
    "long_flow_minutes": 240,
    "idle_days": 30,
}


def guards(over_flow_seconds=0, **changed):
    limits = dict(LIMITS)
    limits.update(changed)
    made = Guards()
    made.set_limits(limits, over_flow_seconds)
    return made


def tripped(made, gaps):
    """(milliseconds, bits) of every trip while pulses come with these gaps, each waited for as the meter asks."""
    now, found = 0, []
    for gap in gaps:
        left = gap
        while left:
            step = min(left, max(1, made.next))
            left -= step
            now += step
            bits = made.pass_time(step, 0 if left else 1)
            if bits:
                found.append((now, bits))
    return found


def test_over_flow_trips_at_its_duration_and_not_at_the_size_of_the_meter():
    assert tripped(guards(), [9000] * 100) == []
    assert tripped(guards(), [100000] + [8999] * 20) == [(160000, 1 << OVER_FLOW)]
    assert tripped(guards(), [100000] + [8999] * 5 + [9000] + [8999] * 5) == []
    # The user card's limit goes before the setting's; a duration of 0 switches the guard off.
    assert tripped(guards(over_flow_seconds=5), [100000] + [8999] * 20) == []
    assert tripped(guards(over_flow_seconds=5), [100000] + [4999] * 20) == [(160000, 1 << OVER_FLOW)]
    assert tripped(guards(over_flow_for=0), [100000] + [8999] * 200) == []


def test_large_flow_is_told_apart_from_over_flow():
    assert tripped(guards(), [100000] + [1999] * 8) == [(110000, 1 << LARGE_FLOW)]
    assert tripped(guards(), [100000] + [2000] * 20) == []


def test_small_flow_is_long_gaps_without_a_pause():
    off = {"long_flow_minutes": 0}
    assert tripped(guards(**off), [1900000] + [700000] * 40) == [(1900000 + 5 * HOUR, 1 << SMALL_FLOW)]
    assert tripped(guards(**off), [1900000] + [599999] * 200) == []  # too strong to be small
    assert tripped(guards(**off), ([1900000] + [700000] * 12 + [1800001]) * 3) == []  # a pause


def test_long_flow_ends_with_a_pause():
    trip = [(2000000 + 4 * HOUR, 1 << LONG_FLOW)]
    assert tripped(guards(small_flow_hours=0), [2000000] + [1800000] * 10) == trip
    assert tripped(guards(small_flow_hours=0), [2000000] + [1800000] * 6 + [1800001] + [1800000] * 6) == []


def test_idle_trips_once_until_gas_flows_again():
    made = guards()
    days = 24 * HOUR
    assert tripped(made, [10000, 31 * days, 10000, 29 * days, 10000]) == [(10000 + 30 * days, 1 << IDLE)]
    assert tripped(made, [70 * days]) == [(30 * days, 1 << IDLE)]


def test_trip_comes_once_for_an_episode():
    assert len(tripped(guards(), [100000] + [8999] * 1000)) == 1
    assert len(tripped(guards(), ([100000] + [8999] * 20) * 3)) == 3


def test_batch_is_its_pulses_one_by_one():
    # Every pair of stretches, of every sort of flow, in batches and singly: the same trips, the same state.
    sorts = (500, 1999, 2000, 8999, 9000, 60000, 600000, 1800000, 1800001)
    cases = 0
    for first in sorts:
        for count in (1, 2, 3, 7, 64):
            for second in sorts:
                batch, single = guards(), guards()
                bits_batch = bits_single = 0
                for gap, many in ((first, count), (second, count)):
                    rest = many - 1  # what the spreading leaves over belongs to the first gap
                    bits_batch |= batch.pass_time(gap * many + rest, many)
                    bits_single |= single.pass_time(gap + rest, 0) | single.pass_time(0, 1)
                    for _ in range(many - 1):
                        bits_single |= single.pass_time(gap, 1)
                cases += 1
                assert bits_batch == bits_single, (first, count, second)
                assert list(batch._age) == list(single._age), (first, count, second)
                assert batch.next == single.next and batch._since == single._since
    assert cases == 9 * 5 * 9


def test_board_may_sleep_until_the_next_trip():
    made = guards()
    for gap in (100000, 8000, 8000):
        made.pass_time(gap, 1)
    assert made.next > 9000  # the episode ends before it could trip, if no pulse comes
    assert made.pass_time(9000, 0) == 0
    quiet = guards(idle_days=0)
    assert quiet.next == 1000000000


def test_card_limit_of_over_flow_goes_before_the_settings_both_ways():
    # Wider than the setting and narrower, at its very gap and a millisecond off.
    for own in (1, 5, 8, 10, 60, 255):
        edge = own * 1000
        off = {"large_flow_for": 0, "small_flow_hours": 0, "long_flow_minutes": 0}
        assert tripped(guards(over_flow_seconds=own, **off), [edge + 600000] + [edge] * 200) == []
        # A first gap that is longer than the duration trips as it ends.
        trip = [(edge + 600000 + max(60000, edge - 1), 1 << OVER_FLOW)]
        assert tripped(guards(over_flow_seconds=own, **off), [edge + 600000] + [edge - 1] * 200) == trip


def test_every_guard_is_off_at_a_duration_of_nought():
    durations = ("over_flow_for", "large_flow_for", "small_flow_hours", "long_flow_minutes", "idle_days")
    off = dict([(name, 0) for name in durations])
    gaps = [100000] + [1000] * 100 + [8000] * 100 + [700000] * 60 + [40 * 24 * HOUR]
    made = guards(**off)
    assert tripped(made, gaps) == [] and made.next == 1000000000


def test_patterns_of_gaps_in_batches_of_every_size_trip_as_their_pulses():
    # All words of three stretches over four sorts of flow, the stretches cut into batches of each size.
    sorts = (1000, 5000, 60000, 900000)
    cases = trips = 0
    for first in sorts:
        for second in sorts:
            for third in sorts:
                told = []
                for size in (1, 2, 5, 24):
                    made = guards(small_flow_hours=5, over_flow_for=60, long_flow_minutes=240)
                    bits = made.pass_time(2000000, 1)
                    for gap in (first, second, third):
                        left = 24
                        while left:
                            part = min(size, left)
                            bits |= made.pass_time(gap * part, part)
                            left -= part
                    told.append((bits, list(made._age), made._since, made.next))
                cases += 1
                trips += told[0][0] != 0
                assert told[1:] == told[:1] * 3, (first, second, third)
    assert cases == 64 and trips > 30


def test_trip_comes_at_the_same_millisecond_however_the_time_is_told():
    for gap, guard, limit in ((8000, OVER_FLOW, 60000), (1500, LARGE_FLOW, 10000), (700000, SMALL_FLOW, 5 * HOUR)):
        for piece in (gap, gap // 2, 499, 100000):
            made = guards(long_flow_minutes=0)
            made.pass_time(2000000, 1)
            now = found = 0
            while not found and now < 2 * limit:
                left = gap
                while left and not found:
                    step = min(piece, left, max(1, made.next))
                    left -= step
                    now += step
                    found = made.pass_time(step, 0 if left else 1) & 1 << guard
            assert found and now == limit, (gap, piece)
