"""The API server's client: what each answer means, and what is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubernetes.aio import client as kube
from kubernetes.aio.config import incluster_config
from tests.adapters.servers import Handler, serving

from headgate.adapters.kubernetes import (
    LIST_ATTEMPTS,
    KubernetesCluster,
    Login,
    find_login,
    merge_patch,
)
from headgate.ports import (
    CONFIG_MAP,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    LEASE,
    SERVING_RUNTIME,
    ClusterUnavailable,
    Conflict,
    Forbidden,
    Refused,
)

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

TOKEN = "ey-very-secret"
SHORT = timedelta(seconds=0.2)


def login_to(url: str, *tokens: str) -> Login:
    """Log in to `url` with the first token, and with the next one each time thereafter."""
    left = list(tokens or [TOKEN])

    async def login() -> kube.Configuration:
        configuration = kube.Configuration(host=url)
        configuration.api_key["BearerToken"] = f"Bearer {left.pop(0) if left[1:] else left[0]}"
        return configuration

    return login


@asynccontextmanager
async def cluster_of(
    handler: Handler, *tokens: str, calls: list[tuple[str, str, int]] | None = None
) -> AsyncIterator[KubernetesCluster]:
    """Give a client of a fake API server; `calls` collects what is told to the metrics."""
    heard: list[tuple[str, str, int]] = [] if calls is None else calls
    async with serving(handler) as url:
        cluster = KubernetesCluster(
            login_to(url, *tokens),
            timeout=SHORT * 10,
            on_call=lambda verb, plural, code: heard.append((verb, plural, code)),
        )
        try:
            yield cluster
        finally:
            await cluster.close()


def status_of(code: int, message: str, **details: Any) -> dict[str, Any]:
    """Return the `Status` by which an API server explains an error."""
    return {"kind": "Status", "code": code, "message": message, "details": details}


def config_map(name: str = "edges", **more: Any) -> dict[str, Any]:
    """Return a ConfigMap's manifest."""
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **more}


def lease(namespace: str, name: str) -> dict[str, Any]:
    """Return a Lease's manifest."""
    metadata = {"namespace": namespace, "name": name}
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 15}
    return {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}


def always(code: int, body: Any, headers: Mapping[str, str] | None = None) -> Handler:
    """Answer every request alike."""

    async def handler(_: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=code, text=text, headers=headers)

    return handler


