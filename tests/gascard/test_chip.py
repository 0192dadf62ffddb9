"""gascard.chip: all its tests are portable."""

from portable_chip import *  # noqa: F403
