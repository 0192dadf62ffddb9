"""How many cards a hall encodes and decodes in a second on one core."""

from typing import Any

import pytest

from gascard.records import ORDER_USER
from gashall import encode
from gashall.signer import KeyFileSigner

CARDS = 4000
REGION = 0xFFFF
ROOT = bytes(range(32))


def _meter(number: int) -> str:
    return f"{number:014d}"


def _order(number: int) -> dict[str, Any]:
    return {
        "meter": _meter(number),
        "account": f"{number:010d}",
        "binding": 1,
        "replacement": 0,
        "key_version": 1,
        "sequence": 2,
        "bought_total": 40000 + number,
        "amount": 20000,
        "correction_total": 0,
        "pulse_weight": 2,
        "alarm": 500,
        "ceiling": 100000,
        "overdraft": 0,
        "over_flow_seconds": 0,
        "time": 13000000,
        "flags": 0,
    }


def _report(number: int, report: int) -> dict[str, Any]:
    values = {name: 0 for name, _ in encode.REPORT_DATA}
    return values | {"meter": _meter(number), "binding": 1, "report_number": report, "versions": 0x11}


def _signer() -> KeyFileSigner:
    return KeyFileSigner(ROOT, REGION)


def _encode_all(signer: KeyFileSigner, orders: list[dict[str, Any]]) -> list[bytes]:
    return [
        encode.encode_card(
            encode.encode_identity(region=REGION, card=card),
            encode.encode_order(signer, card, order, ORDER_USER),
        )
        for card, order in enumerate(orders, start=1)
    ]


def _decode_all(signer: KeyFileSigner, images: list[bytes]) -> None:
    for image in images:
        card = encode.decode_card(image, signer)
        assert card.order.authentic and card.reports[0].authentic and card.reports[1].authentic


@pytest.fixture
def orders() -> list[dict[str, Any]]:
    return [_order(number) for number in range(1, CARDS + 1)]


@pytest.fixture
def images(orders) -> list[bytes]:
    """Cards that have been at the meter: an order and two reports on each."""
    signer = _signer()
    images = []
    for card, order in enumerate(orders, start=1):
        key = encode.report_key(signer.meter_keys(order["meter"], 1)[0])
        reports = [encode.encode_report(key, REGION, card, _report(card, n)) for n in (1, 2)]
        identity = encode.encode_identity(region=REGION, card=card)
        images.append(encode.encode_card(identity, encode.encode_order(signer, card, order), reports))
    return images


@pytest.mark.rows(new=("cards encoded, each for another meter", "cards/s", "≥ 10000"))
def test_encode_new_meters(rate, record, orders) -> None:
    record(new=rate(_encode_all, CARDS, lambda: ((_signer(), orders), {})))


@pytest.mark.rows(known=("cards encoded, keys of the meters cached", "cards/s", "≥ 10000"))
def test_encode_known_meters(rate, record, orders) -> None:
    signer = _signer()
    record(known=rate(_encode_all, CARDS, lambda: ((signer, orders), {})))


@pytest.mark.rows(new=("cards decoded, order and two reports, MACs judged", "cards/s", None))
def test_decode_new_meters(rate, record, images) -> None:
    record(new=rate(_decode_all, CARDS, lambda: ((_signer(), images), {})))


@pytest.mark.rows(known=("cards decoded, the same, keys cached", "cards/s", None))
def test_decode_known_meters(rate, record, images) -> None:
    signer = _signer()
    record(known=rate(_decode_all, CARDS, lambda: ((signer, images), {})))
