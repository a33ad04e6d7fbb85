"""However a record says it: an example patient, rewritten at random into a mixture of shapes, gets the same advice."""

import os
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rewrite import SAID, SAYING, WRITING, concept, meaning, rewritten
from support import example, expected_patients, options, patient_view, put_in_prefetch

from cds_service.hooks.catalogue import HOOKS
from cds_service.hooks.request import read
from cds_service.hooks.respond import Responder
from cds_service.knowledge.load import home

PATIENTS = list(expected_patients())


def advice(responder: Responder, services: list[dict[str, Any]], patient: str, resources: list[Any]) -> dict[str, Any]:
    """Each option with its status and what it lacks."""
    answer = responder.respond(
        read(patient_view(patient, put_in_prefetch(resources, patient, services)), HOOKS[0], home()[1])
    )
    return {name: (entry["status"], sorted(entry["missing"])) for name, entry in options(answer).items()}


@settings(
    max_examples=40, deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[HealthCheck.too_slow]
)
@given(random=st.randoms(use_true_random=False))
@pytest.mark.parametrize("patient", PATIENTS)
def test_a_record_in_any_mixture_of_shapes_gets_the_same_advice(
    responder: Responder, services: list[dict[str, Any]], patient: str, random: Random
) -> None:
    ident, resources = example(patient, "mcode")
    before = advice(responder, services, ident, resources)

    assert advice(responder, services, ident, rewritten(resources, random)) == before


@pytest.mark.parametrize("rewriter", [*SAYING, *WRITING], ids=lambda rewriter: rewriter.__name__)
@pytest.mark.parametrize("patient", PATIENTS)
def test_each_way_of_rewriting_alone_changes_nothing(
    responder: Responder, services: list[dict[str, Any]], patient: str, rewriter: Any
) -> None:
    ident, resources = example(patient, "mcode")
    before = advice(responder, services, ident, resources)
    for seed in range(6):
        random = Random(seed)
        changed = [one for resource in resources for one in rewriter(resource, random)]
        assert advice(responder, services, ident, changed) == before, seed


def test_the_rewriters_really_rewrite() -> None:
    """Else the law above would hold of nothing."""
    for rewriter in [*SAYING, *WRITING]:
        changed = sum(
            rewriter(resource, Random(seed)) != [resource]
            for patient in PATIENTS
            for resource in example(patient, "mcode")[1]
            for seed in range(3)
        )
        assert changed >= 20, rewriter.__name__


def test_every_member_of_a_group_belongs_to_that_group_alone() -> None:
    for place in ("condition", "question", "value", "reason", "medicine"):
        members = [member for group in SAID[place].values() for member in group]
        assert len(members) == len(set(members)), place
        for name, group in SAID[place].items():
            coded = [concept(member) for member in group if "coding" in concept(member)]
            assert {meaning(one, place) for one in coded} == {name}
