"""A Redis-compatible cache server, to run as a daemon or inside a process of one's own.

::

    async with serve(maxmemory="100mb") as server:
        client = redis.asyncio.Redis(port=server.port)
"""

from distcache_server.backing import CannotBack
from distcache_server.config import Config, ConfigError
from distcache_server.daemon import Server, serve
from distcache_server.listeners import CannotListen
from distcache_server.snapshot_file import CannotLoad

__all__ = ["CannotBack", "CannotListen", "CannotLoad", "Config", "ConfigError", "Server", "serve"]
