"""The faults: how each is caused on a machine, which verify test must see it, and what that test must say.

The commands run as root in `bash -eu`.
"""

from dataclasses import dataclass

CATALOG_SITE = "/etc/nginx/sites-enabled/catalog.conf"
RELOAD_NGINX = "nginx -t; systemctl reload nginx; sleep 1"  # the workers of before accept for a moment


@dataclass(frozen=True)
class Fault:
    """One fault of a machine, and the verify test that it turns red."""

    name: str
    test: str
    reason: str
    cause: str
    undo: str
    on: str = "web1"

    @property
    def scenario(self) -> str:
        """The scenario whose machine it is caused on: the test's folder, `default` if it is not said."""
        return self.test.rpartition("/")[0] or "default"


def edited(name: str, test: str, reason: str, path: str, script: str, then: str, on: str = "web1") -> Fault:
    """Return the fault that a sed script makes of a file; `then` makes its service read the file.

    A script that changes nothing is an error: it would cause no fault.
    """
    kept = "/root/file-before-the-fault"
    return Fault(
        name,
        test,
        reason,
        cause=f"cp -a {path} {kept}; sed -E -i '{script}' {path}; ! cmp -s {path} {kept} || exit 9; {then}",
        undo=f"cp -a {kept} {path}; rm {kept}; {then}",
        on=on,
    )


def sql(database: str, statement: str) -> str:
    """Return the shell command that runs a statement as PostgreSQL's administrator."""
    return f'runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 -d {database} -c "{statement}"'


LIVE = "release=$(basename $(readlink /srv/catalog/current)); unit=catalog@$release.service"
POSTGRES_EXPORTER = "prometheus-postgres-exporter"
RESTART_PROMETHEUS = "systemctl restart prometheus"
RESTART_GRAFANA = (
    "systemctl restart grafana-server; "
    "curl -fsS -o /dev/null --retry 60 --retry-delay 1 --retry-connrefused http://127.0.0.1:3000/api/health"
)
DASHBOARD = "/etc/grafana/provisioning/dashboards/fleet.json"
NGINX_FAULT = "/run/systemd/system/nginx.service.d/zz-fault.conf"
TEMPLATE_FAULT = "/run/systemd/system/catalog@.service.d/zz-fault.conf"

HELPER = "/usr/local/sbin/fault"
# A new release that ends the others when it starts: what a restart in place of a switch does.
END_THE_OTHERS = """\
systemctl list-units --plain --no-legend "catalog@*" | cut -d" " -f1 | grep -vF "@$1." |
    xargs --no-run-if-empty systemctl stop
"""


def script(path: str, text: str) -> str:
    """Return the shell commands that write a script."""
    return f"cat > {path} <<'END'\n#!/bin/sh\n{text}END\nchmod 755 {path}\n"


def drop_in(path: str, *lines: str) -> str:
    """Return the shell commands that add lines to the [Service] section of a unit until the next boot."""
    text = "\n".join(["[Service]", *lines])
    return f"mkdir -p $(dirname {path})\ncat > {path} <<'END'\n{text}\nEND\nsystemctl daemon-reload"


