"""The table."""

from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Text,
    TypeDecorator,
    func,
    literal_column,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeEngine

from catalog.tables import Base, Versioned


class Money(TypeDecorator[Decimal]):
    """An amount with two decimals. SQLite has only floats for that, so it is given whole hundredths."""

    impl = Numeric(12, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Decimal] | TypeEngine[int]:
        """Choose the column's type."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(12, 2))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | int | None:
        """Write the amount."""
        if value is None or dialect.name != "sqlite":
            return value
        return int(value.scaleb(2))

    def process_result_value(self, value: Decimal | int | None, dialect: Dialect) -> Decimal | None:
        """Read the amount."""
        if value is None or dialect.name != "sqlite":
            return None if value is None else Decimal(value)
        return Decimal(value).scaleb(-2)


class Product(Versioned, Base):
    """Something that can be bought."""

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("price >= 0", name="price_not_negative"),
        # One per order of the list; the id makes each of them total, so that a page can begin behind any row.
        Index("ix_products_name", "name", "id"),
        Index("ix_products_price", "price", "id"),
        Index("ix_products_updated_at", "updated_at", "id"),
        Index("ix_products_category", "category", "id"),
    )

    # SQLite counts up by itself only in a column that is INTEGER to the letter.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    sku: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Money)
    currency: Mapped[str] = mapped_column(String(3))
    category: Mapped[str | None] = mapped_column(ForeignKey("categories.slug"))


# What a search looks into. No word has a line break, so none is found across two fields. The constants are
# written out: PostgreSQL takes the index, which a migration makes, only for the very expression it is of.
_BREAK = literal_column("'\n'", Text)
SEARCHED = func.lower(Product.sku + _BREAK + Product.name + _BREAK + Product.description)
