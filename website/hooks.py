"""What ProperDocs calls while it builds the site; `properdocs.yml` names this file."""

import sys
from pathlib import Path
from typing import Any

from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files
from properdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from website import formulas, markdown  # noqa: E402, ProperDocs loads this file by its path
from website.content import DOCUMENTS, SEARCH_BOOSTS, SEARCH_WORDS, Content  # noqa: E402

CONTENT = Content()


def on_config(config: ProperDocsConfig) -> ProperDocsConfig:
    """Adds the notebooks, the models' cards and the reference to the navigation."""
    global CONTENT
    CONTENT = Content(repository=config.repo_url or "")
    for path, uri in DOCUMENTS.items():
        CONTENT.add_document(path, uri)
    CONTENT.add_try_it()
    sections: dict[str, list[Any]] = {"Notebooks": CONTENT.add_notebooks(ROOT / "notebooks")}
    sections["Models"] = CONTENT.add_models()
    sections["Reference"] = CONTENT.add_reference()
    for entry in config.nav or []:
        for title in sections.keys() & entry.keys():
            entry[title] = sections[title]
    config.nav = [entry for entry in config.nav or [] if all(entry.values())]
    return config


def on_files(files: Files, config: ProperDocsConfig) -> Files:
    """Adds the pages that are not in docs/, and turns the links of all documents."""
    for file in list(files.documentation_pages()):
        CONTENT.add_document(f"docs/{file.src_uri}", file.src_uri)
        files.remove(file)
    for uri, (source, text) in CONTENT.documents.items():
        links = markdown.Links(CONTENT, source, uri)

        def change(part: str, links: markdown.Links = links) -> str:
            part = markdown.without_comments(part)
            return links.rewrite(markdown.with_blank_lines(part))

        CONTENT.pages[uri] = markdown.outside_fences(text, change)
    for uri, page in CONTENT.pages.items():
        files.append(File.generated(config, uri, content=page))
    for uri, path in CONTENT.copies.items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_content(html: str, page: Page, config: ProperDocsConfig, files: Files) -> str:
    """Turns formulas into MathML, and sets the tags and the rank of a page in the search."""
    page.meta["tags"] = SEARCH_WORDS.get(page.file.src_uri, [])
    section = page.ancestors[-1].title if page.ancestors else "Guides"
    boost = SEARCH_BOOSTS.get(str(section), 0.3)
    page.meta["search"] = {"boost": boost} | page.meta.get("search", {})
    return formulas.in_page(html)
