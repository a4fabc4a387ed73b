"""Settings: loading, showing, changing."""

import contextlib
import copy
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from distcache_server.config import (
    Config,
    ConfigError,
    LoadError,
    OutputLimit,
    Portion,
    SavePoint,
    kinds,
    lists,
)
from distcache_server.config.changefeed import Databases
from distcache_server.config.kafka import Pairs, Password
from distcache_server.config.lists import Repeated
from distcache_server.config.store import declared, option_lines
from hypothesis import given
from hypothesis import strategies as st

REDIS_SETTINGS = Path(__file__).parents[2] / "data" / "redis_settings.tsv"
# Where the package puts it, and where tests/setup.sh does.
STOCK = [Path("/etc/redis/redis.conf"), Path(sys.executable).parent / "redis.conf"]

REFUSED = "CONFIG SET failed (possibly related to argument '%s') - %s"
INTEGER = "argument couldn't be parsed into an integer"
BETWEEN = "argument must be between %d and %d inclusive"
LONG = (1 << 63) - 1


def get(config: Config, *patterns: str) -> dict[str, str]:
    shown = config.get([pattern.encode() for pattern in patterns])
    return {name.decode(): value.decode() for name, value in shown.items()}


def get_raw(config: Config) -> dict[bytes, bytes]:
    return config.get([b"*"])


def change(config: Config, *words: str | bytes, local: bool = False) -> None:
    given = [word.encode() if isinstance(word, str) else word for word in words]
    config.set(list(zip(given[::2], given[1::2], strict=True)), local=local)


