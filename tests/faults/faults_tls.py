"""The faults on the machine of the scenario `tls`."""

from faults import ITS_OWN, ON_THE_CONTROLLER, RELOAD_NGINX, Fault, edited

NGINX = "/etc/nginx/nginx.conf"
SITES = "/etc/nginx/sites-enabled"

FAULTS_TLS = [
    edited(
        "header forgotten",
        "tls/test_tls.py::test_the_documentation_of_an_api_works_under_the_headers",
        r"KeyError: 'x-content-type-options'",
        f"{SITES}/shop.conf",
        "/add_header X-Content-Type-Options/d",
        RELOAD_NGINX,
    ),
    edited(
        "strangers served in plain",
        "tls/test_tls.py::test_whoever_goes_round_the_balancer_gets_no_answer",
        r"assert b'HTTP/1\.1 20",
        f"{SITES}/behind.conf",
        's|default stranger;|default "";|',
        RELOAD_NGINX,
    ),
    Fault(
        "key open to others",
        "tls/test_tls.py::test_a_closed_network_has_a_certificate_of_its_own",
        r"assert 420 == 384",
        cause="chmod 644 /etc/nginx/tls/own/privkey.pem",
        undo="chmod 600 /etc/nginx/tls/own/privkey.pem",
    ),
    edited(
        "slow clients for ever",
        "tls/test_hostile.py::test_who_dribbles_is_let_go",
        r"assert not \{<ssl\.SSLSocket",
        NGINX,
        "s/client_(header|body)_timeout .*;/client_\\1_timeout 600s;/",
        RELOAD_NGINX,
    ),
    edited(
        "bodies of any size",
        "tls/test_hostile.py::test_what_is_too_large_is_refused[length]",
        r"assert \[\] == \[413\]",
        f"{SITES}/mirror.conf",
        "s/client_max_body_size .*;/client_max_body_size 0;/",
        RELOAD_NGINX,
    ),
    edited(
        "metrics under another spelling",
        "tls/test_hostile.py::test_no_spelling_of_a_path_leads_to_the_metrics",
        r"AssertionError: \('/metrics'",
        f"{SITES}/mirror.conf",
        "/location = .metrics \\{/,/\\}/d",
        RELOAD_NGINX,
    ),
    edited(
        "no limit for one client",
        "tls/test_hostile.py::test_a_client_that_sends_too_much_is_told",
        r"assert 0 >= 20",
        f"{SITES}/mirror.conf",
        "/limit_req zone/d",
        RELOAD_NGINX,
    ),
]

# Verify tests that no fault of the table turns red, and why.
NOT_CAUSED_TLS = {
    "test_tls.py::test_a_pair_of_the_users_own_is_served": ON_THE_CONTROLLER,
    "test_tls.py::test_a_newer_pair_takes_the_place": ON_THE_CONTROLLER,
    "test_tls.py::test_what_no_browser_would_believe_changes_nothing": ON_THE_CONTROLLER,
    "test_tls.py::test_behind_a_balancer_the_application_sees_the_visitor": "it is on the other machine",
    "test_tls.py::test_others_grade_it_well": "minutes; what it grades is seen red by its own figures",
    "test_tls.py::test_a_renewal_is_noticed_by_nobody": "caused in `default`",
    "test_hostile.py::test_idle_connections_keep_nobody_out": ITS_OWN,
    "test_hostile.py::test_no_path_leads_out_of_the_files": ON_THE_CONTROLLER,
    "test_hostile.py::test_no_request_hides_in_another": ITS_OWN,
    "test_hostile.py::test_another_host_is_nobody_here": "caused in `default`",
    "test_secrets.py::test_nothing_is_printed": ON_THE_CONTROLLER,
    "test_secrets.py::test_nothing_is_in_a_command_line_or_an_environment": ON_THE_CONTROLLER,
    "test_secrets.py::test_the_application_has_its_secret": ON_THE_CONTROLLER,
    "test_secrets.py::test_files_that_hold_one_are_of_root_alone": ON_THE_CONTROLLER,
    "test_secrets.py::test_nothing_is_said_in_the_journal": ON_THE_CONTROLLER,
    "test_secrets.py::test_nothing_is_shown_to_prometheus": ON_THE_CONTROLLER,
}
