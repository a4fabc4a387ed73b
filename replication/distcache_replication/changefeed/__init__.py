"""The changefeed without a keyspace: positions, events, formats, filters."""
