"""What schemathesis cannot know by itself."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson", "text/csv")
def plain(_: Any, value: Any) -> bytes:
    """Send a file as it is."""
    return str(value).encode(errors="surrogatepass")
