"""The server: entries out of the database, and what it was given."""

import os
from typing import Any

import psycopg
from fastapi import FastAPI, HTTPException

from .surroundings import surroundings

app = FastAPI(title="ledger")


@app.get("/health")
def health() -> dict[str, str]:
    """Say that it is well, unless it is told not to be."""
    if os.environ.get("LEDGER_ILL"):
        raise HTTPException(503)
    return {"release": os.environ["APP_RELEASE"]}


@app.get("/entries")
def entries() -> dict[str, Any]:
    """Count what is in the table: a reader, as there are many."""
    with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=5) as connection:
        row = connection.execute("SELECT count(*) FROM entries").fetchone()
    return {"entries": row[0] if row else None, "release": os.environ["APP_RELEASE"]}


@app.get("/surroundings")
def told() -> dict[str, Any]:
    """Say what the server was given."""
    return surroundings()
