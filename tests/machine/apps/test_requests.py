"""What a visitor sends reaches the application as it is, and the answer comes back the same way."""

from conftest import Lab


def test_the_application_sees_the_visitor(lab: Lab) -> None:
    """Scheme, host and the client's own address are right, without any code for it.

    Red when Nginx passes on what a client claims, or when the server does not trust the unix socket.
    """
    site = lab.site("mirror")
    seen = site.get("/request").json()
    assert seen["url"] == "https://mirror.lab.test/request"
    assert seen["url_for"] == "https://mirror.lab.test/health"
    assert seen["client"] == lab.info["gateway"]
