"""Metric packs: what we ship can be read, and names what Envoy counts."""

from __future__ import annotations

from importlib.resources import files

import pytest

from headgate.adapters.packs import load_pack

NAMES = [
    entry.name.removesuffix(".yaml")
    for entry in files("headgate.adapters.packs").iterdir()
    if entry.name.endswith(".yaml")
]


@pytest.mark.parametrize("name", NAMES)
def test_every_pack_that_we_ship_is_whole(name: str) -> None:
    """A shipped pack is read under its own name, and knows good, bad and an instance."""
    pack = load_pack(name)
    assert pack.name == name
    assert set(pack.errors.outcomes.values()) == {"good", "bad"}
    assert pack.instance


def test_an_arm_is_named_as_the_gateway_names_it() -> None:
    """Envoy Gateway names a backend's cluster by route and list position."""
    pack = load_pack("envoy-gateway")
    assert pack.arm.of("models", "fraud", 1) == "httproute/models/fraud/rule/0/backend/1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("250", "0.25", id="whole"),
        pytest.param("250.0", "0.25", id="as Prometheus 3 writes it"),
        pytest.param("0.5", "0.0005", id="below one"),
        pytest.param("1000", "1", id="one second"),
        pytest.param("3.6e+06", "3600", id="with an exponent"),
        pytest.param("+Inf", "+Inf", id="the last one"),
    ],
)
def test_a_bound_is_told_in_seconds(text: str, expected: str) -> None:
    """One bound has one text, however the source writes it."""
    assert load_pack("envoy-gateway").latency.outcome(text) == expected


@pytest.mark.parametrize("text", ["", "x", "NaN", "-5", "-Inf"])
def test_a_bound_that_is_none(text: str) -> None:
    """What is no upper bound is an error, not a bucket."""
    with pytest.raises(ValueError, match="not a bucket's upper bound"):
        load_pack("envoy-gateway").latency.outcome(text)


@pytest.mark.parametrize("name", ["nowhere", "../packs/envoy-gateway", ""])
def test_an_unknown_pack(name: str) -> None:
    """The error says which packs there are; a name is never a path."""
    with pytest.raises(ValueError, match=r"there are: .*envoy-gateway"):
        load_pack(name)
