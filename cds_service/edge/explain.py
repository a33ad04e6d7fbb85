"""A trace as text for a terminal: facts with how they were read, the gate, every option with why and why not."""

from collections.abc import Iterator

from cds_service.decision.evaluate import truth
from cds_service.hooks.respond import OVER, Responder, Trace
from cds_service.hooks.wording import opens, why
from cds_service.kleene import FALSE, TRUE, UNKNOWN
from cds_service.model import Fact, Position, Status, Verdict

_SIGNS = {TRUE: "true   ", FALSE: "false  ", UNKNOWN: "unknown"}


def explain(trace: Trace, responder: Responder) -> str:
    """The whole trace, section by section."""
    return "\n".join(_lines(trace, responder))


def _lines(trace: Trace, responder: Responder) -> Iterator[str]:
    knowledge = responder.knowledge
    yield f"Patient {trace.record.patient}, knowledge {knowledge.version}"
    yield ""
    yield "RECORD"
    for kind, delivery in trace.record.delivery.items():
        yield f"  {kind}: {delivery.value}, {len(trace.record.resources.get(kind, ()))} resources of this patient"
    for reference, reason in trace.record.set_aside:
        yield f"  set aside: {reference}: {reason}"
    yield ""
    yield "FACTS"
    for name, fact in trace.facts.items():
        yield from _fact(knowledge.facts[name].label, fact)
    yield ""
    yield f"GATE: {_gate(trace.gate)}"
    yield ""
    for status in (Status.SUPPORTED, Status.DIFFERS, Status.NEEDS_DATA, Status.NOT_SUPPORTED):
        chosen = [verdict for verdict in trace.verdicts if verdict.status is status]
        listed = (
            ""
            if not trace.gate or status is Status.NOT_SUPPORTED
            else " by their statements alone (the gate keeps them off the cards)"
        )
        yield f"{status.value.upper()} ({len(chosen)}){listed}"
        for verdict in chosen:
            yield from _option(verdict, trace, responder)
        yield ""


def _fact(label: str, fact: Fact) -> Iterator[str]:
    note = f"   ({fact.note})" if fact.note else ""
    yield f"  {label}: {fact.value}{note}"
    if fact.references and not fact.readings:
        yield f"      read from: {', '.join(fact.references)}"
    for reading in fact.readings:
        date = f", {reading.date}" if reading.date else ", no date"
        yield f"      {reading.reference}{date}: {reading.answer}: {reading.recognised}"
    for reference, reason in fact.set_aside:
        yield f"      set aside: {reference}: {reason}"


def _gate(gate: str) -> str:
    if not gate:
        return "passed: confirmed, current breast cancer with evidence of stage IV"
    if gate == OVER:
        return "no options: stage IV disease on record, breast cancer marked as inactive, in remission or resolved"
    return f"no card: {gate}"


def _option(verdict: Verdict, trace: Trace, responder: Responder) -> Iterator[str]:
    option = responder.knowledge.options[verdict.option]
    yield f"  {option.label} [{option.id}]"
    required = truth(option.requires, trace.truths)
    if required is not TRUE:
        words = (
            opens(option.requires, trace.truths)
            if required is UNKNOWN
            else ", ".join(why(option.requires, trace.truths))
        )
        yield f"      {_SIGNS[required]} no contraindication, no refusal: {words}"
    if truth(option.removed_by, trace.truths) is TRUE:
        yield f"      removed: {', '.join(why(option.removed_by, trace.truths))}"
    for statement, value in verdict.statements:
        if statement.position is Position.BACKGROUND:
            continue
        source = responder.knowledge.sources[statement.source]
        reasons = ", ".join(why(statement.when, trace.truths)) if value is not UNKNOWN else ""
        reasons = reasons or (f"needs {opens(statement.when, trace.truths)}" if value is UNKNOWN else "always")
        yield f"      {_SIGNS[value]} {statement.position.value:8} {source.short} {statement.passage}: {reasons}"
    if verdict.missing:
        yield f"      missing: {', '.join(dict.fromkeys(trace.facts[fact].name for fact in verdict.missing))}"
