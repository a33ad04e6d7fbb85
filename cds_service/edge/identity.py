"""Who calls: the JSON Web Token of CDS Hooks 2.0 ("Trusting CDS Clients"), checked from the cheap to the dear.

Form, header and claims come before the key, the key before the signature, the signature before the first use of the
token's id is written down. Each failure is a fixed word for the log; the caller gets one text for all of them.
"""

import json
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from cds_service.edge.callers import Callers, Trusted
from cds_service.errors import Forbidden, Problem, Unauthenticated

_LONGEST_TOKEN = 8192
_LONGEST_NAME = 200
#: seconds by which the clocks of caller and service may differ
LEEWAY = 30
#: a header that brings its own key, or asks for what is not known here, is refused
_REFUSED_HEADERS = frozenset({"crit", "b64", "jwk", "x5c", "x5u", "zip", "enc"})
#: a header that a caller understands and this service does not is passed over
_TYPES = JWSRegistry(strict_check_header=False)
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Caller:
    """Who calls, as its token proves. Both are '' where callers are not authenticated."""

    issuer: str = ""
    tenant: str = ""


class TokenUses(Protocol):
    """Where the ids of used tokens are kept, for all workers of a site and over restarts."""

    def first_use(self, issuer: str, jti: str, expires: int) -> bool:
        """Write down a use; False where it was written down before. Raises Unavailable where it cannot tell."""


@dataclass(frozen=True)
class Token:
    """A compact JWS, taken apart and not yet believed."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


class Identity:
    """Tells who calls. `seconds` is the longest life of a token; `clock` gives seconds since 1970."""

    def __init__(self, callers: Callers, seconds: int, uses: TokenUses, clock: Callable[[], float] = time.time):
        self._callers, self._seconds, self._uses, self._clock = callers, seconds, uses, clock

    def caller(self, authorization: str, audiences: Collection[str]) -> Caller:
        """The caller of a request with this Authorization header to an endpoint with these URLs.

        Raises Unauthenticated (401), Forbidden (403, known but not for this tenant) and Unavailable (503).
        """
        token = _token(authorization)
        trusted = _issuer(token, self._callers)
        _check_header(token.header, trusted)
        _check_audience(token.claims, audiences)
        _check_times(token.claims, self._seconds, self._clock())
        jti = _name(token.claims.get("jti"), "token-id")
        _check_signature(token, trusted)
        tenant = _tenant(token.claims, trusted)
        if not self._uses.first_use(trusted.issuer, jti, int(token.claims["exp"]) + LEEWAY + 1):
            raise Unauthenticated("replayed")
        return Caller(trusted.issuer, tenant)


def _token(authorization: str) -> Token:
    """Take the header apart (RFC 6750 section 2.1, RFC 7515 section 7.1)."""
    if not authorization:
        raise Unauthenticated("no-token")
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer" or len(text) > _LONGEST_TOKEN or not _COMPACT.fullmatch(text):
        raise Unauthenticated("malformed")
    signed, _, signature = text.encode("ascii").rpartition(b".")
    header, _, claims = signed.partition(b".")
    try:
        return Token(_object(header), _object(claims), signed, urlsafe_b64decode(signature))
    except (ValueError, RecursionError):  # binascii.Error and UnicodeDecodeError are ValueErrors
        raise Unauthenticated("malformed") from None


def _object(segment: bytes) -> dict[str, Any]:
    """A JSON object out of base64url in its one spelling. ValueError for all else."""
    value = _JSON.decode(urlsafe_b64decode(segment).decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name twice")
    return names


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


#: a name that stands twice is refused (RFC 7515 section 4, RFC 7519 section 4), and so is NaN
_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)


def _issuer(token: Token, callers: Callers) -> Trusted:
    named = token.claims.get("iss")
    trusted = callers.get(named) if isinstance(named, str) else None
    if trusted is None:
        raise Unauthenticated("issuer")
    return trusted


def _check_header(header: dict[str, Any], trusted: Trusted) -> None:
    """`alg`, `typ` and `kid` are demanded; a `jku` must be one of this caller's to the letter. What else a header may
    hold means nothing here, and is still of the type that RFC 7515 section 4.1 gives it.
    """
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in trusted.algorithms:
        raise Unauthenticated("algorithm")
    if header.get("typ") != "JWT" or _REFUSED_HEADERS & header.keys():
        raise Unauthenticated("header")
    _name(header.get("kid"), "key")
    if "jku" in header and header["jku"] not in trusted.jku:
        raise Unauthenticated("key-url")
    try:
        _TYPES.check_header(header)
    except JoseError:
        raise Unauthenticated("header") from None


def _check_audience(claims: dict[str, Any], audiences: Collection[str]) -> None:
    named = claims.get("aud")
    listed = named if isinstance(named, list) else [named]
    if not all(isinstance(one, str) for one in listed) or not set(listed) & set(audiences):
        raise Unauthenticated("audience")


def _check_times(claims: dict[str, Any], seconds: int, now: float) -> None:
    """`exp` and `iat` are demanded, `nbf` is honoured; all are NumericDates (RFC 7519 section 2)."""
    times = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one < 1e11 for one in times):
        raise Unauthenticated("time")
    expires, issued, begins = times
    if expires + LEEWAY <= now:
        raise Unauthenticated("expired")
    if issued > now + LEEWAY or begins > now + LEEWAY or not 0 < expires - issued <= seconds:
        raise Unauthenticated("time")


def _name(value: Any, reason: str) -> str:
    """A short text of printable characters: what may be looked up and stored."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME or not value.isprintable():
        raise Unauthenticated(reason)
    return value


def _check_signature(token: Token, trusted: Trusted) -> None:
    algorithm = token.header["alg"]
    key = trusted.key(token.header["kid"], token.header.get("jku", ""))
    if key is None:
        raise Unauthenticated("key")
    if algorithm not in key.algorithms:
        raise Unauthenticated("algorithm")
    if not key.verifies(algorithm, token.signed, token.signature):
        raise Unauthenticated("signature")


def _tenant(claims: dict[str, Any], trusted: Trusted) -> str:
    """The tenant of a token that is believed: 403 where this caller may not call for it."""
    tenant = _name(claims["tenant"], "tenant") if "tenant" in claims else ""
    if trusted.tenants and tenant not in trusted.tenants:
        problem = Problem("the token", "a tenant that may not call here, or none", "a tenant agreed with this service")
        raise Forbidden([problem], "tenant")
    return tenant
