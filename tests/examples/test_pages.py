"""What README and the documentation show is so: their code runs, and prints what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import ROOT, agrees, blocks, run_page

PAGES = ["README.md", *sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md"))]
PAGES.remove("docs/errors.md")  # has tests of its own
PAGES.remove("docs/site/navigation.md")  # a piece of the site's front page
WITHOUT_CODE = {"docs/explanation.md", "docs/reference.md", "docs/threat-model.md"}
WITHOUT_CODE |= {"docs/i-want-to.md", "docs/reference-commands.md", "docs/reference-testing.md"}
WITHOUT_CODE |= {"docs/reference-services.md"}  # its operations are run in tests/services
WITHOUT_CODE |= {"docs/living-with-code-changes.md"}  # what it shows is deployed by tests/deploys
RUN_HERE = [page for page in PAGES if "coming-from/" not in page]  # test_coming_from.py runs the others


@pytest.mark.timeout(400)  # the page of how-tos starts fifty processes, perhaps on a busy machine
@pytest.mark.parametrize("page", RUN_HERE)
def test_a_page_does_what_it_shows(page: str, tmp_path: Path) -> None:
    executed = run_page(page, tmp_path)
    assert executed or page in WITHOUT_CODE, f"{page} shows nothing that runs"


@pytest.mark.parametrize("page", [*PAGES, "examples/README.md"])
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}, which is not there"


def test_the_runner_of_pages_notices_what_is_wrong(tmp_path: Path) -> None:
    assert agrees("run …\nended", "run 17\nended\n")
    assert not agrees("run …\nended", "run 17\nfailed\n")
    assert not agrees("", "a surprise")
    (block,) = blocks("<!-- file: a.py -->\n```python\nx = 1\n```\n")
    assert (block.directive, block.argument, block.text) == ("file", "a.py", "x = 1\n")
    (unmarked,) = blocks("Some words.\n\n```python\nx = 1\n```\n")
    assert unmarked.directive == ""
