"""The page of tfgen-serve in a headless Chromium: its first picture, and how fast the plane is.

    python benchmarks/serve_page.py

It measures the time from the server's line, "serving 4 models at …", to the first picture of the
page, in a browser that is already open. Then it moves the pointer over the latent plane of the
shipped VAE, and counts the images that the page draws. Server, browser and this script share the
cores of the machine. It needs playwright and a Chromium.
"""

import argparse
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from playwright.sync_api import expect, sync_playwright

_IS_DRAWN = """() => [...document.querySelectorAll("canvas")].some(canvas => {
    const {width, height} = canvas;
    if (!width || !height) return false;
    return canvas.getContext("2d").getImageData(0, 0, width, height).data.some(byte => byte);
})"""
# The canvas under "The image at this point" is given its position with each image.
_COUNT_IMAGES = """() => {
    window.drawn = 0;
    const canvas = document.querySelector(".plane .detail canvas");
    const changes = {attributes: true, attributeFilter: ["data-x"]};
    new MutationObserver(() => window.drawn++).observe(canvas, changes);
}"""
_BUSY = "[aria-busy=true], #progress:not([hidden])"
_PATIENCE = 60_000


def first_picture(browser: Any) -> tuple[float, float]:
    """Seconds from the start of a server to its line, and from the line to the first picture."""
    page = browser.new_page()
    with Server() as server:
        page.goto(server.url, wait_until="commit")
        page.wait_for_function(_IS_DRAWN, timeout=_PATIENCE)
        to_picture = time.perf_counter() - server.ready
    page.close()
    return server.to_line, to_picture


def images_a_second(browser: Any, url: str, seconds: float) -> float:
    """Images that the plane draws while the pointer moves over it in a circle."""
    page = browser.new_page()
    page.goto(f"{url}/#plane?model=vae&directions=axes")
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator(_BUSY)).to_have_count(0, timeout=_PATIENCE)
    box = page.locator(".map").bounding_box()
    page.evaluate(_COUNT_IMAGES)
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        x = box["x"] + box["width"] * (0.5 + 0.4 * math.cos(2 * passed))
        y = box["y"] + box["height"] * (0.5 + 0.4 * math.sin(2 * passed))
        page.mouse.move(x, y)
    images = page.evaluate("window.drawn")
    page.close()
    return images / passed


class Server:
    """A server of the shipped models, which runs within a context.

    Attributes:
        url: its address.
        ready: the time of its line, by `time.perf_counter`.
        to_line: seconds from its start to the line.
    """

    def __enter__(self) -> "Server":
        start = time.perf_counter()
        command = [sys.executable, "-m", "tfgen.cli.serve", "--port", "0", "--quiet"]
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            command, cwd=self._folder.name, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.match(r"serving .* at (\S+)", line):
                self.url, self.ready = found[1], time.perf_counter()
                self.to_line = self.ready - start
                return self
        raise SystemExit("serve_page: the server did not start")

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="on the plane (default: 5)")
    arguments = parser.parse_args(argv)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        pictures = [first_picture(browser) for _ in range(arguments.repeats)]
        to_line, to_picture = np.transpose(pictures)
        report("start to line [s]", to_line)
        report("line to first picture [s]", to_picture)
        with Server() as server:
            rates = [
                images_a_second(browser, server.url, arguments.seconds)
                for _ in range(arguments.repeats)
            ]
        report("plane [images/s]", rates)
        browser.close()


def report(name: str, values: Sequence[float] | np.ndarray) -> None:
    """Prints the median and the range of some measurements."""
    print(f"{name}: median {np.median(values):.2f}, {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()
