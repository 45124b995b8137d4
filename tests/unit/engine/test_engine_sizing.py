"""The number of workers fits the machine, and the reason is told."""

import pytest
from fastapi_metal.release.sizing import memory_limit, size


@pytest.mark.parametrize(
    ("cores", "memory", "workers"),
    [(1, 1024, 1), (1, 2048, 2), (2, 4096, 2), (4, 8192, 4), (8, 16384, 8), (8, 2048, 3), (64, 256_000, 64)],
)
def test_workers_follow_cores_and_memory(cores: int, memory: int, workers: int) -> None:
    """One per core, two at least, and never more than fit twice beside the system."""
    assert size("auto", cores, memory, 200, None).workers == workers


def test_a_limit_of_memory_counts() -> None:
    """A release that may use 512 MiB does not start eight workers of 200."""
    assert size("auto", 8, 16384, 200, memory_limit("512M")).workers == 2


def test_a_number_is_obeyed() -> None:
    """Who says five gets five."""
    assert size("5", 1, 512, 200, None) == size("5", 64, 512_000, 200, 100)
    assert size("5", 1, 512, 200, None).workers == 5


def test_the_reason_names_what_decided() -> None:
    """The report explains the number without a look into the code."""
    reason = size("auto", 8, 2048, 200, None).reason
    assert reason == (
        "auto: 8 cores ask for 8; 2048 MiB, less 512 for the system, "
        "carry 3 of 200 MiB in two releases side by side"
    )


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [("", None), ("512M", 512), ("2G", 2048), ("1T", 1 << 20), ("1048576", 1)],
)
def test_memory_is_read_as_systemd_does(text: str, mebibytes: int | None) -> None:
    """K, M, G and T are powers of 1024, a bare number is bytes."""
    assert memory_limit(text) == mebibytes
