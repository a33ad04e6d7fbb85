"""What a call brings beside the record: orders in hand, and conditions that are being created.

Drafts are often no valid R4 (a category that is no list, no intent, older versions of FHIR), so of an order nothing is
read but whose it is, whether it still stands and which drug it names. An order in hand is never evidence of treatment.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from cds_service.patient.chart import Chart, Entry
from cds_service.patient.elements import objects, one_or_more, word
from cds_service.patient.naming import Naming, naming
from cds_service.patient.project import fault
from cds_service.patient.recognise import plain_codes, text_of
from cds_service.patient.record import Record
from cds_service.patient.references import References, name_of

#: orders of medicines: R4 and STU3, DSTU2
_ORDERS = {"MedicationRequest", "MedicationOrder"}
#: statuses of an order that is being ended, not given
_ENDED = {"cancelled", "completed", "entered-in-error", "stopped", "ended"}
NO_ORDER = "no order of a medicine"
_NOT_NAMED = "it names no drug that the documents name"


@dataclass(frozen=True)
class Held:
    """A resource of the context: `Type/id`, its place in the call, its full URL in the Bundle."""

    reference: str
    place: str
    raw: dict[str, Any]
    url: str = ""


@dataclass(frozen=True)
class Order:
    """An order in hand: the drugs it names, or those of which it may be one, or why there is nothing to say of it.

    `open` where it refers to a Medication that is not in the call's context.
    """

    reference: str
    drugs: tuple[str, ...] = ()
    may_be: tuple[str, ...] = ()
    reason: str = ""
    open: bool = False

    @property
    def in_question(self) -> bool:
        """Whether it names a drug of the documents, or may."""
        return bool(self.drugs or self.may_be)


def held(value: Any, place: str) -> list[Held]:
    """The resources of a Bundle, with or without its type, or of a bare list."""
    entries = value.get("entry") if isinstance(value, dict) else value
    step = ".entry" if isinstance(value, dict) else ""
    found = []
    for i, entry in enumerate(one_or_more(entries)):
        raw = entry.get("resource", entry) if isinstance(entry, dict) else None
        if isinstance(raw, dict):
            where, url = f"{place}{step}[{i}]", word(entry.get("fullUrl"))
            ident = word(raw.get("id"))
            reference = f"{word(raw.get('resourceType'))}/{ident}" if ident else where
            found.append(Held(reference, where, raw, url))
    return found


# ORDERS


def orders(in_hand: Iterable[Held], beside: Iterable[Held], chart: Chart) -> tuple[Order, ...]:
    """Which drug each order names. `beside` are the resources that came with them, Medications among them."""
    listed = list(beside)
    names = _names(listed)
    medications = {name_of(one.raw, one.url): one.raw for one in listed if one.raw.get("resourceType") == "Medication"}
    within = replace(chart.record, references=names, medications=medications, named={})
    return tuple(_order(one, names, (replace(chart, record=within), chart)) for one in in_hand)


def _names(listed: list[Held]) -> References:
    """The names of what came together, by full URL."""
    return References(lambda: [{"fullUrl": one.url, "resource": one.raw} for one in listed if one.url])


def may_be_order(reference: str) -> bool:
    """Whether a reference can point at an order of a medicine."""
    return any(step in _ORDERS for step in reference.split("/"))


def take_out(references: Iterable[str], record: Record) -> tuple[Held, ...]:
    """The medication orders of the record that references point at. Those that still stand are taken out of it: an
    order that is being dispatched is no earlier treatment.
    """
    wanted = {"/".join(one.partition("/_history/")[0].split("/")[-2:]) for one in references}
    found = [Held(own, own, raw) for own, raw in record.of(*_ORDERS) if own in wanted]
    standing = {one.reference for one in found if word(one.raw.get("status")) not in _ENDED}
    for kind in _ORDERS & record.resources.keys():
        record.resources[kind] = [pair for pair in record.resources[kind] if pair[0] not in standing]
    record.set_aside += [(reference, "being dispatched: no earlier treatment") for reference in sorted(standing)]
    return tuple(found)


def _order(one: Held, names: References, charts: tuple[Chart, Chart]) -> Order:
    """One order; the Medication that it refers to is looked for in the call, then in the record."""
    within, chart = charts
    reason = _not_in_question(one.raw, chart.record.patient, names)
    if reason:
        return Order(one.reference, reason=reason)
    if not any(key in one.raw for key in ("medicationCodeableConcept", "medicationReference")):
        return Order(one.reference, reason="it names no medicine yet")
    concept = one.raw.get("medicationCodeableConcept")
    if concept is not None and not text_of(concept) and not any(coding.get("code") for coding in _codings(concept)):
        return Order(one.reference, reason="it names no medicine yet")
    entry = Entry(one.reference, one.raw, chart.contents.of(one.raw))
    told = naming(entry, within)
    if told.problem:
        told = naming(entry, chart)
    if told.problem:
        return Order(one.reference, reason=told.problem, open=concept is None)
    return _order_of(one.reference, told, chart)


def _codings(concept: Any) -> list[dict[str, Any]]:
    return objects(concept.get("coding")) if isinstance(concept, dict) else []


def _not_in_question(raw: dict[str, Any], patient: str, names: References) -> str:
    if word(raw.get("resourceType")) not in _ORDERS:
        return NO_ORDER
    if not _is_of(raw, patient, names, without=True):
        return "it is for another patient"
    status = word(raw.get("status"))
    if status in _ENDED:
        return f"its status is {status}"
    return "an instruction not to give" if raw.get("doNotPerform") is True else ""


def _is_of(raw: dict[str, Any], patient: str, names: References, without: bool) -> bool:
    """Whether a resource is this patient's; `without` is the answer for one that names nobody."""
    named = [raw[element] for element in ("subject", "patient") if element in raw]
    texts = [word(one.get("reference")) for one in named if isinstance(one, dict)]
    told = [text for text in texts if text]
    ours = (f"Patient/{patient}", f"Patient urn:uuid:{patient}")
    return all(names.name(text) in ours or text == f"urn:uuid:{patient}" for text in told) if told else without


