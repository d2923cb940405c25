/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log format: records as lines of text or as JSON objects, added to a batch.
 *
 * Thread: any. Layer: daemon.
 */

#include <stdint.h>

#include "conf/conf.h"
#include "proxy/worker.h"
#include "util/log.h"
#include "util/text.h"

#define LOG_FIELD_MAX 64

/* An access record without pointers to what its worker may free; its names are cut to fit. */
struct log_access {
	uint32_t kind;          /* the logger's */
	struct access_record r; /* of its strings only `error` is valid, a constant */
	char listener[LOG_FIELD_MAX], route[LOG_FIELD_MAX];
	char pool[LOG_FIELD_MAX], backend[LOG_FIELD_MAX];
};

/* Adds a line of the log. Control characters in `line` become spaces: one event is one line. */
void log_format_line(struct text *batch, enum conf_log_format format, enum log_level level,
		     uint64_t ns, const char *line);

/* Adds a line of the access log. */
void log_format_access(struct text *batch, enum conf_log_format format, const struct log_access *a);

/* Adds the same record as a line of the log, at level info. */
void log_format_ended(struct text *batch, enum conf_log_format format, const struct log_access *a);
