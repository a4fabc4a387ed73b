"""Usage lines, taken apart."""

import pytest
from distcache_server.usage import Argument, parse


def sketch(arguments: list[Argument]) -> str:
    """A tree of arguments in one line: ``key value? NX|XX``."""
    return " ".join(map(_sketch, arguments))


def _sketch(it: Argument) -> str:
    inside = it.arguments
    text = it.token
    if it.type == "oneof":
        text += "<" + "|".join(map(_sketch, inside)) + ">"
    elif it.type == "block":
        text += "(" + sketch(inside) + ")"
    elif it.type != "pure-token":
        text += f"={it.name}" if it.token else it.name
    return text + "?" * it.optional + "+" * it.multiple + "+" * it.multiple_token


@pytest.mark.parametrize(
    ("usage", "tree"),
    [
        ("PING", ""),
        ("PING [message]", "message?"),
        ("GET key", "key"),
        ("DEL key [key ...]", "key+"),
        ("KEYS [key [key ...]]", "key?+"),
        ("MSET key value [key value ...]", "(key value)+"),
        ("SET key [NX | XX] [GET]", "key <NX|XX>? GET?"),
        ("SET key [EX seconds | KEEPTTL]", "key <EX=seconds|KEEPTTL>?"),
        ("LMOVE a b <LEFT | RIGHT> <LEFT | RIGHT>", "a b <LEFT|RIGHT> <LEFT|RIGHT>"),
        ("SORT key [LIMIT offset count]", "key LIMIT(offset count)?"),
        ("SORT key [GET pattern [GET pattern ...]]", "key GET=pattern?++"),
        ("X [TYPE <A | B>] y", "TYPE<A|B>? y"),
        ("X <host port | NO ONE>", "<(host port)|(NO ONE)>"),
        ("X numkeys key [key ...] [COUNT count]", "numkeys key+ COUNT=count?"),
        ("X FIELDS numfields field [field ...]", "FIELDS(numfields field+)"),
        ("X <M | BYBOX width <M | KM>>", "<M|BYBOX(width <M|KM>)>"),
        ("X <parameter value> ...", "(parameter value)+"),
        ('X ["=" | "~"] threshold', "<=|~>? threshold"),
    ],
)
def test_the_tree(usage: str, tree: str) -> None:
    assert sketch(parse(usage, 1)) == tree


@pytest.mark.parametrize(
    ("usage", "least", "varies"),
    [
        ("GET key", 1, False),
        ("GET [key]", 0, True),
        ("DEL key [key ...]", 1, True),
        ("MSET key value [key value ...]", 2, True),
        ("X <host port | NO ONE>", 2, False),
        ("X <a | b c>", 1, True),
        ("X [LIMIT offset count]", 0, True),
        ("X LIMIT offset count", 3, False),
        ("X NX", 1, False),
        ("X <EX seconds | NX>", 1, True),
    ],
)
def test_how_many_words(usage: str, least: int, varies: bool) -> None:
    arguments = parse(usage, 1)
    assert sum(argument.least for argument in arguments) == least
    assert any(argument.varies for argument in arguments) == varies


def test_names_do_not_repeat() -> None:
    first, second, third = parse("X <LEFT | RIGHT> <LEFT | RIGHT> left-or-right", 1)
    assert first.name == "left-or-right"
    assert second.name == "left-or-right-2"
    assert third.name == "left-or-right-3"


def test_types() -> None:
    arguments = parse("X key seconds unix-time-seconds score pattern member [NX]", 1)
    assert [argument.type for argument in arguments] == [
        "key",
        "integer",
        "unix-time",
        "double",
        "pattern",
        "string",
        "pure-token",
    ]


def test_keys_are_numbered() -> None:
    arguments = parse("X destination numkeys key [key ...] [STORE storekey]", 1)
    assert [argument.key_spec for argument in arguments] == [0, -1, 1, 2]
