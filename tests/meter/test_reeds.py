"""meter.reeds: the portable tests."""

from portable_reeds import *  # noqa: F403
