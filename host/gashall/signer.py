"""Who makes and checks MACs and passwords: an interface small enough for a security module, and a key file.

The region root and every key below it stay behind this interface (DESIGN D6, tree in RULES 4); the hall sees
MACs, a card's password and its mask, and keys only under a mask that one meter can take off. ``KeyFileSigner`` is for
halls without a module, and for tests.
"""

import hmac
import os
import secrets
from functools import lru_cache
from typing import Protocol, TypeAlias

from gascard.keys import ORDER_KEY, REPORT_KEY, WRAP_KEY
from gascard.tools import KEY_WRAP, TRANSFER_KEY, key_context, masked, transfer_context, wrap_context
from gashall import errors, keyfile
from gashall.errors import RequestError
from gashall.keyfile import Passphrase
from gashall.units import meter_number, whole

CACHED_KEYS = 16384

Parent: TypeAlias = bytes | int
"""What a meter's new keys come under: the factory key F of a meter that never had a region's keys, 16 bytes from its
sealed lot file, or the version of the keys it has now."""


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

    def tool_mac(self, key_version: int, card: int, version: int, kind: int, data: bytes) -> bytes:
        """The 8-byte MAC of a management or setting order, made below the tool key of ``key_version``."""

    def tool_masked_psc(self, key_version: int, card: int) -> bytes:
        """The card's password as a management or setting order carries it: every meter can take the mask off."""

    def wrapped_transfer_key(
        self, meter: str, key_version: int, binding: int, new_meter: str, new_key_version: int, new_binding: int
    ) -> bytes:
        """The transfer's key, 16 bytes, as the transfer-out order carries it: only ``meter`` can take the mask off."""

    def transfer_is_authentic(
        self,
        meter: str,
        binding: int,
        new_meter: str,
        new_key_version: int,
        new_binding: int,
        card: int,
        version: int,
        kind: int,
        data: bytes,
        mac: bytes,
    ) -> bool:
        """Whether ``mac`` is what ``meter`` puts on the final record of this transfer. Of a clear: ``report_is_…``."""

    def key_mac(
        self, meter: str, parent: Parent, key_version: int, card: int, version: int, kind: int, data: bytes
    ) -> bytes:
        """The 8-byte MAC of a key block that brings ``meter`` keys of ``key_version``, made below ``parent``."""

    def masked_keys(self, meter: str, parent: Parent, key_version: int, card: int) -> tuple[bytes, bytes, bytes]:
        """(Km, Kt, card's password) as the key block carries them, 16, 16 and 3 bytes, masked below ``parent``."""

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
        return self._masked(self._keys(meter, key_version)[2], card)

    def card_psc(self, card: int) -> bytes:
        """The card's password: the first 3 bytes of HMAC(Kp, card number), or the next if all 00 or FF."""
        digest = hmac.digest(self._psc_key, card.to_bytes(4, "big"), "sha256")
        for i in range(0, 30, 3):
            psc = digest[i : i + 3]
            if psc not in (b"\x00\x00\x00", b"\xff\xff\xff"):
                return psc
        raise AssertionError("ten trivial passwords in a row")

    def tool_mac(self, key_version: int, card: int, version: int, kind: int, data: bytes) -> bytes:
        """The 8-byte MAC of a management or setting order."""
        return self._mac(_derive(self._tool_key(key_version), ORDER_KEY), card, version, kind, data)

    def tool_masked_psc(self, key_version: int, card: int) -> bytes:
        """The card's password under the mask that every meter of the region can take off, 3 bytes."""
        return self._masked(_derive(self._tool_key(key_version), WRAP_KEY), card)

    def wrapped_transfer_key(
        self, meter: str, key_version: int, binding: int, new_meter: str, new_key_version: int, new_binding: int
    ) -> bytes:
        """The transfer's key under the mask of ``meter``, 16 bytes."""
        key = self._transfer_key(meter, binding, new_meter, new_key_version, new_binding)
        context = wrap_context(binding, new_meter, new_binding)
        return masked(key, _derive(self._keys(meter, key_version)[2], TRANSFER_KEY, context))

    def transfer_is_authentic(
        self,
        meter: str,
        binding: int,
        new_meter: str,
        new_key_version: int,
        new_binding: int,
        card: int,
        version: int,
        kind: int,
        data: bytes,
        mac: bytes,
    ) -> bool:
        """Whether ``mac`` is what ``meter`` puts on this transfer's final record, compared in constant time."""
        key = self._transfer_key(meter, binding, new_meter, new_key_version, new_binding)
        return hmac.compare_digest(self._mac(_derive(key, REPORT_KEY), card, version, kind, data), mac)

    def key_mac(
        self, meter: str, parent: Parent, key_version: int, card: int, version: int, kind: int, data: bytes
    ) -> bytes:
        """The 8-byte MAC of a key block. RequestError FIELD for a parent that is none of ``key_version``."""
        return self._mac(_derive(self._parent(meter, parent, key_version), ORDER_KEY), card, version, kind, data)

    def masked_keys(self, meter: str, parent: Parent, key_version: int, card: int) -> tuple[bytes, bytes, bytes]:
        """(Km, Kt, password) masked below ``parent``. RequestError FIELD for one that is none of ``key_version``."""
        wrap = _derive(self._parent(meter, parent, key_version), WRAP_KEY)
        key, tool_key = (
            masked(plain, _derive(wrap, KEY_WRAP, key_context(self._region, key_version, i)))
            for i, plain in enumerate(self.meter_keys(meter, key_version))
        )
        return key, tool_key, self._masked(wrap, card)

    def ledger_check(self) -> bytes:
        """KDF(root, ``ledger``, region): what a ledger knows its root by."""
        return _derive(self._root, b"ledger", self._region_bytes)

    def meter_keys(self, meter: str, key_version: int) -> tuple[bytes, bytes]:
        """Km and Kt, 16 bytes each: a meter's own keys, for provisioning; no counter needs them."""
        meter_number(meter)
        return self._meter_key(meter, key_version), self._tool_key(key_version)

    def _meter_key(self, meter: str, key_version: int) -> bytes:
        context = self._region_bytes + bytes.fromhex(meter) + bytes((key_version,))
        return _derive(self._root, b"meter", context)

    def _tool_key(self, key_version: int) -> bytes:
        return _derive(self._root, b"tool", self._region_bytes + bytes((key_version,)))

    def _transfer_key(self, meter: str, binding: int, new_meter: str, new_key_version: int, new_binding: int) -> bytes:
        context = transfer_context(meter, binding, new_binding)
        return _derive(self._meter_key(new_meter, new_key_version), TRANSFER_KEY, context)

    def _parent(self, meter: str, parent: Parent, key_version: int) -> bytes:
        if isinstance(parent, bytes):
            if len(parent) != 16:
                raise RequestError(errors.FIELD, "A factory key has 16 bytes.", "Take it from the meter's lot file.")
            return parent
        # A meter takes no keys of a version it has or had.
        return self._meter_key(meter, whole(parent, "the version of the keys the meter has", 1, key_version - 1))

    def _masked(self, wrap_key: bytes, card: int) -> bytes:
        pad = hmac.digest(wrap_key, b"psc" + card.to_bytes(4, "big"), "sha256")
        psc = self.card_psc(card)
        return bytes((psc[0] ^ pad[0], psc[1] ^ pad[1], psc[2] ^ pad[2]))

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
