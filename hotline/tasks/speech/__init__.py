"""Promises about speech."""
