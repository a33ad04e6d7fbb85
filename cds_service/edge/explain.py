"""A trace for a reader: what was delivered, each fact with how it was read, the gate, each option with why and why not.

One account, as JSON or as text for a terminal; the text is written from the account, so that the two never disagree.
"""

from collections.abc import Iterator
from typing import Any

from cds_service.decision.evaluate import truth
from cds_service.hooks.respond import OVER, Responder, Trace
from cds_service.hooks.wording import opens, why
from cds_service.kleene import TRUE, UNKNOWN, Truth
from cds_service.model import Fact, FactDefinition, Option, Position, Statement, Status, Verdict

Account = dict[str, Any]

_STATUSES = (Status.SUPPORTED, Status.DIFFERS, Status.NEEDS_DATA, Status.NOT_SUPPORTED)
_QUERY = 90


def account(trace: Trace, responder: Responder) -> Account:
    """The whole trace as plain JSON."""
    knowledge = responder.knowledge
    return {
        "patient": trace.record.patient,
        "knowledge": {"version": knowledge.version, "digest": knowledge.digest},
        "record": _record(trace, responder),
        "inTheCall": trace.context,
        "facts": [_fact(knowledge.facts[name], fact, trace, responder) for name, fact in trace.facts.items()],
        "gate": {"passed": not trace.gate, "says": _gate(trace.gate)},
        "options": [
            _option(verdict, knowledge.options[verdict.option], trace)
            for status in _STATUSES
            for verdict in trace.verdicts
            if verdict.status is status
        ],
    }


def explain(trace: Trace, responder: Responder) -> str:
    """The whole trace as text, section by section."""
    return "\n".join(_text(account(trace, responder), responder))


# THE ACCOUNT


def _record(trace: Trace, responder: Responder) -> Account:
    record = trace.record
    return {
        "keys": [
            {
                "key": need.key,
                "query": need.query(record.patient),
                "state": record.keys[need.key].value,
            }
            for need in responder.needs
        ],
        "types": [
            {"type": kind, "state": state.value, "resources": len(record.resources.get(kind, ()))}
            for kind, state in record.delivery.items()
        ],
        "setAside": [{"what": what, "reason": reason} for what, reason in record.set_aside],
    }


def _fact(definition: FactDefinition, fact: Fact, trace: Trace, responder: Responder) -> Account:
    """A fact with where it comes from: its readings, the facts it builds on and the types it is looked for in."""
    delivery = trace.record.delivery
    return {
        "fact": fact.name,
        "label": definition.label,
        "question": definition.question,
        "value": fact.value,
        "note": fact.note,
        "answers": {answer: one.truth.value for answer, one in sorted(fact.answers.items())},
        "otherwise": fact.default.value,
        "references": list(fact.references),
        "readings": [
            {"reference": one.reference, "date": one.date, "answer": one.answer, "recognised": one.recognised}
            for one in fact.readings
        ],
        "buildsOn": [
            {
                "fact": name,
                "label": responder.knowledge.facts[name].label,
                "value": trace.facts[name].value,
                "references": list(trace.facts[name].references),
            }
            for name in definition.builds_on
        ],
        "lookedIn": [{"type": kind, "state": delivery[kind].value} for kind in definition.reads if kind in delivery],
        "setAside": [{"reference": reference, "reason": reason} for reference, reason in fact.set_aside],
    }


def _gate(gate: str) -> str:
    if not gate:
        return "passed: confirmed, current breast cancer with evidence of stage IV"
    if gate == OVER:
        return "no options: stage IV disease on record, breast cancer marked as inactive, in remission or resolved"
    return f"no card: {gate}"


def _option(verdict: Verdict, option: Option, trace: Trace) -> Account:
    required = truth(option.requires, trace.truths)
    removed = truth(option.removed_by, trace.truths) is TRUE
    return {
        "option": option.id,
        "label": option.label,
        "status": verdict.status.value,
        "statements": [
            _statement(statement, value, trace)
            for statement, value in verdict.statements
            if statement.position is not Position.BACKGROUND
        ],
        "needs": {"truth": required.value, "why": _reasons(option.requires, required, trace)},
        "removedBy": list(why(option.removed_by, trace.truths)) if removed else [],
        "missing": list(dict.fromkeys(trace.facts[fact].name for fact in verdict.missing)),
    }


