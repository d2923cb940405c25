/* SPDX-License-Identifier: Apache-2.0 */
/* The table as a whole: what it leads to is there, and what it explains is not. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "conf/synonym.h"
#include "conf/tables.h"
#include "util/text.h"

/* Whether a map or a key stands at this place of lb.yaml, as "pools.health". */
static bool is_place(const char *place)
{
	size_t n = strlen(place);
	bool is_found = n == 0;

	for (const struct opt_table *t = conf_tables; t->name != NULL && !is_found; t++) {
		is_found = strcmp(t->name, place) == 0;
		for (const struct opt *o = t->opts; o->key != NULL && !is_found; o++) {
			struct text full = TEXT_INIT;
			text_addf(&full, "%s%s%s.", t->name, t->name[0] != '\0' ? "." : "", o->key);
			is_found = strncmp(full.p, place, n) == 0 && full.p[n] == '.' &&
				   (o->flags & OPT_LATER) == 0;
			text_deinit(&full);
		}
	}
	return is_found;
}

static const struct opt *row_of(const char *key)
{
	for (const struct opt_table *t = conf_tables; t->name != NULL; t++) {
		const struct opt *o = opt_row(t->opts, key);
		if (o != NULL && (o->flags & OPT_LATER) == 0)
			return o;
	}
	return NULL;
}

static bool has_word(const struct opt *o, const char *word)
{
	ck_assert_ptr_nonnull(o);
	for (const struct opt_word *w = o->words; w != NULL && w->word != NULL; w++) {
		if (strcmp(w->word, word) == 0 && !w->is_later)
			return true;
	}
	return false;
}

static void each_word(const struct synonym *s, void (*fn)(const struct synonym *s, struct slice w))
{
	for (const char *p = s->words; *p != '\0';) {
		size_t n = strcspn(p, " ");
		ck_assert_msg(n > 0, "%s", s->words);
		fn(s, (struct slice){ .p = p, .n = n });
		p += n + (p[n] == ' ' ? 1 : 0);
	}
}

/* A foreign key that is one of ours there would never be asked for. */
static void key_is_foreign(const struct synonym *s, struct slice w)
{
	struct text full = TEXT_INIT;

	if (s->where == NULL)
		return;
	text_addf(&full, "%s%s" SLICE_FMT, s->where, s->where[0] != '\0' ? "." : "", SLICE_ARG(w));
	ck_assert_msg(!is_place(full.p), "%s is lb's own", full.p);
	text_deinit(&full);
}

static void value_is_foreign(const struct synonym *s, struct slice w)
{
	char word[64];

	(void)snprintf(word, sizeof(word), SLICE_FMT, SLICE_ARG(w));
	ck_assert_msg(!has_word(row_of(s->where), word), "%s: %s is lb's own", s->where, word);
}

/* The first row that has a word at a place is the one that is found. */
static void is_found(const struct synonym *s, struct slice w)
{
	ck_assert_msg(synonym_find(s->kind, s->where != NULL ? s->where : "", w) == s,
		      "%s: " SLICE_FMT " is there twice", s->where, SLICE_ARG(w));
}

START_TEST(rows_are_sound)
{
	const struct synonym *s = &synonyms[_i];

	ck_assert_msg(s->ours != NULL || s->advice != NULL, "%s says nothing", s->words);
	each_word(s, is_found);
	if (s->kind == SYNONYM_KEY) {
		ck_assert_msg(s->where == NULL || is_place(s->where), "%s", s->where);
		ck_assert_msg(s->ours == NULL || is_place(s->ours), "%s: no %s", s->words, s->ours);
		each_word(s, key_is_foreign);
	} else if (s->kind == SYNONYM_VALUE) {
		const struct opt *o = row_of(s->where);
		ck_assert_msg(o != NULL, "%s", s->where);
		if (o == NULL)
			return;
		ck_assert_msg(s->ours == NULL || o->words == NULL || has_word(o, s->ours),
			      "%s: no %s", s->where, s->ours);
		if (o->words != NULL)
			each_word(s, value_is_foreign);
	}
}
END_TEST

static const struct {
	enum synonym_kind kind;
	const char *where, *word, *want;
} hints[] = {
	{ SYNONYM_KEY, "", "frontend", "; in lb it is \"listeners\"" },
	{ SYNONYM_KEY, "pools", "Health-Check", "; in lb it is \"health\"" },
	{ SYNONYM_KEY, "pools.timeouts", "client",
	  "; in lb it is \"listeners.timeouts.handshake\"" },
	{ SYNONYM_KEY, "pools.backends", "<<",
	  "; merge keys are not supported: write the keys out" },
	{ SYNONYM_VALUE, "balance", "LEAST_CONN", "; in lb it is \"least_connections\"" },
	{ SYNONYM_VALUE, "mode", "leastconn", "" },
	{ SYNONYM_KEY, "", "", "" },
};

START_TEST(hint)
{
	char out[SYNONYM_TEXT_MAX];

	ck_assert_str_eq(
		synonym_hint(hints[_i].kind, hints[_i].where, slice_of(hints[_i].word), out),
		hints[_i].want);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, rows_are_sound, 0, (int)n_synonyms);
	tcase_add_loop_test(t, hint, 0, ARRAY_SIZE(hints));
}

int main(void)
{
	return run_suite("conf/synonym", add_tests);
}
