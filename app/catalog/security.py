"""Keys for writing. Reading is open; while the settings name no key, nobody writes.

`python -m catalog.security NAME` makes a key: one line for its owner, one for the settings.
"""

import hashlib
import hmac
import re
import secrets
import sys
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from catalog.limits import TooManyWritesError, WriteLimit
from catalog.middleware import EXTRA_HEADERS
from catalog.problems import ApiError
from catalog.settings import KEY_NAME, Settings

_bearer = HTTPBearer(auto_error=False, description="A key for writing.")


class KeyNeededError(ApiError):
    """No key, or one that is not known."""

    status = HTTPStatus.UNAUTHORIZED
    kind = "urn:problem-type:catalog:key-needed"
    title = "A key is needed"
    example = "Send `Authorization: Bearer <key>` with a key that this server knows."


def digest(key: str) -> str:
    """Return what is kept of a key. Keys are random and long, so a slow hash would only cost requests."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def writer_of(keys: dict[str, str], key: str) -> str | None:
    """Return the name of the key's owner. Every entry is compared, so the time taken tells nothing."""
    given = digest(key)
    found = [name for name, known in keys.items() if hmac.compare_digest(known, given)]
    return found[0] if found else None


async def _writer(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    settings: Settings = request.app.state.settings
    writer = writer_of(settings.api_keys, credentials.credentials) if credentials else None
    if writer is None:
        raise KeyNeededError(KeyNeededError.example, {"WWW-Authenticate": "Bearer"})
    limit: WriteLimit = request.app.state.write_limit
    allowance = await limit.take(writer)
    # With every answer from here on, be it an error.
    request.scope[EXTRA_HEADERS] = allowance.headers()
    if allowance.used > allowance.limit:
        raise TooManyWritesError(allowance)
    return writer


Writer = Annotated[str, Depends(_writer)]


def main(arguments: list[str]) -> int:
    """Make a key for the name in `arguments`."""
    if len(arguments) != 1 or not re.fullmatch(KEY_NAME, arguments[0]):
        print("usage: python -m catalog.security NAME (letters, digits, - _ .)", file=sys.stderr)
        return 2
    key = secrets.token_urlsafe(32)
    print(f"key (give it to {arguments[0]}, it is kept nowhere): {key}")
    print(f"entry for api_keys: {arguments[0]}:{digest(key)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
