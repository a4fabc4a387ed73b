"""The pubsub commands."""
