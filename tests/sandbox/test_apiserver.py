"""The API server fixture that other tests stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

pytestmark = pytest.mark.apiserver


def test_it_is_the_kubernetes_that_go_mod_pins(apiserver: ApiServer) -> None:
    """Clients see the real version, not the placeholder of an unstamped build."""
    from sandbox.builds import kubernetes_version

    assert f'"gitVersion": "{kubernetes_version()}"' in apiserver.kubectl(
        "get", "--raw", "/version"
    )


def test_an_object_survives_a_round_trip(apiserver: ApiServer) -> None:
    """What kubectl creates can be read again: store, admission and login work."""
    apiserver.kubectl("create", "configmap", "note", "--from-literal=word=evidence")

    found = apiserver.kubectl("get", "configmap", "note", "-o", "jsonpath={.data.word}")

    assert found == "evidence"


def test_a_refusal_carries_the_servers_own_words(apiserver: ApiServer) -> None:
    """A wrong object raises with the field that the server names."""
    with pytest.raises(KubectlError, match=r"metadata\.name: Invalid value: \"Not_A_Name\""):
        apiserver.kubectl("create", "configmap", "Not_A_Name")
