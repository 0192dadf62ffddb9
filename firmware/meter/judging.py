# Is this card's order genuine, for this meter, and new? One rule after the other (gascard.meanings.JUDGING_ORDER):
# what is told to anybody first, the token next, the MAC behind it, and nothing about the account before the MAC.

from gascard import codes
from gascard.codec import unpack
from gascard.frames import check, check_identity, mac_at, mac_right, read, unfilled
from gascard.keys import ORDER_KEY, derive, equal
from gascard.records import (
    BINDING_MAX,
    CARD_CUSTOMER,
    IDENTITY,
    IDENTITY_AT,
    ORDER,
    ORDER_AT,
    ORDER_OPENING,
    ORDER_USER,
    size_of,
)
from meter.layouts import BOUND, KEYED
from meter.lockout import CARDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from meter.lockout import Lockout


def judge(
    image: bytearray, keys: dict, account: dict, lockout: "Lockout", pulse_weight: int
) -> "tuple[int, dict, dict, bytes]":
    """Judge the 256 bytes of a card: (code, identity, order, MAC).

    OK means authentic and newer than what is loaded, REPEAT that it is what is loaded; the rest as gascard.codes.
    ``keys`` and ``account`` are the values of those records. A token is taken from ``lockout`` only when
    everything but the MAC is right.
    """
    code = check_identity(image)
    if code:
        return code, {}, {}, b""
    identity = unpack(IDENTITY, image, IDENTITY_AT)
    size = size_of(ORDER)
    code = check(image, ORDER_AT, size)
    order: dict = {}
    if not code:
        order = read(ORDER, image, ORDER_AT) or order
        code = _addressed(image[ORDER_AT + 1], identity, order, keys, account, pulse_weight)
    if code:
        return code, identity, order, b""
    if not lockout.take(CARDS):
        return codes.LOCKED_OUT, identity, order, b""
    key = derive(keys["key"], ORDER_KEY)
    if not mac_right(image, ORDER_AT, size, identity["card"], identity["region"], key):
        lockout.failed(CARDS)
        return codes.MAC, identity, order, b""
    mac = mac_at(image, ORDER_AT, size)
    return _newer(order, mac, account), identity, order, mac


def _addressed(kind: int, identity: dict, order: dict, keys: dict, account: dict, pulse_weight: int) -> int:
    # What can be said without a key: is it well formed and meant for this meter, binding and card generation?
    if not order or unfilled(order):
        return codes.SHAPE
    if keys["state"] != KEYED or identity["region"] != keys["region"]:
        return codes.REGION
    if identity["kind"] != CARD_CUSTOMER or kind not in (ORDER_OPENING, ORDER_USER):
        return codes.KIND
    if order["meter"] != keys["meter"]:
        return codes.METER
    own = account["binding"]
    if account["state"] != BOUND:
        if kind != ORDER_OPENING:
            return codes.NOT_BOUND
        if own >= BINDING_MAX:
            return codes.NUMBER_USED_UP
        # The key record's binding is raised first: it may be one ahead, if the power went between the two.
        if order["binding"] != own + 1 or order["binding"] < keys["binding"]:
            return codes.BINDING
    elif kind == ORDER_OPENING and order["binding"] == own + 1:
        return codes.ALREADY_BOUND
    elif order["binding"] != own:
        return codes.BINDING
    elif order["replacement"] < account["replacement"]:
        return codes.REPLACED
    if order["pulse_weight"] != pulse_weight:
        return codes.WEIGHT
    if order["key_version"] != keys["key_version"]:
        return codes.KEY_VERSION
    return codes.OK


def _newer(order: dict, mac: bytes, account: dict) -> int:
    if account["state"] != BOUND or order["sequence"] > account["sequence"]:
        return codes.OK
    if order["sequence"] < account["sequence"]:
        return codes.OLDER
    return codes.REPEAT if equal(mac, account["order_mac"]) else codes.SEQUENCE_CONFLICT
