"""What happens in the demo's year beside buying and burning, chapter by chapter.

``CHAPTERS`` is the list. A chapter is a function that is given the customer: his ``world`` has the hall, the meter and
the folder for pages, ``say`` is told what happens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from gascard import codes
from gascard.chip import Chip
from gascard.meanings import CODES
from gashall.units import counted, yuan
from gasrig.customer import CLERK, VOLUMES, Customer, cubic, left, valve
from gasrig.targets import TargetError

__all__ = ["CHAPTERS", "Chapter", "counter_opens"]

APPROVER = "Li Na"
STOCK = 10  # blank cards delivered
PRICES = (Decimal("263"), Decimal("289"))  # fen for a m³, and from the middle of the story on
CUT_HOURS = 3
VALVE_MS = 60_000  # more than a valve takes
UNUSED = 50  # m³ bought on the card that breaks
LEAVES_IT = 3  # 1 of so many goes on buying at the end and leaves the card in a drawer

SLIP_FILE = "makeup-{}.html"
REPORT_FILE = "report-{}"
COPY_FILE = "ledger-copy.db"


@dataclass(frozen=True, slots=True)
class Chapter:
    """Something that happens ``days_before`` the story's end, or as soon after as the customer has time for it.

    At 0 it is part of the end. In a story that is too short for it, it comes as soon as it can.
    """

    days_before: int
    tell: Callable[[Customer], None]


def counter_opens(customer: Customer, days: int) -> None:
    """Before all others: blank cards are delivered, and the price list is set for a story of so many days."""
    hall, now = customer.world.hall, customer.world.moment()
    hall.stock_in(STOCK)
    hall.set_price(None, PRICES[0])
    later = now + timedelta(days=(days + 1) // 2)
    hall.set_price(later, PRICES[1])
    first, second = (price.scaleb(-2) for price in PRICES)
    customer.say(
        f"hall: {STOCK} blank cards delivered; 1 m³ costs {first} yuan, from {later:%Y-%m-%d} on {second} yuan"
    )


def power_cut(customer: Customer) -> None:
    """The battery is out without warning; when it is back the valve stays shut until somebody asks."""
    world = customer.world
    before = world.meter.last
    world.power_off(warned=False)
    customer.say(f"power cut in the middle of everything; {left(world, before)}")
    for _ in range(CUT_HOURS):
        world.tick()
    after = world.power_on()
    if after["remaining"] != before["remaining"]:
        raise TargetError(f"the power cut cost {counted(before['remaining'] - after['remaining'], 'pulse')}")
    after = world.tick(VALVE_MS)
    customer.say(f"power back after {CUT_HOURS} hours; {left(world, after)}, valve {valve(after)}")
    customer.seen = world.press_key()["reasons"]
    customer.say("key pressed: gas again")


def lost_in_use(customer: Customer) -> None:
    """The card is lost after its gas was loaded and before the hall has heard of it."""
    world = customer.world
    lost, customer.card = customer.card, world.blank_card()
    with customer.shift(cards=1):
        told = world.hall.replace(world.reader(customer.card), account=customer.account, reason="lost in use")
    customer.say(f"card lost in use; card {told.card} replaces it, {told.held} m³ paid and in no report are held")
    customer.load("the new card, for its report", codes.OK, codes.REPEAT)
    back = world.hall.read_back(world.reader(customer.card))
    if back.held:
        raise TargetError(f"{back.held} m³ are held though the meter has loaded them")
    customer.say("hall: by the new card's report the meter has what the lost one brought; nothing is held")
    code = world.visit(lost)
    if code != codes.REPLACED:
        raise TargetError(f"the meter took the lost card: {CODES[code][0]} ({code})")
    customer.say(f"the lost card turns up and goes into the meter: {CODES[code][0]}")


def meter_exchanged(customer: Customer) -> None:
    """Another meter on the wall; what is left in the old one goes over by transfer card."""
    from gashall.exchange import NewMeter

    world, hall, old = customer.world, customer.world.hall, customer.world.number
    made = world.new_meter()
    transfer = world.blank_card()
    with customer.shift(cards=1):
        hall.begin_exchange(
            world.reader(transfer),
            account=customer.account,
            meter=NewMeter(made["meter"], cubic(world, made["index"])),
            requester=CLERK,
            approver=APPROVER,
            reason="the old meter is due",
        )
        customer.say(f"hall: transfer card from meter {old} to {made['meter']}, approved by {APPROVER}")
        before = left(world, world.meter.last)
        _use(customer, transfer)
        customer.say(f"transfer card in the old meter, which is ended: {before}, then {left(world, world.meter.last)}")
        customer.before.append(customer.turn())
        world.hang_meter(made)
        customer.begin_meter()
        _use(customer, transfer)
        told = hall.read_exchange(world.reader(transfer))
        customer.say(f"transfer card in the new meter, then at the hall: {told.moved} m³ moved, {told.owed} m³ owed")
        hall.exchange_card(world.reader(customer.card))
        customer.load("for the new meter")


def _use(customer: Customer, card: Chip) -> None:
    code = customer.world.visit(card)
    if code != codes.OK:
        raise TargetError(f"the meter refused the transfer card: {CODES[code][0]} ({code})")


def broken_and_made_up(customer: Customer) -> None:
    """A card breaks between hall and meter; the new card's report shows that its gas never came, and it is made up."""
    from gashall.files import write_new

    world, hall = customer.world, customer.world.hall
    with customer.shift(cards=1):
        customer.say(f"hall: {customer.buy(UNUSED)}; the card breaks on the way home")
        customer.card = world.blank_card()
        told = hall.replace(world.reader(customer.card), account=customer.account, reason="broken after purchase")
        customer.say(f"card {told.card} replaces it, {told.held} m³ are held")
        customer.load("the new card, for its report", codes.OK, codes.REPEAT)
        held = hall.read_back(world.reader(customer.card)).held
        reason = "card broke between hall and meter"
        number = hall.request_makeup(customer.account, held, kind="held", reason=reason, requester=CLERK).number
        customer.say(f"hall: {held} m³ never came; make-up {number} asked for by {CLERK}")
        path = world.folder / SLIP_FILE.format(number)
        write_new(path, hall.approve_grant(number, APPROVER).page().encode())
        customer.say(f"hall: approved by {APPROVER}; slip to be signed: {path.name}")
        hall.write_grant(world.reader(customer.card), number)
        customer.load("make-up loaded")


