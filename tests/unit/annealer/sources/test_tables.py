"""Tables are read however they are written: separator, quotes, encoding, compression."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_annealer.data.rows import ReadAs, read_rows
from icm_annealer.sources.encoding import check_encoding
from icm_annealer.sources.row import Fault
from icm_client import RequestError

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
WORDS = st.sampled_from(
    ["see", "you", "café", "東京", "it's", "1,5", "a;b", "50|50", 'say "hi"', "two\nlines", "=1", "\\"]
)
TEXT = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)
ROWS = st.lists(st.tuples(TEXT, st.sampled_from(["spam", "fine", ""]), TEXT), min_size=3, max_size=12)
QUOTINGS = [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]


def read(path: Path | str, read_as: ReadAs = ReadAs()) -> list[Any]:  # noqa: B008 (immutable)
    return [row.value for row in read_rows(path, read_as=read_as)]


def cells(path: Path) -> list[list[Any]]:
    return [list(row.values()) for row in read(path)]


@settings(max_examples=40, deadline=None)
@given(
    rows=ROWS,
    separator=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from(QUOTINGS),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]),
    packing=st.sampled_from(list(PACKINGS)),
    suffix=st.sampled_from([".csv", ".txt", ""]),
    times=st.sampled_from([1, 1, 1, 100]),  # more than is read at once
)
def test_a_table_in_any_dialect_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    separator: str,
    quoting: Any,
    end: str,
    encoding: str,
    packing: str,
    suffix: str,
    times: int,
) -> None:
    rows = rows * times
    table = io.StringIO(newline="")
    writer = csv.writer(table, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerows([("message text", "label", "note"), *rows])
    path = tmp_path_factory.mktemp("table") / f"rows{suffix}{packing}"
    path.write_bytes(PACKINGS[packing](table.getvalue().encode(encoding)))
    assert read(path) == [{"message text": a, "label": b or None, "note": c} for a, b, c in rows]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text;label\nfree, now;spam\nsee you;fine\n", [["free, now", "spam"], ["see you", "fine"]]),
        ("text, label\nfree prize, spam\n", [["free prize", "spam"]]),
        ("text  |  label\nfree prize  |  spam\n", [["free prize", "spam"]]),
        ("text,label\nfree prize, spam\n", [["free prize", " spam"]]),
        ("'text','label'\n'it, ''s','spam'\n", [["it, 's", "spam"]]),
        ('text,label\n"say \\"hi\\", or so",spam\nx,fine\n', [['say "hi", or so', "spam"], ["x", "fine"]]),
        ('text,label\n"say ""hi""",spam\n"x",fine\n', [['say "hi"', "spam"], ["x", "fine"]]),
        ("text\nfree prize; now\n", [["free prize; now"]]),
        ("text;price\na, b;1,5\nc, d;2,5\n", [["a, b", "1,5"], ["c, d", "2,5"]]),
        ("text,,\na,1,2\n", [["a", "1", "2"]]),
        ("\n  \ntext,label\na,spam\n \n\nb,fine\n", [["a", "spam"], ["b", "fine"]]),
        ('text,label\n"a, ""b"" c",spam\n' + f"{'x' * 120},fine\n" * 10_000 + '"two\nlines",fine\n', None),
    ],
)
def test_how_a_table_is_written_is_recognised(tmp_path: Path, content: str, expected: list[list[str]] | None) -> None:
    (tmp_path / "rows.csv").write_text(content)
    found = cells(tmp_path / "rows.csv")
    if expected is None:
        expected = [['a, "b" c', "spam"], *[["x" * 120, "fine"]] * 10_000, ["two\nlines", "fine"]]
    assert found == expected


def test_quotes_may_be_ordinary_characters(tmp_path: Path) -> None:
    """Anywhere: far into the file, around whole cells, and in pairs or not."""
    texts = ['"and then', "x", '"hello" she said', '"all of it"', 'six"', *["plain"] * 1000, '"open']
    path = tmp_path / "rows.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{text}\tfine\n" for text in texts))
    assert cells(path) == [[text, "fine"] for text in texts]


