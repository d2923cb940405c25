/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives a thread a descriptor table of its own, with unshare(2) or close_range(2). There are two
 * ways because some kernels, seccomp profiles and valgrind do not support one of them.
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
 * Gives the calling thread a descriptor table of its own. The first call of close_range(2) tests
 * whether the kernel has close_range(2), because without it the thread could not close the
 * descriptors that it inherited. The call closes nothing, because no descriptor has such a high
 * number. The seccomp profiles of containers refuse unshare(2) but allow close_range(2) with
 * CLOSE_RANGE_UNSHARE. unshare(2) is still tried first, because under valgrind close_range(2)
 * ignores the flag when the range has no descriptor, and returns 0.
 */
int fd_table_unshare(void)
{
	if (close_range(INT_MAX, ~0u, 0) < 0)
		return -errno;
	if (unshare(CLONE_FILES) == 0)
		return 0;
	return close_range(INT_MAX, ~0u, CLOSE_RANGE_UNSHARE) < 0 ? -errno : 0;
}
