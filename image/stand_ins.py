"""Put a stand-in beside torch for each NVIDIA library that the cpu image leaves out: `stand_ins.py TORCH_LIB_FOLDER`.

The registry's torch is linked to CUDA's libraries, 2 GB that a machine without a GPU loads at import and never calls.
A stand-in has the name, the symbols and the symbol versions that torch asks the real library for, and no code: import
works as before, and a call, which no tensor on a CPU makes, ends the process with a segmentation fault. What torch asks
for is read from its own tables, so another release or architecture needs no edit. Needs binutils and nothing else.
"""

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

LEFT_OUT = re.compile(
    r"lib(cublas|cublasLt|cudnn|cufft|cufile|curand|cusolver|cusparse|cusparseLt|nccl|nvrtc|nvshmem_host)\.so"
)
"""Not among them: libcudart, which counts the devices (none), and libcupti, which starts with the profiler."""

UNVERSIONED = {"libcufile": "cuFile", "libcusparseLt": "cusparseLt", "libnccl": "nccl"}
"""Libraries whose symbols carry no version: how their functions' names begin."""

NEEDED = re.compile(r"^ +NEEDED +(\S+)$", re.MULTILINE)
UNDEFINED = re.compile(r"\*UND\*\s+\w+\s+(?:\((?P<version>\S+)\)|Base)?\s+(?P<symbol>\S+)$", re.MULTILINE)
VERSIONS = re.compile(r"^ +required from (?P<library>\S+):\n(?P<names>(?:^ +0x.*\n)+)", re.MULTILINE)


def main(folder: Path) -> None:
    """Write the stand-ins that the libraries of a folder need, into that folder."""
    symbols: dict[str, set[str]] = defaultdict(set)
    versions: dict[str, str] = {}
    for path in sorted(folder.glob("lib*.so")):
        _collect(path, symbols, versions)
    for library in sorted(symbols):
        _link(folder / library, symbols[library], version=versions.get(library))
        sys.stdout.write(f"{library}: stands in with {len(symbols[library])} symbols\n")


def _collect(path: Path, symbols: dict[str, set[str]], versions: dict[str, str]) -> None:
    """Add what one library of torch needs: by library the symbols' names, and the one version that they carry."""
    headers, table = _run("objdump", "-p", str(path)), _run("objdump", "-T", str(path))
    needed = [name for name in NEEDED.findall(headers) if LEFT_OUT.match(name)]
    for match in VERSIONS.finditer(headers):
        if match["library"] in needed:
            (versions[match["library"]],) = (line.split()[-1] for line in match["names"].splitlines())
    owner = {versions[library]: library for library in needed if library in versions}
    for library in needed:
        symbols[library] |= set()  # a library of which no symbol is used must still be found
    for match in UNDEFINED.finditer(table):
        library = owner.get(match["version"]) if match["version"] else _by_name(match["symbol"], needed)
        if library:
            symbols[library].add(match["symbol"])


def _by_name(symbol: str, needed: list[str]) -> str | None:
    prefixes = {library: UNVERSIONED.get(library.split(".")[0]) for library in needed}
    return next((library for library, prefix in prefixes.items() if prefix and symbol.startswith(prefix)), None)


def _link(path: Path, symbols: set[str], *, version: str | None) -> None:
    # Data, not code: the page cannot be executed, on any architecture.
    lines = [".data", *(f".globl {symbol}\n{symbol}:" for symbol in sorted(symbols)), ".quad 0", ""]
    with tempfile.TemporaryDirectory() as scratch:
        source, unit, script = (str(Path(scratch, name)) for name in ("symbols.s", "symbols.o", "versions"))
        Path(source).write_text("\n".join(lines))
        Path(script).write_text(f"{version or ''} {{ global: *; }};\n")
        _run("as", "-o", unit, source)
        _run("ld", "-shared", "-soname", path.name, "--version-script", script, "-o", str(path), unit)


def _run(*command: str) -> str:
    # binutils of the build stage, with names that torch's own files hold
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603


if __name__ == "__main__":
    main(Path(sys.argv[1]))
