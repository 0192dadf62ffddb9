"""meter.events: the portable tests."""

from portable_events import *  # noqa: F403
