"""The tree speaks of itself alone and holds together."""

import json
import re
import subprocess
import sys
from pathlib import Path

import ansible_collections
import pytest
import yaml
from packaging.specifiers import SpecifierSet
from tree import ROOT, tracked

PLAYBOOKS = [pytest.param(path, id=path.name) for path in tracked("playbooks/*.yml")]


def test_locks_hold_hashes_and_no_address() -> None:
    """A lock pins every package by hash and works with whatever index a user has."""
    locks = tracked("requirements.lock", "app/requirements*.txt", "tests/apps/*/requirements.txt")
    assert len(locks) >= 2
    for lock in locks:
        text = lock.read_text()
        assert "://" not in text, f"{lock}: an address; run bin/lock"
        pins = re.findall(r"^[a-z0-9].*==.*$", text, re.MULTILINE)
        assert pins
        assert all(pin.rstrip().endswith("\\") for pin in pins), f"{lock}: a pin without a hash; run bin/lock"


def test_collections_come_with_the_locked_ansible() -> None:
    """Every collection of requirements.yml is there in the bounds it names, so Galaxy is never asked."""
    wanted = yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    home = Path(next(iter(ansible_collections.__path__)))
    for collection in wanted:
        manifest = json.loads((home / collection["name"].replace(".", "/") / "MANIFEST.json").read_text())
        version = manifest["collection_info"]["version"]
        assert version in SpecifierSet(collection["version"]), collection["name"]


def test_collections_that_are_used_are_named() -> None:
    """A module of a collection that requirements.yml does not name would be missing elsewhere.

    One that it names and nobody uses is ballast.
    """
    named = {
        entry["name"] for entry in yaml.safe_load((ROOT / "requirements.yml").read_text())["collections"]
    }
    used = {
        match
        for path in tracked("roles/*.yml", "roles/*.j2", "playbooks/*.yml", "molecule/*.yml")
        for match in re.findall(r"\b((?:ansible|community)\.[a-z]+)\.[a-z]", path.read_text())
    }
    assert "ansible.builtin" in used, "nothing was looked at"
    assert used - {"ansible.builtin"} == named


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_playbook_can_be_parsed(playbook: Path) -> None:
    """Ansible finds every role, module and filter that a playbook names."""
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "--syntax-check",
        "-i",
        "inventories/example",
        str(playbook),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_leads_out_of_the_tree() -> None:
    """No file names the folder it was written in."""
    written_in = re.compile(rf"{re.escape(str(ROOT))}\b|(?<![\w.])/(Users|work)/\w+")
    for path in tracked("*"):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        assert path == Path(__file__) or not written_in.search(text), path


def test_readme_tables_are_current() -> None:
    """The variable table of every role's README is what its specs and defaults say."""
    done = subprocess.run(["bin/docs", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_engine_is_where_the_concepts_say() -> None:
    """Every folder of the engine has a row in docs/concepts.md, and no file lies outside of a folder."""
    package = ROOT / "plugins/module_utils/fastapi_metal"
    files = [path.relative_to(package) for path in tracked("plugins/module_utils/fastapi_metal/*.py")]
    assert [path.name for path in files if len(path.parts) != 2] == ["__init__.py"]
    folders = {path.parts[0] for path in files if len(path.parts) == 2}
    # Each is a package that says in a sentence what it holds.
    assert all((package / folder / "__init__.py").is_file() for folder in folders)
    chapter = (ROOT / "docs/concepts.md").read_text().partition("## Where the engine's code is")[2]
    assert set(re.findall(r"^\| `(\w+)/` \|", chapter, re.MULTILINE)) == folders
