"""The changefeed of a server: a process that holds a shadow of the keys, and who reads from it."""
