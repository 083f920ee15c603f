"""The load client: what it may be pointed at, what it sends, and what it counts."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import math
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from sandbox import fraud, load
from sandbox.counts import (
    EDGE_RATIO,
    FIRST_EDGE_SECONDS,
    Counts,
    Interval,
    bucket,
    parse_line,
    read_report,
    render_line,
    total,
)
from sandbox.load import Client, Load, LoadFailedError, Plan, arrivals, judge
from sandbox.paths import SOURCES

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def plan(url: str, rate: float = 200, duration: float = 1.0) -> Plan:
    """Make a plan for the fraud model."""
    return Plan(url, "fraud.example.com", "fraud", rate, duration)


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """Serve the predict method of the fraud model on a free port and give the URL."""
    app = web.Application()
    app.router.add_post("/v1/models/fraud:predict", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await runner.cleanup()


async def counted(of: Plan, timeout_seconds: float = 60.0) -> Counts:
    """Run a client to the end of its plan and give what it reported."""
    report = io.StringIO()
    limit = aiohttp.ClientTimeout(total=timeout_seconds)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=limit, connector=connector) as session:
        await Client(of, session, report).run()
    return total(parse_line(line) for line in report.getvalue().splitlines())


async def until(holds: Callable[[], bool]) -> None:
    """Wait for another process; fail after a minute."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nobody in this process could set an event
            await asyncio.sleep(0.05)


async def good(_: web.Request) -> web.Response:
    """Answer as a model does."""
    return web.json_response({"predictions": [0]})


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://10.0.0.1:80", id="an address of another machine"),
        pytest.param("http://fraud.example.com", id="a name"),
        pytest.param("http://localhost:80", id="a name that a hosts file may point anywhere"),
        pytest.param("https://127.0.0.1:80", id="another scheme"),
        pytest.param("http://127.0.0.1.example.com:80", id="a name that looks like an address"),
    ],
)
def test_it_refuses_to_send_to_other_machines(url: str) -> None:
    """A plan for anything but a loopback address is refused, naming the field and the value."""
    with pytest.raises(ValueError, match=r"url: wanted http://127\.0\.0\.1:PORT, found") as refusal:
        plan(url)

    assert url in str(refusal.value)


@pytest.mark.parametrize(
    ("rate", "duration", "message"),
    [
        pytest.param(0, 1, "rate: wanted more than 0", id="no rate"),
        pytest.param(1001, 1, "rate: .* at most 1000, found 1001", id="a rate without bounds"),
        pytest.param(math.nan, 1, "rate: .* found nan", id="a rate that is no number"),
        pytest.param(1, math.inf, "duration: .* found inf", id="a run without end"),
    ],
)
def test_it_refuses_what_has_no_bounds(rate: float, duration: float, message: str) -> None:
    """Rate and duration are bounded, so that no forgotten client runs for ever."""
    with pytest.raises(ValueError, match=message):
        plan("http://127.0.0.1:80", rate, duration)


def test_users_arrive_at_random() -> None:
    """Gaps are exponential: mean 1/rate and as large a deviation, within four standard errors."""
    count, rate = 20_000, 50.0

    moments = list(itertools.islice(arrivals(rate, Random("a seed")), count))

    gaps = [later - earlier for earlier, later in itertools.pairwise([0.0, *moments])]
    assert fmean(gaps) == pytest.approx(1 / rate, rel=4 / math.sqrt(count))
    assert pstdev(gaps) == pytest.approx(1 / rate, rel=4 * math.sqrt(2 / count))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(200, b'{"predictions": [1]}', None, id="one prediction is what was asked for"),
        pytest.param(500, b'{"error": "ValueError"}', "http-500", id="an error status"),
        pytest.param(204, b"", "http-204", id="success without an answer"),
        pytest.param(302, b"", "http-302", id="a redirection is no prediction"),
        pytest.param(200, b'{"predictions": []}', "no-prediction", id="no prediction"),
        pytest.param(200, b'{"predictions": 1}', "no-prediction", id="not a list"),
        pytest.param(200, b"[1]", "no-prediction", id="another document"),
        pytest.param(200, b'{"predi', "no-prediction", id="half a document"),
        pytest.param(200, b"\xff\xfe", "no-prediction", id="no text at all"),
    ],
)
def test_only_a_prediction_is_a_success(status: int, body: bytes, kind: str | None) -> None:
    """A user is content with one prediction; every other answer has the name of its kind."""
    assert judge(status, body) == kind


