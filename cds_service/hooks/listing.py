"""What a card lists, and the card id that carries an imprint of it, so that feedback finds the listing by the id alone.

Cards are not stored. A card's `uuid` is of version 8 (RFC 9562, section 5.8: 48 + 12 + 62 bits of the maker's choice):
the first 60 bits are the imprint of what is listed, the same for every patient with the same listing; the other 62 keep
it unique to the call. Nothing of the patient goes into either but what the card says.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.knowledge.knowledge import Knowledge

EXTENSION = "org.cds-service"
_OURS = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-8([0-9a-f]{3})-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Place:
    """The card and the section that an option stands in, by their ids."""

    card: str
    section: str


@dataclass(frozen=True)
class Listing:
    """What a card lists under one knowledge: `options` are (option, section, status), in the card's order.

    The `card` of a drug in hand is `drug:` and its id. A card that lists no option (disease on record that is marked
    as over) has an empty `card` and no options.
    """

    imprint: str
    card: str
    version: str
    digest: str
    options: tuple[tuple[str, str, str], ...]


def imprint(digest: str, options: Iterable[tuple[str, str]]) -> str:
    """60 bits, as 15 hexadecimal digits, of a knowledge's digest and the options listed with their statuses."""
    return hashlib.sha256(json.dumps([digest, *options]).encode()).hexdigest()[:15]


def fingerprint(head: str, body: str) -> str:
    """What tells the text of a card from any other."""
    return hashlib.sha256(f"{head}\0{body}".encode()).hexdigest()


def card_id(mark: str, content: str) -> str:
    """The UUID of version 8 for a card of this imprint; `content` is what makes the card differ from others."""
    rest = int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big") >> 2 | 1 << 63
    tail = f"{rest:016x}"
    return f"{mark[:8]}-{mark[8:12]}-8{mark[12:]}-{tail[:4]}-{tail[4:]}"


def imprint_of(card_id: str) -> str:
    """The imprint within the id of a card, '' where the id was not made by `card_id`."""
    found = _OURS.fullmatch(card_id)
    return "".join(found.groups()) if found else ""


def places(knowledge: Knowledge) -> Mapping[str, Place]:
    """Where each option stands."""
    return {option.id: Place(one.card, one.id) for one in knowledge.sections for option in one.options}


def listing(card: Mapping[str, Any], stands: Mapping[str, Place]) -> Listing:
    """What a card that this service wrote lists, read from its extension."""
    said = card["extension"][EXTENSION]
    rows = tuple((one["option"], stands[one["option"]].section, one["status"]) for one in said["options"])
    name = f"drug:{said['drug']['drug']}" if "drug" in said else stands[rows[0][0]].card if rows else ""
    known = said["knowledge"]
    return Listing(imprint_of(card["uuid"]), name, known["version"], known["digest"], rows)
