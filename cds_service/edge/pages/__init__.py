"""Pages for people: the sandbox and the knowledge. Rendered here, without a build chain and without other hosts."""
