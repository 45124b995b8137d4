"""What the contract tests look at: the tree that git would hand to somebody else."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns: str) -> list[Path]:
    """Return the files that git tracks, or would track, and that match one of the patterns."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / line for line in sorted(set(listing.splitlines())) if (ROOT / line).is_file()]


def roles() -> list[Path]:
    """Return the folder of every role."""
    return sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
