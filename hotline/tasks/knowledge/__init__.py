"""Promises about what documents say."""
