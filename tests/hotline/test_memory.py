"""A process that is told to keeps what it frees, so that batches of changing shape cost no pages anew."""

import ctypes
import subprocess
import sys

import pytest

CHANGING_SHAPES = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from hotline import memory

def batches():
    for length in [9, 4, 7, 2, 8] * 4:
        layers = [np.ones(length << 17) for _ in range(3)]

if sys.argv[1] == "kept":
    memory.keep_freed()
with ThreadPoolExecutor(1) as thread:  # as a replica: not the main one
    thread.submit(batches).result()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread.submit(batches).result()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the kernel handed out for the second round of batches."""
    done = subprocess.run([sys.executable, "-c", CHANGING_SHAPES, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_batches_of_changing_shape_take_no_new_pages() -> None:
    assert faults("kept") < 100
    assert faults("as it is") > 10_000
