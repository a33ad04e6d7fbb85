"""What a CDS client does to be known: keys, JSON Web Tokens, and the ways in which both go wrong."""

import base64
import hmac
import json
import time
from typing import Any

from joserfc import jwk, jws
from support import URL

PUBLIC_URL = "https://cds.example.org"
ISSUER = "https://ehr.example.org"
OTHER = "https://other.example.org"
JKU = "https://ehr.example.org/jwks.json"
NOW = int(time.time())

EC = jwk.ECKey.generate_key("P-384", {"kid": "ec"}, private=True)
RSA = jwk.RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)
P256 = jwk.ECKey.generate_key("P-256", {"kid": "p256"}, private=True)
STRANGER = jwk.ECKey.generate_key("P-384", {"kid": "ec"}, private=True)

DROP = object()
_HASHES = {"HS256": "sha256", "HS384": "sha384"}
_count = iter(range(10**9))


def jwks(*keys: Any) -> dict[str, Any]:
    """The JWK Set of the public halves."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token for the service, changed; DROP leaves one out."""
    good = {
        "iss": ISSUER,
        "aud": PUBLIC_URL + URL,
        "exp": NOW + 300,
        "iat": NOW,
        "jti": f"jti-{next(_count)}",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not DROP}


def header(**changes: Any) -> dict[str, Any]:
    """The header of a good token, changed; DROP leaves one out."""
    good = {"alg": "ES384", "typ": "JWT", "kid": "ec"}
    return {name: value for name, value in {**good, **changes}.items() if value is not DROP}


def b64(content: bytes | str | dict[str, Any]) -> str:
    """base64url without padding, of JSON where a mapping is given."""
    raw = json.dumps(content) if isinstance(content, dict) else content
    return base64.urlsafe_b64encode(raw.encode() if isinstance(raw, str) else raw).rstrip(b"=").decode()


def signed(head: dict[str, Any] | str, body: dict[str, Any] | str, key: Any = EC, alg: str = "ES384") -> str:
    """A token signed with this key and algorithm, whatever its header says."""
    signing_input = f"{b64(head)}.{b64(body)}"
    if alg in _HASHES:
        signature = hmac.digest(key, signing_input.encode(), _HASHES[alg])
    else:
        signature = jws.JWSRegistry.algorithms[alg].sign(signing_input.encode(), key)
    return f"{signing_input}.{b64(signature)}"


def token(key: Any = EC, alg: str = "ES384", head: dict[str, Any] | None = None, **changes: Any) -> str:
    """A good token with changed claims; `head` changes the header."""
    return signed(header(**{"alg": alg, "kid": key.get("kid"), **(head or {})}), claims(**changes), key, alg)


class Uses:
    """Where used tokens are kept, in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], int] = {}

    def first_use(self, issuer: str, jti: str, expires: int) -> bool:
        if (issuer, jti) in self.kept:
            return False
        self.kept[issuer, jti] = expires
        return True
