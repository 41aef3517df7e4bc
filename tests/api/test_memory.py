"""What is freed is kept or given back. glibc alone lets a program say so."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
from falcon_mnist.api.memory import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [bytes(2 * 2**20), bytes(4 * 2**20), bytes(5 * 2**20)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(*[faults() for _ in range(10)][3:])
"""


def faults(how: str) -> list[int]:
    """Of pages, each time that a request's 11 MB are taken and freed."""
    ran = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True)
    return [int(number) for number in ran.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_of_a_request_is_kept_for_the_next() -> None:
    assert max(faults("kept")) < 20
