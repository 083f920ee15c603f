"""Reading Prometheus: what is asked, what is taken from the answer, and what is not believed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.adapters.servers import Handler, make_certificate, server_tls, serving

from headgate.adapters.packs import load_pack
from headgate.adapters.prometheus import Prometheus
from headgate.adapters.prometheus_answer import parse_matrix
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.adapters.prometheus_query import quote, render_query
from headgate.core.counters import Arm, Point, Series
from headgate.ports import Arms, MetricsUnavailable, SignalSource

NOW = datetime(2026, 11, 20, 20, 25, 41, tzinfo=UTC)
SINCE = NOW - timedelta(seconds=30)
ARMS = Arms("models", "fraud", stable=0, canary=1)
SOURCES = [SignalSource(name, pack_signal=name) for name in ("errors", "latency")]
STABLE = "httproute/models/fraud/rule/0/backend/0"
CANARY = "httproute/models/fraud/rule/0/backend/1"

# Taken from Prometheus 3.15 scraping Envoy 1.40 each second.
RECORDED_ERRORS = """
{"status":"success","data":{"resultType":"matrix","result":[{"metric":{
"__name__":"envoy_cluster_upstream_rq_xx",
"envoy_cluster_name":"httproute/models/fraud/rule/0/backend/1","envoy_response_code_class":"2",
"instance":"127.0.0.1:29001","job":"envoy"},"values":[[1795206337.743,"68"],[1795206338.743,"76"],
[1795206339.743,"86"],[1795206340.743,"97"]]},{"metric":{"__name__":"envoy_cluster_upstream_rq_xx",
"envoy_cluster_name":"httproute/models/fraud/rule/0/backend/1","envoy_response_code_class":"5",
"instance":"127.0.0.1:29001","job":"envoy"},"values":[[1795206337.743,"17"],[1795206338.743,"18"],
[1795206339.743,"21"],[1795206340.743,"24"]]}]}}
"""
MOMENTS = [1795206337.743, 1795206338.743, 1795206339.743, 1795206340.743]


def series(values: list[Any], cluster: str = CANARY, **labels: str) -> dict[str, Any]:
    """Return one entry of a matrix, by default the canary's good answers."""
    metric = {"envoy_cluster_name": cluster, "instance": "10.0.0.1:19001"}
    return {"metric": metric | {"envoy_response_code_class": "2"} | labels, "values": values}


def matrix(*entries: Any, **more: Any) -> dict[str, Any]:
    """Return a successful answer with these entries."""
    return {"status": "success", "data": {"resultType": "matrix", "result": entries}, **more}


def answering(errors: Any, latency: Any = None, code: int = 200) -> Handler:
    """Answer the two queries with these bodies."""

    async def handler(request: web.Request) -> web.Response:
        query = str((await request.post())["query"])
        body = (latency or matrix()) if "_bucket" in query else errors
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=code, text=text)

    return handler


@asynccontextmanager
async def source(handler: Handler, **settings: Any) -> AsyncIterator[Prometheus]:
    """Give a Prometheus adapter that reads from `handler`."""
    settings = {"timeout": timedelta(seconds=2), **settings}
    async with serving(handler) as url:
        prometheus = Prometheus(PrometheusSettings(url, **settings), load_pack("envoy-gateway"))
        try:
            yield prometheus
        finally:
            await prometheus.close()


async def read(handler: Handler, **settings: Any) -> list[Series]:
    """Read both arms once."""
    async with source(handler, **settings) as prometheus:
        return list(await prometheus.read(ARMS, SOURCES, SINCE, NOW))


