"""
Owns the text types of the API: which characters each may hold and how long it may be.

Every string of an object is untrusted input that ends in routes, queries, terminals or logs, so
each has a pattern and a length; the length also bounds the cost of CEL rules. It must not know
any kind. Patterns are read by Go's RE2 in the API server and by Rust's regex in pydantic; both
take linear time and `$` means the end of the text.
"""

from typing import Annotated

from pydantic import Field

DnsLabel = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""An RFC 1123 label, as most Kubernetes names."""

DnsName = Annotated[
    str,
    Field(
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$",
    ),
]
"""An RFC 1123 subdomain: labels with dots between."""

DeploymentName = Annotated[str, Field(max_length=40, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
"""The name of a ModelDeployment: short enough for the host names KServe makes of it."""

RevisionHash = Annotated[str, Field(max_length=8, pattern=r"^[0-9a-f]{8}$")]
"""Eight hexadecimal digits, see `core/revision.py`."""

ContentHash = Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""

Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
"""A digest as registries write it."""

Version = Annotated[
    str, Field(max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._+-]*[A-Za-z0-9])?$")
]
"""A version as the model registry calls it: `7`, `2026.11.20`, `v1.2.0-rc1`."""

Token = Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9._:+-]*$")]
"""A word without meaning to us that may be empty."""

Reason = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
"""A CamelCase word for machines."""

Line = Annotated[str, Field(max_length=1024, pattern=r"^\P{C}*$")]
"""One line for people, without control or invisible characters."""

Sentence = Annotated[str, Field(max_length=4096, pattern=r"^[\P{C}\n\t]*$")]
"""Text for people; it may have several lines."""

Uid = Annotated[str, Field(max_length=64, pattern=r"^[0-9a-zA-Z-]+$")]
"""The uid of a Kubernetes object."""

SignalName = Annotated[str, Field(min_length=1, max_length=160, pattern=r"^\P{C}*$")]
"""
A signal: `errors`, `latency`, one of an objective, such as `objective/availability`, or that of a
feature, such as `input/Amount (EUR)`: features are named by those who made the data.
"""
