"""
The control plane as a process: its command line, its readiness, and kubectl against it.

Knows the flags of `controlplane/` (the Go program) and nothing of what runs in the cluster.
`KUBEBUILDER_ASSETS` is honoured: etcd, kube-apiserver and kubectl of that folder are used then, and
only controllers and scheduler, which it lacks, run in our program.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.cache import MissingError

_ASSETS = ("etcd", "kube-apiserver", "kubectl")


class KubectlError(Exception):
    """kubectl refused; the message is what it said."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """
    A control plane that runs or will run.

    Attributes:
        binary: The program made by `builds.CONTROL_PLANE`.
        data: Its data folder.
        kubeconfig: Where it writes the administrator's login.
        port: Of the API server, on 127.0.0.1.
    """

    binary: Path
    data: Path
    kubeconfig: Path
    port: int

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate that clients must trust, in PEM."""
        return self.data / "pki" / "ca.crt"

    def command(self, *more: str) -> list[str]:
        """Return the command line that runs it; `more` are further flags of `serve`."""
        folder = assets()
        chosen = [] if folder is None else ["--assets", str(folder)]
        return [
            *(str(self.binary), "serve", "--data-dir", str(self.data)),
            *("--kubeconfig", str(self.kubeconfig), "--port", str(self.port)),
            *chosen,
            *more,
        ]

    def kubectl_command(self) -> list[str]:
        """Return the command line of kubectl, without its arguments."""
        folder = assets()
        return [str(self.binary), "kubectl"] if folder is None else [str(folder / "kubectl")]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """
        Run kubectl as administrator and return what it prints.

        Raises:
            KubectlError: It ended with an error.
        """
        done = subprocess.run(
            [*self.kubectl_command(), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *arguments: str, stdin: str | None = None) -> str:
        """Apply manifests on the server's side; `arguments` say which, as of `kubectl apply`."""
        options = ("--server-side", "--force-conflicts", "--field-manager=sandbox")
        return self.kubectl("apply", *options, *arguments, stdin=stdin)

    def is_ready(self) -> bool:
        """Say whether the API server answers /readyz with ok."""
        return self.answers("/readyz")

    def has_controllers(self) -> bool:
        """Say whether the controllers have begun: the default ServiceAccount exists."""
        return self.answers("/api/v1/namespaces/default/serviceaccounts/default")

    def answers(self, path: str) -> bool:
        """Say whether a GET of `path` as administrator succeeds."""
        pki = self.data / "pki"
        try:
            trust = ssl.create_default_context(cafile=str(self.authority))
            trust.load_cert_chain(pki / "admin.crt", pki / "admin.key")
            with urllib.request.urlopen(self.url + path, context=trust, timeout=2) as response:
                return bool(response.status == 200)
        except (OSError, ssl.SSLError, urllib.error.URLError):
            return False

    def wait_until_established(self, patience_seconds: float = 30) -> None:
        """
        Wait until the API server serves every CRD it has.

        Raises:
            KubectlError: One of them is refused, or it takes longer than `patience_seconds`.
        """
        options = ("--all", f"--timeout={patience_seconds:.0f}s")
        if self.kubectl("get", "crd", "-o", "name").strip():
            self.kubectl("wait", "--for=condition=Established", "crd", *options)

    def certificate(self, out: Path, hosts: Sequence[str] = ("127.0.0.1", "localhost")) -> None:
        """Write tls.crt and tls.key for `hosts` into `out`, signed by the world's CA."""
        command = [str(self.binary), "certificate", "--data-dir", str(self.data)]
        subprocess.run([*command, "--out", str(out), "--hosts", ",".join(hosts)], check=True)


def assets() -> Path | None:
    """
    Return the folder of `KUBEBUILDER_ASSETS`, or None where that is not set.

    Raises:
        MissingError: It is set, and a program that is needed from it is not there.
    """
    chosen = os.environ.get("KUBEBUILDER_ASSETS")
    if not chosen:
        return None
    folder = Path(chosen).resolve()
    missing = [name for name in _ASSETS if not os.access(folder / name, os.X_OK)]
    if missing:
        raise MissingError(
            f"KUBEBUILDER_ASSETS={chosen} lacks {', '.join(missing)}:"
            " complete it (setup-envtest use), or unset it to use the built-in ones"
        )
    return folder
