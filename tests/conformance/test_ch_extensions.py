"""Ledger I: extensions, hooks and versions. CH-222 stands with CH-039."""

import re

#: the hooks of the CDS Hooks Library 1.0.1 that are not deprecated
LIBRARY = {
    "allergyintolerance-create", "appointment-book", "encounter-discharge", "encounter-start", "medication-refill",
    "order-dispatch", "order-select", "order-sign", "patient-view", "problem-list-item-create",
}  # fmt: skip


def test_ch_220_names_in_an_extension_are_reverse_domain_names(everything, cards):
    held = [card["extension"] for card in cards]
    held += [answer.body["extension"] for answer in everything if "extension" in answer.body]

    for extension in held:
        assert isinstance(extension, dict)
        assert extension
        for name in extension:
            assert re.fullmatch(r"[a-z]{2,}(\.[a-z0-9-]+)+", name)


def test_ch_221_every_hook_is_of_the_library(services):
    assert {entry["hook"] for entry in services} <= LIBRARY
