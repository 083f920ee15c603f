"""A world for the write-back: an API server in memory, Git or a forge, and a webhook's receiver.

A test says what people and the operator did, lets processes look and pass, and asks Git, the forge
and the ledger what became of it. Time moves only when a test moves it.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from tests.adapters.forges import TOKEN, GiteaFake, GitHubFake, GitLabFake, Origin
from tests.adapters.gitserver import BareRepository
from tests.api.objects import changed

from headgate.adapters.git_cli import Access, GitRepository
from headgate.adapters.hosts import Hosts
from headgate.adapters.outbound import Outbound
from headgate.adapters.webhook import HttpWebhooks
from headgate.api.release_policy import GitWriteback
from headgate.core.revision import record_digest
from headgate.ports import Conflict, Kind, Manifest, Refused, Repository, Unavailable
from headgate.reconcile.world import Key
from headgate.writeback.backends import RealBackends
from headgate.writeback.ledger import CLAIM, Entry, Ledger
from headgate.writeback.look import Look
from headgate.writeback.world import World, write_back

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
OWN = "headgate-system"
PATH = "teams/models/fraud.yaml"
FAKES = {"GitHub": GitHubFake, "GitLab": GitLabFake, "Gitea": GiteaFake}

FILE = """\
apiVersion: headgate.dev/v1alpha1
kind: ModelDeployment
metadata:
  name: {name}
spec:
  model:
    version: "{version}"   # bumped by the pipeline
  template:
    spec:
      predictor:
        model:
          storageUri: s3://models/{name}/{version}
  traffic: {{gateway: {{name: public}}, hostnames: [{name}.example.com]}}
"""


def file(version: str, name: str = "fraud") -> bytes:
    """The file in Git that asks for a version."""
    return FILE.format(version=version, name=name).encode()


class Killed(BaseException):
    """The process ended here, as by kill -9."""


@dataclass
class MemoryCluster:
    """An API server as far as the write-back can tell."""

    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    before_write: Callable[[str], None] = lambda what: None
    after_write: Callable[[str], None] = lambda what: None
    before_read: Callable[[str], None] = lambda what: None
    _versions: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, manifest: Mapping[str, Any]) -> None:
        """Store what somebody else wrote."""
        stored = copy.deepcopy(dict(manifest))
        stored["metadata"]["resourceVersion"] = str(next(self._versions))
        stored["metadata"].setdefault("uid", f"uid-{stored['metadata']['resourceVersion']}")
        self.objects[self._key(stored)] = stored

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Read one object."""
        self.before_read(f"get {kind.kind} {name}")
        await asyncio.sleep(0)
        return copy.deepcopy(self.objects.get((kind.kind, namespace or "", name)))

    async def list(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str]
    ) -> Sequence[Manifest]:
        """Read all objects with these labels."""
        self.before_read(f"list {kind.kind} {namespace or ''}".strip())
        await asyncio.sleep(0)
        return [
            copy.deepcopy(manifest)
            for (found, where, _), manifest in self.objects.items()
            if found == kind.kind
            and namespace in (None, where)
            and labels.items() <= (manifest["metadata"].get("labels") or {}).items()
        ]

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return await self._written("create", manifest, self._must_be_new)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Replace an object, held against its resourceVersion if it is given."""
        return await self._written("apply", manifest, self._must_be_same)

    async def patch_status(self, current: Manifest, status: Manifest) -> Manifest:
        """Replace the status if nothing changed."""
        wanted = {**copy.deepcopy(dict(current)), "status": dict(status)}
        return await self._written("patch_status", wanted, self._must_be_same)

    async def delete(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """Delete an object."""
        self.before_write(f"delete {kind.kind} {name}")
        self.writes.append(f"delete {kind.kind} {name}")
        self.objects.pop((kind.kind, namespace or "", name), None)

    async def _written(
        self, verb: str, manifest: Manifest, check: Callable[[Manifest], None]
    ) -> Manifest:
        what = f"{verb} {manifest['kind']} {manifest['metadata']['name']}"
        self.before_write(what)
        await asyncio.sleep(0)
        check(manifest)
        self.writes.append(what)
        self.put(manifest)
        self.after_write(what)
        return copy.deepcopy(self.objects[self._key(manifest)])

    def _must_be_new(self, manifest: Manifest) -> None:
        if self._key(manifest) in self.objects:
            raise Conflict(f"{self._key(manifest)} exists")

    def _must_be_same(self, manifest: Manifest) -> None:
        found = self.objects.get(self._key(manifest))
        wanted = manifest["metadata"].get("resourceVersion")
        if wanted is not None and (found is None or found["metadata"]["resourceVersion"] != wanted):
            raise Conflict(f"{self._key(manifest)} changed")
        if found is not None and found.get("immutable"):
            raise Refused(f"{self._key(manifest)} is immutable")

    @staticmethod
    def _key(manifest: Manifest) -> tuple[str, str, str]:
        metadata = manifest["metadata"]
        return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


@dataclass
class TestBackends:
    """Real adapters: Git on a bare repository on disk, forges on fakes."""

    __test__ = False
    address: str
    real: RealBackends
    around: Callable[[Repository], Any] = lambda repository: repository

    def repository(self, policy: GitWriteback, token: str, signing_key: bytes) -> Any:
        """Open plain Git."""
        return self.around(GitRepository(Access(self.address, signing_key=signing_key)))

    def forge(self, policy: GitWriteback, token: str) -> Any:
        """Open a forge."""
        return self.around(self.real.forge(policy, token))


@dataclass
class Receiver:
    """A webhook's receiver: what it got, and what it answers."""

    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        """Take a notification, or answer the next of the statuses."""
        status = self.statuses.pop(0) if self.statuses else 204
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((headers, await request.read()))
        return web.Response(status=status)

    @property
    def ids(self) -> list[str]:
        """The ids of all attempts."""
        return [headers["webhook-id"] for headers, _ in self.got]


