"""How a release is served is what its settings say, for every server."""

import importlib
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_fake import Behaviour, Host
from fastapi_metal.apps.validation import problems
from fastapi_metal.release import serving
from fastapi_metal.release.rendering import environment_file, render, secrets_file
from fastapi_metal.release.settings import secret_variable
from fastapi_metal.release.target import at_once

OWN = {"server": {"command": "uvicorn {app} --fd 3 --workers {workers}"}}
GRANIAN = {"server": {"command": "granian {app} --interface asgi --uds {socket}"}}


def test_a_worker_takes_the_place_of_the_one_before(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its metrics go on in the same files. Red when places grow with each worker, or two have one."""
    rendered = render(host.settings(host.request("one")), "some-release", 3)
    (tmp_path / "gunicorn_hooks.py").write_text(rendered.server["gunicorn.conf.py"])
    monkeypatch.syspath_prepend(tmp_path)
    hooks = importlib.import_module("gunicorn_hooks")
    server = SimpleNamespace(WORKERS={})

    def spawn(pid: int) -> int:
        worker = SimpleNamespace()
        hooks.pre_fork(server, worker)
        server.WORKERS[pid] = worker
        return int(worker.place)

    assert [spawn(pid) for pid in (11, 12, 13)] == [1, 2, 3]
    ended = server.WORKERS.pop(12)
    hooks.child_exit(server, ended)
    assert spawn(14) == 2
    hooks.post_fork(server, server.WORKERS[14])
    assert hooks.place == 2


def test_another_server_takes_the_place_of_gunicorn(host: Host) -> None:
    """It runs as the release's main process, without Gunicorn's READY, and with the computed workers."""
    rendered = render(host.settings(host.request("one", **OWN)), "some-release", 3)
    assert "\nexec uvicorn release_target:app --fd 3 --workers 3\n" in rendered.server["serving/command"]
    assert "gunicorn.conf.py" not in rendered.server
    assert "Type=exec\nExecStart=/bin/sh -e " in rendered.drop_in
    assert rendered.listener == ""


def test_a_server_may_make_its_own_socket(host: Host) -> None:
    """One that takes none from systemd: the link leads there, and systemd's own is out of the way."""
    assert host.deploy("one", **GRANIAN)["problem"] is None
    release = host.layout.current.readlink().name
    assert host.layout.socket(release).readlink() == host.layout.own_socket(release)
    assert "held.sock" in host.layout.listener_drop_in(release).read_text()
    assert "ListenStream=\n" in host.layout.listener_drop_in(release).read_text()
    rendered = render(host.settings(host.request("one", **GRANIAN)), release, 1)
    assert "setfacl --modify group:www-data:rw" in rendered.drop_in


def test_what_a_pruned_release_left_to_systemd_goes(host: Host) -> None:
    """Both its drop-ins."""
    first = host.deploy("one", **GRANIAN, keep_releases=2)["release"]
    for word in ("two", "three", "four"):
        host.deploy(word, **GRANIAN, keep_releases=2)
    assert not host.layout.listener_drop_in(first).parent.exists()
    assert not host.layout.release(first).exists()


def test_workers_of_another_server_are_not_counted(host: Host) -> None:
    """Health and main process decide; the report says what is given up."""
    host.machine.behaviour["one"] = Behaviour(workers=7, loses_worker_after=1)
    done = host.deploy("one", **OWN)
    assert done["problem"] is None
    assert any("nobody counts or watches them" in line for line in done["report"])
    host.machine.behaviour["two"] = Behaviour(dies_after=2)
    assert "had to be started again" in host.deploy("two", **OWN)["problem"]


@pytest.mark.parametrize("value", ["it's", 'a "b"', "$HOME", "a b", "\\"])
def test_the_command_is_the_shells(host: Host, tmp_path: Path, value: str) -> None:
    """Quotes and variables mean what they mean in a shell, and the release's modules are found."""
    settings = host.settings(host.request("one", server={"command": 'printf "%s|%s" "$VALUE" "$PYTHONPATH"'}))
    script = tmp_path / "command"
    script.write_text(serving.command(settings, "some-release", 1, str(tmp_path)))
    environment = {"VALUE": value, "PYTHONPATH": "/mine", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["/bin/sh", "-e", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{value}|{serving.serving_directory(settings, 'some-release')}:/mine"


@pytest.mark.parametrize(
    ("web", "root_path"),
    [({}, ""), ({"path": "/shop"}, ""), ({"path": "/shop", "strip_path": True}, "/shop")],
)
def test_only_a_prefix_that_the_routes_do_not_have_is_told(
    host: Host, web: dict[str, Any], root_path: str
) -> None:
    """An application with the prefix in its routes would look for it twice."""
    text = serving.target_text(host.settings(host.request("one", web=web, server={"threads": 5})))
    assert text.endswith(f"\napp = Target(load('shop.main:app'), {root_path!r}, 5)\n")


@pytest.mark.parametrize(
    ("name", "variable"),
    [("api_key", "API_KEY"), ("smtp-password.v2", "SMTP_PASSWORD_V2"), ("apiKey", "apiKey"), ("KEY", "KEY")],
)
def test_a_secret_as_a_variable_has_a_name_that_can_be_told(name: str, variable: str) -> None:
    """Capitals, unless it has some."""
    assert secret_variable(name) == variable


def test_secrets_in_the_environment_are_in_no_file_of_the_release(host: Host) -> None:
    """They lie where only root reads, and systemd's unit names the file alone."""
    given = {"secrets": {"api_key": "s3cret-value"}, "secrets_as": "env"}
    assert host.deploy("one", **given)["problem"] is None
    release, settings = host.layout.current.readlink().name, host.settings(host.request("one", **given))
    assert secrets_file(settings) == 'API_KEY="s3cret-value"\n'
    kept = host.layout.credentials(release)
    assert [path.name for path in kept.iterdir()] == [".environment"]
    assert (kept / ".environment").stat().st_mode & 0o777 == 0o400
    drop_in = host.layout.drop_in(release).read_text()
    assert f"EnvironmentFile={kept}/.environment" in drop_in
    assert "LoadCredential" not in drop_in
    assert "s3cret" not in drop_in + environment_file(settings, release)
    files = [path for path in host.layout.release(release).rglob("*") if path.is_file()]
    assert not [path for path in files if "s3cret-value" in path.read_text(errors="replace")]


def test_secrets_in_files_are_encrypted_where_the_machine_can(host: Host) -> None:
    """The unit names each as it lies there, and the same secrets again are the same release."""
    given = {"secrets": {"api_key": "s3cret-value"}}
    for encrypts, line, text in (
        (True, "LoadCredentialEncrypted=api_key:{}/api_key@", "encrypted api_key eulav-terc3s"),
        (False, "LoadCredential=api_key:{}/api_key", "s3cret-value"),
    ):
        host.machine.encrypts = encrypts
        assert host.deploy("one" if encrypts else "two", **given)["problem"] is None
        release = host.layout.current.readlink().name
        kept = host.layout.credentials(release)
        assert [path.read_text() for path in kept.iterdir()] == [text]
        assert [path.stat().st_mode & 0o777 for path in kept.iterdir()] == [0o400]
        assert f"\n{line.format(kept)}\n" in host.layout.drop_in(release).read_text()
        host.deploy("one" if encrypts else "two", **given)
        assert host.layout.current.readlink().name == release


def test_how_secrets_come_is_part_of_a_release(host: Host) -> None:
    """The same secrets in another form are a new release, and a changed one too."""
    one = {"secrets": {"api_key": "s3cret-value"}}
    releases = [
        host.deploy("one", **change)["release"]
        for change in (one, {**one, "secrets_as": "env"}, {"secrets": {"api_key": "other-value"}}, one)
    ]
    assert len(set(releases)) == 3
    assert releases[0] == releases[3]


def headers_of(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response after it was let out."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    response = {"type": "http.response.start", "status": 200, "headers": list(headers)}
    running = at_once(send)(response)
    with pytest.raises(StopIteration):
        running.__await__().__next__()
    found: list[tuple[bytes, bytes]] = sent[0]["headers"]
    return found


def test_a_response_without_a_length_is_passed_on_at_once() -> None:
    """One with a length is collected, and what an application says itself counts."""
    assert headers_of((b"content-type", b"text/event-stream"))[-1] == (b"x-accel-buffering", b"no")
    assert headers_of((b"Content-Length", b"3")) == [(b"Content-Length", b"3")]
    assert headers_of((b"X-Accel-Buffering", b"yes")) == [(b"X-Accel-Buffering", b"yes")]


@pytest.mark.parametrize(
    ("change", "variable", "words"),
    [
        ({"module": "shop.main:create_app(region)"}, "module", "arguments are no plain values"),
        ({"module": "shop.main:create_app(**{'a': 1})"}, "module", "arguments are no plain values"),
        ({"module": "shop.main:app("}, "module", "names no ASGI application"),
        ({"server": {"worker_class": "gevent"}}, "server.worker_class", "serves WSGI"),
        ({"server": {"worker_class": "a b"}}, "server.worker_class", "names no class"),
        ({"server": {"threads": 0}}, "server.threads", "use 1 or more"),
        ({"server": {"command": "uvicorn shop.main:app --fd 3"}}, "server.command", "does not hold `{app}`"),
        ({"server": {"command": "uvicorn {app} --port 8000"}}, "server.command", "no socket that Nginx asks"),
        ({"server": {"command": "cd /x\nuvicorn {app} --fd 3"}}, "server.command", "more than one line"),
        ({"server": {"command": "uvicorn {app} --fd 3", "preload": True}}, "server.preload", "for Gunicorn"),
        ({"web": {"path": "shop"}}, "web.path", "is no path"),
        ({"web": {"path": "/shop/"}}, "web.path", "is no path"),
        ({"web": {"strip_path": True}}, "web.strip_path", "no path to take off"),
        ({"web": {"static": {"assets": "dist"}}}, "web.static.assets", "begin it with `/`"),
        ({"web": {"static": {"/assets": "../dist"}}}, "web.static./assets", "no directory within the source"),
        ({"web": {"static": {"/assets": "."}}}, "web.static./assets", "no directory within the source"),
        ({"web": {"read_timeout": 0}}, "web.read_timeout", "use 1 or more"),
        ({"env": {"A": "\ufdd0"}}, "env.A", "no environment can hold"),
        ({"env": {"A": "x" * 130_000}}, "env.A", "120 KiB"),
        ({"secrets_as": "file"}, "secrets_as", "must be one of files, env"),
        ({"secrets": {"9a": "v-1"}, "secrets_as": "env"}, "secrets.9a", "no name of one"),
        ({"secrets": {"path": "v-1"}, "secrets_as": "env"}, "secrets.path", "set by the release itself"),
        (
            {"secrets": {"key": "v-1"}, "secrets_as": "env", "env": {"KEY": "x"}},
            "secrets.key",
            "`env` has too",
        ),
        ({"secrets": {"a-b": "v-1", "a_b": "v-2"}, "secrets_as": "env"}, "secrets.a_b", "as another secret"),
    ],
)
def test_what_cannot_be_served_gets_one_sentence(
    tmp_path: Path, change: dict[str, Any], variable: str, words: str
) -> None:
    """It names the variable, the file, and a value that works; a secret's value is not in it."""
    shop = {"domain": "shop.example.org", "source": {"path": str(tmp_path)}, "module": "shop.main:app"}
    (found,) = problems({"shop": {**shop, **change}})
    assert found.startswith(f"`apps.shop.{variable}` in group_vars/all/apps.yml ")
    assert words in found
    assert "v-1" not in found


@pytest.mark.parametrize(
    "command",
    [
        "uvicorn {app} --fd 3",
        "uvicorn {app} --fd=3 --workers {workers}",
        "hypercorn {app} --bind fd://3",
        "granian {app} --interface asgi --uds {socket}",
    ],
)
def test_the_servers_of_the_documentation_pass(tmp_path: Path, command: str) -> None:
    """And so do targets that only a computer would name so."""
    shop = {"domain": "shop.example.org", "source": {"path": str(tmp_path)}, "server": {"command": command}}
    for module in ("7shop.main:app", "shop.__main__:inner.app", "a:make('x', k=[1, {'b': None}])"):
        assert problems({"shop": {**shop, "module": module}}) == []
