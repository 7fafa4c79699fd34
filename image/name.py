"""Print the image's name, whose tag is a digest of what goes into it: `name.py TARGET`.

What goes in is what .dockerignore lets through, the Dockerfile and .dockerignore itself: an edit of the README, a test
or a manifest keeps the tag, an edit of the code changes it. Runs on any Python 3.11 with nothing installed.
"""

import hashlib
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
TARGETS = ("cpu", "gpu")
DIGITS = 12
"""chosen: 48 bits, short enough to read; the image itself is pinned by its own digest where that counts."""


def content_digest(checkout: Path) -> str:
    """Return the sha256 of the build context of a checkout, by relative path and content."""
    digest = hashlib.sha256()
    for path in context_files(checkout):
        digest.update(f"{path.relative_to(checkout).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def context_files(checkout: Path) -> list[Path]:
    """Return the files that a build reads, sorted: the allow list and the Dockerfile."""
    rules = [
        line for line in (checkout / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    allowed = [checkout / rule[1:] for rule in rules if rule.startswith("!")]
    refused = [rule.removeprefix("**/") for rule in rules if rule.startswith("**/")]
    found = [path for root in allowed for path in ([root] if root.is_file() else root.rglob("*")) if path.is_file()]
    kept = [path for path in found if not any(part.match(rule) for part in (path, *path.parents) for rule in refused)]
    return sorted([*kept, checkout / "Dockerfile", checkout / ".dockerignore"])


def main(target: str) -> None:
    """Print the name of the image of a target."""
    if target not in TARGETS:
        sys.exit(f"error: TARGET={target}: expected {' or '.join(TARGETS)}")
    sys.stdout.write(f"realfeatures:{target}-{content_digest(CHECKOUT)[:DIGITS]}\n")


if __name__ == "__main__":
    main(sys.argv[1])