class TestSamples:
    """Samples come as scraped, each at its arm, instance and outcome."""

    async def test_recorded(self) -> None:
        """A real answer gives one series per class, with the times of the scrapes."""
        found = await read(answering(RECORDED_ERRORS))
        times = [datetime.fromtimestamp(moment, UTC) for moment in MOMENTS]
        good = tuple(map(Point, times, [68.0, 76.0, 86.0, 97.0]))
        bad = tuple(map(Point, times, [17.0, 18.0, 21.0, 24.0]))
        expected = [
            Series("errors", Arm.CANARY, "127.0.0.1:29001", "good", "2", good),
            Series("errors", Arm.CANARY, "127.0.0.1:29001", "bad", "5", bad),
        ]
        assert found == expected

    async def test_latency(self) -> None:
        """Buckets in milliseconds become bounds in seconds, whatever way they are written."""
        bounds = ["0.5", "1.0", "250", "1.8e+06", "+Inf"]
        entries = [series([[1.5, "3"]], STABLE, le=bound) for bound in bounds]
        found = await read(answering(matrix(), matrix(*entries)))
        outcomes = {each.outcome: each.key for each in found}
        expected = {"0.0005": "0.5", "0.001": "1.0", "0.25": "250", "1800": "1.8e+06"}
        assert outcomes == expected | {"+Inf": "+Inf"}
        assert {(each.signal, each.arm) for each in found} == {("latency", Arm.STABLE)}

    async def test_classes(self) -> None:
        """Classes 2 to 4 are good, 5 is bad; interim answers (1) are no requests of their own."""
        entries = [series([[1, "3"]], envoy_response_code_class=str(n)) for n in range(7)]
        found = await read(answering(matrix(*entries)))
        assert {each.key: each.outcome for each in found} == {
            "2": "good",
            "3": "good",
            "4": "good",
            "5": "bad",
        }

    async def test_silence(self) -> None:
        """No series is an empty answer: silence is not zero failures."""
        assert await read(answering(matrix())) == []

    async def test_foreign(self) -> None:
        """Merged backends, other routes and series without a cluster are left out."""
        names = [
            "httproute/models/fraud/rule/0",
            CANARY + "0",
            "httproute/x/fraud/rule/0/backend/1",
        ]
        entries = [series([[1, "3"]], name) for name in names]
        entries.append({"metric": {"instance": "x"}, "values": [[1, "1"]]})
        assert await read(answering(matrix(*entries))) == []

    async def test_two_proxies(self) -> None:
        """Each proxy, and each life of one, is an instance of its own."""
        entries = [
            series([[1, "3"]], pod="a"),
            series([[1, "4"]], pod="b"),
            series([[1, "5"]], instance="10.0.0.2:19001"),
        ]
        found = await read(answering(matrix(*entries)))
        expected = ["10.0.0.1:19001/a", "10.0.0.1:19001/b", "10.0.0.2:19001"]
        assert [each.instance for each in found] == expected

    async def test_staleness_marker(self) -> None:
        """The NaN by which VictoriaMetrics marks the end of a series is left out."""
        ended = series([[1, "3"], [2, "4"], [3, "NaN"]])
        back = series([[1, "3"], [2, "NaN"], [3, "1"]], envoy_response_code_class="5")
        gone = series([[1, "NaN"]], STABLE)
        found = await read(answering(matrix(ended, back, gone)))
        assert [[point.value for point in each.points] for each in found] == [[3, 4], [3, 1]]

    async def test_information(self) -> None:
        """Prometheus's `infos` are not warnings."""
        body = matrix(series([[1, "3"]]), infos=["metric might not be a counter"])
        assert len(await read(answering(body))) == 1


SAMPLE = series([[1, "1"]])


