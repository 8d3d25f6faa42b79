"""The cache of guest assets: whole or absent, rebuilt when its recipe changes, honest about disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.cache import Cache, Recipe, default_root
from tests.rig.say import RigError


def writes(text: str) -> object:
    def build(_scratch: Path, result: Path, _cache: Cache) -> None:
        (result / "file").write_text(text)

    return build


def recipe(**changes: object) -> Recipe:
    fields: dict[str, object] = {"name": "thing", "title": "a thing", "version": 1, "build": writes("first")}
    return Recipe(**{**fields, "disk_mib": 1, **changes})  # type: ignore[arg-type]


def test_an_entry_is_built_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.ensure(recipe())

    entry = cache.ensure(recipe(build=writes("second")))

    assert (entry / "file").read_text() == "first"


@pytest.mark.parametrize("change", [{"version": 2}, {"words": ("ext4",)}, {"needs": (recipe(name="other"),)}])
def test_a_changed_recipe_is_a_new_entry(tmp_path: Path, change: dict[str, object]) -> None:
    cache = Cache(tmp_path)

    assert cache.ensure(recipe(**change)) != cache.ensure(recipe())


def test_a_changed_input_file_is_a_new_entry(tmp_path: Path) -> None:
    source = tmp_path / "init"
    source.write_text("one")
    before = recipe(inputs=(source,)).key()
    source.write_text("two")

    assert recipe(inputs=(source,)).key() != before


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def build(_scratch: Path, result: Path, _cache: Cache) -> None:
        (result / "half").write_text("half")
        raise RigError("the download stopped")

    cache = Cache(tmp_path)
    with pytest.raises(RigError, match="the download stopped"):
        cache.ensure(recipe(build=build))

    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_a_killed_build_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".thing-dead" / "result").mkdir(parents=True)
    Cache(tmp_path).ensure(recipe())

    assert not (tmp_path / ".thing-dead").exists()


def test_a_need_is_built_first(tmp_path: Path) -> None:
    base = recipe(name="base")

    def build(_scratch: Path, result: Path, cache: Cache) -> None:
        (result / "file").write_text((cache.path(base) / "file").read_text() + " and more")

    entry = Cache(tmp_path).ensure(recipe(needs=(base,), build=build))

    assert (entry / "file").read_text() == "first and more"


def test_too_little_disk_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(RigError, match="a thing needs 1000000000 MiB of disk"):
        Cache(tmp_path).ensure(recipe(disk_mib=1_000_000_000))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STRATOVIRT_CACHE": "/big", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/big"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/stratovirt"),
        ({"HOME": "/h"}, "/h/.cache/stratovirt"),
    ],
)
def test_the_cache_is_where_the_environment_says(environment: dict[str, str], expected: str) -> None:
    assert default_root(environment) == Path(expected)
