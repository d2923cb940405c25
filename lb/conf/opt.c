/* SPDX-License-Identifier: Apache-2.0 */
/* How a map of the file is read by a table. Single values are in opt_value.c. */
#include "conf/opt.h"

#include <stdlib.h>
#include <string.h>

#include "conf/nearest.h"
#include "conf/word.h"
#include "util/text.h"

/* The part of a dotted key up to the next dot. */
static struct slice component(const char *key)
{
	return (struct slice){ .p = key, .n = strcspn(key, ".") };
}

const struct yaml_node *opt_find(const struct yaml_node *map, const char *key)
{
	for (;;) {
		struct slice c = component(key);
		map = lb_yaml_find(map, c);
		if (key[c.n] == '\0' || map == NULL)
			return map;
		key += c.n + 1;
	}
}

struct mark opt_mark(const struct yaml_node *map, const char *key)
{
	LB_ASSERT(map != NULL);
	const struct yaml_node *n = opt_find(map, key);

	return n != NULL ? n->at : map->at;
}

const struct opt *opt_row(const struct opt *table, const char *key)
{
	for (const struct opt *o = table; o->key != NULL; o++) {
		if (strcmp(o->key, key) == 0)
			return o;
	}
	return NULL;
}

/*
 * What a row's key is called in a map at `prefix` ("" or "timeouts."), where the rows of the map at
 * "timeouts" all have one name in the map above. Nothing where the row is of another map.
 */
static struct slice name_at(const struct opt *o, struct slice prefix)
{
	if (!slice_starts_with(slice_of(o->key), prefix))
		return SLICE("");
	return component(o->key + prefix.n);
}

/* Writes "name, bind, timeouts": the keys that a map may have. */
static void list_keys(const struct opt *table, struct slice prefix, struct text *ret)
{
	struct slice last = SLICE("");

	for (const struct opt *o = table; o->key != NULL; o++) {
		struct slice name = name_at(o, prefix);
		if (name.n == 0 || slice_eq(name, last) || (o->flags & OPT_LATER) != 0)
			continue;
		if (ret->n != 0)
			text_add(ret, SLICE(", "));
		text_add(ret, name);
		last = name;
	}
}

static void report_unknown(struct opt_ctx *ctx, const struct opt *table, struct slice prefix,
			   const struct yaml_node *node)
{
	char shown[WORD_SHOWN_MAX], hint[NEAREST_TEXT_MAX];
	_cleanup_(text_deinit) struct text known = TEXT_INIT;
	struct nearest near;

	nearest_init(&near, slice_of(node->key));
	for (const struct opt *o = table; o->key != NULL; o++) {
		struct slice name = name_at(o, prefix);
		if (name.n != 0)
			nearest_try(&near, name);
	}
	(void)word_show(node->key, shown);
	if (*nearest_hint(&near, hint) != '\0') {
		(void)err_at(ctx->err, node->key_at, "unknown key \"%s\"%s", shown, hint);
		return;
	}
	list_keys(table, prefix, &known);
	(void)err_at(ctx->err, node->key_at, "unknown key \"%s\"; known are %s", shown,
		     known.failed ? "others" : known.p);
}

static void report_no_map(struct opt_ctx *ctx, const struct opt *table, struct slice prefix,
			  const struct yaml_node *node)
{
	_cleanup_(text_deinit) struct text known = TEXT_INIT;

	list_keys(table, prefix, &known);
	(void)err_at(ctx->err, node->at, "%s%s%smust be a map of these keys: %s",
		     prefix.n != 0 ? "\"" : "", prefix.n != 0 ? node->key : "",
		     prefix.n != 0 ? "\" " : "", known.failed ? "" : known.p);
}

/* Whether rows of the table are of a map at `prefix`, which ends with a dot. */
static bool has_map(const struct opt *table, struct slice prefix)
{
	for (const struct opt *o = table; o->key != NULL; o++) {
		if (slice_starts_with(slice_of(o->key), prefix))
			return true;
	}
	return false;
}

/* Looks for keys that no row has, here and in the maps below that are rows' dotted keys. */
static void judge_keys(struct opt_ctx *ctx, const struct opt *table, struct slice prefix,
		       const struct yaml_node *map)
{
	for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
		_cleanup_(text_deinit) struct text key = TEXT_INIT;

		text_add(&key, prefix);
		text_add(&key, slice_of(n->key));
		text_pad(&key, '.', 1);
		if (key.failed) {
			ctx->no_memory = true;
			return;
		}
		if (strchr(n->key, '.') == NULL && has_map(table, text_slice(&key))) {
			if (n->kind == YAML_MAP)
				judge_keys(ctx, table, text_slice(&key), n);
			else if (n->kind != YAML_BAD)
				report_no_map(ctx, table, text_slice(&key), n);
			continue;
		}
		key.p[--key.n] = '\0';
		if (strchr(n->key, '.') != NULL || opt_row(table, key.p) == NULL)
			report_unknown(ctx, table, prefix, n);
	}
}

/* The map that holds the row's key: the object's own, or one of its maps; NULL where it is not. */
static const struct yaml_node *holder(const struct opt *o, const struct yaml_node *map)
{
	const char *key = o->key;

	for (struct slice c; c = component(key), key[c.n] != '\0'; key += c.n + 1)
		map = lb_yaml_find(map, c);
	return map != NULL && map->kind == YAML_MAP ? map : NULL;
}

static void read_row(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *map,
		     void *object)
{
	const struct yaml_node *node = opt_find(map, o->key), *in = holder(o, map);

	if (node == NULL) {
		if ((o->flags & OPT_REQUIRED) != 0 && in != NULL)
			(void)err_at(ctx->err, in->at, "\"%s\" is missing", o->key);
	} else if ((o->flags & OPT_LATER) != 0) {
		(void)err_at(ctx->err, node->key_at, "\"%s\" is not supported yet", o->key);
	} else {
		opt_read_value(ctx, o, node, object);
	}
}

void opt_read(struct opt_ctx *ctx, const struct opt *table, const struct yaml_node *map,
	      void *object)
{
	if (map->kind != YAML_MAP) {
		if (map->kind != YAML_BAD)
			report_no_map(ctx, table, SLICE(""), map);
		return;
	}
	judge_keys(ctx, table, SLICE(""), map);
	for (const struct opt *o = table; o->key != NULL; o++)
		read_row(ctx, o, map, object);
}

void opt_set_defaults(struct opt_ctx *ctx, const struct opt *table, void *object)
{
	for (const struct opt *o = table; o->key != NULL; o++) {
		if (o->def == NULL)
			continue;
		struct yaml_node node = { .kind = YAML_SCALAR, .text = strdup(o->def) };
		if (node.text == NULL) {
			ctx->no_memory = true;
			return;
		}
		opt_read_value(ctx, o, &node, object);
		free(node.text);
	}
}
