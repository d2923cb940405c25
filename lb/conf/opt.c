/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a map of the file is read by a table of options, and what is said about keys that have no
 * row. How the value of one row is read is in opt_value.c.
 *
 * opt_read() reads one map. First judge_keys() looks at each key of the map and reports the ones
 * without a row. Then read_row() looks for the key of each row, and reports the key as missing or
 * reads its value. Rows of type OPT_CALL call back into the *_opts.c files, which call opt_read()
 * for the maps of a list.
 *
 * A table covers one map of the file (the top, or an item of a list) and the maps inside it, whose
 * keys are dotted in the table: "timeouts.connect". A "prefix" names one of these maps: it is what
 * all dotted keys of the map begin with, up to and with the dot, as "timeouts."; the prefix of the
 * outer map is "". name_at() is the name that a row has in the map at a prefix. The "place" of a
 * map is its path in the file without the lists' indexes: "pools.timeouts" (place_of()).
 *
 * Messages about an unknown key go from the certain to the vague: a missing space behind the colon
 * (glued_key()), a word of other load balancers (synonym.h), a misspelling (util/nearest.h), a key
 * of another map (tell_other_place()), else the list of keys that the map may have. Functions named
 * tell_NAME() add to the text of a message; functions named report_NAME() add a mistake to
 * ctx->err.
 *
 * ctx->tables has all tables of the file, for such hints only. Because opt.c gets the tables by way
 * of `ctx`, it calls none of the *_opts.c files, which call opt.c.
 */
#include "conf/opt.h"

#include <stdlib.h>
#include <string.h>

#include "conf/synonym.h"
#include "conf/word.h"
#include "util/nearest.h"
#include "util/text.h"

/* The part of a dotted key before its first dot. */
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
 * The name of a row's key in the map at `prefix`: the last part of the key, or the name of the
 * inner map that leads to the key. So "timeouts.connect" and "timeouts.idle" both have the name
 * "timeouts" in the outer map. Empty when the key is neither in the map at `prefix` nor in a map
 * inside it.
 */
static struct slice name_at(const struct opt *o, struct slice prefix)
{
	LB_ASSERT(prefix.n == 0 || prefix.p[prefix.n - 1] == '.');
	if (!slice_starts_with(slice_of(o->key), prefix))
		return SLICE("");
	return component(o->key + prefix.n);
}

/* Adds the keys that the map at `prefix` may have: "name, bind, timeouts". */
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

/* Whether `keys`, which list_keys() has made, is one key. */
static bool is_one_key(const struct text *keys)
{
	return keys->n != 0 && memchr(keys->p, ',', keys->n) == NULL;
}

/* Adds the place of a table's map at `prefix`, as "pools.health". */
static void place_of(const struct opt_ctx *ctx, const struct opt *table, struct slice prefix,
		     struct text *ret)
{
	const struct opt_table *t = ctx->tables;

	while (t->name != NULL && t->opts != table)
		t++;
	LB_ASSERT(t->name != NULL); /* ctx->tables has every table */
	text_add(ret, slice_of(t->name));
	if (prefix.n == 0)
		return;
	if (ret->n != 0)
		text_pad(ret, '.', 1);
	text_add(ret, (struct slice){ .p = prefix.p, .n = prefix.n - 1 });
}

/*
 * The key of a row that has the part `word`: `word` itself when the key begins with it, the whole
 * dotted key when the key ends with it. Empty when neither is the case.
 */
static struct slice named_by(const struct opt *o, struct slice word)
{
	const char *dot = strrchr(o->key, '.');

	if (slice_eq(component(o->key), word))
		return word;
	if (dot != NULL && slice_eq(slice_of(dot + 1), word))
		return slice_of(o->key);
	return SLICE("");
}

/* When `word` is a key elsewhere in the file, adds `; "health.interval" is a key of pools`. */
static void tell_other_place(const struct opt_ctx *ctx, struct slice word, struct text *ret)
{
	for (const struct opt_table *t = ctx->tables; t->name != NULL; t++) {
		for (const struct opt *o = t->opts; o->key != NULL; o++) {
			struct slice name = named_by(o, word);
			if (name.n == 0)
				continue;
			text_addf(ret, "%s\"" SLICE_FMT "\" %s %s%s", ret->n == 0 ? "; " : ", ",
				  SLICE_ARG(name),
				  (o->flags & OPT_LATER) != 0 ? "of" : "is a key of",
				  t->name[0] != '\0' ? t->name : "the file",
				  (o->flags & OPT_LATER) != 0 ? " is not supported yet" : "");
			break;
		}
	}
}