class TestErrors:
    """Every status becomes one typed error that names verb, object and the server's words."""

    @pytest.mark.parametrize(
        ("code", "message", "wanted"),
        [
            pytest.param(400, "unknown field spec.x", Refused, id="an unknown field is refused"),
            pytest.param(403, "forbidden: no", Forbidden, id="a missing right is forbidden"),
            pytest.param(404, "no such resource", Refused, id="a missing kind is refused"),
            pytest.param(409, "already exists", Conflict, id="an existing object is a conflict"),
            pytest.param(413, "too large", Refused, id="too large an object is refused"),
            pytest.param(422, "spec.a: Invalid", Refused, id="an invalid object is refused"),
            pytest.param(429, "slow down", ClusterUnavailable, id="overload is unavailable"),
            pytest.param(500, "etcd died", ClusterUnavailable, id="an inner error is unavailable"),
            pytest.param(503, "not yet", ClusterUnavailable, id="a start-up is unavailable"),
            pytest.param(504, "took long", ClusterUnavailable, id="a slow webhook is unavailable"),
        ],
    )
    async def test_a_failed_write(self, code: int, message: str, wanted: type[Exception]) -> None:
        """A failed create is asked once, and its error tells all that the server told."""
        calls: list[tuple[str, str, int]] = []
        async with cluster_of(always(code, status_of(code, message)), calls=calls) as cluster:
            with pytest.raises(wanted) as caught:
                await cluster.create(config_map())
        expected = f"create ConfigMap default/edges: HTTP {code}: {message}"
        assert (wanted, expected) == (type(caught.value), str(caught.value))
        assert [("create", "configmaps", code)] == calls

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("7", timedelta(seconds=7), id="seconds are kept"),
            pytest.param("", None, id="nothing said is None"),
            pytest.param("Fri, 20 Nov 2026 10:00:00 GMT", None, id="a date is left out"),
            pytest.param("99999999", None, id="nonsense is left out"),
        ],
    )
    async def test_retry_after(self, text: str, expected: timedelta | None) -> None:
        """An overloaded server's wish for patience reaches the queue."""
        headers = {"Retry-After": text}
        async with cluster_of(always(429, status_of(429, "slow"), headers)) as cluster:
            with pytest.raises(ClusterUnavailable) as caught:
                await cluster.get(CONFIG_MAP, "default", "edges")
        assert expected == caught.value.retry_after

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            pytest.param("<html>", "the answer is not JSON", id="a proxy's page"),
            pytest.param("[" * 100_000, "the answer is not JSON", id="nesting without end"),
            pytest.param([1], "the answer is not a ConfigMap", id="a list"),
            pytest.param({"kind": "Pod"}, "the answer is not a ConfigMap", id="another kind"),
        ],
    )
    async def test_an_answer_that_is_none(self, body: Any, expected: str) -> None:
        """A 200 that no API server sent is unavailable, never an empty object."""
        async with cluster_of(always(200, body)) as cluster:
            with pytest.raises(ClusterUnavailable, match=expected):
                await cluster.get(CONFIG_MAP, "default", "edges")

    async def test_a_page_instead_of_a_status(self) -> None:
        """An error without a Status is told on one line, cut, without control characters."""
        page = "\x1b[31mbad\n gateway" + "y" * 5000
        async with cluster_of(always(502, page)) as cluster:
            with pytest.raises(ClusterUnavailable) as caught:
                await cluster.get(CONFIG_MAP, "default", "edges")
        assert "HTTP 502: [31mbad gatewayyy" in str(caught.value)
        assert len(str(caught.value)) < 1100

    async def test_no_answer(self) -> None:
        """A server that says nothing costs one timeout, and is not asked again."""
        calls: list[tuple[str, str, int]] = []

        async def silent(_: web.Request) -> web.Response:
            await asyncio.sleep(60)
            return web.Response()

        async with serving(silent) as url:
            cluster = KubernetesCluster(
                login_to(url), timeout=SHORT, on_call=lambda *call: calls.append(call)
            )
            with pytest.raises(ClusterUnavailable, match=r"no answer in 0\.2 s"):
                await cluster.get(CONFIG_MAP, "default", "edges")
            await cluster.close()
        assert calls == [("get", "configmaps", 0)]

    async def test_half_an_answer(self) -> None:
        """A connection that breaks off in the body is unavailable."""

        async def broken(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b'{"kind": ')
            assert request.transport
            request.transport.abort()
            return response

        async with cluster_of(broken) as cluster:
            with pytest.raises(ClusterUnavailable, match="get ConfigMap default/edges"):
                await cluster.get(CONFIG_MAP, "default", "edges")

    async def test_nobody_there(self) -> None:
        """A refused connection is unavailable, and names what was wanted."""
        async with serving(always(200, {})) as url:
            pass
        cluster = KubernetesCluster(login_to(url))
        with pytest.raises(ClusterUnavailable, match=r"delete ConfigMap default/edges: .*onnect"):
            await cluster.delete(CONFIG_MAP, "default", "edges", "uid-1")
        await cluster.close()