async def test_it_counts_what_the_server_did() -> None:
    """Every answer of the server, good or bad, is in the client's counts, and nothing else."""
    seen = {"asked": 0, "failed": 0}

    async def answer(request: web.Request) -> web.Response:
        assert request.host == "fraud.example.com"
        [row] = (await request.json())["instances"]
        assert len(row) == len(fraud.FEATURES)
        seen["asked"] += 1
        if None in row:
            seen["failed"] += 1
            return web.json_response({"error": "Input X contains NaN."}, status=500)
        return await good(request)

    async with serving(answer) as url:
        counts = await counted(plan(url, rate=300))

    assert counts.ended == counts.sent == seen["asked"] > 200
    assert counts.failed == {"http-500": seen["failed"]}
    assert seen["failed"] > 0
    assert sum(counts.latency.values()) == seen["asked"] - seen["failed"]


async def test_the_same_seed_sends_the_same_transactions() -> None:
    """A run can be repeated: rows and their order come from the seed alone."""

    async def rows_of_a_run() -> list[list[float | None]]:
        rows: list[list[float | None]] = []

        async def answer(request: web.Request) -> web.Response:
            rows.extend((await request.json())["instances"])
            return await good(request)

        async with serving(answer) as url:
            await counted(plan(url, rate=50))
        return rows

    assert sorted(map(str, await rows_of_a_run())) == sorted(map(str, await rows_of_a_run()))


async def _hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _hang_up_half_way(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-length": "100"})
    await response.prepare(request)
    await response.write(b'{"predi')
    assert request.transport is not None
    request.transport.close()
    return response


async def _never_answer(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "patience", "kind"),
    [
        pytest.param(_hang_up, 60, "reset", id="a connection that is cut"),
        pytest.param(_hang_up_half_way, 60, "reset", id="an answer that is cut"),
        pytest.param(_never_answer, 0.2, "timeout", id="no answer in time"),
    ],
)
async def test_each_way_to_fail_has_its_name(answer: Answer, patience: float, kind: str) -> None:
    """Users who got no answer at all are told apart by what they saw."""
    async with serving(answer) as url:
        counts = await counted(plan(url, rate=30, duration=0.5), timeout_seconds=patience)

    assert counts.failed == {kind: counts.sent}
    assert counts.sent > 0
    assert counts.failed_ratio == 1.0


async def test_a_gateway_that_is_not_there_refuses() -> None:
    """With nobody listening every request is counted as refused; none is lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    counts = await counted(plan(f"http://127.0.0.1:{port}", rate=30, duration=0.5))

    assert counts.failed == {"refused": counts.sent}
    assert counts.sent > 0


async def test_it_tells_which_revision_answered_where_the_gateway_says_so() -> None:
    """Requests and failures are split by the revision header, if there is one."""
    turns = itertools.cycle(["9c1d", "41aa", None])

    async def answer(_: web.Request) -> web.Response:
        revision = next(turns)
        headers = {} if revision is None else {load.REVISION_HEADER: revision}
        status = 500 if revision == "41aa" else 200
        return web.json_response({"predictions": [0]}, status=status, headers=headers)

    async with serving(answer) as url:
        counts = await counted(plan(url, rate=200))

    third = counts.ended / 3
    assert counts.ended_by == {
        "9c1d": pytest.approx(third, abs=1),
        "41aa": pytest.approx(third, abs=1),
    }
    assert counts.failed_by == {"41aa": counts.ended_by["41aa"]}


async def test_a_slow_server_meets_as_many_requests_as_a_quick_one() -> None:
    """The load is open: requests are sent when due although none has been answered yet."""
    of = plan("http://127.0.0.1:1", rate=100, duration=1)
    due = _due(of)

    counts = await _counted_while_none_is_answered(of, lambda counts: counts.sent == due)

    assert counts.sent == due
    assert counts.failures == 0


async def test_requests_that_could_not_be_sent_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many under way a due request is counted as skipped, never left out in silence."""
    monkeypatch.setattr(load, "MAX_UNDER_WAY", 20)
    of = plan("http://127.0.0.1:1", rate=200, duration=1)
    due = _due(of)

    counts = await _counted_while_none_is_answered(
        of, lambda counts: counts.sent + counts.skipped == due
    )

    assert counts.sent + counts.skipped == due
    assert counts.sent == load.MAX_UNDER_WAY
    assert "the client itself" in str(counts)


