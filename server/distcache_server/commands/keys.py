"""The keys commands."""
