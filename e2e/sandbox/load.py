"""
Owns the users of the stories: a client that sends transactions at random moments and counts.

The load is open: requests are sent when they are due, whether or not earlier ones were answered,
so a slow server meets as many requests as a quick one. It must not know the cluster, the operator
or which versions exist; it sends to this machine only.
"""

import argparse
import asyncio
import ipaddress
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Self, TextIO

import aiohttp
from yarl import URL

from sandbox import fraud
from sandbox.counts import Counts, Interval, bucket, read_report, render_line, total

REVISION_HEADER = "headgate-revision"
MAX_RATE = 1000.0
MAX_DURATION_SECONDS = 24 * 3600.0
MAX_UNDER_WAY = 900
"""Below the 1024 open files that a process usually has: running out would look like `refused`."""
REPORT_EVERY_SECONDS = 1.0
BEHIND_SECONDS = 0.05
"""A request sent this much after it was due counts as `behind`."""
TIMEOUT_SECONDS = 10.0
"""A user who has waited this long goes away."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask for what, how often, for how long."""

    url: str
    """Where the gateway listens, `http://127.0.0.1:PORT`."""
    host: str
    """The host name that the route is for."""
    model: str
    rate: float
    """Mean requests a second; the moments are those of a Poisson process."""
    duration_seconds: float = 3600.0
    seed: int = 0
    season: fraud.Season = fraud.Season.USUAL
    """Of the transactions, until it is changed."""

    def __post_init__(self) -> None:
        """Raise ValueError, naming the field, for a plan that may not or cannot be kept."""
        if not is_loopback(self.url):
            raise ValueError(f"url: wanted http://127.0.0.1:PORT, found {self.url}")
        if not 0 < self.rate <= MAX_RATE:
            raise ValueError(f"rate: wanted more than 0, at most {MAX_RATE:g}, found {self.rate:g}")
        if not 0 < self.duration_seconds <= MAX_DURATION_SECONDS:
            raise ValueError(
                f"duration: wanted more than 0, at most {MAX_DURATION_SECONDS:g} seconds, "
                f"found {self.duration_seconds:g}"
            )

    @property
    def target(self) -> URL:
        """The address of the model's KServe v1 predict method."""
        return URL(self.url) / "v1/models" / f"{self.model}:predict"


def is_loopback(url: str) -> bool:
    """Tell whether a URL is plain HTTP to an address of this machine, given as a number."""
    parsed = URL(url)
    try:
        address = ipaddress.ip_address(parsed.host or "")
    except ValueError:
        return False
    return parsed.scheme == "http" and address.is_loopback


def arrivals(rate: float, chance: Random) -> Iterator[float]:
    """Yield the moments of a Poisson process, in seconds from its start, without end."""
    return itertools.accumulate(chance.expovariate(rate) for _ in itertools.count())


def judge(status: int, body: bytes) -> str | None:
    """Name the kind of failure that an answer is; None for one prediction, as asked for."""
    if status != 200:
        return f"http-{status}"
    try:
        predictions = json.loads(body)["predictions"]
    except (ValueError, KeyError, TypeError):
        return "no-prediction"
    return None if isinstance(predictions, list) and len(predictions) == 1 else "no-prediction"


class Tally:
    """The counts of the interval that is running."""

    def __init__(self, since: datetime) -> None:
        """Begin at a moment, with nothing."""
        self.since = since
        self.sent = self.ended = self.behind = self.skipped = 0
        self.failed: Counter[str] = Counter()
        self.latency: Counter[int] = Counter()
        self.ended_by: Counter[str] = Counter()
        self.failed_by: Counter[str] = Counter()

    def end(self, failure: str | None, seconds: float, revision: str | None) -> None:
        """Count the end of one request."""
        self.ended += 1
        if failure is None:
            self.latency[bucket(seconds)] += 1
        else:
            self.failed[failure] += 1
        if revision is not None:
            self.ended_by[revision] += 1
            self.failed_by[revision] += failure is not None

    def close(self, until: datetime) -> Interval:
        """Say what was counted; the tally is not to be used again."""
        counts = Counts(
            sent=self.sent,
            ended=self.ended,
            failed=dict(self.failed),
            latency=dict(self.latency),
            ended_by=dict(self.ended_by),
            failed_by=dict(+self.failed_by),
            behind=self.behind,
            skipped=self.skipped,
        )
        return Interval(self.since, until, counts)


