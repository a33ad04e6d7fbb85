"""The patients to choose from in the sandbox: the invented ones that are told as stories."""

from functools import partial

from cds_service.edge.invented import Invented
from cds_service.edge.pages.trial import Sample
from cds_service.synthetic.record import record


def samples(told: Invented) -> tuple[Sample, ...]:
    """Every story, in their order; a record is written when it is chosen."""
    return tuple(Sample(story.id, story.says, partial(record, story, told.vocabulary)) for story in told.stories)
