/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adds a line of the log, or the record of an ended connection, to a batch, as one line of text or
 * one JSON object. In JSON a line of the log is split into fields (log_fields.c). When memory is
 * short, the line is lost.
 *
 * Thread: any.
 */
#include "daemon/log_format.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/log_fields.h"
#include "util/json.h"

/* RFC 3339 in UTC, with milliseconds. */
static char *format_time(uint64_t ns, char out[32])
{
	time_t s = (time_t)(ns / 1000000000u);
	struct tm tm;
	size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));

	(void)snprintf(out + n, 32 - n, ".%03uZ", (unsigned)(ns / 1000000 % 1000));
	return out;
}

static void add_json(struct text *batch, struct json *j)
{
	if (json_is_ok(j)) {
		text_add(batch, (struct slice){ .p = j->out.p, .n = j->out.n });
		text_add(batch, SLICE("\n"));
	}
	json_deinit(j);
}

void log_format_line(struct text *batch, enum conf_log_format format, enum log_level level,
		     uint64_t ns, const char *line)
{
	char time[32];
	size_t start = batch->n;

	LB_ASSERT(format == CONF_LOG_TEXT || format == CONF_LOG_JSON);
	format_time(ns, time);
	if (format == CONF_LOG_TEXT) {
		text_addf(batch, "%s %s %s", time, log_level_name(level), line);
		/* Control characters become spaces, so that an event stays one line even when the
		 * line quotes text of a peer. */
		for (size_t i = start; i < batch->n; i++)
			if ((unsigned char)batch->p[i] < ' ')
				batch->p[i] = ' ';
		text_add(batch, SLICE("\n"));
		return;
	}
	struct json j = JSON_INIT;
	json_object_begin(&j);
	json_kv_string(&j, "time", time);
	json_kv_string(&j, "level", log_level_name(level));
	log_fields_add(&j, line);
	json_object_end(&j);
	add_json(batch, &j);
}

/* Adds the record as a JSON object. `msg` is the text of a line of the log; NULL: the object is for
 * the access log. */
static void format_access_json(struct text *batch, const struct log_access *a, const char *time,
			       const char *client, const char *msg)
{
	struct json j = JSON_INIT;

	json_object_begin(&j);
	json_kv_string(&j, "time", time);
	if (msg != NULL) {
		json_kv_string(&j, "level", log_level_name(LOG_LEVEL_INFO));
		json_kv_string(&j, "msg", msg);
	}
	json_kv_string(&j, "client", client);
	json_kv_string(&j, "listener", a->listener);
	json_kv_string(&j, "route", a->route);
	json_kv_string(&j, "pool", a->pool);
	json_kv_string(&j, "backend", a->backend);
	json_kv_uint(&j, "status", a->r.status);
	json_kv_uint(&j, "bytes_in", a->r.bytes_in);
	json_kv_uint(&j, "bytes_out", a->r.bytes_out);
	json_kv_uint(&j, "duration_ms", a->r.duration_ns / 1000000);
	json_kv_uint(&j, "handshake_ms", a->r.handshake_ms);
	json_kv_string(&j, "end", sess_end_word(a->r.end));
	json_kv_uint(&j, "id", a->r.id);
	json_kv_uint(&j, "ws_close", a->r.ws_close);
	json_kv_string(&j, "error", a->r.error != NULL ? a->r.error : "");
	if (a->r.tls_version != NULL) {
		json_kv_string(&j, "sni", a->tls.sni);
		json_kv_string(&j, "tls_version", a->r.tls_version);
		json_kv_string(&j, "cipher", a->r.cipher);
		json_kv_string(&j, "client_cert", a->tls.client_cert);
	}
	json_object_end(&j);
	add_json(batch, &j);
}

/* "-" stands for an empty value, so that every line has the same columns. */
static const char *or_dash(const char *text)
{
	return text[0] != '\0' ? text : "-";
}

static void access_text(const struct log_access *a, const char *client, char *out, size_t len)
{
	int n = snprintf(
		out, len,
		"client=%s listener=%s route=%s pool=%s backend=%s status=%u bytes_in=%llu "
		"bytes_out=%llu duration_ms=%llu handshake_ms=%u end=%s id=%llu "
		"ws_close=%u error=\"%s\"",
		client, or_dash(a->listener), or_dash(a->route), or_dash(a->pool),
		or_dash(a->backend), a->r.status, (unsigned long long)a->r.bytes_in,
		(unsigned long long)a->r.bytes_out,
		(unsigned long long)(a->r.duration_ns / 1000000), a->r.handshake_ms,
		sess_end_word(a->r.end), (unsigned long long)a->r.id, a->r.ws_close,
		a->r.error != NULL ? a->r.error : "");
	if (a->r.tls_version != NULL && n > 0 && (size_t)n < len)
		(void)snprintf(out + n, len - (size_t)n,
			       " sni=%s tls_version=%s cipher=%s client_cert=\"%s\"",
			       or_dash(a->tls.sni), a->r.tls_version, a->r.cipher,
			       a->tls.client_cert);
}

void log_format_access(struct text *batch, enum conf_log_format format, const struct log_access *a)
{
	char time[32], client[ADDR_TEXT_MAX], line[LOG_LINE_MAX];

	format_time(a->r.wall_ns, time);
	addr_format(&a->r.client, client);
	if (format == CONF_LOG_JSON) {
		format_access_json(batch, a, time, client, NULL);
		return;
	}
	access_text(a, client, line, sizeof(line));
	text_addf(batch, "%s %s\n", time, line);
}

void log_format_ended(struct text *batch, enum conf_log_format format, const struct log_access *a)
{
	static const char msg[] = "connection ended";
	char time[32], client[ADDR_TEXT_MAX], line[LOG_LINE_MAX], ended[LOG_LINE_MAX];

	addr_format(&a->r.client, client);
	if (format == CONF_LOG_JSON) {
		format_access_json(batch, a, format_time(a->r.wall_ns, time), client, msg);
		return;
	}
	access_text(a, client, line, sizeof(line));
	(void)snprintf(ended, sizeof(ended), "%s %.*s", msg, LOG_LINE_MAX - 20, line);
	log_format_line(batch, format, LOG_LEVEL_INFO, a->r.wall_ns, ended);
}
