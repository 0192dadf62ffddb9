"""The key file: the region root in clear (format 1), or under a passphrase (format 2).

A passphrase is stretched by scrypt, whose cost stands in the file, and the root is sealed by AES-256-GCM, which needs
``pip install icgas[hall]``. What stands in the file beside the sealed root is sealed with it: a file in which any of it
was changed opens no more. No message, and no cause of one, holds a key or a passphrase.
"""

import contextlib
import hashlib
import json
import os
import secrets
import stat
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gashall import errors
from gashall.errors import GasError, RequestError
from gashall.files import open_regular, sync_folder, write_new
from gashall.units import whole

PLAIN = "icgas key file 1"
SEALED = "icgas key file 2"
KEY_FILE_MOST = 4096  # bytes; a longer file is no key file
ROOT_SIZE = 32
SALT_SIZE = 16
NONCE_SIZE = 12
PASSPHRASE_LEAST = 8
PASSPHRASE_MOST = 1024

Passphrase = Callable[[], str]
"""Asked for the passphrase once it is known that there is one; GasError KEY_FILE where none can be had."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What scrypt is to cost: memory is 128 · n · r bytes, time grows with n · r · p."""

    n: int = 1 << 16
    r: int = 8
    p: int = 2


# What a file may ask for: no less than 16 MiB, and no more than 256 MiB, else a file could fill the computer.
N_LEAST = 1 << 14
R_SPAN = (8, 32)
P_SPAN = (1, 16)
MEMORY_MOST = 256 << 20

_FIELDS = {"format", "region", "kdf", "cipher", "sealed"}
_KDF_FIELDS = {"name", "n", "r", "p", "salt"}
_CIPHER_FIELDS = {"name", "nonce"}


def seal(root: bytes, region: int, passphrase: str, cost: Cost | None = None) -> bytes:
    """The key file of ``root`` (32 bytes) under ``passphrase``. RequestError FIELD for a passphrase that is none."""
    kdf = {"name": "scrypt", **asdict(cost or Cost()), "salt": secrets.token_hex(SALT_SIZE)}
    nonce = secrets.token_bytes(NONCE_SIZE)
    head = {"format": SEALED, "region": region, "kdf": kdf, "cipher": {"name": "AES-256-GCM", "nonce": nonce.hex()}}
    sealed = _cipher(_stretched(check_passphrase(passphrase), kdf)).encrypt(nonce, root, _beside(head))
    return _text(head | {"sealed": sealed.hex()})


def plain(root: bytes, region: int) -> bytes:
    """The key file of ``root`` in clear."""
    return _text({"format": PLAIN, "region": region, "root": root.hex()})


def is_sealed(path: str | os.PathLike[str]) -> bool:
    """Whether the key file ``path`` is under a passphrase. GasError KEY_FILE as ``load``."""
    return bool(_read(path)["format"] == SEALED)


def load(path: str | os.PathLike[str], passphrase: Passphrase | None = None) -> tuple[bytes, int]:
    """Root and region in the key file ``path``; ``passphrase`` is asked only if there is one.

    GasError KEY_FILE if the file is missing, malformed or open to others, the passphrase wrong or not to be had.
    """
    name = os.fspath(path)
    content = _read(path)
    if content["format"] == PLAIN:
        return bytes.fromhex(content["root"]), content["region"]
    if passphrase is None:
        raise GasError(
            errors.KEY_FILE,
            f"The key file {name} is under a passphrase, and none was given.",
            "Give the passphrase: in a file (--passphrase-file), in ICGAS_PASSPHRASE, or at a terminal.",
        )
    key = _stretched(passphrase(), content["kdf"])
    root = _opened(_cipher(key), content)
    if root is None:
        raise GasError(
            errors.KEY_FILE,
            f"The key file {name} does not open: the passphrase is another, or the file was changed.",
            "Give the right passphrase; if it is right, restore the file from the safe copy.",
        )
    return root, content["region"]