@dataclass
class Story:
    """The whole world; `forge_url` and `hook_url` are where the servers listen."""

    folder: Path
    forge_url: str = ""
    hook_url: str = ""
    forge: str = ""
    origin: Any = field(default_factory=Origin)
    receiver: Receiver = field(default_factory=Receiver)
    cluster: MemoryCluster = field(default_factory=MemoryCluster)
    now: datetime = NOW
    around: Callable[[Repository], Any] = lambda repository: repository
    outbounds: list[Outbound] = field(default_factory=list)

    @property
    def hosts(self) -> Hosts:
        """What the process may ask."""
        plain = [u.removeprefix("http://") for u in (self.forge_url, self.hook_url) if u]
        return Hosts(("git.example:443",), "setting --hosts", tuple(plain))

    # --- what people and the operator do ---

    def policy(self, mode: str, name: str = "models", **more: Any) -> None:
        """Make a ReleasePolicy for the namespace `models`."""
        spec: dict[str, Any] = {"mode": mode, "path": "teams/{namespace}/{name}.yaml"}
        if mode != "Notify":
            is_forge = bool(self.forge)
            address = f"{self.forge_url}/acme/models" if is_forge else "https://git.example/x.git"
            spec |= (
                {"repository": address, "forge": self.forge}
                if is_forge
                else {"repository": address}
            )
            if is_forge:
                spec["credentials"] = {"name": "git-token", "key": "token"}
        if mode == "Notify" or more.pop("webhook", False):
            reference = {"name": "webhook", "key": "secret"}
            spec["webhook"] = {"url": f"{self.hook_url}/hook", "secretRef": reference}
        self.cluster.put(
            {
                "apiVersion": "headgate.dev/v1alpha1",
                "kind": "ReleasePolicy",
                "metadata": {"name": name, "generation": 1},
                "spec": {"namespaces": ["models"], "gitWriteback": {**spec, **more}},
            }
        )

    def secrets(self) -> None:
        """Store the credentials."""
        for name, key, value in (("git-token", "token", TOKEN), ("webhook", "secret", "k3y")):
            encoded = base64.b64encode(value.encode()).decode()
            self.cluster.put(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": name, "namespace": OWN},
                    "data": {key: encoded},
                }
            )

    def revision(self, version: str, name: str = "fraud") -> str:
        """Make the ModelRevision of a version; returns its hash."""
        spec = yaml.safe_load(file(version, name))["spec"]
        digits = f"{int(version):08x}"
        self.cluster.put(
            {
                "apiVersion": "headgate.dev/v1alpha1",
                "kind": "ModelRevision",
                "metadata": {"name": f"{name}-{digits}", "namespace": "models"},
                "spec": {
                    "deployment": name,
                    "hash": digits,
                    "model": spec["model"],
                    "template": spec["template"],
                },
            }
        )
        return digits

    def roll_back(
        self,
        rejected: str = "7",
        stable: str = "6",
        number: int = 7,
        name: str = "fraud",
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """The operator rolled a version back: its record and the deployment say so."""
        to, from_ = self.revision(rejected, name), self.revision(stable, name)
        record = {
            "apiVersion": "headgate.dev/v1alpha1",
            "kind": "ModelRollout",
            "metadata": {
                "name": f"{name}-{number:04d}",
                "namespace": "models",
                "uid": f"record-{name}-{number}",
            },
            "spec": {
                "deployment": name,
                "deploymentUID": f"uid-of-{name}",
                "number": number,
                "from": {"revision": f"{name}-{from_}", "hash": from_, "version": stable},
                "to": {"revision": f"{name}-{to}", "hash": to, "version": rejected},
            },
            "status": {
                "outcome": "RolledBack",
                "reason": "AnalysisFailed",
                "message": "errors: 9 of 40 requests failed",
                "finishedAt": "2026-11-25T11:59:00.000000Z",
            },
        }
        record["status"]["digest"] = record_digest(record)  # type: ignore[index]
        self.cluster.put(record)
        self.deployment(
            {
                "status.rollout": f"{name}-{number:04d}",
                "status.stable.hash": from_,
                "status.rejected": [{"hash": to, "rollout": f"{name}-{number:04d}"}],
                **(changes or {}),
            },
            name,
        )

    def deployment(self, changes: Mapping[str, Any], name: str = "fraud") -> None:
        """Make the ModelDeployment, changed as told."""
        manifest = {
            "apiVersion": "headgate.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {
                "name": name,
                "namespace": "models",
                "uid": f"uid-of-{name}",
                "generation": 2,
                "annotations": {},
            },
            "status": {
                "observedGeneration": 2,
                "phase": "RolledBack",
                "rollout": "",
                "stable": {"hash": ""},
                "rejected": [],
            },
        }
        self.cluster.put(changed(manifest, changes))

    def push(self, version: str, message: str = "", name: str = "fraud") -> str:
        """A person asks for a version in Git."""
        path = f"teams/models/{name}.yaml"
        said = message or f"Bump {name} to {version}"
        sha: str = self.origin.push("main", path, file(version, name), said)
        return sha

    # --- what the write-back does ---

    def process(self, holder: str = "pod-1") -> World:
        """Start a process; it knows nothing but what is stored."""
        outbound = Outbound(self.hosts)
        self.outbounds.append(outbound)
        address = self.origin.address if isinstance(self.origin, BareRepository) else ""
        real = RealBackends(outbound, self.hosts, None)
        return World(
            cluster=self.cluster,
            ledger=Ledger(self.cluster, OWN),
            backends=TestBackends(address, real, self.around),
            webhooks=HttpWebhooks(outbound),
            namespace=OWN,
            holder=holder,
            jitter=lambda: 0.0,
        )

    async def turn(self, world: World) -> list[Exception]:
        """Look once and pass over all that was asked for; returns what has to be tried again."""
        keys: list[Key] = []
        await Look(world, self.hosts, keys.append, timedelta(days=90)).run(self.now)
        return [e for key in keys if (e := await self._pass(key, world)) is not None]

    async def turns(self, *worlds: World) -> None:
        """Let processes take two turns, at the same time, with time between them."""
        for _ in range(2):
            await asyncio.gather(*(self.turn(world) for world in worlds))
            self.now += CLAIM + timedelta(seconds=1)

    async def _pass(self, key: Key, world: World) -> Exception | None:
        try:
            await write_back(key, world, self.now)
        except (Unavailable, Refused) as error:
            return error
        return None

    # --- what became of it ---

    async def entry(self, number: int = 7, name: str = "fraud") -> Entry:
        """What is remembered of a record; fails if nothing is."""
        found = await Ledger(self.cluster, OWN).read(f"record-{name}-{number}")
        assert found is not None
        return found

    def status(self, name: str = "models") -> dict[str, Any]:
        """The status of a policy."""
        return dict(self.cluster.objects["ReleasePolicy", "", name]["status"])

    def condition(self, kind: str, name: str = "models") -> tuple[str, str, str]:
        """One condition of a policy: status, reason, message."""
        found = next(c for c in self.status(name)["conditions"] if c["type"] == kind)
        return found["status"], found["reason"], found["message"]

    def ours(self) -> list[str]:
        """Our commits on main."""
        return [m for m in self.origin.messages("main") if "Rollback-Record" in m]

    def events(self) -> list[tuple[str, str]]:
        """Reason and message of the Events."""
        kept = self.cluster.objects.items()
        return [(m["reason"], m["message"]) for (kind, *_), m in kept if kind == "Event"]

    async def close(self) -> None:
        """Close all connections."""
        for outbound in self.outbounds:
            await outbound.close()
