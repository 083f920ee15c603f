"""What tests of more than one folder share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.apiserver import ApiServer


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Give a real API server with Headgate's CRDs, one for the session."""
    from tests.apiserver import running

    with running(tmp_path_factory.mktemp("apiserver")) as server:
        yield server
