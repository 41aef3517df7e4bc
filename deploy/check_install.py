"""Holds an installed falcon-mnist to what a wheel should be: every instruction set, no sources, no debug information.

It needs nothing but the package, and ends with a sentence and status 1 if something is wrong.
"""

import platform
import sys
from importlib.metadata import files

from falcon_mnist import kernels

MOST_BYTES = 3_200_000  # some 3.0 MB now; sources or debug information would be megabytes more
SUFFIXES = {".py", ".pyi", ".so", ".json", ".html", ".css", ".js", ".svg"}  # the last four are the page's
X86 = platform.machine().lower() in ("x86_64", "amd64")
EXTENSIONS = {"_interface", "_json", "_baseline", *(("_avx2", "_avx512") if X86 else ())}


def main() -> None:
    """Check the files that the package's own list names."""
    installed = [
        file
        for file in files("falcon-mnist") or []
        if file.parts[0] == "falcon_mnist" and file.suffix != ".pyc" and file.name != "py.typed"
    ]
    size = sum(file.size or 0 for file in installed)
    extensions = [file for file in installed if file.suffix == ".so"]
    faults = [
        *(f"{file} does not belong in a wheel" for file in installed if file.suffix not in SUFFIXES),
        *(f"{file} has debug information" for file in extensions if b".debug_info" in file.read_binary()),
    ]
    if (found := {file.name.partition(".")[0] for file in extensions}) != EXTENSIONS:
        faults.append(f"the extensions are {sorted(found)}, and should be {sorted(EXTENSIONS)}")
    if size > MOST_BYTES:
        faults.append(f"{size:,} bytes unpacked are more than {MOST_BYTES:,}")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(installed)} files, {size:,} bytes; kernels {kernels.isa()} of {', '.join(kernels.supported())}")


main()
