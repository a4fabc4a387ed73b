"""Every setting: what it is called, its type and default, what it does, what changes it."""

from distcache_server.config.kinds import ConfigError as ConfigError
from distcache_server.config.kinds import Portion as Portion
from distcache_server.config.lists import OutputLimit as OutputLimit
from distcache_server.config.lists import OutputLimits as OutputLimits
from distcache_server.config.lists import SavePoint as SavePoint
from distcache_server.config.settings import Config as Config
from distcache_server.config.settings import permits as permits
from distcache_server.config.store import LoadError as LoadError
