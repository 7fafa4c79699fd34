"""The verdict on every single test image, from the artifacts of the cells that measured; read when asked for."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realfeatures.errors import ArtifactError
from realfeatures.experiment.vocabulary import measurement_name
from realfeatures.results.records import Records
from realfeatures.results.rows import Row

FLAGS = "flags.safetensors"


class Flags:
    """Which images a measurement found right, for the rows of one run.

    A run of which the records alone are at hand (they came back from a cluster) has none.
    """

    def __init__(self, records: Records) -> None:
        self._folders = {found.manifest["address"]: found.folder for found in records.finished.values()}
        self._read: dict[str, dict[str, NDArray[np.uint8]]] = {}

    def of(self, row: Row) -> NDArray[np.bool_] | None:
        """Return a row's flags (n,), True where the image was classified right under the attack; None: not kept.

        Raises:
            ArtifactError: the file is damaged, or does not hold what the row counts.
        """
        cell, name = row.cell, measurement_name(vars(row.measurement))
        if cell not in self._read:
            self._read[cell] = _load(self._folders[cell] / FLAGS) if cell in self._folders else {}
        if name not in self._read[cell]:
            return None
        flags = self._read[cell][name].astype(bool)
        counted, recorded = (int(flags.sum()), len(flags)), row.counts
        if counted != recorded:
            raise ArtifactError(
                f"{cell}/{FLAGS}: {name} has {counted[0]} of {counted[1]} right, its record {recorded[0]} of"
                f" {recorded[1]}; delete the folder and run the cell again"
            )
        return flags


def _load(path: Path) -> dict[str, NDArray[np.uint8]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        return {}  # a cell that keeps none, such as one whose record alone came back
    except SafetensorError as error:
        raise ArtifactError(f"{path.parent.name}/{FLAGS}: not a safetensors file ({error}); run it again") from None
