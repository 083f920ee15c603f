"""How a world is shown."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.status import PartStatus, parse_status, render_duration, render_table
from sandbox.supervisor import Phase, State


def state_file(phase: Phase, *states: State) -> dict[str, Any]:
    """Return what a supervisor writes."""
    return {
        "supervisor": 7,
        "phase": phase,
        "error": "",
        "parts": [
            {
                "name": f"part-{number}",
                "state": state,
                "pid": 100 + number,
                "since": 0.0,
                "restarts": 0,
                "address": "",
                "log": "/log",
            }
            for number, state in enumerate(states)
        ],
    }


@pytest.mark.parametrize(
    ("states", "is_healthy"),
    [
        pytest.param((State.READY, State.READY), True, id="all parts are ready"),
        pytest.param((State.READY, State.DEAD), False, id="one part has died"),
        pytest.param((State.READY, State.BACKING_OFF), False, id="one part is to be restarted"),
    ],
)
def test_a_world_is_as_healthy_as_its_worst_part(
    states: tuple[State, ...], *, is_healthy: bool
) -> None:
    """`status` ends with 1 as soon as a single part is not ready."""
    status = parse_status(state_file(Phase.READY, *states), is_running=True)

    assert status.is_healthy is is_healthy


def test_a_killed_supervisor_does_not_leave_a_ready_world_behind() -> None:
    """It could not take back what it wrote; that nobody holds its lock says more."""
    status = parse_status(state_file(Phase.READY, State.READY), is_running=False)

    assert (status.phase, status.supervisor) == (Phase.STOPPED, None)
    assert [(part.state, part.pid) for part in status.parts] == [(State.STOPPED, None)]


def test_a_failed_start_stays_visible() -> None:
    """After the supervisor gave up, one can still see which part it was."""
    status = parse_status(state_file(Phase.FAILED, State.STOPPED, State.FAILED), is_running=False)

    assert status.phase is Phase.FAILED
    assert [part.state for part in status.parts] == [State.STOPPED, State.FAILED]


def test_the_table_shows_a_line_for_each_part() -> None:
    """Columns line up; what does not exist is a dash."""
    part = PartStatus("kserve", State.DEAD, None, 40.0, 2, "", "/l")

    assert render_table([part], now=100.0).splitlines() == [
        "PART    PID  STATE  FOR  RESTARTS  ADDRESS  LOG",
        "kserve  -    dead   60s  2         -        /l",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1.0, "0s"), (119.9, "119s"), (120.0, "2m"), (7200.0, "2h"), (200_000.0, "2d")],
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    """Written as kubectl writes ages; a clock that went back shows no negative time."""
    assert render_duration(seconds) == shown
