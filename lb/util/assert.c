/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assert_failed(): the end of lb at a broken assertion, with one line on stderr that names the
 * place.
 *
 * assert_failed() is in a file of its own, so that a file with assertions needs no stdio.
 */
#include "util/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_failed(const char *expr, const char *file, int line, const char *func)
{
	(void)fprintf(stderr, "lb: BUG at %s:%d in %s(): %s\n", file, line, func, expr);
	abort();
}
