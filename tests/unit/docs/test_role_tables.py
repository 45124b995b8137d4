"""The tables in the roles' READMEs say what is so."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]

SPECS = """
argument_specs:
  preflight:
    options:
      shop_min: {type: int, description: Least of all}
  main:
    options:
      shop_name: {type: str, required: true, description: "A name, C(a|b) or C(make())."}
      shop_sites:
        type: list
        elements: dict
        description: [Sites., Several of them.]
        options:
          kind: {type: str, default: web, choices: [web, tcp], description: Kind of site}
      shop_text: {type: str, description: Some text}
      shop_hosts: {type: list, elements: str, description: Where}
"""
DEFAULTS = """
# Required: the name.
# shop_name:
shop_min: 0
shop_sites: []
shop_text: ""
shop_hosts: "{{ apps | default({}) | dict2items | map(attribute='value.hosts') | list | unique }}"
"""
README = "# shop\n\nBy hand.\n\n<!-- variables -->\nold\n<!-- /variables -->\n\nMore by hand.\n"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """Load the generator, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("role_tables", ROOT / "docs/role_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a tree with one role whose README is stale."""
    role = tmp_path / "roles/shop"
    for name, text in {
        "meta/argument_specs.yml": SPECS,
        "defaults/main.yml": DEFAULTS,
        "README.md": README,
    }.items():
        (role / name).parent.mkdir(parents=True, exist_ok=True)
        (role / name).write_text(text)
    return tmp_path


def test_the_table_is_made_from_specs_and_defaults(tables: ModuleType, tree: Path) -> None:
    """Each variable and each key has its type, its default and its description; what is around stays."""
    assert tables.main([], tree) == 0
    assert (tree / "roles/shop/README.md").read_text() == (
        "# shop\n\nBy hand.\n\n<!-- variables -->\n"
        "| Variable | Type | Default | What it does |\n"
        "|---|---|---|---|\n"
        "| `shop_name` | str | required | A name, `a\\|b` or `make()`. |\n"
        "| `shop_sites` | list of dict | `[]` | Sites. Several of them. |\n"
        "| `shop_sites[].kind` | str | `web` | Kind of site (`web`, `tcp`) |\n"
        '| `shop_text` | str | `""` | Some text |\n'
        "| `shop_hosts` | list of str | [computed](defaults/main.yml) | Where |\n"
        "| `shop_min` | int | `0` | Least of all |\n"
        "<!-- /variables -->\n\nMore by hand.\n"
    )


def test_check_names_the_stale_readme_and_the_command(
    tables: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` writes nothing and says what to run; after that it is content."""
    assert tables.main(["--check"], tree) == 1
    assert capsys.readouterr().err == "roles/shop/README.md is stale: run bin/docs\n"
    assert (tree / "roles/shop/README.md").read_text() == README
    assert tables.main([], tree) == 0
    assert tables.main(["--check"], tree) == 0


def test_a_changed_default_makes_the_readme_stale(tables: ModuleType, tree: Path) -> None:
    """A value in a README that is no longer true is found."""
    tables.main([], tree)
    path = tree / "roles/shop/defaults/main.yml"
    path.write_text(path.read_text().replace("shop_min: 0", "shop_min: 7"))
    assert tables.main(["--check"], tree) == 1


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("README.md", "<!-- variables -->", "", ["roles/shop/README.md", "<!-- variables -->"]),
        ("README.md", "<!-- /variables -->", "", ["roles/shop/README.md", "<!-- /variables -->"]),
        ("defaults/main.yml", "shop_min:", "shop_mni:", ["shop_mni", "meta/argument_specs.yml"]),
    ],
)
def test_what_cannot_be_written_is_named(
    tables: ModuleType,
    tree: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    old: str,
    new: str,
    words: list[str],
) -> None:
    """Missing markers and variables without a description fail, with and without `--check`."""
    path = tree / "roles/shop" / name
    path.write_text(path.read_text().replace(old, new))
    for arguments in ([], ["--check"]):
        assert tables.main(arguments, tree) == 1
        error = capsys.readouterr().err
        assert all(word in error for word in words)


def test_a_missing_readme_is_named(
    tables: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A role without a README is no reason for a traceback."""
    (tree / "roles/shop/README.md").unlink()
    assert tables.main([], tree) == 1
    assert "roles/shop/README.md is missing" in capsys.readouterr().err


def test_the_command_runs() -> None:
    """`bin/docs --help` works from any directory."""
    done = subprocess.run([ROOT / "bin/docs", "--help"], cwd="/", capture_output=True, text=True, check=True)
    assert "--check" in done.stdout
