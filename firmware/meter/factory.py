# The last station of the production line: every state a meter can be in afterwards is written, none is inferred.

from gascard.records import size_of
from meter.layouts import (
    ACCOUNT,
    ACCOUNT_AT,
    CHECKPOINT,
    CHECKPOINT_AT,
    COPY_SIZE,
    EVENTS_AT,
    FACTORY,
    GUARDS,
    GUARDS_AT,
    KEYED,
    KEYS,
    KEYS_AT,
    LOCKOUT_PLACES,
    STATE,
    STATE_AT,
    TALLY_AT,
)
from meter.lockout import TOKENS_FULL, Lockout
from meter.store import MARKERS, Pair, write_checked, write_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gascard.records import Layout
    from meter.meter import Settings
    from meter.parts import Memory


def create(memory: "Memory", key_memory: "Memory", settings: "Settings", values: dict) -> None:
    """Write a new meter. ``values``: meter (14 digits), register (its first count), index (what the wheels read),
    and, where it leaves the factory keyed, region, key_version, key and tool_key, else factory_key, by which a key card
    gives it those; guards, fields of layouts.GUARDS, all 0 (every guard off) if not given. StoreFault if the memory
    fails.
    """
    keyed = KEYED if values.get("key") else FACTORY
    keys = {"state": keyed, "meter": values["meter"], "key": values.get("factory_key") or bytes(16)}
    for name in ("region", "key_version", "key", "tool_key"):
        if values.get(name):
            keys[name] = values[name]
    register = values.get("register", 0)
    # A memory that has been a meter is none from here on, until its keys are written last.
    for address in KEYS_AT:
        write_checked(key_memory, address, bytes(COPY_SIZE))
    # What the display adds to the register to show the wheels.
    offset = (values.get("index", 0) - register) % settings.wheels
    create_register(memory, settings.lanes * settings.lane_length, register)
    create_pair(memory, STATE_AT, STATE, {"index_offset": offset, "warned": 1})
    create_pair(memory, ACCOUNT_AT, ACCOUNT, {"state": keyed})
    create_pair(memory, GUARDS_AT, GUARDS, values.get("guards") or {})
    create_lockout(memory)
    # The log and the final record of an earlier life of this memory.
    for address in range(EVENTS_AT, TALLY_AT, COPY_SIZE):
        write_checked(memory, address, bytes(COPY_SIZE))
    create_pair(key_memory, KEYS_AT, KEYS, keys)


def create_pair(memory: "Memory", places: tuple, layout: "Layout", values: dict) -> None:
    """First entry of a record, in both copies. Fields not named in ``values`` are nought."""
    Pair(memory, places, layout).begin(values)


def create_register(memory: "Memory", capacity: int, value: int) -> None:
    """A tally of ``capacity`` places without a mark of generation 0, and the checkpoint of that generation."""
    for address in range(TALLY_AT, TALLY_AT + capacity, COPY_SIZE):
        write_checked(memory, address, bytes((MARKERS[1],)) * COPY_SIZE)
    # The other slot must not read as a checkpoint: its tally would be this one, full.
    write_checked(memory, CHECKPOINT_AT[1], bytes(size_of(CHECKPOINT)))
    write_small(memory, CHECKPOINT_AT[0], CHECKPOINT, {"generation": 0, "base": value})


def create_lockout(memory: "Memory") -> None:
    """Full buckets, at every place of the ring, so that no rest of an older life outranks the newest."""
    lockout = Lockout(memory)
    for buckets in (lockout.tokens, lockout.stored):
        buckets[:] = bytes((TOKENS_FULL, TOKENS_FULL))
    for _ in range(LOCKOUT_PLACES):
        lockout.refill()
