"""What every table has, on both databases."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, MetaData, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Every table. Constraints have names on both databases, so that a migration can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite has no time zones, so it is told and given plain UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a moment without a zone: nobody could say which one it was."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs its zone: use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back a moment in UTC, whatever the server's time zone is."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


class Versioned:
    """What a row needs to be changed by one client at a time: a number and a moment that every change moves.

    Both, because the release before this one knows only the moment, and runs beside this one during a switch.
    """

    version: Mapped[int] = mapped_column(default=1, server_default="1", sort_order=1)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now, sort_order=2)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=_now, onupdate=_now, sort_order=3)
