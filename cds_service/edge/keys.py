"""The public keys of callers: JWK Sets given by the site or fetched from a caller's jku. Never a private or shared key.

A fetched set is kept for an hour. A kid that is not in it costs one more fetch, and never more than one per minute and
URL. While the host is down the old set serves on, for a day at most: a key that was revoked must not live for ever.
"""

import base64
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jwa import JWSAlgModel
from joserfc.jws import JWSRegistry

from cds_service.edge.outbound import Limits, Reach, Unreachable, get

_log = logging.getLogger("cds_service")

#: seconds after which a fetched set is fetched anew
FRESH = 3600
#: seconds between two fetches of one URL, whatever tokens ask for
COOL_DOWN = 60
#: seconds for which an old set serves while its host is down
STALE = 24 * 3600
_LEAST_RSA_BITS = 2048
_LIMITS = Limits(seconds=2.0, bytes=256 * 1024)
_ACCEPT = {"Accept": "application/jwk-set+json, application/json"}


class UnsoundKeys(Exception):
    """A JWK Set that is not taken; the text says why and names keys by their place only."""


@dataclass(frozen=True)
class PublicKey:
    """A key and the signatures it can verify: those of its type and curve, and of its `alg` where it has one."""

    key: Any
    algorithms: Mapping[str, JWSAlgModel]

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether this is the signature of what is signed. `algorithm` is one of this key's."""
        return self.algorithms[algorithm].verify(signed, signature, self.key)


KeySet = Mapping[str, PublicKey]


def key_set(content: bytes | str) -> KeySet:
    """Read a JWK Set (RFC 7517): its public asymmetric keys by kid.

    Keys for other uses and of unknown types are passed over, as RFC 7517 section 5 asks. A private or shared key, a key
    without kid and a kid that stands twice spoil the whole set: whoever publishes that has lost control of it.
    """
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError):
        raise UnsoundKeys("text that is not JSON") from None
    return read_keys(raw)


def read_keys(raw: Any) -> KeySet:
    """The keys of a parsed JWK Set."""
    listed = raw.get("keys") if isinstance(raw, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise UnsoundKeys("no JWK Set: an object with an array `keys`")
    found: dict[str, PublicKey] = {}
    for place, one in enumerate(listed):
        _refuse_secrets(one, place)
        if one.get("kty") not in ("EC", "RSA") or one.get("use", "sig") != "sig":
            continue
        kid = one.get("kid")
        if not isinstance(kid, str) or not kid:
            raise UnsoundKeys(f"keys[{place}] has no `kid`")
        if kid in found:
            raise UnsoundKeys(f"keys[{place}] has the `kid` of another key")
        found[kid] = _public_key(one, place)
    if not found:
        raise UnsoundKeys("no key that verifies a signature")
    return found


def _refuse_secrets(one: dict[str, Any], place: int) -> None:
    if one.get("kty") == "oct" or "k" in one:
        raise UnsoundKeys(f"keys[{place}] is a shared secret")
    if "d" in one:
        raise UnsoundKeys(f"keys[{place}] is a private key")


def _public_key(one: dict[str, Any], place: int) -> PublicKey:
    try:
        if one["kty"] == "RSA" and _bits(one["n"]) < _LEAST_RSA_BITS:
            raise UnsoundKeys(f"keys[{place}] is an RSA key of less than {_LEAST_RSA_BITS} bits")
        key = jwk.import_key({name: one[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in one})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise UnsoundKeys(f"keys[{place}] is no public key") from None
    fitting = JWSRegistry.filter_algorithms(key, list(JWSRegistry.algorithms))
    return PublicKey(key, {model.name: model for model in fitting if one.get("alg", model.name) == model.name})


def fetch(url: str, private: bool) -> bytes:
    """Fetch a key set, from a private network where `private` says so. Raises Unreachable.

    http is for loopback alone, which the schema of the callers' file sees to.
    """
    plain = url.startswith("http:")
    return get(url, headers=_ACCEPT, limits=_LIMITS, reach=Reach(private=private or plain, http=plain))


def _bits(number: str) -> int:
    """The length of a number in base64url (RFC 7518 section 2, Base64urlUInt)."""
    return int.from_bytes(base64.urlsafe_b64decode(number + "=" * (-len(number) % 4))).bit_length()


class FetchedKeys:
    """The key set behind one URL. `get` is the only door outside; `clock` counts seconds and never goes back."""

    def __init__(self, url: str, get: Callable[[str], bytes], clock: Callable[[], float]):
        self._url, self._get, self._clock = url, get, clock
        self._keys: KeySet = {}
        self._fetched = self._tried = float("-inf")
        self._fetching = threading.Lock()

    def find(self, kid: str) -> PublicKey | None:
        """The key of this kid, or None. Waits for a fetch only where the kid is not at hand."""
        now = self._clock()
        known = kid in self._keys and now - self._fetched < STALE
        if known and now - self._fetched < FRESH:
            return self._keys.get(kid)
        if now - self._tried >= COOL_DOWN and self._fetching.acquire(blocking=not known):
            try:
                self._refresh()
            finally:
                self._fetching.release()
        return self._keys.get(kid) if self._clock() - self._fetched < STALE else None

    def _refresh(self) -> None:
        """Fetch, unless another thread did so while this one waited for it."""
        if self._clock() - self._tried < COOL_DOWN:
            return
        try:
            self._keys = key_set(self._get(self._url))
            self._fetched = self._clock()
        except (Unreachable, UnsoundKeys) as fault:
            _log.warning("keys not taken from %s: %s", self._url, fault)
        finally:
            self._tried = self._clock()