def refusal(config: Config, *words: str, local: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        change(config, *words, local=local)
    return caught.value.reason


def load_error(text: str) -> LoadError:
    with pytest.raises(LoadError) as caught:
        Config().load(text, "the configuration file x")
    return caught.value


# Declarations


def test_every_setting_has_a_summary_and_a_default_that_it_accepts() -> None:
    for setting in declared(Config):
        assert setting.summary.endswith((".", "?")), setting.name
        assert setting.accepts(), setting.name
        if not setting.file_only and (shown := setting.show(setting.default)):
            old = () if isinstance(setting, Repeated) else setting.initial()
            assert setting.parse(setting.split(shown), old) == setting.initial()


def test_a_directive_is_declared_once() -> None:
    with pytest.raises(TypeError, match="'port' is declared twice"):

        class Twice(Config):
            port_again = kinds.Integer(1, 0, 2, "A port.", name="port")


def test_reading_a_setting_is_reading_an_attribute() -> None:
    config = Config()
    for setting in declared(Config):
        assert vars(config)[setting.attribute] == setting.initial()


def test_types() -> None:
    config = Config()
    config.load(
        "maxmemory 1kb\nmaxmemory-clients 5%\nunixsocketperm 770\nappendonly YES\n"
        "maxmemory-policy allkeys-LRU\nlogfile x\nrequirepass pässword\nbind 127.0.0.1 -::1\n"
        "key-groups user:* 'a b*'\nsave 60 1 3600 2\nclient-output-buffer-limit pubsub 1mb 2k 3\n"
        "latency-tracking-info-percentiles 50 99.9\nreplicaof example.com 6380\n"
        "notify-keyspace-events KEA\nshutdown-on-sigterm force now\noom-score-adj-values 1 2 3\n"
        "rename-command GET fetch\nrename-command KEYS ''\nlist-max-ziplist-size -5\n",
        "x",
    )
    assert config.port == 6379
    assert config.maxmemory == 1024
    assert config.maxmemory_clients == Portion(percent=5)
    assert config.maxmemory_clients.of(200) == 10
    assert config.unixsocketperm == 0o770
    assert config.appendonly is True
    assert config.maxmemory_policy == "allkeys-lru"
    assert config.logfile == "x"
    assert config.requirepass == "pässword".encode()
    assert config.bind == ("127.0.0.1", "-::1")
    assert config.key_groups == (b"user:*", b"a b*")
    assert config.save == (SavePoint(60, 1), SavePoint(3600, 2))
    assert config.client_output_buffer_limit.pubsub == OutputLimit(1 << 20, 2000, 3)
    assert config.client_output_buffer_limit.replica == OutputLimit(256 << 20, 64 << 20, 60)
    assert config.latency_tracking_info_percentiles == (50.0, 99.9)
    assert config.replicaof == ("example.com", 6380)
    assert get(config, "notify-keyspace-events") == {"notify-keyspace-events": "AKE"}
    assert config.shutdown_on_sigterm == ("now", "force")
    assert config.oom_score_adj_values == (1, 2, 3)
    assert config.rename_command == ((b"GET", b"fetch"), (b"KEYS", b""))
    assert config.list_max_listpack_size == -5


def test_secrets_are_not_in_the_repr() -> None:
    config = Config()
    config.load("requirepass sesame\nmasterauth sesame\n", "x")
    assert "sesame" not in repr(config)
    assert "sesame" not in repr([Config.requirepass, Config.masterauth])
    assert config.is_secret(b"RequirePass")
    assert config.is_secret(b"tls-key-file-pass")
    assert not config.is_secret(b"port")
    assert not config.is_secret(b"nothing")


def test_all_settings_of_redis_are_here_with_their_defaults() -> None:
    theirs = dict(
        line.split("\t") for line in REDIS_SETTINGS.read_text().splitlines() if line[0] != "#"
    )
    ours = {name: value for name in theirs for value in get(Config(), name).values()}
    assert ours == theirs


# Loading


def test_the_lines_of_a_file() -> None:
    config = Config()
    config.load("\n# comment\n  PORT\t1 \r\n \v \n\"timeout\" '5'\nhz 9\nhz 8", "x")
    assert (config.port, config.timeout, config.hz) == (1, 5, 8)


def test_lines_of_save_add_up_and_begin_anew() -> None:
    config = Config()
    config.load("save 1 1\nsave 2 2", "x")
    config.load("save '3 3'", "y")
    assert get(config, "save") == {"save": "1 1 2 2 3 3"}
    config.load('save ""\nsave 4 4', "z")
    assert get(config, "save") == {"save": "4 4"}


def test_one_argument_may_hold_the_words_of_several() -> None:
    config = Config()
    config.load('bind "127.0.0.1  ::1"\nclient-output-buffer-limit "normal 1 2 3"', "x")
    assert config.bind == ("127.0.0.1", "::1")
    assert config.client_output_buffer_limit.normal == OutputLimit(1, 2, 3)


def test_no_address_at_all() -> None:
    config = Config()
    config.load('bind ""', "x")
    assert config.bind == ()
    assert get(config, "bind") == {"bind": ""}


def test_forgotten_directives_are_accepted() -> None:
    Config().load("list-max-ziplist-entries 5\nlua-replicate-commands yes", "x")
    assert (
        load_error("list-max-ziplist-entries").reason
        == "Bad directive or wrong number of arguments"
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nosuch 1", "Bad directive or wrong number of arguments"),
        ("port", "wrong number of arguments"),
        ("port 1 2", "wrong number of arguments"),
        ("port abc", INTEGER),
        ("port 65536", BETWEEN % (0, 65535)),
        ('save "1 2', "Unbalanced quotes in configuration line"),
        ("save 1", "Invalid save parameters"),
        ("save 0 1", "Invalid save parameters"),
        ("rename-command get", "Bad directive or wrong number of arguments"),
        ("user", "Bad directive or wrong number of arguments"),
        ("loadmodule", "Bad directive or wrong number of arguments"),
        ("include", "Bad directive or wrong number of arguments"),
        ("sentinel monitor", "sentinel directive while not in sentinel mode"),
        ("dir /nonexistent", "No such file or directory"),
        ("dir /dev/null", "Not a directory"),
        ("slaveof x", "wrong number of arguments"),
        ("replicaof x 99999", "Invalid master port"),
        ("unixsocketperm 888", "argument couldn't be parsed as an octal number"),
        ("unixsocketperm 1000", "argument must be between 0 and 777 inclusive"),
        ("dbfilename a/b", "dbfilename can't be a path, just a filename"),
        ("appendfilename ''", "appendfilename can't be empty"),
        ("appenddirname a/b", "appenddirname can't be a path, just a dirname"),
        ("bind" + " ::1" * 17, "Too many bind addresses specified."),
        (
            "include /nonexistent.conf",
            "Fatal error, can't open config file '/nonexistent.conf': No such file or directory",
        ),
    ],
)
def test_a_bad_line(line: str, reason: str) -> None:
    error = load_error(f"# first\n\n  {line}  \nport 1")
    assert error.reason == reason
    assert str(error) == (f"Reading the configuration file x, at line 3\n>>> '{line}'\n{reason}")


