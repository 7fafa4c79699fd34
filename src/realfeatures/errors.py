"""The errors that reach a person as one line; anything else that surfaces is a bug and keeps its traceback."""


class RealFeaturesError(Exception):
    """An error whose text names the value, what was expected and the remedy, in one line."""


class ConfigError(RealFeaturesError):
    """A preset, an override or a command-line value is not usable."""


class DataError(RealFeaturesError):
    """A data source is missing, unreadable or not shaped as a labelled image set."""


class ArtifactError(RealFeaturesError):
    """An artifact is missing, incomplete, of the wrong kind, or its bytes were changed."""


class StorageError(RealFeaturesError):
    """A folder cannot be written: disk full, no permission, or in use by another run."""


class StoreUnavailableError(StorageError):
    """The object store cannot be reached or keeps failing: the same command may work later."""


class MissingObjectError(StorageError):
    """The object store has no such object."""


class CorruptObjectError(StorageError):
    """An object's bytes are not those that were put there."""


class TrainingError(RealFeaturesError):
    """A training diverged."""


class WorkerError(RealFeaturesError):
    """A process that ran a cell died, killed from outside or for want of memory."""


class Interrupted(RealFeaturesError):  # noqa: N818 - not a fault: work stopped on request, its checkpoint is saved
    """A stage stopped on request after it had saved its checkpoint."""


class StageCrash(Exception):  # noqa: N818 - its text is the traceback of the error proper
    """A stage failed in a way that no one foresaw: a bug; the text is its traceback."""
