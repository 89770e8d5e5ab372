"""All items of a run, and the moment at which a rank holds most."""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.scaling.activations import activations, generation
from entropostat.scaling.item import MOMENTS, Item
from entropostat.scaling.run import Run
from entropostat.scaling.states import states


@dataclass(frozen=True)
class Memory:
    """Of one rank, in bytes."""

    items: tuple[Item, ...]

    def at(self, moment: str) -> dict[str, float]:
        """Item -> bytes on the GPU; items of one name are added."""
        sizes: dict[str, float] = {}
        for item in self.items:
            if moment in item.moments and not item.host:
                sizes[item.name] = sizes.get(item.name, 0.0) + item.size
        return sizes

    def total(self, moment: str) -> float:
        return sum(self.at(moment).values())

    @property
    def moment(self) -> str:
        """Of the peak."""
        return max(MOMENTS, key=self.total)

    @property
    def peak(self) -> float:
        return self.total(self.moment)

    @property
    def largest(self) -> str:
        """The item that takes most at the peak."""
        at = self.at(self.moment)
        return max(at, key=lambda name: at[name])

    @property
    def host(self) -> float:
        """Main memory of one process at most."""
        return sum(item.size for item in self.items if item.host)

    @property
    def names(self) -> list[str]:
        """In the order of the formulas."""
        return list(dict.fromkeys(item.name for item in self.items if not item.host))


def memory(run: Run) -> Memory:
    return Memory((*states(run), *activations(run), *generation(run)))
