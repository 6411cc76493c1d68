"""The mapping that forgets what was used longest ago."""

from backend.core.least_recent import LeastRecent


def test_what_is_heavier_than_everything_may_be_pushes_nothing_out() -> None:
    kept: LeastRecent[str, int] = LeastRecent(10, weight=lambda key, _: len(key), capacity=5)
    for key in ("a", "bb"):
        kept.get(key, lambda: 1)

    assert kept.get("heavier", lambda: 2) == 2

    assert [kept.peek(key) for key in ("a", "bb", "heavier")] == [1, 1, None]
    assert kept.get("ccc", lambda: 3) == 3
    assert [kept.peek(key) for key in ("a", "bb", "ccc")] == [None, 1, 3]


def test_what_has_grown_is_weighed_anew_and_the_least_recent_make_room() -> None:
    kept: LeastRecent[str, list[int]] = LeastRecent(10, weight=lambda _, items: len(items), capacity=5)
    for key in ("a", "b", "c"):
        kept.get(key, lambda: [1])
    grown = kept.get("d", lambda: [1])

    grown.append(2)
    assert kept.weighed == 4
    kept.weigh("d")
    assert (kept.weighed, kept.peek("a")) == (5, [1])

    grown.append(3)
    kept.weigh("d")
    assert (kept.weighed, kept.peek("b"), kept.peek("d")) == (5, None, grown)

    grown.extend([4, 5, 6])
    kept.weigh("d")
    assert (kept.weighed, [kept.peek(key) for key in "acd"]) == (2, [[1], [1], None])
    kept.weigh("d")
    kept.forget("a")
    assert (kept.weighed, len(kept)) == (1, 1)
