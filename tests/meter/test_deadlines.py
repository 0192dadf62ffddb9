"""meter.deadlines: the portable tests."""

from portable_deadlines import *  # noqa: F403