def _statement(statement: Statement, value: Truth, trace: Trace) -> Account:
    return {
        "source": statement.source,
        "passage": statement.passage,
        "position": statement.position.value,
        "truth": value.value,
        "why": _reasons(statement.when, value, trace),
    }


def _reasons(condition: Any, value: Truth, trace: Trace) -> str:
    if value is UNKNOWN:
        return f"needs {opens(condition, trace.truths)}"
    return ", ".join(why(condition, trace.truths)) or "always"


# THE TEXT


def _text(told: Account, responder: Responder) -> Iterator[str]:
    yield f"Patient {told['patient']}, knowledge {told['knowledge']['version']}"
    yield from ("", "RECORD")
    yield from _record_lines(told["record"])
    if told["inTheCall"]:
        yield from ("", "IN THE CALL")
        yield from map(_call_line, told["inTheCall"])
    yield from ("", "FACTS")
    for fact in told["facts"]:
        yield from _fact_lines(fact)
    yield from ("", f"GATE: {told['gate']['says']}", "")
    for status in _STATUSES:
        chosen = [option for option in told["options"] if option["status"] == status.value]
        listed = told["gate"]["passed"] or status is Status.NOT_SUPPORTED
        yield f"{status.value.upper()} ({len(chosen)})" + (
            "" if listed else " by their statements alone (the gate keeps them off the cards)"
        )
        for option in chosen:
            yield from _option_lines(option, responder)
        yield ""


def _call_line(row: Account) -> str:
    """What became of one thing that the call brings beside the record."""
    named = " or ".join(row.get("mayBe", ())) or ", ".join(row.get("drugs", ()))
    parts = [row["outcome"], named, row.get("reason", "")]
    return f"  {row['reference']}: {': '.join(part for part in parts if part)}"


def _record_lines(record: Account) -> Iterator[str]:
    for one in record["types"]:
        yield f"  {one['type']}: {one['state']}, {one['resources']} resources of this patient"
    yield "  by prefetch key:"
    for one in record["keys"]:
        query = one["query"] if len(one["query"]) <= _QUERY else f"{one['query'][:_QUERY]}…"
        yield f"    {one['key']}: {one['state']} ({query})"
    for one in record["setAside"]:
        yield f"  set aside: {one['what']}: {one['reason']}"


def _fact_lines(fact: Account) -> Iterator[str]:
    note = f"   ({fact['note']})" if fact["note"] else ""
    yield f"  {fact['label']}: {fact['value']}{note}"
    for one in fact["readings"]:
        yield f"      {one['reference']}, {one['date'] or 'no date'}: {one['answer']}: {one['recognised']}"
    if not fact["readings"]:
        yield from _silent_lines(fact)
    for one in fact["setAside"]:
        yield f"      set aside: {one['reference']}: {one['reason']}"


def _silent_lines(fact: Account) -> Iterator[str]:
    """Where a fact without readings of its own comes from."""
    if fact["references"]:
        yield f"      read from: {', '.join(fact['references'])}"
    for one in fact["buildsOn"]:
        references = f" ({', '.join(one['references'])})" if one["references"] else ""
        yield f"      builds on “{one['label']}”: {one['value']}{references}"
    if not fact["references"]:
        looked = "; ".join(f"{one['type']} ({one['state']})" for one in fact["lookedIn"])
        yield f"      no resource says it; looked in: {looked}"


def _option_lines(option: Account, responder: Responder) -> Iterator[str]:
    yield f"  {option['label']} [{option['option']}]"
    needs = option["needs"]
    if needs["truth"] != TRUE.value:
        yield f"      {needs['truth']:7} no contraindication, no refusal: {needs['why']}"
    if option["removedBy"]:
        yield f"      removed: {', '.join(option['removedBy'])}"
    for one in option["statements"]:
        source = responder.knowledge.sources[one["source"]].short
        yield f"      {one['truth']:7} {one['position']:8} {source} {one['passage']}: {one['why']}"
    if option["missing"]:
        yield f"      missing: {', '.join(option['missing'])}"
