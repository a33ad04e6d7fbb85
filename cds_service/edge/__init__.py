"""Network, disk, clock, environment: web, store and command line. Never clinical or FHIR knowledge."""
