"""Bridge, addresses and NAT of one lab."""

import json
from pathlib import Path

from lab import paths
from lab.command import run
from lab.slots import Slot

FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
# Holds what ip_forward was before the first lab; gone with the last one.
FORWARD_BEFORE = paths.RUN / "ip_forward"


def interfaces() -> list[str]:
    """Return the names of the host's interfaces."""
    return [path.name for path in Path("/sys/class/net").iterdir()]


def networks() -> list[str]:
    """Return every address and route of the host."""
    found = []
    for link in json.loads(run(["ip", "-json", "address"])):
        found += [
            f"{entry['local']}/{entry['prefixlen']}"
            for entry in link.get("addr_info", [])
            if "local" in entry
        ]
    for family in ("-4", "-6"):
        routes = json.loads(run(["ip", "-json", family, "route", "show", "table", "all"]) or "[]")
        found += [
            route["dst"] for route in routes if route["dst"] != "default" and route.get("type") != "multicast"
        ]
    return found


def uplink_mtu() -> int:
    """Return the MTU of the default route's device; larger packets from a machine would be lost."""
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "default"]) or "[]")
    if not routes:
        return 1500
    return int(Path(f"/sys/class/net/{routes[0]['dev']}/mtu").read_text())


def up(slot: Slot, mtu: int) -> None:
    """Make the bridge and let its machines out."""
    run(["ip", "link", "add", slot.bridge, "type", "bridge"])
    # Set apart from `add`: only then does it stay when machines are plugged in.
    run(["ip", "link", "set", slot.bridge, "mtu", str(mtu)])
    run(["ip", "address", "add", f"{slot.gateway}/24", "dev", slot.bridge])
    run(["ip", "-6", "address", "add", f"{slot.gateway6}/64", "dev", slot.bridge, "nodad"])
    run(["ip", "link", "set", slot.bridge, "up"])
    rules = f"""
        table ip {slot.bridge} {{
            chain postrouting {{
                type nat hook postrouting priority srcnat;
                ip saddr {slot.subnet} oifname != "{slot.bridge}" masquerade
            }}
        }}"""
    run(["nft", "-f", "-"], text_in=rules)
    if FORWARD.read_text().strip() != "1":
        FORWARD_BEFORE.write_text(FORWARD.read_text())
        FORWARD.write_text("1")


def down(slot: Slot) -> None:
    """Remove the cables, the bridge and the table, as far as they are there."""
    # Connections that nobody ends hold a machine's cable for minutes: the next lab would find its name taken.
    for port in Path(f"/sys/class/net/{slot.bridge}/brif").glob("*"):
        run(["ip", "link", "delete", port.name], check=False)
    if slot.bridge in interfaces():
        run(["ip", "link", "delete", slot.bridge])
    if f"table ip {slot.bridge}" in run(["nft", "list", "tables"]).splitlines():
        run(["nft", "delete", "table", "ip", slot.bridge])
    if FORWARD_BEFORE.exists() and not any(name.startswith("fmlab") for name in interfaces()):
        FORWARD.write_text(FORWARD_BEFORE.read_text())
        FORWARD_BEFORE.unlink()
