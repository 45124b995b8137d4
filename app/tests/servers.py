"""Real servers for the tests: a PostgreSQL of their own, and the application under Gunicorn."""

import contextlib
import getpass
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

APP = Path(__file__).parent.parent
_WAIT = 60
# Who may write, where it is not said otherwise.
KEY = "the-key-of-the-tests"
BEARER = {"Authorization": f"Bearer {KEY}"}


def wait_for(what: Callable[[], bool], message: str, log: Path | None = None) -> None:
    """Ask until `what` is true, or fail with `message` and what the log holds by then."""
    end = time.monotonic() + _WAIT
    while not what():
        assert time.monotonic() < end, f"{message}\n{log.read_text() if log else ''}"
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class PostgreSQL:
    """A PostgreSQL server of its own: peer authentication on its socket, SCRAM over TLS on localhost."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    programs: Path = field(default_factory=Path)

    def url(self, database: str) -> str:
        """Return a URL like the one for a local server with peer authentication."""
        return f"postgresql:///{database}?host={self.directory}&port={self.port}"

    def tls_url(self, user: str, database: str) -> str:
        """Return a URL like the one for a remote server, without the password."""
        return (
            f"postgresql://{user}@localhost:{self.port}/{database}"
            f"?sslmode=verify-full&sslrootcert={self.directory}/server.crt"
        )

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection of the tests' own."""
        return psycopg.connect(self.url(database), autocommit=True)

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [
            *_as_unprivileged("--pdeathsig", "INT"),
            str(self.programs / "postgres"),
            *("-D", f"{self.directory}/data"),
        ]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log)
        wait_for(self._answers, "PostgreSQL does not answer", self.directory / "log")

    def stop(self) -> None:
        """Stop at once, as after a power cut."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(_WAIT)
            self.process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of it from running, so that it neither answers nor hangs up."""
        assert self.process is not None
        pids = [self.process.pid, *_children(self.process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            self.connect().close()
            return True
        return False


def _as_unprivileged(*options: str) -> list[str]:
    """Return a prefix for a command. PostgreSQL refuses root; whoever else runs the tests may run it."""
    command = ["setpriv", *options]
    if os.geteuid() == 0:
        command += ["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    return [*command, "--"] if len(command) > 1 else []


@contextlib.contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Make, start and remove a server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert found, "PostgreSQL is missing: run `apt-get install postgresql`"
    # Not below pytest's own directory: a socket's path has 107 bytes at most.
    directory = Path(tempfile.mkdtemp(prefix="catalog-pg-"))
    server = PostgreSQL(directory, _free_port(), programs=found[-1])
    try:
        _make_cluster(server)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


def _make_cluster(server: PostgreSQL) -> None:
    directory = server.directory
    directory.chmod(0o711)
    if os.geteuid() == 0:
        shutil.chown(directory, "nobody", "nogroup")
    run = _as_unprivileged()
    key, certificate = directory / "server.key", directory / "server.crt"
    for command in (
        # The superuser is named like whoever runs the tests, so that peer authentication lets them in.
        [
            server.programs / "initdb",
            "-D",
            directory / "data",
            "-U",
            getpass.getuser(),
            "-A",
            "peer",
            "-N",
            "--locale=C.UTF-8",
        ],
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
    ):
        subprocess.run([*run, *map(str, command)], cwd=directory, check=True, capture_output=True)
    data = directory / "data"
    (data / "postgresql.conf").write_text(
        f"unix_socket_directories = '{directory}'\nlisten_addresses = 'localhost'\nport = {server.port}\n"
        "max_connections = 60\nfsync = off\nautovacuum = off\nshared_buffers = 16MB\n"
        # A small /dev/shm, or none that may be written to, is common where tests run.
        "dynamic_shared_memory_type = mmap\n"
        f"ssl = on\nssl_key_file = '{key}'\nssl_cert_file = '{certificate}'\n"
    )
    (data / "pg_hba.conf").write_text(
        "local all all peer\n"
        "hostssl all all 127.0.0.1/32 scram-sha-256\n"
        "hostssl all all ::1/128 scram-sha-256\n"
    )


@dataclass
class Valkey:
    """A Valkey or Redis server of its own, on a socket, that keeps nothing on disk."""

    directory: Path
    program: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Return where it listens."""
        return self.directory / "socket"

    @property
    def url(self) -> str:
        """Return its address for the settings."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [
            *("setpriv", "--pdeathsig", "KILL", "--", self.program, "--port", "0", "--save", ""),
            *("--unixsocket", str(self.socket), "--dir", str(self.directory)),
        ]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: self._ask("PING") == b"+PONG\r\n", "it does not answer", self.directory / "log")

    def flush(self) -> None:
        """Forget everything."""
        assert self._ask("FLUSHALL") == b"+OK\r\n"

    def stop(self) -> None:
        """Stop at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_WAIT)
            self.process = None

    def freeze(self) -> None:
        """Stop it from running, so that it neither answers nor hangs up."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _ask(self, command: str) -> bytes:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(100)
        return b""


@contextlib.contextmanager
def valkey() -> Iterator[Valkey]:
    """Make, start and remove a server."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    assert program, "Redis is missing: run `apt-get install redis-server`"
    server = Valkey(Path(tempfile.mkdtemp(prefix="catalog-valkey-")), program)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.directory)


@dataclass
class Gunicorn:
    """The application under Gunicorn, on a Unix socket, as the deployment starts it."""

    process: subprocess.Popen[str]
    directory: Path
    port: int = 0

    @property
    def url(self) -> str:
        """Return where it listens, if that is a TCP port."""
        return f"http://127.0.0.1:{self.port}"

    def listens(self) -> bool:
        """Tell whether it takes connections. Asked without httpx, which leaves a socket behind if not."""
        family = socket.AF_INET if self.port else socket.AF_UNIX
        with socket.socket(family) as probe:
            return probe.connect_ex(("127.0.0.1", self.port) if self.port else str(self.socket)) == 0

    def ready(self) -> bool:
        """Tell whether it says that it is ready."""
        if not self.listens():
            return False
        try:
            with self.client() as client:
                return client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def socket(self) -> Path:
        """Return where it listens."""
        return self.directory / "app.sock"

    @property
    def metrics(self) -> Path:
        """Return the directory of the workers' numbers."""
        return self.directory / "metrics"

    def client(self) -> httpx.Client:
        """Return a client that opens a connection per request, so that workers take turns."""
        uds = None if self.port else str(self.socket)
        transport = httpx.HTTPTransport(uds=uds, limits=httpx.Limits(max_keepalive_connections=0))
        base_url = self.url if self.port else "http://catalog.test"
        return httpx.Client(transport=transport, base_url=base_url, timeout=_WAIT, headers=BEARER)

    def workers(self) -> set[int]:
        """Return the process ids of the workers."""
        return set(_children(self.process.pid))

    @property
    def output(self) -> Path:
        """Return what it has printed."""
        return self.directory / "output"


@contextlib.contextmanager
def gunicorn(
    environment: Mapping[str, str],
    workers: int = 2,
    *,
    tcp: bool = False,
    preload: bool = False,
    module: str = "catalog.main:create_app()",
) -> Iterator[Gunicorn]:
    """Start the application and wait until it is ready; end it with everything it started."""
    directory = Path(tempfile.mkdtemp(prefix="catalog-"))
    (directory / "metrics").mkdir()
    (directory / "gunicorn.conf.py").write_text(
        "from prometheus_client import multiprocess\n"
        "def child_exit(server, worker):\n"
        "    multiprocess.mark_process_dead(worker.pid)\n"
        "control_socket_disable = True\n"
        "graceful_timeout = 20\n"
    )
    port = _free_port() if tcp else 0
    command = [
        *("setpriv", "--pdeathsig", "TERM", "--"),
        *(sys.executable, "-m", "gunicorn", "--config", str(directory / "gunicorn.conf.py")),
        *("--worker-class", "uvicorn_worker.UvicornWorker", "--workers", str(workers)),
        *("--bind", f"127.0.0.1:{port}" if tcp else f"unix:{directory}/app.sock"),
        *(["--preload"] if preload else []),
        module,
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CATALOG_")}
    keys = f"tests:{hashlib.sha256(KEY.encode()).hexdigest()}"
    clean |= {"PROMETHEUS_MULTIPROC_DIR": str(directory / "metrics"), "CATALOG_API_KEYS": keys, **environment}
    with (directory / "output").open("w") as output:
        process = subprocess.Popen(
            command, cwd=APP, env=clean, stdout=output, stderr=output, text=True, start_new_session=True
        )
    server = Gunicorn(process, directory, port)
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_WAIT)
        shutil.rmtree(directory)
