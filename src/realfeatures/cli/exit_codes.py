"""The exit codes of the command line; 0 is success."""

FAILED = 1
"""A run on Kubeflow failed, the doctor found a problem, or a bug surfaced."""
USAGE_ERROR = 2
"""Every error that a person can mend."""
DRIFTED = 3
"""A number left its interval or was not reproduced."""
UNAVAILABLE = 75
"""The same command may work later (sysexits.h, EX_TEMPFAIL): a Job then tries again."""
INTERRUPTED = 130
"""Stopped, as a shell says it of Ctrl-C."""
