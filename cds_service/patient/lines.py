"""Lines of treatment: successive regimens in the metastatic setting, counted from below and from above.

A regimen is what was started together. Starts within one cycle of each other, a drug added while another runs on,
a drug begun again, and a regimen without a date or a setting may or may not be a line of their own: what lies between
the least and the greatest number is unknown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cds_service.kleene import FALSE, TRUE, UNKNOWN, Truth, any_of
from cds_service.model import Answer, Fact, FactDefinition
from cds_service.patient.chart import Chart
from cds_service.patient.dates import certainly_before, days_between
from cds_service.patient.history import course_readings, silence
from cds_service.patient.medicines import Course, medicines
from cds_service.patient.setting import BEFORE, METASTATIC, UNSAID

_MOST = 9


@dataclass(frozen=True)
class Regimens:
    """Courses as regimens: of each start the least and the greatest number that it can have in the succession; `again`
    holds the greatest of the days on which a drug was begun again.
    """

    numbers: dict[str, tuple[int, int]]
    undated: int
    again: dict[str, int]

    @property
    def least(self) -> int:
        """The number of regimens that there were at least."""
        return max((low for low, _ in self.numbers.values()), default=1 if self.undated else 0)

    @property
    def most(self) -> int:
        """The number of regimens that there were at most."""
        return len(self.numbers.keys() | self.again.keys()) + self.undated


def _regimens(listed: list[Course], days: int) -> Regimens:
    """A start surely opens a regimen of its own if what ran before it was over by then, and began a cycle earlier."""
    numbers: dict[str, tuple[int, int]] = {}
    undated = len({course.drug or course.named_class for course in listed if not course.start})
    low, opened, running = 0, "", list[Course]()
    begun = {course.start for course in listed if course.start}
    starts = sorted(begun.union(*(course.again for course in listed)))
    at = {start: position + undated for position, start in enumerate(starts, 1)}
    for start in sorted(begun):
        over = all(not course.active and not certainly_before(start, course.last) for course in running)
        if not opened or (over and not _near(opened, start, days)):
            low, opened, running = low + 1, start, []
        running += [course for course in listed if course.start == start]
        numbers[start] = (low, at[start])
    return Regimens(numbers, undated, {day: at[day] for course in listed for day in course.again})


def _near(one: str, other: str, days: int) -> bool:
    """Whether two dates may lie within so many days of each other."""
    apart = days_between(one, other)
    return apart is None or apart <= days


def lines(definition: FactDefinition, chart: Chart, facts: dict[str, Fact]) -> Fact:
    """Successive regimens in the metastatic setting; drugs started together are one regimen."""
    found = medicines(chart)
    counted = set(definition.more["by_classes"])
    given = [course for course in found.courses if course.classes & counted]
    silent = silence(found, chart)
    open_end = silent is UNKNOWN or any(set(chart.classes_of(one)) & counted for one in _unclear(found.may_be))
    metastatic = [course for course in given if course.setting is METASTATIC and not course.elsewhere]
    unsaid = [
        course for course in given if course.setting is UNSAID or (course.elsewhere and course.setting is not BEFORE)
    ]
    references = tuple(sorted({one for course in metastatic + unsaid for one in course.references}))
    readings = course_readings(given)
    aside = tuple(sorted(set(found.set_aside)))
    if not given and not open_end:
        return Fact(definition.id, "0", {}, FALSE, set_aside=aside)
    days = definition.more["one_regimen_days"]
    regimens = _regimens(metastatic, days)
    low, high = regimens.least, regimens.most + len({course.start or course.drug for course in unsaid})
    high = _MOST + 1 if open_end else high
    failing = [course for course in metastatic if course.progressed is not FALSE]
    open_ = open_end or any(course.progressed is not FALSE for course in unsaid)
    answers = _counted("at least *", low, high, references)
    for n, phrase in enumerate(_numbered("line * or later failed"), 1):
        answers[phrase] = Answer(_failed_from(n, regimens, failing, len(unsaid), open_), references)
    for phrase, classes in definition.more["regimens_of"].items():
        scope = [course for course in given if course.setting is METASTATIC] if "metastatic" in phrase else given
        open_setting = unsaid if "metastatic" in phrase else []
        answers |= _of_classes(phrase, set(classes), scope, open_setting, open_end, days)
    value = str(low) if low == high else "unknown"
    note = "" if low == high else f"at least {low}; settings, dates or ends are not on record, or regimens overlap"
    return Fact(definition.id, value, answers, UNKNOWN, references, note, readings, aside)


def _unclear(may_be: list[tuple[str, tuple[str, ...]]]) -> Iterator[str]:
    for _, subjects in may_be:
        yield from subjects


def _of_classes(
    phrase: str, classes: set[str], scope: list[Course], unsaid: list[Course], open_end: bool, days: int
) -> dict[str, Answer]:
    """How many regimens held a drug of these classes. From below: only those that are over and are theirs by start;
    from above: also those that began while such a drug ran on.
    """
    own = [course for course in scope if course.classes & classes]
    if not own and not unsaid:
        return dict.fromkeys(_numbered(phrase), Answer(UNKNOWN if open_end else FALSE))
    over = [course for course in own if not (course.active or course.end_unsure or course.elsewhere)]
    low = _at_least(over, days)
    other = [course for course in unsaid if course.classes & classes and course not in own]
    high = len(_starts_under(own, scope)) + len(
        {course.drug or course.named_class for course in own if not course.start}
    )
    high += len({course.start or course.drug for course in other})
    high = _MOST + 1 if open_end else max(low, high)
    references = tuple(sorted({one for course in own for one in course.references}))
    return _counted(phrase, low, high, references)


@cache
def _numbered(phrase: str) -> tuple[str, ...]:
    """A phrase for each number that is asked for."""
    return tuple(phrase.replace("*", str(n)) for n in range(1, _MOST + 1))


def _counted(phrase: str, low: int, high: int, references: tuple[str, ...]) -> dict[str, Answer]:
    """Whether there were so many, for each number, where there were from `low` to `high`."""
    sure, open_, none = (Answer(truth, references) for truth in (TRUE, UNKNOWN, FALSE))
    return {one: sure if low >= n else none if high < n else open_ for n, one in enumerate(_numbered(phrase), 1)}


def _at_least(over: list[Course], days: int) -> int:
    """Regimens before the metastatic disease count as one; those after it as succession tells."""
    before = [course for course in over if course.setting is BEFORE]
    after = [course for course in over if course.setting is METASTATIC]
    rest = [course for course in over if course.setting is UNSAID]
    least = (1 if before else 0) + _regimens(after, days).least
    return least or (1 if rest else 0)


def _starts_under(own: list[Course], scope: list[Course]) -> set[str]:
    """The starts of regimens at which a drug of one's own began or was still running."""
    starts = {start for course in scope for start in (course.start, *course.again) if start}
    return {
        start
        for start in starts
        if any(
            course.start == start or (course.start and course.start < start and (course.active or course.last >= start))
            for course in own
        )
    }


def _failed_from(n: int, regimens: Regimens, failing: list[Course], unsaid: int, open_: bool) -> Truth:
    """Whether the n-th metastatic regimen, or a later one, was stopped for progression. `failing` are the courses that
    were or may have been; so many more are `unsaid` of their setting; `open_` says that others may have failed.
    """
    truths: list[Truth] = [UNKNOWN] if open_ else []
    for course in failing:
        least, most = regimens.numbers.get(course.start, (1, regimens.most))
        most = max([most, *(regimens.again[start] for start in course.again)])
        if least >= n:
            truths.append(course.progressed)
        elif most + unsaid >= n:
            truths.append(UNKNOWN)
    return any_of(truths)
