from contextlib import suppress

import pytest
from distcache_replication.segment import (
    Batch,
    Damaged,
    Reader,
    Torn,
    annotation,
    before,
    command_end,
    commands,
    encode,
    encode_run,
    flushed,
    head,
    select,
)
from hypothesis import given
from hypothesis import strategies as st

ID = "0123456789abcdef0123456789abcdef01234567"
SALT = 0xDEADBEEF


def file_of(*batches: bytes, offset: int = 0, database: int | None = None) -> bytes:
    data = head(ID, offset, SALT)
    if database is not None:
        data += select(database, SALT)
    for batch in batches:
        data += annotation(batch, offset, SALT) + batch
        offset += len(batch)
    return data


def read(data: bytes, step: int = 1 << 20) -> tuple[Reader, list[Batch]]:
    reader, found = Reader(), list[Batch]()
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
        found += reader
    reader.finish()
    return reader, found


SET = encode([b"SET", b"key", b"value\r\nwith #dc:5 0\r\n"])
DEL = encode([b"DEL", b"key"])


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_batches_come_back_with_their_places(step: int) -> None:
    data = file_of(SET + DEL, DEL, SET, offset=1000)
    reader, found = read(data, step)
    assert [batch.data for batch in found] == [SET + DEL, DEL, SET]
    assert [batch.offset for batch in found] == [
        1000,
        1000 + len(SET + DEL),
        1000 + len(SET + DEL * 2),
    ]
    assert all(data[b.at : b.at + len(b.data)] == b.data for b in found)
    assert (reader.history, reader.start) == (ID, 1000)
    assert reader.offset == reader.checked == 1000 + 2 * len(SET + DEL)
    assert reader.at == len(data)


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_what_redis_wrote_needs_no_annotations(step: int) -> None:
    reader, found = read(b"#TS:1700000000\r\n" + SET + b"#TS:1700000001\r\n" + DEL, step)
    assert [batch.data for batch in found] == [SET, DEL]
    assert (reader.start, reader.offset) == (None, len(SET + DEL))


def test_lines_of_flushes_say_when_it_was() -> None:
    reader, found = Reader(), list[tuple[int, int | None, int | None]]()
    reader.feed(head(ID, 0, SALT))
    for line in (b"", flushed(0, SALT, 1_700_000_000_123), flushed(len(SET), SALT)):
        reader.feed(line + annotation(SET, reader.offset, SALT) + SET)
        found.append((len(list(reader)), reader.flushed, reader.time_ms))
    assert found == [(1, None, None), (1, 0, 1_700_000_000_123), (1, len(SET), 1_700_000_000_123)]
    line = flushed(0, SALT, 1_700_000_000_123)
    for at in range(len(line)):
        for change in (1, 2, 0x80):
            wrong = bytearray(line)
            wrong[at] ^= change
            reader = Reader()
            reader.feed(head(ID, 0, SALT) + wrong + annotation(SET, 0, SALT) + SET)
            with pytest.raises(Damaged):
                list(reader)


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_where_a_file_goes_on_in_another_database(step: int) -> None:
    data = file_of(SET, DEL, offset=1000, database=12)
    reader, found = read(data, step)
    assert [batch.data for batch in found] == [SET, DEL]
    assert (found[0].offset, reader.offset) == (1000, 1000 + len(SET + DEL))
    # Redis reads what is between the lines.
    assert encode([b"SELECT", b"12"]) + b"#dc:" in data


def test_redis_may_go_on_in_a_file_of_ours() -> None:
    reader, found = read(file_of(SET) + DEL)
    assert [batch.data for batch in found] == [SET, DEL]
    assert (reader.checked, reader.offset) == (len(SET), len(SET + DEL))


@pytest.mark.parametrize(
    "data", [file_of(SET, DEL, SET + DEL), file_of(SET, DEL, database=3), SET + DEL + SET]
)
def test_cut_anywhere_leaves_whole_batches(data: bytes) -> None:
    _, whole = read(data)
    ends = [batch.at + len(batch.data) for batch in whole]
    for end in range(len(data)):
        reader, found = Reader(), list[Batch]()
        reader.feed(data[:end])
        torn = True
        with suppress(Torn):
            found += reader
            reader.finish()
            torn = False
        assert [b.data for b in found] == [b.data for b in whole[: len(found)]]
        assert len(found) == sum(place <= end for place in ends)
        begun = len(head(ID, 0, SALT))
        assert torn or end in {0, begun, begun + len(select(3, SALT)), *ends}


