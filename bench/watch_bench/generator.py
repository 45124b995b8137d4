"""Runs on the machine: serves what its own exporters say as if many machines said it.

    generator.py PORT JOB=URL…    answers at /<number>/<job>

Counters grow with time, at another pace on each machine, so that nothing is stored for free; what names the
one application names one of ten. Debian's Python and its standard library alone.
"""

import re
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

APPS = 10
BEGUN = time.time()


class Exposition:
    """What one exporter says: the parts that stay, and the values of counters between them."""

    def __init__(self, text: str) -> None:
        self.parts: list[str] = []
        self.values: list[float] = []
        counters: set[str] = set()
        kept = ""
        for line in text.splitlines():
            declared = re.match(r"# TYPE (\S+) (counter|histogram|summary)", line)
            if declared:
                counters.add(declared[1])
            sample = re.fullmatch(r"(([a-zA-Z_:][\w:]*)(?:\{.*\})?) (\S+)", line)
            name = re.sub(r"_(bucket|sum|count)$", "", sample[2]) if sample else ""
            if sample and {name, sample[2], name.removesuffix("_total")} & counters and sample[3] != "NaN":
                self.parts.append(f"{kept}{sample[1]} ")
                self.values.append(float(sample[3]))
                kept = "\n"
            else:
                kept += f"{line}\n"
        self.end = kept

    def text(self, number: int) -> str:
        """Return it as one machine says it now."""
        grown = (time.time() - BEGUN) * (1 + number % 7)
        said = "".join(f"{part}{value + grown}" for part, value in zip(self.parts, self.values, strict=True))
        app = f"app{number % APPS}"
        return (
            (said + self.end).replace('"catalog"', f'"{app}"').replace("catalog.lab.test", f"{app}.lab.test")
        )


def main() -> None:
    """Ask the exporters once, then answer for ever."""
    port, *rows = sys.argv[1:]
    known = {}
    for row in rows:
        job, _, url = row.partition("=")
        # The bench gives the addresses: the machine's own gateway.
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
            known[job] = Exposition(answer.read().decode())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _, number, job = self.path.split("/")
            body = known[job].text(int(number)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