FAULTS = [
    Fault(
        "temporary certificate served",
        "test_site.py::test_https_answers_with_a_verified_chain",
        r"CERTIFICATE_VERIFY_FAILED.*self-signed certificate",
        cause=f"ln -sfn .temporary/catalog /etc/nginx/tls/catalog; {RELOAD_NGINX}",
        undo=f"ln -sfn /etc/letsencrypt/live/catalog /etc/nginx/tls/catalog; {RELOAD_NGINX}",
    ),
    Fault(
        "chain without its intermediate",
        "test_site.py::test_https_answers_with_a_verified_chain",
        r"CERTIFICATE_VERIFY_FAILED.*unable to get local issuer certificate",
        cause="cd /etc/nginx/tls; mkdir .fault; "
        "cp -L catalog/privkey.pem .fault/privkey.pem; cp -L catalog/cert.pem .fault/fullchain.pem; "
        f"ln -sfn .fault /etc/nginx/tls/catalog; {RELOAD_NGINX}",
        undo="ln -sfn /etc/letsencrypt/live/catalog /etc/nginx/tls/catalog; rm -r /etc/nginx/tls/.fault; "
        f"{RELOAD_NGINX}",
    ),
    Fault(
        "renewal without its hook",
        "test_certificates.py::test_a_renewal_loses_no_request",
        r"waited 10 s in vain: the new certificate shown",
        cause="chmod 644 /etc/letsencrypt/renewal-hooks/deploy/fastapi-metal",
        undo="chmod 755 /etc/letsencrypt/renewal-hooks/deploy/fastapi-metal",
    ),
    edited(
        "port 80 answers",
        "test_site.py::test_http_leads_to_https",
        r"'port 80 here 200 '\.endswith",
        CATALOG_SITE,
        's|return 301 https:.*|return 200 "port 80 here ";|',
        RELOAD_NGINX,
    ),
    edited(
        "no default server",
        "test_site.py::test_an_unknown_name_gets_nothing",
        r"assert 0 != 0",
        "/etc/nginx/nginx.conf",
        "s|^( *listen .*default_server;)|#\\1|; s|^( *server_name) _;|\\1 _; listen 127.0.0.2:80;|",
        RELOAD_NGINX,
    ),
    Fault(
        "table is gone",
        "test_site.py::test_a_product_that_was_written_is_read_back",
        r"assert 500 == 201",
        cause=sql("catalog", "ALTER TABLE products RENAME TO products_away"),
        undo=sql("catalog", "ALTER TABLE products_away RENAME TO products"),
    ),
    edited(
        "metrics on the public site",
        "test_site.py::test_metrics_stay_inside",
        r"assert 200 == 404",
        CATALOG_SITE,
        "/location = .metrics \\{/,/\\}/d",
        RELOAD_NGINX,
    ),
    Fault(
        "migration left no revision",
        "test_site.py::test_readiness_tells_the_schema",
        r"assert 503 == 200",
        cause=sql("catalog", "CREATE TABLE away AS TABLE alembic_version; DELETE FROM alembic_version"),
        undo=sql("catalog", "INSERT INTO alembic_version TABLE away; DROP TABLE away"),
    ),
    Fault(
        "exporter stopped",
        "test_monitoring.py::test_every_target_is_up",
        r"waited 45 s in vain: all jobs up",
        cause="systemctl stop prometheus-node-exporter",
        undo="systemctl start prometheus-node-exporter",
    ),
    Fault(
        "exporter that may not log in",
        "test_monitoring.py::test_exporters_reach_what_they_export[postgres-pg_up]",
        r"AssertionError: assert '0' == '1'",
        cause=f"{sql('postgres', 'ALTER ROLE prometheus NOLOGIN')}; systemctl restart {POSTGRES_EXPORTER}",
        undo=f"{sql('postgres', 'ALTER ROLE prometheus LOGIN')}; systemctl restart {POSTGRES_EXPORTER}",
    ),
    edited(
        "Prometheus open to the network",
        "test_monitoring.py::test_no_inner_port_answers_from_outside[9090]",
        r"Failed: DID NOT RAISE.*OSError",
        "/etc/default/prometheus",
        "s|web.listen-address=127.0.0.1:9090|web.listen-address=0.0.0.0:9090|",
        f"{RESTART_PROMETHEUS}; sleep 2",
    ),
    edited(
        "Grafana shows dashboards to anybody",
        "test_monitoring.py::test_grafana_asks_for_a_password",
        r"assert 0 != 0",
        "/etc/grafana/grafana.ini",
        "/^\\[auth.anonymous\\]/,/^$/s|enabled = false|enabled = true|",
        RESTART_GRAFANA,
    ),
    Fault(
        "dashboard missing",
        "test_monitoring.py::test_grafana_has_the_dashboards_and_their_figures",
        r"Unexpected exit code 22.*fleet",
        cause=f"mv {DASHBOARD} /root/; {RESTART_GRAFANA}",
        undo=f"mv /root/fleet.json {DASHBOARD}; {RESTART_GRAFANA}",
    ),
    Fault(
        "master that replaces no worker",
        "test_recovery.py::test_a_killed_worker_is_replaced",
        r"waited 15 s in vain: a worker in its place",
        cause=f"{LIVE}; systemctl kill --kill-whom=main --signal=STOP $unit",
        undo=f"{LIVE}; systemctl kill --kill-whom=main --signal=CONT $unit",
    ),
    Fault(
        "release without Restart=",
        "test_recovery.py::test_a_killed_master_refuses_nobody",
        r"waited 30 s in vain: the service again",
        cause=drop_in(TEMPLATE_FAULT, "Restart=no"),
        undo=f"rm {TEMPLATE_FAULT}; systemctl daemon-reload",
    ),
    Fault(
        "cache that refuses the application",
        "test_recovery.py::test_a_cache_that_is_down_costs_time_alone",
        r"waited 10 s in vain: the cache",
        cause="cache-cli acl deluser catalog",
        undo="cache-cli acl load",
    ),
    Fault(
        "service without Restart=",
        "test_recovery.py::test_a_killed_service_comes_back[nginx]",
        r"waited 30 s in vain: nginx back",
        cause=drop_in(NGINX_FAULT, "Restart=no"),
        undo=f"rm {NGINX_FAULT}; systemctl daemon-reload; systemctl restart nginx",
    ),
    Fault(
        "restart in place of a switch",
        "test_release.py::test_a_changed_setting_is_a_release_that_drops_nothing",
        r"assert not \[Record\(.*status=502",
        cause=script(HELPER, END_THE_OTHERS) + drop_in(TEMPLATE_FAULT, f"ExecStartPre=+{HELPER} %i"),
        undo=f"rm {TEMPLATE_FAULT} {HELPER}; systemctl daemon-reload",
    ),
    Fault(
        "unit started but not enabled",
        "test_zz_reboot.py::test_a_rebooted_machine_answers_again",
        r"waited 60 s in vain: the site after the reboot",
        cause="systemctl disable nginx",
        undo="systemctl enable --now nginx",
    ),
]

