"""The transactions commands."""
