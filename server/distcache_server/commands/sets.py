"""The sets commands."""