# Verify tests that no fault of the table turns red, and why.
ON_THE_CONTROLLER = "the fault is one of the playbooks or of the engine's plan, not one of a machine"
ITS_OWN = "it causes the fault by itself, and looks at what visitors notice of it"
NAIVE = "test_a_restart_in_place_of_a_switch_is_noticed beside it causes the fault under the same load"
# Files of which every test deploys what is broken, or counts what a deploy has done on the machine.
CAUSED_WITHIN = ("test_commands.py", "test_sources.py")
NOT_CAUSED = {
    "test_certificates.py::test_a_silent_authority_stops_nothing": ON_THE_CONTROLLER,
    "test_certificates.py::test_a_new_name_gets_a_new_certificate": ON_THE_CONTROLLER,
    "test_certificates.py::test_a_name_that_leads_elsewhere_is_refused_before_any_change": ON_THE_CONTROLLER,
    "test_broken.py::test_a_broken_release_moves_nothing": ITS_OWN,
    "test_broken.py::test_a_release_that_dies_after_the_switch_is_put_back": ITS_OWN,
    "test_broken.py::test_a_wrong_hash_is_refused": ITS_OWN,
    "test_broken.py::test_a_python_that_is_too_old_is_said_before_anything_happens": ON_THE_CONTROLLER,
    "test_broken.py::test_a_second_run_is_told_who_is_at_it": ITS_OWN,
    "test_broken.py::test_an_index_that_cannot_be_reached_is_said": ITS_OWN,
    "test_broken.py::test_a_machine_that_cannot_be_reached_stops_all": ITS_OWN,
    "test_broken.py::test_a_full_disk_is_said_and_nothing_moves": ITS_OWN,
    "test_broken.py::test_a_migration_runs_once_on_two_machines": ON_THE_CONTROLLER,
    "test_broken.py::test_after_all_failures_the_live_release_is_the_wanted_one": ON_THE_CONTROLLER,
    "test_environment.py::test_a_changed_secret_leaves_the_running_release_alone": ON_THE_CONTROLLER,
    "test_paths.py::test_two_applications_may_have_packages_of_one_name": ON_THE_CONTROLLER,
    "test_failed_release.py::test_a_broken_release_leaves_the_old_one_serving": ON_THE_CONTROLLER,
    "test_failed_release.py::test_the_next_good_deploy_is_an_unchanged_one": ON_THE_CONTROLLER,
    "test_interrupted.py::test_a_controller_that_dies_is_no_outage": ITS_OWN,
    "test_interrupted.py::test_a_lost_connection_is_no_outage": ITS_OWN,
    "test_interrupted.py::test_a_machine_that_goes_away_comes_back_serving": ITS_OWN,
    "test_kill_points.py::test_killed_anywhere_the_next_run_completes": ITS_OWN,
    "test_kill_points.py::test_killed_while_it_removes_the_next_run_removes": ITS_OWN,
    "test_kill_points.py::test_all_places_were_drilled": ON_THE_CONTROLLER,
    "test_monitoring.py::test_requests_are_counted": "only the application makes workers that count apart",
    "test_operations.py::test_where_two_releases_do_not_fit_the_old_one_ends_first": ITS_OWN,
    "test_operations.py::test_a_look_says_what_would_be_released_and_changes_nothing": ON_THE_CONTROLLER,
    "test_operations.py::test_a_second_run_waits_for_the_first": ITS_OWN,
    "test_operations.py::test_the_lease_of_a_run_that_died_is_taken_over": ITS_OWN,
    "test_operations.py::test_a_run_that_hangs_can_be_replaced": ITS_OWN,
    "test_operations.py::test_a_batch_that_fails_takes_the_one_before_along": ITS_OWN,
    "test_operations.py::test_the_way_back_can_be_named_and_undone": ON_THE_CONTROLLER,
    "test_operations.py::test_the_way_back_over_a_schema_is_asked_once_for_all_machines": ON_THE_CONTROLLER,
    "test_operations.py::test_an_application_is_taken_away_and_nothing_else": ON_THE_CONTROLLER,
    "test_operations.py::test_a_database_that_comes_late_is_no_crash_loop": ITS_OWN,
    "test_rotation.py::test_a_release_of_before_secrets_were_encrypted_can_be_gone_back_to": ITS_OWN,
    "test_rotation.py::test_a_database_password_is_replaced_under_load": ON_THE_CONTROLLER,
    "test_rotation.py::test_a_way_back_does_not_open_what_was_locked": ITS_OWN,
    "test_rotation.py::test_a_key_is_replaced_under_load": ON_THE_CONTROLLER,
    "test_releases.py::test_every_kind_of_release_drops_nothing": NAIVE,
    "test_releases.py::test_twenty_quick_switches_drop_nothing": NAIVE,
    "test_releases.py::test_a_restart_in_place_of_a_switch_is_noticed": ITS_OWN,
    "test_release.py::test_a_deploy_is_few_remote_tasks": ON_THE_CONTROLLER,
    "test_site.py::test_an_untrusted_authority_is_noticed": "it shows that the test beside it can fail",
}
