"""Reports rebalances to Faust's monitor, because Faust's own consumer is not used, and exports the monitor."""

from __future__ import annotations

from typing import Any

import faust

from streams.worker.metrics import WorkerMetrics


class RebalanceMonitor:
    """Rebalances of the group, from the loss of partitions to the next assignment."""

    def __init__(self, app: faust.App, metrics: WorkerMetrics) -> None:
        self._app = app
        self._metrics = metrics
        self._state: dict[Any, Any] | None = None

    def begin(self) -> None:
        """The group takes all partitions away before it gives them out again."""
        self._app.rebalancing_count += 1
        self._state = self._app.sensors.on_rebalance_start(self._app)
        self._metrics.rebalances.inc()

    def end(self) -> None:
        """The group has given partitions out."""
        state, self._state = self._state, None
        if state is not None:
            self._app.sensors.on_rebalance_return(self._app, state)
            self._app.sensors.on_rebalance_end(self._app, state)

    def export(self) -> None:
        """Update the gauges from Faust's monitor."""
        self._metrics.rebalance_seconds.set(self._app.monitor.rebalance_end_avg)
