"""ms-cql-sdk behind Flask: the receptors of a call by CQL, compiled once.

Every call has a toolkit of its own: a shared one remembers results by definition and not by patient.
"""

from pathlib import Path

from cql_sdk.api import load_library_from_cql_text
from cql_sdk.fhir.context import context_from_bundle
from cql_sdk.invocation.toolkit import InvocationToolkit
from flask import Flask, Response, jsonify, request

# its runtime reads plain JSON, where a code is its own text
_TEXT = (Path(__file__).parent / "receptors.cql").read_text(encoding="utf-8").replace(".code.value", ".code")
_LIBRARY = load_library_from_cql_text(_TEXT)

app = Flask(__name__)


@app.get("/cds-services")
def discovery() -> Response:
    """Nothing is offered."""
    return jsonify(services=[])


@app.post("/cds-services/<_service>")
def call(_service: str) -> Response:
    """One card that names the receptors."""
    brought = request.get_json()["prefetch"].values()
    entries = [entry for value in brought for entry in value.get("entry", ())]
    entries += [{"resource": value} for value in brought if value["resourceType"] == "Patient"]
    toolkit = InvocationToolkit()
    toolkit.register(_LIBRARY)
    context = context_from_bundle({"resourceType": "Bundle", "type": "collection", "entry": entries})

    def holds(definition: str) -> bool:
        return toolkit.invoke(library_identifier=_LIBRARY.identifier, definition=definition, context=context) is True

    found = []
    for receptor in ("ER", "PR", "HER2"):
        said = [answer for answer in ("positive", "negative") if holds(f"{receptor} {answer}")]
        found.append(f"{receptor} {said[0] if said else 'missing'}")
    return jsonify(cards=[{"summary": "; ".join(found), "indicator": "info", "source": {"label": "ms-cql-sdk"}}])
