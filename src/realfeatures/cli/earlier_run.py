"""The cells of an earlier run, as the installed code addresses them."""

from dataclasses import dataclass
from pathlib import Path

from realfeatures.errors import ConfigError
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell, cells
from realfeatures.running.folder import RunFolder
from realfeatures.running.plan import addresses_of


@dataclass(frozen=True)
class EarlierRun:
    """What was run in a folder."""

    folder: RunFolder
    preset: Preset
    seeds: list[int]
    grid: list[Cell]
    addresses: dict[str, str]

    def find(self, name: str) -> Cell:
        """Return the one cell with this key or this beginning of an address.

        Raises:
            ConfigError: none or several have it.
        """
        found = [cell for cell in self.grid if name == cell.key or self.addresses[cell.key].startswith(name)]
        if len(found) == 1:
            return found[0]
        how_many = "no cell" if not found else f"{len(found)} cells"
        raise ConfigError(
            f"{name!r} names {how_many}; expected a key or the beginning of one address, which"
            f" `realfeatures show --out {self.folder.path}` lists"
        )

    def is_done(self, cell: Cell) -> bool:
        """Return whether a cell's artifact is there."""
        return self.folder.cell(self.addresses[cell.key]).exists()


def read_run(out: Path) -> EarlierRun:
    """Return what was run in a folder.

    Raises:
        ConfigError: nothing was.
        ArtifactError: experiment.json is damaged.
    """
    folder = RunFolder(out)
    preset, seeds = folder.require_experiment()
    grid = cells(preset, seeds)
    return EarlierRun(folder, preset, seeds, grid, addresses_of(grid, preset))
