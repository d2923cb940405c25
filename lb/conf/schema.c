/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON Schema of lb.yaml, made from the tables of options: `lb --schema`.
 *
 * conf_schema() writes one object of JSON. put_table() writes the schema of a map: its keys, and
 * which of them are required. It goes over the rows of a table as opt.c does: a row whose key has
 * no further dot is a property (put_row()), and the first row of an inner map opens that map
 * (put_table() again, with a longer prefix).
 *
 * put_value() writes what a value may be, by the row's type. A number may be a number of YAML or a
 * text with a unit, so that its schema has a list of types and a pattern (put_number()). YAML 1.1
 * reads `off` as the boolean false. So where `off` is allowed, the schema allows booleans, but not
 * `true` (put_off()). When a table exists for the place of a row of type OPT_CALL, its value is a
 * list of maps (put_maps()); else the row's shape and pattern say what the value is.
 *
 * The place of a map is its path in lb.yaml, as in conf_tables: "listeners.routes". The prefix of a
 * map within a table is the part of its keys before the map's own: "timeouts.".
 *
 * The schema has no rules about more than one value: check.c has them.
 */
#include "conf/schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/opt.h"
#include "conf/opt_number.h"
#include "conf/tables.h"
#include "conf/word.h"
#include "util/json.h"

#define PLACE_MAX 64 /* bytes of a place or a key, with the NUL */

static void put_table(struct json *j, const char *place, const struct opt *table,
		      struct slice prefix);

/* ---- a scalar ---- */

/* Writes up to three allowed types; an argument that is NULL is left out. */
static void put_types(struct json *j, const char *a, const char *b, const char *c)
{
	const char *const types[] = { a, b, c };

	json_key(j, "type");
	json_array_begin(j);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i] != NULL)
			json_string(j, slice_of(types[i]));
	}
	json_array_end(j);
}

/*
 * Writes a pattern that matches `digits`, which is the pattern of a number with its unit, and the
 * words `auto` and `off` when the row's flags allow them.
 */
static void put_number_pattern(struct json *j, const struct opt *o, const char *digits)
{
	char pattern[96];

	int n = snprintf(pattern, sizeof(pattern), "^(%s%s%s)$", digits,
			 (o->flags & OPT_AUTO) != 0 ? "|auto" : "",
			 (o->flags & OPT_OFF) != 0 ? "|off" : "");
	LB_ASSERT(n > 0 && (size_t)n < sizeof(pattern));
	json_kv_string(j, "pattern", pattern);
}

static void put_limit(struct json *j, const struct opt *o, const char *key, const char *limit)
{
	uint64_t v;
	bool is_number = opt_number(o, slice_of(limit), &v);

	LB_ASSERT(is_number); /* a row accepts its own limits */
	json_key(j, key);
	if (o->type == OPT_FACTOR)
		json_double(j, (double)v / 100);
	else
		json_uint(j, v);
}

/*
 * When the row allows `off`, excludes the boolean true. put_number() has allowed booleans, because
 * YAML 1.1 reads `off` as false.
 */
static void put_off(struct json *j, const struct opt *o)
{
	if ((o->flags & OPT_OFF) == 0)
		return;
	json_key(j, "not");
	json_object_begin(j);
	json_kv_bool(j, "const", true);
	json_object_end(j);
}

static void put_number(struct json *j, const struct opt *o)
{
	const char *off = (o->flags & OPT_OFF) != 0 ? "boolean" : NULL;

	switch (o->type) {
	case OPT_DURATION:
		put_types(j, "string", off, NULL);
		put_number_pattern(j, o, "[0-9]+(ms|s|m|h|d)");
		put_off(j, o);
		return;
	case OPT_SIZE:
		put_types(j, "integer", "string", off);
		put_number_pattern(j, o, "(0|[1-9][0-9]*)(KiB|MiB|GiB)?");
		break;
	case OPT_FACTOR:
		put_types(j, "number", "string", off);
		put_number_pattern(j, o, "[0-9]+(\\.[0-9]{1,2})?");
		put_off(j, o);
		break;
	case OPT_MODE: /* no limits: YAML 1.1 reads 0600 as octal, YAML 1.2 as decimal */
		put_types(j, "integer", "string", NULL);
		put_number_pattern(j, o, "0[0-7]*");
		return;
	case OPT_UINT:
	case OPT_COUNT:
	case OPT_WORD:
	case OPT_NAME:
	case OPT_FILE:
	case OPT_ADDRESS:
	case OPT_CALL:
		put_types(j, "integer", "string", NULL);
		put_number_pattern(j, o, "(0|[1-9][0-9]*)");
		break;
	}
	put_limit(j, o, "minimum", o->min);
	put_limit(j, o, "maximum", o->max);
}

