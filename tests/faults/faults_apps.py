"""The faults on the machine of the scenario `apps`."""

from faults import ON_THE_CONTROLLER, RELOAD_NGINX, Fault, drop_in, edited

MIRROR_SITE = "/etc/nginx/sites-enabled/mirror.conf"
RIGHT_SITE = "/etc/nginx/sites-enabled/right.conf"
PREFIX_SITE = "/etc/nginx/sites-enabled/prefix.conf"
MIRROR_FAULT = "/run/systemd/system/mirror@.service.d/zz-fault.conf"
VALKEY_FAULT = "/run/systemd/system/valkey-server.service.d/zz-fault.conf"
# What runs keeps the environment that it was started with. systemd holds the socket meanwhile.
RESTART_MIRROR = "systemctl restart mirror@$(basename $(readlink /srv/mirror/current)).service"

FAULTS_APPS = [
    edited(
        "client not passed on",
        "apps/test_requests.py::test_the_application_sees_the_visitor",
        r"assert .* == '198\.18\.",
        MIRROR_SITE,
        "/X-Forwarded-For/d",
        RELOAD_NGINX,
    ),
    edited(
        "scheme not passed on",
        "apps/test_servers.py::test_every_server_shows_the_same_request[hypercorn]",
        r"assert 'http://mirr.*' == 'https://",
        MIRROR_SITE,
        "/X-Forwarded-Proto/d",
        RELOAD_NGINX,
    ),
    edited(
        "application beside its path",
        "apps/test_paths.py::test_an_application_can_live_under_a_path",
        r"assert \[404, 200, 404, 404\] == \[404, 404, 404, 404\]",
        PREFIX_SITE,
        "s#location ~ \\^/shop\\(/\\|\\$\\)#location ~ ^/#",
        RELOAD_NGINX,
    ),
    edited(
        "static files of the release before forgotten",
        "apps/test_paths.py::test_static_files_survive_a_switch_and_show_nothing_else",
        r"assert b'<html>.* == b'console",
        PREFIX_SITE,
        "s| /srv/prefix/previous/static.uri||",
        RELOAD_NGINX,
    ),
    edited(
        "stream collected",
        "apps/test_paths.py::test_events_arrive_when_they_are_sent",
        r"assert [0-9.]+ < 0\.8",
        PREFIX_SITE,
        "s|proxy_buffering on;|proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;|",
        RELOAD_NGINX,
    ),
    edited(
        "body limit of Nginx itself",
        "apps/test_paths.py::test_limits_are_those_of_the_application",
        r"\(413, False\) == \(200, True\)",
        PREFIX_SITE,
        "/client_max_body_size/d",
        RELOAD_NGINX,
    ),
    Fault(
        "a variable lost on its way",
        "apps/test_environment.py::test_values_and_secrets_arrive_as_they_are",
        r"assert not \{'VALUE_2'",
        cause=f"{drop_in(MIRROR_FAULT, 'UnsetEnvironment=VALUE_2')}\n{RESTART_MIRROR}",
        undo=f"rm {MIRROR_FAULT}; systemctl daemon-reload; {RESTART_MIRROR}",
    ),
    Fault(
        "a user with everybody's keys",
        "apps/test_cache.py::test_an_application_has_a_cache_of_its_own",
        r"AssertionError: \('GET', 'right:secret'\)",
        # Deployed by then, so that nothing loads the users anew.
        cause="cache-cli acl setuser left allkeys +@all",
        undo="cache-cli acl load",
    ),
    Fault(
        "socket open to all",
        "apps/test_cache.py::test_an_application_has_a_cache_of_its_own",
        r"assert 'Permission denied' in",
        cause="chmod 755 /run/valkey; chmod 777 /run/valkey/valkey.sock",
        undo="chmod 750 /run/valkey; chmod 770 /run/valkey/valkey.sock",
    ),
    Fault(
        "users readable for all",
        "apps/test_cache.py::test_the_address_is_a_secret",
        r"metal\.acl.* == ''",
        cause="chmod 444 /etc/valkey/fastapi-metal.acl",
        undo="chmod 400 /etc/valkey/fastapi-metal.acl",
    ),
    Fault(
        "full and lets nothing go",
        "apps/test_cache.py::test_a_full_cache_lets_go_of_the_old",
        r"OOM command not allowed",
        cause="cache-cli config set maxmemory-policy noeviction",
        undo="cache-cli config set maxmemory-policy allkeys-lru",
    ),
    Fault(
        "cache without Restart=",
        "apps/test_cache.py::test_a_killed_cache_comes_back_empty",
        r"waited 20 s in vain: the cache again",
        cause=drop_in(VALKEY_FAULT, "Restart=no"),
        undo=f"rm {VALKEY_FAULT}; systemctl daemon-reload; systemctl restart valkey-server",
    ),
    edited(
        "micro-cache switched off",
        "apps/test_cache.py::test_what_is_public_is_kept",
        r"assert \['', ''\] == \['MISS', 'HIT'\]",
        RIGHT_SITE,
        "s|proxy_cache .cache_zone_right;|proxy_cache off;|",
        RELOAD_NGINX,
    ),
    edited(
        "cookies not led past the micro-cache",
        "apps/test_cache.py::test_what_is_private_is_never_kept",
        r"Cookie",
        RIGHT_SITE,
        "s|\\$http_cookie||",
        RELOAD_NGINX,
    ),
    edited(
        "micro-cache without a lock",
        "apps/test_cache.py::test_many_who_ask_at_once_are_one_request",
        r"== \{1\}",
        RIGHT_SITE,
        "s|proxy_cache_lock on;|proxy_cache_lock off;|",
        RELOAD_NGINX,
    ),
    edited(
        "nothing shown while it is renewed",
        "apps/test_cache.py::test_what_is_too_old_is_shown_while_it_is_renewed",
        r"\) < 0\.9",
        RIGHT_SITE,
        "/proxy_cache_use_stale/d; /proxy_cache_background_update/d",
        RELOAD_NGINX,
    ),
    edited(
        "key without the release",
        "apps/test_cache.py::test_a_release_shows_nothing_of_the_one_before",
        r"assert \{'20",
        RIGHT_SITE,
        's|proxy_cache_key ".cache_release |proxy_cache_key "|',
        RELOAD_NGINX,
    ),
]

# Verify tests that no fault of the table turns red, and why.
NOT_CAUSED_APPS = {
    "test_cache.py::test_a_new_password_is_a_release_through_the_gate": ON_THE_CONTROLLER,
    "test_cache.py::test_another_server_comes_over_tls": ON_THE_CONTROLLER,
}
