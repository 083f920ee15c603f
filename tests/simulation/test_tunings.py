"""The peers' rules as a user names them."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from tests.simulation.exactly import BROKEN, HEALTHY, first_verdict

from headgate.simulation import peers
from headgate.simulation.peers import Minute, Verdict
from headgate.simulation.peers.argo import Argo
from headgate.simulation.peers.flagger import Flagger
from headgate.simulation.peers.tunings import RULES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", RULES)
def test_every_named_rule_tells_good_from_bad(name: str) -> None:
    """Claim: without a failure it promotes after its duration; half failing, it rolls back."""
    rule = RULES[name](0.01, 10, 1800)

    assert rule.start().weight == 10
    assert first_verdict(rule, lambda _: HEALTHY, rule.interval_seconds) == (
        1800,
        Verdict.PROMOTED,
    )
    assert first_verdict(rule, lambda _: BROKEN, rule.interval_seconds)[1] is Verdict.ROLLED_BACK


@pytest.mark.parametrize(
    ("base", "bad", "passes"),
    [
        pytest.param(0.01, 20, True, id="base 1 %, one point more"),
        pytest.param(0.01, 21, False, id="base 1 %, more than a point more"),
        pytest.param(0.001, 11, True, id="base 0.1 %, one point more"),
        pytest.param(0.001, 12, False, id="base 0.1 %, more than a point more"),
    ],
)
def test_tuned_rules_allow_one_point_above_the_base(base: float, bad: int, passes: bool) -> None:
    """Claim: the limit is exact, although neither 98.9 nor 0.989 is a binary fraction."""
    window = Minute(1000, bad, 9000, 9)
    argo = Argo.tuned(base, 10, 1800).metrics[0]

    assert Flagger.tuned(base, 10, 1800).passes(window) is passes
    assert (argo.judge(window.canary_success_ratio()) == "Successful") is passes


def test_every_named_rule_is_documented() -> None:
    """Claim: docs/peers.md says for each name which settings it stands for."""
    page = (ROOT / "docs" / "peers.md").read_text()

    assert [name for name in RULES if f"| `{name}` |" not in page] == []


def test_rules_need_the_standard_library_only() -> None:
    """Claim: a peer's rule is arithmetic; it imports nothing that could do more."""
    allowed = {*sys.stdlib_module_names, "headgate"} - {"asyncio", "logging", "random", "time"}
    found = {
        name.split(".")[0]
        for path in Path(peers.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _imported(node)
    }

    assert found <= allowed


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
    return []
