"""How much memory a unit holds is read under both versions of control groups."""

from pathlib import Path

import pytest
from fastapi_metal.machine.cgroup import memory_of

MIB = 1 << 20
GROUP = "/system.slice/system-shop.slice/shop@one.service"


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("", f"anon {1000 * MIB}\nfile {700 * MIB}\nshmem {24 * MIB}\n"),
        ("memory", f"cache {700 * MIB}\nrss 1\ntotal_rss {1000 * MIB}\ntotal_shmem {24 * MIB}\n"),
    ],
    ids=["version 2", "version 1"],
)
def test_the_memory_of_a_unit_is_read_without_its_page_cache(
    tmp_path: Path, place: str, content: str
) -> None:
    """What a program holds counts; files in the cache do not, they can go."""
    directory = tmp_path / place / GROUP.lstrip("/")
    directory.mkdir(parents=True)
    (directory / "memory.stat").write_text(content)
    assert memory_of(GROUP, tmp_path) == 1024


def test_memory_that_nobody_counts_is_unknown(tmp_path: Path) -> None:
    """A kernel without the controller, and a group without its files."""
    assert memory_of(GROUP, tmp_path) is None
    directory = tmp_path / GROUP.lstrip("/")
    directory.mkdir(parents=True)
    (directory / "memory.stat").write_text("file 1\n")
    assert memory_of(GROUP, tmp_path) is None
