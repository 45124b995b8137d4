"""Reads products from a CSV or JSON lines file, a batch at a time, and says what is wrong with which line."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from pydantic import ValidationError

from catalog.problems import Fault, pointer
from catalog.products.schemas import ProductIn
from catalog.strict import DuplicateKeyError, unique_keys

BATCH = 1000
# More than any product needs; a file that has no end of line must not be held in memory whole.
MAX_LINE = 100_000
# Who has more mistakes than this has made one mistake; and memory stays what it is.
MAX_FAULTS = 1000
COLUMNS = tuple(ProductIn.model_fields)
_MANDATORY = {name for name, column in ProductIn.model_fields.items() if column.is_required()}


class LineFault(Fault):
    """One thing that is wrong with a line of a file."""

    line: int


class UnreadableError(Exception):
    """The file cannot be read any further."""


@dataclass
class Faults:
    """What is wrong with a file; all of it is counted, the beginning is kept."""

    kept: list[LineFault] = field(default_factory=list)
    total: int = 0

    def add(self, line: int, path: str, detail: str) -> None:
        """Note one line."""
        self.total += 1
        if self.total <= MAX_FAULTS:
            self.kept.append(LineFault(where="body", field=path, detail=detail, line=line))

    def in_order(self) -> list[LineFault]:
        """Return what was kept, by line."""
        return sorted(self.kept, key=lambda fault: fault.line)


Row = tuple[int, ProductIn]


def batches(source: IO[bytes], media_type: str, faults: Faults) -> Iterator[list[Row]]:
    """Yield the good rows with their lines, and leave the bad ones in `faults`."""
    raw = _csv(source, faults) if media_type == "text/csv" else _json_lines(source, faults)
    batch: list[Row] = []
    try:
        for line, values in raw:
            try:
                batch.append((line, ProductIn.model_validate(values)))
            except ValidationError as error:
                # One per row: the first thing to mend. The rest shows when that is mended.
                first = error.errors(include_url=False, include_input=False, include_context=False)[0]
                faults.add(line, pointer(first["loc"]), first["msg"])
            if len(batch) == BATCH:
                yield batch
                batch = []
    except UnreadableError as error:
        faults.add(int(error.args[0]), "", str(error.args[1]))
    yield batch


def _lines(source: IO[bytes]) -> Iterator[tuple[int, str]]:
    number = 0
    while line := source.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise UnreadableError(number, f"a line may have {MAX_LINE} bytes; the file was read up to here")
        # What is no UTF-8 becomes a text that no field takes, so that it is refused with the line it is on.
        yield number, line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")


def _json_lines(source: IO[bytes], faults: Faults) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(source):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line, object_pairs_hook=unique_keys)
        except DuplicateKeyError:
            faults.add(number, "", "an object has the same key twice")
        except (ValueError, RecursionError):
            faults.add(number, "", "it is not JSON")


def _csv(source: IO[bytes], faults: Faults) -> Iterator[tuple[int, dict[str, str]]]:
    position = 0

    def lines() -> Iterator[str]:
        nonlocal position
        for number, line in _lines(source):
            position = number
            yield line

    reader = csv.reader(lines(), strict=True)
    header: list[str] | None = None
    while True:
        begun = position + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            faults.add(begun, "", f"it is not CSV: {error}")
            continue
        if not cells:
            continue
        if header is None:
            header = _header(begun, cells)
        elif len(cells) != len(header):
            faults.add(begun, "", f"it has {len(cells)} cells, the first line has {len(header)}")
        else:
            # An empty cell says nothing: an optional field gets its default.
            yield begun, {name: cell for name, cell in zip(header, cells, strict=True) if cell}
    if header is None:
        raise UnreadableError(1, f"the first line names the columns: {','.join(COLUMNS)}")


def _header(line: int, cells: list[str]) -> list[str]:
    if len(set(cells)) < len(cells) or not _MANDATORY <= set(cells) <= set(COLUMNS):
        raise UnreadableError(
            line,
            f"the first line names the columns, each once: {','.join(sorted(_MANDATORY))} and, if wanted, "
            f"{','.join(name for name in COLUMNS if name not in _MANDATORY)}",
        )
    return cells
