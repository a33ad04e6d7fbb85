"""The floor: what Flask under the same server costs a service that reads the call and answers four small cards."""

import json

from flask import Flask, Response, jsonify, request

_CARD = {
    "summary": "An echo " * 8,
    "detail": "of the call " * 40,
    "indicator": "info",
    "source": {"label": "the floor"},
}

app = Flask(__name__)


@app.get("/cds-services")
def discovery() -> Response:
    """Nothing is offered."""
    return jsonify(services=[])


@app.post("/cds-services/<_service>")
def echo(_service: str) -> Response:
    """Four cards that name the call and its patient, so that it can be seen that the call was read."""
    call = json.loads(request.get_data())
    patient = call["context"]["patientId"]
    return jsonify(
        cards=[{**_CARD, "uuid": f"{call['hookInstance']}-{place}", "selectionBehavior": patient} for place in range(4)]
    )
