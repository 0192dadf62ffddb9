"""meter.display: the portable tests."""

from portable_display import *  # noqa: F403
