"""A headless Chromium, and what tests read from the page in it."""

import base64
import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.commands import PATIENCE

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)

# The server is computing, or a part of the page waits for it.
BUSY = "[aria-busy=true], #progress:not([hidden])"
_READ_CANVASES = """canvases => canvases.map(canvas => {
    const {width, height} = canvas;
    const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
    return [height, width, Array.from(data, byte => String.fromCharCode(byte)).join("")];
})"""


def find_chromium() -> str | None:
    """The Chromium of the system; None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """A context with a browser; it skips the test where there is no Chromium."""
    with sync_api.sync_playwright() as playwright:
        path = find_chromium() or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium")
        # Without a sandbox, Chromium also runs as root, as in a container.
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        sync_api.expect.set_options(timeout=1000 * PATIENCE)  # [ms]
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Any, **settings: Any) -> Any:
    """A page of a new visitor; whatever the browser complains about is in `page.complaints`."""
    # Animations would be most of the browser's work, and no test sees a worker's requests.
    settings = {"reduced_motion": "reduce", "service_workers": "block", **settings}
    page = browser.new_context(**settings).new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda line: line.type == "error" and page.complaints.append(line.text))
    return page


def visit(page: Any, url: str, view: str, wait: bool = True, **values: Any) -> None:
    """Opens a view of the page with a state, and waits until all is shown."""
    query = "&".join(f"{name}={value}" for name, value in values.items())
    page.goto("about:blank")
    page.goto(f"{url}/#{view}?{query}")
    if wait:
        settle(page)


def reload(page: Any, **values: Any) -> None:
    """Opens the address of the page again when it has a state, and waits until all is shown."""
    for name, value in values.items():
        # The address is written a few times a second.
        state = re.compile(rf"[?&]{name}={re.escape(str(value))}(&|$)")
        sync_api.expect(page).to_have_url(state)
    page.reload()
    settle(page)


def settle(page: Any) -> None:
    """Waits until the view is there and no request is under way."""
    sync_api.expect(page.locator("h1")).to_be_visible()
    sync_api.expect(page.locator(BUSY)).to_have_count(0)


def slide(slider: Any, key: str, presses: int) -> None:
    """Moves a slider by a key."""
    slider.focus()
    for _ in range(presses):
        slider.press(key)


def open_file(page: Any, content: bytes) -> None:
    """Opens a file, `digit.png`, in the view Draw."""
    file = {"name": "digit.png", "mimeType": "image/png", "buffer": content}
    page.get_by_label("Open an image file").set_input_files(file)


def last_point(address: str) -> tuple[int, ...]:
    """Where the pen was last, of 256 × 256 pixels, as the address has it."""
    (text,) = re.findall(r"strokes=([\w-]+)", address) or [""]
    return tuple(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[-2:]) or (0, 0)


def with_statistics(page: Any, by_name: dict[str, Any], names: Sequence[str] = ()) -> None:
    """Puts statistics of test images into the listing, which the server takes a while to have.

    With names, the listing has no other models.
    """

    def answer(route: Any) -> None:
        listing = route.fetch().json()
        for model in listing["models"]:
            model["test_statistics"] = by_name.get(model["name"])
        if names:
            listing["models"] = [model for model in listing["models"] if model["name"] in names]
        route.fulfill(json=listing)

    page.route("**/page/models.json", answer)


def shown(canvases: Any) -> np.ndarray:
    """The pixels of canvases of one size, `uint8[N, H, W, 3]`."""
    heights, widths, data = zip(*canvases.evaluate_all(_READ_CANVASES), strict=True)
    pixels = np.frombuffer("".join(data).encode("latin-1"), np.uint8)
    return pixels.reshape(len(data), heights[0], widths[0], 4)[..., :3]


def rounded(images: Any) -> np.ndarray:
    """Images in 0…1 as the page shows them, `uint8[N, H, W, 3]`."""
    images = np.round(255 * np.asarray(images, np.float32)).astype(np.uint8)
    return np.broadcast_to(images, (*images.shape[:-1], 3))


def serious_faults(page: Any) -> list[str]:
    """What axe-core finds."""
    page.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text())
    violations = page.evaluate("axe.run().then(({violations}) => violations)")
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
