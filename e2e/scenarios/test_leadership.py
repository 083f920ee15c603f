"""Two operators, one of which works: when it dies in mid-canary the other one goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from scenarios.cluster import Bare, Operator
from scenarios.release import ALL_STEPS, Release, dropped_by_gateway

pytestmark = pytest.mark.sandbox

RATE = 30.0
HAND_OVER_SECONDS = 60.0
"""Patience with a hand-over on a busy machine; how long it took is told, not asserted."""


def test_standby_goes_on_when_the_leader_is_killed(bare: Bare) -> None:
    """kill -9 at 10 %: another process continues the same record, and nothing is done twice.

    Then the new one is asked to stop, and a third one follows without waiting for any Lease.
    """
    elect = ("--leader-elect", "--lease-namespace", "headgate-system")
    cluster = bare.cluster
    with bare.installed("two-replicas") as headgate, Release(cluster, "led") as fraud:
        leader, standby = headgate.start(*elect), headgate.start(*elect)
        _await_leader(bare, [leader])
        fraud.serve("1", RATE)
        since = fraud.commit("2")
        fraud.wait_canary("2")
        begun = fraud.records[-1]

        leader.kill()
        killed = _await_leader(bare, [standby])
        record = fraud.wait_end("2")

        users = fraud.counts(since)
        assert record["status"]["outcome"] == "Promoted", record["status"]["message"]
        assert record["metadata"]["uid"] == begun["metadata"]["uid"]
        assert [step["reason"] for step in record["status"]["steps"]] == ALL_STEPS
        # Who is killed between a status and its Event never tells it; nobody tells one twice.
        told = [event["reason"] for event in fraud.events("version 2")]
        assert sorted(told) == sorted(set(told) & set(ALL_STEPS))
        assert fraud.outcomes == [("1", "Promoted"), ("2", "Promoted")]
        assert users.failures == dropped_by_gateway(users), users

        third = headgate.start(*elect)
        assert not third.leads()
        took = standby.stop()
        stopped = _await_leader(bare, [third])
        cluster.tell(
            f"led: the standby led {killed:.1f} s after kill -9 (a Lease lasts 15 s), and "
            f"{stopped:.1f} s after the end of one that was asked to stop (which took {took:.1f} s)"
        )
        fraud.commit("4")
        assert fraud.wait_end("4")["status"]["outcome"] == "Promoted"


def _await_leader(bare: Bare, operators: Sequence[Operator]) -> float:
    """Wait until one of them leads; returns how many seconds that took."""
    began = time.monotonic()
    bare.cluster.wait(
        "a leader", lambda: any(each.leads() for each in operators), HAND_OVER_SECONDS
    )
    return time.monotonic() - began
