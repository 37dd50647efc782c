"""The site builds without a warning, holds what it should, and loads nothing from elsewhere."""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.serving.browser import open_browser, open_page
from website import names, reference

pytestmark = pytest.mark.slow

pytest.importorskip("properdocs", reason="needs the extra [docs]")

ROOT = Path(__file__).parents[2]
# What a browser loads with a page: element → attributes.
LOADED = {
    **{"script": ["src"], "img": ["src", "srcset"], "iframe": ["src"], "source": ["src", "srcset"]},
    **{"video": ["src", "poster"], "audio": ["src"], "embed": ["src"], "object": ["data"]},
    **{"use": ["href"], "image": ["href"], "link": ["href"], "form": ["action"]},
}
ELSEWHERE = re.compile(r"\s*(?:[a-z]+:)?//", re.I)


class Parsed(HTMLParser):
    """What a page loads, what it links to, and the places within it."""

    def __init__(self, text: str):
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.loaded += [values[key] for key in LOADED.get(tag, []) if key in values]
        self.loaded += re.findall(r"url\(['\"]?([^)'\"]+)", values.get("style", ""))
        self.links += [values["href"]] if tag == "a" and "href" in values else []
        self.anchors |= {values[key] for key in ("id", "name") if key in values}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # Material announces its end of life and its successor in each build. With a link to the
    # repository, its own template would ask the host for a count of stars.
    command = [sys.executable, "-m", "properdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        ["env", "NO_MKDOCS_2_WARNING=1", "REPOSITORY_URL=https://github.com/o/n", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert built.returncode == 0, built.stderr[-3000:]
    assert "WARNING" not in built.stderr
    return folder


@functools.cache
def parsed(path: Path) -> Parsed:
    return Parsed(path.read_text(encoding="utf-8"))


def pages(site: Path) -> list[Path]:
    found_pages = sorted(site.rglob("*.html"))
    assert len(found_pages) > 150
    return found_pages


def search_titles(site: Path) -> list[tuple[str, str]]:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    return [(entry["title"], entry["location"]) for entry in index["docs"]]


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for path in pages(site):
        assert not [url for url in parsed(path).loaded if ELSEWHERE.match(url)], path.name
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        urls = re.findall(r"(?:url\(|@import )['\"]?([^)'\";]+)", text)
        assert not [url for url in urls if ELSEWHERE.match(url)], path.name


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    for path in pages(site):
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        for link in {*parsed(path).links, *parsed(path).loaded}:
            if re.match(r"[a-z]+:", link):
                continue
            address, _, anchor = link.partition("#")
            target = (path.parent / unquote(address.partition("?")[0])).resolve()
            target = path if not address else target
            assert target.is_file(), f"{path.name}: {link}"
            if anchor and target.suffix == ".html" and not anchor.startswith("__"):
                assert unquote(anchor) in parsed(target).anchors, f"{path.name}: {link}"


def test_every_public_name_has_its_page(site: Path) -> None:
    titles = {location: title for title, location in search_titles(site)}
    for module, part in names.public_names().items():
        for name in [module, *part]:
            uri = reference.page_uri(module, "" if name == module else name)
            location = uri.replace(".md", ".html")
            assert name in titles[location], location
            assert (site / location).is_file()


def test_no_logs_and_evaluations_are_in_the_site(site: Path) -> None:
    data = {path.name for suffix in ("json", "jsonl") for path in site.rglob(f"*.{suffix}")}
    assert data == {"search_index.json", "models.json"}  # the second is of the page Try it


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with open_browser() as browser:
        yield browser


def search(page: Any, query: str) -> Any:
    """Types into the search; returns its results."""
    # The search runs at each key.
    page.fill(".md-search__input", query[:-1])
    page.press(".md-search__input", query[-1])
    return page.locator(".md-search-result__item")


def test_the_search_works_from_a_folder_without_a_network(site: Path, browser: object) -> None:
    page = open_page(browser, offline=True)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto((site / "train.html").as_uri())
    queries = {
        "PixelCNN": "Extend tfgen",
        "LogisticMixture": "tfgen.models.vae.logistic_mixture.LogisticMixture",
        "Question 1.4": "Question 1.4",
        "own images": "From a folder of pictures",
        "photos": "From a folder of pictures",
        "write a family": "Extend tfgen",
    }
    for query, title in queries.items():
        first = search(page, query).and_(page.locator(":nth-child(-n+3)"))
        first.filter(has_text=title).first.wait_for(state="attached")
    guides = {
        "resume training": "Train a model",
        "export model to ONNX": "Serve a sampler",
        "batch size": "Train a model",
        "latent interpolation": "Sample from a model",
        "install on Windows": "tfgen",
    }
    for query, title in guides.items():
        heading = search(page, query).first.locator("h1")
        heading.filter(has_text=re.compile(rf"^\s*{title}\s*$")).wait_for(state="attached")
    assert not page.complaints
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in requested)
