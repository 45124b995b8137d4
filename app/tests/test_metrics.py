"""What is counted without the client's own `inc` is counted the same."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest, values

from catalog.metrics import BUCKETS, Metrics


class Process:
    """Stands for the process that counts."""

    pid = 1

    def __call__(self) -> int:
        """Return its id."""
        return self.pid


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Process:
    """Keep numbers in files, as with several workers."""
    process = Process()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue(process))  # type: ignore[no-untyped-call]
    return process


def _series(text: bytes, name: str) -> dict[str, float]:
    found = re.findall(rf"^({name}\S*) (\S+)$", text.decode(), re.M)
    # One process alone also says since when it counts.
    return {series: float(value) for series, value in found if "_created" not in series}


def test_numbers_are_in_the_file_of_who_counts(process: Process, tmp_path: Path) -> None:
    """Made before the fork, counted after it: in the worker's file at once, however often that has grown."""
    metrics = Metrics("1", "r")
    process.pid = 2
    metrics.in_flight(1)
    metrics.cache("hit")
    metrics.observe("GET", "/first", 200, 0.25)
    grown = (tmp_path / "histogram_2.db").stat().st_size
    for number in range(100):
        metrics.observe("GET", f"/{number}", 200, 0.5)
    assert (tmp_path / "histogram_2.db").stat().st_size > grown
    for _ in range(3):
        metrics.in_flight(1)
        metrics.cache("hit")
        metrics.observe("GET", "/first", 200, 0.25)
    text = metrics.expose()
    assert _series(text, "http_requests_in_flight") == {"http_requests_in_flight": 4}
    assert _series(text, "cache_reads_total")['cache_reads_total{result="hit"}'] == 4
    first = _series(text, "http_request")
    assert first['http_requests_total{method="GET",route="/first",status="200"}'] == 4
    assert first['http_request_duration_seconds_sum{method="GET",route="/first"}'] == 1
    assert first['http_request_duration_seconds_count{method="GET",route="/first"}'] == 4
    assert first['http_requests_total{method="GET",route="/99",status="200"}'] == 1
    # The one that forked has counted nothing either.
    for name in ("gauge_livesum", "counter", "histogram"):
        (tmp_path / f"{name}_2.db").unlink()
    left = _series(metrics.expose(), "http_requests") | _series(metrics.expose(), "cache_reads")
    assert len(left) == 5
    assert not any(left.values())


@pytest.mark.parametrize("in_files", [True, False])
def test_a_time_is_in_the_bucket_where_the_client_puts_it(
    request: pytest.FixtureRequest, in_files: bool
) -> None:
    """Also one that is exactly a bound, and one above all of them."""
    if in_files:
        request.getfixturevalue("process")
    seconds = [0.0, *BUCKETS, *(bound * 1.01 for bound in BUCKETS), 60.0]
    metrics = Metrics("1", "r")
    theirs = CollectorRegistry()
    name = "http_request_duration_seconds"
    histogram = Histogram(name, "-", ["method", "route"], buckets=BUCKETS, registry=theirs)
    if in_files:
        # A name of its own, as both would be in one file.
        histogram = Histogram("theirs", "-", ["method", "route"], buckets=BUCKETS, registry=theirs)
    for taken in seconds:
        metrics.observe("GET", "/", 200, taken)
        histogram.labels("GET", "/").observe(taken)
    text = metrics.expose()
    expected = _series(text, "theirs") if in_files else _series(generate_latest(theirs), name)
    assert len(expected) == len(BUCKETS) + 3
    assert _series(text, name) == {
        series.replace("theirs", name): value for series, value in expected.items()
    }
