# The meter: given its parts, told what happened, it keeps the account and moves the valve.
#
# It never sleeps, reads a clock or touches a pin (docs/DESIGN.md, D8). The board calls
#   pulse() / pulses(n)   the counter moved on            tick(ms)         so much powered time has passed
#   card_in() card_out()  the slot's switch               key()            the customer pressed it
#   clock(minutes)        what the clock says             power_failing()  the supply is going, this much is left
#   magnet(there) cover(open)  what the switches say      battery(mv)      what the cell was measured to give
#   power_back()          the supply did not go after all
# and may sleep for ``next_ms`` after each. Pulses are hot; everything else may allocate.
#
# Whatever the firmware was not built for ends in fail(): the first cause is kept, the valve shuts, cards are read
# no more. A pulse is stored before it is counted, a credit before it is acted upon, a number before it is used.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from gascard import codes
from gascard.records import (
    FORMAT_VERSION,
    REPORT_DATA,
    SHUT_ALARM,
    SHUT_BATTERY,
    SHUT_COVER,
    SHUT_FAULT,
    SHUT_MAGNET,
    SHUT_POWER,
    SHUT_REGISTER_END,
    SHUT_SENSOR,
    SHUT_STORE_LOST,
    SHUT_UNBOUND,
    SHUT_ZERO,
    STATUS_BATTERY_LOW,
    STATUS_KEY_NEEDED,
    STATUS_LOCKED_OUT,
    STATUS_SENSOR,
    STATUS_VALVE_FAULT,
    STATUS_VALVE_OPEN,
    TIME_MAX,
    TOTAL_MAX,
)
from meter import display, events, guards, valve
from meter.account import Account
from meter.deadlines import DISPLAY, REFILL, WINDOW, Deadlines
from meter.hot import COUNT, STOP, make_pulse, make_pulses
from meter.layouts import GUARDS, GUARDS_AT, KEYS, KEYS_AT, STATE, STATE_AT
from meter.lockout import CARDS, REFILL_MINUTES, Lockout
from meter.reeds import Reeds
from meter.session import Session
from meter.store import FAULTS, Pair, Register, StoreFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from meter.parts import Memory, Motor, Panel, Slot

_WINDOW_MS = const(60000)
_REFILL_MS = REFILL_MINUTES * 60000
_MINUTE_MS = const(60000)
_FAR_MS = const(1000000000)
_BATTERY_STEP_MV = const(20)
_BATTERY_BACK = const(5)  # steps
# What is noted once, beside the guards by their numbers.
_NOTED_TEST = const(16)
_NOTED_LOW = const(17)  # and empty, the next
_NOTED_VALVE = const(19)
_READ_TRIES = const(3)
_WARNED = const(1)  # the last run ended with the warning ...
_WARNED_BEHIND = const(2)  # ... while the wheel stood behind the last pulse


class Settings:
    """What a model of meter is built with. ``pulse_weight`` is the number of decimals of a m³ in one pulse."""

    def __init__(
        self,
        lanes: int = 1,
        lane_length: int = 4096,
        pulse_weight: int = 2,
        wheels: int = 10000000,
        travel_limit_ms: int = 10000,
        travel_slow_ms: int = 8000,
        clock_minutes: int = 480,
        test_gas: int = 1000,
    ) -> None:
        self.lanes = lanes
        self.lane_length = lane_length
        self.pulse_weight = pulse_weight
        self.wheels = wheels  # the index returns to 0 here, in pulses
        self.travel_limit_ms = travel_limit_ms
        self.travel_slow_ms = travel_slow_ms  # a valve that takes longer is entered in the log
        self.clock_minutes = clock_minutes  # what the display's clock is ahead of UTC
        self.test_gas = test_gas  # pulses a meter may give away for tests in its whole life


