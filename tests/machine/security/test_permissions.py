"""What an application's user can write, and what another one's can read: tried by running as it."""

import fnmatch
from collections.abc import Iterator

import pytest
from conftest import Lab, say
from taken import PLACE, TAKEN, VICTIM, Shell, bring, inside, outside, release
from testinfra.host import Host

# Where everybody writes on any machine, and a sticky bit or a namespace keeps one from what is another's.
# The kernel's figures of pressure can be opened by everybody, and written to by those who may watch them.
EVERYBODYS = "/dev/mqueue /dev/shm /proc/pressure /run/lock /tmp /var/tmp"
# Of these the kernel asks for more than the right to write.
DEVICES = "full fuse net/tun null ptmx pts/ptmx random tty urandom zero"
# What a release says of itself, and what Nginx sends to everybody.
SHOWN = ("*/history.jsonl", "*/release.json", "*/prepared", "*/static/*")


@pytest.fixture
def web(lab: Lab) -> Iterator[Host]:
    """Return the machine while an intruder is on it."""
    machine = bring(lab)
    yield machine
    machine.check_output(f"rm -r {PLACE}")


def too_much(web: Host, app: str, shell: Shell) -> list[str]:
    """Return what it can write and should not, after a look at what it found at all."""
    # It cannot list where its releases lie, but it knows their names.
    places = web.check_output(f"find /srv/{app} /etc/{app} -maxdepth 3").split()
    told = shell("write", *places)
    say(f"file permissions: {app} tried to write {told['looked']} files and directories")
    assert told["looked"] > 10_000
    # Otherwise the walk tried nothing.
    assert f"/var/lib/{app}" in told["written"]
    allowed = [f"/var/lib/{app}", f"/run/{app}/{release(web, app)}", *EVERYBODYS.split()]
    devices = {f"/dev/{name}" for name in DEVICES.split()}
    there = tuple(f"{place}/" for place in allowed)
    return [path for path in told["written"] if path not in devices and not f"{path}/".startswith(there)]


@pytest.mark.parametrize("app", [VICTIM, TAKEN])
def test_an_application_writes_its_state_alone(web: Host, app: str) -> None:
    """Of the whole machine, with no sandbox around it: not its code, not its settings, nobody else's files.

    Red when a directory or a file of the machine can be written by it.
    """
    assert too_much(web, app, outside(web, app)) == []


def test_in_its_unit_it_writes_no_more(web: Host) -> None:
    """The same in the sandbox of the release that serves. Red when that opens what is shut outside of it."""
    assert too_much(web, TAKEN, inside(web)) == []


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_another_application_reads_none_of_it(web: Host, where: str) -> None:
    """State, code, settings and secrets, all named to it, as if it knew every name.

    Red when one can be read. What a release says of itself without its settings, and what Nginx sends to
    everybody, is no secret.
    """
    web.check_output(f"runuser -u {VICTIM} -- sh -c 'umask 0; echo private > /var/lib/{VICTIM}/note'")
    places = " ".join(f"{place}/{VICTIM}" for place in ("/srv", "/etc", "/var/lib", "/run"))
    web.check_output(
        f"find {places} /run/credentials/{VICTIM}@*/ -type f > {PLACE}/names; chmod 644 {PLACE}/names"
    )
    try:
        names = web.check_output(f"cat {PLACE}/names").splitlines()
        mine = outside(web, VICTIM)("open", f"{PLACE}/names")
        read = (outside(web, TAKEN) if where == "outside" else inside(web))("open", f"{PLACE}/names")
    finally:
        web.check_output(f"rm /var/lib/{VICTIM}/note")
    say(f"of {len(names)} files of {VICTIM} it reads {len(mine)}, and {TAKEN} {where} its unit {len(read)}")
    assert len(mine) > 500
    assert f"/var/lib/{VICTIM}/note" in mine
    assert [path for path in read if not any(fnmatch.fnmatch(path, shown) for shown in SHOWN)] == []
