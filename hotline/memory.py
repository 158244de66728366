"""Memory that a process gives back and takes again with every batch, and how to have it stay."""

from __future__ import annotations

import ctypes
import gc

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
KEPT_BYTES = 1024**3
PAD_BYTES = 64 * 1024**2


def keep_freed() -> None:
    """Let this process keep what it frees, up to a GiB, and blocks as large come out of that.

    Batches of changing shape else return their memory to the kernel, which hands it out anew page by page, cleared:
    about a fifth of the time of a recogniser. The process stays as large as its largest batch made it. Blocks over
    64 MiB that a thread takes are kept in a process alone that was started with MALLOC_ARENA_MAX=1.
    Without glibc nothing is done.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune:
        tune(_TRIM_THRESHOLD, KEPT_BYTES)
        tune(_TOP_PAD, PAD_BYTES)
        tune(_MMAP_THRESHOLD, KEPT_BYTES)


def give_back() -> None:
    """Return to the kernel what is free, whatever was to be kept."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
