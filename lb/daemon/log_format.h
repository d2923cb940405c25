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

/* A copy of an access record that does not point to memory which the worker may free. Its names are
 * cut to LOG_FIELD_MAX - 1 bytes. */
struct log_access {
	uint32_t kind;          /* enum record_kind, for logger.c */
	struct access_record r; /* its strings are invalid, but for those that are constants */
	char listener[LOG_FIELD_MAX], route[LOG_FIELD_MAX];
	char pool[LOG_FIELD_MAX], backend[LOG_FIELD_MAX];
	/* The last member: only a connection with TLS has it in the ring. */
	struct {
		char sni[256], client_cert[256];
	} tls;
};

/* Adds a line of the log. Control characters in `line` become spaces: one event is one line. */
void log_format_line(struct text *batch, enum conf_log_format format, enum log_level level,
		     uint64_t ns, const char *line);

/* Adds the record of an ended connection as a line of the access log. */
void log_format_access(struct text *batch, enum conf_log_format format, const struct log_access *a);

/* Adds the record of an ended connection as a line of the log, at level info. */
void log_format_ended(struct text *batch, enum conf_log_format format, const struct log_access *a);
