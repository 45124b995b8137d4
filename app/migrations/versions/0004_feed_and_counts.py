"""Add the last changes, which the feed tells again, and the writes that each key has used up."""

import sqlalchemy as sa
from alembic import op

revision = "0004_feed_and_counts"
down_revision = "0003_list_indexes"
branch_labels = None
depends_on = None
# The old code does not know the tables. What it writes is told as something unknown, and is not told again.
backward_compatible = True


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "feed",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_feed")),
    )
    op.create_table(
        "write_counts",
        sa.Column("writer", sa.String(64), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("writer", name=op.f("pk_write_counts")),
        # Not in the log, so that a count costs no disk; a crash empties it, and a minute begins anew.
        prefixes=["UNLOGGED"] if op.get_bind().dialect.name == "postgresql" else [],
    )


def downgrade() -> None:
    """Drop them. A client of the feed begins anew."""
    op.drop_table("write_counts")
    op.drop_table("feed")
