/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a struct err as lines of the log: one line for each error that was kept, and one line
 * ("and N more") for all errors that were not kept.
 *
 * Thread: main.
 */
#include "daemon/err_log.h"

#include "util/err.h"
#include "util/log.h"

void err_log_errors(const struct log *log, const char *what, const struct err *e)
{
	char scratch[64];

	for (size_t i = 0; i < err_n_lines(e); i++) {
		if (i == e->n_kept || !e->item[i].is_warning)
			log_err(log, "%s: %s", what, err_line(e, i, scratch, sizeof(scratch)));
	}
}

void err_log_warnings(const struct log *log, const struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n_kept; i++) {
		if (!e->item[i].is_warning)
			continue;
		log_warn(log, "configuration: %s", e->item[i].text);
		n++;
	}
	LB_ASSERT(n <= e->n_warnings);
	if (n < e->n_warnings)
		log_warn(log, "configuration: %zu more warnings", e->n_warnings - n);
}
