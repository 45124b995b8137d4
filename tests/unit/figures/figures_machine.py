"""A machine in a directory."""

import socket
from pathlib import Path

from machine_figures.config import App, Config


class Machine:
    """A machine's files below a directory."""

    def __init__(self, root: Path) -> None:
        apps = (
            App("shop", "shop.example.org", "shop.example.org"),
            App("mute", site="mute.example.org"),
        )
        self.config = Config(apps=apps, keep=600, root=root)
        for path in (self.config.textfiles, self.config.state, self.config.home("shop") / "releases"):
            path.mkdir(parents=True)

    def release(self, name: str, *, listens: bool = True) -> Path:
        """Make a release; one that listens has a socket."""
        place = self.config.home("shop") / "releases" / name
        place.mkdir()
        (place / "release.json").write_text('{"origin": "git https://git.example.org/shop.git v1"}')
        if listens:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(place / "app.sock"))
        return place

    def live(self, name: str) -> None:
        """Give a release the traffic."""
        (self.config.home("shop") / "current").symlink_to(f"releases/{name}")
