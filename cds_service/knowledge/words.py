"""Building the lexicon from the codes and words of the fact, drug, class and value files."""

from collections.abc import Iterator, Mapping
from typing import Any

from cds_service.knowledge.files import Files
from cds_service.knowledge.lexicon import Lexicon, Sense

_FACT_LISTS = {
    "asks": "asks",
    "says": "says",
    "ignores": "ignored",
    "ambiguous": "ambiguous",
    "targets": "target",
    "body_sites": "body-site",
}


def lexicon(files: Files, systems: Mapping[str, tuple[str, ...]]) -> Lexicon:
    """Every code under every URI its system goes by, every word under its domain."""
    codes: dict[tuple[str, str], list[Sense]] = {}
    for row, sense in _coded(files):
        for uri in systems.get(row["system"], ()):
            codes.setdefault((uri, row["code"]), []).append(sense)
    words: dict[str, dict[str, list[Sense]]] = {}
    for domain, word, sense in _worded(files):
        words.setdefault(domain, {}).setdefault(word, []).append(sense)
    return Lexicon(
        {key: tuple(dict.fromkeys(senses)) for key, senses in codes.items()},
        {
            domain: {word: tuple(dict.fromkeys(senses)) for word, senses in by_word.items()}
            for domain, by_word in words.items()
        },
        {uri: name for name, uris in systems.items() for uri in uris},
    )


def _coded(files: Files) -> Iterator[tuple[Mapping[str, Any], Sense]]:
    for fact, raw in files.data.get("fact", {}).items():
        for key, role in _FACT_LISTS.items():
            for row in raw.get(key, []):
                meaning = row.get("means") or row.get("by", "")
                may_be, manner = tuple(row.get("may_be", ())), row.get("by", "")
                yield row, Sense(role, fact, meaning, row["display"], may_be, row.get("why", ""), manner)
        for row in raw.get("settings", []):
            yield row, Sense("setting", fact, row["means"], row["display"])
    for drug, raw in files.data.get("drug", {}).items():
        for row in raw["codes"]:
            yield row, Sense("drug", drug, row.get("level", ""), row["display"])
        for row in raw.get("not_this", []):
            yield row, Sense("not-this", drug, "", row["display"], (), row.get("why", ""))
        for row in raw.get("ambiguous", []):
            may_be = tuple(row.get("may_be", (drug,)))
            yield row, Sense("ambiguous", "drug", "", row["display"], may_be, row.get("why", ""))
    for raw in files.one("classes")["classes"]:
        for row in raw.get("codes", []):
            yield row, Sense("class", raw["class"], "", row["display"])
    for row in files.one("values")["values"]:
        yield row, Sense("value", "value", row["means"], row["display"])


def _worded(files: Files) -> Iterator[tuple[str, str, Sense]]:
    for drug, raw in files.data.get("drug", {}).items():
        for word in raw["names"]:
            yield "drug", word, Sense("drug", drug, "text", word)
        for word in raw.get("ambiguous_names", []):
            yield "drug", word, Sense("ambiguous", "drug", "", word, (drug,), "another use is as likely")
        for word in raw.get("not_names", []):
            yield "drug", word, Sense("other", drug, "text", word)
        for word in raw.get("not_with", []):
            yield f"not-with:{drug}", word, Sense("word", drug, "not-with", word)
        for word in raw.get("solvents", []):
            yield "solvent", word, Sense("ambiguous", "drug", "", word, (drug,), "its solvent")
    for raw in files.one("regimens")["regimens"]:
        for word in raw["names"]:
            for drug in raw["drugs"]:
                yield "drug", word, Sense("drug", drug, "regimen", word)
            for class_ in raw.get("classes", []):
                yield "drug", word, Sense("class", class_, "regimen", word)
    for raw in files.one("classes")["classes"]:
        for word in raw.get("names", []):
            yield "drug", word, Sense("class", raw["class"], "text", word)
        for word in raw.get("not_names", []):
            yield "drug", word, Sense("other", raw["class"], "text", word)
    for meaning, listed in files.one("values")["words"].items():
        for word in listed:
            yield "value", word, Sense("value", "value", meaning, word)
    for word in files.one("values")["denials"]:
        yield "denial", word, Sense("word", "denial", "", word)
    for word in files.one("values")["denials_after"]:
        yield "denial-after", word, Sense("word", "denial", "", word)
    for fact, raw in files.data.get("fact", {}).items():
        for word in raw.get("names", []):
            for domain in ("diagnosis", "mention") if raw["kind"] == "cancer" else ("question",):
                yield domain, word, Sense("asks", fact, "text", word)
        for meaning, listed in raw.get("words", {}).items():
            for word in listed:
                yield f"says:{fact}", word, Sense("says", fact, meaning, word)
        for setting, listed in raw.get("setting_words", {}).items():
            for word in listed:
                yield "setting", word, Sense("setting", fact, setting, word)
        for domain, listed in raw.get("word_lists", {}).items():
            for word in listed:
                yield domain, word, Sense("word", fact, domain, word)
        for site, listed in raw.get("site_words", {}).items():
            for word in listed:
                yield "site", word, Sense("says", fact, site, word)
