"""What was read from the latest records. A client calls again and again with the same record: another tab, another
hook, every order that is selected; it is read once.

It holds facts of patients, so it is in memory only, small, and can be switched off.
"""

from collections import OrderedDict
from collections.abc import Mapping
from functools import _CacheInfo
from hashlib import sha256
from threading import Lock
from typing import Any, NamedTuple

import orjson

from cds_service.model import Fact


class Known(NamedTuple):
    """What a record says: its facts, and the truths of the knowledge's questions about them, a digit each."""

    facts: Mapping[str, Fact]
    answers: bytes


class Memory:
    """The latest records by the digest of everything that they were read from, at most so many; safe for threads."""

    def __init__(self, most: int):
        self._most = most
        self._latest: OrderedDict[bytes, Known] = OrderedDict()
        self._lock = Lock()
        self.hits = self.misses = 0

    def cache_info(self) -> _CacheInfo:
        """How often it was of use, and how much is in it, as functools tell it of their caches."""
        return _CacheInfo(self.hits, self.misses, self._most, len(self._latest))

    def key(self, patient: str, today: str, prefetch: Mapping[str, Any], written: bytes = b"") -> bytes:
        """What a record is known by; nothing where none is remembered, or it holds what is no JSON. `written` is the
        JSON of the prefetch, where it is at hand.
        """
        if not self._most:
            return b""
        try:
            digest = sha256(orjson.dumps([patient, today]))
            digest.update(written or orjson.dumps(prefetch, option=orjson.OPT_PASSTHROUGH_DATACLASS))
        except orjson.JSONEncodeError:  # an answer that was not to be had, or nested too deeply
            return b""
        return digest.digest()

    def recall(self, key: bytes) -> Known | None:
        """What is remembered by this key."""
        with self._lock:
            found = self._latest.get(key)
            if found is None:
                self.misses += 1
            else:
                self.hits += 1
                self._latest.move_to_end(key)
            return found

    def keep(self, key: bytes, known: Known) -> None:
        """Remember it, in place of the one that was not asked for the longest."""
        if key:
            with self._lock:
                self._latest[key] = known
                if len(self._latest) > self._most:
                    self._latest.popitem(last=False)
