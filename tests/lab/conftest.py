"""Labs for the lab's own tests."""

import shutil
import sys
from collections.abc import Iterator

import pytest
from lab_bench import ROOT, Bench

sys.path.insert(0, str(ROOT / "molecule" / "shared"))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Return a bench whose labs are all taken down at the end."""
    state = tmp_path_factory.mktemp("state")
    bench = Bench(state)
    yield bench
    bench.lab("down", "--all", check=False)
    shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="session")
def pair(bench: Bench) -> str:
    """Boot a lab of one Debian 13 and one Debian 12 machine, and return its name."""
    machines = bench.machines(
        {
            "name": "new",
            "suite": "trixie",
            "groups": ["web"],
            "names": ["catalog.lab.test"],
            "memory": "512M",
        },
        {"name": "old", "suite": "bookworm", "groups": ["database"]},
    )
    print(bench.lab("up", "pair", "--machines", machines).stdout)
    return "pair"
