"""Every role is built alike, so that who knows one finds the way in the next."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tree import roles, tracked

ROLES = [pytest.param(path, id=path.name) for path in roles()]


def load(path: Path) -> Any:
    """Return a YAML file's content."""
    return yaml.safe_load(path.read_text())


def specified(role: Path) -> set[str]:
    """Return the options of all entry points in a role's argument_specs."""
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    return {option for entry in specs.values() for option in entry.get("options", {})}


def test_there_are_roles_to_look_at() -> None:
    """A contract that looks at nothing proves nothing."""
    assert len(ROLES) >= 9


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_its_rooms(role: Path) -> None:
    """Defaults, specs, metadata, tasks and a README are where everybody looks for them."""
    for room in (
        "defaults/main.yml",
        "meta/main.yml",
        "meta/argument_specs.yml",
        "tasks/main.yml",
        "README.md",
    ):
        assert (role / room).is_file(), f"add {role.name}/{room}"


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_specified(role: Path) -> None:
    """A variable that a user may set has a type and a description."""
    defaults = set(load(role / "defaults/main.yml") or {})
    assert not defaults - specified(role), "describe these in meta/argument_specs.yml"


@pytest.mark.parametrize("role", ROLES)
def test_every_option_stands_in_the_defaults(role: Path) -> None:
    """Required variables are listed in the defaults too, commented out, without a value."""
    text = (role / "defaults/main.yml").read_text()
    missing = {name for name in specified(role) if not re.search(rf"^(# )?{name}:", text, re.MULTILINE)}
    assert not missing, "list these in defaults/main.yml"


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_roles_name(role: Path) -> None:
    """`nginx_sites` is nginx's; names of ours that users never set begin with two underscores."""
    names = specified(role)
    assert all(name.startswith(role.name) for name in names), names
    for path in (role / "vars").glob("*.yml"):
        assert all(name.startswith(f"__{role.name}") for name in load(path) or {}), path


@pytest.mark.parametrize("role", ROLES)
def test_every_default_has_a_comment(role: Path) -> None:
    """The line above a default says what changes for the user and why this value."""
    before = ""
    bare = []
    for line in (role / "defaults/main.yml").read_text().splitlines():
        if re.match(r"[a-z_]+:", line) and not before.startswith("#"):
            bare.append(line.split(":")[0])
        before = line
    assert not bare, "write a comment above these"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_names_no_group_and_no_other_role(role: Path) -> None:
    """What belongs together is tied in group_vars; a role works alone."""
    others = {other.name for other in roles()} - {role.name}
    for path in tracked(f"roles/{role.name}/**/*.yml", f"roles/{role.name}/**/*.j2"):
        text = path.read_text()
        assert not re.search(r"groups\[", text), f"{path}: a group is named"
        for other in others:
            named = re.search(
                rf"(\b(import|include)_role:\s*(name:)?\s*{other}\b)|(\bname: {other}\n\s+tasks_from)", text
            )
            assert not named, f"{path}: role {other} is named"


@pytest.mark.parametrize("role", ROLES)
def test_a_fallback_is_written_once(role: Path) -> None:
    """Tasks and templates never say `| default(…)` for a variable of their own role."""
    own = re.compile(rf"\b{role.name}_[a-z_]+ *\| *default\(")
    for path in tracked(f"roles/{role.name}/tasks/*.yml", f"roles/{role.name}/templates/*"):
        assert not own.search(path.read_text()), path


def test_lists_have_an_order() -> None:
    """Ansible's filters for sets give another order on each run, so a message or a file would change.

    `reject('in', …)` and `select('in', …)` keep it; what is sorted after is right too.
    """
    texts = {path: path.read_text() for path in tracked("roles/*.yml", "roles/*.j2", "playbooks/*.yml")}
    assert any("reject('in'" in text for text in texts.values()), "nothing was looked at"
    for path, text in texts.items():
        for match in re.finditer(r"\|\s*(?:symmetric_difference|difference|intersect|union)\(", text):
            rest = text[match.end() :].split("}}")[0].split("{%")[0]
            assert re.search(r"\|\s*(sort|length)\b", rest), f"{path}: {rest.strip()}"
