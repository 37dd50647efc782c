"""What MkDocs calls while it builds the site; `mkdocs.yml` names this file."""

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from website import formulas, markdown  # noqa: E402, MkDocs loads this file by its path
from website.content import DOCUMENTS, SEARCH_WORDS, Content  # noqa: E402

CONTENT = Content()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the notebooks, the models' cards and the reference to the navigation."""
    global CONTENT
    CONTENT = Content()
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


def on_files(files: Files, config: MkDocsConfig) -> Files:
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


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML; the words by which the search finds a guide."""
    page.meta["tags"] = SEARCH_WORDS.get(page.file.src_uri, [])
    return formulas.in_page(html)
