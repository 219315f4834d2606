"""The pages as the site has them: each is in the navigation, and links lead to where targets went or are refused.

`make docs` builds the site itself.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from pages import ROOT


@pytest.fixture(scope="module")
def site() -> ModuleType:
    """docs/site/build.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("site_build", ROOT / "docs/site/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs/site"))  # as it is when the file is run
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of three pages and an example."""
    for name, text in {
        "README.md": "# Project\n\n[how](docs/howto.md#a) [tour](docs/tour/one.md)\n",
        "docs/howto.md": "# How\n\n## A\n\n[install](../README.md#install) [code](../examples/shop.py) [x](https://a.b)\n",
        "docs/tour/one.md": "# One\n\n[how](../howto.md)\n",
        "docs/site/navigation.md": "no page\n",
        "examples/shop.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_page_is_in_the_navigation_once(site: ModuleType) -> None:
    navigation = (ROOT / "docs/site/navigation.md").read_text(encoding="utf-8")
    listed = sorted(re.findall(r"^(?:[\w ]+ <)?([\w/-]+)>?$", navigation, re.MULTILINE))
    assert listed == sorted(place.removesuffix(".md") for place in site.placed_pages().values() if place != "index.md")


def test_every_link_of_every_page_leads_somewhere(site: ModuleType, tmp_path: Path) -> None:
    assert site.lay_out(tmp_path / "source") == len(site.placed_pages()) + len(site.placed_examples(ROOT)) > 35


def test_each_example_has_a_page_with_all_of_its_code(site: ModuleType, tmp_path: Path) -> None:
    site.lay_out(tmp_path)
    index = (tmp_path / "examples/index.md").read_text(encoding="utf-8")
    folders = sorted(main.parent for main in (ROOT / "examples/patterns").glob("*/workflows.py"))
    assert len(folders) > 15
    for folder in folders:
        name = folder.name.replace("_", "-")
        page = (tmp_path / "examples" / f"{name}.md").read_text(encoding="utf-8")
        assert f"$ perdure new my-project --from {name}\n" in page
        for file in (*folder.glob("*.py"), *folder.glob("tests/*.py")):
            text = file.read_text(encoding="utf-8").strip()
            if file.name == "workflows.py":  # whose docstring the page begins with
                text = "from __future__" + text.partition("from __future__")[2]
            assert text in page, file
        assert f"]({name}.md)" in index
        assert re.search(rf"^{name}$", index, re.MULTILINE), "not in the navigation"


def test_a_link_to_an_example_s_code_leads_to_its_page(site: ModuleType, tmp_path: Path) -> None:
    site.lay_out(tmp_path)
    assert "[`saga`](examples/saga.md)" in (tmp_path / "i-want-to.md").read_text(encoding="utf-8")


def test_links_are_turned_to_where_their_targets_are_on_the_site(site: ModuleType, repository: Path) -> None:
    pages = site.placed_pages(repository)
    assert pages == {"README.md": "index.md", "docs/howto.md": "howto.md", "docs/tour/one.md": "tour/one.md"}

    def laid_out(name: str) -> str:
        return str(site.laid_out((repository / name).read_text(encoding="utf-8"), name, pages, repository))

    assert "[how](howto.md#a) [tour](tour/one.md)" in laid_out("README.md")
    assert "[install](index.md#install) code (`examples/shop.py`) [x](https://a.b)" in laid_out("docs/howto.md")
    assert "[how](../howto.md)" in laid_out("docs/tour/one.md")


def test_a_link_to_nothing_is_refused_with_its_page(site: ModuleType, repository: Path) -> None:
    pages = site.placed_pages(repository)
    with pytest.raises(site.DeadLink, match=r"docs/howto.md links to gone.md, and there is no docs/gone.md"):
        site.laid_out("[lost](gone.md)\n", "docs/howto.md", pages, repository)
    code = "```python\nx = a[0](gone.md)\n```\n"
    assert site.laid_out(code, "docs/howto.md", pages, repository) == code  # in code it is no link


def test_a_block_to_be_saved_shows_its_files_name(site: ModuleType, repository: Path) -> None:
    text = "<!-- file: a.py -->\n```python\n# x = 1\n```\n\n<!-- run -->\n```python\ny = 2\n```\n"
    assert site.laid_out(text, "README.md", {"README.md": "index.md"}, repository) == (
        "```{code-block} python\n:caption: a.py\n\n# x = 1\n```\n\n```python\ny = 2\n```\n"
    )


def test_a_page_of_several_parts_keeps_one_title(site: ModuleType, repository: Path) -> None:
    text = "# Errors\n\n# Yours\n\n```python\n# a comment\n```\n\n## E1\n"
    assert site.laid_out(text, "README.md", {"README.md": "index.md"}, repository) == (
        "# Errors\n\n## Yours\n\n```python\n# a comment\n```\n\n### E1\n"
    )


def test_what_a_browser_would_fetch_from_elsewhere_is_noticed(site: ModuleType, tmp_path: Path) -> None:
    for name, text in {
        "script.html": '<script src="https://cdn.example/x.js"></script>',
        "style.html": '<link rel="stylesheet" href="//fonts.example/x.css" />',
        "fine.html": '<a href="https://example.com">x</a><link rel="stylesheet" href="_static/style.css" />',
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert site.fetched_from_elsewhere(tmp_path) == ["script.html", "style.html"]
