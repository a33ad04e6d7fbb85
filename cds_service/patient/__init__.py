"""FHIR in, facts out: the only room that knows fhir.resources and FHIR field names. Never HTTP, never rules."""
