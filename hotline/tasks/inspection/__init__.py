"""Promises about what is inspected: contents, calls, replies."""
