"""Links of the documents, from the repository's paths to those of the site."""

import posixpath
import re
from pathlib import Path

from website.content import ROOT, Content

_LINK = re.compile(r"(?<!!)\[([^\[\]]*(?:!\[[^\]]*\]\([^)]*\))?[^\[\]]*)\]\(([^)\s]+)\)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


class Links:
    """Rewrites the links of one document.

    Args:
        content: the pages of the site.
        source: path of the document within the repository.
        uri: path of its page within the site.
    """

    def __init__(self, content: Content, source: str, uri: str):
        self.content = content
        self.folder = posixpath.dirname(source)
        self.page_folder = posixpath.dirname(uri)

    def rewrite(self, text: str) -> str:
        """Markdown whose links lead to pages of the site.

        A file of data that the site does not have is named by its path, without a link.
        """
        text = _PICTURE.sub(lambda match: f"![{match[1]}]({self._target(match[2])})", text)
        return _LINK.sub(self._link, text)

    def _link(self, match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        path = self._repository_path(target)
        if path is None or words.startswith("!["):
            return f"[{words}]({self._target(target)})"
        if path in self.content.uris or Path(path).suffix in (".md", ".png"):
            return f"[{words}]({self._target(target)})"
        if not (ROOT / path).exists():
            # A notebook that was not run yet has no page.
            return f"{words} (`{path}`)" if path.endswith(".ipynb") else match[0]
        if uri := self.content.add_code(path):
            return f"[{words}]({self._relative(uri)})"
        return f"`{path}`" if path.endswith(words.strip("`")) else f"{words} (`{path}`)"

    def _repository_path(self, target: str) -> str | None:
        """The file of the repository that a link leads to; None if it leads elsewhere."""
        if re.match(r"[a-z]+:|#|/", target):
            return None
        return posixpath.normpath(posixpath.join(self.folder, target.partition("#")[0]))

    def _target(self, target: str) -> str:
        path = self._repository_path(target)
        if path is None:
            return target
        anchor = target.partition("#")[1] + target.partition("#")[2]
        return self._relative(self.content.uris.get(path, path.removeprefix("docs/"))) + anchor

    def _relative(self, uri: str) -> str:
        return posixpath.relpath(uri, self.page_folder or ".")
