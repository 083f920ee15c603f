"""Which namespace kubectl would use, and whether there is anything to log in with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from headgate.adapters import kubeconfig


def written(path: Path, *contexts: tuple[str, str | None], current: str = "") -> str:
    """Write a kubeconfig with these contexts and their namespaces."""
    entries: list[dict[str, Any]] = [
        {"name": name, "context": {"cluster": "c", "user": "u", "namespace": namespace}}
        for name, namespace in contexts
    ]
    for entry in entries:
        if entry["context"]["namespace"] is None:
            del entry["context"]["namespace"]
    config = {"apiVersion": "v1", "kind": "Config", "contexts": entries}
    if current:
        config["current-context"] = current
    config |= {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
    }
    path.write_text(json.dumps(config))
    return str(path)


@pytest.fixture(autouse=True)
def nobodys_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Find no configuration but the one a test writes."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("context", "wanted"),
    [(None, "models"), ("b", "default"), ("c", "other"), ("unknown", "default")],
)
def test_namespace_is_that_of_the_context(context: str | None, wanted: str, tmp_path: Path) -> None:
    """The current context counts unless another one is asked for; without one it is `default`."""
    contexts = (("a", "models"), ("b", None), ("c", "other"))
    path = written(tmp_path / "config", *contexts, current="a")

    assert kubeconfig.namespace(path, context) == wanted


def test_files_of_kubeconfig_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kubectl does: several files, one of which may be missing."""
    first = written(tmp_path / "one", ("a", "models"), current="b")
    second = written(tmp_path / "two", ("b", "other"))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join((first, second)))

    assert kubeconfig.exists(None)
    assert kubeconfig.namespace(None, None) == "other"


@pytest.mark.parametrize("text", ["", "{", "[]", "contexts: 7", "current-context: a"])
def test_unusable_file_gives_the_default_namespace(text: str, tmp_path: Path) -> None:
    """What is wrong with it is told by the login, not here."""
    path = tmp_path / "config"
    path.write_text(text)

    assert kubeconfig.namespace(str(path), None) == "default"


def test_nothing_to_log_in_with_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file anywhere and no pod's account; inside a pod there always is something."""
    assert not kubeconfig.exists(None)
    assert not kubeconfig.exists(str(tmp_path / "missing"))

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert kubeconfig.exists(None)
    assert not kubeconfig.exists(str(tmp_path / "missing"))
