"""The faults on the machine of the scenario `apps`."""

from faults import RELOAD_NGINX, Fault, drop_in, edited

MIRROR_SITE = "/etc/nginx/sites-enabled/mirror.conf"
PREFIX_SITE = "/etc/nginx/sites-enabled/prefix.conf"
MIRROR_FAULT = "/run/systemd/system/mirror@.service.d/zz-fault.conf"
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
        r"'http://mirror\.lab\.test/request' == 'https://",
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
]
