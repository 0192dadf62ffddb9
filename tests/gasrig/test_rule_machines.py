"""The long tail by Hypothesis: the explorer's steps as rules, cards and images in bundles, the same plain model.

``ICGAS_EXAMPLES`` says how many runs a machine gets (40 in the suite); with it the runs are drawn anew each time. A
failure ends with a story: its lines in a file are played by `icgas explore --story FILE`.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.conftest import require_part

require_part("sqlalchemy")

import meter.session  # noqa: E402
from gasrig.checkers import Violation  # noqa: E402
from gasrig.explore import STOPS, Player, play, read_story, written_out  # noqa: E402
from gasrig.town import START  # noqa: E402

EXAMPLES = os.environ.get("ICGAS_EXAMPLES")
COUNT = int(EXAMPLES or 40)
SUITE = settings(
    derandomize=EXAMPLES is None,
    max_examples=COUNT,
    stateful_step_count=25,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),  # an explanation traces every line of every run
    suppress_health_check=[HealthCheck.too_slow],
)

pulses = st.sampled_from((1, 5, 21, 64, 200))
writes = st.integers(0, 90)
ways = st.integers(0, 500)
clocks = st.sampled_from((0, START - 100_000, START + 1, START + 525_600))


class Streets(RuleBasedStateMachine):
    """Customers, their meters and one hall. An image is a customer and its place among his, the oldest 0."""

    customers = Bundle("customers")
    images = Bundle("images")

    def __init__(self):
        super().__init__()
        self.player = None
        self.story = []
        self.broken = False

    @initialize(
        seed=st.integers(0, 3),
        count=st.integers(1, 2),
        memory=st.integers(0, 1),
        alarm=st.sampled_from((0, 1, 20)),
        ceiling=st.sampled_from((0, 150)),
        overdraft=st.sampled_from((0, 10)),
    )
    def town(self, seed, count, memory, alarm, ceiling, overdraft):
        head = ("town", seed, count, memory, alarm, ceiling, overdraft)
        self.player = Player(head)
        self.story = [head]

    def play(self, *step):
        self.story.append(step)
        try:
            self.player.step(step)
        except Exception:
            self.broken = True
            self._tell()
            raise
        u = step[1] % len(self.player.customers)
        return u, max(0, len(self.player.images(u)) - 1)

    def _tell(self):
        note("icgas explore --story FILE, with these lines in the file:\n" + written_out(self.story))

    def place(self, image):
        # A step counts images from the newest.
        u, place = image
        return max(0, len(self.player.images(u)) - 1 - place)

    def teardown(self):
        if self.player is None:
            return
        try:
            if not self.broken:
                self.player.settle()
        except Exception:
            self._tell()
            raise
        finally:
            self.player.street.close()

    # --- customers of the hall

    @rule(target=customers, u=st.integers(0, 1), gas=st.sampled_from((0, 30, 200)))
    def opened_and_commissioned(self, u, gas):
        self.play("open", u, gas, 0, 0)
        return self.play("visit", u)[0]

    @rule(target=customers, u=st.integers(0, 1), gas=pulses, byte=writes, how=st.integers(1, len(STOPS) - 1))
    def opening_is_stopped(self, u, gas, byte, how):
        return self.play("open", u, gas, byte, how)[0]

    @rule(target=images, u=customers, gas=pulses)
    def purchase(self, u, gas):
        return self.play("sell", u, gas, 0, 0)

    @rule(target=images, u=customers, gas=pulses)
    def purchase_and_load(self, u, gas):
        self.play("sell", u, gas, 0, 0)
        return self.play("visit", u)

    @rule(target=images, u=customers, gas=pulses, byte=st.integers(0, 66), how=st.integers(1, len(STOPS) - 1))
    def purchase_is_stopped(self, u, gas, byte, how):
        return self.play("sell", u, gas, byte, how)

    @rule(target=images, u=customers, gas=pulses, byte=st.integers(0, 66), how=st.integers(0, len(STOPS) - 1))
    def gift(self, u, gas, byte, how):
        return self.play("grant", u, gas, byte, how)

    @rule(target=images, u=customers, gas=pulses, byte=st.integers(0, 66), how=st.integers(0, len(STOPS) - 1))
    def refund(self, u, gas, byte, how):
        return self.play("refund", u, gas, byte, how)

    @rule(target=images, u=customers, gas=pulses)
    def refund_loaded_and_paid(self, u, gas):
        self.play("refund", u, gas, 0, 0)
        self.play("visit", u)
        return self.play("pay", u)

    @rule(u=customers)
    def refund_paid(self, u):
        self.play("pay", u)

    @rule(target=images, u=customers)
    def refund_cancelled(self, u):
        return self.play("cancel", u)

    @rule(u=customers)
    def read_back(self, u):
        self.play("read", u)

    @rule(target=images, u=customers)
    def replacement(self, u):
        return self.play("replace", u)

    # --- at his meter

    @rule(target=images, u=customers)
    def visit(self, u):
        return self.play("visit", u)

    @rule(target=images, u=customers, operation=writes, early=st.integers(0, 1))
    def pulled(self, u, operation, early):
        return self.play("pull", u, operation, early)

    @rule(target=images, u=customers, v=customers, operation=st.integers(0, 20))
    def swapped(self, u, v, operation):
        return self.play("swap", u, operation, v)

    @rule(u=customers, gas=pulses)
    def burn(self, u, gas):
        self.play("burn", u, gas)

    @rule(u=customers, left=st.sampled_from((0, 1, 21)))
    def burn_low(self, u, left):
        self.play("low", u, left)

    @rule(u=customers)
    def key(self, u):
        self.play("key", u)

    @rule(u=customers, minutes=st.sampled_from((1, 31, 240)))
    def wait(self, u, minutes):
        self.play("wait", u, minutes)

    # --- power and clock

    @rule(u=customers, warned=st.integers(0, 1))
    def power_cut(self, u, warned):
        self.play("cut", u, warned)

    @rule(u=customers, minutes=clocks)
    def battery_swap(self, u, minutes):
        self.play("battery", u, minutes)

    @rule(u=customers, minutes=clocks)
    def clock_jump(self, u, minutes):
        self.play("clock", u, minutes)

    @rule(target=images, u=customers, write=writes, torn=ways)
    def power_cut_in_a_visit(self, u, write, torn):
        return self.play("cut visit", u, write, torn)

    @rule(u=customers, gas=pulses, write=st.integers(0, 5), torn=ways)
    def power_cut_in_a_batch(self, u, gas, write, torn):
        self.play("cut burn", u, gas, write, torn)

    @rule(u=customers, write=st.integers(0, 8), torn=ways)
    def power_cut_in_the_recovery(self, u, write, torn):
        self.play("cut boot", u, write, torn)

    # --- whoever shows any image ever written

    @rule(image=images)
    def goes_on_with_an_old_image(self, image):
        self.play("roll", image[0], self.place(image))

    @rule(u=customers)
    def takes_the_newest_again(self, u):
        self.play("own", u)

    @rule(image=images, u=customers, stranger=st.integers(0, 1))
    def image_shown_to_a_meter(self, image, u, stranger):
        self.play("show", u, image[0], self.place(image), stranger)

    @rule(image=images, gas=st.sampled_from((0, 10)), stranger=st.integers(0, 1))
    def image_shown_to_the_hall(self, image, gas, stranger):
        self.play("window", image[0], self.place(image), gas, stranger)

    @rule(image=images, byte=st.integers(0, 70), value=st.integers(1, 255))
    def image_forged(self, image, byte, value):
        self.play("forge", image[0], self.place(image), byte, value)


def test_streets_keep_all_rules():
    run_state_machine_as_test(Streets, settings=SUITE)


def test_failure_ends_with_a_story_that_can_be_played(monkeypatch):
    # The report goes over the newest one: the first visit shows it, so that shrinking takes no time.
    newest = meter.session.Session._newest
    monkeypatch.setattr(meter.session.Session, "_newest", lambda self: 1 - newest(self))
    quick = settings(SUITE, derandomize=True, max_examples=20, stateful_step_count=5)
    with pytest.raises(Violation, match="report_kept") as failed:
        run_state_machine_as_test(Streets, settings=quick)
    notes = "\n".join(failed.value.__notes__)
    story = read_story("".join(line + "\n" for line in notes.splitlines() if line.startswith("[")))
    assert len(story) <= 6, written_out(story)
    assert play(story).rule == "report_kept"
    monkeypatch.undo()
    assert play(story).rule is None