def test_a_file_that_says_nothing_about_itself_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    for content, expected in (
        ("text;label\na;b\n", [{"text": "a", "label": "b"}]),
        ("[note];label\na;b\n", [{"[note]": "a", "label": "b"}]),
        ('\n {"text": "a"}\n', [{"text": "a"}]),
        ('[\n{"text": "a"}]', [{"text": "a"}]),
    ):
        path.write_text(content)
        assert read(path) == expected


def test_columns_can_be_named(tmp_path: Path) -> None:
    for suffix in (".csv", ""):
        path = tmp_path / f"rows{suffix}"
        path.write_text("spam;free, now\nfine;see you\n")
        assert read(path, ReadAs(["label", "text"])) == [
            {"label": "spam", "text": "free, now"},
            {"label": "fine", "text": "see you"},
        ]
        with pytest.raises(RequestError, match="line 1: 2 cells, where 3 columns are named"):
            read(path, ReadAs(["label", "text", "id"]))
        path.write_text("label;text\nfine;see you\n")
        with pytest.raises(RequestError, match="line 1: names the columns itself"):
            read(path, ReadAs(["label", "text"]))


def test_an_encoding_is_named_or_proposed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\nnaïve “café”,fine\n".encode("cp1252"))
    with pytest.raises(RequestError) as raised:
        read(path)
    assert raised.value.message.startswith(f"{path}, line 2: not UTF-8 (byte 2); in cp1252 it reads 'naïve “café”,f")
    assert "--encoding cp1252" in raised.value.message
    assert read(path, ReadAs(encoding="cp1252")) == [{"text": "naïve “café”", "label": "fine"}]
    assert read(path, ReadAs(encoding="latin-1"))[0]["label"] == "fine"
    path.write_bytes("text\nnaïve".encode("utf-16")[:-1])
    with pytest.raises(RequestError, match=r"rows.csv: not utf-16 \("):
        read(path)
    path.write_bytes(b"\xff\xfe" + b"\x00\xd8\x20\x00")  # half of a pair
    with pytest.raises(RequestError, match=r"rows.csv: not utf-16 \("):
        read(path)
    for name in ("hex", "nobodys", "a b\0"):
        with pytest.raises(ValueError, match="there is no encoding"):
            check_encoding(name)


BROKEN = b'text,label\n"a, b",spam\n"open,fine\nc,fine\nd\n"e"x,fine\n\xff,fine\n"f\n\xff\n",fine\n"two\nlines",fine\n'


def test_reading_goes_on_behind_a_bad_row(tmp_path: Path) -> None:
    """Of a row with an open quote only its first line is lost."""
    path = tmp_path / "rows.csv"
    path.write_bytes(BROKEN)
    faults: list[Fault] = []
    rows = [(row.where, row.value["text"]) for row in read_rows(path, on_fault=faults.append)]
    assert [(fault.where.rpartition(" ")[2], fault.kind) for fault in faults] == [
        ("3", "broken CSV"),
        ("5", "more or fewer cells than the header"),
        ("6", "broken CSV"),
        ("7", "not UTF-8"),
        ("8", "broken CSV"),
        ("9", "not UTF-8"),
        ("10", "broken CSV"),
    ]
    assert rows == [(f"{path}, line {line}", text) for line, text in ((2, "a, b"), (4, "c"), (11, "two\nlines"))]


def test_quotes_without_sense_are_read_in_time(tmp_path: Path) -> None:
    """Each swallows the lines behind it, which are then read again."""
    rng = np.random.default_rng(0)
    soup = ["".join(rng.choice(list('",x'), size=6)) for _ in range(8000)]
    path = tmp_path / "rows.csv"
    path.write_text('text,label\n"a, b",spam\n' + "\n".join(soup))
    start = time.process_time()
    faults: list[Fault] = []
    assert sum(1 for _ in read_rows(path, on_fault=faults.append)) > 1000
    assert len(faults) > 1000
    assert time.process_time() - start < 60  # 0.3


