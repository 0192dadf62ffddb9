# What the digits show.

from meter.display import CODE, INDEX, REMAINING, WAIT, text, volume

ROWS = (
    (0, 2, "0.00"),
    (1, 2, "0.01"),
    (99, 2, "0.99"),
    (100, 2, "1.00"),
    (1234, 2, "12.34"),
    (1234, 0, "1234"),
    (1234, 1, "123.4"),
    (0, 0, "0"),
    (0, 1, "0.0"),
    (-1, 2, "-0.01"),
    (-1234, 2, "-12.34"),
    (-5, 0, "-5"),
    (99999999, 2, "999999.99"),
    (-8388607, 2, "-83886.07"),
    (5, 3, "0.005"),
)


def test_volume():
    for pulses, decimals, shown in ROWS:
        assert volume(pulses, decimals) == shown
        digits = len([c for c in shown if c.isdigit()])
        assert digits <= 8


def test_text_of_each_page():
    for page, value, shown in (
        (REMAINING, 1234, "12.34"),
        (INDEX, 99999999, "999999.99"),
        (CODE, -9, "E09"),
        (CODE, -30, "E30"),
        (WAIT, 30, "L 30"),
        (WAIT, 1, "L  1"),
    ):
        assert text(page, value, 2) == shown