/* Adds what the unknown key `word` was probably meant to be. Adds nothing when that is unknown. */
static void tell_meant(const struct opt_ctx *ctx, const struct opt *table, struct slice prefix,
		       struct slice word, struct text *ret)
{
	_cleanup_(text_deinit) struct text place = TEXT_INIT;
	char synonym[SYNONYM_TEXT_MAX], hint[NEAREST_TEXT_MAX];
	struct nearest near;

	LB_ASSERT(ret->n == 0);
	place_of(ctx, table, prefix, &place);
	(void)synonym_hint(SYNONYM_KEY, place.n != 0 ? place.p : "", word, synonym);
	if (*synonym != '\0') {
		text_add(ret, slice_of(synonym));
		return;
	}
	nearest_init(&near, word);
	for (const struct opt *o = table; o->key != NULL; o++) {
		struct slice name = name_at(o, prefix);
		if (name.n != 0)
			nearest_try(&near, name);
	}
	text_add(ret, slice_of(nearest_hint(&near, hint)));
	if (ret->n == 0)
		tell_other_place(ctx, word, ret);
}

/*
 * The key "name" in a text as `name:public`, which has a key of the map at `prefix`, a colon and a
 * value without a space. Empty when the text is not of that form.
 */
static struct slice glued_key(const struct opt *table, struct slice prefix, struct slice text)
{
	const char *colon = text.n == 0 ? NULL : memchr(text.p, ':', text.n);
	struct slice word = { .p = text.p, .n = colon == NULL ? 0 : (size_t)(colon - text.p) };

	for (const struct opt *o = table; o->key != NULL && word.n != 0; o++) {
		if (slice_eq(name_at(o, prefix), word))
			return word;
	}
	return SLICE("");
}

/*
 * Reports that a space is missing behind a colon. `key` is the result of glued_key(): in the text
 * that `key` points into, the colon and the value follow. The message begins with `what`.
 */
static void report_glued(struct opt_ctx *ctx, struct mark at, const char *what, struct slice key)
{
	LB_ASSERT(key.n != 0 && key.p[key.n] == ':');
	const char *value = key.p + key.n + 1;
	char shown[WORD_SHOWN_MAX];

	(void)word_show(value + strspn(value, " "), shown);
	(void)err_at(ctx->err, at,
		     "%sa space is missing behind the colon: write \"" SLICE_FMT ": %s\"", what,
		     SLICE_ARG(key), shown);
}

static void report_unknown(struct opt_ctx *ctx, const struct opt *table, struct slice prefix,
			   const struct yaml_node *node)
{
	_cleanup_(text_deinit) struct text meant = TEXT_INIT, known = TEXT_INIT;
	char shown[WORD_SHOWN_MAX];

	struct slice glued = glued_key(table, prefix, slice_of(node->key));
	if (glued.n != 0) {
		report_glued(ctx, node->key_at, "", glued);
		return;
	}
	(void)word_show(node->key, shown);
	tell_meant(ctx, table, prefix, slice_of(node->key), &meant);
	if (meant.n != 0) {
		(void)err_at(ctx->err, node->key_at, "unknown key \"%s\"%s", shown, meant.p);
		return;
	}
	list_keys(table, prefix, &known);
	(void)err_at(ctx->err, node->key_at, "unknown key \"%s\"; %s %s", shown,
		     is_one_key(&known) ? "the only one here is" : "known are",
		     known.failed ? "others" : known.p);
}

/*
 * The one key of the map at `prefix` that could have the value `text`: "type" for `health: tcp`,
 * where a map is wanted. Empty when no key, or more than one key, could have the value.
 */
static struct slice meant_key(const struct opt *table, struct slice prefix, const char *text)
{
	struct slice found = SLICE("");

	for (const struct opt *o = table; o->key != NULL && prefix.n != 0; o++) {
		struct slice name = name_at(o, prefix);
		if (name.n == 0 || (o->flags & OPT_LATER) != 0 || !opt_fits(o, text))
			continue;
		if (found.n != 0)
			return SLICE("");
		found = name;
	}
	return found;
}

