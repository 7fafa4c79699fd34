"""A search for secrets in every layer of an image, also in one that a later layer hides."""

import os
import re
import subprocess
import tarfile
from collections.abc import Iterator

LARGEST_BYTES = 2**20
"""chosen: a key is text; no file that a person writes is larger."""

PATTERNS = {
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{64}"),
    "an AWS access key": re.compile(rb"AKIA(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16}(?![0-9A-Za-z])"),
    "a GitHub token": re.compile(rb"gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60}"),
    "a PyPI token": re.compile(rb"pypi-AgE[A-Za-z0-9_-]{50}"),
    "a Google key": re.compile(rb"AIza[0-9A-Za-z_-]{35}"),
    "a Slack token": re.compile(rb"xox[abprs]-[0-9A-Za-z-]{20}"),
    # The hosts are those of the examples in fsspec, pydantic and urllib3.
    "an address with a password": re.compile(
        rb"://[^\s/:@\"'<>{}$%*]+:[^\s/@\"'<>{}$%*]+@(?!example\.|myserver\.|bar\.com|host\.com)[a-z0-9.-]+\.[a-z]{2}"
    ),
}
NAMES = re.compile(
    r"(?:^|/)(?:\.netrc|\.pypirc|pip\.conf|uv\.toml|\.git-credentials|id_(?:rsa|ed25519)|\.env|run/secrets/.+)$"
)
ASSIGNMENT = re.compile(r"(?i)(?:password|passwd|token|secret|api_?key)\w*=")
"""What a variable or an instruction that carries a secret looks like."""


def secrets_in(content: bytes) -> list[str]:
    """Return what in a text looks like a secret, and how it begins."""
    found = ((what, pattern.search(content)) for what, pattern in PATTERNS.items())
    return [f"{what}: {match[0][:60].decode(errors='replace')}" for what, match in found if match]


def secrets_of_image(image: str) -> Iterator[str]:
    """Yield the path in a layer and what looks like a secret there."""
    command = [os.environ.get("DOCKER", "docker"), "save", image]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as saving:
        with tarfile.open(fileobj=saving.stdout, mode="r|") as archive:
            for member in archive:
                if member.name.endswith("layer.tar"):
                    with tarfile.open(fileobj=archive.extractfile(member), mode="r|") as layer:
                        yield from secrets_of_layer(layer)
        assert saving.wait() == 0


def secrets_of_layer(layer: tarfile.TarFile) -> Iterator[str]:
    """Yield the path and what looks like a secret there."""
    for member in layer:
        if NAMES.search(member.name):
            yield f"{member.name}: is named as a secret"
        if member.isfile() and member.size <= LARGEST_BYTES:
            yield from (f"{member.name}: {secret}" for secret in secrets_in(layer.extractfile(member).read()))
