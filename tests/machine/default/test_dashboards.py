"""Every question that a dashboard asks has an answer, from the first minutes on."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from client import Site
from conftest import Lab, say
from panels import FOLDER, Grafana, filled, questions
from played import unbroken, why
from testinfra.host import Host

# What may have nothing to show on this one healthy machine, and why; part of "dashboard: panel: query".
MAY_BE_EMPTY = {
    "the micro-cache": "the catalogue has no web.cache; an application of scenario `monitoring` has",
    "What fires now, and what is to be done?": "no alert fires on a healthy machine",
    "of the others be?": "there is one machine, so there are no others",
    "How close is it to its limit?": "the catalogue has no limits.memory",
    "How close is each to its memory limit?": "the catalogue has no limits.memory",
    "probe_ssl_earliest_cert_expiry": "no machine trusts the authority that issues the lab's certificates",
    "probe_tls_version_info": "no machine trusts the authority that issues the lab's certificates",
    "unit_cpu_seconds_total": "a host with control groups of version 1 counts no CPU of a container's units",
    "node_timex_offset_seconds": "a container may not read the clock's state",
    "node_pressure_": "not every kernel measures pressure",
    "host:memory_pressure": "not every kernel measures pressure",
}
# Also empty there.
ON_DEBIAN_12 = {"Is replication behind?": "its exporter of PostgreSQL has no figure of it"}


def test_every_query_of_every_panel_has_data(host: Host, lab: Lab, site: Site) -> None:
    """Grafana passes each query on to the live Prometheus and gets rows, for all that can have some here.

    Red when a metric or a label is named wrongly, a recording rule is gone, or an exporter has stopped.
    """
    grafana = Grafana(host, lab.variable("grafana_admin_password"))
    asked = {
        filled(expr, {"$environment": ".*", "$app": "catalog", "$host": "web1", **TIMES}): (dashboard, title)
        for dashboard, title, expr in questions()
    }
    assert len(asked) > 150, "nothing was looked at"
    may_be_empty = {*MAY_BE_EMPTY, *(ON_DEBIAN_12 if host.system_info.codename == "bookworm" else ())}
    wanted = [
        expr
        for expr, where in asked.items()
        if not any(part in ": ".join((*where, expr)) for part in may_be_empty)
    ]
    assert len(wanted) > 140

    for path in ("/products", "/version", "/nothing-there"):
        for _ in range(5):
            site.get(path)
    begun = time.monotonic()
    # A rate needs two scrapes, a rule over it one evaluation more.
    while True:
        found = grafana.rows(list(asked))
        refused = {expr: rows for expr, rows in found.items() if isinstance(rows, str)}
        missing = sorted((*asked[expr], expr) for expr in wanted if found[expr] == 0)
        if not missing or refused or time.monotonic() - begun > 150:
            break
        time.sleep(5)
    assert not refused
    assert not missing
    having, seconds = sum(rows != 0 for rows in found.values()), time.monotonic() - begun
    say(f"dashboards: {having} of {len(asked)} different queries have data after {seconds:.0f} s")


TIMES = {"$__rate_interval": "1m", "$__interval": "15s", "$__range": "1h"}


def test_a_new_password_counts_while_somebody_looks(host: Host, lab: Lab) -> None:
    """Nobody is thrown out and Grafana is not started anew; then the old password is refused.

    A run that broke off before Grafana knew of it is made good by the next. Red when the change is in the
    file alone, or when a second run does something.
    """
    before, password = str(lab.variable("grafana_admin_password")), f"another-{time.time_ns()}"
    old, new = Grafana(host, before), Grafana(host, password)
    begun = host.check_output("systemctl show --value -p MainPID grafana-server")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(old.keep_asking, 30)
        # As a run leaves it that ends between the file and Grafana.
        host.check_output("printf %%s %s > /etc/grafana/admin_password", password)
        done = lab.playbook("rotate", "--tags=grafana", grafana_admin_password=password)
        assert done.returncode == 0, why(done)
        met = asking.result()
    try:
        assert set(met) == {"200"}, met
        assert (old.status(), new.status()) == (401, 200)
        assert password not in done.stdout
        assert host.check_output("systemctl show --value -p MainPID grafana-server") == begun
        again = lab.playbook("rotate", "--tags=grafana", grafana_admin_password=password)
        assert re.search(r"ok=\d+ +changed=0 ", again.stdout), why(again)
    finally:
        assert lab.playbook("rotate", "--tags=grafana").returncode == 0
    assert old.status() == 200
    say(f"Grafana's password replaced: {met['200']} requests, 0 failed")


def test_a_dashboard_that_would_not_load_changes_nothing(host: Host, lab: Lab, tmp_path: Path) -> None:
    """It is refused by name, and Grafana goes on with those that it had.

    Red when it lands, or when Grafana is started anew for it.
    """
    state = "systemctl show -p MainPID grafana-server; find /etc/grafana -type f | sort | xargs sha256sum"
    before = host.check_output("sh -c %s", state)
    path = tmp_path / "orders.json"
    path.write_text('{"title": "Orders", "panels": [')
    shipped = sorted(str(file) for file in FOLDER.glob("*.json"))
    done = lab.playbook("site", "--tags", "grafana", grafana_dashboards=[*shipped, str(path)])
    assert done.returncode == 2, why(done)
    assert "orders.json" in done.stdout
    assert host.check_output("sh -c %s", state) == before
    assert Grafana(host, lab.variable("grafana_admin_password")).query("up")


def test_packages_without_a_key_are_refused_first(lab: Lab) -> None:
    """Where the controller cannot fetch the vendor's key, it says so before it touches any machine.

    Red when the last role finds out, after all others have changed something.
    """
    done = lab.playbook(
        "site",
        grafana_apt_key="{{ lookup('ansible.builtin.url', 'http://127.0.0.1:9/gpg.key', errors='warn') }}",
    )
    assert done.returncode == 2, why(done)
    assert "`grafana_apt_key` in group_vars/all/grafana.yml is no key" in unbroken(done.stdout)
    assert "Connection refused" in done.stderr
    assert not re.search(r"^TASK \[(?!.*preflight)common", done.stdout, re.MULTILINE)