class TestAbsence:
    """What is not there is a value where that is normal, and an error where it hides something."""

    async def test_get(self) -> None:
        """A missing object, or kind, reads as None."""
        async with cluster_of(always(404, "404 page not found")) as cluster:
            assert await cluster.get(INFERENCE_SERVICE, "default", "fraud") is None

    async def test_delete(self) -> None:
        """Deleting what is gone is done already."""
        async with cluster_of(always(404, status_of(404, "not found", name="edges"))) as cluster:
            await cluster.delete(CONFIG_MAP, "default", "edges", "uid-1")

    async def test_list(self) -> None:
        """The list of a kind that does not exist is refused, not empty."""
        async with cluster_of(always(404, "404 page not found")) as cluster:
            with pytest.raises(Refused, match="list InferenceService: HTTP 404"):
                await cluster.list(INFERENCE_SERVICE, None, {})

    async def test_status(self) -> None:
        """A status for what has gone meanwhile is a conflict: read again."""
        current = config_map() | {"metadata": {"name": "edges", "resourceVersion": "5"}}
        async with cluster_of(always(404, status_of(404, "not found", name="edges"))) as cluster:
            with pytest.raises(Conflict, match="not found"):
                await cluster.patch_status(current, {})

    async def test_metadata(self) -> None:
        """A change of metadata for what has gone meanwhile is a conflict too."""
        current = config_map() | {"metadata": {"name": "edges", "resourceVersion": "5"}}
        async with cluster_of(always(404, status_of(404, "not found", name="edges"))) as cluster:
            with pytest.raises(Conflict, match="not found"):
                await cluster.patch_metadata(current, {"labels": None})

    async def test_status_without_kind(self) -> None:
        """A status for a kind that does not exist is refused: reading again would not help."""
        current = config_map() | {"metadata": {"name": "edges", "resourceVersion": "5"}}
        async with cluster_of(always(404, status_of(404, "no such resource"))) as cluster:
            with pytest.raises(Refused, match="no such resource"):
                await cluster.patch_status(current, {})


class TestRequests:
    """Every verb sends what makes it safe to repeat."""

    async def test_what_is_sent(self) -> None:
        """Writes carry our manager and strict validation; preconditions go along."""
        seen: list[tuple[str, str, str, Any]] = []

        async def handler(request: web.Request) -> web.Response:
            body = json.loads(await request.read())
            seen.append((request.method, request.path_qs, request.content_type, body))
            return web.json_response({"kind": "Deployment"})

        named = {"name": "a", "namespace": "n"}
        manifest = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": named}
        current = {
            **manifest,
            "metadata": {**named, "resourceVersion": "5"},
            "status": {"phase": "Stable", "old": 1, "deep": {"a": 1, "b": 2}},
        }
        async with cluster_of(handler) as cluster:
            await cluster.create(manifest)
            await cluster.apply(manifest)
            await cluster.patch_status(current, {"phase": "Stable", "deep": {"a": 3}})
            await cluster.delete(DEPLOYMENT, "n", "a", "uid-1")
            await cluster.orphan(DEPLOYMENT, "n", "a", "uid-1")
            await cluster.patch_metadata(current, {"labels": {"gone": None}})
        root, written = "/apis/apps/v1/namespaces/n/deployments", "fieldManager=headgate"
        strict = f"{written}&fieldValidation=Strict"
        patch = {
            "metadata": {"resourceVersion": "5"},
            "status": {"old": None, "deep": {"a": 3, "b": None}},
        }
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": "uid-1"},
        }
        expected = [
            ("POST", f"{root}?{strict}", "application/json", manifest),
            ("PATCH", f"{root}/a?{strict}&force=true", "application/apply-patch+yaml", manifest),
            ("PATCH", f"{root}/a/status?{strict}", "application/merge-patch+json", patch),
            ("DELETE", f"{root}/a", "application/json", options),
            (
                "DELETE",
                f"{root}/a",
                "application/json",
                {**options, "propagationPolicy": "Orphan"},
            ),
            (
                "PATCH",
                f"{root}/a?{strict}",
                "application/merge-patch+json",
                {"metadata": {"labels": {"gone": None}, "resourceVersion": "5"}},
            ),
        ]
        assert expected == seen

    async def test_a_persons_command_writes_in_a_name_of_its_own(self) -> None:
        """What a person does by our command is not the operator's in managedFields."""
        seen: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(request.query["fieldManager"])
            return web.json_response({"kind": "ConfigMap"})

        async with serving(handler) as url:
            cluster = KubernetesCluster(login_to(url), field_manager="headgate-cli")
            try:
                await cluster.create(config_map())
            finally:
                await cluster.close()
        assert seen == ["headgate-cli"]

    async def test_a_kind_that_is_not_ours(self) -> None:
        """A manifest of an unknown kind is our own mistake, found before anything is sent."""
        calls: list[tuple[str, str, int]] = []
        async with cluster_of(always(200, {}), calls=calls) as cluster:
            with pytest.raises(KeyError, match="CronTab"):
                await cluster.create({"apiVersion": "v1", "kind": "CronTab", "metadata": {}})
        assert calls == []