def change_passphrase(path: str | os.PathLike[str], old: Passphrase | None, new: str, cost: Cost | None = None) -> int:
    """Put the key file ``path``, plain or sealed, under the passphrase ``new``; the region it is of.

    A new file is written beside it, opened once, and takes its name; until then the old one is as it was, and so it is
    after any failure. GasError KEY_FILE; RequestError FIELD for a passphrase that is none.
    """
    check_passphrase(new)
    root, region = load(path, old)
    name = os.path.realpath(path)  # a link stays one
    beside = f"{name}.{secrets.token_hex(4)}.new"
    try:
        try:
            write_new(beside, seal(root, region, new, cost))
            if load(beside, lambda: new) != (root, region):
                raise OSError("it does not read back")
            os.replace(beside, name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(beside)
            raise
    except OSError as error:
        raise GasError(
            errors.KEY_FILE,
            f"The key file {os.fspath(path)} cannot be written anew: {error.strerror or error}.",
            "It is as it was. Make room, or correct the rights of its folder, and repeat.",
        ) from None
    sync_folder(name)
    return region


def check_passphrase(text: str) -> str:
    """``text`` itself if it may be a passphrase; else RequestError FIELD, which does not quote it."""
    if not isinstance(text, str) or not PASSPHRASE_LEAST <= len(text) <= PASSPHRASE_MOST or not text.isprintable():
        raise RequestError(
            errors.FIELD,
            f"A passphrase is one line of {PASSPHRASE_LEAST} to {PASSPHRASE_MOST} printable characters.",
            "Choose another: four words taken by chance are better than one with signs in it.",
        )
    return text


def passphrase_in(path: str | os.PathLike[str]) -> str:
    """The passphrase in the file ``path``: its one line. GasError KEY_FILE if it is none, or open to others."""
    name = os.fspath(path)
    try:
        with open_regular(path) as file:
            rights = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(4 * PASSPHRASE_MOST + 2).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise GasError(
            errors.KEY_FILE, f"The passphrase file {name} cannot be read: {why}.", "Correct its path."
        ) from None
    _check_rights(rights, f"the passphrase file {name}")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text:
        raise GasError(
            errors.KEY_FILE, f"The passphrase file {name} does not hold one line.", "Put the passphrase in it, alone."
        )
    return text


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What stands in a key file, every field what it may be."""
    name = os.fspath(path)
    try:
        with open_regular(path) as file:
            rights = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = json.loads(file.read(KEY_FILE_MOST).decode("ascii"))
        _check_fields(content)
    except FileNotFoundError as error:
        raise GasError(
            errors.KEY_FILE,
            f"There is no key file {name}.",
            "Correct the path, or restore it from the safe copy; a new region's is made by icgas hall init.",
        ) from error
    except OSError as error:
        raise GasError(errors.KEY_FILE, f"The key file {name} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RequestError):
        # Not chained: the cause's text could quote the file.
        raise GasError(errors.KEY_FILE, f"{name} is no key file of this program.") from None
    _check_rights(rights, f"the key file {name}")
    return dict(content)


def _check_fields(content: Any) -> None:
    """ValueError, KeyError, TypeError or RequestError if ``content`` is no key file."""
    whole(content["region"], "region", 0, 0xFFFF)
    if content["format"] == PLAIN:
        _hex(content["root"], ROOT_SIZE)
        return
    kdf, cipher = content["kdf"], content["cipher"]
    if content["format"] != SEALED or kdf["name"] != "scrypt" or cipher["name"] != "AES-256-GCM":
        raise ValueError
    if any(part.keys() != names for part, names in ((content, _FIELDS), (kdf, _KDF_FIELDS), (cipher, _CIPHER_FIELDS))):
        raise ValueError
    n = whole(kdf["n"], "n", N_LEAST, MEMORY_MOST)
    r = whole(kdf["r"], "r", *R_SPAN)
    whole(kdf["p"], "p", *P_SPAN)
    if n & (n - 1) or 128 * n * r > MEMORY_MOST:
        raise ValueError
    _hex(kdf["salt"], SALT_SIZE)
    _hex(cipher["nonce"], NONCE_SIZE)
    _hex(content["sealed"], ROOT_SIZE + 16)


def _hex(text: Any, size: int) -> None:
    if not isinstance(text, str) or len(text) != 2 * size or len(bytes.fromhex(text)) != size:
        raise ValueError


def _check_rights(rights: int, what: str) -> None:
    if os.name == "posix" and rights & 0o077:
        raise GasError(
            errors.KEY_FILE,
            f"Others than its owner may read or write {what}.",
            "Take the rights away (chmod 600) and ask who may have read it.",
        )


def _text(content: dict[str, Any]) -> bytes:
    return (json.dumps(content) + "\n").encode("ascii")


def _beside(content: dict[str, Any]) -> bytes:
    """All of the file but the sealed root, in one form however it is spaced: GCM's associated data."""
    head = {name: value for name, value in content.items() if name != "sealed"}
    return json.dumps(head, sort_keys=True, separators=(",", ":")).encode("ascii")


def _stretched(passphrase: str, kdf: dict[str, Any]) -> bytes:
    # However the keyboard composes an accent, the same letters are the same passphrase.
    try:
        secret = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        secret = b""  # half a character opens nothing
    n, r, p = kdf["n"], kdf["r"], kdf["p"]
    room = 128 * r * (n + p + 2) + (1 << 20)
    return hashlib.scrypt(secret, salt=bytes.fromhex(kdf["salt"]), n=n, r=r, p=p, maxmem=room, dklen=32)


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError:
        raise GasError(
            errors.KEY_FILE,
            "A key file under a passphrase needs the package cryptography, which is not installed.",
            "Install it: pip install 'icgas[hall]'",
        ) from None
    return AESGCM(key)


def _opened(cipher: Any, content: dict[str, Any]) -> bytes | None:
    from cryptography.exceptions import InvalidTag

    try:
        nonce, sealed = bytes.fromhex(content["cipher"]["nonce"]), bytes.fromhex(content["sealed"])
        return bytes(cipher.decrypt(nonce, sealed, _beside(content)))
    except InvalidTag:
        return None


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Put a key file into the new file ``path``, for its owner only. GasError KEY_FILE."""
    try:
        write_new(path, data)
    except FileExistsError:
        raise GasError(
            errors.KEY_FILE,
            f"There is a file {os.fspath(path)} already; a root is never overwritten.",
            "Choose another path, or load the file that is there.",
        ) from None
    except OSError as error:
        raise GasError(
            errors.KEY_FILE, f"The key file {os.fspath(path)} cannot be written: {error.strerror}."
        ) from error
