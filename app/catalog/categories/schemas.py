"""What is taken and given over HTTP."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from catalog.fields import Description, Name, without_defaults

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", max_length=64)]


class CategoryIn(BaseModel):
    """A category as it is replaced."""

    model_config = ConfigDict(extra="forbid")

    name: Name = Field(examples=["Mugs"])
    description: Description = Field("", examples=["To drink from."])


class NewCategory(CategoryIn):
    """A category as it is created."""

    slug: Slug = Field(description="Its address; unique, and never changed.", examples=["mugs"])


class CategoryPatch(BaseModel):
    """What is to change of a category; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=without_defaults)

    name: Name = ""
    description: Description = ""


class CategoryOut(BaseModel):
    """A category as it is stored."""

    model_config = ConfigDict(from_attributes=True)

    slug: str = Field(examples=["mugs"])
    name: str = Field(examples=["Mugs"])
    description: str = Field(examples=["To drink from."])
    created_at: datetime = Field(examples=["2026-11-21T22:10:00Z"])
    updated_at: datetime = Field(examples=["2026-11-21T22:10:00Z"])


class CategoryPage(BaseModel):
    """Some categories, and how to get those after them."""

    items: list[CategoryOut]
    next: str | None = Field(
        None,
        description="Path of the next page; null on the last one.",
        examples=["/categories?limit=1&after=mugs"],
    )


class CategoryParameters(BaseModel):
    """How a list is asked for."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=200, description="Categories on a page.")
    after: Slug | None = Field(None, description="Only those behind this slug.")
