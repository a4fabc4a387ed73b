"""types/buffer.py: strings that change in place."""

from distcache_server.types.buffer import Buffer
from distcache_server.types.names import TYPES, encoding_of, is_int


def test_a_buffer_is_a_string_of_its_own() -> None:
    buffer = Buffer(b"abc")
    other = buffer.copy()
    other[0:1] = b"x"
    assert (bytes(buffer), bytes(other)) == (b"abc", b"xbc")
    assert type(other) is Buffer
    assert TYPES[type(buffer)] == b"string"
    assert encoding_of(buffer) == b"raw"


def test_it_grows_with_zeros_and_never_shrinks() -> None:
    buffer = Buffer(b"abc")
    buffer.extend_to(5)
    buffer.extend_to(2)
    assert bytes(buffer) == b"abc\0\0"


def test_memory_follows_the_length() -> None:
    assert 10_000 < Buffer(10_000).memory() < 10_200
    buffer = Buffer(10_000)
    buffer.drain()
    assert buffer.memory() < 200


def test_encodings() -> None:
    cases = {b"0": b"int", b"-5": b"int", b"9" * 18: b"int", b"9" * 19: b"embstr", b"-0": b"embstr"}
    cases |= {b"x" * 44: b"embstr", b"x" * 45: b"raw", b"": b"embstr", b"1_0": b"embstr"}
    assert {value: encoding_of(value) for value in cases} == cases
    assert not is_int(Buffer(b"12"))
