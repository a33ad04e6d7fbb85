"""From truths to verdicts: three-valued logic, what decides and what is missing, the decision table, and its law.

The law: what is told stays true. Learning more may settle what was open, and nothing else.
"""

import os
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from cds_service.decision.advise import Adviser, judge
from cds_service.decision.evaluate import deciding, missing, truth
from cds_service.kleene import DIGITS, FALSE, TRUE, UNKNOWN, Truth, all_of, any_of, negation
from cds_service.knowledge.conditions import ALWAYS, atoms, facts_read
from cds_service.knowledge.load import load
from cds_service.model import All, Any_, Atom, Condition, Not, Open, Option, Position, Statement, Status, Verdict

LETTERS = {"T": TRUE, "U": UNKNOWN, "F": FALSE}
TRUTHS = tuple(LETTERS.values())
LISTED = (Status.SUPPORTED, Status.DIFFERS)

Truths = dict[Atom | Open, Truth]

# THREE-VALUED LOGIC

PAIRS = """
T T   T   T
T U   U   T
T F   F   T
U T   U   T
U U   U   U
U F   F   U
F T   F   T
F U   F   U
F F   F   F
"""


@pytest.mark.parametrize("row", PAIRS.strip().splitlines())
def test_two_truths_are_joined_by_and_and_by_or_as_the_table_says(row: str) -> None:
    one, other, both, either = (LETTERS[letter] for letter in row.split())
    assert all_of([one, other]) is both
    assert any_of([one, other]) is either


def test_the_table_of_pairs_is_complete() -> None:
    assert {tuple(row.split()[:2]) for row in PAIRS.strip().splitlines()} == set(product("TUF", repeat=2))


@pytest.mark.parametrize(("truth_", "turned"), [(TRUE, FALSE), (FALSE, TRUE), (UNKNOWN, UNKNOWN)])
def test_the_negation_of_unknown_is_unknown(truth_: Truth, turned: Truth) -> None:
    assert negation(truth_) is turned


def test_nothing_at_all_is_true_as_conjunction_and_false_as_disjunction() -> None:
    assert all_of([]) is TRUE
    assert any_of([]) is FALSE


@pytest.mark.parametrize("truths", list(product(TRUTHS, repeat=3)))
def test_and_and_or_mirror_each_other(truths: tuple[Truth, ...]) -> None:
    assert negation(all_of(truths)) is any_of(negation(one) for one in truths)


@pytest.mark.parametrize("truth_", TRUTHS)
def test_a_truth_is_never_taken_for_a_bool(truth_: Truth) -> None:
    with pytest.raises(TypeError):
        bool(truth_)
    with pytest.raises(TypeError):
        all([truth_])
    with pytest.raises(TypeError):
        not truth_  # noqa: B018


# WHAT DECIDES A CONDITION, WHAT IT LACKS

A, B, C = Atom("a", "yes"), Atom("b", "yes"), Atom("c", "yes")

#: a condition, the truths of a, b and c, its own truth, the atoms that decided it, the facts it lacks
CONDITIONS = [
    (A, "TUU", TRUE, {A}, set()),
    (A, "FUU", FALSE, {A}, set()),
    (A, "UTT", UNKNOWN, set(), {"a"}),
    (Not(A), "TUU", FALSE, {A}, set()),
    (Not(A), "UTT", UNKNOWN, set(), {"a"}),
    (All((A, B, C)), "TTT", TRUE, {A, B, C}, set()),
    (All((A, B, C)), "TUT", UNKNOWN, set(), {"b"}),
    (All((A, B, C)), "UUT", UNKNOWN, set(), {"a", "b"}),
    (All((A, B, C)), "UFT", FALSE, {B}, set()),
    (All((A, B, C)), "FFU", FALSE, {A, B}, set()),
    (Any_((A, B, C)), "FTU", TRUE, {B}, set()),
    (Any_((A, B, C)), "TTF", TRUE, {A, B}, set()),
    (Any_((A, B, C)), "FUF", UNKNOWN, set(), {"b"}),
    (Any_((A, B, C)), "FFF", FALSE, {A, B, C}, set()),
    (All((A, Any_((B, C)))), "TUU", UNKNOWN, set(), {"b", "c"}),
    (All((A, Any_((B, C)))), "UTU", UNKNOWN, set(), {"a"}),
    (All((A, Any_((B, C)))), "TUT", TRUE, {A, C}, set()),
    (All((A, Any_((B, C)))), "FUU", FALSE, {A}, set()),
    (Any_((Not(A), All((B, C)))), "TUT", UNKNOWN, set(), {"b"}),
    (Any_((Not(A), All((B, C)))), "TUF", FALSE, {A, C}, set()),
    (Any_((Not(A), All((B, C)))), "UFU", UNKNOWN, set(), {"a"}),
    (ALWAYS, "UUU", TRUE, set(), set()),
    (Not(ALWAYS), "UUU", FALSE, set(), set()),
]


