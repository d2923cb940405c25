/* SPDX-License-Identifier: Apache-2.0 */
#include "util/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_failed(const char *expr, const char *file, int line, const char *func)
{
	(void)fprintf(stderr, "lb: BUG at %s:%d in %s(): %s\n", file, line, func, expr);
	abort();
}
