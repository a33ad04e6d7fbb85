"""Laws of learning, on records: what is forgotten of a patient is unknown, and learning it overturns nothing settled.

The patients are those of `tests/cards/`; each is read whole and with some of its facts forgotten.
"""

import copy
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from support import put_in_prefetch
from test_knowledge_cases import QUESTIONS, REPORTED_AS, Case, all_cases, read
from test_laws import Record, records, tries

from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import HookCall
from cds_service.hooks.respond import Responder, Trace
from cds_service.kleene import UNKNOWN
from cds_service.model import Open, Status, Verdict

#: facts whose silence is unknown, by the words of a case
SILENT = (*QUESTIONS, "calcium", "sites")
#: what else is unknown where a word of a case is not told
REACHES = {"er": {"hr"}, "pr": {"hr"}, "sites": {"visceral-symptoms", "extent"}}
TREATMENT = {"prior-medications", "progressed-on", "lines", "contraindications", "ovarian-suppression"}
CASES = [case for case in all_cases() if not case.facts.get("unknown")]


class Forgotten(NamedTuple):
    """A patient in whole and in part, with the names of the facts that the part may leave open."""

    case: Case
    part: dict[str, Any]
    lost: frozenset[str]


@st.composite
def forgotten(draw: st.DrawFn) -> Forgotten:
    """A patient of whom some facts, and some settings and ends of treatments, are forgotten."""
    case = draw(st.sampled_from(CASES))
    part, lost = copy.deepcopy(case.facts), set[str]()
    for name in draw(st.sets(st.sampled_from([one for one in SILENT if one in part] or ["er"]))):
        if part.pop(name, None) is not None:
            lost |= {REPORTED_AS.get(name, name), *REACHES.get(name, ())}
    if "sites" not in part:
        lost |= {"visceral-symptoms"} if part.pop("organ-symptoms", None) else set()
    for regimen in part.get("given", ()):
        if draw(st.booleans()) and regimen.pop("setting", None):
            lost |= TREATMENT
        if regimen.get("ended") in ("progression", "not-tolerated") and draw(st.booleans()):
            regimen["ended"] = "reason-not-on-record"
            lost |= TREATMENT
    return Forgotten(case, part, frozenset(lost))


def verdicts(trace: Trace) -> dict[str, Verdict]:
    return {verdict.option: verdict for verdict in trace.verdicts}


@tries(120)
@given(one=forgotten())
def test_learning_a_fact_overturns_no_status_that_is_settled(responder: Responder, one: Forgotten) -> None:
    """A status changes only by a fact that it names as missing; what waits for a fact to be unknown ends with it."""
    whole, part = verdicts(read(one.case.facts, responder)), verdicts(read(one.part, responder))

    for option, before in part.items():
        if before.status is whole[option].status or option == "test:menopause-labs":
            continue
        assert before.status is not Status.NOT_SUPPORTED, f"{option} appeared: {whole[option].status}"
        settled = before.status is not Status.NEEDS_DATA
        assert not settled or set(before.missing) & one.lost, f"{option}: {before.status}, missing {before.missing}"


def part_of(one: Record, data: st.DataObject, responder: Responder, services: list[dict[str, Any]]) -> Trace:
    """The trace of a part of a record that still passes the gate: its conditions are whole."""
    loose = [found for found in one.resources if found["resourceType"] not in ("Patient", "Condition")]
    kept = data.draw(st.lists(st.sampled_from(loose), unique_by=id)) if loose else []
    fixed = [found for found in one.resources if found["resourceType"] in ("Patient", "Condition")]
    prefetch = put_in_prefetch([*fixed, *kept], one.patient, services)
    for key in data.draw(st.sets(st.sampled_from(sorted(set(prefetch) - {"patient", "conditions"})))):
        del prefetch[key]
    return responder.trace(HookCall(HOOKS[0], "7d9c1a44-5b1f-4f0e-9f5e-3a1f0c2b4d6e", one.patient, {}, prefetch))


@tries(120)
@given(one=records, data=st.data())
def test_nothing_unknown_decides_and_what_is_open_names_what_it_lacks(
    responder: Responder, services: list[dict[str, Any]], one: Record, data: st.DataObject
) -> None:
    trace = part_of(one, data, responder, services)

    for verdict in trace.verdicts:
        assert all(trace.truths[atom] is not UNKNOWN for atom in verdict.because), verdict.option
        assert bool(verdict.missing) or verdict.status is not Status.NEEDS_DATA, verdict.option
        for fact in verdict.missing:
            asked = [question for question in trace.truths if question.fact == fact]
            assert any(trace.truths[one_] is UNKNOWN or isinstance(one_, Open) for one_ in asked), (verdict, fact)
