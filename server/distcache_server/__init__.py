"""A Redis-compatible cache server."""
