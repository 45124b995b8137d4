"""What an application says is kept, all of it, and can be read over the fleet."""

import re
import uuid

import pytest
from client import Site
from conftest import Lab
from played import unbroken
from testinfra.host import Host

# More than journald takes of a service by default, also where much disk is free: 60,000 in 30 s.
LINES = 100_000
LIVE = "catalog@$(basename $(readlink /srv/catalog/current)).service"


def said(lab: Lab, **asked: str) -> list[str]:
    """Return the lines that the playbook shows."""
    done = lab.playbook("logs", app="catalog", **asked)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  \w+ .*", done.stdout)


def test_a_request_is_found_by_its_id(lab: Lab, site: Site) -> None:
    """The id that a visitor was given leads to what the application said about it, and to nothing else.

    Red when the id is not in the lines, or lines of other requests are shown.
    """
    mine = site.get("/products").headers["x-request-id"]
    assert site.get("/products").status == 200
    lines = said(lab, request_id=mine, since="10min")
    assert lines
    assert all(mine in line and " web1 " in line for line in lines)


def test_no_more_lines_are_shown_than_asked_for(lab: Lab, site: Site) -> None:
    """The newest, oldest first. Red when lines are out of order."""
    for _ in range(5):
        site.get("/version")
    lines = said(lab, lines="3")
    assert 1 <= len(lines) <= 3
    assert lines == sorted(lines)


def test_no_line_is_lost_under_load(host: Host) -> None:
    """A hundred thousand lines, said by a process of the live release as fast as it can, are all there.

    Red when journald's rate limit counts for the application's units.
    """
    tag = f"load-{uuid.uuid4().hex}"
    # A process in the unit's control group is the unit's: that is what journald counts by.
    group = host.check_output(f"systemctl show --property=ControlGroup --value {LIVE}")
    # One of these is where systemd looks, depending on the host's kernel.
    enter = f"for tree in '' /unified /systemd; do file=/sys/fs/cgroup$tree{group}/cgroup.procs; "
    enter += "[ ! -e $file ] || echo $$ > $file; done"
    speak = f"exec systemd-cat --identifier=catalog seq -f '{tag} %.0f' {LINES}"
    host.check_output("sh -c %s", f"{enter}; {speak}")
    host.check_output("journalctl --sync")
    kept = host.check_output(
        f"journalctl --quiet --identifier=catalog --since=-10min --output=cat | grep -c {tag}"
    )
    assert int(kept) == LINES


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"since": "soon"}, "since is soon; say a span or a time of the machines"),
        ({"priority": "loud"}, "priority is loud; use one of: emerg"),
        ({"request_id": "a;b"}, "request_id is a;b;"),
        ({"app": "sohp"}, "app is sohp, which group_vars/all/apps.yml does not name; use one of: catalog"),
    ],
)
def test_what_cannot_be_asked_is_refused(lab: Lab, asked: dict[str, str], words: str) -> None:
    """One sentence, before any machine is asked. Red when the playbook goes on."""
    done = lab.playbook("logs", **{"app": "catalog", **asked})
    assert done.returncode != 0
    assert words in unbroken(done.stdout + done.stderr)
