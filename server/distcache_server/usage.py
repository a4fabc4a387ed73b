"""A usage line as a tree of arguments: ``"SET key value [NX | XX] [EX seconds | KEEPTTL]"``.

``[ ]`` stands around what may be missing, ``< >`` around alternatives of which one must be there,
and ``|`` between alternatives.  ``...`` says that what stands before it, or in the same brackets,
may come again; ``key [key ...]`` is one argument that comes at least once.  A word in capitals
stands for itself; what follows it, up to the next one or to an option, belongs to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

_piece = re.compile(r"\s*(\[|\]|\||\.\.\.|<|>|\"[^\"]*\"|[^\s\[\]|<>]+)")


@dataclass(slots=True)
class Argument:
    """An argument as COMMAND DOCS describes it."""

    name: str
    type: str
    token: str = ""
    optional: bool = False
    multiple: bool = False
    multiple_token: bool = False
    arguments: list[Argument] = field(default_factory=list)
    key_spec: int = -1
    """Which of the command's key specifications finds it; -1 for what is no key."""

    @property
    def least(self) -> int:
        """The fewest words that this takes."""
        if self.optional:
            return 0
        inside = [argument.least for argument in self.arguments]
        if self.type == "oneof":
            words = min(inside)
        elif self.type == "block":
            words = sum(inside)
        else:
            words = int(self.type != "pure-token")
        return words + bool(self.token)

    @property
    def varies(self) -> bool:
        """Whether it may take more words than the fewest."""
        return (
            self.optional
            or self.multiple
            or any(argument.varies for argument in self.arguments)
            or (self.type == "oneof" and len({it.least for it in self.arguments}) > 1)
        )


@dataclass(slots=True)
class _Node:
    """A word, or what stands in brackets."""

    text: str
    """As it stands in the line, without ``...``."""
    alternatives: list[list[_Node]] = field(default_factory=list)
    optional: bool = False
    repeats: bool = False

    @property
    def is_token(self) -> bool:
        return not self.alternatives and self.text.upper() == self.text

    @property
    def inside(self) -> str:
        return " | ".join(map(_text, self.alternatives))


def _text(nodes: list[_Node]) -> str:
    return " ".join(node.text for node in nodes)


def parse(usage: str, name_words: int) -> list[Argument]:
    """The arguments behind the name, which has one word or two."""
    pieces = _piece.findall(usage)[name_words:]
    nodes, _ = _read(pieces)
    return _numbered_keys(_arguments(nodes[0]))


def _read(pieces: list[str]) -> tuple[list[list[_Node]], bool]:
    """Alternatives up to the closing bracket, which is taken off; whether they repeat."""
    alternatives: list[list[_Node]] = [[]]
    repeats = False
    while pieces:
        piece = pieces.pop(0)
        if piece in ("]", ">"):
            break
        if piece in ("[", "<"):
            inner, again = _read(pieces)
            node = _Node("", inner, optional=piece == "[", repeats=again)
            node.text = f"[{node.inside}]" if node.optional else f"<{node.inside}>"
            alternatives[-1].append(node)
        elif piece == "|":
            alternatives.append([])
        elif piece != "...":
            alternatives[-1].append(_Node(piece.strip('"')))
        elif pieces[:1] in (["]"], [">"]):
            repeats = True
        else:
            alternatives[-1][-1].repeats = True
    return [nodes for nodes in alternatives if nodes] or [[]], repeats


def _arguments(nodes: list[_Node]) -> list[Argument]:
    """The arguments that a row of nodes stands for."""
    found: list[Argument] = []
    at = 0
    while at < len(nodes):
        end = at + 1
        if nodes[at].is_token:
            while end < len(nodes) and _belongs(nodes, at, end):
                end += 1
        found.append(_argument(nodes[at:end]))
        at = end
        again = _repeated(nodes, at)
        if again:
            found[-again:] = [_repeating(found[-again:], nodes[at])]
            at += 1
    return _distinct(found)


def _belongs(nodes: list[_Node], at: int, end: int) -> bool:
    """Whether the node at ``end`` belongs to the token at ``at``."""
    node = nodes[end]
    if node.is_token or (node.optional and not node.repeats):
        return False
    return not node.repeats or _text(nodes[at:end]) != node.inside


