"""Data pipeline: 100,000 rows of CSV, cleaned and summed up in chunks, with a report of what was found.

A step reads its part of the file by itself and gives back what it found, not the rows, so memory and ledger stay small
however large the file is. After a crash the chunks that were done are not read again.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

from measurements import write_csv
from pydantic import BaseModel

from perdure.strict import FatalError, Runtime, StepContext, step, workflow


class Source(BaseModel):
    file: str
    chunk_bytes: int = 250_000


class Chunk(BaseModel):
    """A part of a file that begins and ends with a line."""

    file: str
    begin: int
    end: int


class Summary(BaseModel):
    """What is known of one station, in tenths of a degree: sums of floats would depend on how the file is cut."""

    count: int
    total: int
    coldest: int
    hottest: int

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            count=self.count + other.count,
            total=self.total + other.total,
            coldest=min(self.coldest, other.coldest),
            hottest=max(self.hottest, other.hottest),
        )


class Part(BaseModel):
    """What one chunk held."""

    stations: dict[str, Summary]
    rows: int
    dirt: list[str]  # the first few lines that can't be used, as examples
    dirty: int


class Result(BaseModel):
    report: str
    rows: int
    dirty: int


EXAMPLES_MAX = 3
SHOWN_MAX = 200


@step
def split(source: Source) -> list[Chunk]:
    """Cut the file at line ends, reading no more of it than the places of the cuts."""
    size = Path(source.file).stat().st_size
    chunks: list[Chunk] = []
    with open(source.file, "rb") as file:
        header = file.readline()
        if header.strip() != b"id,station,celsius,taken_at":
            raise FatalError(f"{source.file} has other columns: {header.decode(errors='replace').strip()}")
        begin = file.tell()
        while begin < size:
            file.seek(min(begin + source.chunk_bytes, size))
            file.readline()  # up to the end of the line that was hit
            end = min(file.tell(), size)
            chunks.append(Chunk(file=source.file, begin=begin, end=end))
            begin = end
    return chunks


@step(timeout="5m")
def summarize(chunk: Chunk) -> Part:
    """Clean and sum up one chunk."""
    part = Part(stations={}, rows=0, dirt=[], dirty=0)
    with open(chunk.file, "rb") as file:
        file.seek(chunk.begin)
        lines = file.read(chunk.end - chunk.begin).removesuffix(b"\n").split(b"\n")
    for line in lines:
        part.rows += 1
        try:
            _, station, celsius, _ = next(csv.reader([line.decode("utf-8")]))  # a quote left open ends with its line
            tenths = round(float(celsius) * 10)
        except (ValueError, OverflowError, csv.Error):  # "n/a", a byte that is no letter; "inf"; a cell without end
            part.dirty += 1
            if len(part.dirt) < EXAMPLES_MAX:
                part.dirt.append(line.decode("utf-8", "backslashreplace").strip()[:SHOWN_MAX])
        else:
            measured = Summary(count=1, total=tenths, coldest=tenths, hottest=tenths)
            part.stations[station] = part.stations[station] + measured if station in part.stations else measured
    return part


@step
def write_report(source: Source, stations: dict[str, Summary], dirt: list[str]) -> str:
    """Write the report beside the file; writing it again changes nothing."""
    lines = ["| station | rows | mean | coldest | hottest |", "|---|---|---|---|---|"]
    for name, known in sorted(stations.items()):
        mean, coldest, hottest = known.total / known.count / 10, known.coldest / 10, known.hottest / 10
        lines.append(f"| {name} | {known.count:,} | {mean:.2f} | {coldest:.1f} | {hottest:.1f} |")
    lines += ["", "Lines that could not be used, for example:", *(f"    {line}" for line in dirt)]
    file = Path(source.file).with_suffix(".report.md")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


@workflow(id="summarize-csv")
async def summarize_csv(input: Source, step: StepContext) -> Result:
    """Sum up a file of measurements."""
    chunks = await split(input)
    parts: list[Part] = await step.map("chunk", summarize, chunks, concurrency=4)
    stations: dict[str, Summary] = {}
    for part in parts:
        for name, known in part.stations.items():
            stations[name] = stations[name] + known if name in stations else known
    examples = [line for part in parts for line in part.dirt][:EXAMPLES_MAX]
    report = await write_report(input, stations, examples)
    return Result(report=report, rows=sum(part.rows for part in parts), dirty=sum(part.dirty for part in parts))


def main() -> None:
    """Sum up 100,000 rows."""
    file = Path("measurements.csv")
    dirt = write_csv(file, 100_000)
    began = time.monotonic()
    with Runtime("csv_pipeline.duckdb", workflows=[summarize_csv]) as runtime:
        result = runtime.start(summarize_csv, Source(file=str(file))).result(timeout="120s")
    print("\n".join(Path(result.report).read_text(encoding="utf-8").splitlines()[:6]), "…", sep="\n")
    print(f"{result.rows:,} rows, {result.dirty:,} of {dirt:,} dirty ones found, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
