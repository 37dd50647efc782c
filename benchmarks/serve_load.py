"""Load on `tfgen-serve`: rate, latency and memory, beside the sampler called directly.

    python benchmarks/serve_load.py
    python benchmarks/serve_load.py --requests 200 --clients 4 --publish 2     # a small try
    python benchmarks/serve_load.py --restarts

Each of the clients, threads of this process, keeps one connection and requests batches of the
shipped GAN. It parses each answer and compares all of its images with those of `tfgen.Sampler`. The
work of the clients is included in the rate, since they run on the same cores as the server. While
they run, further versions of the model are published; they have the same weights, so the images
must stay the same.

With --restarts, the server is ended by SIGTERM and by SIGKILL while `tfgen-sample --retries 4`
requests 2000 images, and each time started again. The command must end with the right images.
"""

import argparse
import contextlib
import gc
import http.client
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from tfgen.publishing import versions
from tfgen.system.quiet import import_quietly

NAME = "gan"
# Different batches that are requested in turn.
BATCHES = 50
# Images of the command that outlasts restarts, and of each of its requests.
IMAGES, AT_ONCE = 2000, 50


def open_sampler() -> Any:
    """The shipped version."""
    import_quietly()
    from tfgen.publishing.sampler import Sampler

    return Sampler(versions.shipped_folder() / NAME / "1")


def call_directly(sampler: Any, seeds: np.ndarray, requests: int) -> float:
    """Calls the sampler, batch after batch; returns the seconds that this takes."""
    start = time.perf_counter()
    for index in range(requests):
        sampler.call("sample", seed=seeds[index % len(seeds)])
    return time.perf_counter() - start


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
        self._next, self._lock = iter(range(requests)), threading.Lock()

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
        for index in self._indices():
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
            if not failure:
                is_equal = orjson.loads(content)["outputs"] == self.expected[index]
                failure = "" if is_equal else "other images"
            if failure:
                self.failures[failure] += 1
            self.latencies.append(latency)

    def _indices(self) -> Iterator[int]:
        while True:
            with self._lock:
                number = next(self._next, None)
            if number is None:
                return
            yield number % len(self.bodies)


def publish(folder: Path, count: int, load: Load) -> None:
    """Publishes versions of the model, spread over the requests."""
    for index in range(count):
        while len(load.latencies) < load.requests * (index + 1) / (count + 1):
            time.sleep(0.05)
        hidden = folder / NAME / ".writing"
        shutil.copytree(versions.shipped_folder() / NAME / "1", hidden)
        hidden.rename(folder / NAME / str(versions.FIRST_TRAINED + index))


def watch_memory(process: int, load: Load, first: int) -> Iterator[float]:
    """Resident memory of a process [MB] after the first requests; then whenever it is asked for."""
    while len(load.latencies) < first:
        time.sleep(0.02)
    while True:
        status = Path(f"/proc/{process}/status").read_text()
        yield int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def start_server(folder: Path, *flags: str) -> tuple[subprocess.Popen[str], str]:
    """A server in a process of its own, and its address when it is ready."""
    command = [sys.executable, "-m", "tfgen.cli.serve", "--quiet", "--saved-models", str(folder)]
    server = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if address := re.search(r"http:\S+", line):
            return server, address[0]
    raise SystemExit("the server did not start")


