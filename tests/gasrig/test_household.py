"""The household's gas: real input, whole numbers, a year that adds up."""

import subprocess
import sys

import pytest

from gasrig.household import CUBIC_METRES, HOURS, MissingExtraError, hourly_use

pytestmark = pytest.mark.needs("demandlib")


def test_use_is_a_year_of_whole_numbers_that_adds_up() -> None:
    use = hourly_use(2)
    assert len(use) == HOURS
    assert all(type(milli) is int and milli > 0 for milli in use)
    assert abs(sum(use) - CUBIC_METRES * 100 * 1000) < HOURS


def test_use_follows_the_weather_and_the_day() -> None:
    use = hourly_use(2)
    january, july = sum(use[: 31 * 24]), sum(use[181 * 24 : 212 * 24])
    assert january > 5 * july
    night, morning = (sum(use[hour::24]) for hour in (2, 7))
    assert morning > 2 * night


@pytest.mark.parametrize("weight", [0, 1])
def test_use_at_a_coarser_pulse_is_the_same_gas(weight: int) -> None:
    fine = hourly_use(2)
    scale = 10 ** (2 - weight)
    assert all(abs(coarse * scale - milli) <= scale for coarse, milli in zip(hourly_use(weight), fine, strict=True))


def test_use_is_the_same_in_another_process() -> None:
    program = "from gasrig.household import hourly_use; print(hash(hourly_use(2)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == hash(hourly_use(2))


def test_use_without_demandlib_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['demandlib'] = None\n"
        "from gasrig.household import MissingExtraError, hourly_use\n"
        "try: hourly_use()\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "icgas[demo]" in done.stdout
    assert "demandlib" in done.stdout
    assert issubclass(MissingExtraError, ImportError)