class TestNotBelieved:
    """Whatever is not a whole, well-formed answer is unavailable, and the query is named."""

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            pytest.param("", "not JSON", id="nothing"),
            pytest.param("<html>login</html>", "not JSON", id="a login page"),
            pytest.param('{"status":', "not JSON", id="JSON cut off"),
            pytest.param("[" * 100_000, "not JSON", id="nesting without end"),
            pytest.param([], "no success", id="a list"),
            pytest.param({"status": "error", "error": "bad"}, "no success: bad", id="an error"),
            pytest.param({"status": "success"}, "no data", id="no data"),
            pytest.param(matrix(SAMPLE, warnings=["store down"]), "store down", id="Thanos warns"),
            pytest.param(matrix(SAMPLE, isPartial=True), "isPartial", id="VictoriaMetrics warns"),
            pytest.param(
                {"status": "success", "data": {"resultType": "vector", "result": []}},
                "wanted a matrix, found 'vector'",
                id="another type",
            ),
            pytest.param(
                {"status": "success", "data": {"resultType": "matrix", "result": {}}},
                "wanted a matrix",
                id="no list of results",
            ),
            pytest.param(matrix("x"), "no labels or no values", id="a series that is text"),
            pytest.param(matrix({"values": []}), "no labels", id="a series without labels"),
            pytest.param(
                matrix({"metric": {}, "histograms": []}), "native histogram", id="native histogram"
            ),
            pytest.param(matrix(series([[1, "1"]], le=5)), "label is not text", id="odd label"),
            pytest.param(matrix(series([[1]])), "not a sample", id="half a sample"),
            pytest.param(matrix(series([["1", "1"]])), "not a sample", id="a time that is text"),
            pytest.param(matrix(series([[True, "1"]])), "not a sample", id="a time that is true"),
            pytest.param(matrix(series([[1, 1]])), "not a sample", id="a value that is no text"),
            pytest.param(matrix(series([[1, None]])), "not a sample", id="a value that is null"),
            pytest.param(matrix(series([[1, "many"]])), "not a number: many", id="no number"),
            pytest.param(matrix(series([[1e300, "1"]])), "not a time", id="no time"),
            pytest.param(matrix(series([[10**400, "1"]])), "not a time", id="a time without end"),
            pytest.param(
                '{"status":"success","data":{"resultType":"matrix","result":'
                '[{"metric":{"envoy_cluster_name":"' + CANARY + '","instance":"i",'
                '"envoy_response_code_class":"2"},"values":[[NaN,"1"]]}]}}',
                "not a time",
                id="a time that is NaN",
            ),
            pytest.param(matrix(series([[1, "+Inf"]])), "cannot be", id="endless"),
            pytest.param(matrix(series([[1, "-1"]])), "cannot be -1", id="below zero"),
            pytest.param(
                matrix(series([[1, "NaN"], [2, "NaN"]])), "not a number at 2", id="always NaN"
            ),
            pytest.param(
                matrix(series([[1, "1"], [1, "1"]])), "doubled or not in order", id="a sample twice"
            ),
            pytest.param(
                matrix(series([[2, "1"], [1, "1"]])), "doubled or not in order", id="backwards"
            ),
            pytest.param(
                matrix(SAMPLE, series([[1, "1"]], job="other")),
                "one counter is there twice",
                id="scraped by two jobs",
            ),
            pytest.param(
                matrix(SAMPLE, series([[1, "1"]], replica="b")),
                "one counter is there twice",
                id="two replicas of Prometheus",
            ),
            pytest.param(
                matrix({"metric": {"envoy_cluster_name": CANARY}, "values": []}),
                "wanted labels envoy_response_code_class and instance",
                id="labels missing",
            ),
        ],
    )
    async def test_malformed(self, body: Any, expected: str) -> None:
        """The error gives the query and the reason."""
        with pytest.raises(MetricsUnavailable, match=expected) as caught:
            await read(answering(body))
        assert "envoy_cluster_upstream_rq_xx{envoy_cluster_name=~" in str(caught.value)

    @pytest.mark.parametrize("bound", ["", "wide", "-1", "NaN", "-Inf"])
    async def test_no_bound(self, bound: str) -> None:
        """A bucket whose bound is no number is unavailable: the histogram is not what we think."""
        body = matrix(series([[1, "1"]], le=bound))
        with pytest.raises(MetricsUnavailable, match="not a bucket's upper bound"):
            await read(answering(matrix(), body))

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 422, 429, 500, 502, 503])
    async def test_status(self, code: int) -> None:
        """An HTTP error tells its code and what was said, on one line."""
        body = {"status": "error", "errorType": "x", "error": "query\n timed out"}
        with pytest.raises(MetricsUnavailable, match=rf"HTTP {code}: .*query\\n timed out"):
            await read(answering(body, body, code))

    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    async def test_redirect(self, code: int) -> None:
        """A redirect is not followed: the credentials would go along."""
        asked: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            asked.append(request.path)
            return web.Response(status=code, headers={"Location": "/elsewhere"})

        with pytest.raises(MetricsUnavailable, match=f"HTTP {code}; redirects are not followed"):
            await read(handler)
        assert set(asked) == {"/api/v1/query"}

    @pytest.mark.parametrize(
        "packed", [pytest.param(False, id="as it is"), pytest.param(True, id="packed by gzip")]
    )
    async def test_too_large(self, packed: bool) -> None:
        """An answer is counted unpacked, and given up as soon as it is too large."""
        text = b" " * 200_000

        async def handler(_: web.Request) -> web.Response:
            headers = {"Content-Encoding": "gzip"} if packed else None
            return web.Response(body=gzip.compress(text) if packed else text, headers=headers)

        with pytest.raises(MetricsUnavailable, match="larger than 100000 bytes"):
            await read(handler, largest_answer=100_000)

    @pytest.mark.parametrize(
        "drip", [pytest.param(False, id="silent"), pytest.param(True, id="byte by byte")]
    )
    async def test_slow(self, drip: bool) -> None:
        """The time limit covers the whole answer, not only its beginning."""

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            while drip:
                if not response.prepared:
                    await response.prepare(request)
                await response.write(b" ")
                await asyncio.sleep(0.05)
            await asyncio.sleep(60)
            return response

        with pytest.raises(MetricsUnavailable, match=r"rq_.*: no answer in 0\.3 s"):
            await read(handler, timeout=timedelta(seconds=0.3))

    async def test_nobody_there(self) -> None:
        """A refused connection is unavailable, and heals when the server is back."""
        async with serving(answering(matrix())) as url:
            pass
        prometheus = Prometheus(PrometheusSettings(url), load_pack("envoy-gateway"))
        with pytest.raises(MetricsUnavailable, match="onnect"):
            await prometheus.read(ARMS, SOURCES, SINCE, NOW)
        with pytest.raises(MetricsUnavailable, match=r"vector\(1\): .*onnect"):
            await prometheus.check()
        await prometheus.close()

    async def test_one_of_two(self) -> None:
        """One query that fails fails the read: half the evidence is none."""

        async def handler(request: web.Request) -> web.Response:
            bad = "_bucket" in str((await request.post())["query"])
            return web.json_response(matrix(SAMPLE), status=500 if bad else 200)

        with pytest.raises(MetricsUnavailable, match=r"rq_time_bucket.*HTTP 500"):
            await read(handler)


