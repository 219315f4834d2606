"""Every row is counted once, however the file is cut, and wherever the process dies."""

from pathlib import Path

import pytest
from measurements import write_csv
from workflows import Result, Source, Summary, split, summarize, summarize_csv

from perdure.strict import RunFailed
from perdure.testing import RuntimeFactory, crash_everywhere

ROWS = 2_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_csv(tmp_path / "measurements.csv", ROWS)
    return tmp_path / "measurements.csv"


@pytest.mark.parametrize("chunk_bytes", [1, 100, 4_096, 10**9])
def test_chunks_hold_every_byte_once_and_end_with_a_line(file: Path, chunk_bytes: int) -> None:
    chunks = split.function(Source(file=str(file), chunk_bytes=chunk_bytes))
    data = file.read_bytes()
    assert b"".join(data[chunk.begin : chunk.end] for chunk in chunks) == data.partition(b"\n")[2]
    assert all(data[chunk.end - 1 : chunk.end] == b"\n" for chunk in chunks)


def test_the_sum_does_not_depend_on_the_chunks(file: Path, perdure_runtime: RuntimeFactory) -> None:
    reports = set()
    with perdure_runtime(summarize_csv) as runtime:
        for chunk_bytes in (5_000, 10**9):
            source = Source(file=str(file), chunk_bytes=chunk_bytes)
            result = runtime.start(summarize_csv, source).result(timeout="20s")
            reports.add((result.rows, Path(result.report).read_text(encoding="utf-8")))
    ((rows, _),) = reports
    assert rows == ROWS


def test_all_rows_are_counted_wherever_the_process_dies(tmp_path: Path) -> None:
    file = tmp_path / "measurements.csv"
    dirty = write_csv(file, 1_000)
    report = crash_everywhere(summarize_csv, Source(file=str(file), chunk_bytes=15_000))
    assert report.outcome == (
        "completed",
        Result(report=str(tmp_path / "measurements.report.md"), rows=1_000, dirty=dirty),
    )


def test_what_a_step_gives_back_does_not_grow_with_its_chunk(tmp_path: Path) -> None:
    sizes = []
    for rows in (1_000, 10_000):
        write_csv(tmp_path / "measurements.csv", rows)
        (chunk,) = split.function(Source(file=str(tmp_path / "measurements.csv"), chunk_bytes=10**9))
        sizes.append(len(summarize.function(chunk).model_dump_json()))
    assert sizes[1] < sizes[0] * 1.2


def test_dirt_is_counted_and_shown(tmp_path: Path) -> None:
    file = tmp_path / "measurements.csv"
    file.write_text("id,station,celsius,taken_at\n1,S01,n/a,2030-01-01\n2,S01,7.5,2030-01-01\n3,S01\n")
    (chunk,) = split.function(Source(file=str(file)))
    part = summarize.function(chunk)
    assert (part.rows, part.dirty, part.dirt) == (3, 2, ["1,S01,n/a,2030-01-01", "3,S01"])
    assert part.stations == {"S01": Summary(count=1, total=75, coldest=75, hottest=75)}


@pytest.mark.parametrize(
    "dirt",
    [b"1,S01,inf,2030-01-01", b"1,S01,nan,2030-01-01", b"1,S\xff1,7.5,2030-01-01", b'1,"S01,7.5,2030-01-01', b"",
     b"1,S01," + b"7" * 200_000 + b",2030-01-01"],
    ids=["inf", "nan", "no utf-8", "open quote", "empty", "endless cell"],
)  # fmt: skip
def test_whatever_stands_in_a_line_costs_that_line_only(dirt: bytes, tmp_path: Path) -> None:
    file = tmp_path / "measurements.csv"
    good = b"2,S01,7.5,2030-01-01"
    file.write_bytes(b"\n".join([b"id,station,celsius,taken_at", dirt, good, good]))  # no newline at the end
    (chunk,) = split.function(Source(file=str(file)))
    part = summarize.function(chunk)
    assert (part.rows, part.dirty) == (3, 1)
    assert part.stations == {"S01": Summary(count=2, total=150, coldest=75, hottest=75)}
    assert len(part.model_dump_json()) < 1_000


def test_a_file_with_other_columns_is_refused_at_once(tmp_path: Path, perdure_runtime: RuntimeFactory) -> None:
    file = tmp_path / "other.csv"
    file.write_text("name,age\nAda,36\n")
    with perdure_runtime(summarize_csv) as runtime:
        run = runtime.start(summarize_csv, Source(file=str(file)))
        with pytest.raises(RunFailed, match="has other columns: name,age"):
            run.result(timeout="10s")
