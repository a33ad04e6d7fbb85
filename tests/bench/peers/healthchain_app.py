"""HealthChain: the receptors of a call in a handler in Python, over the prefetch as it comes."""

from healthchain.gateway import CDSHooksService, HealthChainAPI
from healthchain.models import Card, CDSRequest, CDSResponse

_ASKED = {"85337-4": "ER", "85339-0": "PR", "48676-1": "HER2"}
_ANSWERS = {"10828004": "positive", "260385009": "negative"}

service = CDSHooksService()


@service.hook("patient-view", id="receptors")
def receptors(request: CDSRequest) -> CDSResponse:
    """One card that names the receptors."""
    found = dict.fromkeys(_ASKED.values(), "missing")
    for value in request.prefetch.values():
        for entry in value.get("entry", ()):
            resource = entry["resource"]
            if resource["resourceType"] != "Observation":
                continue
            for coding in resource["code"]["coding"]:
                if coding["code"] in _ASKED:
                    for said in resource["valueCodeableConcept"]["coding"]:
                        found[_ASKED[coding["code"]]] = _ANSWERS.get(said["code"], "missing")
    summary = "; ".join(f"{receptor} {answer}" for receptor, answer in found.items())
    return CDSResponse(cards=[Card(summary=summary, indicator="info", source={"label": "HealthChain"})])


app = HealthChainAPI()
app.register_service(service)