def _repeated(nodes: list[_Node], at: int) -> int:
    """How many arguments before ``at`` the node there says may come again."""
    if at == len(nodes) or not (nodes[at].optional and nodes[at].repeats):
        return 0
    count = len(nodes[at].alternatives[0])
    if len(nodes[at].alternatives) > 1:
        return int(nodes[at - 1].inside == nodes[at].inside)
    if _text(nodes[max(at - count, 0) : at]) != nodes[at].inside:
        return 0
    return len(_arguments(nodes[at - count : at]))


def _repeating(arguments: list[Argument], node: _Node) -> Argument:
    """One argument that may come several times, made of those that do."""
    one = arguments[0] if len(arguments) == 1 else _block(arguments)
    has_token = node.alternatives[0][0].is_token and bool(one.token)
    return replace(one, multiple=True, multiple_token=has_token)


def _argument(nodes: list[_Node]) -> Argument:
    """A token with what belongs to it, or a single node."""
    first, rest = nodes[0], nodes[1:]
    if not first.is_token:
        return _group(first) if first.alternatives else _plain(first)
    if not rest:
        name = first.text.lower()
        return Argument(name, "pure-token", token=first.text, multiple=first.repeats)
    inside = _arguments(rest)
    if len(inside) == 1 and not inside[0].token and not inside[0].optional:
        name = first.text.lower() if inside[0].arguments else inside[0].name
        return replace(inside[0], token=first.text, name=name)
    return Argument(first.text.lower(), "block", token=first.text, arguments=inside)


def _group(node: _Node) -> Argument:
    inner = [_arguments(nodes) for nodes in node.alternatives]
    choices = [inside[0] if len(inside) == 1 else _block(inside) for inside in inner]
    one = choices[0]
    if len(choices) > 1:
        name = "-or-".join(choice.name for choice in choices[:2])
        one = Argument(name, "oneof", arguments=_distinct(choices))
    return replace(
        one,
        optional=one.optional or node.optional,
        multiple=one.multiple or node.repeats,
    )


def _block(arguments: list[Argument]) -> Argument:
    name = "-".join(argument.name for argument in arguments[:2])
    return Argument(name, "block", arguments=arguments)


def _plain(node: _Node) -> Argument:
    return Argument(node.text, type_of(node.text), multiple=node.repeats)


def _distinct(arguments: list[Argument]) -> list[Argument]:
    """The arguments with different names."""
    seen: dict[str, int] = {}
    for argument in arguments:
        count = seen[argument.name] = seen.get(argument.name, 0) + 1
        if count > 1:
            argument.name += f"-{count}"
    return arguments


KEYS = {
    "key",
    "key1",
    "key2",
    "newkey",
    "source",
    "destination",
    "destkey",
    "sourcekey",
    "storekey",
}
INTEGERS = {
    "bit",
    "client-id",
    "columns",
    "count",
    "cursor",
    "decrement",
    "end",
    "increment",
    "index",
    "index1",
    "index2",
    "len",
    "maxage",
    "maxlen",
    "milliseconds",
    "min-match-len",
    "num-matches",
    "numfields",
    "numkeys",
    "numlocal",
    "numreplicas",
    "offset",
    "port",
    "protover",
    "rank",
    "rows",
    "seconds",
    "start",
    "stones",
    "stop",
    "timeout",
}
DOUBLES = {"height", "latitude", "longitude", "radius", "score", "weight", "width"}


def type_of(name: str) -> str:
    """What Redis calls the kind of an argument of this name."""
    if name in KEYS:
        return "key"
    if name in INTEGERS:
        return "integer"
    if name in DOUBLES:
        return "double"
    if name.startswith("unix-time"):
        return "unix-time"
    return "pattern" if name == "pattern" else "string"


def _numbered_keys(arguments: list[Argument]) -> list[Argument]:
    """The arguments with the keys among them numbered, as their specifications stand."""

    def number(some: list[Argument], last: int) -> int:
        for argument in some:
            if argument.type == "key":
                last = argument.key_spec = last + 1
            last = number(argument.arguments, last)
        return last

    number(arguments, -1)
    return arguments
