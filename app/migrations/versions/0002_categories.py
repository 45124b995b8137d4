"""Add the categories, and the version of a product that `If-Match` compares."""

import sqlalchemy as sa
from alembic import op

revision = "0002_categories"
down_revision = "0001_products"
branch_labels = None
depends_on = None
# The old code names its columns, so it does not see the new ones; the database fills them in for it.
backward_compatible = True


def upgrade() -> None:
    """Add the table, and two columns that rows of the old code get by themselves."""
    op.create_table(
        "categories",
        sa.Column("slug", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_categories")),
    )
    with op.batch_alter_table("products") as products:
        products.add_column(sa.Column("version", sa.Integer(), server_default="1", nullable=False))
        products.add_column(sa.Column("category", sa.String(64), nullable=True))
        products.create_foreign_key(op.f("fk_products_category"), "categories", ["category"], ["slug"])


def downgrade() -> None:
    """Drop them, and every category with them."""
    with op.batch_alter_table("products") as products:
        products.drop_constraint(op.f("fk_products_category"), type_="foreignkey")
        products.drop_column("category")
        products.drop_column("version")
    op.drop_table("categories")
