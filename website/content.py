"""The pages of the site, and which file of the repository each of them is.

ProperDocs reads `docs/`. The front page, the notebooks, the reference and the code that the
documents point to are added to it.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tfgen.publishing.versions import Version, shipped_folder
from tfgen.serving import card
from tfgen.system.quiet import import_quietly
from website import names, reference
from website.notebooks import NotebookPage

ROOT = Path(__file__).parents[1]
# Pages that are documents outside of docs/.
DOCUMENTS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "notebooks/README.md": "notebooks/index.md",
}
NOTEBOOKS = {
    "vae": "1. The VAE",
    "gan": "2. The GAN",
    "flow": "3. The flow",
    "comparison": "4. The comparison",
    "flow_matching": "5. Flow matching",
}
# The models on the exported page.
TRIED = ("vae", "vae-hierarchical", "gan", "flow", "flow-matching", "classifier")
# The runs whose pictures it shows, in docs/, with their epochs.
RUNS: dict[str, Iterable[int]] = {
    "vae-quick": range(0, 13, 2),
    "learning/vae-conv": range(0, 101, 10),
    "vae-hierarchical": (0, 88),
    "learning/gan-packed": range(0, 61, 6),
    "flow-multiscale": (0, 16, 32),
    "flow-deep": (0, 40),
    "flow-matching": (0, 18, 36),
}
TRY_IT = """---
hide: [navigation, toc]
---

# Try it

