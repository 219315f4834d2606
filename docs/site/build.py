"""The documentation as a site: `make docs` builds it into build/site. Warnings are errors, a dead link is one.

Pages are written as they are read in the repository: plain Markdown, with links from file to file. Here they are laid
out for Sphinx: README.md is the front page, every link is turned to where its target is on the site, and a block that a
reader is to save shows its file's name. Knows where pages are and how they link. Must not know how they look (conf.py,
style.css), in which order they are read (navigation.md), or what an example's page says (example_pages.py).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

from example_pages import INDEX, example_page, index_navigation, placed_examples

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build"

#: Pages outside of docs/, and where they are on the site.
OUTSIDE = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    INDEX: "examples/index.md",
}

_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_TITLE = re.compile(r"^# ", re.MULTILINE)
_HEADING = re.compile(r"^#+ ", re.MULTILINE)
_FENCED = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
_SAVED = re.compile(r"^<!-- file: (\S+) -->\n```(\w+)\n", re.MULTILINE)
_DIRECTIVE = re.compile(r"^<!-- (?:file|run|session|fragment|rows)\b.*?-->\n", re.MULTILINE)
#: What a browser would fetch from another host by itself.
_FETCHED = re.compile(r"<(?:script|img|iframe|source)[^>]*\bsrc=\"(?:https?:)?//|<link[^>]*\bhref=\"(?:https?:)?//")


class DeadLink(Exception):
    """A page links to what is not there."""


def placed_pages(root: Path = ROOT) -> dict[str, str]:
    """Every page: its path in the repository → its path on the site."""
    pages = {name: place for name, place in OUTSIDE.items() if (root / name).exists()}
    for path in sorted((root / "docs").rglob("*.md")):
        if path.relative_to(root / "docs").parts[0] != "site":
            pages[path.relative_to(root).as_posix()] = path.relative_to(root / "docs").as_posix()
    return pages


def laid_out(text: str, name: str, pages: dict[str, str], root: Path = ROOT) -> str:
    """Turn one page's text into what Sphinx reads. Raises: DeadLink."""
    parts = _FENCED.split(_DIRECTIVE.sub("", _SAVED.sub(_captioned, text)))
    titles = sum(len(_TITLE.findall(prose)) for prose in parts[::2])
    for index in range(0, len(parts), 2):  # code is left alone
        prose = _LINK.sub(lambda link: _turned(link, name, pages, root), parts[index])
        if titles > 1:  # a page of several parts: the site's navigation wants one title a page
            prose = _HEADING.sub(r"#\g<0>", prose).removeprefix("#" if index == 0 else "")
        parts[index] = prose
    return "".join(parts)


def _captioned(block: re.Match[str]) -> str:
    return f"```{{code-block}} {block[2]}\n:caption: {block[1]}\n\n"


def _turned(link: re.Match[str], name: str, pages: dict[str, str], root: Path) -> str:
    words, target = link[1], link[2]
    path, hash_sign, anchor = target.partition("#")
    if "://" in target or target.startswith("mailto:") or not path:
        return link[0]
    found = os.path.normpath(PurePosixPath(name).parent / path)
    if found in pages:
        there = os.path.relpath(pages[found], PurePosixPath(pages[name]).parent)
        return f"[{words}]({PurePosixPath(there)}{hash_sign}{anchor})"
    if not (root / found).exists():
        raise DeadLink(f"{name} links to {target}, and there is no {found}")
    return f"{words} (`{found}`)"  # a file of the repository, which the site does not have


def lay_out(folder: Path, root: Path = ROOT) -> int:
    """Write all pages into an empty folder; give their number."""
    shutil.rmtree(folder, ignore_errors=True)
    pages, examples = placed_pages(root), placed_examples(root)
    for name, place in pages.items():
        text = laid_out((root / name).read_text(encoding="utf-8"), name, pages | examples, root)
        if place == "index.md":
            text += "\n" + (HERE / "navigation.md").read_text(encoding="utf-8")
        elif name == INDEX:
            text += index_navigation(root)
        _write(folder / place, text)
    for name, place in examples.items():
        _write(folder / place, example_page(root / name))
    return len(pages) + len(examples)


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def fetched_from_elsewhere(site: Path) -> list[str]:
    """The pages with a script, style, picture or font of another host."""
    return [
        path.relative_to(site).as_posix()
        for path in sorted(site.rglob("*.html"))
        if _FETCHED.search(path.read_text(encoding="utf-8"))
    ]


def main() -> int:
    """Build the site; the exit code."""
    source, site = BUILD / "site-source", BUILD / "site"
    try:
        count = lay_out(source)
    except DeadLink as dead:
        print(dead, file=sys.stderr)
        return 1
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html"]
    command += [
        "--fail-on-warning",
        "--nitpicky",
        "--conf-dir",
        str(HERE),
        "--doctree-dir",
        str(BUILD / "site-doctrees"),
    ]
    code = subprocess.run([*command, "--fresh-env", str(source), str(site)], check=False).returncode
    if code:
        return code
    for name in fetched_from_elsewhere(site):
        print(f"{name} fetches something from another host", file=sys.stderr)
        code = 1
    print(f"{count} pages in {site.relative_to(ROOT)}: open {site.relative_to(ROOT)}/index.html")
    return code


if __name__ == "__main__":
    sys.exit(main())
