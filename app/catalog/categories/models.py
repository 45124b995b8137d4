"""The table."""

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from catalog.tables import Base, Versioned


class Category(Versioned, Base):
    """A group of products. Its slug is its address, so it stays what it is."""

    __tablename__ = "categories"

    slug: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
