"""As whom a release logs in at its database, and whether that lets it in."""

import re

from ..engine.engine import Engine
from ..machine.interface import DatabaseError, Machine
from ..machine.postgresql import address
from ..release.layout import Layout
from ..release.rendering import ENCRYPTED, SECRETS_FILE
from ..release.settings import secret_variable
from ..release.store import Store

PASSWORD = "database_password"  # noqa: S105 - a name
# A file for systemd, as `quoted` in rendering.py writes it.
VALUE = r'^{}="((?:[^"\\]|\\.)*)"$'


def read(text: str, name: str) -> str:
    """Return a value of a file that systemd reads as an environment, empty if it is not there."""
    found = re.search(VALUE.format(re.escape(name)), text, re.MULTILINE | re.DOTALL)
    return re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL) if found else ""


def url(layout: Layout, release_id: str) -> str:
    """Return the address of a release's PostgreSQL, empty where it has none."""
    path = layout.release(release_id) / "env"
    found = read(path.read_text(), "DATABASE_URL") if path.is_file() else ""
    return found if found.startswith("postgres") else ""


def password(layout: Layout, release_id: str, machine: Machine) -> str:
    """Return the password that a release was made with, empty where it has none."""
    place = layout.credentials(release_id)
    if (plain := place / PASSWORD).is_file():
        return plain.read_text()
    if (encrypted := place / f"{PASSWORD}{ENCRYPTED}").is_file():
        return (machine.decrypt(PASSWORD, encrypted.read_bytes()) or b"").decode()
    if (variables := place / SECRETS_FILE).is_file():
        return read(variables.read_text(), secret_variable(PASSWORD))
    return ""


def in_use(layout: Layout, machine: Machine) -> list[str]:
    """Return the roles as which releases log in over the network: the live one, and those that still run."""
    app = layout.app
    running = {
        release
        for release in machine.loaded(app)
        if machine.state(layout.service(release)).alive or machine.state(layout.listener(release)).alive
    }
    jobs = {layout.job_release(unit) for unit in machine.jobs_alive(app)}
    releases = {Store(layout).live() or "", *machine.enabled(app), *running, *jobs} - {""}
    places = [address(found, app, "") for release in releases if (found := url(layout, release))]
    return sorted({place.user for place in places if not place.local})


def refusal(engine: Engine, release_id: str, *, going_back: bool) -> str | None:
    """Return why a release cannot be started: a database elsewhere knows its password no longer, or not yet.

    One that does not answer says nothing; the release waits for it.
    """
    layout, machine, app = engine.layout, engine.machine, engine.settings.name
    where = url(layout, release_id) if engine.settings.with_database else ""
    place = address(where, app, password(layout, release_id, machine))
    if not where or place.local or not place.password:
        return None
    try:
        machine.session(where, app, place.password, f"fastapi-metal {app} {release_id}").close()
    except DatabaseError as error:
        if error.is_refusal:
            return refused(app, release_id, place.user, place.host, str(error), going_back=going_back)
    return None


def refused(app: str, release_id: str, role: str, host: str, words: str, *, going_back: bool) -> str:
    """Return the sentence."""
    if not going_back:
        return (
            f"the database at {host} does not let in `{role}`, as whom release {release_id} would log in "
            f"({words}). Run playbooks/rotate.yml, which makes that role before the release; "
            "`app_database_url` in group_vars/all/app.yml must name it as `{{ app_database_login }}`, "
            f"for example postgresql://{{{{ app_database_login }}}}@{host}/{app}"
        )
    return (
        f"release {release_id} logs in at {host} as `{role}`, which is locked since the password was "
        f"replaced ({words}): a way back does not open what a rotation has shut. Go forward instead: set "
        f"apps.{app}.source in group_vars/all/apps.yml to the version of then, and playbooks/deploy.yml "
        "releases it with the password of now. Or let it in, knowingly, on the database's server: "
        f"sudo -u postgres psql -c 'ALTER ROLE \"{role}\" LOGIN'"
    )
