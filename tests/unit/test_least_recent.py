"""The mapping that forgets what was used longest ago."""

from backend.core.least_recent import LeastRecent


def test_what_is_heavier_than_everything_may_be_pushes_nothing_out() -> None:
    kept: LeastRecent[str, int] = LeastRecent(10, weight=len, capacity=5)
    for key in ("a", "bb"):
        kept.get(key, lambda: 1)

    assert kept.get("heavier", lambda: 2) == 2

    assert [kept.peek(key) for key in ("a", "bb", "heavier")] == [1, 1, None]
    assert kept.get("ccc", lambda: 3) == 3
    assert [kept.peek(key) for key in ("a", "bb", "ccc")] == [None, 1, 3]
