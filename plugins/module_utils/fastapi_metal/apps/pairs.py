"""Looks at a certificate and its key that a user brings, before any machine is touched. Controller alone."""

import warnings
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

BEGIN = "-----BEGIN "


class Wrong(NamedTuple):
    """What is wrong with one key of `tls`, and the way out."""

    key: str
    wrong: str
    way_out: str


class WrongError(Exception):
    """Carries it."""

    def __init__(self, key: str, wrong: str, way_out: str) -> None:
        super().__init__(wrong)
        self.wrong = Wrong(key, wrong, way_out)


def text_of(key: str, value: str) -> str:
    """Return the text that a user gave, or that lies in the file which he named."""
    if BEGIN in value:
        return value.strip() + "\n"
    try:
        text = Path(value).read_text()
    except (OSError, ValueError) as error:
        raise WrongError(
            key,
            "is neither a text in PEM nor a file that can be read on the controller",
            f"use for example `{key}: \"{{{{ lookup('ansible.builtin.file', 'shop.pem') }}}}\"`",
        ) from error
    if text.startswith("$ANSIBLE_VAULT"):
        raise WrongError(
            key,
            "names a file that Ansible Vault has encrypted, which is not decrypted by its name alone",
            f"use `{key}: \"{{{{ lookup('ansible.builtin.file', '{value}') }}}}\"`",
        )
    return text.strip() + "\n"


def chain_of(key: str, text: str) -> list[x509.Certificate]:
    """Return the certificates of a text."""
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise WrongError(
            key,
            "holds no certificate in PEM",
            "give it the site's own certificate and below it the intermediate ones, each from "
            "`-----BEGIN CERTIFICATE-----` to `-----END CERTIFICATE-----`",
        ) from error


def public_key_of(text: str) -> bytes:
    """Return the public half of a private key."""
    try:
        private = serialization.load_pem_private_key(text.encode(), password=None)
    except TypeError as error:
        raise WrongError(
            "key",
            "has a passphrase, and no one types it when Nginx starts",
            "take it off with `openssl pkey -in shop.key -out plain.key`, and encrypt that with "
            "`ansible-vault encrypt` instead",
        ) from error
    except ValueError as error:
        raise WrongError(
            "key",
            "is no private key in PEM (its value is not shown)",
            "give it the text from `-----BEGIN PRIVATE KEY-----` on, or the path of its file",
        ) from error
    return _plain(private.public_key())


def _plain(public: object) -> bytes:
    encoded: bytes = public.public_bytes(  # type: ignore[attr-defined]  # each kind of key has it
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the host names that a certificate is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def is_for(name: str, names: Iterable[str]) -> bool:
    """Tell whether a certificate of these names is for a host; `*` is one label."""
    return any(name == each or (each[:2] == "*." and name.partition(".")[2] == each[2:]) for each in names)


def was_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Tell whether the key of an authority has signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


# Where systems keep the authorities that they trust, in one file.
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@cache
def known_authorities() -> tuple[x509.Certificate, ...]:
    """Return the authorities that this controller trusts; none where it keeps them elsewhere."""
    bundle = next((path for path in map(Path, BUNDLES) if path.is_file()), None)
    with warnings.catch_warnings():
        # Some roots of the world are older than the rules for their serial numbers.
        warnings.simplefilter("ignore")
        return tuple(x509.load_pem_x509_certificates(bundle.read_bytes())) if bundle else ()


def own_name(certificate: x509.Certificate) -> str:
    """Return who a certificate is of, as a reader knows it."""
    return certificate.subject.rfc4514_string() or ", ".join(names_of(certificate)) or "nobody"


def check_chain(chain: list[x509.Certificate], authorities: Iterable[x509.Certificate]) -> None:
    """Find a chain that no browser could follow: out of order, or without an intermediate."""
    for number, (below, above) in enumerate(pairwise(chain), 1):
        if not was_issued_by(below, above):
            raise WrongError(
                "certificate",
                f"holds a chain in which number {number + 1} ({own_name(above)}) has not signed number "
                f"{number} ({own_name(below)})",
                "put the site's own certificate first, and below each the one that signed it",
            )
    last = chain[-1]
    known = list(authorities)
    if not known and len(chain) > 1:
        return
    # An authority that another one has vouched for ends the chain as well.
    if any(one == each or was_issued_by(one, each) for one in chain for each in known):
        return
    if len(chain) == 1 and last.issuer == last.subject:
        raise WrongError(
            "certificate",
            "has signed itself, so no browser believes it",
            "use `mode: selfsigned`, which makes such a pair by itself, or one of an authority",
        )
    raise WrongError(
        "certificate",
        f"lacks the intermediate certificate of {last.issuer.rfc4514_string()}",
        "add it below the site's own (authorities send it as `chain.pem` or `ca-bundle`); if that is an "
        "authority of your own, name its certificate in `authority`",
    )


def check_time(chain: list[x509.Certificate], now: datetime) -> None:
    """Find a certificate that is not yet, or no longer, good."""
    for certificate in chain:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if ends <= now:
            raise WrongError(
                "certificate",
                f"of {own_name(certificate)} expired on {ends:%Y-%m-%d}",
                "renew it at its authority and put the new one here",
            )
        if begins > now:
            raise WrongError(
                "certificate",
                f"of {own_name(certificate)} is good from {begins:%Y-%m-%d} on only",
                "use the one before until then, or set this controller's clock",
            )


def wrong_pair(
    certificate: str, key: str, authority: str, domains: Iterable[str], now: datetime | None = None
) -> Wrong | None:
    """Return what is wrong with a certificate and its key, None if a browser would be content."""
    try:
        for name, value, example in (
            ("certificate", certificate, "{{ vault_shop_certificate }}"),
            ("key", key, "{{ vault_shop_key }}"),
        ):
            if not value.strip():
                return Wrong(
                    name, "is missing, and the mode is own", f'set for example `{name}: "{example}"`'
                )
        chain = chain_of("certificate", text_of("certificate", certificate))
        public = public_key_of(text_of("key", key))
        if _plain(chain[0].public_key()) != public:
            other = next((each for each in chain[1:] if _plain(each.public_key()) == public), None)
            more = "; the one that does is further down, put it first" if other else ""
            return Wrong(
                "key",
                f"does not belong to the certificate of {own_name(chain[0])}",
                f"use the key with which that certificate was asked for{more}",
            )
        names = names_of(chain[0])
        missing = [domain for domain in domains if not is_for(domain, names)]
        if missing:
            return Wrong(
                "certificate",
                f"is for {', '.join(names) or 'no host name'}, and not for {', '.join(missing)}",
                "ask the authority for one with all names of the site, or take the name out of `domain` and "
                "`aliases`",
            )
        check_time(chain, now or datetime.now(UTC))
        own = chain_of("authority", text_of("authority", authority)) if authority.strip() else []
        check_chain(chain, own or known_authorities())
    except WrongError as error:
        return error.wrong
    return None
