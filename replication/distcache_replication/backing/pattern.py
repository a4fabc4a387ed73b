"""Key patterns: ``user:{id}``, ``order:{shop}:{number:int}``.

A variable stands for one or more bytes.  One that is followed by other text ends at the first byte
of it; the last takes the rest of the key.  A variable that is an integer or a UUID matches only
their usual form, so that no two keys mean the same row: ``user:007`` does not match
``user:{id:int}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from distcache_replication.backing.errors import BadMap
from distcache_replication.backing.kinds import INTEGER_FORM, UUID_FORM

TYPES = {"int": INTEGER_FORM, "uuid": UUID_FORM, "text": "", "": ""}
_VARIABLE = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")


class Variable(NamedTuple):
    """A part of a key that varies."""

    name: str
    type: str
    """``int``, ``uuid``, ``text``, or nothing where the column decides."""


class Pattern(NamedTuple):
    """A pattern taken apart: literal text and variables in turn, beginning with text."""

    source: str
    texts: tuple[str, ...]
    variables: tuple[Variable, ...]

    def typed(self, types: Sequence[str]) -> Pattern:
        """The same with the types of all variables decided."""
        named = zip(self.variables, types, strict=True)
        return self._replace(variables=tuple(Variable(it.name, kind) for it, kind in named))

    def expression(self) -> bytes:
        """A regular expression with a group for each variable."""
        parts = [re.escape(self.texts[0])]
        for variable, text in zip(self.variables, self.texts[1:], strict=True):
            form = TYPES[variable.type]
            if not form:
                form = f"[^{re.escape(text[0])}]+" if text else ".+"
            parts.append(f"({form}){re.escape(text)}")
        return "".join(parts).encode()

    def key(self, values: Sequence[bytes]) -> bytes:
        """The key that has these values."""
        parts = [self.texts[0].encode()]
        for value, text in zip(values, self.texts[1:], strict=True):
            parts += [value, text.encode()]
        return b"".join(parts)


def parse(source: str, where: str) -> Pattern:
    """Take a pattern apart; BadMap says what is wrong with it."""
    texts: list[str] = []
    variables: list[Variable] = []
    end = 0
    for found in _VARIABLE.finditer(source):
        name, type_ = found[1], found[2] or ""
        if not name:
            raise BadMap(where, f"a variable without a name in key = {source!r}: write {{column}}")
        if type_ not in TYPES:
            raise BadMap(
                where, f"{{{name}:{type_}}} in key = {source!r}: the types are int, text and uuid"
            )
        if name in (it.name for it in variables):
            raise BadMap(where, f"the variable {{{name}}} stands twice in key = {source!r}")
        text = source[end : found.start()]
        if variables and not text:
            raise BadMap(
                where, f"two variables side by side in key = {source!r}: put a text between them"
            )
        texts.append(text)
        variables.append(Variable(name, type_))
        end = found.end()
    texts.append(source[end:])
    if not variables:
        raise BadMap(where, f"key = {source!r} has no variable: write it as 'user:{{id}}'")
    if any("{" in text or "}" in text for text in texts):
        raise BadMap(where, f"a brace without its partner in key = {source!r}")
    return Pattern(source, tuple(texts), tuple(variables))


Match = tuple[int, tuple[bytes, ...]]
"""Which pattern a key matches, and the values of its variables."""
Matcher = Callable[[bytes], Match | None]


def matcher(patterns: Sequence[Pattern]) -> Matcher:
    """A function that finds the first pattern that a key matches."""
    alternatives = []
    spans: dict[int, tuple[int, slice]] = {}
    groups = 0
    for number, pattern in enumerate(patterns):
        # The outer group closes last, so that `lastindex` is its number.
        width = len(pattern.variables)
        spans[groups + 1] = number, slice(groups + 1, groups + 1 + width)
        groups += 1 + width
        alternatives.append(b"(" + pattern.expression() + b")")
    fullmatch = re.compile(b"|".join(alternatives), re.DOTALL).fullmatch

    def match(key: bytes) -> Match | None:
        found = fullmatch(key)
        if found is None:
            return None
        number, span = spans[found.lastindex or 0]
        return number, found.groups()[span]

    return match
