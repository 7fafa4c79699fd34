"""Reading a results.json, of this schema version alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realfeatures.errors import ArtifactError

RESULTS = "results.json"

SCHEMA_VERSION = 3
"""Of docs/results.schema.json. 3: rows and cells carry whole measurements, the timestep among them."""


def read_results(place: Path, *, name: str | None = None) -> dict[str, Any]:
    """Return the results.json of a run's folder, or one of any name.

    Args:
        place: the folder or the file.
        name: what a person calls the run; its place, where that is None.

    Raises:
        ArtifactError: missing, not readable, or of another schema version.
    """
    shown, file = name or str(place), place / RESULTS if place.is_dir() else place
    try:
        content = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(f"{shown}: holds no {RESULTS}; run the experiment to its end first") from None
    except OSError as error:
        raise ArtifactError(f"{shown}: {error.strerror}; expected a readable {RESULTS}") from None
    except (ValueError, RecursionError):
        raise ArtifactError(f"{shown}: not JSON; run the same command again to rewrite its {RESULTS}") from None
    require_version(content, name=shown)
    return dict(content)


def require_version(content: Any, *, name: str) -> None:
    """Refuse what is no results.json of this schema version.

    Raises:
        ArtifactError: no JSON object, or another version.
    """
    if not isinstance(content, Mapping):
        raise ArtifactError(f"{name}: holds no JSON object; expected a {RESULTS} of realfeatures")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        remedy = (
            "a newer release wrote it; update realfeatures"
            if isinstance(version, int) and version > SCHEMA_VERSION
            else "run its command again with this release, which keeps finished cells of an equal address and computes"
            " the others"
        )
        raise ArtifactError(f"{name}: {RESULTS} has schema version {version!r}, expected {SCHEMA_VERSION}; {remedy}")
