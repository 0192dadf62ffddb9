"""meter.tools: the portable tests."""

from portable_tools import *  # noqa: F403
