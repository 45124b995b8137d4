"""Add the products.

Static: it names its columns itself and imports no model, so that it does tomorrow what it did today.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001_products"
down_revision = None
branch_labels = None
depends_on = None
# Nothing ran before it that could break.
backward_compatible = True


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "products",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), nullable=False),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        # Hundredths on SQLite, which has no decimals.
        sa.Column("price", sa.Numeric(12, 2).with_variant(sa.BigInteger(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("price >= 0", name=op.f("ck_products_price_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
        sa.UniqueConstraint("sku", name=op.f("uq_products_sku")),
    )


def downgrade() -> None:
    """Drop the table, and every product with it."""
    op.drop_table("products")
