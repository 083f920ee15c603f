"""The peers' rules by the names a user gives, at the settings their documentation shows.

Owns which settings a name stands for. Must not know how a rule works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headgate.simulation.peers import Rule
from headgate.simulation.peers.argo import Argo
from headgate.simulation.peers.flagger import Flagger
from headgate.simulation.peers.kayenta import Kayenta

Maker = Callable[[float, int, int], Rule[Any]]
"""From stable's failure rate (0..1), a constant weight (percent) and a duration (seconds)."""

RULES: Mapping[str, Maker] = {
    "flagger": lambda base, weight, duration: Flagger.documented(weight, duration),
    "flagger-tuned": Flagger.tuned,
    "argo": lambda base, weight, duration: Argo.documented(weight, duration),
    "argo-tuned": Argo.tuned,
    "kayenta": lambda base, weight, duration: Kayenta.documented(weight, duration),
    "kayenta-5m": lambda base, weight, duration: Kayenta.documented(weight, duration, 300),
}
"""`-tuned` knows stable's failure rate and allows one point more; the others do not look at it."""
