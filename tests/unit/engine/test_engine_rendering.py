"""What a process gets is what the user wrote, character for character."""

import pytest
from engine_fake import Host
from fastapi_metal.rendering import environment_file, quoted, render
from fastapi_metal.settings import text
from hypothesis import given
from hypothesis import strategies as st


def read_by_systemd(content: str) -> str:
    """Read a double-quoted value as systemd's parse_env_file does."""
    assert content[0] == content[-1] == '"'
    value, escaped = "", False
    for character in content[1:-1]:
        if escaped:
            if character in '"\\`$':
                value += character
            elif character != "\n":
                value += f"\\{character}"
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            assert character != '"', "the value ends too early"
            value += character
    assert not escaped
    return value


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"], whitelist_characters="\n\t")))
def test_values_survive_the_environment_file(value: str) -> None:
    """Spaces, quotes, dollars, percent signs, backslashes, newlines and unicode come back as they were."""
    assert read_by_systemd(quoted(value)) == value


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
