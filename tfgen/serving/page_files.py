"""The files of the page, which are part of the package."""

from importlib import resources

from starlette.responses import Response

from tfgen.serving.refusal import RefusalError

INDEX = "index.html"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
}
_HEADERS = {
    # Nothing from another host, and no script or style inside of the HTML.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The files are small, and a newer tfgen has other ones.
    "Cache-Control": "no-cache",
}


def read(name: str) -> Response:
    """A file of the page.

    Args:
        name: name of the file; it is looked up in the list of the files, and no path is made of it.

    Raises:
        RefusalError: there is no such file.
    """
    for entry in resources.files("tfgen.serving").joinpath("page").iterdir():
        if entry.name == name and entry.is_file():
            return response(entry.read_bytes(), name)
    raise RefusalError(404, f"The page has no file {name[:80]!r}")


def response(content: bytes, name: str) -> Response:
    """An answer with that content, whose type follows from the file's name."""
    kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    return Response(content, headers=_HEADERS, media_type=kind)
