"""The command line as a process of its own."""

import os
import subprocess
import sys


def realfeatures(*words: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "realfeatures.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
