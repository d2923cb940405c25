/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * JSON: a writer (RFC 8259), on one line, into a buffer that grows.
 *
 * The writer puts the commas. The caller's code makes the structure, so a wrong structure (a value
 * without its key, an end that matches no begin) is a bug, and an assertion finds it. json_is_ok()
 * tells at the end whether memory was short. The text is in `out`.
 *
 *	struct json j = JSON_INIT;
 *	json_object_begin(&j);
 *	json_kv_uint(&j, "pid", 4711);
 *	json_object_end(&j);
 *	if (json_is_ok(&j))
 *		send(text_slice(&j.out));
 *	json_deinit(&j);
 *
 * Thread: the owner's. Layer: util.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/slice.h"
#include "util/text.h"

#define JSON_DEPTH_MAX 32 /* objects and arrays open at a time; more is a bug */

struct json {
	struct text out;
	/* private to json.c */
	uint32_t depth;    /* open objects and arrays */
	uint32_t is_array; /* bit d: the object or array at depth d is an array */
	bool needs_comma;  /* the next key or value at this depth needs a comma before it */
	bool has_key;      /* a key was written, and its value comes next */
};

#define JSON_INIT ((struct json){ 0 })

void json_object_begin(struct json *j);
void json_object_end(struct json *j);
void json_array_begin(struct json *j);
void json_array_end(struct json *j);

/* Writes the name of the next value, escaped like any string. Only within an object. */
void json_key(struct json *j, const char *key);

/* Writes a string. Escapes the characters that must be escaped; each byte that is not part of valid
 * UTF-8 becomes U+FFFD. */
void json_string(struct json *j, struct slice s);
void json_uint(struct json *j, uint64_t v);
void json_int(struct json *j, int64_t v);
void json_bool(struct json *j, bool v);
void json_null(struct json *j);

/* Writes `v` with six digits after the point, or null when `v` is not finite. */
void json_double(struct json *j, double v);

void json_kv_uint(struct json *j, const char *key, uint64_t v);
void json_kv_string(struct json *j, const char *key, const char *str);
void json_kv_slice(struct json *j, const char *key, struct slice s);
void json_kv_bool(struct json *j, const char *key, bool v);

/* Whether memory sufficed for the whole text and every begin had its end. */
static inline bool json_is_ok(const struct json *j)
{
	return !j->out.failed && j->depth == 0;
}

/* Frees the text; the writer is JSON_INIT afterwards. */
void json_deinit(struct json *j);
