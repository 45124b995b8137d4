"""A session with PostgreSQL, in the standard library alone: a web server has no client installed.

It speaks the simple query protocol, and logs in as the peer of a unix socket, with a password or by SCRAM,
over TLS where the address asks for it.
"""

import base64
import contextlib
import hashlib
import hmac
import os
import pwd
import secrets
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from .interface import DatabaseError

PROTOCOL = 196608
TLS_REQUEST = 80877103
TIMEOUT = 10.0
# These never verify; `verify-ca` and `verify-full` do. libpq means the same by them.
UNVERIFIED = {"allow", "prefer", "require"}


@dataclass(frozen=True)
class Address:
    """Where a database is and who asks for it, out of an URL as libpq reads it."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    options: dict[str, str] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        """Whether it is reached through a socket of this machine."""
        return self.host.startswith("/")


def address(url: str, user: str, password: str) -> Address:
    """Return the address in an URL; what it leaves out is as with libpq, but for user and password."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    # Several hosts are tried by libpq in their order; the lock must be at one place: the first one.
    host = (options.get("host") or unquote(parts.netloc.rpartition("@")[2]) or "/run/postgresql").split(",")[
        0
    ]
    name, _, port = host.rpartition(":") if not host.startswith("/") else (host, "", "")
    if not (name and port.isdigit()):
        name, port = host, ""
    login = options.get("user") or unquote(parts.username or "") or user
    return Address(
        host=name.strip("[]"),
        port=int(port or options.get("port", "5432").split(",")[0]),
        user=login,
        database=unquote(parts.path.strip("/")) or options.get("dbname") or login,
        password=unquote(parts.password or "") or options.get("password") or password,
        options=options,
    )


@contextlib.contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Be this user for the server on a local socket, which asks the kernel who it talks to."""
    entry = pwd.getpwnam(user)
    if os.geteuid() == entry.pw_uid:
        yield
        return
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def plug(where: Address, user: str) -> socket.socket:
    """Return a connection to the server, encrypted where the address asks for it."""
    if where.local:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT)
        with acting_as(user):
            connection.connect(f"{where.host}/.s.PGSQL.{where.port}")
        return connection
    connection = socket.create_connection((where.host, where.port), TIMEOUT)
    mode = where.options.get("sslmode", "prefer")
    if mode == "disable":
        return connection
    connection.sendall(struct.pack("!ii", 8, TLS_REQUEST))
    if connection.recv(1) != b"S":
        if mode in {"allow", "prefer"}:
            return connection
        raise DatabaseError(f"the server does not speak TLS, and its address says sslmode={mode}")
    root = where.options.get("sslrootcert")
    context = ssl.create_default_context(cafile=root if root != "system" else None)
    context.check_hostname = mode == "verify-full"
    if mode in UNVERIFIED:
        context.verify_mode = ssl.CERT_NONE
    if "sslcert" in where.options:
        context.load_cert_chain(where.options["sslcert"], where.options.get("sslkey"))
    return context.wrap_socket(connection, server_hostname=where.host)


def fields(body: bytes) -> dict[str, str]:
    """Return what an error says, by the letter of each part."""
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


class Session:
    """One session. The server ends it, and lets go of its locks, when this process ends."""

    def __init__(self, where: Address, user: str, name: str) -> None:
        self._where = where
        try:
            self._socket = plug(where, user)
            self._file = self._socket.makefile("rb")
            self._log_in(name)
            # A login may act as another role from the start. This session sees, and may end, what is its own.
            self.rows("SET ROLE NONE")
        except OSError as error:
            raise DatabaseError(f"no answer from {where.host}:{where.port} ({error})") from error

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def _receive(self) -> tuple[bytes, bytes]:
        head = self._file.read(5)
        if len(head) < 5:
            raise DatabaseError("the server closed the connection")
        kind, length = struct.unpack("!ci", head)
        body = self._file.read(length - 4)
        if kind == b"E":
            said = fields(body)
            raise DatabaseError(said.get("M", "an error without words"), said.get("C", ""))
        return kind, body

    def _log_in(self, name: str) -> None:
        words = {"user": self._where.user, "database": self._where.database, "application_name": name[:63]}
        body = struct.pack("!i", PROTOCOL)
        body += b"".join(f"{key}\0{value}\0".encode() for key, value in words.items()) + b"\0"
        self._send(b"", body)
        while True:
            kind, body = self._receive()
            if kind == b"Z":
                return
            if kind == b"R":
                self._authenticate(struct.unpack("!i", body[:4])[0], body[4:])

    def _authenticate(self, method: int, rest: bytes) -> None:
        user, password = self._where.user.encode(), self._where.password.encode()
        if method == 0:
            return
        if not password:
            raise DatabaseError("the server asks for a password, and there is no secret `database_password`")
        if method == 3:
            self._send(b"p", password + b"\0")
        elif method == 5:
            inner = hashlib.md5(password + user, usedforsecurity=False).hexdigest().encode()
            outer = hashlib.md5(inner + rest[:4], usedforsecurity=False).hexdigest().encode()
            self._send(b"p", b"md5" + outer + b"\0")
        elif method == 10:
            self._scram(password)
        else:
            raise DatabaseError(
                f"the server asks for a way to log in (number {method}) that is not known here"
            )

    def _scram(self, password: bytes) -> None:
        """Prove that the password is known, and let the server prove it too (RFC 5802)."""
        nonce = base64.b64encode(secrets.token_bytes(18)).decode()
        bare = f"n=,r={nonce}"
        first = f"n,,{bare}".encode()
        self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        challenge = self._receive()[1][4:].decode()
        asked = dict(part.split("=", 1) for part in challenge.split(","))
        if not asked["r"].startswith(nonce):
            raise DatabaseError("the server answered somebody else's question")
        salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(asked["s"]), int(asked["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={asked['r']}"
        signed = f"{bare},{challenge},{final}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        self._send(b"p", f"{final},p={proof}".encode())
        answer = dict(part.split("=", 1) for part in self._receive()[1][4:].decode().split(","))
        expected = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        if not hmac.compare_digest(base64.b64decode(answer["v"]), expected):
            raise DatabaseError("the server does not know the password itself")

    def rows(self, query: str) -> list[list[str]]:
        """Return what a query finds, every value as a text; none for NULL is the empty text."""
        try:
            self._send(b"Q", query.encode() + b"\0")
            found, failed = [], None
            while True:
                try:
                    kind, body = self._receive()
                except DatabaseError as error:
                    if "closed the connection" in str(error):
                        raise
                    # The server says that it is ready again after an error.
                    failed = error
                    continue
                if kind == b"D":
                    found.append(list(values(body)))
                elif kind == b"Z":
                    break
        except OSError as error:
            raise DatabaseError(f"the session ended ({error})") from error
        if failed:
            raise failed
        return found

    def close(self) -> None:
        """End the session, and with it everything that it holds."""
        with contextlib.suppress(OSError):
            self._send(b"X", b"")
        self._file.close()
        self._socket.close()


def values(body: bytes) -> Iterator[str]:
    """Return the values of one row."""
    at = 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        length = struct.unpack("!i", body[at : at + 4])[0]
        at += 4
        yield body[at : at + max(length, 0)].decode(errors="replace")
        at += max(length, 0)
