"""The lab's own certificate authority: Pebble's API answers over HTTPS, as a real ACME server does."""

from pathlib import Path

from lab.command import run
from lab.slots import Slot

DAYS = "365"
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def make(directory: Path, slot: Slot, names: list[str]) -> None:
    """Write ca.pem and, signed by it, server.pem and server.key."""
    directory.mkdir(mode=0o700)
    ca = ["-x509", "-days", DAYS, "-subj", f"/CN=Certificate authority of the lab {slot.bridge}"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    run(["openssl", "req", *ca, *EC, *usage, "-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.pem"])
    request = ["openssl", "req", "-subj", f"/CN={names[0]}", *EC, "-keyout", f"{directory}/server.key"]
    run([*request, "-out", f"{directory}/server.csr"])
    alternatives = ",".join([*(f"DNS:{name}" for name in names), f"IP:{slot.gateway}", f"IP:{slot.gateway6}"])
    extensions = directory / "server.ext"
    extensions.write_text(f"subjectAltName={alternatives}\nextendedKeyUsage=serverAuth\n")
    sign = ["openssl", "x509", "-req", "-days", DAYS, "-in", f"{directory}/server.csr", "-CAcreateserial"]
    sign += ["-CA", f"{directory}/ca.pem", "-CAkey", f"{directory}/ca.key", "-extfile", str(extensions)]
    run([*sign, "-out", f"{directory}/server.pem"])
