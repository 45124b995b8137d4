"""What is mounted on the host."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo."""

    root: str
    point: Path
    kind: str
    options: str


def _unescape(text: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, letter)
    return text


def parse(mountinfo: str) -> list[Mount]:
    """Return the mounts, oldest first."""
    found = []
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        root, point = fields.split()[3:5]
        kind, _, options = rest.split(maxsplit=2)
        found.append(Mount(_unescape(root), Path(_unescape(point)), kind, _unescape(options)))
    return found


def all_mounts() -> list[Mount]:
    """Return what this process sees."""
    return parse(Path("/proc/self/mountinfo").read_text())


def under(directory: Path) -> list[Path]:
    """Return the mount points in a directory, innermost first."""
    return [m.point for m in reversed(all_mounts()) if m.point.is_relative_to(directory)]


def in_use(layer: Path) -> bool:
    """Tell whether a mounted overlay stands on this directory."""
    for mount in all_mounts():
        if mount.kind == "overlay":
            options = dict(part.partition("=")[::2] for part in mount.options.split(","))
            lower = [Path(part) for part in options.get("lowerdir", "").split(":")]
            if any(part.is_relative_to(layer) for part in lower):
                return True
    return False