@pytest.mark.parametrize(
    "line", ["requirepass a b", 'requirepass "a', "user alice on >a", "masterauth a b"]
)
def test_error_messages_keep_secrets(line: str) -> None:
    shown = str(load_error(line))
    assert f">>> '{line.split()[0]} (redacted)'" in shown


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "main.conf").write_text(
        f"dir {tmp_path}/more\nport 1\ninclude a.conf\ninclude *.none\ninclude b*.conf\n"
    )
    (tmp_path / "more/a.conf").write_text("port 2\ntimeout 1\n")
    (tmp_path / "more/b1.conf").write_text("hz 11\n")
    (tmp_path / "more/b2.conf").write_text("hz 12\nhz x\n")
    config = Config()
    with pytest.raises(LoadError) as caught:
        config.load_file(str(tmp_path / "main.conf"))
    assert str(caught.value).startswith(
        f"Reading the configuration file {tmp_path}/more/b2.conf, at line 2\n>>> 'hz x'\n"
    )
    assert (config.port, config.timeout, config.hz) == (2, 1, 12)
    assert config.config_file == str(tmp_path / "main.conf")


def test_an_include_that_leads_back(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"include {tmp_path}/b\n")
    (tmp_path / "b").write_text(f"port 1\ninclude {tmp_path}/a\n")
    with pytest.raises(LoadError, match="includes itself"):
        Config().load_file(str(tmp_path / "a"))


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_bytes(b'requirepass \xff\xfe\nlogfile "\\xff"\n')
    config = Config()
    config.load_file(str(path))
    assert config.requirepass == b"\xff\xfe"
    assert os.fsencode(config.logfile) == b"\xff"
    assert config.get([b"logfile"]) == {b"logfile": b"\xff"}


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["--port", "6380"], ['port "6380"']),
        (["--port 6380"], ["port 6380"]),
        (["--save", "", "--bind", "a", "b"], ['save ""', 'bind "a" "b"']),
        (["--save", "--port", "1"], ['save ""', 'port "1"']),
        (["--port", "1", "--save"], ['port "1"', 'save ""']),
        (["--loglevel", "--foo"], ['loglevel "--foo"']),
        (["--port", "1", "-x"], ['port "1" "-x"']),
        (["--requirepass", 'a "b'], ['requirepass "a \\"b"']),
        (["stray"], ['"stray"']),
    ],
)
def test_the_lines_of_a_command_line(arguments: list[str], lines: list[str]) -> None:
    assert [line.strip() for line in option_lines(arguments)] == lines


def test_an_error_on_the_command_line() -> None:
    with pytest.raises(LoadError) as caught:
        Config().load_arguments(["--port", "1", "--foo", "bar"])
    assert str(caught.value) == (
        "Reading the command line\n>>> 'foo \"bar\"'\nBad directive or wrong number of arguments"
    )


def test_the_default_user_that_redis_writes() -> None:
    config = Config()
    config.load("user default on nopass ~* &* +@all", "x")
    config.load("user default on sanitize-payload nopass allkeys allchannels allcommands", "x")
    config.check()


@pytest.mark.parametrize(
    "line",
    [
        "user alice on nopass ~* &* +@all",
        "user default off nopass ~* &* +@all",
        "user default on nopass ~* +@all",
        "user default on nopass ~* &* +@all -flushall",
        "user default on >secret ~* &* +@all",
        "user default",
        "aclfile users.acl",
    ],
)
def test_rules_that_would_not_be_obeyed_are_refused(line: str) -> None:
    load_error(line)


def test_the_hash_of_the_default_user_is_that_of_requirepass() -> None:
    foo = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    line = f"user default on #{foo} ~* &* +@all\n"
    config = Config()
    config.load(line + "requirepass foo", "x")
    config.check()
    for other in ("", "requirepass bar"):
        config = Config()
        config.load(line + other, "x")
        with pytest.raises(ConfigError, match="not that of requirepass"):
            config.check()


def test_what_contradicts_itself(tmp_path: Path) -> None:
    config = Config()
    config.load(f"logfile {tmp_path}/none/log", "x")
    with pytest.raises(ConfigError, match=r"log file .*/none/log: No such file or directory"):
        config.check()
    config = Config()
    config.load("cluster-enabled yes\nreplicaof a 1", "x")
    with pytest.raises(ConfigError, match="replicaof directive not allowed in cluster mode"):
        config.check()