/*
 * Adds the advice for `health: ws`, where a map is wanted, and "ws" is another load balancer's word
 * for a value in that map: `; write "health: {type: websocket}"`. Adds nothing when the text is no
 * such word.
 */
static void tell_word_of_others(const struct opt *table, struct slice prefix,
				const struct yaml_node *node, struct text *ret)
{
	for (const struct opt *o = table; o->key != NULL; o++) {
		struct slice name = name_at(o, prefix);
		if (name.n == 0 || o->type != OPT_WORD)
			continue;
		const struct synonym *s = synonym_find(SYNONYM_VALUE, o->key, slice_of(node->text));
		if (s == NULL || s->ours == NULL)
			continue;
		text_addf(ret, "; write \"%s: {" SLICE_FMT ": %s}\"", node->key, SLICE_ARG(name),
			  s->ours);
		return;
	}
}

static bool is_among(const char *word, const char *const *words)
{
	while (*words != NULL && strcmp(*words, word) != 0)
		words++;
	return *words != NULL;
}

/*
 * The advice for a word that means on or off where a map is wanted, as `admin: off` or `health:
 * true`; "" when there is none.
 */
static const char *switch_advice(const char *key, const struct yaml_node *node)
{
	static const char *const none[] = { "off", "false", "no", "none", NULL };
	static const char *const some[] = { "on", "true", "yes", NULL };
	static const struct {
		const char *key, *none, *some;
	} rows[] = {
		{ "access_log", "; leave the key out for none", "" },
		{ "admin", "; write \"admin: {socket: off}\" for none", "" },
		{ "hash", "; leave the key out for none", "" },
		{ "health", "; leave the key out for none",
		  "; write \"health: {}\" for checks that connect" },
		{ "limits", "; leave the key out for none", "" },
		{ "tls", "; leave the key out for none",
		  "; write \"tls: {certificates: [{cert: FILE, key: FILE}]}\"" },
		{ "client", "; leave the key out for none", "; write \"client: {ca: FILE}\"" },
		{ "tickets", "; leave the key out for the default", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows) && node->kind == YAML_SCALAR; i++) {
		if (strcmp(rows[i].key, key) != 0)
			continue;
		if (node->is_null || is_among(node->text, some))
			return rows[i].some;
		return is_among(node->text, none) ? rows[i].none : "";
	}
	return "";
}

/* Reports `node`, which stands where the map at `prefix` is wanted, but is no map. */
static void report_no_map(struct opt_ctx *ctx, const struct opt *table, struct slice prefix,
			  const struct yaml_node *node)
{
	_cleanup_(text_deinit) struct text known = TEXT_INIT, what = TEXT_INIT, meant = TEXT_INIT;
	_cleanup_(text_deinit) struct text place = TEXT_INIT;
	char shown[WORD_SHOWN_MAX];
	struct slice key = SLICE("");

	LB_ASSERT(node->kind != YAML_MAP && node->kind != YAML_BAD);
	if (prefix.n != 0)
		text_addf(&what, "\"%s\" ", node->key);
	if (node->kind == YAML_SCALAR && !node->is_null)
		key = glued_key(table, prefix, slice_of(node->text));
	if (key.n != 0) {
		report_glued(ctx, node->at, what.n != 0 ? what.p : "", key);
		return;
	}
	if (prefix.n == 0 && table != ctx->tables->opts) {
		place_of(ctx, table, prefix, &place);
		text_addf(&what, "an item of \"%s\" ", place.n != 0 ? place.p : "");
	}
	if (node->kind == YAML_SCALAR)
		key = meant_key(table, prefix, node->text);
	if (key.n != 0)
		text_addf(&meant, "; write \"%s: {" SLICE_FMT ": %s}\"", node->key, SLICE_ARG(key),
			  word_show(node->text, shown));
	else if (place.n != 0 && strcmp(place.p, "listeners.routes") == 0 &&
		 node->kind == YAML_SCALAR && node->text[0] == '/')
		text_addf(&meant, "; write \"{path: %s, pool: NAME}\"",
			  word_show(node->text, shown));
	else if (prefix.n != 0)
		text_add(&meant, slice_of(switch_advice(node->key, node)));
	else if (table == ctx->tables->opts && node->kind == YAML_SCALAR)
		text_addf(&meant, "; lb.yaml is YAML, with \"key: value\" lines");
	if (meant.n == 0 && prefix.n != 0 && node->kind == YAML_SCALAR)
		tell_word_of_others(table, prefix, node, &meant);
	list_keys(table, prefix, &known);
	(void)err_at(ctx->err, node->at, "%smust be a map of %s: %s%s", what.n != 0 ? what.p : "",
		     is_one_key(&known) ? "this key" : "these keys", known.failed ? "" : known.p,
		     meant.n != 0 ? meant.p : "");
}

