"""The sorted_sets commands."""
