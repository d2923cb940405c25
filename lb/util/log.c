/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formats a log line and gives it to the handle's sink.
 *
 * log_write() formats into a buffer on the stack, so that no lock and no malloc is needed, and cuts
 * a line that is longer than LOG_LINE_MAX. Nothing is formatted for a level that is off
 * (log_is_on()). daemon/logger.h has the sinks.
 *
 * Thread: the handle's.
 */
#include "util/log.h"

#include <stdio.h>

const char *log_level_name(enum log_level level)
{
	static const char *const name[] = { "err", "warn", "notice", "info", "debug" };

	LB_ASSERT((size_t)level < ARRAY_SIZE(name));
	return name[level];
}

void log_vwrite(const struct log *l, enum log_level level, const char *fmt, va_list ap)
{
	if (!log_is_on(l, level))
		return;

	char line[LOG_LINE_MAX];
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		n = sizeof(line) - 1;
	l->sink(l->arg, level, line, (size_t)n);
}

void log_write(const struct log *l, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vwrite(l, level, fmt, ap);
	va_end(ap);
}
