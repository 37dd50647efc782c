"""Load on `tfgen-serve`, beside the sampler called directly; its limits; how fast its page is.

    python benchmarks/serve_load.py
    python benchmarks/serve_load.py --requests 200 --clients 4 --publish 2     # a small try
    python benchmarks/serve_load.py --limits
    python benchmarks/serve_load.py --page

Each of the clients, threads of this process, keeps one connection and requests batches of the
shipped GAN. It parses each answer and compares all of its images with those of `tfgen.Sampler`. The
work of the clients is included in the rate, since they run on the same cores as the server. While
they run, further versions of the model are published; they have the same weights, so the images
must stay the same.

With --limits, it measures how long one image of the VAE takes beside two requests for 1000 images
of flow matching, how long `/healthz` takes beside a body of 60 MB, and how long the server takes to
end by one signal and by two while it computes those requests.

With --page, it measures the time from the server's line, "serving 5 models at …", to the first
picture of the page, in a headless Chromium that is already open. It needs playwright.
"""

import argparse
import contextlib
import gc
import http.client
import itertools
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import orjson
import requests

from tfgen.publishing import versions
from tfgen.system.quiet import import_quietly

NAME = "gan"
# Different batches that are requested in turn.
BATCHES = 50


class Server(NamedTuple):
    """A server in a process of its own.

    Attributes:
        process: the process.
        url: its address.
        folder: where it looks for published versions.
        ready: when it printed its address, by `time.perf_counter`.
        seconds: seconds from its start to that.
    """

    process: subprocess.Popen[str]
    url: str
    folder: Path
    ready: float
    seconds: float


@contextlib.contextmanager
def running(*flags: str) -> Iterator[Server]:
    """A context with a server of the shipped models and of an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "tfgen", "serve", "--quiet", "--port", "0", *flags]
        process = subprocess.Popen(
            [*command, "--saved-models", folder], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            address = re.search(r"http:\S+", process.stdout.readline())
            if address is None:
                raise SystemExit("the server did not start")
            ready = time.perf_counter()
            yield Server(process, address[0], Path(folder), ready, ready - start)
        finally:
            process.terminate()
            process.communicate()


# --- load -------------------------------------------------------------------------------


class Load:
    """Clients that request batches and compare the answers.

    Attributes:
        latencies: seconds of each request that was answered.
        failures: how often which failure occurred.
    """

    def __init__(self, url: str, seeds: np.ndarray, images: np.ndarray, requests: int):
        self.address = urlsplit(url).netloc
        self.bodies = [orjson.dumps({"inputs": row.tolist()}) for row in seeds]
        # As JSON gives them: comparing lists takes a sixth of the time of making an array of each.
        self.expected = orjson.loads(orjson.dumps(images, option=orjson.OPT_SERIALIZE_NUMPY))
        assert np.array_equal(np.array(self.expected, np.float32), images)
        self.requests = requests
        self.latencies: list[float] = []
        self.failures: Counter[str] = Counter()
        self._indices = itertools.islice(itertools.cycle(range(len(seeds))), requests)
        self._lock = threading.Lock()

    def run(self, clients: int) -> float:
        """Sends all requests; returns the seconds that they took."""
        start = time.perf_counter()
        threads = [threading.Thread(target=self._send_all) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start

    def _send_all(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=300)
        while True:
            with self._lock:
                index = next(self._indices, None)
            if index is None:
                return
            before = time.perf_counter()
            try:
                connection.request("POST", f"/v1/models/{NAME}:predict", self.bodies[index])
                response = connection.getresponse()
                content = response.read()
                failure = "" if response.status == 200 else f"status {response.status}"
            except (OSError, http.client.HTTPException) as error:
                failure = type(error).__name__
                connection.close()
            latency = time.perf_counter() - before
            if not failure and orjson.loads(content)["outputs"] != self.expected[index]:
                failure = "other images"
            if failure:
                self.failures[failure] += 1
            self.latencies.append(latency)


def publish(folder: Path, count: int, load: Load) -> None:
    """Publishes versions of the model, spread over the requests."""
    for index in range(count):
        while len(load.latencies) < load.requests * (index + 1) / (count + 1):
            time.sleep(0.05)
        hidden = folder / NAME / ".writing"
        shutil.copytree(versions.shipped_folder() / NAME / "1", hidden)
        hidden.rename(folder / NAME / str(versions.FIRST_TRAINED + index))


def memory_of(process: int, entry: str = "VmRSS") -> float:
    """Resident memory of a process now, or at most: `VmHWM` [MB]."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(rf"{entry}:\s+(\d+)", status)[0]) / 1024


def call_directly(sampler: Any, seeds: np.ndarray, requests: int) -> float:
    """Calls the sampler, batch after batch; returns the seconds that this takes."""
    start = time.perf_counter()
    for index in range(requests):
        sampler.call("sample", seed=seeds[index % len(seeds)])
    return time.perf_counter() - start


