"""A file that lists machines: what works, and what a user is told who wrote something else."""

from pathlib import Path

import pytest
from lab.errors import LabError
from lab.machines import Machine, load, memory_bytes


def written(directory: Path, text: str) -> Path:
    """Write a machines file."""
    path = directory / "machines.yaml"
    path.write_text(text)
    return path


def test_a_full_entry_is_read(tmp_path: Path) -> None:
    """Every documented key arrives."""
    path = written(
        tmp_path,
        "- {name: web1, suite: bookworm, groups: [web, database], names: [catalog.lab.test], memory: 3G,"
        " processor: 1}\n"
        "- name: db1\n",
    )
    web = Machine("web1", "bookworm", ["web", "database"], ["catalog.lab.test"], "3G", processor=1)
    assert load(path) == [web, Machine("db1", "trixie")]


def test_a_molecule_scenario_is_a_machines_file(tmp_path: Path) -> None:
    """The platforms of a molecule.yml are machines."""
    assert load(written(tmp_path, "platforms:\n  - name: web1\n")) == [Machine("web1")]


@pytest.mark.parametrize(
    ("text", "key", "way_out"),
    [
        ("- {suite: trixie}", "name", "name: web1"),
        ("- {name: Web_1}", "name", "web1"),
        ("- {name: services}\n- {name: services}", "'services'", "another"),
        ("- {name: web1, suite: buster}", "suite", "trixie or bookworm"),
        ("- {name: web1, groups: web}", "groups", "[web]"),
        ("- {name: web1, groups: [web-tier]}", "groups", "web"),
        ("- {name: web1, names: [localhost]}", "names", "catalog.lab.test"),
        ("- {name: web1, names: ['catalog lab']}", "names", "catalog.lab.test"),
        ("- {name: web1, memory: 3 GB}", "memory", "3G"),
        ("- {name: web1, memory: 3}", "memory", "3G"),
        ("- {name: web1, memory: 64M}", "memory", "128M"),
        ("- {name: web1, processor: first}", "processor", "0"),
        ("- {name: web1, processor: -1}", "processor", "0"),
        ("- {name: web1, snapshot: ../etc}", "snapshot", "converged"),
        ("- {name: web1, memroy: 3G}", "'memroy'", "memory"),
        ("- web1", "machine 1", "name: web1"),
        ("web1", "list of machines", "- name: web1"),
        ("[]", "list of machines", "- name: web1"),
        ("- {name: web1", "YAML", "machines.yaml"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path: Path, text: str, key: str, way_out: str) -> None:
    """It names the file, the key, and something that works."""
    path = written(tmp_path, text)
    with pytest.raises(LabError) as caught:
        load(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert key in sentence
    assert way_out in sentence
    assert "\n" not in sentence


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(LabError, match=r"nowhere\.yaml does not exist"):
        load(tmp_path / "nowhere.yaml")


def test_memory_is_binary() -> None:
    """3G is what a server calls 3 GiB."""
    assert memory_bytes("3G") == 3 * 1024**3
    assert memory_bytes("512M") == 512 * 1024**2
