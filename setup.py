"""The Cython extensions: one for what Python sees, and one for each instruction set that the compiler can build.

Everything else about the package stands in pyproject.toml.
"""

import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# contract=off: products are fused with sums where the source says so (kernels/isa/simd.h) and nowhere else.
# The two -fno flags allow loops with a condition or a square root to become vector code; they change no result.
# Functions stay as they are written unless they are marked inline, so that a profile names them.
COMMON = [
    *("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-inline-functions-called-once"),
    *("-pthread", "-Wno-psabi", "-g0"),
]
AVX2 = ["-mavx2", "-mfma", "-mbmi", "-mbmi2"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
VARIANTS = {"baseline": [], "avx2": AVX2, "avx512": AVX512}
SOURCES = [path for path in sorted(Path("kernels").rglob("*")) if path.suffix in (".pxi", ".h")]

NO_COMPILER = (
    "falcon-mnist needs a C compiler and Python's header files to build its kernels, and {what}: install them "
    "(on Debian and Ubuntu: apt install gcc python3-dev) and try again."
)


class BuildKernels(build_ext):
    """Leaves out the variants that the compiler does not know; says in one sentence if nothing can be built."""

    def build_extensions(self) -> None:
        """Build what can be built here."""
        if not self._compiles("int main(void) { return 0; }", []):
            raise SystemExit(NO_COMPILER.format(what="no working compiler was found"))
        if not self._compiles("#include <Python.h>", []):
            raise SystemExit(NO_COMPILER.format(what="Python.h was not found"))
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        for extension in list(self.extensions):
            flags = VARIANTS.get(extension.name.rpartition("_")[2], [])
            if flags and not (x86 and self._compiles("#include <immintrin.h>", flags)):
                print(f"{extension.name} is left out: the compiler cannot build it for this machine")
                self.extensions.remove(extension)
        self.parallel = self.parallel or os.cpu_count()  # they take a minute one after the other
        super().build_extensions()

    def _compiles(self, source: str, flags: list[str]) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "probe.c")
            file.write_text(source + "\n")
            try:
                self.compiler.compile(
                    [str(file)], output_dir=folder, include_dirs=self.include_dirs, extra_postargs=flags
                )
            except Exception as error:  # each compiler class has errors of its own
                print(error, file=sys.stderr)
                return False
        return True


def extension(name: str, flags: list[str]) -> Extension:
    """`kernels/_NAME.pyx` and what it includes."""
    return Extension(
        f"falcon_mnist.kernels._{name}",
        [f"kernels/_{name}.pyx"],
        include_dirs=["kernels", np.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        extra_compile_args=flags,
        extra_link_args=["-pthread"],
        depends=[str(path) for path in SOURCES if name == "json" or path.parent.name != "json"],
    )


setup(
    cmdclass={"build_ext": BuildKernels},
    ext_modules=cythonize(
        [
            # Those that take longest first: begun last, one would keep one CPU of two busy.
            *(extension(name, [*COMMON, *flags]) for name, flags in reversed(VARIANTS.items())),
            extension("interface", ["-O1", "-g0"]),
            extension("json", COMMON),
        ],
        include_path=["kernels"],
        build_dir=f"build/numpy-{np.__version__}",  # what was made for another NumPy may not compile
        nthreads=os.cpu_count() or 1,
    ),
)
