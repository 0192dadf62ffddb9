"""Who makes and checks MACs and passwords: an interface small enough for a security module, and a key file.

The region root and every key below it stay behind this interface (DESIGN D6, tree in RULES 4); the hall sees
MACs, a card's password and its mask. ``KeyFileSigner`` is for halls without a module, and for tests.
"""

import hmac
import os
import secrets
from functools import lru_cache
from typing import Protocol

from gascard.keys import ORDER_KEY, REPORT_KEY, WRAP_KEY
from gashall import errors, keyfile
from gashall.errors import RequestError
from gashall.keyfile import Passphrase
from gashall.units import meter_number, whole

CACHED_KEYS = 16384


class Signer(Protocol):
    """What a hall needs of whoever holds the region root; ``meter`` is 14 digits, ``data`` a record."""

    @property
    def region(self) -> int:
        """The region whose root this is, 0…65535."""

    def order_mac(self, meter: str, key_version: int, card: int, version: int, kind: int, data: bytes) -> bytes:
        """The 8-byte MAC of an order for ``meter`` on card number ``card``."""

    def report_is_authentic(
        self, meter: str, key_version: int, card: int, version: int, kind: int, data: bytes, mac: bytes
    ) -> bool:
        """Whether ``mac`` is what ``meter`` puts on this report. A hall can check reports, never make one."""

    def masked_psc(self, meter: str, key_version: int, card: int) -> bytes:
        """The card's 3-byte password as the order carries it: only ``meter`` can take the mask off."""

    def card_psc(self, card: int) -> bytes:
        """The card's 3-byte password, to present to the chip."""

    def ledger_check(self) -> bytes:
        """16 bytes that tell this root from any other and reveal nothing of it; the ledger keeps them in clear."""


class KeyFileSigner:
    """A signer with the region root in memory, from a file only its owner may read.

    Derived keys of the last 16 384 meters are kept; neither ``repr`` nor any message shows a key.
    """

    def __init__(self, root: bytes, region: int) -> None:
        """``root`` 32 bytes, ``region`` 0…65535. RequestError FIELD otherwise."""
        if not isinstance(root, bytes) or len(root) != 32:
            raise RequestError(errors.FIELD, "A region root has 32 bytes.")
        whole(region, "region", 0, 0xFFFF)
        self._root = bytes(root)
        self._region = region
        self._region_bytes = region.to_bytes(2, "big")
        self._psc_key = _derive(self._root, b"psc", self._region_bytes)
        self._keys = lru_cache(CACHED_KEYS)(self._derive_keys)

    def __repr__(self) -> str:
        return f"KeyFileSigner(region={self._region:#06x})"

    def __reduce__(self) -> str:
        raise TypeError("a signer holds keys and is not copied or pickled")

    @classmethod
    def create(cls, path: str | os.PathLike[str], region: int, passphrase: str | None = None) -> "KeyFileSigner":
        """Draw a new root, write it to the new file ``path`` (rights 0600, flushed to disk) and use it.

        With a ``passphrase`` the file is sealed under it. GasError KEY_FILE if the file exists or cannot be written;
        RequestError FIELD for a passphrase that is none.
        """
        root = secrets.token_bytes(keyfile.ROOT_SIZE)
        signer = cls(root, region)
        data = keyfile.plain(root, region) if passphrase is None else keyfile.seal(root, region, passphrase)
        keyfile.write(path, data)
        return signer

    @classmethod
    def load(cls, path: str | os.PathLike[str], passphrase: Passphrase | None = None) -> "KeyFileSigner":
        """Use the root in the file ``path``; ``passphrase`` is called only if the file is under one.

        GasError KEY_FILE if missing, malformed or open to others, or the passphrase is wrong or missing.
        """
        return cls(*keyfile.load(path, passphrase))

    @property
    def region(self) -> int:
        """The region, 0…65535."""
        return self._region

    def order_mac(self, meter: str, key_version: int, card: int, version: int, kind: int, data: bytes) -> bytes:
        """The 8-byte MAC of an order for ``meter`` on card number ``card``."""
        return self._mac(self._keys(meter, key_version)[0], card, version, kind, data)

    def report_is_authentic(
        self, meter: str, key_version: int, card: int, version: int, kind: int, data: bytes, mac: bytes
    ) -> bool:
        """Whether ``mac`` is what ``meter`` puts on this report, compared in constant time."""
        right = self._mac(self._keys(meter, key_version)[1], card, version, kind, data)
        return hmac.compare_digest(right, mac)

    def masked_psc(self, meter: str, key_version: int, card: int) -> bytes:
        """The card's password under the mask of ``meter``, 3 bytes."""
        pad = hmac.digest(self._keys(meter, key_version)[2], b"psc" + card.to_bytes(4, "big"), "sha256")
        psc = self.card_psc(card)
        return bytes((psc[0] ^ pad[0], psc[1] ^ pad[1], psc[2] ^ pad[2]))

    def card_psc(self, card: int) -> bytes:
        """The card's password: the first 3 bytes of HMAC(Kp, card number), or the next if all 00 or FF."""
        digest = hmac.digest(self._psc_key, card.to_bytes(4, "big"), "sha256")
        for i in range(0, 30, 3):
            psc = digest[i : i + 3]
            if psc not in (b"\x00\x00\x00", b"\xff\xff\xff"):
                return psc
        raise AssertionError("ten trivial passwords in a row")

    def ledger_check(self) -> bytes:
        """KDF(root, ``ledger``, region): what a ledger knows its root by."""
        return _derive(self._root, b"ledger", self._region_bytes)

    def meter_keys(self, meter: str, key_version: int) -> tuple[bytes, bytes]:
        """Km and Kt, 16 bytes each: a meter's own keys, for provisioning; no counter needs them."""
        meter_number(meter)
        return (
            self._meter_key(meter, key_version),
            _derive(self._root, b"tool", self._region_bytes + bytes((key_version,))),
        )

    def _meter_key(self, meter: str, key_version: int) -> bytes:
        context = self._region_bytes + bytes.fromhex(meter) + bytes((key_version,))
        return _derive(self._root, b"meter", context)

    def _derive_keys(self, meter: str, key_version: int) -> tuple[bytes, bytes, bytes]:
        key = self._meter_key(meter, key_version)
        return _derive(key, ORDER_KEY), _derive(key, REPORT_KEY), _derive(key, WRAP_KEY)

    def _mac(self, key: bytes, card: int, version: int, kind: int, data: bytes) -> bytes:
        head = card.to_bytes(4, "big") + self._region_bytes + bytes((version, kind, len(data)))
        return hmac.digest(key, head + data, "sha256")[:8]


def _derive(parent: bytes, label: bytes, context: bytes = b"") -> bytes:
    # gascard.keys.derive on OpenSSL's HMAC: a batch of cards spends most of its time here. A test compares
    # them.
    return hmac.digest(parent, b"icgas/1 " + label + b"\x00" + context, "sha256")[:16]
