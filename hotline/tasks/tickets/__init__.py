"""Promises about tickets."""
