from collections.abc import Generator

import pytest
from distcache_replication.handshake import Introduction, Refused, Resync, Words, handshake

# Parts of the names of tests, which must be the same in every process that collects them.
ID = b"1234567890" * 4
OTHER = b"abcdef0123" * 4


def talk(us: Introduction, replies: dict[bytes, bytes]) -> tuple[list[Words], Resync]:
    """What is said to a primary with these replies, by command, and what comes of it."""
    said: list[Words] = []
    talking: Generator[Words, bytes, Resync] = handshake(us)
    words = next(talking)
    while True:
        said.append(words)
        try:
            words = talking.send(replies.get(words[0], b"+OK"))
        except StopIteration as end:
            return said, end.value


def answer(reply: bytes, us: Introduction | None = None) -> Resync:
    known = Introduction(6380, history=ID, offset=41)
    return talk(us or known, {b"PSYNC": reply})[1]


def test_a_new_replica() -> None:
    said, resync = talk(Introduction(6380), {b"PSYNC": b"+FULLRESYNC %b 100" % ID})
    assert said == [
        [b"PING"],
        [b"REPLCONF", b"listening-port", b"6380"],
        [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"],
        [b"PSYNC", b"?", b"-1"],
    ]
    assert resync == Resync(True, ID, 100)


def test_a_replica_that_has_a_part() -> None:
    us = Introduction(6380, b"replica.example", b"user", b"secret", ID, 41)
    said, resync = talk(us, {b"PSYNC": b"+CONTINUE"})
    assert said == [
        [b"PING"],
        [b"AUTH", b"user", b"secret"],
        [b"REPLCONF", b"listening-port", b"6380"],
        [b"REPLCONF", b"ip-address", b"replica.example"],
        [b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"],
        [b"PSYNC", ID, b"42"],
    ]
    assert resync == Resync(False, ID, 41)


def test_the_password_alone() -> None:
    said, _ = talk(Introduction(1, password=b"secret"), {b"PSYNC": b"+FULLRESYNC %b 0" % ID})
    assert said[1] == [b"AUTH", b"secret"]


def test_answers_to_psync() -> None:
    assert answer(b"+CONTINUE") == Resync(False, ID, 41)
    assert answer(b"+CONTINUE %b" % OTHER) == Resync(False, OTHER, 41)
    assert answer(b"+FULLRESYNC %b 7" % OTHER) == Resync(True, OTHER, 7)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"+OK",
        b"+FULLRESYNC",
        b"+FULLRESYNC %b" % ID,
        b"+FULLRESYNC %b -1" % ID,
        b"+FULLRESYNC %b 1_0" % ID,
        b"+FULLRESYNC %b 99999999999999999999" % ID,
        b"+FULLRESYNC %b 1" % ID[1:],
        b"+FULLRESYNC %b 1" % (b"g" * 40),
        b"+FULLRESYNC %b 1 2" % ID,
        b"+CONTINUE short",
        b"+CONTINUE %b more" % ID,
        b"-NOMASTERLINK Can't SYNC while not connected with my master",
        b"-ERR unknown command 'PSYNC'",
    ],
)
def test_answers_that_make_no_sense(reply: bytes) -> None:
    with pytest.raises(Refused):
        answer(reply)


def test_nobody_can_go_on_from_nothing() -> None:
    for reply in (b"+CONTINUE", b"+CONTINUE %b" % ID):
        with pytest.raises(Refused):
            answer(reply, Introduction(6380))


def test_refusals_before_psync() -> None:
    for word, reply in ((b"PING", b"-LOADING not yet"), (b"AUTH", b"-WRONGPASS no")):
        with pytest.raises(Refused, match=r"LOADING|WRONGPASS"):
            talk(Introduction(1, password=b"secret"), {word: reply})


def test_what_may_be_refused() -> None:
    replies = {
        b"PING": b"-NOAUTH Authentication required.",
        b"REPLCONF": b"-ERR Unrecognized REPLCONF option",
        b"PSYNC": b"+FULLRESYNC %b 0" % ID,
    }
    assert talk(Introduction(1, password=b"secret"), replies)[1].full
