"""
Owns what is kept in Git of a proven revision, so that a rebuilt cluster can begin with it.

`headgate export --proven` writes it and `spec.rollout.provenRevision` holds it. It must not know
which kind carries it, nor when it is used.
"""

from typing import Annotated, Any

from pydantic import Field

from headgate.core.revision import proven_digest, revision_hash

from .model_revision import RevisionDrift, RuntimeReference
from .names import Digest, DnsName, RevisionHash
from .quantities import Moment
from .records import ContentReference, ModelIdentity, Template
from .schema import ListMap, ListSet
from .shape import Shape


class ProvingRollout(Shape):
    """The record of the rollout that proved a revision."""

    name: DnsName
    """Name of the ModelRollout."""
    digest: Digest
    """Digest of its finished record."""


class ProvenRevision(Shape):
    """
    A revision that was proven, whole: a rebuilt cluster begins with it and not with what Git has
    since. Written by `headgate export --proven`; where something serves already it means nothing.
    """

    canonical: Annotated[int, Field(ge=1)]
    """Version of the canonical form that hash and digest are made of."""
    hash: RevisionHash
    """Hash of the revision."""
    model: ModelIdentity
    """What the model is."""
    template: Template
    """The InferenceService of the revision, as the deployment had it."""
    config_maps: Annotated[tuple[ContentReference, ...], Field(max_length=64), ListMap("name")] = ()
    """ConfigMaps that the template names, with the hash of the contents it was proven with."""
    secrets: Annotated[tuple[DnsName, ...], Field(max_length=64), ListSet()] = ()
    """Secrets that the template names and whose contents are part of the hash, at most 64."""
    untracked: Annotated[tuple[DnsName, ...], Field(max_length=64), ListSet()] = ()
    """Secrets that the template names and whose contents nobody knows, at most 64."""
    runtime: RuntimeReference | None = None
    """The KServe runtime, if the template names one."""
    drift: RevisionDrift | None = None
    """What was watched of its data, if the deployment asked for it."""
    proven_at: Moment
    """When it was proven."""
    rollout: ProvingRollout | None = None
    """The rollout that proved it; absent if its record was not kept."""
    digest: Digest
    """SHA-256 of all of the above in canonical form."""

    @property
    def content_digest(self) -> str:
        """The digest that the content has, whatever the field says."""
        return proven_digest(self.manifest())

    @property
    def content_hash(self) -> str | None:
        """The revision hash of the content; None where Secrets are in it, which are not here."""
        return None if self.secrets else self.hash_with({})

    def hash_with(self, secrets: dict[str, str]) -> str:
        """Return the revision hash of the content, with these hashes of its Secrets by name."""
        return revision_hash(
            template=self.template.manifest(),
            digest=self.model.digest,
            config_maps={one.name: one.hash for one in self.config_maps},
            secrets=secrets,
            runtime_hash=self.runtime.hash if self.runtime else None,
            profile=self.drift.reference.digest if self.drift else None,
        )

    @property
    def revision_spec(self) -> dict[str, Any]:
        """The fields of a ModelRevision's spec that are kept here."""
        kept = self.manifest()
        names = ("hash", "model", "template", "configMaps", "secrets", "untracked")
        optional = {name: kept[name] for name in ("runtime", "drift") if name in kept}
        return {name: kept[name] for name in names} | optional