class Client:
    """Sends what a plan says and writes a report line each second."""

    def __init__(self, plan: Plan, session: aiohttp.ClientSession, report: TextIO) -> None:
        """Prepare; nothing is sent before `run`."""
        self.plan = plan
        self.stopping = asyncio.Event()
        self._session = session
        self._report = report
        self._tally = Tally(_utc_now())
        self._under_way = 0
        self._season = plan.season

    def obey(self, orders: bytes) -> None:
        """Take lines that each name the season from now on; nothing at all means to stop."""
        if not orders:
            self.stopping.set()
        for order in orders.split():
            self._season = fraud.Season(order.decode())

    async def run(self) -> None:
        """Send until the plan's duration is over or `stopping` is set; then await the rest."""
        try:
            async with asyncio.TaskGroup() as group:
                reporting = group.create_task(self._report_each_second())
                # Each request ends by itself within the timeout, so nothing is cut off here.
                async with asyncio.TaskGroup() as requests:
                    await self._send_until_stopped(requests)
                reporting.cancel()
        finally:
            self._write_line()

    async def _send_until_stopped(self, requests: asyncio.TaskGroup) -> None:
        sending = asyncio.create_task(self._send_all(requests))
        stopped = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({sending, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            stopped.cancel()

    async def _send_all(self, requests: asyncio.TaskGroup) -> None:
        begun = time.monotonic()
        transactions = fraud.stream("load", self.plan.seed)
        for due in arrivals(self.plan.rate, Random(f"arrivals/{self.plan.seed}")):
            if due > self.plan.duration_seconds:
                return
            await asyncio.sleep(max(0.0, begun + due - time.monotonic()))
            if self._under_way >= MAX_UNDER_WAY:
                self._tally.skipped += 1
                continue
            self._tally.behind += time.monotonic() - begun - due > BEHIND_SECONDS
            self._tally.sent += 1
            self._under_way += 1
            row = fraud.in_season(next(transactions).row, self._season)
            requests.create_task(self._send(row))

    async def _send(self, row: fraud.Row) -> None:
        begun = time.monotonic()
        revision = None
        try:
            async with self._session.post(
                self.plan.target,
                json={"instances": [row]},
                headers={"Host": self.plan.host},
                allow_redirects=False,
            ) as response:
                revision = response.headers.get(REVISION_HEADER)
                failure = judge(response.status, await response.read())
        except TimeoutError:
            failure = "timeout"
        except aiohttp.ClientConnectorError:
            failure = "refused"
        except (
            aiohttp.ServerDisconnectedError,
            aiohttp.ClientOSError,
            aiohttp.ClientPayloadError,
            ConnectionError,
        ):
            failure = "reset"
        except aiohttp.ClientError:
            failure = "bad-http"
        self._under_way -= 1
        self._tally.end(failure, time.monotonic() - begun, revision)

    async def _report_each_second(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_SECONDS)
            self._write_line()

    def _write_line(self) -> None:
        now = _utc_now()
        finished, self._tally = self._tally, Tally(now)
        self._report.write(render_line(finished.close(now)) + "\n")
        self._report.flush()


class LoadFailedError(Exception):
    """The load client itself ended with an error; its numbers are not to be trusted."""


class Load:
    """
    A load client in a process of its own, so that its clock is not the caller's.

    It ends with `stop`, with the `with` block, or with the calling process, however that ends.
    """

    def __init__(self, plan: Plan, report: Path) -> None:
        """Prepare; a report that is there already is replaced at `start`."""
        self.plan = plan
        self.report = report
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The client's process; None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Begin to send; returns at once."""
        self.report.parent.mkdir(parents=True, exist_ok=True)
        self.report.unlink(missing_ok=True)
        arguments = {
            "--url": self.plan.url,
            "--host": self.plan.host,
            "--model": self.plan.model,
            "--rate": self.plan.rate,
            "--duration": self.plan.duration_seconds,
            "--seed": self.plan.seed,
            "--season": self.plan.season,
            "--report": self.report,
        }
        flags = [str(word) for pair in arguments.items() for word in pair]
        root = Path(__file__).resolve().parents[1]
        with self.report.with_suffix(".log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sandbox.load", *flags, "--obey-stdin"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(root)},
                start_new_session=True,
            )

    def change_season(self, season: fraud.Season) -> None:
        """
        Send transactions of another season from now on.

        Raises:
            LoadFailedError: Nothing is being sent.
        """
        if self._process is None or self._process.stdin is None:
            raise LoadFailedError("the load client does not run")
        try:
            # Past its buffer, which would stay full if nobody reads any more.
            os.write(self._process.stdin.fileno(), f"{season}\n".encode())
        except BrokenPipeError as error:
            raise LoadFailedError("the load client has ended by itself") from error

    def stop(self) -> Counts:
        """
        Stop sending, await what is under way, and give the counts of the whole run.

        Raises LoadFailedError if the client ended otherwise than by being asked. Stopping twice
        is stopping once.
        """
        if self._process is not None:
            process, self._process = self._process, None
            if process.stdin is not None:
                process.stdin.close()
            try:
                status = process.wait(TIMEOUT_SECONDS + 10)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
            if status != 0:
                log = self.report.with_suffix(".log").read_text()[-2000:]
                raise LoadFailedError(f"the load client ended with {status}: {log}")
        return self.counts()

    def counts(self, since: datetime | None = None, until: datetime | None = None) -> Counts:
        """
        Give the counts between two aware moments; without one, from the beginning or up to now.

        The report is written once a second: an interval counts if it ended after `since` and not
        after `until`.
        """
        return total(
            interval
            for interval in read_report(self.report)
            if (since is None or since < interval.until)
            and (until is None or interval.until <= until)
        )

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()


def main() -> int:
    """Send load as the flags say, and print in one line what users saw."""
    parser = argparse.ArgumentParser(prog="sandbox.load", description=__doc__)
    parser.add_argument("--url", required=True, help="gateway, http://127.0.0.1:PORT")
    parser.add_argument("--host", required=True, help="host name of the route")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rate", type=float, required=True, help="mean requests a second")
    parser.add_argument("--duration", type=float, default=3600.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--season", choices=list(fraud.Season), default=fraud.Season.USUAL)
    parser.add_argument("--report", type=Path, required=True, help="file, a JSON line a second")
    parser.add_argument("--obey-stdin", action="store_true", help="seasons by line; its end stops")
    flags = parser.parse_args()
    try:
        plan = Plan(
            url=flags.url,
            host=flags.host,
            model=flags.model,
            rate=flags.rate,
            duration_seconds=flags.duration,
            seed=flags.seed,
            season=fraud.Season(flags.season),
        )
    except ValueError as error:
        parser.error(str(error))
    with flags.report.open("w") as report:
        asyncio.run(_run(plan, report, obey_stdin=flags.obey_stdin))
    sys.stdout.write(f"{total(read_report(flags.report))}\n")
    return 0


async def _run(plan: Plan, report: TextIO, *, obey_stdin: bool) -> None:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
    ) as session:
        client = Client(plan, session, report)
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, client.stopping.set)
        if obey_stdin:
            loop.add_reader(sys.stdin.fileno(), _read_orders, loop, client)
        await client.run()


def _read_orders(loop: asyncio.AbstractEventLoop, client: Client) -> None:
    descriptor = sys.stdin.fileno()
    orders = os.read(descriptor, 4096)
    if not orders:  # the starter has closed it, or died
        loop.remove_reader(descriptor)
    client.obey(orders)


def _utc_now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
