"""How much gas one household draws in each hour of a year: the BDEW standard load profile over real weather.

From the package ``demandlib``: profile EFH (one-family house: heating, hot water and cooking) and one of the
German weather service's test reference years. Needs ``pip install icgas[demo]``.
"""

import warnings
from functools import lru_cache
from pathlib import Path

__all__ = ["CUBIC_METRES", "HOURS", "MILLI", "YEAR", "MissingExtraError", "hourly_use"]

YEAR = 2025  # whose calendar the profile's weekdays follow; 365 days, as a test reference year has
HOURS = 8760
CUBIC_METRES = 2000  # about what such a house burns in a year
KWH_PER_CUBIC_METRE = 10
MILLI = 1000  # parts of a pulse, as the virtual wheels count them

_WEATHER = "vdi/resources_weather/TRY2010_04_Jahr.dat"  # Potsdam: the north-east of Germany
_BUILDING_CLASS = 5  # of 11: neither new nor very old
_WIND_CLASS = 0


class MissingExtraError(ImportError):
    """A package this needs is not installed; the text says which extra brings it."""


@lru_cache
def hourly_use(pulse_weight: int = 2) -> tuple[int, ...]:
    """Thousandths of a pulse drawn in each of the year's 8760 hours, from 1 January 00:00 on.

    ``pulse_weight`` is the number of decimals of a m³ in one pulse. The same at each call.
    MissingExtraError without demandlib and pandas.
    """
    scale = 10**pulse_weight * MILLI / KWH_PER_CUBIC_METRE
    return tuple(round(kwh * scale) for kwh in _profile())


@lru_cache(1)
def _profile() -> tuple[float, ...]:
    # kWh in each hour. pandas is imported here: nothing else of the rig waits for it.
    try:
        import demandlib
        import pandas
        from demandlib.bdew import HeatBuilding
        from demandlib.vdi.dwd_try import read_dwd_weather_file
    except ImportError as error:
        raise MissingExtraError(
            f"the household needs the package {error.name}, which is not here: pip install 'icgas[demo]'"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # demandlib's, at pandas
        weather = read_dwd_weather_file(str(Path(demandlib.__file__).parent / _WEATHER))
        hours = pandas.date_range(f"{YEAR}-01-01", periods=HOURS, freq="h")
        building = HeatBuilding(
            hours,
            temperature=pandas.Series(weather["TAMB"].to_numpy(), index=hours),
            shlp_type="EFH",
            building_class=_BUILDING_CLASS,
            wind_class=_WIND_CLASS,
            annual_heat_demand=CUBIC_METRES * KWH_PER_CUBIC_METRE,
            name="EFH",
        )
        return tuple(float(kwh) for kwh in building.get_bdew_profile())
