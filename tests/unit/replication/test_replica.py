import pytest
from distcache_replication.replica import BadTransfer, Transfer

MARK = b"0123456789abcdef0123456789abcdef01234567"
SNAPSHOT = bytes(range(256)) * 2 + MARK[:20] + b"more"
WAYS = [
    b"$%d\r\n%b" % (len(SNAPSHOT), SNAPSHOT),
    b"\n\n$%d\r\n%b" % (len(SNAPSHOT), SNAPSHOT),
    b"$EOF:%b\r\n%b%b" % (MARK, SNAPSHOT, MARK),
    b"\n$EOF:%b\r\n%b%b" % (MARK, SNAPSHOT, MARK),
]


@pytest.mark.parametrize("sent", WAYS)
@pytest.mark.parametrize("piece", [1, 2, 39, 40, 41, 100, 10_000])
def test_in_pieces(sent: bytes, piece: int) -> None:
    transfer = Transfer()
    received = b""
    for at in range(0, len(sent), piece):
        assert not transfer.done
        received += transfer.feed(sent[at : at + piece])
    assert transfer.done
    assert received == SNAPSHOT
    assert transfer.received == len(SNAPSHOT)
    assert transfer.rest == b""


@pytest.mark.parametrize("sent", WAYS)
def test_cut_anywhere(sent: bytes) -> None:
    for end in range(len(sent)):
        transfer = Transfer()
        received = transfer.feed(sent[:end])
        assert not transfer.done
        assert SNAPSHOT.startswith(received)
        assert received + transfer.feed(sent[end:]) == SNAPSHOT
        assert transfer.done


@pytest.mark.parametrize("sent", WAYS)
def test_the_log_comes_behind(sent: bytes) -> None:
    transfer = Transfer()
    assert transfer.feed(sent + b"*1\r\n$4\r\nPING\r\n") == SNAPSHOT
    assert transfer.rest == b"*1\r\n$4\r\nPING\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"-ERR no\r\n",
        b"+OK\r\n",
        b"$-1\r\n",
        b"$EOF:short\r\n",
        b"$\r\n",
        b"$12345678901234567890\r\n",
        b"REDIS0010",
    ],
)
def test_what_is_no_transfer(sent: bytes) -> None:
    transfer = Transfer()
    with pytest.raises(BadTransfer):
        transfer.feed(sent + b"x" * 200)
