"""Which adapter stands behind a policy's repository.

Owns the choice, and how a forge wants its token from Git. Must not know how any of them works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from headgate.adapters.git_cli import Access, GitRepository
from headgate.adapters.gitea import Gitea
from headgate.adapters.github import GitHub
from headgate.adapters.gitlab import GitLab
from headgate.adapters.hosts import Hosts
from headgate.adapters.outbound import Outbound
from headgate.api.release_policy import ForgeKind, GitWriteback
from headgate.ports import Forge, Repository

_FORGES: Mapping[ForgeKind, Callable[[Outbound, str, str, str | None], Forge]] = {
    ForgeKind.GITHUB: GitHub,
    ForgeKind.GITLAB: GitLab,
    ForgeKind.GITEA: Gitea,
}

_USER = "x-access-token"
"""The user that goes with a token: GitHub wants this one, GitLab and Gitea take any."""


class RealBackends:
    """Opens repositories by the real adapters."""

    def __init__(self, outbound: Outbound, hosts: Hosts, ca_file: Path | None) -> None:
        """Use one `outbound` for all forges."""
        self._outbound, self._hosts, self._ca_file = outbound, hosts, ca_file

    def repository(self, policy: GitWriteback, token: str, signing_key: bytes) -> Repository:
        """Open plain Git; see Backends."""
        access = Access(
            address=policy.repository or "",
            token=token,
            user=_USER,
            hosts=self._hosts,
            ca_file=self._ca_file,
            signing_key=signing_key,
        )
        return GitRepository(access)

    def forge(self, policy: GitWriteback, token: str) -> Forge:
        """Open a forge's repository; see Backends. Raises ValueError if the policy names none."""
        if policy.forge is None:
            raise ValueError("wanted a policy with a forge")
        make = _FORGES[policy.forge]
        return make(self._outbound, policy.repository or "", token, policy.api_url)
