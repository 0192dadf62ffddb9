"""meter.guards: the portable tests."""

from portable_guards import *  # noqa: F403