def test_relative_paths_start_at_dir(tmp_path: Path) -> None:
    config = Config()
    assert config.dir == os.path.realpath(".")
    config.load(f"dir {tmp_path}", "x")
    assert config.locate("log") == f"{tmp_path}/log"
    assert config.locate("/log") == "/log"
    (tmp_path / "sub").mkdir()
    config.load("dir sub", "x")
    assert config.dir == f"{tmp_path}/sub"


def test_a_stock_redis_conf_loads() -> None:
    readable = [path for path in STOCK if os.access(path, os.R_OK)]
    if not readable:
        pytest.skip("there is no redis.conf of Redis here")
    text = readable[0].read_text()
    # Its directories are those of an installed Redis.
    config = Config()
    config.load("\n".join(line for line in text.split("\n") if not line.startswith("dir ")), "x")
    assert config.port == 6379
    assert config.without_effect() == []


def test_directives_without_effect_are_named() -> None:
    config = Config()
    assert config.without_effect() == []
    config.load("activedefrag yes\ntls-replication yes\nport 1\nsave ''\nio-threads 1", "x")
    assert config.without_effect() == ["tls-replication", "activedefrag"]


# Showing


def test_get() -> None:
    config = Config()
    assert get(config, "maxmemory") == {"maxmemory": "0"}
    assert get(config, "MaxMemory", "maxmemory", "maxm*y") == {
        "MaxMemory": "0",
        "maxmemory-policy": "noeviction",
        "maxmemory-eviction-tenacity": "10",
    }
    assert get(config, "MAXMEMORY-S*") == {"maxmemory-samples": "5"}
    assert get(config, "slave-priority", "replica-priority") == {
        "slave-priority": "100",
        "replica-priority": "100",
    }
    assert get(config, "nosuch", "include", "user", "rename-command", "max\\memory") == {}
    assert get(config) == {}


def test_hidden_settings_need_their_full_name() -> None:
    config = Config()
    assert get(config, "key-load-delay") == {"key-load-delay": "0"}
    assert get(config, "key-load*") == {}


def test_all_of_it() -> None:
    shown = get(Config(), "*")
    assert shown["client-output-buffer-limit"] == (
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    )
    assert shown["bind"] == "* -::*"
    assert shown["latency-tracking-info-percentiles"] == "50 99 99.9"
    assert {"metrics-port", "metrics-bind", "key-groups", "server_cpulist"} <= shown.keys()
    assert not {"user", "rename-command", "loadmodule", "watchdog-period"} & shown.keys()


# Changing


