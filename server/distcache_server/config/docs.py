"""docs/configuration.md, from the declarations: ``python -m distcache_server.config.docs``."""

from __future__ import annotations

import sys
from typing import Any

from distcache_server.config.kept import Kept
from distcache_server.config.kinds import Section, Setting
from distcache_server.config.settings import Config
from distcache_server.config.store import declared

_HEAD = """\
# Configuration

This page is made from the declarations in `server/distcache_server/config` by `make docs`.

The configuration file has the syntax of `redis.conf`: a directive and its values on each line,
`#` begins a comment, `include` takes in other files, and a value with blanks stands between quotes.
On the command line the same directives begin with `--` and win over the file:

    distcache-server /etc/distcache.conf --port 6380 --maxmemory 100mb

Memory may be given in `k`, `m`, `g` (powers of 1000) and `kb`, `mb`, `gb` (powers of 1024).
`CONFIG SET` changes directives while the server runs, several at once and either all or none;
`CONFIG REWRITE` puts what was changed into the file. In the tables, "no" under *CONFIG SET* means
that only a restart changes the directive, and "protected" that `enable-protected-configs` has to
allow it. "file" means that the directive stands in files only; CONFIG does not know it.
"""
_KEPT_HEAD = """\
## Accepted without effect

These directives of Redis have no meaning here. They are checked, kept, shown by `CONFIG GET` and
written by `CONFIG REWRITE`, so that existing configuration files work. When one of them is not at
its default, the log says so at the start. The tables say what Redis does with them.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    sections: dict[type, list[Setting[Any]]] = {}
    for setting in declared(Config):
        if not setting.hidden:
            sections.setdefault(setting.section, []).append(setting)
    kept = [section for section in sections if issubclass(section, Kept)]
    parts += [
        _part("##", section, sections[section]) for section in sections if section not in kept
    ]
    parts += [_KEPT_HEAD, *(_part("###", section, sections[section]) for section in kept)]
    return "\n".join(parts)


def _part(mark: str, section: type[Section], settings: list[Setting[Any]]) -> str:
    title, _, rest = (section.__doc__ or "").strip().partition(": ")
    lines = [f"{mark} {title.removesuffix('.')}", ""]
    if rest:
        lines += [rest[0].upper() + rest[1:], ""]
    lines += ["| Directive | Values | Default | CONFIG SET | |", "|---|---|---|---|---|"]
    lines += [_row(setting) for setting in sorted(settings, key=lambda setting: setting.name)]
    return "\n".join(lines) + "\n"


def _row(setting: Setting[Any]) -> str:
    name = f"`{setting.name}`" + (f", `{setting.alias}`" if setting.alias else "")
    changeable = "yes" if setting.runtime else "no"
    if setting.protected:
        changeable = "protected"
    if setting.file_only:
        changeable = "file"
    cells = (name, setting.accepts(), _default(setting), changeable, setting.summary)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(setting: Setting[Any]) -> str:
    """The default as it would stand in a file."""
    if setting.file_only:
        return ""
    lines = [words for words, _ in setting.lines(setting.default)]
    return "; ".join(
        f"`{line.decode()}`" for line in lines or [setting.show(setting.default)] if line
    )


if __name__ == "__main__":
    sys.stdout.write(page())