class TestListing:
    """A list is read whole, page by page, or not at all."""

    @staticmethod
    def pages(*answers: web.Response | tuple[list[str], str]) -> tuple[Handler, list[Any]]:
        """Answer with these pages in turn; gives the queries that came."""
        queries: list[Any] = []

        async def handler(request: web.Request) -> web.Response:
            queries.append(dict(request.query))
            answer = answers[(len(queries) - 1) % len(answers)]
            if isinstance(answer, web.Response):
                return web.Response(status=answer.status, text=answer.text)
            names, token = answer
            items = [{"metadata": {"name": name}} for name in names]
            body = {"kind": "ConfigMapList", "metadata": {"continue": token}, "items": items}
            return web.json_response(body)

        return handler, queries

    async def test_two_pages(self) -> None:
        """Pages are joined, and each item says its kind as if it had been read alone."""
        handler, queries = self.pages((["a", "b"], "t+/="), (["c"], ""))
        async with cluster_of(handler) as cluster:
            items = await cluster.list(CONFIG_MAP, "default", {"x": "1", "y": "2"})
        assert [item["metadata"]["name"] for item in items] == ["a", "b", "c"]
        assert {("v1", "ConfigMap")} == {(item["apiVersion"], item["kind"]) for item in items}
        first = {"limit": "250", "labelSelector": "x=1,y=2"}
        assert [first, {**first, "continue": "t+/="}] == queries

    async def test_expired(self) -> None:
        """A list whose token has expired begins anew, and holds nothing twice."""
        gone = web.Response(status=410, text=json.dumps(status_of(410, "expired")))
        handler, queries = self.pages((["a"], "t"), gone, (["a"], "t"), (["b"], ""))
        async with cluster_of(handler) as cluster:
            items = await cluster.list(CONFIG_MAP, None, {})
        assert [item["metadata"]["name"] for item in items] == ["a", "b"]
        assert ["continue" in query for query in queries] == [False, True, False, True]

    async def test_expired_for_ever(self) -> None:
        """A list that never comes to its end is unavailable after a few attempts."""
        gone = web.Response(status=410, text=json.dumps(status_of(410, "expired")))
        handler, queries = self.pages((["a"], "t"), gone)
        async with cluster_of(handler) as cluster:
            with pytest.raises(ClusterUnavailable, match="continue token expired 3 times"):
                await cluster.list(CONFIG_MAP, None, {})
        assert len(queries) == 2 * LIST_ATTEMPTS


