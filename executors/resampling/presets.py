"""Policies by name: what a request, a profile or the command line may write.

    dynamic                              the default: 3, 5 or 7 samples latency lean balanced deep
    thorough  lookahead presets, from the fewest rounds to the most certain seed_3_5_7[:<prior
    confidence>]      3, then 5 or 7; a prior confidence chooses one of them at once fixed:<k>
    exactly k samples, 1 to 40 lookahead:<stop>,<first>,<min>,<max> stop posterior, first wave,
    least further wave, maximum

The rules themselves are in `lookahead` and `schedules`.
"""

from __future__ import annotations

import re

from executors.resampling.errors import KOutOfRange, PolicyUnknown
from executors.resampling.lookahead import Lookahead
from executors.resampling.policy import MAX_K, Policy
from executors.resampling.schedules import Fixed, SeedSchedule

#: Stop posterior, first wave, least further wave and maximum of each named lookahead.
_LOOKAHEADS = {
    "dynamic": (0.80, 3, 2, 7),
    "latency": (0.60, 5, 6, 11),
    "lean": (0.80, 2, 7, 9),
    "balanced": (0.90, 3, 6, 15),
    "deep": (0.90, 3, 1, 40),
    "thorough": (0.95, 4, 1, 40),
}

#: Every form that `parse_policy` understands.
POLICY_NAMES = (*_LOOKAHEADS, "seed_3_5_7", "fixed:<k>", "lookahead:<stop>,<first>,<min>,<max>")

_COUNT = r"([+-]?[0-9]{1,9})"
_FRACTION = r"([0-9]?\.?[0-9]{1,12})"
_FIXED = re.compile(rf"fixed:{_COUNT}")
_LOOKAHEAD = re.compile(rf"lookahead:{_FRACTION},{_COUNT},{_COUNT},{_COUNT}")
_SEED = re.compile(rf"seed_3_5_7:{_FRACTION}")


def parse_policy(spec: str) -> Policy:
    """Return the policy that `spec` names.

    Raises `PolicyUnknown` for a name or form that does not exist and `KOutOfRange` for a number of
    samples outside 1..40.
    """
    if not isinstance(spec, str):
        raise _unknown(spec)
    if spec in _LOOKAHEADS:
        stop, first, least, most = _LOOKAHEADS[spec]
        return Lookahead(
            name=spec, stop_posterior=stop, first_wave=first, min_wave=least, max_k=most
        )
    if spec == "seed_3_5_7":
        return SeedSchedule()
    if match := _SEED.fullmatch(spec):
        return _seeded(spec, float(match[1]))
    if match := _FIXED.fullmatch(spec):
        return Fixed(name=spec, k=_count("k", match[1]))
    if match := _LOOKAHEAD.fullmatch(spec):
        return _lookahead(spec, match)
    raise _unknown(spec)


def _seeded(spec: str, prior: float) -> Policy:
    """Return the seed's choice for a job that brings a confidence: one wave and no second look."""
    if prior > 1:
        raise _unknown(spec)
    seed = SeedSchedule()
    if prior > seed.confidence_high:
        return Fixed(name=spec, k=seed.k_high)
    return Fixed(name=spec, k=seed.k_low if prior < seed.confidence_low else seed.k_default)


def _lookahead(spec: str, match: re.Match[str]) -> Policy:
    stop = float(match[1])
    first = _count("first wave", match[2])
    least = _count("least further wave", match[3])
    most = _count("maximum", match[4])
    if not 0.5 < stop < 1:
        raise _unknown(spec, "its stop posterior is not between 0.5 and 1")
    if first > most:
        raise KOutOfRange(
            f"the first wave of {first} samples is larger than the maximum of {most}",
            suggested_action="make the first wave at most as large as the maximum",
            details={"first_wave": first, "max_k": most},
        )
    return Lookahead(name=spec, stop_posterior=stop, first_wave=first, min_wave=least, max_k=most)


def _count(name: str, text: str) -> int:
    value = int(text)
    if not 1 <= value <= MAX_K:
        raise KOutOfRange(
            f"the policy's {name} is {value}, but a job draws between 1 and {MAX_K} samples",
            suggested_action=f"use a number from 1 to {MAX_K}",
            details={"name": name, "value": value, "lowest": 1, "highest": MAX_K},
        )
    return value


def _unknown(spec: object, why: str = "") -> PolicyUnknown:
    shown = repr(spec)[:80]
    return PolicyUnknown(
        f"{shown} is no resampling policy" + (f": {why}" if why else ""),
        suggested_action=f"use one of {', '.join(POLICY_NAMES)}",
        details={"policy": shown, "known": list(POLICY_NAMES)},
    )