def measure_load(options: argparse.Namespace) -> bool:
    """Prints rate, latency and memory under load; returns whether all answers were right."""
    import_quietly()
    from tfgen.publishing.sampler import Sampler

    seeds = np.arange(BATCHES * options.batch, dtype=np.int32).reshape(BATCHES, -1)
    calls = max(10, options.requests // 5)
    sampler = Sampler(versions.shipped_folder() / NAME / "1")
    images = np.stack([sampler.call("sample", seed=row)["images"] for row in seeds])
    # Before and after, since a machine is not equally fast all the time.
    direct_seconds = call_directly(sampler, seeds, calls)
    # The lists of an answer are freed by counting references; the collector would scan them all.
    gc.disable()
    with running("--queue", str(2 * options.clients)) as server:
        Load(server.url, seeds, images, BATCHES).run(2)  # the version is opened meanwhile
        load = Load(server.url, seeds, images, options.requests)
        publisher = threading.Thread(target=publish, args=(server.folder, options.publish, load))
        publisher.start()
        first = memory_of(server.process.pid)
        seconds = load.run(options.clients)
        publisher.join()
        last = memory_of(server.process.pid)
    direct_seconds += call_directly(sampler, seeds, calls)
    direct = 2 * calls * options.batch / direct_seconds
    served = options.requests * options.batch / seconds
    p50, p99 = 1e3 * np.quantile(load.latencies, (0.5, 0.99))
    failed = sum(load.failures.values())
    print(
        f"{options.requests} requests of {options.batch} images by {options.clients} clients, "
        f"{options.publish} versions published meanwhile\n\n"
        "| `tfgen.Sampler` [images/s] | `tfgen-serve` [images/s] | ratio | p50 [ms] | p99 [ms] "
        "| memory before [MB] | at the end [MB] | failed or wrong images |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        f"| {direct:.0f} | {served:.0f} | {served / direct:.0%} "
        f"| {p50:.0f} | {p99:.0f} | {first:.0f} | {last:.0f} | {failed} |"
    )
    if failed:
        print(f"\nfailures: {dict(load.failures)}")
    return not failed


# --- limits -----------------------------------------------------------------------------


def ask(url: str, path: str, body: bytes | None) -> tuple[str, float]:
    """The status of an answer, with its error, and the seconds that it took."""
    start = time.perf_counter()
    response = requests.request("POST" if body else "GET", url + path, data=body, timeout=300)
    seconds = time.perf_counter() - start
    return f"{response.status_code} {response.json().get('error', '')}", seconds


def ask_beside(url: str, path: str, body: bytes, count: int, other: str, own: bytes | None) -> None:
    """Prints the answers to `count` equal requests, and to others that are sent meanwhile."""
    with ThreadPoolExecutor(count) as clients:
        futures = [clients.submit(ask, url, path, body) for _ in range(count)]
        answers = []
        while not all(future.done() for future in futures):
            answers.append(ask(url, other, own))
    for status, seconds in (future.result() for future in futures):
        print(f"{path}, {len(body) / 1e6:.3g} MB: {seconds:.2f} s, {status}")
    report(f"meanwhile {other} {dict(Counter(s for s, _ in answers))}", [s for _, s in answers])


def measure_limits(timeout: float) -> None:
    """Prints what expensive requests do to others, and how long the server takes to end."""
    blocking, small = "/v1/models/flow-matching:predict", "/v1/models/vae:predict"
    rows = orjson.dumps({"inputs": list(range(1000))})
    with running("--timeout", str(timeout)) as server:
        ask(server.url, small, b'{"inputs": [7]}')
        for _ in range(2):  # at the second time, the price is known
            ask_beside(server.url, blocking, rows, 2, small, b'{"inputs": [7]}')
        body = b'{"inputs": [' + b"[0]," * (15 * 10**6) + b"0]}"
        ask_beside(server.url, "/v1/models/flow:predict", body, 1, "/healthz", None)
        print(f"memory at most: {memory_of(server.process.pid, 'VmHWM'):.0f} MB")
    for signals in (1, 2):
        with running("--timeout", str(timeout)) as server, ThreadPoolExecutor(2) as clients:
            for _ in range(2):
                clients.submit(ask, server.url, blocking, rows)
            for _ in range(signals):
                time.sleep(timeout / 3)  # by then it computes
                start = time.perf_counter()
                server.process.send_signal(signal.SIGINT)
            server.process.wait()
            print(f"end after {signals} signals: {time.perf_counter() - start:.2f} s")


# --- the page ---------------------------------------------------------------------------

_IS_DRAWN = """() => [...document.querySelectorAll("canvas")].some(canvas => {
    const {width, height} = canvas;
    if (!width || !height) return false;
    return canvas.getContext("2d").getImageData(0, 0, width, height).data.some(byte => byte);
})"""


def first_picture(browser: Any) -> tuple[float, float]:
    """Seconds from the start of a server to its line, and from the line to the first picture."""
    with running() as server, browser.new_page() as page:
        page.goto(server.url, wait_until="commit")
        page.wait_for_function(_IS_DRAWN)
        return server.seconds, time.perf_counter() - server.ready


def measure_page(repeats: int) -> None:
    """Prints how long the first picture takes."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        to_line, to_picture = np.transpose([first_picture(browser) for _ in range(repeats)])
        browser.close()
    report("start to line [s]", to_line)
    report("line to first picture [s]", to_picture)


def report(name: str, values: Sequence[float] | np.ndarray) -> None:
    """Prints the median and the range of some measurements."""
    print(f"{name}: median {np.median(values):.2f}, {min(values):.2f} to {max(values):.2f}")


def main() -> int | None:
    """Prints a table; the exit status is 1 if a request failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=16, help="images of a request")
    parser.add_argument("--publish", type=int, default=50, help="versions published meanwhile")
    parser.add_argument("--limits", action="store_true", help="measure the limits instead")
    parser.add_argument("--page", action="store_true", help="measure the page instead, five times")
    options = parser.parse_args()
    if options.limits or options.page:
        return measure_limits(timeout=8.0) if options.limits else measure_page(repeats=5)
    return 0 if measure_load(options) else 1


if __name__ == "__main__":
    raise SystemExit(main())
