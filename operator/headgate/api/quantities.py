"""
Owns the quantities of the API: durations, percentages, decimal numbers and moments.

All but moments are written as strings: a float would change on its way through JSON, YAML and
Git. Each type keeps the text the person wrote and offers the number. It must not know any kind.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .schema import VALIDATIONS, rule

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_PART = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)")


class Quantity(str):
    """
    A text with a number in it: it compares and serialises as what was written.

    Raises:
        ValueError: The text does not match the pattern of its class.
    """

    __slots__ = ()
    pattern: ClassVar[str]
    longest: ClassVar[int]
    wanted: ClassVar[str]

    def __new__(cls, text: str) -> Self:
        """Check the text and keep it."""
        if len(text) > cls.longest or not re.fullmatch(cls.pattern, text):
            raise ValueError(f"wanted {cls.wanted}, found {text[: cls.longest]!r}")
        return super().__new__(cls, text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept strings of the pattern only."""

        def check(text: str) -> Quantity:
            try:
                return cls(text)
            except ValueError:
                raise _unwanted(cls.wanted) from None

        return core_schema.no_info_after_validator_function(check, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe the pattern; the length is bounded for CEL."""
        return {"type": "string", "pattern": cls.pattern, "maxLength": cls.longest}


def _unwanted(wanted: str) -> PydanticCustomError:
    return PydanticCustomError("quantity", "wanted {wanted}", {"wanted": wanted})


class Duration(Quantity):
    """
    A span of time as a person writes it: `90s`, `1h30m`, `250ms`, `7d`.

    Go's notation without signs and fractions, plus days of 24 hours.
    """

    __slots__ = ()
    pattern = r"^([0-9]{1,6}(ms|s|m|h|d))+$"
    longest = 32
    wanted = "a duration such as 90s, 10m or 1h30m"

    @property
    def timedelta(self) -> timedelta:
        """The span; >= 0."""
        parts = _PART.findall(self)
        return sum((int(count) * _UNITS[unit] for count, unit in parts), timedelta())


class Percentage(Quantity):
    """A percentage, or a difference in percentage points, as a decimal string: `99.9`."""

    __slots__ = ()
    pattern = r"^[0-9]{1,3}(\.[0-9]{1,6})?$"
    longest = 10
    wanted = 'a percentage as text, such as "99.9"'

    @property
    def decimal(self) -> Decimal:
        """The number as written, in percent."""
        return Decimal(self)

    @property
    def ratio(self) -> float:
        """The number as a share: 1.0 is 100 percent."""
        return float(Decimal(self) / 100)


class Number(Quantity):
    """A finite decimal number of a report, as a string: `-0.25`, `137.2`, `1.4e+38`."""

    __slots__ = ()
    pattern = r"^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$"
    longest = 32
    wanted = "a decimal number as text"

    @classmethod
    def of(cls, value: float) -> Self:
        """
        Write `value` with six significant digits; an infinite one as the largest float.

        Raises:
            ValueError: `value` is not a number.
        """
        if math.isnan(value):
            raise ValueError("wanted a number, found NaN")
        return cls(f"{max(-1.7e308, min(1.7e308, value)):.6g}")

    @property
    def value(self) -> float:
        """The number."""
        return float(self)


@dataclass(frozen=True, slots=True)
class Lasting:
    """
    Bounds of a duration, both included.

    CEL's `duration()` knows no days: a duration in days that is out of bounds is refused by
    `accept.parse` instead, unless the upper bound is below a day.
    """

    least: str
    most: str

    @property
    def wanted(self) -> str:
        """The bounds in words."""
        return f"a duration from {self.least} to {self.most}"

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check the bounds after the type's own check."""

        def check(value: Duration) -> Duration:
            if Duration(self.least).timedelta <= value.timedelta <= Duration(self.most).timedelta:
                return value
            raise _unwanted(self.wanted)

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the bounds as CEL."""
        most = Duration(self.most).timedelta
        days = "!self.contains('d') &&" if most < timedelta(days=1) else "self.contains('d') ||"
        least = Duration(self.least).timedelta
        shortest = f"{int(least.total_seconds())}s" if "d" in self.least else self.least
        bounds = (
            f"(duration(self) >= duration('{shortest}') && "
            f"duration(self) <= duration('{int(most.total_seconds())}s'))"
        )
        return {**handler(core), VALIDATIONS: [rule(f"{days} {bounds}", f"wanted {self.wanted}")]}


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of a percentage, both included, in percent or percentage points."""

    least: str
    most: str

    @property
    def wanted(self) -> str:
        """The bounds in words."""
        return f'a percentage from "{self.least}" to "{self.most}"'

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check the bounds after the type's own check."""

        def check(value: Percentage) -> Percentage:
            if Decimal(self.least) <= value.decimal <= Decimal(self.most):
                return value
            raise _unwanted(self.wanted)

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the bounds as CEL."""
        bounds = f"double(self) >= double('{self.least}') && double(self) <= double('{self.most}')"
        return {**handler(core), VALIDATIONS: [rule(bounds, f"wanted {self.wanted}")]}


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Moment = Annotated[
    AwareDatetime, AfterValidator(_in_utc), Field(json_schema_extra={"maxLength": 64})
]
"""A moment, always in UTC."""

Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
"""A whole number >= 0."""
