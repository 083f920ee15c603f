"""
All parts of the world, in the order in which they are shown and stopped backwards.

A new part is a line in `ALL`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sandbox import cluster, collector, dataplane, gitsync, headgate, kserve, prometheus
from sandbox.builds import Recipe
from sandbox.part import Part

ALL: tuple[Part, ...] = (
    cluster.PART,
    kserve.PART,
    dataplane.GATEWAY_PART,
    dataplane.NODE_PART,
    prometheus.PART,
    gitsync.PART,
    headgate.PART,
    collector.PART,
)


OF_HEADGATE = (collector.PART.name,)
"""What is of the same wheel and the same CRDs as the operator, and goes where it goes."""


def select(without: Collection[str], parts: Sequence[Part] = ALL) -> list[Part]:
    """
    Return the parts that are not left out; without the operator there is no collector either.

    Raises:
        ValueError: A name in `without` is no part's; the message lists the names.
    """
    names = [part.name for part in parts]
    for name in without:
        if name not in names:
            raise ValueError(f"there is no part {name!r}; the parts are {', '.join(names)}")
    left_out = {*without, *(OF_HEADGATE if headgate.PART.name in without else ())}
    return [part for part in parts if part.name not in left_out]


def recipes(parts: Sequence[Part]) -> list[Recipe]:
    """Return what the parts are built from, each once."""
    found = {recipe.name: recipe for part in parts for recipe in part.recipes}
    return list(found.values())