def measure_load(options: argparse.Namespace) -> bool:
    """Prints rate, latency and memory under load; returns whether all answers were right."""
    seeds = np.arange(BATCHES * options.batch, dtype=np.int32).reshape(BATCHES, -1)
    calls = options.direct or max(10, options.requests // 5)
    sampler = open_sampler()
    images = np.stack([sampler.call("sample", seed=row)["images"] for row in seeds])
    # Before and after, since a machine is not equally fast all the time.
    direct_seconds = call_directly(sampler, seeds, calls)
    # The lists of an answer are freed by counting references; the collector would scan them all.
    gc.disable()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        flags = ["--port", "0", "--queue", str(2 * options.clients)]
        server, url = start_server(folder, *flags)
        try:
            Load(url, seeds, images, BATCHES).run(2)  # the version is opened meanwhile
            load = Load(url, seeds, images, options.requests)
            memory = watch_memory(server.pid, load, min(1000, options.requests // 2))
            sizes: list[float] = []
            others = [
                threading.Thread(target=publish, args=(folder, options.publish, load)),
                threading.Thread(target=lambda: sizes.append(next(memory))),
            ]
            for thread in others:
                thread.start()
            seconds = load.run(options.clients)
            for thread in others:
                thread.join()
            sizes.append(next(memory))
        finally:
            server.terminate()
            server.communicate()
    direct_seconds += call_directly(sampler, seeds, calls)
    direct = 2 * calls * options.batch / direct_seconds
    served = options.requests * options.batch / seconds
    p50, p99 = 1e3 * np.quantile(load.latencies, (0.5, 0.99))
    failed = sum(load.failures.values())
    print(
        f"{options.requests} requests of {options.batch} images by {options.clients} clients, "
        f"{options.publish} versions published meanwhile\n\n"
        "| `tfgen.Sampler` [images/s] | `tfgen-serve` [images/s] | ratio | p50 [ms] | p99 [ms] "
        "| memory after the first thousand [MB] | at the end [MB] | failed or other images |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        f"| {direct:.0f} | {served:.0f} | {served / direct:.0%} "
        f"| {p50:.0f} | {p99:.0f} | {sizes[0]:.0f} | {sizes[1]:.0f} | {failed} |"
    )
    if failed:
        print(f"\nfailures: {dict(load.failures)}")
    return not failed


# --- restarts ---------------------------------------------------------------------------


def count_answers(url: str) -> int:
    """The number of requests of the model that a server has answered since its start."""
    with urllib.request.urlopen(f"{url}/monitoring/prometheus/metrics", timeout=60) as response:
        text = response.read().decode()
    counts = re.findall(rf'request_count\{{model_name="{NAME}",status="OK"\}} (\d+)', text)
    return int(counts[0]) if counts else 0


def wait_for_port(port: int) -> float:
    """Seconds until a process listens at a port."""
    start = time.perf_counter()
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 60).close()
            return time.perf_counter() - start
        time.sleep(0.01)


def restart(server: subprocess.Popen[str], url: str, folder: Path) -> subprocess.Popen[str]:
    """Starts a server again that was told to end, and prints how long it was away."""
    start = time.perf_counter()
    server.communicate()
    ended = time.perf_counter()
    port = urlsplit(url).port or 0
    waits: list[float] = []
    waiter = threading.Thread(target=lambda: waits.append(wait_for_port(port)))
    waiter.start()
    server, _ = start_server(folder, "--port", str(port))
    ready = time.perf_counter()
    waiter.join()
    print(
        f"the server ended after {ended - start:.2f} s; the next one listened {waits[0]:.2f} s "
        f"later and was ready after {ready - ended:.2f} s"
    )
    return server


def survive_restarts() -> bool:
    """Restarts the server while a command samples; returns whether its images are right."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        server, url = start_server(folder, "--port", "0")
        out = folder / "images.npz"
        flags = f"{NAME} --n {IMAGES} --batch-size {AT_ONCE} --url {url} --retries 4 --out {out}"
        command = subprocess.Popen([sys.executable, "-m", "tfgen.cli.sample", *flags.split()])
        for signum in (signal.SIGTERM, signal.SIGKILL):
            while command.poll() is None and count_answers(url) < IMAGES // AT_ONCE // 2:
                time.sleep(0.02)
            print(signum.name, "while the command runs" if command.poll() is None else "too late")
            server.send_signal(signum)
            server = restart(server, url, folder)
        status = command.wait()
        server.terminate()
        server.communicate()
        if status:
            return False
        with np.load(out) as arrays:
            images = arrays["images"]
    sampler = open_sampler()
    sampler.batch_size = AT_ONCE
    expected = sampler.sample(IMAGES)
    is_same = np.array_equal(images, expected)
    print(f"{len(images)} images, {'equal to' if is_same else 'not equal to'} those of the sampler")
    return is_same


def main() -> int:
    """Prints a table, or what happened at restarts; the exit status is 1 if a request failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=16, help="images of a request")
    parser.add_argument("--publish", type=int, default=50, help="versions published meanwhile")
    parser.add_argument(
        "--direct", type=int, default=0, help="direct calls, before and after (default: a fifth)"
    )
    parser.add_argument("--restarts", action="store_true", help="restart the server under load")
    options = parser.parse_args()
    succeeded = survive_restarts() if options.restarts else measure_load(options)
    return 0 if succeeded else 1


if __name__ == "__main__":
    raise SystemExit(main())
