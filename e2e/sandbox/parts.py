"""
All parts of the world, in the order in which they are shown and stopped backwards.

A new part is a line in `ALL`; one that a world has only when it is asked for, in `OPTIONS`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sandbox import (
    argocd,
    cluster,
    collector,
    dataplane,
    flux,
    githttp,
    gitsync,
    headgate,
    kserve,
    prometheus,
)
from sandbox.builds import Recipe
from sandbox.part import Option, Part
from sandbox.world import PORTS

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


OPTIONS: tuple[Option, ...] = (githttp.OPTION, argocd.OPTION, flux.OPTION)
"""What `--with` can ask for."""

OF_HEADGATE = (collector.PART.name,)
"""What is of the same wheel and the same CRDs as the operator, and goes where it goes."""


def select(
    without: Collection[str],
    added: Collection[str] = (),
    parts: Sequence[Part] = ALL,
    options: Sequence[Option] = OPTIONS,
) -> list[Part]:
    """
    Return the parts that run: those that are not left out, and those of the options in `added`.

    Without the operator there is no collector either; what an option stands in for is left out.

    Raises:
        ValueError: A name in `without` is no part's, or one in `added` no option's; the message
            lists the names.
    """
    chosen = _chosen(added, options)
    more = {part.name: part for option in chosen for part in option.parts}
    candidates = [*parts, *more.values()]
    names = [part.name for part in candidates]
    for name in without:
        if name not in names:
            raise ValueError(f"there is no part {name!r}; the parts are {', '.join(names)}")
    left_out = {*without, *(OF_HEADGATE if headgate.PART.name in without else ())}
    left_out |= {name for option in chosen for name in option.instead_of}
    return [part for part in candidates if part.name not in left_out]


def ports(added: Collection[str], options: Sequence[Option] = OPTIONS) -> list[str]:
    """
    Return the names of all ports of a world with the options in `added`, each once.

    Raises:
        ValueError: A name in `added` is no option's; the message lists the names.
    """
    more = (port for option in _chosen(added, options) for port in option.ports)
    return list(dict.fromkeys([*PORTS, *more]))


def _chosen(added: Collection[str], options: Sequence[Option]) -> list[Option]:
    names = [option.name for option in options]
    for name in added:
        if name not in names:
            known = ", ".join(names) or "none"
            raise ValueError(f"there is no option {name!r}; the options are {known}")
    return [option for option in options if option.name in added]


def recipes(parts: Sequence[Part]) -> list[Recipe]:
    """Return what the parts are built from, each once."""
    found = {recipe.name: recipe for part in parts for recipe in part.recipes}
    return list(found.values())
