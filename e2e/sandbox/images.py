"""
Which local program stands for which container image: the one table of the embedded world.

Owns the images' entry points, as an image's own manifest would. Knows no pod.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# What KServe's storage-initializer image runs, but for confidential models. KServe publishes the
# library as a package and this entry point only inside the image.
_INITIALIZER = """
import os, sys
from kserve_storage import Storage
from kserve_storage.logging import configure_logging, logger
configure_logging()
sources, targets = sys.argv[1::2], sys.argv[2::2]
for target in targets:
    os.makedirs(target, exist_ok=True)
try:
    Storage.download_files(sources, targets)
except Exception as error:
    logger.error("Storage initialization failed: %s", error)
    sys.exit(1)
"""


class Program(enum.Enum):
    """Which program of this machine runs an image."""

    WORLD = "the embedded world's own Python"
    MODEL = "the Python of the model servers' environment"
    AGENT = "KServe's agent"


@dataclass(frozen=True, slots=True)
class Image:
    """
    What runs for an image.

    Attributes:
        arguments: What the program gets before the container's own arguments; empty for an image
            without an entry point, whose containers bring a command.
        port: The port it listens on unless told; 0 when it listens on none.
        port_flag: The flag that tells it another port.
        probe_variable: The variable that holds a probe for it to ask, as JSON; empty for none.
        variables: What it finds in its environment unless the container says otherwise.
    """

    program: Program
    arguments: tuple[str, ...] = ()
    port: int = 0
    port_flag: str = ""
    probe_variable: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


IMAGES = {
    "kserve/agent": Image(
        Program.AGENT,
        port=9081,
        port_flag="--port",
        probe_variable="SERVING_READINESS_PROBE",
        # It logs four lines for each request, which nobody reads.
        variables={"SERVING_LOGGING_LEVEL": "warn"},
    ),
    "kserve/sklearnserver": Image(
        Program.MODEL, ("-m", "sandbox.modelserver"), port=8080, port_flag="--http_port"
    ),
    "kserve/storage-initializer": Image(Program.MODEL, ("-c", _INITIALIZER)),
    "sandbox/history": Image(
        Program.WORLD, ("-m", "sandbox.history"), port=8080, port_flag="--port"
    ),
    "sandbox/model-store": Image(
        Program.WORLD, ("-m", "sandbox.store"), port=8080, port_flag="--port"
    ),
    "sandbox/python": Image(Program.WORLD),
}
"""Repository name, without registry host and tag → what runs."""

_REFERENCE = re.compile(
    r"(?:(?:localhost|[^/]*[.:][^/]*)/)?(?P<repository>[^:@]+)(?::[^@/]+)?(?:@.+)?"
)


def find_image(reference: str) -> Image | None:
    """Return what runs for an image reference of any registry and tag; None when unknown."""
    matched = _REFERENCE.fullmatch(reference)
    return IMAGES.get(matched["repository"]) if matched else None
