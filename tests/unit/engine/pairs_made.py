"""Certificates for tests, made in a millisecond each."""

import datetime
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_text(key: ec.EllipticCurvePrivateKey, passphrase: str = "") -> str:
    """Return a key as a user has it."""
    kind: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind)
    return encoded.decode()


@dataclass
class Made:
    """A certificate with its key."""

    name: str
    signed_by: "Made | None" = None
    domains: tuple[str, ...] = ()
    begins: datetime.datetime = NOW - DAY
    ends: datetime.datetime = NOW + 30 * DAY
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        issuer = self.signed_by or self
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer.name)]))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.begins)
            .not_valid_after(self.ends)
            .add_extension(x509.BasicConstraints(ca=not self.domains, path_length=None), critical=True)
        )
        if self.domains:
            names = x509.SubjectAlternativeName([x509.DNSName(domain) for domain in self.domains])
            builder = builder.add_extension(names, critical=False)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())

    @property
    def text(self) -> str:
        """The certificate as a user has it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()