static void put_words(struct json *j, const struct opt_word *w)
{
	json_key(j, "enum");
	json_array_begin(j);
	for (; w->word != NULL; w++) {
		if (w->is_later)
			continue;
		json_string(j, slice_of(w->word));
		if (strcmp(w->word, "true") == 0 || strcmp(w->word, "false") == 0)
			json_bool(j, w->word[0] == 't');
		else if (strcmp(w->word, "off") == 0) /* as in put_off() */
			json_bool(j, false);
		else if (w->word[0] >= '0' && w->word[0] <= '9') /* "1.2" is a number to YAML */
			json_double(j, strtod(w->word, NULL));
	}
	json_array_end(j);
}

static void put_pattern(struct json *j, const char *pattern)
{
	put_types(j, "string", "integer", NULL);
	json_kv_string(j, "pattern", pattern);
}

/*
 * Writes the schema of a text of an OPT_CALL row. When the row has no pattern, any scalar is
 * allowed, also the number 1 and the boolean true.
 */
static void put_text(struct json *j, const struct opt *o)
{
	if (o->pattern != NULL)
		put_pattern(j, o->pattern);
	else
		put_types(j, "string", "number", "boolean");
}

/* ---- lists and maps ---- */

/* The table of the maps at a place, or NULL. */
static const struct opt *table_at(const char *place)
{
	for (const struct opt_table *t = conf_tables; t->name != NULL; t++) {
		if (strcmp(t->name, place) == 0)
			return t->opts;
	}
	return NULL;
}

static void put_map(struct json *j, const char *place, const struct opt *table)
{
	json_object_begin(j);
	put_table(j, place, table, SLICE(""));
	json_object_end(j);
}

/*
 * Writes the schema of an item of a list of maps. When the row has a pattern, a text that matches
 * the pattern is allowed in place of the map.
 */
static void put_item(struct json *j, const struct opt *o, const char *place,
		     const struct opt *table)
{
	if (o->pattern == NULL) {
		put_map(j, place, table);
		return;
	}
	json_object_begin(j);
	json_key(j, "anyOf");
	json_array_begin(j);
	json_object_begin(j);
	put_text(j, o);
	json_object_end(j);
	put_map(j, place, table);
	json_array_end(j);
	json_object_end(j);
}

static void put_maps(struct json *j, const struct opt *o, const char *place,
		     const struct opt *table)
{
	json_kv_string(j, "type", "array");
	if ((o->flags & OPT_REQUIRED) != 0)
		json_kv_uint(j, "minItems", 1);
	json_key(j, "items");
	put_item(j, o, place, table);
}

static void put_texts(struct json *j, const struct opt *o)
{
	json_kv_string(j, "type", "array");
	if ((o->flags & OPT_REQUIRED) != 0)
		json_kv_uint(j, "minItems", 1);
	json_key(j, "items");
	json_object_begin(j);
	put_text(j, o);
	json_object_end(j);
}

static void put_text_or_texts(struct json *j, const struct opt *o)
{
	json_key(j, "anyOf");
	json_array_begin(j);
	json_object_begin(j);
	put_text(j, o);
	json_object_end(j);
	json_object_begin(j);
	put_texts(j, o);
	json_object_end(j);
	json_array_end(j);
}

static void put_map_of_texts(struct json *j, const struct opt *o)
{
	json_kv_string(j, "type", "object");
	json_kv_uint(j, "minProperties", 1);
	json_key(j, "additionalProperties");
	json_object_begin(j);
	put_text(j, o);
	json_object_end(j);
}

