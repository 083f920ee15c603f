"""Draw the state machine from its table.

`python docs/state_machine.py > docs/design/state-machine.md` renews the page.

A test keeps the page equal to the table, so the picture cannot lie.
"""

from __future__ import annotations

from headgate.core.rollout import RULES

_HEAD = """# Life of a revision

Drawn from `RULES` in `operator/headgate/core/rollout.py` by `docs/state_machine.py`; the first row
that holds wins. Nothing else may change a phase or a weight.

```mermaid
stateDiagram-v2
    [*] --> Pending
"""


def render() -> str:
    """Return the page: a diagram, and the table it is drawn from."""
    arrows = dict.fromkeys(
        f"    {phase.value} --> {to.value}: {rule.event}"
        for rule in RULES
        for phase in sorted(rule.phases)
        for to in rule.to
        if phase is not to or len(rule.to) == 1
    )
    rows = [
        f"| {number} | {rule.event} | {', '.join(sorted(p.value for p in rule.phases))} "
        f"| {' or '.join(p.value for p in rule.to)} "
        f"| {rule.finishes.value if rule.finishes else ''} |"
        for number, rule in enumerate(RULES, start=1)
    ]
    table = ["| # | when | in | to | ends the rollout as |", "|---|---|---|---|---|", *rows]
    return _HEAD + "\n".join(arrows) + "\n```\n\n" + "\n".join(table) + "\n"


if __name__ == "__main__":
    print(render(), end="")
