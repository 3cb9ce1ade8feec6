"""Signatures of requests, as Standard Webhooks 1.0.0 specifies them (standardwebhooks.com). Pure."""

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from ledger.credentials import standard_key


def signature_headers(secrets: Sequence[bytes], message_id: str, at: datetime, body: bytes) -> Mapping[str, str]:
    """Return the headers of a signed request. Each live secret signs it, so a rotation interrupts no receiver."""
    timestamp = int(at.timestamp())
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: bytes, signed: bytes) -> str:
    key = standard_key(secret.decode())
    assert key is not None, "a secret is checked when it is made"
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
