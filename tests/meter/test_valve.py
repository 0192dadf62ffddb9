"""meter.valve: the portable tests."""

from portable_valve import *  # noqa: F403
