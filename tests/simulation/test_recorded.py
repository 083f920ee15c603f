"""Recorded traffic: what is read, what is refused and how, and what it stands for when replayed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.counters import BAD, ERRORS, GOOD, LATENCY, Arm, Point, Series
from headgate.simulation.draws import Streams
from headgate.simulation.ranges import Chosen, read_prometheus, write_prometheus
from headgate.simulation.recorded import Unreadable, read_csv, write_csv
from headgate.simulation.replays import Replay, Split, base_rate, has_canary
from headgate.simulation.traffic import Gateway, Latency, Traffic

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def streams(seed: int = 0) -> Streams:
    """Chance from a seed."""
    return lambda name: Random(f"{seed}/{name}")


def at(seconds: float) -> datetime:
    """So many seconds after the beginning."""
    return T0 + timedelta(seconds=seconds)


def counter(arm: Arm, outcome: str, *values: float, signal: str = ERRORS) -> Series:
    """A counter scraped every ten seconds."""
    points = tuple(Point(at(10 * n), value) for n, value in enumerate(values))
    return Series(signal, arm, "", outcome, outcome, points)


def told(series: Sequence[Series]) -> set[tuple[str, Arm, str, str, tuple[Point, ...]]]:
    """Everything of series but the keys, which a format may choose."""
    return {(one.signal, one.arm, one.instance, one.outcome, one.points) for one in series}


# --- CSV -----------------------------------------------------------------------------------------


def test_counts_since_the_row_before_become_counters() -> None:
    """Claim: counts add up, and the first row covers as long as the second."""
    text = "time,arm,good,bad\n10,stable,90,10\n20,stable,80,0\n"
    found = read_csv(text, "counts.csv")

    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    times = [epoch + timedelta(seconds=s) for s in (0, 10, 20)]
    assert {one.outcome: [p.value for p in one.points] for one in found} == {
        GOOD: [0, 90, 170],
        BAD: [0, 10, 10],
    }
    assert [p.at for p in found[0].points] == times


def test_counters_are_taken_as_they_are() -> None:
    """Claim: columns that end in _total are counters, and a blank line is nothing."""
    text = "time,arm,good_total,bad_total\n2026-01-01T00:00:00Z,canary,5,1\n\n"
    found = read_csv(text, "counters.csv")

    assert told(found) == {
        (ERRORS, Arm.CANARY, "", GOOD, (Point(T0, 5),)),
        (ERRORS, Arm.CANARY, "", BAD, (Point(T0, 1),)),
    }


def test_any_signal_may_be_one_a_row() -> None:
    """Claim: the long form has histograms and other signals, instance by instance."""
    text = (
        "time,arm,instance,signal,outcome,total\n"
        "2026-01-01T00:00:00,stable,a,latency,0.250,7\n"
        "2026-01-01T00:00:00+00:00,stable,a,latency,+Inf,9\n"
        "2026-01-01 00:00:00Z,stable,b,signal/refusals,bad,2\n"
    )

    assert told(read_csv(text, "long.csv")) == {
        (LATENCY, Arm.STABLE, "a", "0.25", (Point(T0, 7),)),
        (LATENCY, Arm.STABLE, "a", "+Inf", (Point(T0, 9),)),
        ("signal/refusals", Arm.STABLE, "b", BAD, (Point(T0, 2),)),
    }


HEAD = "time,arm,good,bad\n"
LONG = "time,arm,signal,outcome,total\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "t.csv:1: wanted columns time, arm and ", id="nothing at all"),
        pytest.param("time,arm\n1,stable\n", "t.csv:1: wanted columns", id="no numbers"),
        pytest.param("time,arm,good,bad,ugly\n", "t.csv:1: wanted no column but", id="unknown"),
        pytest.param("time,time,arm,good,bad\n", "each once, found time,time", id="twice"),
        pytest.param(HEAD, "t.csv: wanted at least one row", id="no row"),
        pytest.param(HEAD + "1,stable,2\n", "t.csv:2: wanted 4 cells, found 3", id="short row"),
        pytest.param(HEAD + "1,blue,2,0\n", "arm: wanted stable or canary, found blue", id="arm"),
        pytest.param(HEAD + "noon,stable,2,0\n", "t.csv:2: time: wanted seconds, or", id="time"),
        pytest.param(HEAD + "1e99,stable,2,0\n", "t.csv:2: time: wanted a time", id="far future"),
        pytest.param(HEAD + "nan,stable,2,0\n", "t.csv:2: time: wanted a time", id="no time"),
        pytest.param(
            HEAD + "1,stable,2,0\n1,stable,3,0\n", "t.csv:3: time: wanted a later", id="not later"
        ),
        pytest.param(
            HEAD + "1,stable,2.5,0\n",
            "t.csv:2: good: wanted a whole number >= 0, found 2.5",
            id="half a request",
        ),
        pytest.param(HEAD + "1,stable,2,-1\n", "t.csv:2: bad: wanted a whole", id="negative"),
        pytest.param(HEAD + "1,stable,inf,1\n", "t.csv:2: good: wanted a whole", id="infinite"),
        pytest.param(
            HEAD + "1,stable,,1\n", "good: wanted a whole number >= 0, found nothing", id="empty"
        ),
        pytest.param(HEAD + '1,"stable,2,0\n', "t.csv:2: wanted CSV", id="open quote"),
        pytest.param(LONG + "1,stable,errors,ok,1\n", "outcome: wanted good or bad", id="outcome"),
        pytest.param(LONG + "1,stable,,bad,1\n", "signal: wanted a signal", id="no signal"),
        pytest.param(LONG + "1,stable,latency,fast,1\n", "outcome: wanted a bucket's", id="bound"),
        pytest.param(
            HEAD + "1,\x1b[31m,2,0\n", r"found \x1b[31m", id="nothing reaches the terminal raw"
        ),
    ],
)
def test_wrong_csv_is_refused_with_its_place(text: str, said: str) -> None:
    """Claim: the line, the column, what was wanted and what was found, in one line."""
    with pytest.raises(Unreadable) as refused:
        read_csv(text, "t.csv")

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


# --- Prometheus ----------------------------------------------------------------------------------


def matrix(*entries: tuple[dict[str, str], list[list[Any]]]) -> str:
    """The answer to a range query."""
    result = [{"metric": metric, "values": values} for metric, values in entries]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


ONE = [[T0.timestamp(), "7"]]
ENVOY = {
    Arm.STABLE: Chosen("envoy_cluster_name", "httproute/m/fraud/rule/0/backend/0"),
    Arm.CANARY: Chosen("envoy_cluster_name", "httproute/m/fraud/rule/0/backend/1"),
}


def test_envoys_classes_and_milliseconds_are_understood() -> None:
    """Claim: class 5 is bad, class 1 is no request, other routes are left out, and Envoy's
    histogram is in milliseconds."""
    canary = {"envoy_cluster_name": ENVOY[Arm.CANARY].value, "pod": "envoy-1"}
    classes = "envoy_response_code_class"
    text = matrix(
        ({**canary, classes: "2"}, ONE),
        ({**canary, classes: "5"}, ONE),
        ({**canary, classes: "1"}, ONE),
        ({**canary, "le": "250", "__name__": "envoy_cluster_upstream_rq_time_bucket"}, ONE),
        ({**canary, "le": "+Inf", "__name__": "envoy_cluster_upstream_rq_time_bucket"}, ONE),
        ({"envoy_cluster_name": "another", classes: "5"}, ONE),
    )

    assert {(s.signal, s.arm, s.outcome) for s in read_prometheus(text, "t.json", ENVOY)} == {
        (ERRORS, Arm.CANARY, GOOD),
        (ERRORS, Arm.CANARY, BAD),
        (LATENCY, Arm.CANARY, "0.25"),
        (LATENCY, Arm.CANARY, "+Inf"),
    }


def test_an_arm_may_be_the_beginning_of_a_label() -> None:
    """Claim: pods of a Deployment are chosen by their common beginning; they are instances."""
    text = matrix(
        ({"pod": "fraud-1a2b-x", "response_code": "200"}, ONE),
        ({"pod": "fraud-1a2b-y", "response_code": "503"}, ONE),
        ({"pod": "other", "response_code": "503"}, ONE),
    )
    found = read_prometheus(text, "t.json", {Arm.STABLE: Chosen("pod", "fraud-1a2b-*")})

    assert {(one.instance, one.outcome) for one in found} == {
        ("fraud-1a2b-x", GOOD),
        ("fraud-1a2b-y", BAD),
    }


def test_the_data_or_the_list_of_series_will_do() -> None:
    """Claim: what a tool cut off the envelope is read all the same; NaN ends a series."""
    text = matrix(({"arm": "stable", "code": "200"}, [*ONE, [T0.timestamp() + 1, "NaN"]]))
    inner = json.loads(text)["data"]
    forms = (text, json.dumps(inner), json.dumps(inner["result"]))

    assert {tuple(read_prometheus(form, "t.json")[0].points) for form in forms} == {(Point(T0, 7),)}


STABLE = {"arm": "stable", "code": "200"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{\n\n!", "t.json:3: wanted JSON", id="not JSON"),
        pytest.param("[" * 100_000, "t.json: wanted JSON, found too many levels", id="too deep"),
        pytest.param('{"status": "error"}', "status: wanted success, found error", id="an error"),
        pytest.param("3", "wanted the JSON of /api/v1/query_range, found 3", id="a number"),
        pytest.param('{"resultType": "vector", "result": []}', "wanted matrix", id="a vector"),
        pytest.param("[3]", "t.json: result[0]: wanted metric and values", id="no series"),
        pytest.param("[]", "found none of no series", id="empty"),
        pytest.param(
            matrix(({"job": "a", "code": "200"}, ONE)),
            'wanted series with arm="stable" or arm="canary", found none of code, job',
            id="other labels",
        ),
        pytest.param(matrix(({"arm": "stable"}, ONE)), "wanted a label outcome, le", id="no code"),
        pytest.param(matrix(({**STABLE, "code": "OK"}, ONE)), "a code such as 503", id="a word"),
        pytest.param(
            matrix(({"arm": "stable", "le": "1", "__name__": "size"}, ONE)),
            "seconds or milliseconds in the histogram's name, found size",
            id="no unit",
        ),
        pytest.param(
            matrix(({"arm": "stable", "le": "x", "__name__": "a_seconds_bucket"}, ONE)),
            "le: wanted a bucket's upper bound, found x",
            id="no bound",
        ),
        pytest.param(
            matrix((STABLE, [[0, "1"], [0, "2"]])), "values[1]: wanted a later time", id="twice"
        ),
        pytest.param(matrix((STABLE, [[0, 1]])), "values[0]: wanted [seconds,", id="not text"),
        pytest.param(matrix((STABLE, [[0, "-1"]])), "wanted a counter, a number >= 0", id="less"),
        pytest.param(matrix((STABLE, [[0, "x"]])), "wanted a counter, a number", id="no number"),
        pytest.param(matrix((STABLE, ONE), (STABLE, ONE)), "wanted each series once", id="doubled"),
        pytest.param('[{"metric": {"a": 1}, "values": []}]', "metric.a: wanted text", id="label"),
    ],
)
def test_wrong_exports_are_refused_with_their_place(text: str, said: str) -> None:
    """Claim: the series and the sample, what was wanted and what was found, in one line."""
    with pytest.raises(Unreadable) as refused:
        read_prometheus(text, "t.json")

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


# --- round trips ---------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    values=st.lists(st.integers(0, 10**9), min_size=1, max_size=6),
    arm=st.sampled_from(list(Arm)),
    signal=st.sampled_from([ERRORS, "signal/refusals"]),
    instance=st.text("abc-/10.:", max_size=8),
)
def test_what_is_written_is_read_again(
    values: list[int], arm: Arm, signal: str, instance: str
) -> None:
    """Law: both formats give back signal, arm, instance, outcome, times and values."""
    points = tuple(Point(at(7 * n), value) for n, value in enumerate(values))
    series = [Series(signal, arm, instance, BAD, BAD, points)]

    assert told(read_csv(write_csv(series), "t.csv")) == told(series)
    assert told(read_prometheus(write_prometheus(series), "t.json")) == told(series)


# --- sources -------------------------------------------------------------------------------------


def recorded(traffic: Traffic, weight: int, seconds: int) -> Sequence[Series]:
    """All that a simulated gateway showed."""
    gateway = Gateway(traffic, streams())
    gateway.advance(0, 0)
    gateway.advance(seconds, weight)
    return gateway.read(at(-3600), at(seconds))


def test_a_replay_gives_what_was_recorded() -> None:
    """Claim: second 0 is the canary's first sample, weights change nothing, and the counts are
    those of the original."""
    traffic = Traffic(50, 0.05, latency=Latency())
    replay = Replay(recorded(traffic, 10, 120))
    original = Gateway(traffic, streams())
    original.advance(0, 0)
    replay.advance(0, 0)
    windows = replay.advance(120, 99)

    assert (replay.start, replay.first_second) == (T0, -600)
    assert windows == original.advance(120, 10)
    assert told(replay.read(at(50), at(60))) == told(original.read(at(50), at(60)))


def test_a_replay_is_over_when_the_recording_is() -> None:
    """Claim: None, and not silence, is what comes after the last sample."""
    replay = Replay(recorded(Traffic(50, 0.05), 10, 60))
    replay.advance(0, 0)

    assert replay.advance(60, 10)
    assert replay.advance(70, 10) is None


def test_a_recording_without_a_canary_cannot_be_replayed() -> None:
    """Claim: it says what is missing; such a recording is split instead."""
    series = [counter(Arm.STABLE, GOOD, 0, 10)]

    assert not has_canary(series)
    with pytest.raises(Unreadable, match="wanted a canary, found stable only"):
        Replay(series, "t.csv")


def test_a_split_invents_no_request() -> None:
    """Claim: both arms together answered exactly what was recorded, and failed it, bucket by
    bucket; the canary got its share."""
    traffic = Traffic(100, 0.05, latency=Latency())
    wholes = {w.second: w.stable for w in Gateway(traffic, streams()).advance(1800, 0)}
    stable = [one for one in recorded(traffic, 0, 1800) if one.arm is Arm.STABLE]
    split = Split(stable, streams())
    parts = [w for s in range(0, 1801, 10) for w in split.advance(s, 25) or ()]

    assert split.first_second == -600
    for part in parts:
        both, whole = part.canary.plus(part.stable), wholes[part.second]
        assert (both.requests, both.bad, both.buckets) == (
            whole.requests,
            whole.bad,
            whole.buckets,
        )
    canary, of_all = (
        sum(w.canary.requests for w in parts if w.second > 0),
        sum(w.canary.requests + w.stable.requests for w in parts if w.second > 0),
    )
    assert canary / of_all == pytest.approx(0.25, abs=0.01)


def test_a_split_canary_fails_what_it_is_told_to() -> None:
    """Claim: harm fails its share of the good requests of the canary, from its onset on."""
    stable = [one for one in recorded(Traffic(100, 0.0), 0, 600) if one.arm is Arm.STABLE]
    split = Split(stable, streams(), harm=0.2, onset=300.0)
    windows = [w for s in range(0, 1200, 10) for w in split.advance(s, 50) or ()]
    after = [w.canary for w in windows if w.second > 300]

    assert {w.canary.bad for w in windows if w.second <= 300} == {0}
    assert sum(c.bad for c in after) / sum(c.requests for c in after) == pytest.approx(
        0.2, abs=0.01
    )
    assert {w.stable.bad for w in windows} == {0}


def test_the_base_rate_is_stables() -> None:
    """Claim: of all that stable answered; 0 of a recording without it."""
    stable = [counter(Arm.STABLE, GOOD, 5, 85, 95), counter(Arm.STABLE, BAD, 0, 10, 10)]

    assert base_rate(stable) == pytest.approx(0.1)
    assert base_rate([counter(Arm.CANARY, GOOD, 1)]) == 0.0
