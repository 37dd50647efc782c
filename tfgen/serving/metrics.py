"""Numbers about the requests, as text for Prometheus, under TensorFlow Serving's names."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Upper limits of the histogram of latencies, in microseconds: 10 · 1.8ⁱ.
_LIMITS = [10 * 1.8**i for i in range(33)]
# The names of TensorFlow Serving's states, by HTTP status.
_STATES = {
    200: "OK",
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Metrics:
    """Counts requests, and how long those that succeeded took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._sums: Counter[tuple[str, str]] = Counter()

    def record(self, model: str, api: str, status: int, seconds: float) -> None:
        """Records an answer.

        Args:
            model: name of the model. A name that was never answered for is not counted by name, so
                that the names in requests cannot fill the memory.
            api: `predict`, `metadata` or `status`.
            status: HTTP status of the answer.
            seconds: time from the request to its answer.
        """
        if status == 200:
            buckets = self._buckets.setdefault((model, api), [0] * (len(_LIMITS) + 1))
            buckets[bisect_left(_LIMITS, 1e6 * seconds)] += 1
            self._sums[model, api] += int(1e6 * seconds)
        known = model if (model, "OK") in self._requests or status == 200 else ""
        self._requests[known, _STATES.get(status, "UNKNOWN")] += 1

    def text(self, gauges: Mapping[str, float]) -> str:
        """All numbers in Prometheus' text format.

        Args:
            gauges: further numbers, by name.
        """
        lines = ["# TYPE :tensorflow:serving:request_count counter"]
        for (model, state), count in sorted(self._requests.items()):
            labels = f'model_name="{model}",status="{state}"'
            lines.append(f":tensorflow:serving:request_count{{{labels}}} {count}")
        lines.append("# TYPE :tensorflow:serving:request_latency histogram")
        for key in sorted(self._buckets):
            lines += self._histogram(key)
        for name, value in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {value:g}"]
        return "\n".join(lines) + "\n"

    def _histogram(self, key: tuple[str, str]) -> list[str]:
        name = ":tensorflow:serving:request_latency"
        labels = f'model_name="{key[0]}",API="{key[1]}",entrypoint="REST"'
        lines, total = [], 0
        limits = [*(f"{limit:g}" for limit in _LIMITS), "+Inf"]
        for limit, count in zip(limits, self._buckets[key], strict=True):
            total += count
            lines.append(f'{name}_bucket{{{labels},le="{limit}"}} {total}')
        return [
            *lines,
            f"{name}_sum{{{labels}}} {self._sums[key]}",
            f"{name}_count{{{labels}}} {total}",
        ]
