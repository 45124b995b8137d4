"""Index the products by the words that a search asks for, on PostgreSQL."""

from alembic import op

revision = "0005_search"
down_revision = "0004_feed_and_counts"
branch_labels = None
depends_on = None
# An index changes no answer.
backward_compatible = True

_INDEX = "ix_products_search"
# To the letter what a search compares, or PostgreSQL does not see that the index is meant.
_TEXT = "lower(((((sku)::text || '\n'::text) || (name)::text) || '\n'::text) || description)"


def upgrade() -> None:
    """Add it while requests go on. SQLite has nothing like it, and reads every product."""
    if op.get_bind().dialect.name != "postgresql":
        return
    # Trusted since PostgreSQL 13: whoever owns the database may add it, as no superuser.
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    with op.get_context().autocommit_block():
        # One that was begun and broken off is there, but is not valid.
        op.execute(f"DROP INDEX IF EXISTS {_INDEX}")
        op.execute(f"CREATE INDEX CONCURRENTLY {_INDEX} ON products USING gin ({_TEXT} gin_trgm_ops)")


def downgrade() -> None:
    """Drop it. The extension stays: it may have been there before."""
    if op.get_bind().dialect.name == "postgresql":
        with op.get_context().autocommit_block():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_INDEX}")
