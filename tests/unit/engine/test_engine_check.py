"""What `--check --diff` says is what a deploy would do, and it keeps secrets to itself."""

import json
from typing import Any

import pytest
from engine_fake import Host
from fastapi_metal.fleet import decision
from fastapi_metal.steps import dispatch


def checked(host: Host, word: str, **entry: Any) -> dict[str, Any]:
    """Look at a host in check mode."""
    request = host.request(word, **entry)
    request["lease"] = None
    return dispatch.run(host.engine(request), "check", request, check_mode=True)


def said(found: dict[str, Any]) -> str:
    """Return what the operator reads."""
    return "\n".join(decision.plan("shop", "web1", {"web1": found}, False).report)


def test_a_fresh_host_is_only_looked_at(host: Host) -> None:
    """It says that there is a first release, and leaves no trace."""
    found = checked(host, "one")
    assert "first release" in said(found)
    assert not list(host.machine.root.iterdir())


def test_a_current_host_has_nothing_to_do(host: Host) -> None:
    """No work, so that every step is left out and nothing counts as changed."""
    host.deploy("one")
    found = checked(host, "one")
    assert "unchanged" in said(found)
    assert not decision.plan("shop", "web1", {"web1": found}, False).work
    assert found["rendered"]["env"] == found["rendered_before"]["env"]


@pytest.mark.parametrize("way", ["files", "env"])
def test_a_pending_secret_is_named_and_not_shown(host: Host, way: str) -> None:
    """The report says which secret changed; neither value is in anything that a diff is made from."""
    host.deploy("one", secrets={"key": "first-value"}, secrets_as=way)
    found = checked(host, "one", secrets={"key": "second-value"}, secrets_as=way)
    assert "secret (key)" in said(found)
    assert "first-value" not in json.dumps(found)
    assert "second-value" not in json.dumps(found)


def test_a_pending_value_is_shown(host: Host) -> None:
    """The diff has the line of before and the line of now."""
    host.deploy("one")
    found = checked(host, "two")
    assert 'WORD="one"' in found["rendered_before"]["env"]
    assert 'WORD="two"' in found["rendered"]["env"]
    assert "config (env)" in said(found)
