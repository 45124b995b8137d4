"""What test_hostile.py shows of Debian 13, shown of Debian 12, whose Nginx is three years older."""

from dataclasses import replace

import pytest
from client import Site
from conftest import Lab
from test_hostile import (  # type: ignore[import-not-found]  # noqa: F401 - collected again, with the fixtures below
    test_a_client_that_sends_too_much_is_told,
    test_another_host_is_nobody_here,
    test_idle_connections_keep_nobody_out,
    test_no_path_leads_out_of_the_files,
    test_no_request_hides_in_another,
    test_no_spelling_of_a_path_leads_to_the_metrics,
    test_what_is_too_large_is_refused,
    test_who_dribbles_is_let_go,
)

pytestmark = pytest.mark.full


@pytest.fixture
def where() -> str:
    """Return the machine with Debian 12."""
    return "web2"


@pytest.fixture
def shop(lab: Lab, where: str) -> Site:
    """Return its site that visitors come to."""
    return replace(lab.site("shop"), address=lab.address(where))


@pytest.fixture
def mirror(lab: Lab, where: str) -> Site:
    """Return its site that tells what reached the application."""
    return replace(lab.site("mirror"), address=lab.address(where))