class TestAsked:
    """What goes out is exactly what is needed."""

    @staticmethod
    def listening(
        heard: list[Any], take: Callable[[web.Request, Mapping[str, Any]], Any]
    ) -> Handler:
        """Collect of each request what `take` takes, and answer with an empty matrix."""

        async def handler(request: web.Request) -> web.Response:
            heard.append(take(request, await request.post()))
            return web.json_response(matrix())

        return handler

    async def test_queries(self) -> None:
        """One form for each metric, below the path prefix, at the time that was passed."""
        heard: list[Any] = []
        handler = self.listening(heard, lambda request, form: (request.path, dict(form)))
        async with serving(handler) as url:
            settings = PrometheusSettings(
                f"{url}/tenant/prometheus/",
                look_back=timedelta(seconds=15),
                matchers={"cluster": 'eu"1'},
            )
            prometheus = Prometheus(settings, load_pack("envoy-gateway"))
            await prometheus.read(ARMS, SOURCES, SINCE, NOW)
            await prometheus.close()
        where = (
            r'{envoy_cluster_name=~"httproute/models/fraud/rule/0/backend/0'
            r'|httproute/models/fraud/rule/0/backend/1",cluster="eu\"1"}[45s]'
        )
        metrics = ["envoy_cluster_upstream_rq_time_bucket", "envoy_cluster_upstream_rq_xx"]
        time = {"time": "1795206341.000", "timeout": "5s"}
        expected = [
            ("/tenant/prometheus/api/v1/query", {"query": metric + where, **time})
            for metric in metrics
        ]
        assert sorted(heard, key=str) == expected

    async def test_at_once(self) -> None:
        """Both queries are under way together."""
        together = asyncio.Barrier(2)

        async def handler(_: web.Request) -> web.Response:
            await together.wait()
            return web.json_response(matrix())

        assert await read(handler) == []

    @pytest.mark.parametrize(
        ("arms", "expected"),
        [
            pytest.param(Arms("m", "r", 0, None), "httproute/m/r/rule/0/backend/0", id="stable"),
            pytest.param(Arms("m", "r", None, 0), "httproute/m/r/rule/0/backend/0", id="canary"),
            pytest.param(Arms("m", "r", None, None), None, id="neither"),
        ],
    )
    async def test_one_arm(self, arms: Arms, expected: str | None) -> None:
        """An arm that has no place in the route is not asked for."""
        heard: list[Any] = []
        handler = self.listening(heard, lambda _, form: form["query"])
        async with source(handler) as prometheus:
            assert list(await prometheus.read(arms, SOURCES, SINCE, NOW)) == []
        assert all(f'=~"{expected}"' in query for query in heard)
        assert len(heard) == (2 if expected else 0)

    async def test_long_ago(self) -> None:
        """However long ago the last look was, the window has an end."""
        heard: list[Any] = []
        handler = self.listening(heard, lambda _, form: form["query"][-8:])
        async with source(handler, longest_window=timedelta(minutes=10)) as prometheus:
            await prometheus.read(ARMS, SOURCES, NOW - timedelta(days=3), NOW)
        assert heard == ['1"}[600s]'[-8:]] * 2

    async def test_check(self) -> None:
        """The check asks for a constant, and takes any successful answer."""
        heard: list[Any] = []
        async with source(self.listening(heard, lambda _, form: form["query"])) as prometheus:
            await prometheus.check()
        assert heard == ["vector(1)"]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("plain", '"plain"', id="plain"),
            pytest.param('a"} or x{y="', '"a\\"} or x{y=\\""', id="a way out of the string"),
            pytest.param("a\\b\nc", '"a\\\\b\\nc"', id="backslash and new line"),
        ],
    )
    def test_quote(self, text: str, expected: str) -> None:
        """A value cannot end its PromQL string."""
        assert quote(text) == expected

    def test_pattern(self) -> None:
        """A name is matched as text: a dot in it is only a dot."""
        assert render_query("m", "l", ["a.b", "c|d"], {}, 9) == r'm{l=~"a\\.b|c\\|d"}[9s]'


