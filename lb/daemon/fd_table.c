/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor table of a thread's own: two system calls, unshare(2) and close_range(2), and what
 * is known about kernels, seccomp profiles and valgrind that refuse one of them.
 *
 * Thread: the thread whose table it is.
 */
#include "daemon/fd_table.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

static int by_number(const void *pa, const void *pb)
{
	const int *a = pa, *b = pb;

	return (*a > *b) - (*a < *b);
}

void fd_table_close_all_but(int *keep, size_t n)
{
	int from = 0;

	qsort(keep, n, sizeof(*keep), by_number);
	LB_ASSERT(n == 0 || keep[0] >= 0);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] > from)
			(void)close_range((unsigned)from, (unsigned)keep[i] - 1, 0);
		if (keep[i] >= from)
			from = keep[i] + 1;
	}
	(void)close_range((unsigned)from, ~0u, 0);
}

/*
 * Gives the calling thread a descriptor table of its own. Without close_range(2) such a table would
 * be of no use, because the thread could not close what it inherited. So the first call tells
 * whether the kernel has close_range(2); it closes nothing, because no descriptor has a number that
 * high. Seccomp profiles of containers refuse unshare(2) and allow the last call. The last call is
 * not the first way, because valgrind skips a range without a descriptor, and the flag with it, and
 * returns 0.
 */
int fd_table_unshare(void)
{
	if (close_range(INT_MAX, ~0u, 0) < 0)
		return -errno;
	if (unshare(CLONE_FILES) == 0)
		return 0;
	return close_range(INT_MAX, ~0u, CLOSE_RANGE_UNSHARE) < 0 ? -errno : 0;
}
