"""Every file is counted, and what was counted before a crash is not counted again."""

from pathlib import Path

import pytest
from workflows import count_folder, count_words, write_texts

from perdure.testing import RuntimeFactory, Simulation, assert_history, crash_everywhere


@pytest.fixture
def texts(tmp_path: Path) -> str:
    write_texts(tmp_path, 3)
    return str(tmp_path)


def test_all_files_are_counted_wherever_the_process_dies(texts: str) -> None:
    report = crash_everywhere(count_folder, texts)
    assert report.outcome == ("completed", "15 words in 3 files; the favourite is 'durable'")


def test_a_word_that_leads_in_no_file_may_lead_in_all(perdure_runtime: RuntimeFactory, tmp_path: Path) -> None:
    for number in range(3):
        own = " ".join(f"{letter}{number}" for letter in "abcdef")  # six words that only this file has, twice each
        (tmp_path / f"{number}.txt").write_text(f"{own} everywhere {own}")
    with perdure_runtime(count_folder) as runtime:
        counted = runtime.start(count_folder, str(tmp_path)).result(timeout="10s")
    assert counted == "39 words in 3 files; the favourite is 'everywhere'"


def test_a_step_is_made_for_each_file(perdure_runtime: RuntimeFactory, texts: str) -> None:
    with perdure_runtime(count_folder) as runtime:
        run = runtime.start(count_folder, texts)
        run.result(timeout="10s")
        assert_history(run, ["list_texts", "count[0]", "count[1]", "count[2]"])


def test_the_order_in_which_they_finish_makes_no_difference(texts: str) -> None:
    outcomes = set()
    for seed in range(5):
        with Simulation(count_folder, seed=seed, steps={"count": count_words.function}) as simulation:
            outcomes.add(simulation.start(count_folder, texts).result())
    assert len(outcomes) == 1


def test_an_empty_folder_has_no_words(perdure_runtime: RuntimeFactory, tmp_path: Path) -> None:
    with perdure_runtime(count_folder) as runtime:
        assert runtime.start(count_folder, str(tmp_path)).result(timeout="10s").startswith("0 words in 0 files")
