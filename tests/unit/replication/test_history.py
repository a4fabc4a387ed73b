from distcache_replication.history import NONE, History, new_id


def test_a_fork_remembers_where_it_left() -> None:
    history = History()
    first = history.id
    assert (history.second, history.second_end) == (NONE, -1)
    history.fork(100)
    assert history.id != first
    assert (history.second, history.second_end) == (first, 100)
    assert history.holds(first, 100)
    assert not history.holds(first, 101)
    assert history.holds(history.id, 1 << 40)


def test_others_and_nobody_are_not_held() -> None:
    history = History()
    assert not history.holds(new_id(), 0)
    assert not history.holds(NONE, 0)
    old = history.id
    history.reset()
    assert not history.holds(old, 0)
