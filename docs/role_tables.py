"""Writes the table of variables into the README of each role.

Types and descriptions come from `meta/argument_specs.yml`, values from `defaults/main.yml`: the table cannot
say anything that is not so. It stands between two markers; what is around them is written by hand.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- variables -->"
END = "<!-- /variables -->"
# Longer values make the table unreadable, and names of ours (`__…`) say nothing: the file explains both.
LONGEST_VALUE = 60
COMMAND = "bin/docs"


class DocsError(Exception):
    """Something in a role that keeps its table from being written; the text says how to mend it."""


class Row(NamedTuple):
    """One line of a table."""

    name: str
    type: str
    default: str
    description: str


def load(path: Path) -> Any:
    """Return a YAML file's content, or an empty dictionary when there is no such file."""
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def options(role: Path) -> dict[str, Mapping[str, Any]]:
    """Return the options of all entry points of a role, those of `main` first."""
    specs = load(role / "meta/argument_specs.yml").get("argument_specs", {})
    merged: dict[str, Mapping[str, Any]] = {}
    for entry in sorted(specs, key=lambda name: name != "main"):
        for name, option in (specs[entry].get("options") or {}).items():
            merged.setdefault(name, option)
    return merged


def rows(role: Path) -> list[Row]:
    """Return a row for each variable of a role, and below it one for each key that it may hold."""
    defaults = load(role / "defaults/main.yml")
    described = options(role)
    if unknown := sorted(set(defaults) - set(described)):
        raise DocsError(
            f"roles/{role.name}/defaults/main.yml sets {', '.join(unknown)}: "
            f"describe it in roles/{role.name}/meta/argument_specs.yml"
        )
    found: list[Row] = []
    for name, option in described.items():
        found.extend(_rows(name, option, defaults.get(name, option.get("default"))))
    return found


def _rows(name: str, option: Mapping[str, Any], default: Any) -> Iterator[Row]:
    """Yield the row of one option and those of its keys."""
    kind = str(option.get("type", "str"))
    if kind == "list" and "elements" in option:
        kind = f"list of {option['elements']}"
    value = "required" if option.get("required") else "" if default is None else show(default)
    yield Row(name, kind, value, describe(option))
    inner = name + ("[]" if kind.startswith("list") else "")
    for key, nested in (option.get("options") or {}).items():
        yield from _rows(f"{inner}.{key}", nested, nested.get("default"))


def show(value: Any) -> str:
    """Return a default as it would be written in an inventory, or where to look when that is long."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    if len(text) > LONGEST_VALUE or "{{ __" in text:
        word = "computed" if "{{" in text else "long"
        return f"[{word}](defaults/main.yml)"
    return f"`{text}`"


def describe(option: Mapping[str, Any]) -> str:
    """Return an option's description in Markdown, with the choices that it leaves."""
    given = option.get("description", "")
    sentences = [given] if isinstance(given, str) else list(given)
    text = " ".join(" ".join(str(sentence).split()) for sentence in sentences)
    text = re.sub(r"\b[CIVBO]\(([^()]*(?:\([^()]*\)[^()]*)*)\)", r"`\1`", text)
    if choices := option.get("choices"):
        text += f" ({', '.join(f'`{choice}`' for choice in choices)})"
    return text


def table(role: Path) -> str:
    """Return the Markdown table of a role's variables."""
    lines = ["| Variable | Type | Default | What it does |", "|---|---|---|---|"]
    for row in rows(role):
        cells = (f"`{row.name}`", row.type, row.default, row.description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def updated(role: Path) -> str:
    """Return a role's README with its table as it should be."""
    readme = role / "README.md"
    name = f"roles/{role.name}/README.md"
    if not readme.exists():
        raise DocsError(
            f"{name} is missing: write it, with the lines {BEGIN} and {END} where the table belongs"
        )
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DocsError(
            f"{name} has no place for the table: put the line {BEGIN} and below it the line {END}"
        )
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table(role)}\n{END}{after}"


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Write all tables, or with `--check` tell which are stale; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Write the variable tables of the roles' READMEs."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a table is stale")
    check = parser.parse_args(arguments).check
    failed = False
    for role in sorted(path.parent.parent for path in (root / "roles").glob("*/meta/argument_specs.yml")):
        readme = role / "README.md"
        try:
            text = updated(role)
        except DocsError as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        if text == readme.read_text():
            continue
        if check:
            print(f"roles/{role.name}/README.md is stale: run {COMMAND}", file=sys.stderr)
            failed = True
        else:
            readme.write_text(text)
            print(f"roles/{role.name}/README.md written")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
