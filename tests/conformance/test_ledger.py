"""The ledger itself: whole, and every row has a test or a reason."""

import ledger

#: how many rows each section has; a row that gets lost is missed
SIZES = {
    "JSON and transport": 6,
    "Discovery": 14,
    "Calling a service": 15,
    "Prefetch": 21,
    "FHIR resource access": 9,
    "Cards": 34,
    "Feedback": 12,
    "Security": 19,
    "Extensions, hooks and versions": 4,
}


def test_ledger_is_complete():
    rows, tested = ledger.rows(), {row for name in ledger.written_tests() for row in ledger.ids_of(name)}
    sections = [row.section for row in rows]

    assert {section: sections.count(section) for section in sections} == SIZES
    assert len(rows) == 134
    assert len({row.id for row in rows}) == 134
    assert [row.id for row in rows if row.id not in tested and not row.not_applicable] == []
    assert tested <= {row.id for row in rows}


def test_every_rule_is_told_in_few_words():
    assert [row.id for row in ledger.rows() if len(row.rule.split()) > 25] == []


def test_every_test_of_the_folder_that_names_a_row_is_read_as_such():
    for name in ledger.written_tests():
        assert ledger.ids_of(name), name


def test_a_row_fails_with_one_of_its_tests_and_is_not_passed_by_a_skipped_one():
    row = ledger.rows()[0]

    assert ledger.result(row, {"passed"}) == "pass"
    assert ledger.result(row, {"passed", "failed"}) == "fail"
    assert ledger.result(row, {"passed", "skipped"}) == "not tested"
    assert ledger.result(row, ()) == "not tested"
