"""What the system knows of the server's processes: CPU, memory, descriptors, without their workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from falcon_mnist.api.ledger import CPU_BEFORE, CPU_SEEN, PID, Ledger

_CPU, _START = "process_cpu_seconds", "process_start_time_seconds"


class ProcessMetrics(Collector):
    """The library's own metrics of a process, summed over all that serve; of their starts the first."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = ledgers

    def collect(self) -> Iterator[Metric]:
        """All families that the system has; none without `/proc`."""
        values: defaultdict[str, list[float]] = defaultdict(list)
        meanings: dict[str, str] = {}
        for ledger in self._ledgers:
            for family in _of(int(ledger.fixed[PID])):
                values[family.name].append(family.samples[0].value)
                meanings[family.name] = family.documentation
        for name, found in values.items():
            if name != _CPU:
                yield GaugeMetricFamily(name, meanings[name], min(found) if name == _START else sum(found))
        if _CPU in values:
            yield CounterMetricFamily(_CPU, meanings[_CPU], sum(map(_cpu, self._ledgers)))


def _cpu(ledger: Ledger) -> float:
    """Of a process and those that it has replaced: what one has used after it was last looked at is lost with it."""
    now = next((family.samples[0].value for family in _of(int(ledger.fixed[PID])) if family.name == _CPU), 0.0)
    ledger.fixed[CPU_SEEN] = max(ledger.fixed[CPU_SEEN], ledger.fixed[CPU_BEFORE] + now)
    return float(ledger.fixed[CPU_SEEN])


def _of(pid: int) -> list[Metric]:
    """Of a process that lives; nothing of one that is gone, or not there yet."""
    return list(ProcessCollector(pid=lambda: pid, registry=None).collect()) if pid else []
