"""Making tool cards: exactly one row and one card whatever is cut, numbers given once, stock used once."""

import random

import pytest
from paper import METER, REGION, Desk
from test_services_cuts import DeadError, DyingLedger, stop
from tests.conftest import require_part

from gascard import codes
from gashall import encode, errors
from gashall.encode import decode_card
from gashall.errors import GasError

require_part("sqlalchemy")
from gashall import toolmaking  # noqa: E402
from gashall.books import SERVICES_LOST  # noqa: E402
from gashall.terms import MANAGEMENT, SETTING  # noqa: E402
from gashall.toolmaking import Wanted  # noqa: E402


def management(hall, purpose="round of Mr Zhao"):
    def frames(card, now, service):
        values = {"key_version": 1, "expires": 0, "time": now}
        return encode.encode_management(hall.counter.signer, card, values)

    return lambda books, begun: Wanted(frames, purpose)


def make(desk, reader, ledger=None, purpose="round of Mr Zhao"):
    hall = desk.hall(ledger)
    return toolmaking.make(hall.counter, reader, MANAGEMENT, None, management(hall, purpose))


def attempt(desk, reader, ledger=None):
    try:
        make(desk, reader, ledger)
    except DeadError:
        return False
    except GasError as error:
        if error.code not in (codes.CARD_OUT, codes.NO_CARD):
            raise
        return False
    finally:
        desk.close()
    return True


def finish(desk):
    try:
        assert attempt(desk, desk.card)
    except GasError as error:
        assert error.code in (codes.PASSWORD_REFUSED, errors.LAST_TRY)
        for name in ("card.bin", "card.bin.chip"):
            (desk.folder / name).rename(desk.folder / f"spoilt-{name}")
        assert attempt(desk, desk.blank())


def check_once(desk):
    hall = desk.hall()
    with hall.ledger.look() as books:
        (row,) = books.tools()
        assert hall.stock().used == 1
    assert (row.number, row.issued, row.psc_bytes) == (1, True, 3)
    card = decode_card(desk.card_path.read_bytes(), desk.signer)
    assert card.order.authentic
    assert card.order.raw == row.frames
    with desk.card as reader:
        assert reader.error_counter() == 7
        assert reader.present(desk.signer.card_psc(1))
    assert hall.audit().findings == ()
    desk.close()


def start(folder, signer):
    folder.mkdir()
    desk = Desk(folder, signer)
    desk.hall().stock_in(2)
    desk.blank()
    desk.close()
    return desk


@pytest.mark.parametrize("mode", ["killed", "pulled", "torn"])
def test_stop_at_every_stored_byte_makes_one_card(tmp_path, signer, mode):
    before = start(tmp_path / "start", signer)
    count = 0
    while True:
        desk = before.copy(tmp_path / f"{count}")
        reader = desk.card
        state = stop(reader, mode, count)
        ended = attempt(desk, reader)
        finish(desk)
        check_once(desk)
        if ended:
            break
        assert state["fired"] is not None
        count += 1
    assert count > 40


@pytest.mark.parametrize("mode", ["killed", "pulled"])
def test_second_stop_in_the_recovery_makes_one_card(tmp_path, signer, mode):
    before = start(tmp_path / "start", signer)
    chance = random.Random(4442)
    for case in range(12):
        desk = before.copy(tmp_path / f"{case}")
        for count in (chance.randrange(50), chance.randrange(25)):
            reader = desk.card
            stop(reader, mode, count)
            try:
                attempt(desk, reader)
            except GasError as error:
                assert error.code in (errors.LAST_TRY, codes.PASSWORD_REFUSED)
        finish(desk)
        check_once(desk)


@pytest.mark.parametrize("before_commit", [True, False])
def test_death_at_every_commit_makes_one_card(tmp_path, signer, before_commit):
    before = start(tmp_path / "start", signer)
    for count in range(20):
        desk = before.copy(tmp_path / f"{count}")
        ledger = DyingLedger(desk.folder / "ledger.db", REGION).die_at(count, before_commit)
        ended = attempt(desk, desk.card, ledger)
        finish(desk)
        check_once(desk)
        if ended:
            break
    assert count == 5


def test_numbers_are_of_one_row_with_customers_cards(desk):
    hall = desk.opened()
    assert make(desk, desk.blank("tool.bin")).tool.number == 2
    sale = hall.open_account(desk.blank("third.bin"), meter=METER[:-1] + "0", volume=1)
    assert sale.card == 3
    assert make(desk, desk.blank("fourth.bin"), purpose="another").tool.number == 4
    hall.mark_restored()
    assert make(desk, desk.blank("fifth.bin"), purpose="a third").tool.number == 10_005
    assert hall.audit().clean


def test_service_numbers_rise_and_jump_after_a_restore(desk):
    hall = desk.hall()

    def setting(purpose):
        def frames(card, now, service):
            values = dict.fromkeys(encode._LAYOUTS["setting"].names, 0) | {
                "key_version": 1,
                "meter": METER,
                "service_number": service,
                "time": now,
                "what": 1,
                "clock": now,
            }
            values.pop("psc_mask")
            return encode.encode_setting(desk.signer, card, values)

        reader = desk.blank(f"{purpose}.bin")
        plan = Wanted(frames, purpose, numbered=True)
        return toolmaking.make(hall.counter, reader, SETTING, METER, lambda books, begun: plan).tool.service_number

    assert [setting("a"), setting("b")] == [1, 2]
    hall.mark_restored()
    assert setting("c") == 2 + SERVICES_LOST + 1
    hall.mark_restored()
    hall.mark_restored()
    assert setting("d") == 3 * SERVICES_LOST + 4
    assert hall.audit().clean


def test_unfinished_card_with_other_particulars_is_refused(desk):
    reader = desk.blank()
    stop(reader, "killed", 10)
    with pytest.raises(DeadError):
        make(desk, reader)
    with pytest.raises(GasError) as refusal:
        make(desk, desk.card, purpose="another round")
    assert refusal.value.code == errors.TOOL_DIFFERS
    assert make(desk, desk.card).resumed
    assert make(desk, desk.card).resumed, "made already: the program had died behind its last commit"
    with pytest.raises(GasError) as refusal:
        make(desk, desk.card, purpose="another round")
    assert refusal.value.code == errors.CARD_NOT_BLANK


def test_stock_runs_short_before_anything_is_written(desk):
    desk.hall().stock_in(1)
    make(desk, desk.blank())
    with pytest.raises(GasError) as refusal:
        make(desk, desk.blank("second.bin"), purpose="another")
    assert refusal.value.code == errors.STOCK_SHORT
    assert decode_card((desk.folder / "second.bin").read_bytes()).blank
