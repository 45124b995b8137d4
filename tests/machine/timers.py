"""Timers that come after seconds instead of an hour, for as long as a test waits for them."""

from collections.abc import Iterator
from contextlib import contextmanager

from machinery import put
from testinfra.host import Host

FOLDER = "/run/systemd/system/certificates-again.timer.d"
LINES = (
    "OnActiveSec=",
    "OnUnitInactiveSec=",
    "OnActiveSec=2s",
    "OnUnitInactiveSec=5s",
    "RandomizedDelaySec=0",
)


@contextmanager
def soon(host: Host) -> Iterator[None]:
    """Let what asks again for certificates come every five seconds."""
    again = "systemctl daemon-reload && systemctl restart certificates-again.timer"
    host.check_output(f"mkdir -p {FOLDER}")
    put(host, f"{FOLDER}/soon.conf", "\n".join(["[Timer]", *LINES, "AccuracySec=1s"]))
    host.check_output(again)
    try:
        yield
    finally:
        host.check_output(f"rm {FOLDER}/soon.conf; {again}")
