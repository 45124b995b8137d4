"""What a lab offers to its machines on the bridge: DNS, an ACME server, an apt repository."""

import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

from lab import cgroup, launch, paths
from lab.errors import LabError
from lab.state import Lab
from lab.supervise import write

DOMAIN = "lab.test"
ACME_NAME = f"acme.{DOMAIN}"
APT_NAME = f"apt.{DOMAIN}"
ACME_PORT = 14000
ACME_ADMIN_PORT = 15000
APT_PORT = 8080
VENDOR = "https://apt.grafana.com"
VENDOR_RELEASE = "https://apt.grafana.com/dists/stable/InRelease"
VENDOR_KEY = "https://apt.grafana.com/gpg.key"


def hosts_file(lab: Lab) -> str:
    """Return the lab's names, in the form of /etc/hosts."""
    lines = [f"{lab.slot.gateway} {ACME_NAME} {APT_NAME}"]
    for machine in lab.machines:
        names = " ".join([f"{machine.name}.{DOMAIN}", *machine.names])
        lines += [f"{lab.address(machine.name)} {names}", f"{lab.address6(machine.name)} {names}"]
    return "".join(f"{line}\n" for line in lines)


def dnsmasq(lab: Lab) -> list[str]:
    """Return the command of the lab's DNS server; names it does not know go to the host's own server."""
    return [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--pid-file=",
        "--log-facility=-",
        "--no-hosts",
        "--resolv-file=/etc/resolv.conf",
        f"--listen-address={lab.slot.gateway}",
        "--bind-interfaces",
        f"--addn-hosts={lab.directory}/hosts",
        f"--local=/{DOMAIN}/",
    ]


def pebble(lab: Lab) -> list[str]:
    """Return the command of the lab's ACME server."""
    environment = ["PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0"]
    config = ["-config", f"{lab.directory}/pebble.json", "-dnsserver", f"{lab.slot.gateway}:53"]
    return ["env", *environment, "pebble", *config]


def pebble_config(lab: Lab) -> str:
    """Return Pebble's configuration."""
    settings = {
        "listenAddress": f"{lab.slot.gateway}:{ACME_PORT}",
        "managementListenAddress": f"{lab.slot.gateway}:{ACME_ADMIN_PORT}",
        "certificate": f"{lab.directory}/ca/server.pem",
        "privateKey": f"{lab.directory}/ca/server.key",
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
    }
    return json.dumps({"pebble": settings}, indent=2) + "\n"


def http_server(lab: Lab) -> list[str]:
    """Return the command that serves the apt repository of the stand-in."""
    options = [str(APT_PORT), "--bind", lab.slot.gateway, "--directory", f"{lab.directory}/apt"]
    return [sys.executable, "-m", "http.server", *options]


def start(lab: Lab, name: str, argv: list[str]) -> None:
    """Start one service in the lab's cgroup."""
    log = lab.directory / f"{name}.log"
    _STARTED[name] = launch.start(argv, f"service-{name}", lab.slot.bridge, lab.cgroups, log)


def stop(lab: Lab, name: str) -> None:
    """End one service at once."""
    cgroup.kill(launch.cgroups(lab.slot.bridge, lab.cgroups, f"service-{name}"))


def start_acme(lab: Lab) -> None:
    """Start the ACME server and keep its root certificate, a new one each time."""
    stop(lab, "pebble")
    start(lab, "pebble", pebble(lab))
    fetch_acme_root(lab)


_STARTED: dict[str, subprocess.Popen[bytes]] = {}


def check(lab: Lab) -> None:
    """Fail with its messages if a service that was started has ended."""
    for name, process in _STARTED.items():
        if process.poll() is not None:
            last = "\n".join((lab.directory / f"{name}.log").read_text(errors="replace").splitlines()[-5:])
            raise LabError(f"the lab's {name} ended with code {process.returncode}: {last}")


def acme_directory(lab: Lab) -> str:
    """Return the URL that an ACME client is given."""
    return f"https://{ACME_NAME}:{ACME_PORT}/dir"


def fetch_acme_root(lab: Lab, seconds: float = 15) -> None:
    """Write the root that issued certificates lead to; Pebble makes a new one at each start."""
    context = ssl.create_default_context(cafile=f"{lab.directory}/ca/ca.pem")
    url = f"https://{lab.slot.gateway}:{ACME_ADMIN_PORT}/roots/0"
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    end = time.monotonic() + seconds
    while True:
        check(lab)
        try:
            with direct.open(url, timeout=2) as answer:
                content = answer.read().decode()
        except (OSError, urllib.error.URLError) as error:
            if time.monotonic() > end:
                raise LabError(f"Pebble does not answer at {url}: {error}") from None
            time.sleep(0.05)
        else:
            write(lab.directory / "acme-root.pem", content)
            return


def vendor_answers() -> bool:
    """Tell whether Grafana's own repository can be reached from here."""
    try:
        with urllib.request.urlopen(VENDOR_RELEASE, timeout=3) as answer:
            return bool(answer.status == 200 and answer.read(64).startswith(b"-----BEGIN PGP SIGNED MESSAGE"))
    except (OSError, urllib.error.URLError):
        return False


def prepare_apt(lab: Lab) -> str:
    """Choose where the machines get Grafana from, and return a sentence about it."""
    if vendor_answers():
        key = lab.directory / "grafana.asc"
        with urllib.request.urlopen(VENDOR_KEY, timeout=10) as answer:
            key.write_bytes(answer.read())
        lab.apt = {"url": VENDOR, "key_file": str(key), "standin": False}
        return "Grafana comes from its vendor's repository"
    argv = [sys.executable, "-m", "grafana_standin", "build", f"{lab.directory}/apt"]
    done = subprocess.run(argv, cwd=paths.SHARED, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"building the stand-in for Grafana failed: {done.stderr.strip()}")
    lab.apt = {
        "url": f"http://{APT_NAME}:{APT_PORT}",
        "key_file": f"{lab.directory}/apt/key.asc",
        "standin": True,
    }
    return "Grafana's repository does not answer from here: a stand-in package takes its place"
