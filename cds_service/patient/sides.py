"""Which breast a resource speaks of, where it says so: two cancers may differ in everything."""

from cds_service.patient.chart import Chart, Entry
from cds_service.patient.elements import objects, one_or_more, word
from cds_service.patient.recognise import text_of


def side_of(entry: Entry, chart: Chart) -> str:
    """'left', 'right' or '' by the body site, the specimen, the words, or the condition that is in focus.

    A side of some other part of the body ("right pleura") is a metastasis and no side of the cancer.
    """
    texts = [entry.text, *(text_of(one) for one in one_or_more(entry.raw.get("bodySite")))]
    specimen = entry.raw.get("specimen")
    texts.append(text_of(specimen.get("display")) if isinstance(specimen, dict) else "")
    found = {side for text in texts for side in _sides(text, chart)}
    for reference in objects(entry.raw.get("focus")):
        found |= _of_condition(word(reference.get("reference")), chart)
    return found.pop() if len(found) == 1 else ""


def _of_condition(reference: str, chart: Chart) -> set[str]:
    entry = chart.named.get(reference)
    if entry is None or entry.kind != "Condition":
        return set()
    texts = [entry.text, *(one.sense.display.lower() for one in entry.codes)]
    texts += [text_of(one) for one in one_or_more(entry.raw.get("bodySite"))]
    return {side for text in texts for side in _sides(text, chart)}


def _sides(text: str, chart: Chart) -> set[str]:
    sides = {side for side in ("left", "right") if chart.recogniser.spoken(f"{side}_side", text)}
    elsewhere = sides and chart.recogniser.spoken("site", text) and not chart.recogniser.spoken("breast", text)
    return set() if elsewhere else sides
