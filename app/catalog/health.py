"""What the deployment, the monitoring and a person on call ask."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlalchemy.exc import TimeoutError as PoolTimeout

from catalog import __version__
from catalog.cache import Cache
from catalog.database import Database
from catalog.drain import Drain
from catalog.metrics import Metrics
from catalog.settings import Settings

router = APIRouter(tags=["operation"])

# An event loop keeps only weak references to its tasks.
_given_up: set[asyncio.Task[str]] = set()


def _forget(question: asyncio.Task[str]) -> None:
    _given_up.discard(question)
    if not question.cancelled():
        # Looked at, so that asyncio does not report it as never retrieved.
        question.exception()


class Version(BaseModel):
    """What runs."""

    version: str = Field(examples=["1.0.0"])
    release: str = Field(examples=["20261121T2210-3f9c1a"])


class Live(BaseModel):
    """The process answers."""

    status: str = Field("alive", examples=["alive"])


class Ready(Version):
    """Whether the application can do its work, and why not."""

    status: str = Field(examples=["ready"])
    schema_revision: str | None = Field(
        None, examples=["0001_products"], description="Revision of the database."
    )
    cache: str = Field(examples=["in process"], description="How the cache is; without one it works as well.")
    reason: str | None = Field(None, examples=[None], description="What is missing, if it is not ready.")


def _version(request: Request) -> Version:
    settings: Settings = request.app.state.settings
    return Version(version=__version__, release=settings.release)


@router.get("/health/live", summary="The process answers")
async def live() -> Live:
    """Touches nothing: a database that is down is no reason to restart the application."""
    return Live()


@router.get(
    "/health/ready",
    summary="The application can do its work",
    responses={503: {"model": Ready, "description": "It cannot, and `reason` says why."}},
)
async def ready(
    request: Request, response: Response, version: Annotated[Version, Depends(_version)]
) -> Ready:
    """Asks the database, with a time limit, whether it is there and has the tables this release needs.

    From the moment that it is told to stop it is not ready, whatever it still can do.
    """
    settings: Settings = request.app.state.settings
    drain: Drain = request.app.state.drain
    # The cache has a time limit of its own, and is asked meanwhile.
    cache: Cache = request.app.state.cache
    asked = asyncio.create_task(cache.store.state())
    revision, reason = await _schema(request.app.state.database, settings.ready_timeout)
    if drain.begun.is_set():
        reason = "it is being stopped"
    reason = reason or _behind(revision, request.app.state.revisions)
    response.headers["Cache-Control"] = "no-store"
    if reason:
        response.status_code = 503
    return Ready(
        **version.model_dump(),
        status="not ready" if reason else "ready",
        schema_revision=revision,
        cache=await asked,
        reason=reason,
    )


async def _schema(database: Database, seconds: float) -> tuple[str | None, str | None]:
    """Return the schema's revision, or why it is not known. No server's message: it may name hosts."""
    question = asyncio.create_task(database.schema_revision())
    # Not `asyncio.timeout`: that waits for the end of the cancelled question, and psycopg first asks the
    # server, which does not answer, to cancel it.
    done, _ = await asyncio.wait({question}, timeout=seconds)
    if not done:
        question.cancel()
        _given_up.add(question)
        question.add_done_callback(_forget)
        return None, f"the database did not answer within {seconds:g} s"
    try:
        return question.result(), None
    except PoolTimeout:
        return None, "every connection is in use"
    except DBAPIError as error:
        if "alembic_version" in str(error.orig):
            return None, "the database has no tables: run `alembic upgrade head`"
        return None, "the database cannot be reached"
    except NoResultFound:
        return None, "the database has no tables: run `alembic upgrade head`"


def _behind(revision: str | None, known: list[str]) -> str | None:
    """Say that the schema is older than this code, if it is.

    One that this code does not know is newer: while a release is replaced, the old one runs on the schema
    of the new one, and stays ready.
    """
    if revision in known[:-1]:
        return f"the schema is at {revision}, this release needs {known[-1]}: run `alembic upgrade head`"
    return None


@router.get("/version", summary="What runs")
async def version(version: Annotated[Version, Depends(_version)]) -> Version:
    """Version of the code and id of the deployed release."""
    return version


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Numbers in Prometheus' text format.",
            "content": {
                "text/plain": {"schema": {"type": "string"}, "example": "http_requests_in_flight 1.0\n"}
            },
        }
    },
)
def metrics(request: Request) -> Response:
    """Sums over all workers. A plain function: reading the workers' files happens in a thread."""
    numbers: Metrics = request.app.state.metrics
    return Response(numbers.expose(), media_type=CONTENT_TYPE_LATEST)