class Meter:
    """The core. Parts as described in meter.parts; call ``boot`` before anything else."""

    def __init__(
        self,
        memory: "Memory",
        key_memory: "Memory",
        motor: "Motor",
        slot: "Slot",
        panel: "Panel",
        settings: Settings,
    ) -> None:
        self.settings = settings
        self.panel = panel
        self.register = Register(memory, settings.lanes, settings.lane_length)
        self.keys = Pair(key_memory, KEYS_AT, KEYS)
        self.account = Account(memory)
        self.state = Pair(memory, STATE_AT, STATE)
        self.limits = Pair(memory, GUARDS_AT, GUARDS)
        self.guards = guards.Guards()
        self.lockout = Lockout(memory)
        self.events = events.Events(memory)
        self.valve = valve.Valve(motor, settings.travel_limit_ms)
        self.session = Session(self, slot)
        self.deadlines = Deadlines()
        self.reeds = Reeds(0)
        self.reasons = SHUT_UNBOUND
        self.last_code = codes.OK
        self.battery_mv = 0
        self._known = 0  # guards whose fact holds now
        self.ending = 0  # SHUT_UNBOUND while a card that ends the binding waits for the valve
        self.clock_set = 0  # minutes a setting card has brought: the board sets its clock by them, and this to 0
        self._present = 0  # SHUT_ reasons that hold as long as their cause does: magnet, cover, battery
        self._battery_low = False
        self._backs = self._wrongs = 0  # what the reeds had found when the core last looked
        self._sensor = 0  # guards of the reeds that have tripped since somebody was here
        self._past = 0  # pulses since the valve has been shut
        self._pressed = False  # it was driven again for them, once until somebody comes
        self._exercise = False  # no gas for long: the valve moves at the next card or key
        self.watching = False  # whether any guard asks for pulses
        self._counted = 0  # the register as the guards know it ...
        self._quiet = 0  # ... and for how long
        self._guards_next = 0
        self._refused = 0  # codes noted since a card was served, one bit each ...
        self._noted = 0  # ... and guards and other things that anybody can bring about
        self.uncounted = 0  # pulses told while the register could not take them
        self._minutes = 0
        self._since_ms = 0
        self._latched = 0
        self._page = display.REST
        self._code = codes.OK  # what the page CODE shows
        self.memory = memory
        self.pulse: "Callable[[], None]" = self._pulse_lost
        self.pulses: "Callable[[int], None]" = self._pulse_lost

    # --- power

    def boot(self, minutes: int, levels: int) -> int:
        """Power has come. Recover everything, shut the valve: OK, STORE_LOST or FAULT.

        ``minutes`` is the clock's, since 2000-01-01 UTC; ``levels`` are the reeds', which tell where in its turn the
        wheel stands.
        """
        self.clock(minutes)
        self.reeds = Reeds(levels)
        self.valve.start()
        try:
            whole = False
            for _ in range(_READ_TRIES):
                try:
                    self.events.recover()
                    whole = self.keys.load() and self.account.load() and self.state.load()
                    if whole:
                        # Before anything can fail: what is saved from now on has the counters in it.
                        values = self.state.values
                        self.valve.moves = values["valve_moves"]
                        self.valve.failures = values["valve_failures"]
                        self.last_code = -values["last_code"]
                        whole = self.register.recover() and (self.limits.load() or self.limits.begin_blank())
                    break
                except OSError:
                    whole = False  # what does not answer at last cannot be read either
            if not whole:
                self._latched |= SHUT_STORE_LOST
                self.review()
                return codes.STORE_LOST
            self.lockout.recover()
            values["boots"] = min(0xFFFF, values["boots"] + 1)
            if not values["warned"]:
                values["power_failures"] = min(0xFF, values["power_failures"] + 1)
            elif values["warned"] == _WARNED_BEHIND:
                self.reeds.fall_behind()
            values["warned"] = 0
            self.note(events.BOOT, values["boots"])
            if self.register.scrubbed:
                self.note(events.SCRUBBED, self.register.scrubbed)
            self.save_state()
            if not self.lockout.full:
                self.deadlines.set(REFILL, _REFILL_MS)
            self.deadlines.set(DISPLAY, display.LIT_MS)
            self._set_limits()
            self._count()
        except FAULTS as cause:
            self.fail(cause)
        return codes.FAULT if self._latched & SHUT_FAULT else codes.OK

    def power_failing(self) -> None:
        """The supply is going; the stored charge moves the valve once and writes an event and a record.

        What the valve does afterwards is no longer stored: power-up finds it by its end switches.
        """
        self._latched |= SHUT_POWER
        self.session.end()
        self.review()
        if not self._latched & SHUT_STORE_LOST:
            self.state.values["warned"] = _WARNED_BEHIND if self.reeds.behind else _WARNED
            self.note(events.POWER_FAILING, 0)
            self._safely(self.save_state)

    def power_back(self) -> None:
        """The supply has recovered after its warning: go on as before, shut until somebody comes."""
        if not self._latched & SHUT_POWER:
            return
        self._latched &= ~SHUT_POWER
        self.deadlines.clear(WINDOW)
        if not self._latched & SHUT_STORE_LOST:
            values = self.state.values
            values["warned"] = 0
            values["brown_outs"] = min(0xFF, values["brown_outs"] + 1)
            self.note(events.BROWN_OUT, values["brown_outs"])
            self._safely(self.save_state)
        self.review()

    def _safely(self, work: "Callable[..., None]", *arguments: int) -> None:
        # What goes wrong in ``work`` as a core must expect it latches FAULT.
        try:
            work(*arguments)
        except FAULTS as cause:
            self.fail(cause)

    def fail(self, cause: Exception) -> None:
        """What nothing was built for has happened: latch FAULT until the next power-up, shut, keep the first cause.

        For the board too, when the memory refuses a pulse time after time. The event's detail is the address that
        does not hold (StoreFault) or the error number (OSError).
        """
        first = not self._latched & SHUT_FAULT
        self._latched |= SHUT_FAULT
        self._stop_counting()
        self.session.end()
        if first:
            what = cause.args[0] if cause.args else 0
            self.note(events.FAULT, what if isinstance(what, int) else 0)
        self.review()

    # --- pulses

    def _count(self) -> None:
        # Hand the pulses to the hot path (meter.hot) for as long as the register can take them.
        cells = self.register.cells
        self.pulse = make_pulse(cells, self.memory, self._reached)
        self.pulses = make_pulses(cells, self.memory, self._reached)
        self._reached()

    def _stop_counting(self) -> None:
        self.pulse = self.pulses = self._pulse_lost
        # A batch that is still running sees that there is no room and ends.
        self.register.cells[STOP] = self.register.cells[COUNT]

    def _pulse_lost(self, count: int = 1) -> None:
        self.uncounted += count

    def _reached(self) -> None:
        # The hot path has come to a threshold: tally full, alarm, zero, or the last number of the register.
        register = self.register
        try:
            if register.cells[COUNT] >= register.capacity:
                register.checkpoint()
            self.review()
        except FAULTS as cause:
            self.fail(cause)

    def review(self) -> None:
        """Which reasons to stay shut hold now, when do the next arise, and does the valve agree?"""
        register = self.register
        reasons = self._latched | self.ending
        if not reasons & (SHUT_STORE_LOST | SHUT_FAULT):
            account = self.account
            value = register.value
            ahead = TOTAL_MAX - value
            if ahead <= 0:
                reasons |= SHUT_REGISTER_END
                self._stop_counting()
            if not account.bound:
                left = self.state.values["test_gas_end"] - value
                # For a meter that was never bound: test gas does not come back.
                if left > 0 and not account.values["binding"]:
                    ahead = min(ahead, left)
                else:
                    reasons |= SHUT_UNBOUND
            else:
                values = account.values
                left = account.remaining(value)
                credit = left + values["overdraft"]
                if credit <= 0:
                    reasons |= SHUT_ZERO
                else:
                    ahead = min(ahead, credit)
                spare = left - values["alarm"]
                if spare > 0:
                    ahead = min(ahead, spare)
                elif values["alarm"] and not self._alarm_seen():
                    reasons |= SHUT_ALARM
            if ahead > 0:
                register.stop_after(ahead)
            reasons |= self.state.values["latched"] | self._present
        fresh = reasons & ~self.reasons
        self.reasons = reasons
        if fresh:
            self._drive_stuck()
        self._settle_valve()
        if fresh & (SHUT_ALARM | SHUT_ZERO):
            self.panel.beep(display.BEEP_LOW)
        elif fresh & ~SHUT_POWER:
            self.panel.beep(display.BEEP_SHUT)
        if fresh:
            self._show(display.REST)
        if fresh & SHUT_ALARM:
            self.note(events.ALARM, 0)
        if fresh & SHUT_ZERO:
            self.note(events.ZERO, 0)
        if fresh & SHUT_REGISTER_END:
            self.note(events.REGISTER_END, 0)

    def _alarm_seen(self) -> bool:
        # The alarm shuts once for a binding and sequence: until a card or the key has answered it.
        state = self.state.values
        account = self.account.values
        return state["alarm_binding"] == account["binding"] and state["alarm_sequence"] == account["sequence"]

    @property
    def remaining(self) -> int:
        """Gas left in pulses; 0 on a meter that is not bound or has lost its store."""
        if self._latched & SHUT_STORE_LOST or not self.account.bound:
            return 0
        return self.account.remaining(self.register.value)

    @property
    def shown_index(self) -> int:
        """What the display gives for the wheels: register and offset, modulo the wheels."""
        if self._latched & SHUT_STORE_LOST:
            return 0
        return (self.register.value + self.state.values["index_offset"]) % self.settings.wheels

    # --- time

    def clock(self, minutes: int) -> None:
        """The clock says ``minutes`` since 2000-01-01 UTC; what no field can hold is an unset clock, 0."""
        self._minutes = minutes if 0 <= minutes <= TIME_MAX else 0
        self._since_ms = 0

    @property
    def minutes(self) -> int:
        """Minutes since 2000-01-01 UTC as far as the meter knows."""
        return min(TIME_MAX, self._minutes + self._since_ms // _MINUTE_MS)

    @property
    def next_ms(self) -> int:
        """So long the board may sleep before the next tick, if nothing else happens."""
        if self.session.active and not (self.ending and self.valve.moving):
            return 0
        if self.valve.moving:
            return valve.POLL_MS
        reeds = self.reeds
        if reeds.backs != self._backs or reeds.wrongs != self._wrongs:
            return 0
        if self.watching and self.register.value != self._counted:
            return 0  # the guards have not heard of it yet
        ahead = min(self.deadlines.next, self._guards_next - self._quiet)
        return ahead if ahead > 0 else 0

    def tick(self, milliseconds: int) -> None:
        """``milliseconds`` of powered time have passed since the last tick (at most one hour)."""
        self._since_ms += milliseconds
        self._quiet += milliseconds
        reeds = self.reeds
        # What has been counted came in this time, the last of it just now.
        if self.watching and self.register.value != self._counted:
            value = self.register.value
            self._flow(value - self._counted)
            self._counted = value
        elif self._quiet >= self._guards_next or reeds.backs != self._backs or reeds.wrongs != self._wrongs:
            self._flow(0)
        # The window first: a valve that arrives shut in this very tick must not open after the minute.
        try:
            if self.deadlines.advance(milliseconds):
                self._due()
            if self.valve.moving and self.valve.advance(milliseconds):
                self._valve_changed()
        except FAULTS as cause:
            self.fail(cause)
        if self.session.active:
            self._step()

    def _due(self) -> None:
        deadlines = self.deadlines
        self._minutes += self._since_ms // _MINUTE_MS
        self._since_ms %= _MINUTE_MS
        deadlines.expired(WINDOW)
        if deadlines.expired(DISPLAY):
            if self._page == display.REST:
                self._page = display.DARK
                self.refresh()
            else:
                self._show(display.CODE if self._page == display.TEST else display.REST)
        if deadlines.expired(REFILL):
            self.lockout.refill()
            if not self.lockout.full:
                deadlines.set(REFILL, _REFILL_MS)

    # --- guards

    def set_limits(self, values: dict) -> None:
        """Take and store limits and enable bits of the guards: fields of layouts.GUARDS, those not given stay.

        RecordError if a value does not fit its field; StoreFault if the memory does not keep them, or the store is
        lost. Then the old ones stay in force.
        """
        limits = dict(self.limits.values)
        if not limits:
            raise StoreFault(GUARDS_AT[0])
        for name in GUARDS.names[2:-1]:
            if name in values:
                limits[name] = values[name]
        self.limits.commit(limits, True)
        self._set_limits()

    def _set_limits(self) -> None:
        # The account's over-flow limit goes before the setting's.
        over_flow = self.account.values["over_flow_seconds"] if self.account.bound else 0
        self.guards.set_limits(self.limits.values, over_flow)
        self._guards_next = 0 if self.guards.active else _FAR_MS
        watching = self.guards.active or self.limits.values["past_valve_pulses"] > 0
        if watching and not self.watching:
            self._counted = self.register.value
            self._quiet = 0
        self.watching = watching

    def _flow(self, pulses: int) -> None:
        # Time has passed, and perhaps gas: tell the guards.
        milliseconds, self._quiet = self._quiet, 0
        backs, wrongs = self.reeds.backs, self.reeds.wrongs
        reversal, wrong = backs != self._backs, wrongs != self._wrongs
        self._backs, self._wrongs = backs, wrongs
        if self._latched & SHUT_STORE_LOST:
            self._guards_next = _MINUTE_MS
            return
        tripped = 0
        if self.guards.active:
            tripped = self.guards.pass_time(milliseconds, pulses)
            self._guards_next = self.guards.next
        if pulses:
            self._exercise = False  # gas flows again: nobody's flame goes out for it
        state = self.valve.state
        if pulses and (state == valve.SHUT or (state == valve.STUCK and self.reasons)):
            allowed = self.limits.values["past_valve_pulses"]
            before, self._past = self._past, self._past + pulses
            if allowed and before <= allowed < self._past:
                tripped |= 1 << guards.PAST_VALVE
                if not self._pressed:
                    self._pressed = True
                    self._safely(self.valve.press)
        elif pulses and state != valve.SHUTTING:
            self._past = 0
        found = (reversal and 1 << guards.REVERSE) | (wrong and 1 << guards.SENSOR)
        tripped |= found & ~self._sensor
        self._sensor |= found
        if tripped:
            self._safely(self._tripped, tripped)

    def _tripped(self, bits: int) -> None:
        # Guards have spoken: to the log, to the counters, and to the valve, as their bits say.
        limits, state = self.limits.values, self.state.values
        before = dict(state)
        if bits & 1 << guards.IDLE:
            self._exercise = True
        if bits & (1 << guards.OVER_FLOW | 1 << guards.LARGE_FLOW):
            state["over_flow_count"] = min(0xFF, state["over_flow_count"] + 1)
        if bits & 1 << guards.MAGNET:
            state["magnet_events"] = min(0xFF, state["magnet_events"] + 1)
        for guard in range(guards.COVER + 1):
            if bits & limits["report"] & 1 << guard:
                self._note_once(guard, events.GUARD, guard)
            if bits & limits["shut"] & 1 << guard:
                state["latched"] |= 1 << guards.REASON_BITS[guard] & 0xFFFF
        if state != before:
            self.save_state()
        self.review()

    def magnet(self, present: bool) -> None:
        """The magnet switch closed or opened. Counted; shut and latched if the guard's bit says so, until a card or
        the key once it is gone. What fails latches FAULT.
        """
        self._fact(guards.MAGNET, SHUT_MAGNET, present)

    def cover(self, is_open: bool) -> None:
        """The cover, or the battery's, was opened or shut again. As ``magnet``."""
        self._fact(guards.COVER, SHUT_COVER, is_open)

    def _fact(self, guard: int, reason: int, holds: bool) -> None:
        if self._latched & SHUT_STORE_LOST:
            return
        before = self._present
        shuts = holds and self.limits.values["shut"] & 1 << guard
        self._present = before | reason if shuts else before & ~reason
        if holds and not self.state.values["latched"] & reason and (shuts or not self._known & 1 << guard):
            self._safely(self._tripped, 1 << guard)
        elif before != self._present:
            self._safely(self.review)
        self._known = self._known | 1 << guard if holds else self._known & ~(1 << guard)

    def battery(self, millivolts: int) -> None:
        """The cell gives so many ``millivolts`` (0: not measured). Below the first level warn, below the second shut
        until it gives 100 mV more than the first, or until power comes anew (DOMAIN 2). What fails latches FAULT.
        """
        self.battery_mv = millivolts
        if self._latched & SHUT_STORE_LOST or not millivolts:
            return
        limits = self.limits.values
        # A cell at the very level must not fill the log: it is well again only some way above.
        enough = limits["battery_low"] + (_BATTERY_BACK if self._battery_low else 0)
        low = millivolts < enough * _BATTERY_STEP_MV
        enough = limits["battery_empty"] + (_BATTERY_BACK if self._present & SHUT_BATTERY else 0)
        empty = millivolts < enough * _BATTERY_STEP_MV
        if (low and not self._battery_low) or (empty and not self._present & SHUT_BATTERY):
            self._note_once(_NOTED_LOW + empty, events.BATTERY, min(0xFF, millivolts // _BATTERY_STEP_MV))
        self._battery_low = low
        if empty:
            self._present |= SHUT_BATTERY
        elif not low:
            # A cell that recovers while nothing is drawn from it is not a new one.
            self._present &= ~SHUT_BATTERY
        self._safely(self.review)

    # --- valve

    def asked(self) -> None:
        """Somebody stands at the meter, with a good card or a finger on the key: the valve may open for a minute."""
        self.deadlines.set(WINDOW, _WINDOW_MS)
        self._past = 0
        self._pressed = False
        self._sensor = 0
        self.valve.attempts = 0
        if not self._latched & (SHUT_STORE_LOST | SHUT_FAULT) and self.account.bound:
            values = self.account.values
            low = values["alarm"] and self.account.remaining(self.register.value) <= values["alarm"]
            if low and not self._alarm_seen():
                self.state.values["alarm_binding"] = values["binding"]
                self.state.values["alarm_sequence"] = values["sequence"]
                self.save_state()
        if not self._latched & (SHUT_STORE_LOST | SHUT_FAULT):
            # What a guard has shut a person reopens, once its cause is gone.
            latched = self.state.values["latched"]
            holds = self._present | (SHUT_SENSOR if self.reeds.held else 0)
            if latched & ~holds:
                self.state.values["latched"] = latched & holds
                self.save_state()
        self.review()
        self._drive_stuck()
        if self._exercise and not self.reasons:
            self._exercise = False
            if self.valve.state == valve.OPEN:
                self.state.values["exercises"] = min(0xFF, self.state.values["exercises"] + 1)
                self.note(events.EXERCISED, self.state.values["exercises"])
                self.save_state()
                self.valve.tell(valve.ASK_SHUT)  # and the window opens it again

    def _settle_valve(self) -> None:
        state = self.valve.state
        if self.reasons:
            if state in (valve.OPEN, valve.OPENING):
                self.valve.tell(valve.ASK_SHUT)
        elif self.deadlines.runs(WINDOW) and state in (valve.SHUT, valve.SHUTTING):
            self.valve.tell(valve.ASK_OPEN)

    def _drive_stuck(self) -> None:
        # A valve that is stuck moves when somebody asks and when there is a new reason to shut, not by itself.
        if self.valve.state == valve.STUCK:
            self.valve.tell(valve.ASK_SHUT if self.reasons else valve.ASK_OPEN)

    def _valve_changed(self) -> None:
        kind = 0
        if self.valve.state == valve.OPEN:
            kind = events.VALVE_OPENED
        elif self.valve.state == valve.SHUT:
            kind = events.VALVE_SHUT
        elif self.valve.state == valve.STUCK:
            kind = events.VALVE_FAULT
        if not kind or self._latched & SHUT_STORE_LOST:
            return
        if kind == events.VALVE_FAULT:
            self._note_once(_NOTED_VALVE, kind, self.valve.cause)
            self._show(display.REST)
        elif not self.valve.attempts:  # else it is but the way back
            self.note(kind, self.reasons)
            if self.valve.measured and self.valve.travel_ms > self.settings.travel_slow_ms:
                self.note(events.VALVE_SLOW, min(0xFFFF, self.valve.travel_ms))
        if not self._latched & SHUT_POWER:
            self.save_state()
        # A window that ran out while the motor was shutting opens nothing; one still running may.
        self._settle_valve()

    # --- card and key

    def key(self, held_ms: int = 0) -> None:
        """The key was pressed: acknowledge the alarm, ask the valve to open, show the next page.

        Held for SELF_TEST_MS it asks for nothing but the self-test: every segment, then the code of the first thing
        that is wrong, E00 if none is.
        """
        if held_ms >= display.SELF_TEST_MS:
            self._code = self._test()
            self._note_once(_NOTED_TEST, events.SELF_TEST, -self._code)
            self._show(display.TEST)
            self.panel.beep(display.BEEP_TEST)
            return
        page, code = self._page, self._standing()
        self._safely(self.asked)
        self._show(display.turned(page, code))

    def _standing(self) -> int:
        # The code of what keeps the valve shut, or where it is.
        code = display.standing(self.reasons)
        return codes.VALVE_STUCK if not code and self.valve.state == valve.STUCK else code

    def _test(self) -> int:
        code = self._standing()
        if code:
            return code
        try:
            for pair in (self.keys, self.account, self.state, self.limits):
                if not pair.intact():
                    return codes.STORE_LOST
        except OSError:
            return codes.STORE_LOST
        if self.reeds.fault:
            return codes.SENSOR_FAULT
        return codes.BATTERY_LOW if self._battery_low else codes.OK

    def card_in(self) -> int:
        """A card was pushed in. The code that the display shows too (gascard.codes)."""
        if self._latched:
            # A supply that is going has nothing left for a card either.
            return self._answer(codes.STORE_LOST if self._latched & SHUT_STORE_LOST else codes.FAULT)
        if not self.lockout.tokens[CARDS]:
            return self._answer(codes.LOCKED_OUT)
        try:
            code = self.session.insert()
            if not self.lockout.full and not self.deadlines.runs(REFILL):
                self.deadlines.set(REFILL, _REFILL_MS)
        except FAULTS as cause:
            self.fail(cause)
            code = codes.FAULT
        return self._answer(code)

    def card_out(self) -> None:
        """The card was pulled out, perhaps in the middle of its report."""
        if self.session.active:
            self.session.end()
            self._answer(codes.CARD_OUT)

    def _step(self) -> None:
        code = self.session.step()
        if code:
            self._answer(code)
        elif not self.session.active:
            self.panel.beep(display.BEEP_SERVED)
            self.refresh()

    def _answer(self, code: int) -> int:
        self.last_code = code
        if code == codes.REPORT_NOT_WRITTEN:
            self.note(events.REPORT_NOT_WRITTEN, 0)
        elif code in (codes.OK, codes.REPEAT):
            self._refused = self._noted = 0
        elif not self._refused >> -code & 1:
            # Once until a card is served: cards that anybody can make must not push the rest out of the log.
            self._refused |= 1 << -code
            self.note(events.REFUSED, -code)
        self._code = code
        if not self.session.active:
            self.panel.beep(display.BEEP_REFUSED)
        if code == codes.LOCKED_OUT:
            self._show(display.WAIT)
        else:
            self._show(display.CODE if code else display.REST)
        return code

    def journal(self, values: dict, lowers: bool) -> None:
        """Make an order's credit true: the binding first in the key record, then the account. StoreFault."""
        keys = self.keys
        if values["binding"] > keys.values["binding"]:
            keys.values["binding"] = values["binding"]
            keys.save(True)  # the only thing that a lost account leaves to know an old opening card by
        else:
            keys.confirm()
        opening = not self.account.bound
        # An opening stands in both copies as well: without its only one the same card would bind the meter again.
        self.account.commit(values, lowers or opening)
        self.note(events.BOUND if opening else events.LOADED, values["sequence"])
        self._set_limits()

    def save_state(self) -> None:
        """Store the state record, the counters the parts keep among it. StoreFault if it does not hold."""
        values = self.state.values
        values["valve_moves"] = self.valve.moves
        values["valve_failures"] = self.valve.failures
        values["last_code"] = -self.last_code
        self.state.save()

    def note(self, kind: int, detail: int) -> None:
        """An entry in the log. It is for people: a meter whose log does not take one goes on serving gas."""
        if self._latched & SHUT_STORE_LOST:
            return
        try:
            self.events.note(kind, detail, self.register.value, self.minutes)
        except FAULTS:
            pass

    def _note_once(self, number: int, kind: int, detail: int) -> None:
        # Until a card is served, as refused cards are: whoever plays with magnet or key must not push the rest out.
        if not self._noted >> number & 1:
            self._noted |= 1 << number
            self.note(kind, detail)

    # --- what people see

    def report(self) -> dict:
        """All fields of a report as of now (gascard.records.REPORT_DATA)."""
        account = self.account.values
        values = {}
        for source in (self.state.values, account):
            for name in REPORT_DATA.names:
                if name in source:
                    values[name] = source[name]
        values["meter"] = self.keys.values["meter"]
        values["versions"] = FORMAT_VERSION << 4 | FORMAT_VERSION
        values["register"] = self.register.value
        values["used"] = self.register.value - account["register_at_binding"]
        values["index"] = self.shown_index
        values["status"] = self.status
        values["battery"] = min(0xFF, self.battery_mv // _BATTERY_STEP_MV)
        values["time"] = self.minutes
        values["last_code"] = -self.last_code
        values["valve_moves"] = self.valve.moves
        values["valve_failures"] = self.valve.failures
        return values

    @property
    def status(self) -> int:
        """The status bits of a report: SHUT_ and STATUS_ of gascard.records."""
        bits = self.reasons
        if self.valve.state == valve.OPEN:
            bits |= STATUS_VALVE_OPEN
        elif self.valve.state == valve.STUCK:
            bits |= STATUS_VALVE_FAULT
        elif not bits and not self.valve.moving:
            bits |= STATUS_KEY_NEEDED
        if not self.lockout.tokens[CARDS]:
            bits |= STATUS_LOCKED_OUT
        if self.reeds.fault:
            bits |= STATUS_SENSOR
        if self._battery_low:
            bits |= STATUS_BATTERY_LOW
        return bits

    def _show(self, page: int) -> None:
        self._page = page
        shown_ms = display.CODE_MS
        if page == display.REST:
            shown_ms = display.LIT_MS
        elif page == display.TEST:
            shown_ms = display.TEST_MS
        self.deadlines.set(DISPLAY, shown_ms)
        self.refresh()

    def refresh(self) -> None:
        """Draw the display again; the board calls it when it likes, pulses do not."""
        page = self._page
        code = self._standing()
        if page == display.REST and code:
            page = display.CODE
        elif page == display.CODE:
            code = self._code
        value = self.remaining
        if page == display.INDEX:
            value = self.shown_index
        elif page == display.BOUGHT:
            value = self.account.values["bought_total"] if self.account.values else 0
        elif page == display.SEQUENCE:
            value = self.account.values["sequence"] if self.account.values else 0
        elif page == display.CLOCK:
            value = self.minutes + self.settings.clock_minutes
        elif page == display.CODE:
            value = code
        elif page == display.WAIT:
            value = (self.deadlines.left(REFILL) + _MINUTE_MS - 1) // _MINUTE_MS
        symbols = display.symbols(self.status)
        if self.session.active:
            symbols |= display.SYMBOL_CARD
        if page == display.TEST:
            symbols = display.ALL_SYMBOLS
        self.panel.show(display.text(page, value, self.settings.pulse_weight), symbols)
