"""The shared core: the declaration, the families, scores, registry and ledger. Imports nothing else of ours."""