static void put_call(struct json *j, const char *place, const struct opt *o)
{
	char below[PLACE_MAX];

	int n = snprintf(below, sizeof(below), "%s%s%s", place, *place != '\0' ? "." : "", o->key);
	LB_ASSERT(n > 0 && (size_t)n < sizeof(below));
	const struct opt *table = table_at(below);
	if (table != NULL) {
		put_maps(j, o, below, table);
		return;
	}
	switch (o->shape) {
	case SHAPE_TEXT: put_text(j, o); break;
	case SHAPE_TEXTS: put_texts(j, o); break;
	case SHAPE_TEXT_OR_TEXTS: put_text_or_texts(j, o); break;
	case SHAPE_MAP_OF_TEXTS: put_map_of_texts(j, o); break;
	}
}

/* ---- rows ---- */

static void put_value(struct json *j, const char *place, const struct opt *o)
{
	switch (o->type) {
	case OPT_UINT:
	case OPT_COUNT:
	case OPT_DURATION:
	case OPT_SIZE:
	case OPT_FACTOR:
	case OPT_MODE: put_number(j, o); break;
	case OPT_WORD: put_words(j, o->words); break;
	case OPT_NAME: put_pattern(j, PATTERN_NAME); break;
	case OPT_FILE:
		json_kv_string(j, "type", "string");
		json_kv_uint(j, "minLength", 1);
		break;
	case OPT_ADDRESS:
		json_kv_string(j, "type", "string");
		json_kv_string(j, "pattern", PATTERN_ADDRESS);
		break;
	case OPT_CALL: put_call(j, place, o); break;
	}
}

static void put_row(struct json *j, const char *place, const struct opt *o)
{
	json_object_begin(j);
	json_kv_string(j, "description", o->help);
	if (o->def != NULL)
		json_kv_string(j, "default", o->def);
	put_value(j, place, o);
	json_object_end(j);
}

/*
 * The name of a row's key in the map at `prefix`: the last part of the key, or the name of the
 * inner map that leads to the key. Empty when the row is of another map, or not supported yet.
 */
static struct slice name_in(const struct opt *o, struct slice prefix)
{
	const char *key = o->key + prefix.n;

	if (!slice_starts_with(slice_of(o->key), prefix) || (o->flags & OPT_LATER) != 0)
		return SLICE("");
	return (struct slice){ .p = key, .n = strcspn(key, ".") };
}

static void put_required(struct json *j, const struct opt *table, struct slice prefix)
{
	bool has_any = false;

	for (const struct opt *o = table; o->key != NULL; o++) {
		struct slice name = name_in(o, prefix);
		if (name.n == 0 || (o->flags & OPT_REQUIRED) == 0 || name.p[name.n] != '\0')
			continue;
		if (!has_any) {
			json_key(j, "required");
			json_array_begin(j);
		}
		json_string(j, name);
		has_any = true;
	}
	if (has_any)
		json_array_end(j);
}

/* Adds the schema of a table's map at `prefix` to the JSON object that is open. */
static void put_table(struct json *j, const char *place, const struct opt *table,
		      struct slice prefix)
{
	struct slice last = SLICE("");
	char key[PLACE_MAX];

	json_kv_string(j, "type", "object");
	json_kv_bool(j, "additionalProperties", false);
	put_required(j, table, prefix);
	json_key(j, "properties");
	json_object_begin(j);
	for (const struct opt *o = table; o->key != NULL; o++) {
		struct slice name = name_in(o, prefix);
		if (name.n == 0 || slice_eq(name, last))
			continue;
		last = name;
		LB_ASSERT(name.n < sizeof(key));
		(void)snprintf(key, sizeof(key), SLICE_FMT, SLICE_ARG(name));
		json_key(j, key);
		if (name.p[name.n] == '\0') {
			put_row(j, place, o);
			continue;
		}
		json_object_begin(j);
		put_table(j, place, table,
			  (struct slice){ .p = o->key, .n = prefix.n + name.n + 1 });
		json_object_end(j);
	}
	json_object_end(j);
}

int conf_schema(struct text *out)
{
	struct json j = JSON_INIT;

	json_object_begin(&j);
	json_kv_string(&j, "$schema", "http://json-schema.org/draft-07/schema#");
	json_kv_string(&j, "title", "lb.yaml of lb " LB_VERSION);
	put_table(&j, "", main_opts, SLICE(""));
	json_object_end(&j);
	bool is_ok = json_is_ok(&j);
	if (is_ok)
		text_add(out, text_slice(&j.out));
	json_deinit(&j);
	return is_ok && !out->failed ? 0 : -ENOMEM;
}
