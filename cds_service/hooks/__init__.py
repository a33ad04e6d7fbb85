"""CDS Hooks' own words: catalogue of hooks, request, discovery, cards, `respond`. Never sockets."""
