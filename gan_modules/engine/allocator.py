"""The C library's memory on the CPU: kept once it is there, instead of fetched from the system at every layer."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

# glibc's <malloc.h>
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
PAD = 64 << 20  # bytes


def keep_freed_memory() -> None:
    """Let this process, and those it forks, reuse large blocks of memory that it has freed.

    By default glibc maps each large activation again and unmaps it when it is freed, so that every page of it faults
    again. Nothing changes where a GPU holds the activations, where another C library or allocator is at work, and
    where the environment has settings of its own: any ``MALLOC_…`` or ``GLIBC_TUNABLES``, or
    ``GAN_MODULES_MALLOC=default`` to leave all as it is.
    """
    if sys.platform != "linux" or torch.cuda.device_count():
        return
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    if os.environ.get("GAN_MODULES_MALLOC") == "default" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    libc.mallopt(M_MMAP_MAX, 0)  # nothing is mapped on its own
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # nothing is given back
    libc.mallopt(M_TOP_PAD, PAD)  # and what is fetched is fetched in large pieces