# What Redis 7.0 answers to CONFIG SET.  None: it is accepted.
CHANGES: list[tuple[str, str, str | None]] = [
    ("maxmemory", "1gb", None),
    ("maxmemory", "1B", None),
    ("maxmemory", "abc", "argument must be a memory value"),
    ("maxmemory", "-1", "argument must be a memory value"),
    ("maxmemory", "1.5gb", "argument must be a memory value"),
    ("maxmemory", " 1", "argument must be a memory value"),
    ("maxmemory-clients", "50%", None),
    ("maxmemory-clients", "0%", None),
    ("maxmemory-clients", "10mb", None),
    ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
    ("maxmemory-clients", "-5%", "argument must be a memory or percent value"),
    ("maxmemory-clients", "%", "argument must be a memory or percent value"),
    ("timeout", "2147483647", None),
    ("timeout", "abc", INTEGER),
    ("timeout", "01", INTEGER),
    ("timeout", "+1", INTEGER),
    ("timeout", " 1", INTEGER),
    ("timeout", "", INTEGER),
    ("timeout", "99999999999999999999", INTEGER),
    ("timeout", "-1", BETWEEN % (0, 2147483647)),
    ("timeout", "2147483648", BETWEEN % (0, 2147483647)),
    ("TimeOut", "abc", INTEGER),
    ("slave-priority", "abc", INTEGER),
    ("maxclients", "0", BETWEEN % (1, 4294967295)),
    ("maxclients", "-1", BETWEEN % (1, 4294967295)),
    ("proto-max-bulk-len", "1", BETWEEN % (1048576, LONG)),
    ("repl-backlog-size", "0", BETWEEN % (1, LONG)),
    ("hash-max-listpack-entries", "-1", BETWEEN % (0, LONG)),
    ("hash-max-listpack-value", "-1", "argument must be a memory value"),
    ("appendonly", "Yes", None),
    ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
    (
        "maxmemory-policy",
        "zzz",
        "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, "
        "volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
    ),
    ("save", "1 2 3 4", None),
    ("save", "", None),
    ("save", "1", "Invalid save parameters"),
    ("save", "1  2", "Invalid save parameters"),
    ("save", "x 2", "Invalid save parameters"),
    ("client-output-buffer-limit", "", None),
    ("client-output-buffer-limit", "REPLICA 1 2 3 pubsub 5k 6mb 7", None),
    (
        "client-output-buffer-limit",
        "normal 1 2",
        "Wrong number of arguments in buffer limit configuration.",
    ),
    (
        "client-output-buffer-limit",
        "master 1 2 3",
        "Invalid client class specified in buffer limit configuration.",
    ),
    (
        "client-output-buffer-limit",
        "normal x 2 3",
        "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
    ),
    (
        "client-output-buffer-limit",
        "normal 1 2 -3",
        "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
    ),
    (
        "notify-keyspace-events",
        "q",
        "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
    ),
    ("latency-tracking-info-percentiles", "0.5 1e1 100.0", None),
    ("latency-tracking-info-percentiles", "", None),
    (
        "latency-tracking-info-percentiles",
        "101",
        "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
    ),
    (
        "latency-tracking-info-percentiles",
        "nan",
        "Invalid latency-tracking-info-percentiles parameters",
    ),
    ("shutdown-on-sigint", "save now force", None),
    ("shutdown-on-sigint", "default", None),
    (
        "shutdown-on-sigint",
        "save nosave",
        "shutdown options SAVE and NOSAVE can't be used simultaneously",
    ),
    (
        "shutdown-on-sigint",
        "",
        "argument(s) must be one of the following: default, save, nosave, now, force",
    ),
    ("oom-score-adj-values", "-1 2 3", None),
    ("oom-score-adj-values", "1 2", "wrong number of arguments"),
    (
        "oom-score-adj-values",
        "1 2 3000",
        "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
    ),
    ("cluster-announce-hostname", "x" * 256, "Hostnames must be less than 256 characters"),
    (
        "cluster-announce-hostname",
        "a_b",
        "Hostnames may only contain alphanumeric characters, hyphens or dots",
    ),
    (
        "cluster-announce-human-nodename",
        "a#b",
        "Announced human node name contained invalid character",
    ),
    ("proc-title-template", "{title} {port} {{", None),
    (
        "proc-title-template",
        "{foo}",
        "template format is invalid or contains unknown variables",
    ),
    ("proc-title-template", "", "template format is invalid or contains unknown variables"),
    ("daemonize", "yes", "can't set immutable config"),
    ("DAEMONIZE", "yes", "can't set immutable config"),
    ("aclfile", "x", "can't set immutable config"),
    ("slaveof", "no one", "can't set immutable config"),
    ("dir", "/", "can't set protected config"),
    ("dbfilename", "x", "can't set protected config"),
]


@pytest.mark.parametrize(("name", "value", "reason"), CHANGES)
def test_what_redis_answers(name: str, value: str, reason: str | None) -> None:
    config = Config()
    before = get(config, "*")
    if reason is None:
        change(config, name, value)
        return
    # The name is echoed as it was given where it decides, and as declared where the value does.
    echoed = name if reason.startswith("can't set") else name.lower()
    assert refusal(config, name, value) == REFUSED % (echoed, reason)
    assert get(config, "*") == before


@pytest.mark.parametrize("name", ["nosuch", "user", "rename-command", "list-max-ziplist-entries"])
def test_unknown_directives(name: str) -> None:
    unknown = f"Unknown option or number of arguments for CONFIG SET - '{name}'"
    config = Config()
    assert refusal(config, name, "x") == unknown
    assert refusal(config, name, "x", "daemonize", "yes") == unknown
    assert refusal(config, "daemonize", "yes", name, "x") == REFUSED % (
        "daemonize",
        "can't set immutable config",
    )


