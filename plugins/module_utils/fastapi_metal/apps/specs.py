"""What may stand in `apps`, read from roles/app/meta/argument_specs.yml, where alone it is written."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

SPECS = Path(__file__).resolve().parents[4] / "roles/app/meta/argument_specs.yml"

Options = dict[str, dict[str, Any]]


@functools.cache
def entry_options() -> Options:
    """Return the specification of one application's entry."""
    # Each task reads it anew, so it matters that the loader in C is ten times faster.
    specs = yaml.load(SPECS.read_text(), Loader=yaml.CSafeLoader)["argument_specs"]
    options: Options = specs["main"]["options"]["app_entry"]["options"]
    return options


def plain(value: Any) -> Any:
    """Return a value without Ansible's own types, which neither JSON nor YAML writers know."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    return value


def complete(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with every key, those left out with their default.

    Raises ValueError where the entry does not follow the specification.
    """
    result = ArgumentSpecValidator(entry_options()).validate(plain(entry))
    if result.error_messages:
        raise ValueError("; ".join(result.error_messages))
    validated: dict[str, Any] = result.validated_parameters
    return validated


def runs_on(app: Mapping[str, Any], group_names: list[str]) -> bool:
    """Tell whether an application runs on a machine of these groups."""
    hosts = app.get("hosts", entry_options()["hosts"]["default"])
    return hosts == "all" or hosts in group_names
