"""meter.judging: the portable tests, and cards nobody thought of."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from portable_judging import *  # noqa: F403
from portable_judging import Stand, card, identity_byte, judged, mend_crc, shown

from gascard import codes
from gascard.chip import Chip
from gascard.records import ORDER_AT


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=20), st.booleans(), st.booleans())
def test_any_card_is_refused_with_a_code(changes, identity_mended, order_mended):
    stand = STAND
    chip = card()
    good = bytes(chip.main)
    for place, value in changes:
        chip.main[place] = value
    if identity_mended:
        identity_byte(9, chip.main[8 + 9])(chip)
    if order_mended:
        mend_crc(chip)
    # The issue batch stands under the identity's CRC alone (RULES 5), and the meter does not look at it.
    if chip.main[8:17] == good[8:17] and chip.main[ORDER_AT : ORDER_AT + 59] == good[ORDER_AT : ORDER_AT + 59]:
        assert judged(stand, chip) in (codes.OK, codes.CRC)
        return
    stand.meter.lockout.tokens[0] = 8
    assert judged(stand, chip) < codes.REPEAT


STAND = Stand()


def test_random_images_change_nothing():
    dice = random.Random(6)
    stand = Stand()
    for _ in range(100):
        chip = Chip()
        chip.main[4:] = dice.randbytes(252)
        assert shown(stand, chip) < codes.REPEAT