class TestLogin:
    """Credentials come from files that may rotate, and never reach a message."""

    @staticmethod
    def guarded(wanted: Callable[[], str]) -> Handler:
        """Let in who shows what is `wanted` at the moment."""

        async def handler(request: web.Request) -> web.Response:
            right = request.headers.get("Authorization") == wanted()
            return web.json_response(matrix(), status=200 if right else 401)

        return handler

    async def test_token_rotates(self, tmp_path: Path) -> None:
        """A new token in the file is used by the next request; the old one is told nowhere."""
        file = tmp_path / "token"
        file.write_text("first-secret\n")
        wanted = "Bearer first-secret"
        async with source(self.guarded(lambda: wanted), bearer_token_file=file) as prometheus:
            await prometheus.check()
            wanted = "Bearer second-secret"
            with pytest.raises(MetricsUnavailable, match="HTTP 401") as caught:
                await prometheus.check()
            file.write_text("second-secret\n")
            await prometheus.check()
        assert "first-secret" not in str(caught.value)

    async def test_basic(self, tmp_path: Path) -> None:
        """Basic authentication takes its password from a file."""
        file = tmp_path / "password"
        file.write_text("pässword")
        shown = base64.b64encode("me:pässword".encode()).decode()
        guarded = self.guarded(lambda: f"Basic {shown}")
        async with source(guarded, username="me", password_file=file) as prometheus:
            await prometheus.check()

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            pytest.param(None, "No such file", id="missing"),
            pytest.param(b"", "wanted one line", id="empty"),
            pytest.param(b"top\nsecret", "wanted one line", id="two lines"),
            pytest.param(b"top\xffsecret", "not UTF-8", id="binary"),
        ],
    )
    async def test_bad_file(self, tmp_path: Path, content: bytes | None, expected: str) -> None:
        """A file without a usable token is unavailable by its name, without its content."""
        file = tmp_path / "token"
        if content is not None:
            file.write_bytes(content)
        async with source(answering(matrix()), bearer_token_file=file) as prometheus:
            with pytest.raises(MetricsUnavailable, match=expected) as caught:
                await prometheus.check()
        assert "secret" not in str(caught.value)

    async def test_headers(self) -> None:
        """Extra headers go along, and do not show in the settings' text."""
        heard: list[Any] = []

        def take(request: web.Request, _: Mapping[str, Any]) -> str | None:
            return request.headers.get("X-Scope-OrgID")

        headers = {"X-Scope-OrgID": "team-a"}
        async with source(TestAsked.listening(heard, take), headers=headers) as prometheus:
            await prometheus.check()
        assert heard == ["team-a"]
        assert "team-a" not in repr(PrometheusSettings("http://x", headers=headers))