def _due(of: Plan) -> int:
    """How many requests a plan with seed 0 has."""
    moments = arrivals(of.rate, Random("arrivals/0"))
    return sum(1 for _ in itertools.takewhile(lambda at: at <= of.duration_seconds, moments))


async def _counted_while_none_is_answered(of: Plan, ready: Callable[[Counts], bool]) -> Counts:
    """Count a client whose server answers nothing until the report so far is as awaited.

    However slow the machine is, no request ends before.
    """
    report, answers = io.StringIO(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await answers.wait()
        return await good(request)

    def counts() -> Counts:
        return total(parse_line(line) for line in report.getvalue().splitlines())

    limit = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        serving(answer) as url,
        aiohttp.ClientSession(timeout=limit, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(Client(replace(of, url=url), session, report).run())
        await until(lambda: ready(counts()))
        answers.set()
    return counts()


async def test_a_client_that_is_short_of_time_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests sent late because the sender had no processor are counted as behind."""
    monkeypatch.setattr(load, "BEHIND_SECONDS", 0.5)  # a busy machine is rarely so late by itself

    async def answer(request: web.Request) -> web.Response:
        if not answered:
            answered.append(True)
            time.sleep(1.5)  # noqa: ASYNC251 - the sender shares this thread and is to be held up
        return await good(request)

    answered: list[bool] = []
    async with serving(answer) as url:
        counts = await counted(plan(url, rate=30, duration=3))

    assert 0 < counts.behind < counts.sent
    assert f"was late with {counts.behind}" in str(counts)


async def test_it_stops_at_once_although_the_next_request_is_far_away() -> None:
    """Being asked to stop ends the wait for the next user."""
    async with serving(good) as url, aiohttp.ClientSession() as session:
        client = Client(plan(url, rate=0.001, duration=3600), session, io.StringIO())
        client.stopping.set()

        await asyncio.wait_for(client.run(), 30)


async def test_scenarios_read_counts_between_two_moments(tmp_path: Path) -> None:
    """The counts of two parts of a run add up to those of the whole run."""
    async with serving(good) as url:
        users = Load(plan(url, rate=100, duration=60), tmp_path / "load.jsonl")
        users.start()
        await until(lambda: users.counts().ended > 50)
        middle = datetime.now(UTC)
        await until(lambda: users.counts(since=middle).ended > 50)
        whole = await asyncio.to_thread(users.stop)

    assert users.counts(until=middle) + users.counts(since=middle) == whole
    assert whole.sent == whole.ended > 100
    assert users.stop() == whole


async def test_the_season_changes_under_way(tmp_path: Path) -> None:
    """From a moment on other transactions are sent, and the usual ones again after another."""
    seen: list[fraud.Row] = []

    async def answer(request: web.Request) -> web.Response:
        seen.extend(tuple(row) for row in (await request.json())["instances"])
        return await good(request)

    usual = {t.row for t in fraud.take("load", 0, 2000)}
    sale = {fraud.in_season(row, fraud.Season.SALE) for row in usual}
    async with serving(answer) as url:
        with Load(plan(url, rate=100, duration=60), tmp_path / "load.jsonl") as users:
            await until(lambda: bool(usual & set(seen)))
            users.change_season(fraud.Season.SALE)
            await until(lambda: bool(sale & set(seen)))
            since = len(seen)
            users.change_season(fraud.Season.USUAL)
            await until(lambda: bool(usual & set(seen[since:])))
            await asyncio.to_thread(users.stop)

    assert set(seen) <= usual | sale


async def test_a_client_that_does_not_run_takes_no_orders(tmp_path: Path) -> None:
    """Without a client the season cannot change, and that is said."""
    users = Load(plan("http://127.0.0.1:80"), tmp_path / "load.jsonl")

    with pytest.raises(LoadFailedError, match="does not run"):
        users.change_season(fraud.Season.SALE)


async def test_a_client_that_died_gives_no_numbers(tmp_path: Path) -> None:
    """Counts of a client that ended by itself are refused, with how it ended."""
    async with serving(good) as url:
        users = Load(plan(url, rate=20, duration=60), tmp_path / "load.jsonl")
        users.start()
        await until(lambda: users.counts().ended > 0)
        assert users.pid is not None
        os.kill(users.pid, signal.SIGKILL)

        with pytest.raises(LoadFailedError, match="ended with -9"):
            await asyncio.to_thread(users.stop)


async def test_a_client_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """When the starter is killed, users stop coming: nothing is left running."""
    starter = """
import sys, time
from pathlib import Path
from sandbox.load import Load, Plan
users = Load(Plan(sys.argv[1], "fraud.example.com", "fraud", 20, 60), Path(sys.argv[2]))
users.start()
print(users.pid, flush=True)
time.sleep(60)
"""
    report = tmp_path / "load.jsonl"
    async with serving(good) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", starter, url, str(report)),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SOURCES.parent)},
        )
        assert process.stdout is not None
        client = int(await process.stdout.readline())
        await until(lambda: total(read_report(report)).ended > 0)
        process.kill()
        await process.wait()

        # An orphan's new parent may be slow to collect it: ended is ended.
        await until(lambda: not _is_running(client))


def _is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path: Path) -> None:
    """Reading a report in mid-write gives the whole lines only."""
    line = render_line(Interval(NOON, NOON + timedelta(seconds=1), Counts(sent=3, ended=2)))
    report = tmp_path / "load.jsonl"
    report.write_text(line + "\n" + line[: len(line) // 2])

    assert [interval.counts.sent for interval in read_report(report)] == [3]


counts_of_any_kind = st.builds(
    Counts,
    sent=st.integers(0, 1000),
    ended=st.integers(0, 1000),
    failed=st.dictionaries(st.sampled_from(["http-500", "reset"]), st.integers(1, 9)),
    latency=st.dictionaries(st.integers(0, 130), st.integers(1, 9)),
    ended_by=st.dictionaries(st.sampled_from(["9c1d", "41aa"]), st.integers(1, 9)),
    failed_by=st.dictionaries(st.sampled_from(["9c1d", "41aa"]), st.integers(1, 9)),
    behind=st.integers(0, 9),
    skipped=st.integers(0, 9),
)


@given(counts_of_any_kind)
def test_a_report_says_what_was_counted(counts: Counts) -> None:
    """Writing and reading a line changes nothing."""
    interval = Interval(NOON, NOON + timedelta(seconds=1), counts)

    assert parse_line(render_line(interval)) == interval
    assert json.loads(render_line(interval))["sent"] == counts.sent


@given(counts_of_any_kind, counts_of_any_kind)
def test_counts_add_up(one: Counts, other: Counts) -> None:
    """The sum has the failures and the requests of both."""
    both = one + other

    assert both.failures == one.failures + other.failures
    assert sum(both.latency.values()) == sum(one.latency.values()) + sum(other.latency.values())
    assert both == other + one


@given(st.lists(st.floats(0.00001, 60), min_size=1, max_size=60), st.sampled_from([0.1, 0.5, 0.99]))
def test_a_quantile_is_never_too_low_and_little_too_high(seconds: list[float], q: float) -> None:
    """The bound lies above the exact quantile, by at most one bucket's width."""
    latency = {bucket(one): sum(bucket(two) == bucket(one) for two in seconds) for one in seconds}
    exact = sorted(seconds)[max(1, math.ceil(q * len(seconds))) - 1]

    bound = Counts(latency=latency).quantile_seconds(q)

    assert bound is not None
    assert exact <= bound * (1 + 1e-9)
    assert bound <= max(exact * EDGE_RATIO, FIRST_EDGE_SECONDS) * (1 + 1e-9)


def test_no_requests_have_no_quantile_and_no_ratio() -> None:
    """Nothing counted is not a latency of zero, nor a failure ratio of zero."""
    assert Counts().quantile_seconds(0.5) is None
    assert Counts().failed_ratio is None
