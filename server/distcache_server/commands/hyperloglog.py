"""The hyperloglog commands."""
