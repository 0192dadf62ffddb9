"""meter.service: the portable tests."""

from portable_service import *  # noqa: F403
