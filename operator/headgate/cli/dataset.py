"""Data sets in files: rows of CSV and Parquet, and columns kept in bounded memory.

Owns the reading of files and the kind of each column. Must not know profiles. What is wrong is
said with the line and the column.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import compress
from math import isnan, nan
from pathlib import Path
from typing import Any

MOST_ROWS = 131_072
"""Rows that are kept, spread evenly over the file; more would not show a smaller drift in use."""

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))
"""Texts, whatever their case, that stand for no number."""

_BATCH = 4096
_HASH, _BITS = 2_654_435_769, 32  # Knuth's multiplicative hash spreads neighbouring rows evenly


class DataError(ValueError):
    """The data cannot be used; the text names the line and the column."""


class NeedsParquet(Exception):
    """Parquet was given, and what reads it is not installed."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A file's header and its rows, each with its line (CSV) or row number (Parquet)."""

    header: Sequence[str]
    rows: Iterator[tuple[int, Sequence[Any]]]
    unit: str = "line"


def open_rows(path: Path) -> Rows:
    """Open a file by its suffix: `.parquet`, and CSV otherwise.

    Raises:
        DataError: Not readable, no header, a name twice, or later a line that does not fit.
        NeedsParquet: pyarrow is not installed.
    """
    if path.suffix == ".parquet":
        return _parquet(path)
    return _csv(path)


def _csv(path: Path) -> Rows:
    lines = _csv_lines(path)
    try:
        _, header = next(lines)
    except StopIteration:
        raise DataError("line 1: wanted a header, found nothing") from None
    _check_header(header)
    return Rows(header, _checked(lines, len(header)))


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if row:  # an empty line is no row
                    yield reader.line_num, row
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = reader.line_num + 1 if reader else 1
        raise DataError(f"after line {line}: wanted UTF-8, found {error.reason}") from error
    except csv.Error as error:
        raise DataError(f"line {reader.line_num if reader else 1}: {error}") from error


def _check_header(header: Sequence[str]) -> None:
    for number, name in enumerate(header, 1):
        if not name.strip():
            raise DataError(f"line 1: wanted a name for column {number}, found none")
        if name in header[: number - 1]:
            raise DataError(f"line 1: wanted each column once, found {name} twice")


def _checked(
    lines: Iterator[tuple[int, list[str]]], width: int
) -> Iterator[tuple[int, Sequence[str]]]:
    for number, row in lines:
        if len(row) != width:
            raise DataError(f"line {number}: wanted {width} fields, found {len(row)}")
        yield number, row


def _parquet(path: Path) -> Rows:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise NeedsParquet(
            "reading Parquet needs pyarrow: pip install 'headgate[parquet]', or write CSV"
        ) from None
    try:
        file = parquet.ParquetFile(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except ArrowException as error:
        raise DataError(f"{path}: wanted a Parquet file, found {error}") from error
    header = list(file.schema_arrow.names)

    def rows() -> Iterator[tuple[int, Sequence[Any]]]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield number, row
        except (OSError, ArrowException) as error:
            raise DataError(f"after row {number}: {error}") from error

    return Rows(header, rows(), "row")


def number_of(value: object) -> float | None:
    """Read a cell as a number; NaN if it is missing, None if it is something else."""
    match value:
        case None:
            return nan
        case str():
            return _text_number(value.strip())
        case int() | float() | Decimal():
            try:
                return float(value)
            except OverflowError:
                return None
    return None


def _text_number(text: str) -> float | None:
    if text.lower() in MISSING:
        return nan
    if "_" in text:  # Python's, nobody else's
        return None
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(slots=True)
class Kept:
    """One column as it is being read; its kind is that of its first value, unless told.

    Numbers are packed, missing ones are NaN; texts that are alike are one object.
    """

    name: str
    kind: str | None = None
    values: Any = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)

    def add(self, value: Any, keep: bool) -> str | None:
        """Take a cell; returns what is wrong with it, if anything."""
        if self.kind is None:
            self._decide(value)
        if self.kind == "number":
            number = number_of(value)
            if number is None:
                return (
                    f"wanted a number, found {str(value)[:40]!r};"
                    f" if these are categories: --categories {self.name}"
                )
            if keep:
                self.values.append(number)
            return None
        if value is not None and not isinstance(value, str | int | float):
            return f"wanted a number or a category, found {type(value).__name__}"
        if keep:
            self.values.append(self.known.setdefault(value, value) if type(value) is str else value)
        return None

    def _decide(self, value: Any) -> None:
        number = None if isinstance(value, bool) else number_of(value)
        if number is None:
            self.kind = "category"
        elif not isnan(number):
            self.kind = "number"
            self.values = array("d", [nan] * len(self.values))

    def thin(self, mask: Sequence[bool]) -> None:
        """Drop the rows whose mask is false."""
        left = compress(self.values, mask)
        self.values = array("d", left) if isinstance(self.values, array) else list(left)


@dataclass(frozen=True, slots=True)
class DataSet:
    """Columns by name; `read` rows were in the file, all columns have the `kept` ones."""

    columns: Mapping[str, Kept]
    read: int
    kept: int


def read_columns(
    source: Rows, wanted: Sequence[str], categories: Set[str], most: int = MOST_ROWS
) -> DataSet:
    """Read columns, at most `most` rows of them, spread evenly.

    Raises:
        DataError: A column is not there, or a cell does not fit its column.
    """
    places = [(place_of(source.header, name), _begun(name, name in categories)) for name in wanted]
    numbers, halvings, read = array("Q"), 0, 0
    for read, (line, row) in enumerate(source.rows, 1):
        keep = _is_kept(read, halvings)
        for place, column in places:
            wrong = column.add(row[place], keep)
            if wrong:
                raise DataError(f"{source.unit} {line}, column {column.name}: {wrong}")
        if keep:
            numbers.append(read)
        while len(numbers) > most:
            halvings += 1
            mask = [_is_kept(number, halvings) for number in numbers]
            for _, column in places:
                column.thin(mask)
            numbers = array("Q", compress(numbers, mask))
    return DataSet({column.name: column for _, column in places}, read, len(numbers))


def _begun(name: str, is_category: bool) -> Kept:
    return Kept(name, "category" if is_category else None)


def _is_kept(number: int, halvings: int) -> bool:
    return not (number * _HASH % 2**_BITS) >> (_BITS - halvings)


def place_of(header: Sequence[str], name: str) -> int:
    """Find a column.

    Raises:
        DataError: There is none of that name.
    """
    if name not in header:
        there = ", ".join(header[:10]) + (", …" if len(header) > 10 else "")
        raise DataError(f"line 1: wanted a column {name}, found {there}")
    return header.index(name)
