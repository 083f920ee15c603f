"""A rollback as a CloudEvent, and its signature.

Owns the body and headers of a notification: CloudEvents 1.0 in structured JSON, signed as Standard
Webhooks says (https://www.standardwebhooks.com), for which receivers find libraries. Must not know
how it is sent. The event's id is the record's uid, so that a receiver drops what comes twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime

from headgate.core.memory import render_moment
from headgate.core.wording import plain
from headgate.core.writeback.reasons import Refusal
from headgate.core.writeback.wanted import Rollback, Version

TYPE = "dev.headgate.rollout.rolledback.v1"
CONTENT_TYPE = "application/cloudevents+json"
_SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks marks a key in base64


def render_event(
    rollback: Rollback, repository: str | None, branch: str, refusal: Refusal | None = None
) -> bytes:
    """
    Render the body; the same record gives the same bytes.

    Args:
        rollback: What happened.
        repository: Where the deployment is written, if the policy says so.
        branch: The branch that is applied.
        refusal: Why the write-back did not edit the file itself, where it was to.
    """
    about = {
        "namespace": rollback.namespace,
        "deployment": rollback.deployment,
        "record": {"name": rollback.name, "uid": rollback.uid, "digest": rollback.digest},
        "rejected": _version(rollback.rejected),
        "stable": _version(rollback.stable),
        "reason": rollback.reason,
        "message": plain(rollback.message),
        "git": {"repository": repository, "branch": branch},
    }
    if refusal is not None:
        about["notEdited"] = {"reason": refusal.why.value, "message": plain(refusal.message)}
    event = {
        "specversion": "1.0",
        "id": rollback.uid,
        "source": f"/apis/headgate.dev/v1alpha1/namespaces/{rollback.namespace}"
        f"/modeldeployments/{rollback.deployment}",
        "type": TYPE,
        "subject": rollback.name,
        "time": render_moment(rollback.finished_at),
        "datacontenttype": "application/json",
        "data": about,
    }
    return json.dumps(event, sort_keys=True, ensure_ascii=True).encode()


def signed_headers(body: bytes, uid: str, secret: bytes, now: datetime) -> dict[str, str]:
    """
    Return the headers of one attempt: id, moment, and HMAC-SHA256 over both and the body.

    Args:
        body: What is sent, byte for byte.
        uid: The event's id.
        secret: The shared key: any bytes, or `whsec_` and base64.
        now: The moment of this attempt, in UTC; receivers refuse old ones.

    Raises:
        ValueError: The key is empty or no base64.
    """
    moment = str(int(now.timestamp()))
    text = f"{uid}.{moment}.".encode() + body
    signature = hmac.new(_key(secret), text, hashlib.sha256).digest()
    return {
        "Content-Type": CONTENT_TYPE,
        "webhook-id": uid,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def _key(secret: bytes) -> bytes:
    stripped = secret.strip()
    if not stripped:
        raise ValueError("wanted a key to sign with, found an empty one")
    if not stripped.startswith(_SECRET_PREFIX.encode()):
        return stripped
    try:
        return base64.b64decode(stripped[len(_SECRET_PREFIX) :], validate=True)
    except binascii.Error:
        raise ValueError(f"wanted base64 after {_SECRET_PREFIX}") from None


def _version(version: Version) -> dict[str, str]:
    return {"version": version.version, "hash": version.hash, "revision": version.revision}
