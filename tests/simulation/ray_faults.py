"""What may happen to a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable

from .ray_cluster import RayCluster
from .striking import Striking

CUT_SECONDS = (5.0, 20.0, 60.0)
AWAY_SECONDS = (5.0, 30.0)


class RayFaults(Striking):
    """Each strikes once when it is called; where servers have a pool, none."""

    def kinds(self) -> list[Callable[[], None]]:
        """None without a cluster."""
        if self._shared.ray is None:
            return []
        return [self._lose_node, self._cut_off_node, self._lose_driver, self._lose_head]

    @property
    def _ray(self) -> RayCluster:
        assert self._shared.ray is not None
        return self._shared.ray

    def _lose_node(self) -> None:
        node = self._world.random.choice(self._ray.nodes)
        self._world.note(f"fault: {node.name} loses its power")
        self._ray.lose_node(node)

    def _cut_off_node(self) -> None:
        node, seconds = self._world.random.choice(self._ray.nodes), self._world.random.choice(CUT_SECONDS)
        self._world.note(f"fault: {node.name} is cut off for {seconds:.0f} s")
        self._ray.cut_off(node, seconds)

    def _lose_driver(self) -> None:
        for driver in self._ray.drivers and [self._world.random.choice(self._ray.drivers)]:
            self._world.note("fault: a driver ends")
            driver.lose()

    def _lose_head(self) -> None:
        self._world.note("fault: Ray's head is lost")
        self._ray.lose_head(self._world.random.uniform(*AWAY_SECONDS))
