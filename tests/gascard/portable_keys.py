# HMAC-SHA256, the key tree, MACs and the password's mask. Runs on every VM: nothing is imported but gascard.

from binascii import hexlify, unhexlify

from gascard import keys

# RFC 4231, section 4: key, data, HMAC-SHA-256 (case 5 is cut to 16 bytes there and here).
RFC_4231 = (
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (
        b"\x0c" * 20,
        b"Test With Truncation",
        "a3b6167473100ee06e0c796c2955552b",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)


def hexed(data):
    return hexlify(data).decode()


def test_hmac_rfc_4231():
    for key, data, expected in RFC_4231:
        assert hexed(keys.hmac_sha256(key, data))[: len(expected)] == expected


def test_hmac_key_of_a_whole_block_is_not_hashed():
    assert keys.hmac_sha256(b"k" * 64, b"") == keys.hmac_sha256(bytearray(b"k" * 64), b"")
    assert keys.hmac_sha256(b"k" * 64, b"") != keys.hmac_sha256(b"k" * 65, b"")


def test_derive_separates_label_and_context():
    parent = bytes(32)
    assert len(keys.derive(parent, b"meter")) == 16
    made = [
        keys.derive(parent, b"order"),
        keys.derive(parent, b"orde", b"r"),
        keys.derive(parent, b"order", b"\0"),
        keys.derive(parent, b"order\0"),
        keys.derive(parent, b"report"),
        keys.derive(bytes(31), b"order", b"\1"),
        keys.derive(bytes(32), b"order", b"\1"),
    ]
    # "order" + 00 + 00 is one message however it is cut; all others differ.
    assert made[2] == keys.hmac_sha256(parent, b"icgas/1 order\0\0")[:16] == made[3]
    del made[3]
    for i in range(len(made)):
        for j in range(i):
            # A key that ends in zeros is the same HMAC key when shorter: 31 and 32 zeros are one key.
            assert (made[i] == made[j]) == (i == 5 and j == 4)


def test_frame_mac_binds_every_part_of_the_head():
    base = (bytes(16), 5, 6, 1, 2, b"data")
    mac = keys.frame_mac(*base)
    assert len(mac) == 8
    for place, other in ((0, b"\1" * 16), (1, 4), (2, 7), (3, 2), (4, 0x81), (5, b"datb"), (5, b"data\0")):
        changed = list(base)
        changed[place] = other
        assert keys.frame_mac(*changed) != mac


def test_frame_mac_takes_a_view():
    mac = keys.frame_mac(bytes(16), 1, 2, 1, 2, b"data")
    assert keys.frame_mac(bytes(16), 1, 2, 1, 2, memoryview(b"data")) == mac


def test_mask_psc_twice_gives_the_password_back():
    key = unhexlify("000102030405060708090a0b0c0d0e0f")
    for card in (0, 1, 0x00A1B2C3, 0xFFFFFFFF):
        mask = keys.mask_psc(key, card, b"\x47\xd5\x87")
        assert keys.mask_psc(key, card, mask) == b"\x47\xd5\x87"
    assert keys.mask_psc(key, 1, bytes(3)) != keys.mask_psc(key, 2, bytes(3))


def test_equal_only_for_the_same_bytes():
    assert keys.equal(b"", b"")
    assert keys.equal(b"12345678", bytearray(b"12345678"))
    assert not keys.equal(b"12345678", b"1234567")
    for i in range(8):
        other = bytearray(b"12345678")
        other[i] ^= 1
        assert not keys.equal(b"12345678", other)
