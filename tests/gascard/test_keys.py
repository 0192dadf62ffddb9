"""gascard.keys against the standard library, and the portable tests."""

import hashlib
import hmac
import random

from portable_keys import *  # noqa: F403

from gascard import keys


def test_hmac_agrees_with_the_standard_library():
    dice = random.Random(2)
    for key_length in (0, 1, 16, 32, 63, 64, 65, 200):
        for length in (0, 1, 55, 56, 63, 64, 65, 300):
            key, message = dice.randbytes(key_length), dice.randbytes(length)
            assert keys.hmac_sha256(key, message) == hmac.digest(key, message, hashlib.sha256)


def test_equal_agrees_with_the_standard_library():
    dice = random.Random(3)
    for _ in range(200):
        a, b = dice.randbytes(2), dice.randbytes(2)
        assert keys.equal(a, b) == hmac.compare_digest(a, b)
        assert keys.equal(a, a)
