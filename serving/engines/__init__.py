"""Engines: what runs a family's `forward` for many calls at once. `prepare` and `decode` stay the family's."""