/* Whether the table has rows of a map at `prefix`. */
static bool has_map(const struct opt *table, struct slice prefix)
{
	LB_ASSERT(prefix.n > 0 && prefix.p[prefix.n - 1] == '.');
	for (const struct opt *o = table; o->key != NULL; o++) {
		if (slice_starts_with(slice_of(o->key), prefix))
			return true;
	}
	return false;
}

/*
 * Reports the keys that have no row, in `map`, which is the map at `prefix`, and in the maps inside
 * it.
 */
static void judge_keys(struct opt_ctx *ctx, const struct opt *table, struct slice prefix,
		       const struct yaml_node *map)
{
	LB_ASSERT(map->kind == YAML_MAP);
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

/*
 * The map that the row's key belongs to, `map` or one inside it. NULL when the file does not have
 * that inner map.
 */
static const struct yaml_node *holder(const struct opt *o, const struct yaml_node *map)
{
	const char *key = o->key;

	for (struct slice c; c = component(key), key[c.n] != '\0'; key += c.n + 1)
		map = lb_yaml_find(map, c);
	return map != NULL && map->kind == YAML_MAP ? map : NULL;
}

/* Whether the message about the key `unknown` of the map at `prefix` names the known key `name`. */
static bool is_named(const struct opt_ctx *ctx, const struct opt *table, struct slice prefix,
		     const char *unknown, struct slice name)
{
	_cleanup_(text_deinit) struct text meant = TEXT_INIT, quoted = TEXT_INIT;

	if (slice_eq(glued_key(table, prefix, slice_of(unknown)), name))
		return true;
	tell_meant(ctx, table, prefix, slice_of(unknown), &meant);
	text_addf(&quoted, "\"" SLICE_FMT "\"", SLICE_ARG(name));
	return meant.n != 0 && !quoted.failed && strstr(meant.p, quoted.p) != NULL;
}

bool opt_is_meant(const struct opt_ctx *ctx, const struct opt *table, const char *key,
		  const struct yaml_node *map)
{
	const char *dot = strrchr(key, '.');
	struct slice prefix = { .p = key, .n = dot == NULL ? 0 : (size_t)(dot + 1 - key) };

	LB_ASSERT(opt_row(table, key) != NULL && map->kind == YAML_MAP);
	struct slice name = slice_of(key + prefix.n);

	for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
		bool is_known = false;
		for (const struct opt *o = table; o->key != NULL && !is_known; o++)
			is_known = slice_eq(name_at(o, prefix), slice_of(n->key));
		if (!is_known && is_named(ctx, table, prefix, n->key, name))
			return true;
	}
	return false;
}

/*
 * Reads the value of one row when its key is in the map. When the key is not there but required,
 * reports that.
 */
static void read_row(struct opt_ctx *ctx, const struct opt *table, const struct opt *o,
		     const struct yaml_node *map, void *object)
{
	const struct yaml_node *node = opt_find(map, o->key), *in = holder(o, map);

	if (node == NULL) {
		if ((o->flags & OPT_REQUIRED) != 0 && in != NULL &&
		    !opt_is_meant(ctx, table, o->key, in))
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
	LB_ASSERT(ctx->tables != NULL);
	if (map->kind != YAML_MAP) {
		if (map->kind != YAML_BAD)
			report_no_map(ctx, table, SLICE(""), map);
		return;
	}
	judge_keys(ctx, table, SLICE(""), map);
	for (const struct opt *o = table; o->key != NULL; o++)
		read_row(ctx, table, o, map, object);
}

void opt_set_defaults(struct opt_ctx *ctx, const struct opt *table, void *object)
{
	size_t n_before = ctx->err->n;

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
	LB_ASSERT(ctx->err->n == n_before); /* a row accepts its own default */
}
