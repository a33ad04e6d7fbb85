"""Network, disk, clock, environment: web and command line. Never clinical or FHIR knowledge."""