class TestTLS:
    """TLS is checked, unless somebody says not to; its files may rotate."""

    async def check(self, url: str, **settings: Any) -> None:
        """Ask once."""
        prometheus = Prometheus(PrometheusSettings(url, **settings), load_pack("envoy-gateway"))
        try:
            await prometheus.check()
        finally:
            await prometheus.close()

    async def test_trust(self, tmp_path: Path) -> None:
        """An unknown certificate is refused; with its CA, or on demand, it is taken."""
        certificate, key = make_certificate(tmp_path, "server")
        async with serving(answering(matrix()), server_tls(certificate, key)) as url:
            with pytest.raises(MetricsUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await self.check(url)
            await self.check(url, ca_file=certificate)
            await self.check(url, insecure_skip_verify=True)

    async def test_client_certificate(self, tmp_path: Path) -> None:
        """A client certificate lets us in where one is demanded."""
        certificate, key = make_certificate(tmp_path, "server")
        ours, our_key = make_certificate(tmp_path, "client")
        tls = server_tls(certificate, key, trusted=ours)
        async with serving(answering(matrix()), tls) as url:
            with pytest.raises(MetricsUnavailable):
                await self.check(url, ca_file=certificate)
            await self.check(
                url,
                ca_file=certificate,
                client_certificate_file=ours,
                client_key_file=our_key,
            )

    async def test_rotation(self, tmp_path: Path) -> None:
        """A CA file that changes is read again without a restart."""
        certificate, key = make_certificate(tmp_path, "server")
        other, _ = make_certificate(tmp_path, "other")
        trusted, following = tmp_path / "ca.crt", tmp_path / "following"
        trusted.write_bytes(other.read_bytes())
        async with serving(answering(matrix()), server_tls(certificate, key)) as url:
            settings = PrometheusSettings(url, ca_file=trusted)
            prometheus = Prometheus(settings, load_pack("envoy-gateway"))
            with pytest.raises(MetricsUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await prometheus.check()
            following.write_bytes(certificate.read_bytes())
            os.replace(following, trusted)
            await prometheus.check()
            await prometheus.close()

    @pytest.mark.parametrize("content", [None, b"not a certificate"])
    async def test_bad_ca(self, tmp_path: Path, content: bytes | None) -> None:
        """A CA file that is missing or wrong is unavailable, and named."""
        file = tmp_path / "ca.crt"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(MetricsUnavailable, match=r"TLS file.*ca\.crt"):
            await self.check("https://127.0.0.1:1", ca_file=file)


class TestSettings:
    """Settings that cannot work are refused at the start, by the name of the field."""

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            pytest.param({"url": "prometheus:9090"}, "url: wanted http", id="no scheme"),
            pytest.param({"url": "ftp://x"}, "url: wanted http", id="another scheme"),
            pytest.param({"url": "http://me:pw@x"}, "credentials belong", id="password in the URL"),
            pytest.param({"url": "http://x/?a=b"}, "no query", id="a query"),
            pytest.param({"username": "me"}, "both or none", id="no password"),
            pytest.param(
                {"bearer_token_file": Path("a"), "username": "me", "password_file": Path("b")},
                "bearer_token_file",
                id="two logins",
            ),
            pytest.param({"username": "a:b", "password_file": Path("b")}, "no colon", id="a colon"),
            pytest.param({"client_key_file": Path("a")}, "client_key_file", id="key alone"),
            pytest.param({"headers": {"X-A": "1\r\nX-B: 2"}}, "headers: 'X-A'", id="two headers"),
            pytest.param({"headers": {"X A": "1"}}, "headers: 'X A'", id="no header name"),
            pytest.param({"matchers": {'a="b",c': "1"}}, "not a label name", id="no label name"),
            pytest.param({"timeout": timedelta(0)}, "timeout", id="no time"),
        ],
    )
    def test_refused(self, settings: dict[str, Any], expected: str) -> None:
        """The text says what was wanted, and holds no password."""
        with pytest.raises(ValueError, match=expected) as caught:
            PrometheusSettings(**{"url": "http://x", **settings})
        assert "pw" not in str(caught.value)


def test_an_empty_matrix_has_no_series() -> None:
    """The smallest answer of all is read."""
    assert list(parse_matrix(json.dumps(matrix()).encode())) == []
