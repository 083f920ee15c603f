"""Laws of the two-sided test, and its error rate under a base that never stands still."""

from __future__ import annotations

import random
from math import exp, log, sin

import pytest
from bench.replay import poisson, standard_error
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.stats.divergence import (
    ALTERNATIVES,
    SPREADS,
    TAILS,
    TILTS,
    alternatives,
    divergence_logs,
)
from headgate.core.stats.mixture import fresh, log_value, multiply

CLASSES = st.integers(2, 8).flatmap(
    lambda bins: st.tuples(
        *[st.lists(st.integers(0, 50), min_size=bins, max_size=bins)] * 3,
        st.permutations(range(bins)),
    )
)


@given(CLASSES)
def test_names_of_categories_do_not_matter(
    drawn: tuple[list[int], list[int], list[int], list[int]],
) -> None:
    """Claim: renaming up to eight categories gives the same evidence, one by one."""
    known, canary, stable, order = drawn

    def evidence(order: list[int]) -> list[float]:
        moved = [tuple(counts[k] for k in order) for counts in (known, canary, stable)]
        return sorted(divergence_logs(moved[1], moved[2], alternatives(moved[0], False)))

    if len(set(known)) == len(known):  # equally frequent categories may be tried in any order
        assert evidence(order) == pytest.approx(evidence(list(range(len(known)))))


@given(st.lists(st.integers(0, 50), min_size=3, max_size=14))
def test_a_mirrored_histogram_gives_mirrored_evidence(canary: list[int]) -> None:
    """Claim: shifts, spreads and ends look the same from both sides: higher only becomes lower."""
    known = tuple(range(5, 5 + len(canary)))
    stable = list(known)
    there = divergence_logs(canary, stable, alternatives(known, True))
    back = divergence_logs(canary[::-1], stable[::-1], alternatives(known[::-1], True))

    shapes = 2 * len(TILTS) + len(SPREADS) + 3 * len(TAILS)
    assert sorted(there[:shapes]) == pytest.approx(sorted(back[:shapes]), abs=1e-6)


@given(st.booleans(), st.lists(st.integers(0, 99), min_size=9, max_size=80))
def test_every_alternative_is_a_histogram(ordered: bool, known: list[int]) -> None:
    """Claim: whatever was known, the alternatives' shares are above 0 and sum to 1."""
    total = sum(known) + 1.0
    shares = [(count + 1.0 / len(known)) / total for count in known]
    for one in alternatives(tuple(known), ordered):
        moved = [share * (1.0 + x) for share, x in zip(shares, one.excess, strict=True)]

        assert min(moved) > 0.0
        assert sum(moved) == pytest.approx(1.0)


def drawn_counts(shares: list[float], events: float, chance: random.Random) -> tuple[int, ...]:
    """Poisson counts in bins."""
    return tuple(poisson(events * share, chance) for share in shares)


def is_called_different(seed: int, gain: float, ordered: bool) -> bool:
    """Replay 90 blocks of 100 canary and 900 stable events; the base swings all the time."""
    chance = random.Random(seed)
    known, logs = [0] * 6, fresh(ALTERNATIVES)
    for block in range(90):
        weights = [exp(0.4 * sin(block / 20) * (k - 2.5) / 1.7) for k in range(6)]
        shares = [weight / sum(weights) for weight in weights]
        moved = [(1 - gain) * share + gain * (k == 4) for k, share in enumerate(shares)]
        canary, stable = drawn_counts(moved, 100, chance), drawn_counts(shares, 900, chance)
        against = alternatives(tuple(known), ordered)
        logs = multiply(logs, divergence_logs(canary, stable, against))
        if log_value(logs, 0) >= log(100.0):
            return True
        known = [a + b for a, b in zip(known, stable, strict=True)]
    return False


@pytest.mark.replay
@pytest.mark.parametrize("ordered", [True, False], ids=["bins", "categories"])
def test_equal_arms_are_called_different_at_most_once_in_a_hundred(ordered: bool) -> None:
    """Claim: with both arms swinging by .4 deviations together the promise holds, and a canary with
    5 % of its answers in one inner bin is found nearly always."""
    alike = [is_called_different(seed, 0.0, ordered) for seed in range(60)]
    unlike = [is_called_different(seed, 0.05, ordered) for seed in range(20)]

    assert sum(alike) / len(alike) <= 0.01 + 3 * standard_error(0.01, len(alike))
    assert sum(unlike) >= 19
