"""The strict reader of replies, on which comparisons with a real Redis rest."""

import pytest

from tests.support.resp import (
    BigNumber,
    Error,
    Incomplete,
    Malformed,
    Map,
    Push,
    Reply,
    Set,
    Simple,
    Verbatim,
    encode,
    parse,
    parse_all,
    plain,
)

EXAMPLES: list[tuple[bytes, Reply]] = [
    (b"+OK\r\n", Simple(b"OK")),
    (b"-ERR no\r\n", Error(b"ERR no")),
    (b":-7\r\n", -7),
    (b"$2\r\nOK\r\n", b"OK"),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"_\r\n", None),
    (b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n", [1, [b""]]),
    (b"%1\r\n+a\r\n:1\r\n", Map([(Simple(b"a"), 1)])),
    (b"~1\r\n:1\r\n", Set([1])),
    (b">1\r\n+x\r\n", Push([Simple(b"x")])),
    (b",1.5\r\n", 1.5),
    (b",-inf\r\n", float("-inf")),
    (b"#t\r\n", True),
    (b"(36893488147419103232\r\n", BigNumber(2**65)),
    (b"=7\r\ntxt:abc\r\n", Verbatim(b"abc")),
    (b"!5\r\nERR x\r\n", Error(b"ERR x")),
]


@pytest.mark.parametrize(("data", "reply"), EXAMPLES, ids=lambda value: repr(value)[:20])
def test_each_type(data: bytes, reply: Reply) -> None:
    parsed, end = parse(data + b"rest")
    assert (parsed, type(parsed), end) == (reply, type(reply), len(data))


@pytest.mark.parametrize("data", [data for data, _ in EXAMPLES])
def test_a_reply_cut_short_is_incomplete(data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises(Incomplete):
            parse(data[:size])


@pytest.mark.parametrize(
    "data",
    [b"OK\r\n", b":1_0\r\n", b":\r\n", b"$2\r\nabc\r\n", b"#x\r\n", b"*-2\r\n", b"=2\r\nab\r\n"],
)
def test_what_is_not_resp(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)


def test_many() -> None:
    assert parse_all(b"".join(data for data, _ in EXAMPLES)) == [reply for _, reply in EXAMPLES]


def test_a_command() -> None:
    assert encode("SET", b"\r\n", 7) == b"*3\r\n$3\r\nSET\r\n$2\r\n\r\n\r\n$1\r\n7\r\n"


def test_plain_is_the_shape_of_resp2() -> None:
    reply: Reply = [Map([(b"a", 1.5)]), Set([b"y", b"x"]), True, Verbatim(b"v"), BigNumber(9), 3.0]
    assert plain(reply) == [[b"a", b"1.5"], [b"x", b"y"], 1, b"v", b"9", b"3"]
