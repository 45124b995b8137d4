"""Add the entries, and what counts the runs of each migration."""

from alembic import op

revision = "0001"
down_revision = None
backward_compatible = True


def upgrade() -> None:
    """Add the tables."""
    op.execute("CREATE TABLE entries (id bigint GENERATED ALWAYS AS IDENTITY, word text NOT NULL)")
    op.execute("CREATE TABLE ran (what text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())")
    op.execute("INSERT INTO ran (what) VALUES ('0001')")