SHEET = [
    ["Message Text", "label", "size"],
    ["a, b", "spam", 3],
    ["c", None, 2.5],
    [None, None, None],
    [5, "fine", True],
]


TYPES = """<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>
<Override PartName="/xl/workbook.xml"
 ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>"""


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    """The smallest workbook that Excel would take."""

    def cell(value: Any) -> str:
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        if isinstance(value, bool):
            return f'<c t="b"><v>{int(value)}</v></c>'
        return "<c/>" if value is None else f"<c><v>{value}</v></c>"

    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    names = list(enumerate(sheets, start=1))
    listed = "".join(f'<sheet name="{name}" sheetId="{k}" r:id="r{k}"/>' for k, name in names)
    related = "".join(
        f'<Relationship Id="r{k}" Type="{office}/worksheet" Target="worksheets/sheet{k}.xml"/>' for k, _ in names
    )
    root = f'<Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/>'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("_rels/.rels", f"<Relationships {package}>{root}</Relationships>")
        archive.writestr(
            "xl/workbook.xml", f'<workbook {space} xmlns:r="{office}"><sheets>{listed}</sheets></workbook>'
        )
        archive.writestr("xl/_rels/workbook.xml.rels", f"<Relationships {package}>{related}</Relationships>")
        for k, name in names:
            rows = "".join(
                f'<row r="{number}">{"".join(map(cell, row))}</row>' for number, row in enumerate(sheets[name], start=1)
            )
            content = f"<worksheet {space}><sheetData>{rows}</sheetData></worksheet>"
            archive.writestr(f"xl/worksheets/sheet{k}.xml", content)
    return path


def test_a_workbook(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    path = workbook(tmp_path / "rows.xlsx", empty=[], mails=SHEET)
    rows = list(read_rows(path))
    assert [row.where for row in rows] == [f"{path}, row {number}" for number in (2, 3, 5)]
    assert [list(row.value.values()) for row in rows] == [["a, b", "spam", 3], ["c", None, 2.5], [5, "fine", True]]
    path.with_suffix("").write_bytes(path.read_bytes())  # recognised by its bytes
    assert read(path.with_suffix("")) == [row.value for row in rows]
    with pytest.raises(RequestError, match="holds the sheets 'one', 'two'; save the one"):
        read(workbook(tmp_path / "two.xlsx", one=SHEET, two=SHEET))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RequestError, match=r"rows.xlsx: "):
        read(path)


def test_a_workbook_without_the_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(RequestError, match=r"needs the package python-calamine: pip install 'icm-elicitation\[data\]'"):
        read(workbook(tmp_path / "rows.xlsx", mails=SHEET))


def test_an_archive_is_no_workbook(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows.csv", "text\na\n")
    with pytest.raises(RequestError, match="a zip archive, and no workbook: unpack it"):
        read(tmp_path / "rows.zip")


READ = """
import re, sys, time
from icm_annealer.data.rows import read_rows
from icm_annealer.data.examples import load_examples
from icm_annealer.data.task import Task
start = time.process_time()
if sys.argv[2] == "load":
    task = Task(name="x", template="{text}:", labels={"spam": " spam", "fine": " fine"}, gold="label")
    num = len(load_examples(sys.argv[1], task).examples)
else:
    num = sum(1 for _ in read_rows(sys.argv[1]))
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(num, time.process_time() - start, peak)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("num", "how"), [(200_000, "load"), (1_000_000, "stream")])
def test_large_files(tmp_path: Path, num: int, how: str) -> None:
    """200,000 rows are examples within ten seconds and 300 MB; a million are streamed in no more memory than a few."""
    path = tmp_path / "rows.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        file.write("id;text;label\n")
        file.writelines(f"m{k};see you, {k} times;{'spam' if k % 3 else 'fine'}\n" for k in range(num))
    command = [sys.executable, "-c", READ, str(path), how]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    found, seconds, megabytes = map(float, ended.stdout.split())
    assert found == num
    assert megabytes < (300 if how == "load" else 120)
    assert seconds < 60  # 4 on an idle machine
