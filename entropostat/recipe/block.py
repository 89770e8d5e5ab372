"""What every block of a recipe has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationInfo, field_validator
from pydantic_core import CoreSchema, PydanticCustomError

from entropostat.recipe.ranges import in_schema, misplaced, of_field

ELSEWHERE = ("sources", "sets", "build")
"""Free mappings that have a form of their own, by which they are checked."""


class Block(BaseModel):
    """Strict: an unknown key is an error, a bool is no int, and text is no number (an int is a float). Every number has a
    range with two ends.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    @field_validator("*", mode="after")
    @classmethod
    def _in_range(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        for below, allowed in misplaced(value, of_field(cls, name)) if name not in ELSEWHERE else ():
            raise PydanticCustomError("range", "must be {range}", {"range": str(allowed), "below": below})
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        for name, item in handler.resolve_ref_schema(schema).get("properties", {}).items():
            if (allowed := of_field(cls, name)) is not None:
                in_schema(allowed, item)
        return schema
