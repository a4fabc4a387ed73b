"""The directory under cuts, flips and failures: a wrong state is never loaded in silence."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from distcache_replication.directory import Directory, Refused
from distcache_replication.files import Files
from distcache_replication.manifest import BASE
from distcache_replication.segment import LINE, annotation, encode, head
from distcache_server.quoting import quote, split

from tests.support.disks import MemoryFiles, PowerCut, cut_power, nth

ID = "0123456789abcdef0123456789abcdef01234567"
NAME = "appendonly.aof"
ONE, TWO, THREE, FOUR = (encode([b"SET", b"k%d" % n, b"v" * n]) for n in range(4))


def directory(files: Files) -> Directory:
    return Directory(files, "/d", NAME, split, quote)


def write(files: MemoryFiles, descriptor: int, offset: int, *batches: bytes, id_: str = ID) -> int:
    files.write(descriptor, head(id_, offset, 7))
    for batch in batches:
        files.write(descriptor, annotation(batch, offset, 7) + batch)
        offset += len(batch)
    files.sync(descriptor)
    return offset


def a_log(files: MemoryFiles) -> None:
    """A base and two increments."""
    it = directory(files)
    it.files.make_folder("/d")
    temporary = it.temporary_base("x")
    target = files.create(temporary)
    write(files, target, 0, ONE)
    first, descriptor = it.create()
    offset = write(files, descriptor, 500, TWO, THREE + ONE)
    it.rebase(temporary, False, 500, first)
    second, descriptor = it.create()
    it.add(second)
    write(files, descriptor, offset, FOUR, ONE)


ALL = [ONE, TWO, THREE + ONE, FOUR, ONE]


def load(files: Files, cut_torn: bool = True) -> tuple[Directory, list[bytes]]:
    it = directory(files)
    if not it.open():
        return it, []
    return it, [b.data for f in it.manifest.files for b in it.read(f, cut_torn)]


@pytest.fixture
def files() -> MemoryFiles:
    files = MemoryFiles()
    a_log(files)
    return files


def path_of(kind: str) -> str:
    return f"/d/{NAME}.{kind}"


BASE_PATH, FIRST, LAST = (path_of(kind) for kind in ("1.base.aof", "1.incr.aof", "2.incr.aof"))


def test_all_comes_back(files: MemoryFiles) -> None:
    it, found = load(files)
    assert found == ALL
    assert it.cut is None
    assert it.history == ID
    assert it.offset == it.checked == 500 + sum(map(len, ALL)) - len(ONE)
    assert it.size == sum(len(files.content[path].data) for path in (BASE_PATH, FIRST, LAST))


def test_every_byte_changed(files: MemoryFiles) -> None:
    for path, content in files.content.items():
        for at in range(len(content.data)):
            for change in (1, 0x0A, 0x80, 0xFF):
                content.data[at] ^= change
                found = None
                with suppress(Refused):
                    found = load(files)[1]
                # In the comment of the manifest that holds the checksum nothing is lost.
                assert found is None or (found == ALL and path.endswith("manifest")), (path, at)
                content.data[at] ^= change


def test_the_last_file_cut_anywhere(files: MemoryFiles) -> None:
    whole = bytes(files.content[LAST].data)
    for end in range(len(whole)):
        files.content[LAST].data[:] = whole[:end]
        it, found = load(files)
        assert found == ALL[: len(found)]
        assert len(found) >= 3
        kept = len(files.content[LAST].data)
        assert (it.cut is None) == (kept == end)
        if it.cut is not None:
            assert (it.cut.path, it.cut.at, it.cut.size) == (LAST, kept, end - kept)
        assert load(files)[1] == found


def test_a_torn_tail_is_refused_if_so_configured(files: MemoryFiles) -> None:
    del files.content[LAST].data[-1:]
    with pytest.raises(Refused, match="aof-load-truncated"):
        load(files, cut_torn=False)


@pytest.mark.parametrize("path", [BASE_PATH, FIRST])
def test_another_file_cut_anywhere(files: MemoryFiles, path: str) -> None:
    whole = bytes(files.content[path].data)
    for end in range(len(whole)):
        files.content[path].data[:] = whole[:end]
        with pytest.raises(Refused):
            load(files)


@pytest.mark.parametrize("more", [0, LINE])
def test_zeros_at_the_end_are_a_torn_tail(files: MemoryFiles, more: int) -> None:
    whole = bytes(files.content[LAST].data)
    for end in range(len(whole) - 2):
        files.content[LAST].data[:] = whole[:end] + bytes(len(whole) - end + more)
        _, found = load(files)
        assert found == ALL[: len(found)]


def test_zeros_in_the_middle_are_damage(files: MemoryFiles) -> None:
    files.content[LAST].data[100:120] = bytes(20)
    with pytest.raises(Refused) as refused:
        load(files)
    assert refused.value.at is not None
    assert 0 < refused.value.at <= 100


@pytest.mark.parametrize("path", [BASE_PATH, FIRST, LAST])
def test_a_missing_file(files: MemoryFiles, path: str) -> None:
    del files.content[path]
    with pytest.raises(Refused, match="missing"):
        load(files)


def test_a_hole_in_the_manifest(files: MemoryFiles) -> None:
    it = directory(files)
    it.open()
    text = b"file a seq 1 type i\nfile c seq 3 type i\n"
    files.content[path_of("manifest")].data[:] = text
    with pytest.raises(Refused, match="increment 2 is missing"):
        load(files)


def test_no_manifest(files: MemoryFiles) -> None:
    del files.content[path_of("manifest")]
    with pytest.raises(Refused, match="manifest is missing"):
        load(files)
    assert load(MemoryFiles())[1] == []


def test_a_file_that_does_not_go_on(files: MemoryFiles) -> None:
    write(files, files.create(FIRST), 501, ONE)
    with pytest.raises(Refused, match="begins at 501"):
        load(files)


def test_an_empty_last_file_does_not_make_a_torn_one_damage(files: MemoryFiles) -> None:
    it = directory(files)
    it.open()
    third, _ = it.create()
    it.add(third)
    del files.content[LAST].data[-3:]
    it, found = load(files)
    assert found == ALL[:-1]
    assert it.cut is not None


def test_redis_wrote_the_files() -> None:
    files = MemoryFiles()
    for name, data in (
        ("manifest", b"file appendonly.aof.1.incr.aof seq 1 type i\n"),
        ("1.incr.aof", ONE + TWO),
    ):
        files.write(files.create(path_of(name)), data)
    it, found = load(files)
    assert found == [ONE, TWO]
    assert (it.history, it.offset) == ("", len(ONE + TWO))
    # What we go on with begins where that ends.
    second, descriptor = it.create()
    it.add(second)
    write(files, descriptor, it.offset, THREE)
    assert load(files)[1] == [ONE, TWO, THREE]


@pytest.mark.parametrize("more", [0, LINE])
def test_zeros_at_the_end_of_what_redis_wrote(more: int) -> None:
    files = MemoryFiles()
    files.write(files.create(path_of("manifest")), b"file appendonly.aof.1.incr.aof seq 1 type i\n")
    files.create(FIRST)
    whole = THREE + TWO
    for end in range(len(whole) - 2):
        files.content[FIRST].data[:] = whole[:end] + bytes(len(whole) - end + more)
        assert load(files)[1] == [THREE][: end >= len(THREE)]


def steps_of(run: Callable[[MemoryFiles], None]) -> int:
    files = MemoryFiles()
    a_log(files)
    before = len(files.steps)
    run(files)
    return len(files.steps) - before


def rewrite(files: MemoryFiles) -> None:
    """What a rewrite does to the directory."""
    it = directory(files)
    it.open()
    increment, descriptor = it.create()
    it.add(increment)
    offset = write(files, descriptor, 500 + sum(map(len, ALL)) - len(ONE))
    temporary = it.temporary_base("y")
    target = files.create(temporary)
    write(files, target, 0, b"".join(ALL))
    it.rebase(temporary, False, offset, increment)
    it.clean()


@pytest.mark.parametrize("number", range(1, steps_of(rewrite) + 1))
@pytest.mark.parametrize("lasting", [False, True])
def test_whatever_step_of_a_rewrite_fails_nothing_is_lost(number: int, lasting: bool) -> None:
    files = MemoryFiles()
    a_log(files)
    files.fail = nth(len(files.steps) + number, lasting=lasting)
    with pytest.raises(OSError, match="told"):
        rewrite(files)
    assert b"".join(load(files.after_crash())[1]) == b"".join(ALL)


@pytest.mark.parametrize("number", range(1, steps_of(rewrite) + 2))
@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_whenever_the_power_goes_nothing_is_lost(number: int, kept: float) -> None:
    files = MemoryFiles()
    a_log(files)
    files.fail = cut_power(len(files.steps) + number)
    with suppress(PowerCut):
        rewrite(files)
    assert b"".join(load(files.after_power_cut(kept))[1]) == b"".join(ALL)


def test_what_a_rewrite_left_is_cleaned_up(files: MemoryFiles) -> None:
    files.create("/d/temp-appendonly.aof.z.base")
    it = directory(files)
    it.open()
    it.clean_up()
    assert not [name for name in files.content if "temp" in name]


def test_old_files_go_with_a_rewrite(files: MemoryFiles) -> None:
    rewrite(files)
    it = directory(files)
    it.open()
    assert [(file.number, file.type) for file in it.manifest.files] == [(2, BASE), (3, "i")]
    assert set(files.names("/d")) == {f.name for f in it.manifest.files} | {f"{NAME}.manifest"}


def test_what_was_loaded_is_flushed_before_more_is_written() -> None:
    """A process that was killed had not flushed its last write; then the power goes, too."""
    files = MemoryFiles()
    a_log(files)
    files.content[LAST].flushed = b""
    files = files.after_kill()
    it, found = load(files)
    assert found == ALL
    _, descriptor = it.begin()
    write(files, descriptor, it.offset, TWO)
    assert load(files.after_power_cut())[1] == [*ALL, TWO]


def test_a_file_that_no_manifest_knows_does_not_come_back(files: MemoryFiles) -> None:
    """What a rewrite left that did not come to its end, under the name of the next increment."""
    it, _ = load(files)
    write(files, files.create(path_of("3.incr.aof")), it.offset, TWO, THREE)
    files.flushed = dict(files.content)
    it.begin()
    assert load(files.after_power_cut())[1] == ALL


def begin(files: MemoryFiles) -> None:
    """What the first base does to the directory, after an attempt that failed."""
    it = directory(files)
    it.open()
    it.create_first()
    increment, descriptor = it.create_first()
    write(files, descriptor, 500, TWO)
    temporary = it.temporary_base("y")
    target = files.create(temporary)
    write(files, target, 0, ONE)
    it.rebase(temporary, False, 500, increment)


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_before_there_is_a_first_base_there_is_no_log(kept: float) -> None:
    whole = MemoryFiles()
    begin(whole)
    for number in range(1, len(whole.steps) + 2):
        files = MemoryFiles()
        files.fail = cut_power(number)
        with suppress(PowerCut):
            begin(files)
        for left in (files.after_crash(), files.after_power_cut(kept)):
            assert load(left)[1] in ([], [ONE, TWO])
            begin(left)
            assert load(left)[1] == [ONE, TWO]
    assert not [name for name in whole.content if "temp" in name]


def test_a_first_increment_that_is_empty_is_no_log(files: MemoryFiles) -> None:
    files = MemoryFiles()
    directory(files).create()
    assert load(files)[1] == []
    assert not load(files)[0].unfinished
