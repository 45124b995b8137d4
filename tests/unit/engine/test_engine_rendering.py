"""What a process gets is what the user wrote, character for character."""

import pytest
from engine_fake import Host
from fastapi_metal.release.rendering import (
    SANDBOX,
    environment,
    environment_file,
    render,
    sandbox,
    secrets_file,
)
from fastapi_metal.release.settings import secret_variable, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def read_by_systemd(content: str) -> dict[str, str]:
    """Read a file of double-quoted values as systemd's parse_env_file does, character for character."""
    found: dict[str, str] = {}
    state, key, value = "key", "", ""
    for character in content:
        if state == "key":
            state, key = ("before", key) if character == "=" else ("key", key + character)
        elif state == "before":
            assert character == '"', "every value is quoted"
            state, value = "quoted", ""
        elif state == "escaped":
            # A backslash before anything else stays, and one before the line's end joins two lines.
            value += character if character in '"\\`$' else "" if character == "\n" else f"\\{character}"
            state = "quoted"
        elif state == "quoted":
            state = {"\\": "escaped", '"': "after"}.get(character, "quoted")
            value += character if state == "quoted" else ""
        else:
            assert character == "\n", "the value ends too early"
            found[key], state, key = value, "key", ""
    assert (state, key) == ("key", ""), "the last value does not end"
    return found


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
# All that validation lets through.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(env=st.dictionaries(NAMES, TEXTS, max_size=6), secrets=st.dictionaries(NAMES, TEXTS, max_size=6))
def test_values_survive_the_files_for_systemd(
    host: Host, env: dict[str, str], secrets: dict[str, str]
) -> None:
    """Quotes, dollars, backslashes, newlines, control characters and unicode come back as they were."""
    request = host.request("one", env=env, secrets=secrets, secrets_as="env")
    own = host.settings(request)
    assert read_by_systemd(environment_file(own, "some-release")) == environment(own, "some-release")
    # Validation refuses two secrets of one variable.
    if len({secret_variable(name) for name in secrets}) == len(secrets):
        wanted = {secret_variable(name): value for name, value in secrets.items()}
        assert read_by_systemd(secrets_file(own)) == wanted


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (True, "true"), (False, "false"), (5, "5"), ("", "")]
)
def test_yaml_values_are_text(value: object, shown: str) -> None:
    """true is `true`, not `True`; nothing is empty."""
    assert text(value) == shown


def test_ours_wins_over_the_users(host: Host) -> None:
    """PATH finds the release's own programs, and APP_RELEASE is the truth."""
    settings = host.settings(host.request("one"))
    content = environment_file(settings, "some-release")
    assert f'PATH="{host.layout.virtualenv("some-release")}/bin:' in content
    assert 'APP_RELEASE="some-release"' in content
    assert "DATABASE_URL" not in content


def test_a_database_is_handed_over_and_waited_for(host: Host) -> None:
    """The address is in the environment, and a late database is no crash loop."""
    rendered = render(host.settings(host.request("one", database="postgresql")), "some-release", 2)
    assert 'DATABASE_URL="postgresql:///shop?host=/run/postgresql"' in rendered.env
    assert (
        "ExecStartPre=/usr/local/lib/fastapi-metal/wait-for-database unix:/run/postgresql" in rendered.drop_in
    )
    own = host.request("one", database="postgresql", env={"DATABASE_URL": "postgresql+asyncpg:///x"})
    assert 'DATABASE_URL="postgresql+asyncpg:///x"' in render(host.settings(own), "some-release", 2).env


def test_the_module_cannot_break_out_of_the_configuration(host: Host) -> None:
    """A factory's arguments with quotes are one Python text."""
    module = "shop.main:create_app('a \"b\"', 1)"
    server = render(host.settings(host.request("one", module=module)), "some-release", 3).server
    namespace: dict[str, object] = {}
    exec(server["gunicorn.conf.py"], namespace)  # noqa: S102 - it is Python, and this is how it is read
    assert namespace["wsgi_app"] == "release_target:app"
    assert namespace["workers"] == 3
    assert f"load({module!r})" in server["serving/release_target.py"]


def test_nothing_that_runs_goes_through_current(host: Host) -> None:
    """A late import would load new code into an old process."""
    rendered = render(host.settings(host.request("one", state=["uploads"])), "some-release", 2)
    assert not [content for content in rendered.texts().values() if "/current" in content]
    assert "StateDirectory=shop shop/uploads" in rendered.drop_in


def test_a_part_of_the_sandbox_is_left_out_by_its_name() -> None:
    """The rest stays: who needs to pin threads may not load modules."""
    assert sandbox([]) == list(SANDBOX)
    found = sandbox(["@resources", "PrivateDevices"])
    assert "SystemCallFilter=~@privileged" in found
    assert not [line for line in found if line.startswith("PrivateDevices") or "@resources" in line]
    assert len(found) == len(SANDBOX) - 1
    assert not [line for line in sandbox(["@resources", "@privileged"]) if "~" in line]
