/* SPDX-License-Identifier: Apache-2.0 */
/* The tables as a whole: each row makes sense, and the man page knows it. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "conf/conf.h"
#include "conf/tables.h"
#include "util/text.h"

/* Large enough for what any table is read into. */
union object {
	struct conf conf;
	struct conf_listener listener;
	struct conf_route route;
	struct conf_pool pool;
	struct conf_backend backend;
};

static void each_row(void (*fn)(const struct opt_table *t, const struct opt *o))
{
	size_t n = 0;

	for (const struct opt_table *t = conf_tables; t->name != NULL; t++) {
		for (const struct opt *o = t->opts; o->key != NULL; o++) {
			fn(t, o);
			n++;
		}
	}
	ck_assert_uint_gt(n, 60);
}

static void row_is_whole(const struct opt_table *t, const struct opt *o)
{
	size_t n = o->help != NULL ? strlen(o->help) : 0;

	ck_assert_msg(n > 0 && o->help[n - 1] == '.', "%s: %s has no sentence", t->name, o->key);
	ck_assert_msg(opt_row(t->opts, o->key) == o, "%s: %s is there twice", t->name, o->key);
	if ((o->flags & OPT_LATER) != 0)
		return;
	ck_assert_msg((o->type == OPT_WORD) == (o->words != NULL), "%s", o->key);
	ck_assert_msg((o->type == OPT_CALL) == (o->read != NULL), "%s", o->key);
	ck_assert_msg((o->type == OPT_CALL) == (o->write != NULL), "%s", o->key);
	ck_assert_msg(!opt_is_number(o) || (o->min != NULL && o->max != NULL), "%s", o->key);
	ck_assert_msg(o->def == NULL || (o->flags & OPT_REQUIRED) == 0, "%s", o->key);
}

START_TEST(rows_are_whole)
{
	each_row(row_is_whole);
}
END_TEST

/* Reads one text by a row that stands alone; returns how many mistakes were found. */
static size_t read_alone(const struct opt *o, const char *text)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct opt row = *o;
	char copy[128];
	union object object;
	struct opt_ctx ctx = { .err = &e, .conf = &object.conf };

	memset(&object, 0, sizeof(object));
	(void)snprintf(copy, sizeof(copy), "%s", text);
	struct yaml_node node = { .kind = YAML_SCALAR, .text = copy };
	opt_read_value(&ctx, &row, &node, &object);
	ck_assert(!ctx.no_memory);
	return e.n;
}

/* What min, max, and a number say is itself allowed; one step outside is not. */
static void range_is_sound(const struct opt_table *t, const struct opt *o)
{
	if (!opt_is_number(o) || (o->flags & OPT_LATER) != 0)
		return;
	ck_assert_msg(read_alone(o, o->min) == 0, "%s: %s: min", t->name, o->key);
	ck_assert_msg(read_alone(o, o->max) == 0, "%s: %s: max", t->name, o->key);
	ck_assert_msg(read_alone(o, "99999999999999999999999") == 1, "%s", o->key);
	ck_assert_msg(read_alone(o, "") == 1, "%s", o->key);
	ck_assert_msg(read_alone(o, "x") == 1, "%s", o->key);
	ck_assert_uint_eq(read_alone(o, "auto"), (o->flags & OPT_AUTO) != 0 ? 0 : 1);
	ck_assert_uint_eq(read_alone(o, "off"), (o->flags & OPT_OFF) != 0 ? 0 : 1);
}

START_TEST(ranges_are_sound)
{
	each_row(range_is_sound);
}
END_TEST

/* A default is written like a value, and setting it finds nothing wrong. */
static void defaults_are_values(const struct opt_table *t)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf conf = { .dir = NULL };
	union object object;
	struct opt_ctx ctx = { .err = &e, .conf = &conf };

	memset(&object, 0, sizeof(object));
	opt_set_defaults(&ctx, t->opts, &object);
	ck_assert_msg(e.n == 0, "%s: %s", t->name, e.n > 0 ? e.item[0].text : "");
	if (t->opts == main_opts) {
		free(object.conf.log.to);
		free(object.conf.admin.socket);
	}
	if (t->opts == pool_opts)
		free(object.pool.health.path);
}