Your browser computes these images. [Open the page alone](try/index.html), or
[put your own models on the web](docs/serve.md#on-a-web-site). Opened from a folder, the page needs
a web server: `python -m http.server --directory site`.

<iframe src="try/index.html" title="The shipped models" class="page"></iframe>
"""
# The search puts guides first and the reference last, other sections between them.
SEARCH_BOOSTS = {"Guides": 1, "Reference": 0.1}
# Words that readers search for and that the guide does not contain.
SEARCH_WORDS = {
    "images.md": ["own images", "photos", "pictures"],
    "data.md": ["own data", "dataset"],
    "extending.md": ["write a family", "own model", "plugin"],
    "distributed.md": ["several GPUs", "cluster"],
}
# Code that a document points to has a page of its own.
CODE_SUFFIXES = (".py", ".toml", ".md", ".cff")
LANGUAGES = {".py": "python", ".toml": "toml", ".md": "markdown", ".cff": "yaml"}


@dataclass
class Content:
    """What is added to docs/.

    Attributes:
        pages: text of a page, or the content of a file, by its path within the site.
        documents: path within the repository and text of a document, by its path within the site.
        copies: files of the repository by their path within the site.
        uris: path within the site of a file of the repository.
        temporary: the files that are written for the site.
        repository: address of the repository; empty if it is unknown.
    """

    pages: dict[str, str | bytes] = field(default_factory=dict)
    documents: dict[str, tuple[str, str]] = field(default_factory=dict)
    copies: dict[str, Path] = field(default_factory=dict)
    uris: dict[str, str] = field(default_factory=dict)
    temporary: TemporaryDirectory[str] = field(default_factory=TemporaryDirectory)
    repository: str = ""

    def add_document(self, path: str, uri: str) -> None:
        """A document of the repository, whose links lead to files of the repository."""
        self.documents[uri] = (path, (ROOT / path).read_text(encoding="utf-8"))
        self.uris[path] = uri

    def add_try_it(self) -> None:
        """The page of the server, with shipped models that the browser computes."""
        folder = Path(self.temporary.name) / "try"
        command = [sys.executable, "-m", "tfgen", "export", *(f"saved_models/{n}/1" for n in TRIED)]
        command += ["--format", "page", "--out", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        listing = folder / "page" / "models.json"
        runs = [{"name": Path(path).name, "epochs": list(epochs)} for path, epochs in RUNS.items()]
        listing.write_text(json.dumps(json.loads(listing.read_text()) | {"runs": runs}))
        files = [path for path in folder.rglob("*") if path.is_file()]
        self.copies |= {f"try/{path.relative_to(folder)}": path for path in files}
        for path, epochs in RUNS.items():
            run, shown = ROOT / "docs" / path, f"try/page/runs/{Path(path).name}"
            self.copies[f"{shown}/curves.png"] = run / "curves.png"
            self.copies |= {
                f"{shown}/{epoch}.png": run / f"samples-{epoch}.png" for epoch in epochs
            }
        self.documents["try-it.md"] = "try-it.md", TRY_IT

    def add_models(self) -> list[dict[str, str]]:
        """The card of each shipped model, with its samples; returns their navigation."""
        import_quietly("tfgen.publishing.sampler")
        navigation = []
        for name in TRIED:
            version, folder = Version.at(shipped_folder() / name / "1"), f"models/{name}"
            self.pages[f"{folder}/index.md"] = card.model_card(version)
            if picture := card.samples_picture(version):
                self.pages[f"{folder}/{card.PICTURE}"] = picture
            navigation.append({name: f"{folder}/index.md"})
        return navigation

    def add_notebooks(self, folder: Path) -> list[dict[str, str]]:
        """The notebooks with their outputs, and the files to download; returns their navigation."""
        navigation = [{"About the notebooks": "notebooks/index.md"}]
        for name, title in NOTEBOOKS.items():
            page, uri = NotebookPage(folder / f"{name}.ipynb"), f"notebooks/{name}.md"
            self.pages |= {f"notebooks/{key}": value for key, value in page.pictures.items()}
            assignment = f"notebooks/assignments/{name}.ipynb"
            self.copies[f"notebooks/files/{name}.ipynb"] = folder / f"{name}.ipynb"
            self.copies[assignment] = folder / "assignments" / f"{name}.ipynb"
            self.uris |= {f"notebooks/{name}.ipynb": uri, assignment: assignment}
            links = (
                f"[Download the {what}]({place}/{name}.ipynb){{ download={what}-{name}.ipynb }}"
                for what, place in (("notebook", "files"), ("assignment", "assignments"))
            )
            heading, _, text = page.markdown.partition("\n")
            text = f"{heading}\n\n{' · '.join(links)}\n\n{text}"
            self.documents[uri] = f"notebooks/{name}.ipynb", text
            navigation.append({title: uri})
        return navigation

    def add_reference(self) -> list[dict[str, object]]:
        """A page for each public name; returns their navigation."""
        navigation: list[dict[str, object]] = []
        for module, public in names.public_names().items():
            uri = reference.page_uri(module)
            self.pages[uri] = reference.module_page(module, public)
            entries: list[object] = [uri]
            for name in public:
                uri = reference.page_uri(module, name)
                self.pages[uri] = reference.name_page(name)
                entries.append({name.rpartition(".")[2]: uri})
            navigation.append({module: entries})
        return navigation

    def add_code(self, path: str) -> str | None:
        """A page with a file or a folder of code; returns its path, None if it is no code."""
        if path not in self.uris:
            target = ROOT / path
            files = [target] if target.is_file() else sorted(target.rglob("*.*"))
            files = [file for file in files if file.suffix in CODE_SUFFIXES]
            if not files or path.startswith("docs/"):
                return None
            self.uris[path] = f"code/{path}.md"
            self.pages[self.uris[path]] = code_page(path, files)
        return self.uris[path]


def code_page(path: str, files: list[Path]) -> str:
    """A page that shows files of code as they stand."""
    lines = ["---", "search:", "  exclude: true", "---", "", f"# `{path}`", ""]
    for file in files:
        if len(files) > 1:
            lines += [f"## `{file.relative_to(ROOT / path)}`", ""]
        text = file.read_text(encoding="utf-8").rstrip("\n")
        lines += [f"````{LANGUAGES[file.suffix]}", text, "````", ""]
    return "\n".join(lines)
