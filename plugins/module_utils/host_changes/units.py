"""The units that put a change back: one by a timer, and at boot whatever was not confirmed by then."""

from __future__ import annotations

DIRECTORY = "/var/lib/fastapi-metal/undo"
SCRIPT = "/usr/local/lib/fastapi-metal/undo-change"
SERVICE = "/etc/systemd/system/undo-change@.service"

# Argument: the change. A directory is renamed before its script runs, so that a confirmation comes before or
# too late, and a power cut in between leaves what the next boot goes on with. Each script can be run twice.
SCRIPT_TEXT = f"""\
#!/bin/sh
# Managed by fastapi-metal: puts a change back that no new connection has confirmed.
set -u
cd {DIRECTORY} || exit 0
mv -T "$1" "$1.undone" 2> /dev/null
[ -d "$1.undone" ] || exit 0
if ! sh -e "$1.undone/undo"; then
    echo "the change '$1' could not be put back as a whole; it is tried again at boot" >&2
    exit 1
fi
rm -rf "$1.undone"
echo "the change '$1' was not confirmed by a new connection: what was there before is back"
"""

# In front of everything that the files are for: a machine that is started again has what was confirmed.
SERVICE_TEXT = f"""\
# Managed by fastapi-metal.
[Unit]
Description=Put back the change %i, which no new connection has confirmed
DefaultDependencies=no
RequiresMountsFor=/etc /usr/local /var/lib /home /root
After=local-fs.target
Before=sysinit.target network-pre.target ssh.service host-firewall.service
Conflicts=shutdown.target
Before=shutdown.target
ConditionPathExists=|{DIRECTORY}/%i
ConditionPathExists=|{DIRECTORY}/%i.undone

[Service]
Type=oneshot
TimeoutStartSec=60
ExecStart={SCRIPT} %i
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID
NoNewPrivileges=yes
PrivateDevices=yes
PrivateNetwork=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=sysinit.target
"""

FILES = {SCRIPT: (SCRIPT_TEXT, "0755"), SERVICE: (SERVICE_TEXT, "0644")}
