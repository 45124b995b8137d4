"""What the inventory says is what a process gets, and nobody else sees it."""

import json
import threading
from typing import Any

from client import Site
from conftest import Lab
from played import why
from testinfra.host import Host

# What shells, systemd, YAML and Python each treat in a way of their own, alone and in places where they do.
PIECES = [
    *("", " ", "  two  ", "\t", "a\nb", "\n", "ends\n", "\r\n", "a\rb", "\x01\x1b[0m\x7f"),
    *(
        "'",
        '"',
        "''",
        '""',
        "'\"'",
        '"quoted"',
        "it's",
        "\\",
        "\\\\",
        "\\n",
        "\\x41",
        "ends\\",
        '\\"',
        "\\\n",
    ),
    *(
        "$",
        "$HOME",
        "${HOME}",
        "$$",
        "$(id)",
        "`id`",
        "%",
        "%i",
        "%%n",
        "100%",
        "!",
        "!!",
        "!vault",
        "#",
        "# no",
    ),
    *(
        "a #b",
        ":",
        "a: b",
        ";",
        "; no",
        "a;b",
        "=",
        "A=b",
        "&",
        "|",
        "<>",
        "*",
        "?",
        "[a]",
        "{a}",
        "~",
        "@",
        ",",
    ),
    *(
        "postgresql+asyncpg:////var/lib/x?a=b&c=%2F",
        "sqlite:////tmp/x.db",
        "p@ss:w/rd#1",
        "null",
        "~",
        "yes",
        "007",
    ),
    *(
        "1e3",
        "été",
        "日本語",
        "🙂",
        "e\u0301",
        "\u00a0",
        "\u2028",
        "\ufeff",
        '{"a": ["b", null]}',
        "x" * 100_000,
    ),
]
VALUES = {f"VALUE_{number}": piece for number, piece in enumerate(PIECES)}
SECRETS = {f"secret-{number}": f"{piece}-secret-{number}" for number, piece in enumerate(PIECES[:60])}
DUMP = 'python -c \'import json, os; json.dump(dict(os.environ), open("/var/lib/mirror/seen.json", "w"))\''


def differing(wanted: dict[str, str], seen: dict[str, str]) -> dict[str, tuple[str, str | None]]:
    """Return each name that has another value than it should."""
    return {name: (value, seen.get(name)) for name, value in wanted.items() if seen.get(name) != value}


def live(host: Host) -> str:
    """Return the release that serves."""
    return str(host.check_output("basename $(readlink /srv/mirror/current)"))


def fingerprint(host: Host, release: str) -> str:
    """Return a digest of everything that a release was given."""
    given = f"/srv/mirror/releases/{release}/env /etc/mirror/credentials/{release}"
    units = f"/etc/systemd/system/mirror@{release}.service.d"
    return str(host.check_output(f"find {given} {units} -type f -print0 | sort -z | xargs -0 sha256sum"))


def test_values_and_secrets_arrive_as_they_are(lab: Lab, host: Host) -> None:
    """Every value of `env` and every secret is the same, character for character, in server and command.

    Red when a value is written into systemd's file without the escapes that it takes away again.
    """
    done = lab.deploy("mirror", env=VALUES, secrets=SECRETS, before_start=[DUMP])
    assert done.returncode == 0, why(done)
    process = lab.site("mirror").get("/process").json()
    command = json.loads(host.check_output("cat /var/lib/mirror/seen.json"))
    print(f"{len(VALUES)} values and {len(SECRETS)} secrets")
    assert not differing(VALUES, process["environ"])
    assert not differing(VALUES, command)
    assert process["credentials"] == SECRETS
    for seen in (process["environ"], command):
        assert seen["PATH"].startswith(f"/srv/mirror/releases/{live(host)}/venv/bin:")


def ask(site: Site, answers: list[Any]) -> None:
    """Ask for a report that takes a while."""
    answers.append(site.request("GET", "/process?seconds=25", timeout=120).json())


def test_a_changed_secret_leaves_the_running_release_alone(lab: Lab, host: Host) -> None:
    """Secrets become variables in a new release, while one that still answers keeps what it had.

    No secret is in an argument, in what systemd shows, or in a file that somebody else can read.
    Red when the release's own files are written again, or when the secrets' file is open to others.
    """
    site, before = lab.site("mirror"), live(host)
    given, answers = fingerprint(host, before), list[Any]()
    asking = threading.Thread(target=ask, args=(site, answers))
    asking.start()
    secrets = {name: f"{value}, changed" for name, value in SECRETS.items()}
    done = lab.deploy("mirror", env=VALUES, secrets=secrets, secrets_as="env", before_start=[DUMP])
    asking.join()
    after, (old,) = live(host), answers
    assert done.returncode == 0, why(done)
    assert (after != before, old["environ"]["APP_RELEASE"]) == (True, before)
    assert old["credentials"] == SECRETS
    assert not differing(VALUES, old["environ"])
    assert fingerprint(host, before) == given
    process = site.get("/process").json()
    wanted = {name.upper().replace("-", "_"): value for name, value in secrets.items()}
    assert not differing(wanted | VALUES, process["environ"])
    assert not differing(wanted, json.loads(host.check_output("cat /var/lib/mirror/seen.json")))
    shown = host.check_output(f"systemctl show 'mirror@{after}.service'; ps axww -o args")
    assert "-secret-5, changed" not in shown + done.stdout
    places = "/srv/mirror /etc/mirror /etc/systemd/system /run/mirror"
    open_files = f"find {places} -type f -perm /o+r -exec grep -l -e '-secret-5, changed' {{}} +"
    assert host.run(open_files).stdout == ""
    assert "changed" in host.check_output(f"cat /etc/mirror/credentials/{after}/.environment")