def _order_of(reference: str, told: Naming, chart: Chart) -> Order:
    if told.other_use:
        return Order(reference, reason=told.other_use)
    named = told.senses
    unsure = [one.sense.may_be for one in named if one.sense.role == "ambiguous"]
    if unsure:
        may_be = tuple(dict.fromkeys(drug for drugs in unsure for drug in drugs))
        if not any(chart.drugs[drug].named_in for drug in may_be if drug in chart.drugs):
            return Order(reference, reason=_NOT_NAMED)
        return Order(reference, may_be=may_be, reason="its codes and words leave open which medicine it is")
    drugs = tuple(one.sense.subject for one in named if one.sense.role == "drug")
    classes = [chart.knowledge.spoken(one.sense.subject) for one in named if one.sense.role == "class"]
    if classes and not drugs:
        return Order(reference, reason=f"it names a class ({', '.join(classes)}), not a drug")
    spoken_of = tuple(drug for drug in drugs if chart.drugs[drug].named_in)
    return Order(reference, drugs=spoken_of, reason="" if spoken_of else _NOT_NAMED)


# CONDITIONS


def add_conditions(new: Iterable[Held], record: Record) -> list[tuple[str, str]]:
    """Count conditions that are being created as if they were on record already: the patient's own and confirmed ones.

    Each with the reason why it is not counted, '' where it is. Its place in the call is its reference.
    """
    rows, listed = [], list(new)
    names = _names(listed)
    for one in listed:
        raw = _as_r4(one.raw)
        reason = _not_countable(raw, record.patient, names)
        rows.append((one.place, reason))
        if not reason:
            record.resources.setdefault("Condition", []).append((one.place, raw))
    return rows


def _as_r4(raw: dict[str, Any]) -> dict[str, Any]:
    """Statuses that stand as plain words, as older versions and the hook's own example write them, as concepts."""
    plain = {key: raw[key] for key in ("clinicalStatus", "verificationStatus") if isinstance(raw.get(key), str)}
    return {**raw, **{key: {"coding": [{"code": code}]} for key, code in plain.items()}} if plain else raw


def _not_countable(raw: dict[str, Any], patient: str, names: References) -> str:
    if raw.get("resourceType") != "Condition":
        return "no condition"
    if not _is_of(raw, patient, names, without=False):
        return "it names no patient, or another one"
    if plain_codes(raw.get("verificationStatus")) != {"confirmed"}:
        return "it is not marked as confirmed"
    return fault(raw)
