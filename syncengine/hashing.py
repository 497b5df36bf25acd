"""The canonical form of a contact and its content hash.

Values are made canonical by the mapping (text trimmed and NFC, sets sorted and de-duplicated); here they
get one spelling in bytes. The hash input holds no floats, so that a serialiser's way of printing them
cannot make every contact look changed (orjson 3.11.7 changed it once).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

HASH_VERSION = 1
"""Stored beside each hash. A new version re-hashes what is stored; it never sends."""

HASH_BYTES = 16


def canonical_key(text: str) -> str:
    """Return a key as it is stored: composed (NFC), without spaces around it."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def canonical(contact: Mapping[str, Any]) -> bytes:
    """Return the contact as canonical JSON: UTF-8, keys sorted, no spaces."""
    return orjson.dumps(contact, option=orjson.OPT_SORT_KEYS)


def content_hash(content: bytes) -> bytes:
    """Return the 16-byte content hash of canonical JSON (BLAKE2b-128)."""
    return blake2b(content, digest_size=HASH_BYTES).digest()