class TestLogin:
    """Credentials may rotate, and are never told."""

    @staticmethod
    def only(token: str) -> Handler:
        """Let one token in."""

        async def handler(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != f"Bearer {token}":
                return web.json_response(status_of(401, "Unauthorized"), status=401)
            return web.json_response({"kind": "ConfigMap"})

        return handler

    async def test_rotated(self) -> None:
        """A token that has expired is replaced by a new login, unseen by the caller."""
        calls: list[tuple[str, str, int]] = []
        async with cluster_of(self.only("new"), "old", "new", calls=calls) as cluster:
            assert await cluster.get(CONFIG_MAP, "default", "edges")
        assert [code for _, _, code in calls] == [401, 200]

    async def test_rotated_under_load(self) -> None:
        """Many requests that fail at once share one new login."""
        async with cluster_of(self.only("2"), "1", "2", "3") as cluster:
            reads = (cluster.get(CONFIG_MAP, "default", "edges") for _ in range(20))
            assert all(await asyncio.gather(*reads))

    async def test_refused(self) -> None:
        """Credentials that stay wrong are unavailable, and the message does not hold them."""
        async with cluster_of(self.only("other")) as cluster:
            with pytest.raises(ClusterUnavailable, match="HTTP 401: Unauthorized") as caught:
                await cluster.get(CONFIG_MAP, "default", "edges")
        assert TOKEN not in str(caught.value)

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("{", id="not YAML"),
            pytest.param("users: [{name: a, user: {token: ey-very-secret}}]", id="no context"),
            pytest.param(
                "current-context: c\n"
                "contexts: [{name: c, context: {user: a, cluster: gone}}]\n"
                "users: [{name: a, user: {token: ey-very-secret}}, {token: ey-very-secret}]",
                id="an entry without a name",
            ),
            pytest.param("just text", id="not a mapping"),
        ],
    )
    async def test_a_broken_kubeconfig(self, tmp_path: Path, text: str) -> None:
        """A broken kubeconfig is told by its path; the client's own text would quote tokens."""
        file = tmp_path / "kubeconfig"
        file.write_text(text)
        cluster = KubernetesCluster(find_login(str(file)))
        with pytest.raises(ClusterUnavailable, match=f"kubeconfig {file} is not usable") as caught:
            await cluster.get(CONFIG_MAP, "default", "edges")
        assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
        assert TOKEN not in str(caught.value)

    async def test_a_missing_kubeconfig(self, tmp_path: Path) -> None:
        """A kubeconfig that is not there is unavailable: it may come."""
        cluster = KubernetesCluster(find_login(str(tmp_path / "none")))
        with pytest.raises(ClusterUnavailable, match="none is not usable"):
            await cluster.get(CONFIG_MAP, "default", "edges")

    async def test_in_a_pod(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a pod the mounted token logs in; until it is mounted, the cluster is unavailable."""
        token = tmp_path / "token"
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        login = find_login()
        with pytest.raises(ClusterUnavailable, match="ServiceAccount: Service token file"):
            await login()
        token.write_text("one")
        (tmp_path / "ca.crt").write_text("a certificate")
        configuration = await login()
        assert configuration.host == "https://10.0.0.1:443"
        assert await configuration.get_api_key_with_prefix("BearerToken") == "bearer one"

    async def test_a_login_that_hangs(self) -> None:
        """A credential helper that does not come back costs one timeout."""

        async def hanging() -> kube.Configuration:
            await asyncio.sleep(60)
            return kube.Configuration()

        cluster = KubernetesCluster(hanging, timeout=SHORT)
        with pytest.raises(ClusterUnavailable, match=r"no login in 0\.2 s"):
            await cluster.get(CONFIG_MAP, "default", "edges")


JSON = st.recursive(
    st.booleans() | st.text(max_size=3) | st.integers(2, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=12,
)
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON)


def patched(target: Any, patch: Any) -> Any:
    """Apply a merge patch as RFC 7396 section 2 writes it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = patched(result.get(key), value)
    return result


class TestMergePatch:
    """The patch of a status is the whole difference, and nothing else."""

    @UNHURRIED
    @given(current=OBJECTS, desired=OBJECTS)
    def test_it_leads_there(self, current: Any, desired: Any) -> None:
        """Applied as the RFC says, the patch turns any object into any other."""
        assert desired == patched(current, merge_patch(current, desired))

    @UNHURRIED
    @given(current=OBJECTS)
    def test_equal_is_empty(self, current: Any) -> None:
        """Equal objects need no patch."""
        assert merge_patch(current, current) == {}


@pytest.fixture
def namespace(apiserver: ApiServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a namespace of the test's own on the real API server."""
    name = request.node.name.replace("_", "-")[:50]
    apiserver.kubectl("create", "namespace", name)
    yield name
    apiserver.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def cluster(apiserver: ApiServer) -> AsyncIterator[KubernetesCluster]:
    """Give a client of the real API server, as administrator."""
    client = KubernetesCluster(find_login(str(apiserver.kubeconfig)))
    yield client
    await client.close()


def deployment(namespace: str, name: str = "fraud") -> dict[str, Any]:
    """Return a Deployment's manifest."""
    labels = {"app": name}
    container = {"name": "model", "image": "model:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


@pytest.mark.apiserver
class TestRealServer:
    """The same contract, kept by a real kube-apiserver."""

    async def test_create_and_get(self, cluster: KubernetesCluster, namespace: str) -> None:
        """What is created can be read; creating it again is a conflict; what is not is None."""
        created = await cluster.create(deployment(namespace))
        assert created == await cluster.get(DEPLOYMENT, namespace, "fraud")
        with pytest.raises(Conflict, match='"fraud" already exists'):
            await cluster.create(deployment(namespace))
        assert await cluster.get(DEPLOYMENT, namespace, "none") is None

    async def test_missing_kind(self, cluster: KubernetesCluster, namespace: str) -> None:
        """Without KServe its kinds read as None, and can be neither written nor listed."""
        manifest = deployment(namespace) | {
            "apiVersion": SERVING_RUNTIME.api_version,
            "kind": SERVING_RUNTIME.kind,
        }
        assert await cluster.get(SERVING_RUNTIME, namespace, "fraud") is None
        with pytest.raises(Refused, match=r"create ServingRuntime .*HTTP 404"):
            await cluster.create(manifest)
        with pytest.raises(Refused, match=r"list ServingRuntime .*HTTP 404"):
            await cluster.list(SERVING_RUNTIME, namespace, {})

    async def test_apply(self, cluster: KubernetesCluster, namespace: str) -> None:
        """Applying creates (201) and changes (200), takes what others set, and drops what is gone
        from the manifest."""
        first = config_map() | {"data": {"a": "1", "b": "1"}}
        first["metadata"]["namespace"] = namespace
        created = await cluster.apply(first)
        changed = await cluster.apply({**first, "data": {"a": "2"}})
        again = await cluster.apply({**first, "data": {"a": "2"}})
        assert created["data"] == {"a": "1", "b": "1"}
        assert changed["data"] == {"a": "2"}
        assert changed["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
        assert [each["manager"] for each in changed["metadata"]["managedFields"]] == ["headgate"]

    async def test_apply_by_force(
        self, cluster: KubernetesCluster, apiserver: ApiServer, namespace: str
    ) -> None:
        """A field that somebody edited by hand is ours again."""
        manifest = config_map() | {"data": {"a": "1"}}
        manifest["metadata"]["namespace"] = namespace
        await cluster.apply(manifest)
        edit = json.dumps({"data": {"a": "9"}})
        apiserver.kubectl(
            "patch", "configmap", "edges", "-n", namespace, "--type=merge", "-p", edit
        )
        applied = await cluster.apply(manifest)
        assert applied["data"] == {"a": "1"}

    async def test_replace(self, cluster: KubernetesCluster, namespace: str) -> None:
        """An object is put in the place of the one that was read; of another one it is not."""
        created = await cluster.create(lease(namespace, "one"))
        renewed = {**created, "spec": {**created["spec"], "holderIdentity": "two"}}
        second = await cluster.replace(renewed)
        with pytest.raises(Conflict, match="has been modified"):
            await cluster.replace(renewed)
        await cluster.delete(LEASE, namespace, "one", second["metadata"]["uid"])
        with pytest.raises(Conflict, match=r"[Pp]recondition"):
            await cluster.replace(second)
        assert second["spec"]["holderIdentity"] == "two"

    async def test_status(self, cluster: KubernetesCluster, namespace: str) -> None:
        """A status is replaced: keys that are gone go; a stale one is a conflict and changes
        nothing; the spec stays."""
        created = await cluster.create(deployment(namespace))
        first = await cluster.patch_status(created, {"replicas": 2, "observedGeneration": 1})
        second = await cluster.patch_status(first, {"replicas": 3})
        with pytest.raises(Conflict, match="has been modified"):
            await cluster.patch_status(first, {"replicas": 9})
        found = await cluster.get(DEPLOYMENT, namespace, "fraud")
        assert found is not None
        assert first["status"] == {"replicas": 2, "observedGeneration": 1}
        assert {"replicas": 3} == second["status"] == found["status"]
        assert created["spec"] == found["spec"]

    async def test_status_of_a_successor(self, cluster: KubernetesCluster, namespace: str) -> None:
        """A status meant for an object that was deleted never lands on its namesake."""
        old = await cluster.create(deployment(namespace))
        await cluster.delete(DEPLOYMENT, namespace, "fraud", old["metadata"]["uid"])
        with pytest.raises(Conflict, match="not found"):
            await cluster.patch_status(old, {"replicas": 2})
        await cluster.create(deployment(namespace))
        with pytest.raises(Conflict, match="has been modified"):
            await cluster.patch_status(old, {"replicas": 2})

    async def test_delete(self, cluster: KubernetesCluster, namespace: str) -> None:
        """Only the object with that uid is deleted; deleting it twice is fine."""
        created = await cluster.create(deployment(namespace))
        with pytest.raises(Conflict, match=r"[Pp]recondition"):
            await cluster.delete(DEPLOYMENT, namespace, "fraud", "another-uid")
        assert await cluster.get(DEPLOYMENT, namespace, "fraud")
        for _ in range(2):
            await cluster.delete(DEPLOYMENT, namespace, "fraud", created["metadata"]["uid"])
        assert await cluster.get(DEPLOYMENT, namespace, "fraud") is None

    @pytest.mark.parametrize(
        ("path", "value", "expected"),
        [
            pytest.param("replicas", -1, r"spec\.replicas: Invalid value", id="invalid"),
            pytest.param("repliacs", 1, r"spec\.repliacs\b", id="unknown"),
            pytest.param("replicas", "many", "replicas.*string|string.*replicas", id="mistyped"),
        ],
    )
    @pytest.mark.parametrize("verb", ["create", "apply"])
    async def test_refused(
        self, cluster: KubernetesCluster, verb: str, path: str, value: Any, expected: str
    ) -> None:
        """A wrong manifest is refused with the field's name, even if it is only unknown."""
        manifest = deployment("default", "wrong")
        manifest["spec"][path] = value
        with pytest.raises(Refused, match=expected):
            await getattr(cluster, verb)(manifest)

    async def test_no_namespace(self, cluster: KubernetesCluster) -> None:
        """A namespace that does not exist is refused by its name."""
        with pytest.raises(Refused, match='namespaces "nowhere" not found'):
            await cluster.apply(deployment("nowhere"))

    async def test_list(self, cluster: KubernetesCluster, namespace: str) -> None:
        """More objects than a page holds come once each, and only those with the labels."""
        names = [f"edge-{number:03}" for number in range(260)]
        for name in names:
            manifest = config_map(name)
            odd = {"odd": str(int(name[-1]) % 2)}
            manifest["metadata"] |= {"namespace": namespace, "labels": odd}
            await cluster.create(manifest)
        found = await cluster.list(CONFIG_MAP, namespace, {})
        odd_ones = await cluster.list(CONFIG_MAP, namespace, {"odd": "1"})
        assert names == [each["metadata"]["name"] for each in found]
        assert len(odd_ones) == 130
        assert found[0] == await cluster.get(CONFIG_MAP, namespace, "edge-000")

    async def test_rights_and_rotation(
        self, apiserver: ApiServer, namespace: str, tmp_path: Path
    ) -> None:
        """A ServiceAccount without rights is refused by name; its token file may rotate."""
        apiserver.kubectl("create", "serviceaccount", "reader", "-n", namespace)
        token = tmp_path / "token"
        token.write_text("expired")
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(apiserver.kubectl("config", "view", "--raw", "--minify"))
        config = ("config", "--kubeconfig", str(kubeconfig))
        user = apiserver.kubectl(*config, "view", "-o", "jsonpath={.users[0].name}")
        apiserver.kubectl(*config, "delete-user", user)
        apiserver.kubectl(*config, "set", f"users.{user}.tokenFile", str(token))
        cluster = KubernetesCluster(find_login(str(kubeconfig)))
        with pytest.raises(ClusterUnavailable, match="HTTP 401"):
            await cluster.get(CONFIG_MAP, namespace, "edges")
        token.write_text(apiserver.kubectl("create", "token", "reader", "-n", namespace).strip())
        with pytest.raises(Refused, match=f"{namespace}:reader.* cannot get resource"):
            await cluster.get(CONFIG_MAP, namespace, "edges")
        await cluster.close()
