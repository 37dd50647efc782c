"""Numbers about the requests, as text for Prometheus, under TensorFlow Serving's names."""

import itertools
from bisect import bisect_left
from collections import Counter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Upper limits of the histogram of latencies, in microseconds: 10 · 1.8ⁱ.
_LIMITS = [*(10 * 1.8**i for i in range(33)), float("inf")]
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
            buckets = self._buckets.setdefault((model, api), [0] * len(_LIMITS))
            buckets[bisect_left(_LIMITS, 1e6 * seconds)] += 1
            self._sums[model, api] += int(1e6 * seconds)
        known = model if (model, "OK") in self._requests or status == 200 else ""
        self._requests[known, _STATES.get(status, "UNKNOWN")] += 1

    def text(self, pending: int) -> str:
        """All numbers in Prometheus' text format.

        Args:
            pending: number of requests that are computed or wait.
        """
        name = ":tensorflow:serving:request_count"
        lines = [f"# TYPE {name} counter"]
        for (model, state), count in sorted(self._requests.items()):
            lines.append(f'{name}{{model_name="{model}",status="{state}"}} {count}')
        name = ":tensorflow:serving:request_latency"
        lines.append(f"# TYPE {name} histogram")
        for (model, api), buckets in sorted(self._buckets.items()):
            labels = f'model_name="{model}",API="{api}",entrypoint="REST"'
            totals = list(itertools.accumulate(buckets))
            for limit, total in zip(_LIMITS, totals, strict=True):
                le = "+Inf" if limit == _LIMITS[-1] else f"{limit:g}"
                lines.append(f'{name}_bucket{{{labels},le="{le}"}} {total}')
            lines.append(f"{name}_sum{{{labels}}} {self._sums[model, api]}")
            lines.append(f"{name}_count{{{labels}}} {totals[-1]}")
        lines += ["# TYPE tfgen_pending_requests gauge", f"tfgen_pending_requests {pending}"]
        return "\n".join(lines) + "\n"
