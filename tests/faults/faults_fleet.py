"""The faults that the tests of dashboards, of the fleet at a glance and of logs must see."""

from faults import ITS_OWN, LIVE, ON_THE_CONTROLLER, TEMPLATE_FAULT, Fault, drop_in

FAULTS_FLEET = [
    Fault(
        "exporter of Nginx stopped",
        "test_dashboards.py::test_every_query_of_every_panel_has_data",
        r"assert not \[\('Nginx and TLS'",
        cause="systemctl stop prometheus-nginx-exporter",
        undo="systemctl start prometheus-nginx-exporter",
    ),
    Fault(
        "Prometheus stopped",
        "test_status.py::test_the_fleet_is_shown_and_drawn",
        r"a figure is missing",
        cause="systemctl stop prometheus",
        # It reads its log first, and answers 503 meanwhile.
        undo="systemctl start prometheus; curl -fsS -o /dev/null --retry 60 --retry-delay 1 "
        "--retry-connrefused http://127.0.0.1:9090/-/ready",
    ),
    Fault(
        "journal that forgets",
        "test_logs.py::test_a_request_is_found_by_its_id",
        r"assert \[\]",
        cause="mkdir -p /run/systemd/journald.conf.d; "
        "printf '[Journal]\\nStorage=none\\n' > /run/systemd/journald.conf.d/zz-fault.conf; "
        "systemctl restart systemd-journald",
        undo="rm /run/systemd/journald.conf.d/zz-fault.conf; systemctl restart systemd-journald",
    ),
    Fault(
        "rate limit for the application",
        "test_logs.py::test_no_line_is_lost_under_load",
        r"assert \d+ == 100000",
        cause=drop_in(TEMPLATE_FAULT, "LogRateLimitIntervalSec=30s", "LogRateLimitBurst=1000")
        + f"\n{LIVE}; systemctl restart $unit",
        undo=f"rm {TEMPLATE_FAULT}; systemctl daemon-reload; {LIVE}; systemctl restart $unit",
    ),
]

NOT_CAUSED_FLEET = {
    "test_central_logs.py::test_what_one_machine_says_is_on_the_central_one": ITS_OWN,
    "test_central_logs.py::test_a_stranger_sends_nothing": ITS_OWN,
    "test_central_logs.py::test_the_inner_port_is_closed_to_the_network": ON_THE_CONTROLLER,
    "test_central_logs.py::test_sending_again_changes_nothing": ON_THE_CONTROLLER,
    "test_dashboards.py::test_a_dashboard_that_would_not_load_changes_nothing": ON_THE_CONTROLLER,
    "test_dashboards.py::test_packages_without_a_key_are_refused_first": ON_THE_CONTROLLER,
    "test_dashboards.py::test_a_new_password_counts_while_somebody_looks": ITS_OWN,
    "test_logs.py::test_no_more_lines_are_shown_than_asked_for": ON_THE_CONTROLLER,
    "test_logs.py::test_what_cannot_be_asked_is_refused": ON_THE_CONTROLLER,
    "test_status.py::test_the_state_is_shown_without_prometheus": ITS_OWN,
    "test_status.py::test_what_cannot_be_shown_is_refused": ON_THE_CONTROLLER,
}