def last_report(customer: Customer) -> None:
    """The card goes into the meter, then to the hall, and somebody reads the wheels: they are compared.

    Whoever buys once more leaves that card in a drawer.
    """
    world = customer.world
    customer.load("for the last report", codes.OK, codes.REPEAT)
    reading = customer.closing_reading = world.index_reading()
    back = world.hall.read_back(world.reader(customer.card))
    customer.say(f"last report at the hall: {back.remaining} m³ left, index {cubic(world, reading)} m³")
    drift = world.hall.reconcile(customer.account, cubic(world, reading % world.wheels)).drift
    customer.say(f"wheels against the report: {drift.verdict.value}, drift {counted(drift.drift, 'pulse')}")
    if world.chance.randrange(LEAVES_IT) == 0:
        with customer.shift():
            sold = customer.buy(world.chance.choice(VOLUMES))
        customer.say(f"hall: {sold}, and left on the card")


def month_end(customer: Customer) -> None:
    """The report of the month the last day lies in, as a page and as CSV."""
    from gashall.reporting import write

    world = customer.world
    told = world.hall.monthly_report((world.moment() - timedelta(days=1)).date())
    name = REPORT_FILE.format(f"{told.first:%Y-%m}")
    write(world.folder / f"{name}.html", told.page())
    write(world.folder / f"{name}.csv", told.csv())
    figures = told.total()
    said = f"{counted(figures.orders, 'order')}, {figures.volume} m³, {yuan(figures.money)} yuan"
    customer.say(f"month end {told.first:%Y-%m}: {said}; {name}.html to be signed, {name}.csv")


def backup(customer: Customer) -> None:
    """A copy of the ledger, audited."""
    world = customer.world
    found = world.hall.backup(world.folder / COPY_FILE)
    if not found.clean:
        raise TargetError(f"the copy of the ledger: {found.findings[0]}")
    customer.say(f"ledger copied and the copy audited: {COPY_FILE}")


CHAPTERS: tuple[Chapter, ...] = (
    Chapter(240, power_cut),
    Chapter(26, lost_in_use),
    Chapter(21, meter_exchanged),
    Chapter(16, broken_and_made_up),
    Chapter(0, last_report),
    Chapter(0, month_end),
    Chapter(0, backup),
)
"""In their order. Each but the last purchase leaves a card in ``customer.card`` that the meter has read."""
