"""The faults on the machine of the scenario `tls`."""

from faults import ITS_OWN, ON_THE_CONTROLLER, RELOAD_NGINX, Fault, drop_in, edited

NGINX = "/etc/nginx/nginx.conf"
SITES = "/etc/nginx/sites-enabled"
HOOK = "/etc/letsencrypt/renewal-hooks/deploy/fastapi-metal"
KEYS = "/var/lib/fastapi-metal-certificates/.ssh/authorized_keys"
PROGRAMS = "/usr/local/lib/fastapi-metal-certificates/fastapi_metal/certificates"
SHARED_KEYS = "/etc/nginx/tls/.shared/*/privkey.pem"
AGAIN = "/run/systemd/system/certificates-again.service.d/zz-fault.conf"
# The service whose file it is reads it each time.
NOTHING = "true"

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
        "certificates brought to nobody",
        "tls/test_shared.py::test_a_renewal_reaches_both_without_a_controller",
        r"waited 30 s in vain: both show it",
        HOOK,
        "/fastapi_metal.certificates/d",
        NOTHING,
    ),
    Fault(
        "brought once and never again",
        "tls/test_shared.py::test_a_machine_that_was_away_gets_it_later",
        r"waited 40 s in vain: the second shows it",
        cause=drop_in(AGAIN, "ExecStart=", "ExecStart=/bin/true"),
        undo=f"rm {AGAIN}; systemctl daemon-reload; systemctl start certificates-again",
    ),
    edited(
        "challenges answered here",
        "tls/test_shared.py::test_the_other_machine_passes_on_questions_and_nothing_else",
        r"\(\[404\], False\) == \(\[200\], True\)",
        f"{SITES}/shop.conf",
        "s|proxy_pass http://198.*;|root /var/www/acme;|",
        RELOAD_NGINX,
        on="web2",
    ),
    edited(
        "key that runs what it likes",
        "tls/test_shared.py::test_whatever_is_asked_for_one_program_answers[nothing-id]",
        r"uid=[0-9]+\(certificates\)",
        KEYS,
        's|,command="[^"]*"||',
        NOTHING,
        on="web2",
    ),
    edited(
        "key that forwards ports",
        "tls/test_shared.py::test_no_port_is_forwarded",
        r"assert 0\n|Active connections",
        KEYS,
        "s|^restrict,||",
        NOTHING,
        on="web2",
    ),
    edited(
        "key that opens from anywhere",
        "tls/test_shared.py::test_the_key_opens_from_one_machine_alone",
        r"assert 1?[0-9] == 255",
        KEYS,
        's|from="[^"]*",||',
        NOTHING,
        on="web2",
    ),
    Fault(
        "SSH open to a third machine",
        "tls/test_shared.py::test_the_firewall_lets_in_that_machine_alone",
        r"assert 0 != 0",
        cause="nft insert rule inet fastapi_metal input tcp dport 22 accept",
        undo="systemctl reload host-firewall",
        on="web2",
    ),
    Fault(
        "keys of certificates open to others",
        "tls/test_shared.py::test_its_user_owns_nothing",
        r"assert 'PRIVATE KEY' not in",
        cause=f"chmod 644 {SHARED_KEYS}",
        undo=f"chmod 600 {SHARED_KEYS}",
        on="web2",
    ),
    edited(
        "answer of Nginx not heard",
        "tls/test_shared.py::test_what_nginx_would_not_read_is_taken_back",
        r"Nginx was told, and shows another one",
        f"{PROGRAMS}/receiving.py",
        "s/if done.returncode:/if False:/",
        NOTHING,
        on="web2",
    ),
    Fault(
        "sandbox with a door",
        "tls/test_shared.py::test_what_takes_certificates_is_shut_in",
        r"assert [3-9]\.[0-9] <= 3\.0",
        cause=drop_in(
            AGAIN, "ProtectSystem=no", "PrivateDevices=no", "SystemCallFilter=", "CapabilityBoundingSet=~"
        ),
        undo=f"rm {AGAIN}; systemctl daemon-reload",
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
    "test_tls.py::test_http3_is_spoken_where_it_is_switched_on": ITS_OWN,
    "test_tls.py::test_debian_12_says_that_it_knows_no_http3": ON_THE_CONTROLLER,
    "test_shared.py::test_names_that_lead_to_either_machine_have_one_certificate": ON_THE_CONTROLLER,
    "test_shared.py::test_files_cannot_be_copied": "as for the key that runs what it likes",
    "test_shared.py::test_what_no_visitor_would_believe_does_not_land": "the unit tests turn each red",
    "test_authorities.py::test_an_authority_that_is_away_at_first_gives_it_later": ITS_OWN,
    "test_authorities.py::test_a_customer_that_it_does_not_know_is_told": ITS_OWN,
    "test_authorities.py::test_a_domain_whose_owner_shuts_it_out_costs_no_attempt": "as its unit tests",
    "test_authorities.py::test_a_wildcard_comes_by_way_of_the_dns": ON_THE_CONTROLLER,
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
