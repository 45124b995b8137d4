"""`python -m ledger.tell NAME`: write down what a command or process was given, and count it in a table."""

import json
import os
import sys
from pathlib import Path

import psycopg

from .surroundings import surroundings

name = sys.argv[1]
place = Path(os.environ["STATE_DIRECTORY"].split(":")[0], f"{name}.json")
place.write_text(json.dumps(surroundings()))
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("INSERT INTO ran (what) VALUES (%s)", [name])
print(f"{name} was here")