@pytest.mark.parametrize(("condition", "told", "value", "decided_by", "lacking"), CONDITIONS)
def test_a_condition_knows_its_truth_what_decided_it_and_what_it_lacks(
    condition: Condition, told: str, value: Truth, decided_by: set[Atom], lacking: set[str]
) -> None:
    truths = dict(zip((A, B, C), (LETTERS[letter] for letter in told), strict=True))
    assert truth(condition, truths) is value
    assert set(deciding(condition, truths)) == decided_by
    assert set(missing(condition, truths)) == lacking


@pytest.mark.parametrize(
    ("open_", "told", "value", "lacking"),
    [(TRUE, TRUE, TRUE, {"b"}), (FALSE, TRUE, FALSE, set()), (TRUE, UNKNOWN, UNKNOWN, {"a", "b"})],
)
def test_what_waits_for_a_fact_holds_while_it_is_unknown_and_names_it(
    open_: Truth, told: Truth, value: Truth, lacking: set[str]
) -> None:
    condition, truths = All((A, Open("b"))), {A: told, Open("b"): open_}
    assert truth(condition, truths) is value
    assert set(missing(condition, truths)) == lacking


def conditions(leaves: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    def grow(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
        members = st.lists(inner, max_size=3).map(tuple)
        return st.one_of(inner.map(Not), members.map(All), members.map(Any_))

    return st.recursive(leaves, grow, max_leaves=8)


ATOMS = tuple(Atom(name, "yes") for name in "abcd")
some_condition = conditions(st.sampled_from(ATOMS))
some_truths = st.fixed_dictionaries({atom: st.sampled_from(TRUTHS) for atom in ATOMS})


def tries(count: int) -> settings:
    """Bounded, untimed, and the same every time on the build server."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=[HealthCheck.too_slow],
    )


law = tries(200)


@law
@given(some_condition, some_truths)
def test_the_deciding_atoms_alone_decide(condition: Condition, truths: Truths) -> None:
    decided_by = set(deciding(condition, truths))
    alone = {atom: value if atom in decided_by else UNKNOWN for atom, value in truths.items()}
    assert truth(condition, alone) is truth(condition, truths)


@law
@given(some_condition, some_truths)
def test_a_condition_lacks_something_exactly_when_it_is_unknown(condition: Condition, truths: Truths) -> None:
    assert bool(set(missing(condition, truths))) == (truth(condition, truths) is UNKNOWN)


@law
@given(some_condition, some_truths, some_truths)
def test_learning_what_a_condition_lacks_settles_it(condition: Condition, truths: Truths, answers: Truths) -> None:
    lacking = set(missing(condition, truths))
    known = {atom: value if value is not UNKNOWN else TRUE for atom, value in answers.items()}
    told = {atom: known[atom] if atom.fact in lacking else value for atom, value in truths.items()}
    assert truth(condition, told) is not UNKNOWN


@law
@given(some_condition, some_truths, some_truths)
def test_what_is_known_of_a_condition_stays_when_more_is_learned(
    condition: Condition, truths: Truths, answers: Truths
) -> None:
    told = {atom: answers[atom] if value is UNKNOWN else value for atom, value in truths.items()}
    assert truth(condition, truths) in (UNKNOWN, truth(condition, told))


# THE DECISION TABLE

FIRST, SECOND, AGAINST, REQUIRED, REMOVED = (
    Atom(name, "yes") for name in ("first", "second", "against", "required", "removed")
)
FIVE = (FIRST, SECOND, AGAINST, REQUIRED, REMOVED)


def statement(position: Position, when: Condition) -> Statement:
    return Statement("a-source", "L1", position, when)


def option(**changed: Any) -> Option:
    """An option that two statements support and one speaks against."""
    given_ = {
        "statements": (
            statement(Position.SUPPORTS, FIRST),
            statement(Position.SUPPORTS, SECOND),
            statement(Position.AGAINST, AGAINST),
        ),
        "requires": REQUIRED,
        "removed_by": REMOVED,
    }
    return Option("an-option", "An option", (), (), **{**given_, **changed})


def naive(first: Truth, second: Truth, against: Truth, required: Truth, removed: Truth) -> Status:
    """The table of the module in numbers: false 0, unknown 1, true 2; the least is `and`, the greatest is `or`."""
    height = {FALSE: 0, UNKNOWN: 1, TRUE: 2}
    support = min(max(height[first], height[second]), height[required])
    if height[removed] == 2 or support == 0:
        return Status.NOT_SUPPORTED
    if support == 1:
        return Status.NEEDS_DATA
    return Status.DIFFERS if height[against] == 2 else Status.SUPPORTED


@pytest.mark.parametrize("told", list(product(TRUTHS, repeat=5)), ids=lambda told: "".join(one.name[0] for one in told))
def test_the_status_is_as_the_table_says(told: tuple[Truth, ...]) -> None:
    assert judge(option(), dict(zip(FIVE, told, strict=True))).status is naive(*told)


#: any supports, any against -> status
TABLE = """
T T   differs
T U   supported
T F   supported
U T   needs-data
U U   needs-data
U F   needs-data
F T   not-supported
F U   not-supported
F F   not-supported
"""


@pytest.mark.parametrize("row", TABLE.strip().splitlines())
def test_support_and_opposition_give_the_status_of_the_documented_table(row: str) -> None:
    support, against, status = row.split()
    told = {FIRST: LETTERS[support], SECOND: FALSE, AGAINST: LETTERS[against], REQUIRED: TRUE, REMOVED: FALSE}
    assert judge(option(), told).status is Status(status)


#: first, second, against, required, removed | the facts missing | the atoms that decided
REASONS = """
T F F T F |                 | first
T U F T F |                 | first
T T F T F |                 | first second
T F T T F |                 | first against
T F U T F | against         | first
T F F T U | removed         | first
T F U T U | against removed | first
T F T T U | removed         | first against
U F F T F | first           |
U U F T F | first second    |
U F U T U | first           |
T F F U F | required        | first
U F F U F | first required  |
F F F U F |                 | first second
F F U T F |                 | first second
T F F F F |                 | required second
F F F F F |                 | required first second
T F F T T |                 | removed
U F F U T |                 | removed
"""


@pytest.mark.parametrize("row", REASONS.strip().splitlines())
def test_a_verdict_names_what_is_missing_and_what_decided(row: str) -> None:
    letters, lacking, decided_by = (part.split() for part in row.split("|"))
    verdict = judge(option(), dict(zip(FIVE, (LETTERS[letter] for letter in letters), strict=True)))
    assert set(verdict.missing) == set(lacking)
    assert {atom.fact for atom in verdict.because} == set(decided_by)


def test_what_already_holds_of_an_open_condition_is_its_reason() -> None:
    half_open = option(statements=(statement(Position.SUPPORTS, All((FIRST, SECOND))),))
    verdict = judge(half_open, {FIRST: TRUE, SECOND: UNKNOWN, REQUIRED: TRUE, REMOVED: FALSE})
    assert (verdict.status, verdict.because, verdict.missing) == (Status.NEEDS_DATA, (FIRST,), ("second",))


@pytest.mark.parametrize("told", TRUTHS)
def test_background_never_decides(told: Truth) -> None:
    beside = option(statements=(statement(Position.SUPPORTS, FIRST), statement(Position.BACKGROUND, SECOND)))
    for first in TRUTHS:
        verdict = judge(beside, {FIRST: first, SECOND: told, REQUIRED: TRUE, REMOVED: FALSE})
        assert verdict.status is naive(first, FALSE, FALSE, TRUE, FALSE)
        assert "second" not in verdict.missing
        assert SECOND not in verdict.because


def test_every_statement_is_shown_with_its_truth() -> None:
    told = {FIRST: TRUE, SECOND: UNKNOWN, AGAINST: FALSE, REQUIRED: TRUE, REMOVED: FALSE}
    assert [value for _, value in judge(option(), told).statements] == [TRUE, UNKNOWN, FALSE]


def test_a_fact_is_named_once() -> None:
    twice = option(statements=(statement(Position.SUPPORTS, All((Atom("a", "1"), Atom("a", "2")))),))
    told = {Atom("a", "1"): UNKNOWN, Atom("a", "2"): UNKNOWN, REQUIRED: TRUE, REMOVED: FALSE}
    assert judge(twice, told).missing == ("a",)


# THE LAW, ON THE REAL KNOWLEDGE

KNOWLEDGE = load()


def questions_of(one: Option) -> tuple[Atom | Open, ...]:
    """Everything that an option asks."""
    listed = [one.requires, one.removed_by, *(row.when for row in one.statements)]
    asked: list[Atom | Open] = [atom for condition in listed for atom in atoms(condition)]
    asked += [question for question in KNOWLEDGE.questions if isinstance(question, Open)]
    read = {fact for condition in listed for fact in facts_read(condition)}
    return tuple(dict.fromkeys(question for question in asked if question.fact in read))


QUESTIONS = {one.id: questions_of(one) for one in KNOWLEDGE.options.values()}


def grant(condition: Condition, wanted: Truth, truths: Truths) -> None:
    """Tell what makes a condition true (or false), as far as one telling can."""
    match condition:
        case Atom() | Open():
            truths[condition] = wanted
        case Not(member):
            grant(member, negation(wanted), truths)
        case All(members) | Any_(members):
            for member in members:
                grant(member, wanted, truths)


@st.composite
def learning(draw: st.DrawFn) -> tuple[Option, Truths, Truths]:
    """An option, what is known of all that it asks, and what is known after learning any of what was unknown.

    A fact is learned as a whole; any set of unknown atoms is more than that, so what holds of it holds of facts.
    Half of the time a supporting statement is granted, or hardly any option would ever be listed.
    """
    one = KNOWLEDGE.options[draw(st.sampled_from(sorted(QUESTIONS)))]
    questions = QUESTIONS[one.id]
    some_answers = st.binary(min_size=len(questions), max_size=len(questions))
    answers = {question: (TRUE, FALSE) if isinstance(question, Open) else TRUTHS for question in questions}
    before, after = (
        {
            question: answers[question][byte % len(answers[question])]
            for question, byte in zip(questions, drawn, strict=True)
        }
        for drawn in (draw(some_answers), draw(some_answers))
    )
    if draw(st.booleans()):
        supports = [row.when for row in one.statements if row.position is Position.SUPPORTS]
        grant(All((draw(st.sampled_from(supports)), one.requires)), TRUE, before)
    for question, value in before.items():
        if value is not (TRUE if isinstance(question, Open) else UNKNOWN):
            after[question] = value
    return one, before, after


def learned(before: Truths, after: Truths) -> set[str]:
    """The facts of which something was learned."""
    return {question.fact for question, value in before.items() if after[question] is not value}


law_of_knowledge = tries(1500)


@law_of_knowledge
@given(learning())
def test_an_option_with_nothing_missing_is_settled_whatever_is_learned(case: tuple[Option, Truths, Truths]) -> None:
    one, before, after = case
    verdict = judge(one, before)
    if not verdict.missing:
        assert judge(one, after).status is verdict.status


@law_of_knowledge
@given(learning())
def test_a_listed_option_changes_only_by_a_fact_that_it_names_as_missing(case: tuple[Option, Truths, Truths]) -> None:
    one, before, after = case
    verdict = judge(one, before)
    if verdict.status in LISTED and judge(one, after).status is not verdict.status:
        assert learned(before, after) & set(verdict.missing)


@law_of_knowledge
@given(learning())
def test_an_option_that_is_not_supported_stays_so(case: tuple[Option, Truths, Truths]) -> None:
    one, before, after = case
    if judge(one, before).status is Status.NOT_SUPPORTED:
        assert judge(one, after).status is Status.NOT_SUPPORTED


@law_of_knowledge
@given(learning())
def test_a_listed_option_never_needs_data_again(case: tuple[Option, Truths, Truths]) -> None:
    one, before, after = case
    if judge(one, before).status in LISTED:
        assert judge(one, after).status is not Status.NEEDS_DATA


@law_of_knowledge
@given(learning())
def test_an_option_that_needs_data_names_a_fact_that_is_unknown(case: tuple[Option, Truths, Truths]) -> None:
    one, before, _ = case
    verdict = judge(one, before)
    assert verdict.missing or verdict.status is not Status.NEEDS_DATA
    unknown = {question.fact for question, value in before.items() if value is UNKNOWN or isinstance(question, Open)}
    assert set(verdict.missing) <= unknown


@law_of_knowledge
@given(learning())
def test_an_option_that_needs_data_needs_none_once_all_that_it_names_is_learned(
    case: tuple[Option, Truths, Truths],
) -> None:
    one, before, after = case
    lacking = set(judge(one, before).missing)
    told = {question: value if question.fact in lacking else before[question] for question, value in after.items()}
    whole = {
        question: TRUE if value is UNKNOWN and question.fact in lacking else value for question, value in told.items()
    }
    assert judge(one, whole).status is not Status.NEEDS_DATA


@law_of_knowledge
@given(learning())
def test_what_is_known_of_a_statement_stays_save_what_waits_for_a_fact(case: tuple[Option, Truths, Truths]) -> None:
    one, before, after = case
    for row, value in judge(one, before).statements:
        if not any(isinstance(question, Open) for question in waits(row.when)):
            assert value in (UNKNOWN, truth(row.when, after))


def waits(condition: Condition) -> list[Open]:
    """What a condition waits for."""
    match condition:
        case Open():
            return [condition]
        case Not(member):
            return waits(member)
        case All(members) | Any_(members):
            return [one for member in members for one in waits(member)]
    return []


@pytest.mark.parametrize("status", list(Status))
def test_the_law_is_tried_on_every_status(status: Status) -> None:
    """A law that never meets a listed option would prove nothing."""
    case = find(learning(), lambda one: judge(one[0], one[1]).status is status, settings=tries(5000))
    assert judge(case[0], case[1]).status is status


# THE ADVISER


ADVISER = Adviser(KNOWLEDGE)


def verdicts(truths: Truths) -> tuple[Verdict, ...]:
    return Adviser(KNOWLEDGE).advise(bytes(DIGITS[truths[question]] for question in KNOWLEDGE.questions)).verdicts


def test_the_adviser_judges_every_option_in_the_order_of_the_knowledge() -> None:
    unknown = {question: TRUE if isinstance(question, Open) else UNKNOWN for question in KNOWLEDGE.questions}
    found = verdicts(unknown)
    assert [verdict.option for verdict in found] == list(KNOWLEDGE.options)
    assert [said(verdict) for verdict in found] == [said(judge(one, unknown)) for one in KNOWLEDGE.options.values()]


def said(verdict: Verdict) -> tuple[object, ...]:
    """All of a verdict but the truths it was judged by."""
    return verdict.option, verdict.status, verdict.statements, verdict.because, verdict.missing


@given(
    st.lists(
        st.sampled_from([TRUE, FALSE, UNKNOWN]), min_size=len(KNOWLEDGE.questions), max_size=len(KNOWLEDGE.questions)
    )
)
def test_what_is_remembered_of_an_option_is_what_all_answers_say_of_it(answers: list[Truth]) -> None:
    """A verdict depends on the questions of its own option only, and notices and gate on theirs."""
    truths = dict(zip(KNOWLEDGE.questions, answers, strict=True))
    advice = ADVISER.advise(bytes(DIGITS[one] for one in answers))
    assert [said(one) for one in advice.verdicts] == [said(judge(one, truths)) for one in KNOWLEDGE.options.values()]
    assert (advice.gate, advice.over) == (truth(KNOWLEDGE.gate, truths), truth(KNOWLEDGE.gate_inactive, truths))
    assert list(advice.notices) == [says for when, says in KNOWLEDGE.notices if truth(when, truths) is TRUE]