@pytest.mark.parametrize("data", [file_of(SET, DEL, SET + DEL), file_of(SET, database=3)])
def test_any_byte_changed_is_damage(data: bytes) -> None:
    for at in range(len(data)):
        for change in range(1, 256):
            changed = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
            with pytest.raises(Damaged) as raised:
                read(changed)
            assert not isinstance(raised.value, Torn), (at, change)


def test_a_batch_taken_out_or_moved_is_damage() -> None:
    one, two = file_of(SET, DEL), file_of(SET)
    rest = one[len(two) :]
    with pytest.raises(Damaged):
        read(head(ID, 0, SALT) + rest)
    with pytest.raises(Damaged):
        read(one + rest)
    with pytest.raises(Damaged):
        read(head(ID, 0, SALT + 1) + one[len(head(ID, 0, SALT)) :])


@pytest.mark.parametrize(
    "data",
    [b"#unknown\r\n", b"#" * 2000, b"SET a b\r\n", b"*-1\r\n", b"*1\r\n+OK\r\n", b"*x\r\n", b"*1x"],
)
def test_what_is_no_log(data: bytes) -> None:
    with pytest.raises(Damaged) as raised:
        read(data)
    assert not isinstance(raised.value, Torn)


def test_no_more_than_there_is() -> None:
    assert command_end(b"*1\r\n$4\r\nPING\r\n", 0) == 14
    for data in (b"", b"*", b"*1", b"*1\r", b"*1\r\n", b"*1\r\n$4\r\nPING\r"):
        assert command_end(data, 0) is None
    with pytest.raises(Damaged):
        command_end(b"*1\r\n$4\r\nPINGxx", 0)


@given(st.integers(1, 5), st.integers(1, 20), st.data())
def test_a_run_is_its_commands(words: int, count: int, data: st.DataObject) -> None:
    command = st.tuples(*[st.binary(max_size=20)] * words)
    run = data.draw(st.lists(command, min_size=count, max_size=count))
    columns = list(zip(*run, strict=True))
    assert encode_run(columns) == b"".join(map(encode, run))
    assert commands(encode_run(columns)) == [list(each) for each in run]


@given(st.lists(st.lists(st.binary(), min_size=1, max_size=4), max_size=5))
def test_commands_come_back(words: list[list[bytes]]) -> None:
    data = b"".join(map(encode, words))
    assert commands(data) == words
    at = 0
    for each in words:
        end = command_end(data, at)
        assert end is not None
        assert data[at:end] == encode(each)
        at = end


@pytest.mark.parametrize("data", [b"+OK\r\n", b"*0\r\n", b":1\r\n", b"$1\r\na\r\n"])
def test_a_batch_of_anything_else(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        commands(data)


def taken_apart(data: bytes, step: int, sound: bool) -> tuple[bytes, int, str]:
    """What comes out of a file, with `Reader.sound` or without; where and why it ends."""
    reader, found = Reader(), b""
    try:
        for at in range(0, len(data), step):
            reader.feed(data[at : at + step])
            while True:
                found += b"".join(reader.sound(1 << 60)) if sound else b""
                batch = next(iter(reader), None)
                if batch is None:
                    break
                found += batch.data
        reader.finish()
    except Damaged as error:
        return found, error.at, error.reason
    return found, reader.at, ""


MANY = file_of(SET, DEL * 2, offset=7) + before(ID, 3, SALT)
MANY += b"".join(annotation(SET, 7 + len(SET + DEL * 2) + at, SALT) + SET for at in (0, len(SET)))


@pytest.mark.parametrize("step", [20, 1000])
def test_sound_batches_are_those_of_iterating(step: int) -> None:
    found = taken_apart(MANY, step, sound=True)
    assert found == taken_apart(MANY, step, sound=False) == (SET + DEL * 2 + SET * 2, len(MANY), "")
    for at in range(len(MANY)):
        for data in (MANY[:at], MANY[:at] + bytes([MANY[at] ^ 1]) + MANY[at + 1 :]):
            assert taken_apart(data, step, sound=True) == taken_apart(data, step, sound=False)


def test_sound_batches_end_where_they_should() -> None:
    reader = Reader()
    reader.feed(file_of(SET, DEL, SET))
    assert next(iter(reader)).data == SET
    assert reader.sound(len(SET + DEL) - 1) == []
    assert reader.sound(len(SET + DEL)) == [DEL]
    assert reader.sound(1000) == [SET]


def test_a_number_has_no_zeros_before_it() -> None:
    """Nobody writes them so, and hiredis does not read them."""
    for data in (b"*01\r\n$4\r\nPING\r\n", b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$00\r\n\r\n"):
        with pytest.raises(Damaged):
            command_end(data, 0)
    assert command_end(b"*1\r\n$0\r\n\r\n", 0) == 10