START_TEST(defaults_are_sound)
{
	for (const struct opt_table *t = conf_tables; t->name != NULL; t++)
		defaults_are_values(t);
}
END_TEST

/* ---- lb.yaml(5) ---- */

static struct text man = TEXT_INIT;

/* Reads the page; `\\-`, which is how it writes a minus, becomes one. */
static void man_read(void)
{
	char path[4096];
	int c;

	ck_assert_ptr_nonnull(getenv("LB_TESTS"));
	(void)snprintf(path, sizeof(path), "%s/../man/lb.yaml.5", getenv("LB_TESTS"));
	FILE *f = fopen(path, "re");
	ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
	while ((c = fgetc(f)) != EOF) {
		if (c == '-' && man.n > 0 && man.p[man.n - 1] == '\\')
			man.p[man.n - 1] = '-';
		else
			text_pad(&man, (char)c, 1);
	}
	(void)fclose(f);
	ck_assert(man.n > 0 && !man.failed);
}

/*
 * The entry of a key: from its `.B key` line (below the `.SS` heading of its table) to the next
 * entry or heading. NULL where there is none.
 */
static char *man_entry(const struct opt_table *t, const char *key)
{
	char heading[64], tag[64];

	(void)snprintf(heading, sizeof(heading), "\n.SS \"Keys of %s\"\n",
		       t->name[0] == '\0' ? "the file" : t->name);
	(void)snprintf(tag, sizeof(tag), "\n.TP\n.B %s\n", key);
	const char *section = strstr(man.p, heading);
	ck_assert_msg(section != NULL, "no section: %s", heading + 1);
	const char *end = strstr(section + 1, "\n.S");
	const char *entry = strstr(section, tag);
	if (entry == NULL || (end != NULL && entry > end))
		return NULL;
	const char *next = strstr(entry + strlen(tag) - 1, "\n.TP\n");
	if (next == NULL || (end != NULL && next > end))
		next = end;
	return strndup(entry, next == NULL ? strlen(entry) : (size_t)(next - entry));
}

static void man_says(const char *entry, const char *key, const char *what)
{
	if (what != NULL)
		ck_assert_msg(strstr(entry, what) != NULL, "lb.yaml(5), %s: lacks %s", key, what);
}

static void man_knows(const struct opt_table *t, const struct opt *o)
{
	char *entry = man_entry(t, o->key);

	if ((o->flags & OPT_LATER) != 0) {
		ck_assert_msg(entry == NULL, "lb.yaml(5) describes %s", o->key);
		ck_assert_msg(strstr(man.p, o->key) != NULL, "lb.yaml(5) lacks %s", o->key);
		return;
	}
	ck_assert_msg(entry != NULL, "lb.yaml(5), %s: lacks %s", t->name, o->key);
	man_says(entry, o->key, o->def);
	man_says(entry, o->key, opt_is_number(o) ? o->min : NULL);
	man_says(entry, o->key, opt_is_number(o) ? o->max : NULL);
	for (const struct opt_word *w = o->words; w != NULL && w->word != NULL; w++)
		man_says(entry, o->key, w->is_later ? NULL : w->word);
	bool says_restart = strstr(entry, "takes effect at restart") != NULL;
	ck_assert_msg(says_restart == ((o->flags & OPT_RELOAD) == 0), "lb.yaml(5), %s: restart",
		      o->key);
	free(entry);
}

START_TEST(man_page_knows_every_key)
{
	man_read();
	each_row(man_knows);
	text_deinit(&man);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, rows_are_whole);
	tcase_add_test(t, ranges_are_sound);
	tcase_add_test(t, defaults_are_sound);
	tcase_add_test(t, man_page_knows_every_key);
}

int main(void)
{
	return run_suite("conf/opt", add_tests);
}
