"""Digests of source texts: equal for texts that differ only in white space or Unicode composition."""

import hashlib
import unicodedata


def digest(text: str) -> str:
    """sha256 over the text in NFC with single spaces."""
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    return f"sha256:{hashlib.sha256(plain.encode()).hexdigest()}"
