"""
How a container's manifest becomes the command line of a local process.

Pure translation: variables, paths of volumes, ports. Owns what is rewritten and what is left as
it is. Knows neither processes nor the API server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from sandbox.images import Image, find_image
from sandbox.kube import Json

_VARIABLE = re.compile(r"\$(?:\$|\(([^()]+)\))")
_PORT_FLAG = re.compile(r"(--?(?:[\w-]*[_-])?port)(?:=(\d+))?")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_QUANTITY = re.compile(r"([\d.]+)([a-zA-Z]*)")
_UNITS = {
    "": 1.0,
    "m": 1e-3,
    **{unit: 1e3**power for power, unit in enumerate("kMGTP", start=1)},
    **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTP", start=1)},
}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` as a kubelet does: unknown names stay, `$$` is one dollar sign."""
    return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]) if found[1] else "$", text)


def rewrite_paths(text: str, mounts: Sequence[tuple[str, Path]]) -> str:
    """Replace mount paths by the folders that stand for them; the longer path wins."""
    if not mounts:
        return text
    folders = {path.rstrip("/"): str(folder) for path, folder in mounts}
    longest_first = sorted(folders, key=len, reverse=True)
    # A path inside a longer path or inside a URL of another scheme is something else.
    found = re.compile(
        r"(?<![\w./-])(file://)?(" + "|".join(map(re.escape, longest_first)) + r")(?![\w.-])"
    )
    return found.sub(lambda match: (match[1] or "") + folders[match[2]], text)


def containers_of(pod: Json) -> tuple[Json, ...]:
    """Return all containers of a pod, init containers first."""
    spec = pod["spec"]
    return (*(spec.get("initContainers") or ()), *spec["containers"])


def container_ports(pod: Json) -> tuple[int, ...]:
    """Return every port that something in the pod listens on, as the manifest numbers them."""
    found: dict[int, None] = {}
    for container in containers_of(pod):
        declared = [entry["containerPort"] for entry in container.get("ports") or ()]
        flagged = list(_flagged_ports(container))
        image = find_image(container["image"])
        default = [image.port] if image and image.port and not flagged else []
        for number in (*declared, *_probed_ports(container), *flagged, *default):
            found.setdefault(number)
    return tuple(found)


def _probed_ports(container: Json) -> Iterable[int]:
    for name in _PROBES:
        for action in (container.get(name) or {}).values():
            if isinstance(action, dict) and isinstance(action.get("port"), int):
                yield action["port"]


def _flagged_ports(container: Json) -> Iterable[int]:
    arguments = [*(container.get("command") or ()), *(container.get("args") or ())]
    for flag, following in pairwise([*arguments, ""]):
        if matched := _PORT_FLAG.fullmatch(flag):
            value = matched[2] or following
            if value.isdecimal():
                yield int(value)


def named_port(container: Json, port: int | str) -> int:
    """
    Return the number of a port given by number or name.

    Raises:
        LookupError: The container has no port of that name.
    """
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise LookupError(f"container {container['name']} has no port named {port}")


def rewrite_ports(arguments: Sequence[str], ports: Mapping[int, int]) -> list[str]:
    """Replace the values of flags that name a port by the local ports."""
    rewritten: list[str] = []
    after_flag = False
    for argument in arguments:
        matched = _PORT_FLAG.fullmatch(argument)
        if matched and matched[2]:
            rewritten.append(f"{matched[1]}={_local(matched[2], ports)}")
        else:
            rewritten.append(_local(argument, ports) if after_flag else argument)
        after_flag = bool(matched and not matched[2])
    return rewritten


def rewrite_probe(text: str, ports: Mapping[int, int]) -> str:
    """Replace the port that a probe asks, given as JSON, by the local port."""
    probe = json.loads(text)
    for action in probe.values():
        if isinstance(action, dict) and isinstance(action.get("port"), int):
            action["port"] = ports.get(action["port"], action["port"])
    return json.dumps(probe)


def _local(value: str, ports: Mapping[int, int]) -> str:
    return str(ports.get(int(value), value)) if value.isdecimal() else value


def render_command(
    container: Json,
    image: Image,
    program: Path,
    variables: Mapping[str, str],
    mounts: Sequence[tuple[str, Path]],
    ports: Mapping[int, int],
) -> list[str]:
    """
    Return the command line of a container.

    A container's `command` takes the place of the image's entry point, and `args` follow it.
    A bare `python` is the image's own.
    """
    given = [expand(part, variables) for part in container.get("command") or ()]
    arguments = [expand(part, variables) for part in container.get("args") or ()]
    if given:
        entry = [str(program), *given[1:]] if given[0] in ("python", "python3") else given
    else:
        entry = [str(program), *image.arguments]
        has_flag = any(part.partition("=")[0] == image.port_flag for part in arguments)
        if image.port_flag and not has_flag:
            arguments = [*arguments, f"{image.port_flag}={image.port}"]
    # The entry point of an image is its own program text, not the manifest's.
    whole = rewrite_ports([*given[1:], *arguments] if given else arguments, ports)
    head = [entry[0]] if given else entry
    return [*head, *(rewrite_paths(part, mounts) for part in whole)]


def read_field(pod: Json, path: str) -> str:
    """
    Return a field of a pod for the downward API; empty when the pod does not have it.

    Raises:
        LookupError: The path is none that the downward API offers.
    """
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    if matched := _FIELD.fullmatch(path):
        return str((meta.get(matched[1]) or {}).get(matched[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(meta[path.partition(".")[2]])
        case "metadata.labels" | "metadata.annotations":
            entries = meta.get(path.partition(".")[2]) or {}
            return "\n".join(f'{name}="{value}"' for name, value in sorted(entries.items()))
        case "spec.nodeName" | "spec.serviceAccountName":
            return str(spec.get(path.partition(".")[2], ""))
        case "status.podIP" | "status.hostIP":
            return str(status.get(path.partition(".")[2], ""))
        case "status.podIPs" | "status.hostIPs":
            return ",".join(entry["ip"] for entry in status.get(path.partition(".")[2]) or ())
    raise LookupError(f"field {path} is not offered to containers")


def read_resource(container: Json, reference: Json) -> str:
    """Return a container's resource as the downward API does, rounded up; "0" when unset."""
    side, _, name = reference["resource"].partition(".")
    quantity = str(((container.get("resources") or {}).get(side) or {}).get(name, "0"))
    divisor = str(reference.get("divisor") or "1")
    exact = _read_quantity(quantity) / (_read_quantity(divisor) or 1.0)
    return str(-int(-exact // 1))


def _read_quantity(text: str) -> float:
    matched = _QUANTITY.fullmatch(text)
    if matched is None:
        raise LookupError(f"{text!r} is not a quantity")
    return float(matched[1]) * _UNITS[matched[2]]
