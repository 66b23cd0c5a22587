"""Age and sex of the people of the MIT-BIH Arrhythmia Database, from the headers of their records.

The first comment of a header begins with both: `# 69 M 1085 1629 x1`. An age that is not known is -1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from splitleak.contract import Data, Records
from splitleak.contract.errors import BadInput, FilesMissing
from splitleak.datasets.reading.archives import files_in_archive
from splitleak.datasets.reading.checksums import MAX_BYTES, Checksums, mismatch
from splitleak.datasets.reading.locate import search_places
from splitleak.datasets.reading.mitbih_beats import checksums_of
from splitleak.datasets.reading.pvc_beats import ARCHIVES

Property = Literal["age", "sex"]
OLDER_THAN = 65  # years: the median of the people of the dataset `ecg`
COMMENT = re.compile(r"^#\s*(-?\d+)\s+([MF])\b", re.MULTILINE)


class Person(NamedTuple):
    age: int | None  # years
    sex: Literal["M", "F"]


ANSWERS: dict[Property, Callable[[Person], bool | None]] = {
    "age": lambda person: None if person.age is None else person.age > OLDER_THAN,
    "sex": lambda person: person.sex == "F",
}


def with_property(data: Data, name: Property, who: str) -> Data:
    """The same data with a property of each record's person; people of whom it is not known are left out."""
    parts = (data.private, data.aux, data.test)
    if any(part.group is None for part in parts):
        raise BadInput(f"{who}: a property needs record_train and record_test, which are not in these files")
    numbers = sorted({number for part in parts if part.group is not None for number in part.group.tolist()})
    people = {number: ANSWERS[name](person) for number, person in read_people(numbers, who).items()}
    known = {number: answer for number, answer in people.items() if answer is not None}
    note = f"{who}: {len(people) - len(known)} of {len(people)} patients left out: their headers tell no {name}"
    private, aux, test = (_known(part, known) for part in parts)
    notes = data.notes + ((note,) if len(known) < len(people) else ())
    return replace(data, private=private, aux=aux, test=test, notes=notes)


def _known(part: Records, known: dict[int, bool]) -> Records:
    people = [] if part.group is None else part.group.tolist()
    rows = torch.tensor([i for i, number in enumerate(people) if number in known], dtype=torch.long)
    answers = torch.tensor([int(known[people[i]]) for i in rows.tolist()])
    return replace(part.take(rows), property=answers)


def read_people(records: Collection[int], who: str) -> dict[int, Person]:
    """The people of these records, from headers in a folder or an archive where the heartbeats are looked for."""
    wanted = {name: digest for name, digest in checksums_of([*records]).items() if name.endswith(".hea")}
    if unknown := sorted({*records} - {int(name.partition(".")[0]) for name in wanted}):
        raise BadInput(f"{who}: the database has no record {', '.join(map(str, unknown))}, so no age and no sex")
    found = dict[int, Person]()
    for name, content in _headers(wanted, who):
        if reason := mismatch(name, content, wanted[name]):
            raise BadInput(f"{who}: '{name}' is damaged: {reason}")
        found[int(name.partition(".")[0])] = person_of(content.decode("latin-1"), f"{who}: '{name}'")
    if missing := sorted({int(name.partition(".")[0]) for name in wanted} - found.keys()):
        raise BadInput(f"{who}: no headers of the records {', '.join(map(str, missing))}")
    return found


def person_of(header: str, who: str) -> Person:
    """Age and sex in the text of a header."""
    comment = COMMENT.search(header)
    if comment is None:
        raise BadInput(f"{who} does not say age and sex; legal: a comment such as '# 69 M 1085 1629 x1'")
    age = int(comment[1])
    return Person(age if age >= 0 else None, "M" if comment[2] == "M" else "F")


def _headers(wanted: Checksums, who: str) -> Iterable[tuple[str, bytes]]:
    """Name and content of each header: from the first folder that has all, else from the first archive."""
    places = search_places("ecg")
    for folder in (where for place in places for where in (place / "mitdb", place)):
        if all((folder / name).is_file() for name in wanted):
            return [(name, (folder / name).read_bytes()) for name in wanted]
    for archive in (place / name for place in places for name in ARCHIVES):
        if archive.is_file():
            return _from_archive(archive, wanted, who)
    example = next(iter(wanted), "100.hea")
    raise FilesMissing(
        f"{who}: no headers ({example}, ...) in mitdb/, and no {' or '.join(ARCHIVES)}, in "
        f"{', '.join(map(str, places))}; 'splitleak fetch mitbih' gets them"
    )


def _from_archive(archive: Path, wanted: Checksums, who: str) -> list[tuple[str, bytes]]:
    try:
        return list(dict(files_in_archive(archive, wanted, MAX_BYTES)).items())
    except BadInput as error:
        raise BadInput(f"{who}: {str(error).removeprefix('--from ')}") from error
