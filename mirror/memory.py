"""How freed memory is kept for the next bytes.

A body comes in pieces of up to 256 KiB. glibc would give each of them back to the kernel as soon as it is written, and
the next one would be made of pages that have to be found and emptied anew: a tenth of what a cold blob costs.
"""

import contextlib
import ctypes

# mallopt(3), and malloc.h for the numbers.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
# Above the largest piece; and what of it all may lie idle.
_FROM_THE_HEAP, _IDLE, _AT_ONCE = 4 * 2**20, 32 * 2**20, 4 * 2**20


def keep_freed() -> None:
    """For the whole process. Where the C library is another one, it does as it likes."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _FROM_THE_HEAP)
        mallopt(_M_TRIM_THRESHOLD, _IDLE)
        mallopt(_M_TOP_PAD, _AT_ONCE)
