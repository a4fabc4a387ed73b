"""The lists commands."""