def test_duplicates() -> None:
    config = Config()
    assert refusal(config, "timeout", "1", "TIMEOUT", "2") == REFUSED % (
        "TIMEOUT",
        "duplicate parameter",
    )
    # As in Redis, an alias is another parameter.
    change(config, "slave-priority", "1", "replica-priority", "2")
    assert config.replica_priority == 2


def test_several_are_set_all_or_none() -> None:
    config = Config()
    change(config, "timeout", "7", "client-output-buffer-limit", "normal 1 2 3", "save", "1 1")
    before = copy.deepcopy(get(config, "*"))
    assert refusal(
        config,
        "timeout",
        "8",
        "save",
        "2 2",
        "client-output-buffer-limit",
        "normal 4 5 6",
        "hz",
        "x",
    ) == (REFUSED % ("hz", INTEGER))
    assert get(config, "*") == before


def test_set_replaces_save_points() -> None:
    config = Config()
    config.load("save 1 1", "x")
    change(config, "save", "2 2")
    assert config.save == (SavePoint(2, 2),)


def test_values_beyond_reason_are_capped() -> None:
    config = Config()
    for asked, kept in (("0", 1), ("7", 7), ("5000", 500)):
        change(config, "hz", asked)
        assert config.hz == kept
    change(config, "repl-backlog-size", "1")
    assert config.repl_backlog_size == 16384


def test_memory_that_does_not_fit_64_bits() -> None:
    config = Config()
    change(config, "maxmemory", "18446744073709551616")
    assert config.maxmemory == (1 << 64) - 1
    reason = REFUSED % ("maxmemory", "argument must be a memory value")
    assert refusal(config, "maxmemory", "99999999999gb") == reason


def test_synonyms_are_shown_as_what_they_mean() -> None:
    config = Config()
    change(config, "oom-score-adj", "relative")
    assert get(config, "oom-score-adj") == {"oom-score-adj": "yes"}


def test_passwords_are_any_bytes() -> None:
    config = Config()
    change(config, "requirepass", b"\x00\xff a")
    assert config.requirepass == b"\x00\xff a"
    assert config.get([b"requirepass"]) == {b"requirepass": b"\x00\xff a"}


@pytest.mark.parametrize(
    ("who", "local", "permitted"),
    [("no", True, False), ("local", True, True), ("local", False, False), ("yes", False, True)],
)
def test_protected_settings(who: str, local: bool, permitted: bool) -> None:
    config = Config()
    config.load(f"enable-protected-configs {who}", "x")
    if permitted:
        change(config, "dbfilename", "other.rdb", local=local)
        assert config.dbfilename == "other.rdb"
    else:
        reason = REFUSED % ("dbfilename", "can't set protected config")
        assert refusal(config, "dbfilename", "other.rdb", local=local) == reason


# Watching


