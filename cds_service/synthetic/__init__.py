"""FHIR out: invented patients, told in the words of the facts and written as records."""
