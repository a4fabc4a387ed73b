"""Command line to Config to daemon."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence

from distcache_server import logs, systemd
from distcache_server.config import Config, ConfigError
from distcache_server.engine import REDIS_VERSION, VERSION
from distcache_server.process import DEFAULT_PIDFILE, daemonize, pid_file

USAGE = """\
Usage: distcache-server [FILE] [--DIRECTIVE VALUE ...] [-]

  FILE                  a configuration file in the syntax of redis.conf
  --DIRECTIVE VALUE     any directive of such a file; it comes after the file
  -                     first or last: read more of them from standard input

  -v, --version         print the version
  -h, --help            print this
  --test-config         first or last: say whether the configuration is valid, and stop
  --backing-setup-sql   first or last: print the SQL that the backing store needs, and stop

Examples:
  distcache-server
  distcache-server /etc/distcache.conf
  distcache-server --port 7777 --maxmemory 100mb --maxmemory-policy allkeys-lru
  echo 'maxmemory 100mb' | distcache-server -
  distcache-server /etc/distcache.conf --loglevel verbose --test-config
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    match words[:1]:
        case ["-v" | "--version"]:
            print(f"distcache-server v={VERSION} redis={REDIS_VERSION} {_platform()}")
            return 0
        case ["-h" | "--help"]:
            print(USAGE, end="")
            return 0
    only_test, words = taken_off(words, "--test-config")
    only_sql, words = taken_off(words, "--backing-setup-sql")
    try:
        config = configured(words)
    except ConfigError as error:
        print(f"\n*** FATAL CONFIG FILE ERROR (distcache {VERSION}) ***\n{error}", file=sys.stderr)
        return 1
    if only_sql:
        return print_setup(config)
    if only_test:
        from distcache_server import backing

        if backing.is_asked_for(config):
            try:
                backing.test(config)
            except backing.CannotBack as error:
                print(f"The backing store cannot be used: {error}", file=sys.stderr)
                return 1
        print("The configuration is valid.")
        return 0
    return start(config)


def print_setup(config: Config) -> int:
    """Print the SQL that the backing store needs; the exit status."""
    from distcache_server import backing

    try:
        print(backing.setup(config), end="")
    except backing.CannotBack as error:
        print(f"The backing store cannot be used: {error}", file=sys.stderr)
        return 1
    return 0


def _platform() -> str:
    return f"python={platform.python_version()} {platform.system().lower()}-{platform.machine()}"


def taken_off(words: Sequence[str], word: str) -> tuple[bool, list[str]]:
    """Is this the first or the last word, and what remains without it?"""
    if word in words[:1]:
        return True, list(words[1:])
    if word in words[-1:]:
        return True, list(words[:-1])
    return False, list(words)


def configured(words: Sequence[str]) -> Config:
    """The configuration that the command line asks for: file, standard input, options."""
    config = Config()
    from_input, rest = taken_off(words, "-")
    if rest and not rest[0].startswith("-"):
        config.load_file(rest.pop(0))
    if from_input:
        config.load(sys.stdin.read(), "the configuration from standard input")
    config.load_arguments(rest)
    config.check()
    return config


def start(config: Config) -> int:
    """Run the daemon; its exit status."""
    logs.configure(
        config.loglevel,
        config.locate(config.logfile) if config.logfile else "",
        (config.syslog_ident, config.syslog_facility) if config.syslog_enabled else None,
    )
    config.on_change(lambda: logs.set_level(config.loglevel), "loglevel")
    supervised = systemd.supervise(config.supervised)
    background = config.daemonize and not supervised
    if background:
        daemonize()
    logs.starting(VERSION, REDIS_VERSION, config.config_file)
    if ignored := config.without_effect():
        logs.warning("These directives have no effect here", directives=" ".join(ignored))
    path = config.pidfile or (DEFAULT_PIDFILE if background else "")
    with pid_file(config.locate(path) if path else ""):
        try:
            # Not before the fork: an event loop does not survive it.
            from distcache_server import daemon

            return daemon.run(config)
        except Exception as error:
            logs.failure("The server failed", error)
            return 1


if __name__ == "__main__":
    sys.exit(main())
