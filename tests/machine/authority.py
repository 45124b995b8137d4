"""An authority of a company's own, made by openssl, and what users do wrong with what they got from it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


def openssl(*words: str | Path) -> str:
    """Run the controller's openssl."""
    command = ["openssl", *(str(word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Pair:
    """A certificate with what a server sends below it, and its key, as texts."""

    certificate: str
    key: str


class Authority:
    """A root, an intermediate one that it has signed, and what that one signs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._sign("root", "", "CA:TRUE")
        self._sign("between", "root", "CA:TRUE")

    @property
    def root(self) -> Path:
        """The file that visitors trust."""
        return self.directory / "root.pem"

    @property
    def between(self) -> str:
        """The intermediate certificate."""
        return (self.directory / "between.pem").read_text()

    def _sign(self, name: str, by: str, constraint: str, names: str = "", days: int = 30) -> None:
        here = self.directory
        key, request = here / f"{name}.key", here / f"{name}.csr"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name} of the tests", "-out", request)
        more = f"basicConstraints=critical,{constraint}\n" + (f"subjectAltName={names}\n" if names else "")
        (here / f"{name}.ext").write_text(more)
        above: list[str | Path] = ["-CA", here / f"{by}.pem", "-CAkey", here / f"{by}.key"]
        signer = above if by else ["-signkey", key]
        openssl(
            "x509", "-req", "-in", request, *signer, "-set_serial", str(abs(hash((name, key))) % 10**12),
            "-days", str(days), "-extfile", here / f"{name}.ext", "-out", here / f"{name}.pem",
        )  # fmt: skip

    def issue(self, name: str, *domains: str, days: int = 30) -> Pair:
        """Return a certificate for these domains with its chain."""
        self._sign(name, "between", "CA:FALSE", ",".join(f"DNS:{domain}" for domain in domains), days)
        text = (self.directory / f"{name}.pem").read_text()
        return Pair(text + self.between, (self.directory / f"{name}.key").read_text())

    def with_passphrase(self, pair: Pair) -> str:
        """Return the pair's key, locked."""
        plain, locked = self.directory / "plain.key", self.directory / "locked.key"
        plain.write_text(pair.key)
        openssl("pkey", "-in", plain, "-aes256", "-passout", "pass:locked", "-out", locked)
        return locked.read_text()