class Watcher:
    """Remembers what it saw, and refuses a timeout of 13."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.seen: list[int] = []

    def __call__(self) -> None:
        self.seen.append(self.config.timeout)
        if self.config.timeout == 13:
            raise ConfigError("an unlucky number")


def test_watchers_are_called_once_for_what_changed() -> None:
    config = Config()
    watcher = Watcher(config)
    config.on_change(watcher, "timeout", "slave-priority")
    change(config, "timeout", "5", "replica-priority", "7", "hz", "11")
    assert watcher.seen == [5]
    change(config, "slave-priority", "8")
    assert watcher.seen == [5, 5]
    change(config, "timeout", "5", "replica-priority", "8", "hz", "12")
    assert watcher.seen == [5, 5]


def test_a_refusal_puts_everything_back() -> None:
    config = Config()
    first: list[int] = []
    config.on_change(lambda: first.append(config.hz), "hz")
    watcher = Watcher(config)
    config.on_change(watcher, "timeout")
    last: list[int] = []
    config.on_change(lambda: last.append(config.maxclients), "maxclients")
    before = get(config, "*")
    assert refusal(config, "hz", "20", "timeout", "13", "maxclients", "5") == REFUSED % (
        "timeout",
        "an unlucky number",
    )
    assert get(config, "*") == before
    assert first == [20, 10]
    assert watcher.seen == [13, 0]
    assert last == []


def test_watching_what_does_not_exist() -> None:
    with pytest.raises(KeyError):
        Config().on_change(lambda: None, "nosuch")


# Every setting goes through GET, SET and a file


def sample(setting: kinds.Setting[Any]) -> bytes:
    """A value that is not the default."""
    special = {
        "dir": b"/",
        "dbfilename": b"other one.rdb",
        "aclfile": b"",
        "cluster-announce-hostname": b"example.com",
        "proc-title-template": b"{title} {port}",
        "hz": b"50",
        "appendfilename": b"other one.aof",
        "appenddirname": b"other one",
        "changefeed": b"kafka://broker:9092/topic.{group}",
        "changefeed-stream": b"other",
        "changefeed-positions-topic": b"other",
        "changefeed-dead-letter-topic": b"other",
    }
    if setting.name in special:
        return special[setting.name]
    match setting:
        case kinds.Octal():
            return b"640"
        case kinds.Integer():
            return b"%d" % (
                setting.highest if setting.default != setting.highest else setting.lowest
            )
        case kinds.MemoryPortion():
            return b"7%"
        case kinds.Boolean():
            return b"no" if setting.default else b"yes"
        case kinds.Enum():
            plain = [choice for choice in setting.choices if choice not in setting.synonyms]
            return plain[0 if setting.default != plain[0] else 1].encode()
        case kinds.String() | kinds.Secret():
            return b"it's \"\\\xff\n"
        case kinds.EventClasses():
            return b"AKE"
        case Pairs():
            return b"a.b=c d=e"
        case lists.Addresses():
            return b"127.0.0.1 -::1"
        case lists.Globs():
            return b'user:* "a b*"'
        case lists.Flags():
            return b"now force"
        case lists.Numbers():
            return b"-5 0 5"
        case Databases():
            return b"0 3"
        case lists.Percentiles():
            return b"0.5 99.999 100"
        case lists.BufferLimits():
            return b"normal 1 2 3 slave 4096 5 6 pubsub 7 8 9"
        case kinds.Address():
            return b"sqlite:///cache.db"
        case lists.Primary():
            return b"example.com 6380"
        case lists.SavePoints():
            return b"60 1000 3600 1"
    raise AssertionError(f"no sample of {type(setting).__name__}")


@pytest.mark.parametrize(
    "setting",
    [setting for setting in declared(Config) if not setting.file_only],
    ids=lambda setting: setting.name,
)
def test_round_trip(setting: kinds.Setting[Any], tmp_path: Path) -> None:
    name, value = setting.name.encode(), sample(setting)
    path = tmp_path / "distcache.conf"
    path.write_bytes(b"enable-protected-configs yes\n")
    config = Config()
    config.load_file(str(path))
    if setting.runtime:
        config.set([(name, value)])
    else:
        config.__dict__[setting.attribute] = setting.parse(setting.split(value), setting.initial())
    shown = config.get([name])
    config.rewrite()
    again = Config()
    again.load_file(str(path))
    assert again.get([name]) == shown
    assert getattr(again, setting.attribute) == getattr(config, setting.attribute)
    if isinstance(setting, Password):
        assert shown == {name: b"***"}
    elif setting.name not in ("aclfile", "dir"):
        assert shown == {name: value}
    if setting.alias:
        assert config.get([setting.alias.encode()]) == {setting.alias.encode(): value}


# Whatever is in a file or a command: it is taken, or refused by a ConfigError

NAMES = st.sampled_from([*Config.directives, "include", "sentinel", "nosuch"])
WORDS = st.one_of(
    st.sampled_from(["yes", "no", "0", "-1", "1", "100%", "1gb", "1" * 30, "default", "on", "~*"]),
    st.text(max_size=5),
)


@given(st.lists(st.tuples(NAMES, st.lists(WORDS, max_size=5)), max_size=5), st.text(max_size=3))
def test_any_text_loads_or_is_refused(lines: list[tuple[str, list[str]]], end: str) -> None:
    text = "\n".join(" ".join([name, *words]) for name, words in lines)
    with contextlib.suppress(ConfigError):
        Config().load(text + end, "x")


@given(st.lists(st.tuples(NAMES, st.one_of(WORDS.map(str.encode), st.binary())), max_size=5))
def test_any_change_is_made_or_refused(pairs: list[tuple[str, bytes]]) -> None:
    config = Config()
    before = get_raw(config)
    chosen = [(name.encode(), value) for name, value in pairs]
    try:
        config.set(chosen)
    except ConfigError:
        assert get_raw(config) == before
    else:
        assert config.get([name for name, _ in chosen]).keys() == {name for name, _ in chosen}
