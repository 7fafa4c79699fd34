"""The results of a run as a person at a prompt or in a notebook asks for them."""

import html
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realfeatures.errors import ArtifactError, ConfigError
from realfeatures.experiment.measurement import Measurement
from realfeatures.results.reading import read_results
from realfeatures.results.rows import Accuracy, Rows

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

REPORT = "report.html"

_NUMBERS = {"epsilon": (Real, "a number, such as 0.25"), "timestep": (Integral | None, "a whole number or None")}
"""What the fields of a Measurement that are no names may be."""


class Results:
    """What a run measured, from its results.json; `open_results` opens a finished run's.

    Args:
        folder: the run's.
        tables: returns the tables of a results.json by name, such as `usefulness`; they are made in report/.

    Raises:
        ArtifactError: the folder holds no readable results.json of this schema version.

    Example:
        >>> results = run_experiment(load_preset("digits"), out="runs/demo")
        >>> results.accuracy(paradigm="masked", features="robust").value
        0.838
    """

    def __init__(self, folder: Path, tables: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self.folder = folder
        self.content = read_results(folder)
        """All of results.json, as docs/results.schema.json describes it."""
        self._rows = Rows.of(self.content)
        self._make_tables = tables

    def accuracy(self, *, paradigm: str, features: str, **others: Any) -> Accuracy:
        """Return an accuracy as `value` between `low` and `high` (95 %), the mean over the seeds; `n` images a seed.

        Args:
            paradigm: how the encoder learned.
            features: the set that it was trained on.
            others: further fields of a Measurement; `probe_features` is `features` unless named.

        Raises:
            ConfigError: an unknown name, or nothing was measured that has it.

        Example:
            >>> results.accuracy(paradigm="supervised", features="natural", attack="pgd", norm="L2", epsilon=0.25).low
            0.8622342812328346
        """
        _check_fields(others)
        asked = Measurement(paradigm=paradigm, features=features, **{"probe_features": features, **others})
        found = self._rows.accuracy(asked)
        if found is None:
            like = (one for one in self._rows.measured if (one.paradigm, one.features) == (paradigm, features))
            known = "; ".join(map(str, like)) or "; ".join(dict.fromkeys(one.paradigm for one in self._rows.measured))
            raise ConfigError(f"{asked}: not measured in {self.folder}; measured are: {known or 'nothing'}")
        return found

    def table(self, name: str) -> Any:
        """Return a table of the report, such as `usefulness`.

        Raises:
            ConfigError: there is no table of that name.
        """
        tables = self._make_tables(self.content)
        if name not in tables:
            raise ConfigError(f"table {name!r} is unknown; expected one of: {', '.join(tables)}")
        return tables[name]

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows of results.json, one a measurement and seed.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ConfigError("pandas is not installed; install it, or read results.content['rows']") from None
        return pd.DataFrame(self.content["rows"])

    @property
    def report(self) -> Path:
        """The report, a page of one file."""
        return self.folder / REPORT

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r}): {len(self.content['rows'])} accuracies; report {self.report}"

    def _repr_html_(self) -> str:
        """Show the report in a notebook, where its scripts reach nothing but itself.

        Raises:
            ArtifactError: the report cannot be read.
        """
        try:
            page = html.escape(self.report.read_text(encoding="utf-8"), quote=True)
        except OSError as error:
            raise ArtifactError(f"{self.report}: {error.strerror}; run the experiment again, which writes it") from None
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" width="100%" height="800"></iframe>'


def _check_fields(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name not in Measurement.__dataclass_fields__:
            raise ConfigError(
                f"unknown field {name!r}; a measurement has: {', '.join(Measurement.__dataclass_fields__)}"
            )
        kind, expected = _NUMBERS.get(name, (object, ""))
        if not isinstance(value, kind):
            raise ConfigError(f"{name} {value!r}: expected {expected}")
