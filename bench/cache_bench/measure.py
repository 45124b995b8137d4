"""One measurement: a command that asks from the machine itself, for some seconds."""

import os
import re
from dataclasses import dataclass

from deploy_bench.lab import BenchError

from .lab import DOMAIN, KEY, Lab

PRODUCTS = 1000
PATH = "/products?limit=20"


@dataclass(frozen=True)
class Way:
    """One way to the same list."""

    name: str
    what: str
    url: str
    header: str = ""
    # What `X-Cache-Status` must say, when it is asked twice in a row.
    kept: str = ""


HERE = f"https://{DOMAIN}{PATH}"
WAYS = [
    Way("fastapi run", "`fastapi run --workers 2`, plain HTTP, no cache", f"http://127.0.0.1:8000{PATH}"),
    Way("micro-cache", "Nginx with TLS and `web.cache`", HERE, kept="HIT"),
    # A cookie leads past the micro-cache.
    Way(
        "application",
        "Nginx with TLS, the application's own cache in each worker",
        HERE,
        header="Cookie: a=b",
    ),
]


@dataclass(frozen=True)
class Measured:
    """What one run of one way has found."""

    requests: float
    median_ms: float
    worst_ms: float
    load: float


def fill(lab: Lab) -> None:
    """Put products into the catalogue, and into the machine's names its own."""
    rows = "\n".join(
        f'{{"sku": "B-{number}", "name": "Product {number}", "price": "12.50", "currency": "EUR"}}'
        for number in range(PRODUCTS)
    )
    lab.root(
        f"echo '127.0.0.1 {DOMAIN}' >> /etc/hosts\ncat > /root/products <<'END'\n{rows}\nEND\n"
        f"curl -sSk --fail-with-body -H 'Authorization: Bearer {KEY}' "
        f"-H 'Content-Type: application/x-ndjson' --data-binary @/root/products https://{DOMAIN}/import/products"
    )


def proved(lab: Lab, way: Way) -> str:
    """Ask twice, see that it was kept or not, and return the body."""
    header = f"-H '{way.header}'" if way.header else ""
    answers = lab.root(
        f"for turn in 1 2; do curl -sSk -D /root/headers {header} '{way.url}' -o /root/body; done\n"
        "cat /root/headers; echo; cat /root/body"
    )
    head, _, body = answers.replace("\r", "").partition("\n\n")
    found = re.search(r"^x-cache-status: (\S+)", head, re.MULTILINE | re.IGNORECASE)
    if " 200" not in head.splitlines()[0] or (found[1] if found else "") != way.kept:
        raise BenchError(f"{way.name} does not answer as it should: {head}")
    return body.strip()


def measure(lab: Lab, way: Way, seconds: int, connections: int) -> Measured:
    """Ask by many connections for some seconds."""
    load = os.getloadavg()[0]
    header = f"-H '{way.header}'" if way.header else ""
    said = lab.root(f"wrk -t 1 -c {connections} -d {seconds} --latency {header} '{way.url}'")
    if re.search(r"Non-2xx|Socket errors", said):
        raise BenchError(f"{way.name} failed under load: {said}")
    return Measured(
        float(figure(r"Requests/sec:\s+([\d.]+)", said)),
        milliseconds(figure(r"50%\s+(\S+)", said)),
        milliseconds(figure(r"99%\s+(\S+)", said)),
        load,
    )


def figure(pattern: str, text: str) -> str:
    """Return the figure that a pattern finds."""
    found = re.search(pattern, text)
    if found is None:
        raise BenchError(f"wrk said something else than expected: {text}")
    return found[1]


def milliseconds(text: str) -> float:
    """Return a duration as wrk writes it."""
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise BenchError(f"{text} is no duration")
