"""The faults on the guarded machine of the scenario `security`."""

from faults import ITS_OWN, ON_THE_CONTROLLER, Fault, drop_in, edited

SSHD = "/etc/ssh/sshd_config.d/00-fastapi-metal.conf"
RULES = "/etc/fastapi-metal/firewall.nft"
READ_SSHD = "systemctl reload ssh; sleep 1"
LOAD_RULES = "systemctl reload host-firewall"
CATALOG_FAULT = "/run/systemd/system/catalog@.service.d/zz-fault.conf"
FIGURES_FAULT = "/run/systemd/system/machine-figures.service.d/zz-fault.conf"
SUDO_FAULT = "/etc/sudoers.d/zz-fault"
KEYS = "/home/alice/.ssh/authorized_keys"

TAKEN_FAULT = "/run/systemd/system/taken@.service.d/zz-fault.conf"
RESTART_TAKEN = "systemctl restart taken@$(basename $(readlink /srv/taken/current)).service"
INNER = "/etc/fastapi-metal/inner.nft"

FAULTS_SECURITY = [
    Fault(
        "firewall stopped",
        "security/test_ports.py::test_three_ports_are_open[IPv6]",
        r"8099",
        cause="systemctl stop host-firewall",
        undo="systemctl start host-firewall",
    ),
    Fault(
        "firewall stopped, seen over UDP",
        "security/test_ports.py::test_nothing_answers_over_udp",
        r"5353: 'open'",
        cause="systemctl stop host-firewall",
        undo="systemctl start host-firewall",
    ),
    edited(
        "ports inside open to applications",
        "security/test_taken.py::test_it_does_not_reach_the_ports_inside[inside]",
        r"Extra items in the left set:\s+E?\s+'open'|'open'",
        INNER,
        "/comment .inner./d",
        LOAD_RULES,
    ),
    edited(
        "metadata service open to a shell",
        "security/test_taken.py::test_it_does_not_reach_the_metadata_service[inside]",
        r"'(TimeoutError|open)'",
        RULES,
        "/comment .metadata./d",
        LOAD_RULES,
    ),
    Fault(
        "code that its application writes",
        "security/test_permissions.py::test_an_application_writes_its_state_alone[catalog]",
        r"/venv/bin",
        cause="chmod o+w $(readlink -f /srv/catalog/current)/venv/bin",
        undo="chmod o-w $(readlink -f /srv/catalog/current)/venv/bin",
    ),
    Fault(
        "application whose system can be written",
        "security/test_permissions.py::test_in_its_unit_it_writes_no_more",
        r"/opt/open",
        cause="mkdir -m 777 /opt/open; " + drop_in(TAKEN_FAULT, "ProtectSystem=no") + f"\n{RESTART_TAKEN}",
        undo=f"rmdir /opt/open; rm {TAKEN_FAULT}; systemctl daemon-reload; {RESTART_TAKEN}",
    ),
    Fault(
        "state open to others",
        "security/test_permissions.py::test_another_application_reads_none_of_it[inside]",
        r"/var/lib/catalog/note",
        cause="chmod 755 /var/lib/catalog",
        undo="chmod 750 /var/lib/catalog",
    ),
    Fault(
        "secrets open to others",
        "security/test_taken.py::test_it_reads_no_credential_of_others[outside]",
        r"/opt/copied",
        cause="cat /run/credentials/catalog@*/cache_url > /opt/copied; chmod 644 /opt/copied",
        undo="rm /opt/copied",
    ),
    Fault(
        "processes that outlive their unit",
        "security/test_taken.py::test_it_keeps_no_process_after_its_unit",
        r"sleep 4[0-9]{4}",
        cause=drop_in(TAKEN_FAULT, "KillMode=process"),
        undo=f"rm {TAKEN_FAULT}; systemctl daemon-reload; pkill -KILL -u taken sleep; true",
    ),
    Fault(
        "sandbox without its credentials",
        "security/test_taken.py::test_inside_its_unit_it_reads_its_own",
        r"assert \[\] != \[\]",
        cause=drop_in(TAKEN_FAULT, "InaccessiblePaths=-/run/credentials") + f"\n{RESTART_TAKEN}",
        undo=f"rm {TAKEN_FAULT}; systemctl daemon-reload; {RESTART_TAKEN}",
    ),
    Fault(
        "jobs for applications",
        "security/test_taken.py::test_outside_its_unit_it_leaves_no_job",
        r"'cron'",
        cause="echo taken > /etc/cron.allow",
        # Whoever takes cron away takes it along.
        undo="rm -f /etc/cron.allow",
    ),
    Fault(
        "database that believes a name",
        "security/test_taken.py::test_database_and_cache_know_it_by_name",
        r"assert 0 != 0",
        cause="cp -a /etc/postgresql/*/main/pg_hba.conf /root/pg_hba-before; "
        "sed -i '1i local all all trust' /etc/postgresql/*/main/pg_hba.conf; systemctl reload postgresql",
        undo="cp -a /root/pg_hba-before $(ls /etc/postgresql/*/main/pg_hba.conf); rm /root/pg_hba-before; "
        "systemctl reload postgresql",
    ),
    edited(
        "another root",
        "security/test_lynis.py::test_lynis_warns_of_nothing",
        r"AUTH-9204",
        "/etc/passwd",
        "1s|.*|&\\ntoor:x:0:0::/root:/bin/bash|",
        "true",
    ),
    edited(
        "no limit for who knocks",
        "security/test_ssh.py::test_who_knocks_too_often_waits",
        r"assert 1[0-9]{2} <= 80",
        RULES,
        "/ssh, too many/d",
        LOAD_RULES,
    ),
    edited(
        "metadata service open to all",
        "security/test_ports.py::test_the_metadata_service_is_roots",
        r"assert (0|124) == 1",
        RULES,
        "/comment .metadata./d",
        LOAD_RULES,
    ),
    edited(
        "an algorithm of yesterday",
        "security/test_ssh.py::test_ssh_audit_finds_nothing",
        r"ecdh-sha2-nistp256",
        SSHD,
        "s|^KexAlgorithms |&ecdh-sha2-nistp256,|",
        READ_SSHD,
    ),
    edited(
        "passwords taken",
        "security/test_ssh.py::test_a_password_lets_nobody_in",
        r"Permission denied \(publickey,password\)",
        SSHD,
        "s|^PasswordAuthentication no|PasswordAuthentication yes|",
        READ_SSHD,
    ),
    edited(
        "root let in",
        "security/test_ssh.py::test_root_does_not_log_in",
        r"assert 0 == 255",
        SSHD,
        "s|^PermitRootLogin no|PermitRootLogin yes|",
        READ_SSHD,
    ),
    edited(
        "banner gone",
        "security/test_machine.py::test_the_banner_tells_nothing",
        r"For authorised use only",
        SSHD,
        "/^Banner/d",
        READ_SSHD,
    ),
    Fault(
        "an administrator without her key",
        "security/test_users.py::test_administrators_log_in_and_become_root",
        r"Permission denied",
        cause=f"mv {KEYS} /root/alice-keys",
        undo=f"mv /root/alice-keys {KEYS}",
    ),
    Fault(
        "sudo that gives everything",
        "security/test_users.py::test_the_others_may_what_is_listed",
        r"assert 0 != 0",
        cause=f"echo 'bob ALL=(ALL) NOPASSWD: ALL' > {SUDO_FAULT}; chmod 440 {SUDO_FAULT}",
        undo=f"rm {SUDO_FAULT}",
    ),
    Fault(
        "redirects taken",
        "security/test_machine.py::test_the_kernel_has_the_settings_that_it_takes",
        r"accept_redirects': '1'",
        cause="echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects",
        undo="echo 0 > /proc/sys/net/ipv4/conf/all/accept_redirects",
    ),
    edited(
        "core dumps of logins",
        "security/test_machine.py::test_nobody_leaves_a_core_dump",
        r"assert 'unlimited' == '0'",
        "/etc/security/limits.d/60-fastapi-metal.conf",
        "s|core 0|core unlimited|",
        "true",
    ),
    Fault(
        "application not shut in",
        "security/test_units.py::test_the_application_is_shut_in",
        r"assert [0-9.]+ <= 1\.5",
        cause=drop_in(CATALOG_FAULT, "ProtectSystem=no", "PrivateDevices=no", "NoNewPrivileges=no"),
        undo=f"rm {CATALOG_FAULT}; systemctl daemon-reload",
    ),
    Fault(
        "figures not shut in",
        "security/test_units.py::test_every_unit_that_we_install_is_shut_in",
        r"machine-figures\.service",
        cause=drop_in(FIGURES_FAULT, "CapabilityBoundingSet=~", "ProtectSystem=no", "SystemCallFilter="),
        undo=f"rm {FIGURES_FAULT}; systemctl daemon-reload",
    ),
]

# Verify tests that no fault of the table turns red, and why.
NOT_CAUSED_SECURITY = {
    "test_lynis.py::test_every_suggestion_is_answered": "the answers are in the documentation",
    "test_lockout.py::test_what_can_be_known_is_refused": ON_THE_CONTROLLER,
    "test_lockout.py::test_one_machine_that_is_refused_stops_all": ON_THE_CONTROLLER,
    "test_lockout.py::test_what_cannot_be_known_is_put_back": ITS_OWN,
    "test_lockout.py::test_a_controller_that_dies_locks_nobody_out": ITS_OWN,
    "test_lockout.py::test_a_machine_that_is_started_again_comes_up_with_what_was_confirmed": ITS_OWN,
    "test_ports.py::test_private_ports_are_open_for_those_who_need_them": "the rule is on the other machine",
    "test_ports.py::test_other_tables_are_left_alone": ITS_OWN,
    "test_users.py::test_who_is_not_named_is_left_alone": ON_THE_CONTROLLER,
}
