"""The hashes commands."""
