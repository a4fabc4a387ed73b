import pytest
from distcache_replication.manifest import (
    BASE,
    INCREMENT,
    BadManifest,
    File,
    Manifest,
    decode,
    encode,
)
from distcache_server.quoting import quote, split

REDIS = b"""file appendonly.aof.2.base.rdb seq 2 type b
file appendonly.aof.1.base.rdb seq 1 type h
file appendonly.aof.1.incr.aof seq 1 type h
file appendonly.aof.2.incr.aof seq 2 type i
file appendonly.aof.3.incr.aof seq 3 type i
"""


def test_one_of_redis() -> None:
    manifest = decode(REDIS, split)
    assert manifest.base == File("appendonly.aof.2.base.rdb", 2, "b")
    assert [file.number for file in manifest.increments] == [2, 3]
    assert [file.number for file in manifest.history] == [1, 1]
    assert (manifest.next_base, manifest.next_increment) == (3, 4)


@pytest.mark.parametrize("name", ["a b", 'q"q', "é", "a\udcff", "x\\", "#"])
def test_any_name_comes_back(name: str) -> None:
    manifest = Manifest(File(name, 1, "b"), (File(f"{name}2", 7, "i"),))
    text = encode(manifest, quote)
    assert decode(text, split) == manifest


def test_rebased() -> None:
    manifest = decode(REDIS, split).with_increment(File("4", 4, "i"))
    new = manifest.rebased(File("b", 3, "b", 100, 2000), manifest.increments[-1:])
    assert [file.number for file in new.increments] == [4]
    assert {file.name for file in new.history} >= {
        "appendonly.aof.2.base.rdb",
        "appendonly.aof.2.incr.aof",
        "appendonly.aof.3.incr.aof",
    }
    assert decode(encode(new, quote), split) == new


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"# comment\n",
        b"file a seq 1 type i",
        b"file a seq 1\n",
        b"file a seq 1 type\n",
        b"file a seq x type i\n",
        b"file a seq 1 type z\n",
        b"file a/b seq 1 type i\n",
        b"file .. seq 1 type i\n",
        b'file "" seq 1 type i\n',
        b'file "a seq 1 type i\n',
        b"file a seq 2 type i\nfile b seq 1 type i\n",
        b"file a seq 1 type b\nfile b seq 2 type b\n",
        b"name a seq 1 type i\n",
    ],
)
def test_what_is_refused(text: bytes) -> None:
    with pytest.raises(BadManifest):
        decode(text, split)


def test_what_a_later_version_adds_is_ignored() -> None:
    text = b"file a seq 1 type i startoffset 7\n"
    assert decode(text, split).increments == (File("a", 1, "i"),)


def test_any_byte_changed_is_found() -> None:
    text = encode(decode(REDIS, split), quote)
    before = decode(text, split)
    for at in range(len(text)):
        for change in (1, 0x20, 0x80, 0xFF):
            changed = text[:at] + bytes([text[at] ^ change]) + text[at + 1 :]
            try:
                found = decode(changed, split)
            except BadManifest:
                continue
            assert found == before, (at, change)  # the line with the checksum itself


def test_cut_anywhere_is_found_unless_only_the_checksum_is_gone() -> None:
    text = encode(decode(REDIS, split), quote)
    lines = text.index(b"# ")
    for end in range(lines):
        with pytest.raises(BadManifest):
            decode(text[:end] + text[lines:], split)


def test_numbers_of_bases_make_no_hole_between_increments() -> None:
    """After a base without increments, as BGREWRITEAOF makes where appendonly is off."""
    manifest = Manifest(File("a.22.base.rdb", 22, BASE))
    first = File("a.1.incr.aof", manifest.next_increment, INCREMENT)
    manifest = manifest.rebased(File("a.23.base.rdb", manifest.next_base, BASE), (first,))
    assert (first.number, manifest.next_increment) == (1, 2)
