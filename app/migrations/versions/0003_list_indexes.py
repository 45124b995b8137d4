"""Index the products by what a list is sorted and filtered by."""

from alembic import op

revision = "0003_list_indexes"
down_revision = "0002_categories"
branch_labels = None
depends_on = None
# An index changes no answer.
backward_compatible = True

_INDEXES = {
    "ix_products_name": ["name", "id"],
    "ix_products_price": ["price", "id"],
    "ix_products_updated_at": ["updated_at", "id"],
    "ix_products_category": ["category", "id"],
}


def upgrade() -> None:
    """Add them while requests go on: CONCURRENTLY locks nobody out, but cannot be in a transaction."""
    with op.get_context().autocommit_block():
        for name, columns in _INDEXES.items():
            # One that was begun and broken off is there, but is not valid.
            op.drop_index(name, "products", if_exists=True, postgresql_concurrently=True)
            op.create_index(name, "products", columns, postgresql_concurrently=True)


def downgrade() -> None:
    """Drop them."""
    with op.get_context().autocommit_block():
        for name in _INDEXES:
            op.drop_index(name, "products", postgresql_concurrently=True)
