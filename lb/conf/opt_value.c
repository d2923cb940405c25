/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the value of one option, a row of a table of struct opt, is read, written and compared. How a
 * whole map is read by a table is in opt.c. Rows whose value is a number are in opt_number.c.
 *
 * By the row's type, opt_read_value() calls number_read(), word_read(), name_read(), file_read(),
 * opt_address() or the row's own read(). Each of them takes the text of the node (opt_text()),
 * judges it, and stores the value in the member of `object` that the row's offset leads to. A text
 * that is not accepted is reported by opt_bad() and leaves the member as it was: with its default,
 * or zero. Thus checks and later rows find a value that they can use.
 *
 * A report says which key has which value, what is allowed, and, if known, what was meant:
 *
 *   "log.level" is "waring": must be one of err, warn, notice, info, debug, did you mean "warn"?
 *
 * The last part comes from util/nearest.h, synonym.h (words of other load balancers) or advice.h
 * (numbers, addresses, files).
 *
 * opt_format() writes a value as the file would have it, and opt_is_same() compares a value of two
 * configurations; neither knows rows of type OPT_CALL, which have functions of their own.
 *
 * A row has the offset of its member, but no C type. So values are copied by memcpy(), and pointers
 * to members are cast. When memory runs short, ctx->no_memory is set.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/advice.h"
#include "conf/conf.h"
#include "conf/opt.h"
#include "conf/opt_number.h"
#include "conf/synonym.h"
#include "conf/word.h"
#include "util/nearest.h"
#include "util/parse.h"
#include "util/text.h"

/* ---- reports ---- */

void opt_bad(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
	     const char *fmt, ...)
{
	char shown[WORD_SHOWN_MAX], what[ERR_TEXT_MAX];
	va_list ap;

	LB_ASSERT(node->kind != YAML_BAD); /* yaml.c has reported such a node */
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (node->kind == YAML_SCALAR)
		(void)err_at(ctx->err, node->at, "\"%s\" is \"%s\": %s", o->key,
			     word_show(node->text, shown), what);
	else
		(void)err_at(ctx->err, node->at, "\"%s\": %s", o->key, what);
}

/*
 * Whether a text has a variable as `${PORT}`, or is one as `$PORT`. Other programs replace
 * variables; lb does not.
 */
static bool is_variable(const char *text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
	const char *p = strstr(text, "${");

	if (p != NULL && strchr(p, '}') != NULL)
		return true;
	return text[0] == '$' && text[1] != '\0' && text[1 + strspn(text + 1, letters)] == '\0';
}

const char *opt_text(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node)
{
	if (node->kind == YAML_SCALAR && !node->is_null && !is_variable(node->text))
		return node->text;
	if (node->kind == YAML_SCALAR && !node->is_null)
		opt_bad(ctx, o, node, "variables are not replaced in this file: write the value");
	else if (node->kind == YAML_SCALAR)
		(void)err_at(ctx->err, node->at, "\"%s\" has no value", o->key);
	else if (node->kind != YAML_BAD)
		opt_bad(ctx, o, node, "must be a single value, not a %s",
			node->kind == YAML_MAP ? "map" : "list");
	return NULL;
}

/* Reports a value or a map where a list is wanted, and says how the list is written. */
static void report_no_list(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node)
{
	if (node->kind == YAML_SCALAR && !node->is_null)
		opt_bad(ctx, o, node,
			"must be a list, whose items begin with \"- \", as in \"- %s\"", o->item);
	else if (node->kind == YAML_MAP)
		(void)err_at(
			ctx->err, node->at,
			"\"%s\": must be a list, not a map: begin each item with \"- \", as in "
			"\"- %s\"",
			o->key, o->item);
}

size_t opt_list(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node)
{
	LB_ASSERT(o->item != NULL);
	if (node->kind != YAML_LIST) {
		report_no_list(ctx, o, node);
		return 0;
	}
	if (node->n == 0 && (o->flags & OPT_REQUIRED) != 0)
		opt_bad(ctx, o, node, "must have at least one item, as in \"- %s\"", o->item);
	return node->n;
}

/* ---- memory ---- */

void *opt_alloc(struct opt_ctx *ctx, size_t n, size_t size)
{
	LB_ASSERT(n > 0 && size > 0);
	void *p = calloc(n, size);

	if (p == NULL)
		ctx->no_memory = true;
	return p;
}

void opt_set_string(struct opt_ctx *ctx, char **p, struct slice s)
{
	free(*p);
	*p = strndup(s.n == 0 ? "" : s.p, s.n);
	if (*p == NULL)
		ctx->no_memory = true;
}

/* ---- numbers ---- */

static void number_store(const struct opt *o, void *object, uint64_t v)
{
	char *at = (char *)object + o->offset;

	LB_ASSERT(opt_is_number(o));
	if (o->type == OPT_COUNT) {
		memcpy(at, &v, sizeof(v));
		return;
	}
	LB_ASSERT(v <= UINT32_MAX);
	uint32_t v32 = (uint32_t)v;
	memcpy(at, &v32, sizeof(v32));
}

static void number_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			void *object)
{
	const char *text = opt_text(ctx, o, node);
	char advice[ADVICE_TEXT_MAX];
	uint64_t v = 0;

	if (text == NULL)
		return;
	struct slice s = slice_of(text);
	if ((o->flags & OPT_AUTO) != 0 && slice_eq(s, SLICE("auto"))) {
		number_store(o, object, 0);
		return;
	}
	if ((o->flags & OPT_OFF) != 0 && slice_eq(s, SLICE("off"))) {
		number_store(o, object, o->type == OPT_FACTOR ? 0 : CONF_OFF);
		return;
	}
	if (!opt_number(o, s, &v)) {
		opt_bad(ctx, o, node, "must be %s%s from %s to %s%s",
			(o->flags & OPT_AUTO) != 0  ? "auto or "
			: (o->flags & OPT_OFF) != 0 ? "off or "
						    : "",
			opt_number_form(o->type), o->min, o->max, advice_number(o, s, advice));
		return;
	}
	number_store(o, object, v);
}

/* ---- words ---- */

const char *opt_word_of(const struct opt_word *words, int value)
{
	for (const struct opt_word *w = words; w->word != NULL; w++) {
		if (w->value == value && !w->is_later)
			return w->word;
	}
	return "";
}

/*
 * Reports a word that the row does not have. The message says which words the row has, and which of
 * them was probably meant.
 */
static void report_word(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node)
{
	char hint[NEAREST_TEXT_MAX], synonym[SYNONYM_TEXT_MAX];
	_cleanup_(text_deinit) struct text known = TEXT_INIT;
	struct nearest near;

	nearest_init(&near, slice_of(node->text));
	for (const struct opt_word *w = o->words; w->word != NULL; w++) {
		if (w->is_later)
			continue;
		nearest_try(&near, slice_of(w->word));
		text_addf(&known, "%s%s", known.n == 0 ? "" : ", ", w->word);
	}
	(void)synonym_hint(SYNONYM_VALUE, o->key, slice_of(node->text), synonym);
	opt_bad(ctx, o, node, "must be one of %s%s", known.failed ? "" : known.p,
		*synonym != '\0' ? synonym : nearest_hint(&near, hint));
}

static void word_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		      void *object)
{
	const char *text = opt_text(ctx, o, node);

	if (text == NULL)
		return;
	for (const struct opt_word *w = o->words; w->word != NULL; w++) {
		if (strcmp(w->word, text) != 0)
			continue;
		if (w->is_later)
			(void)err_at(ctx->err, node->at,
				     "\"%s\" is \"%s\", which is not supported yet", o->key,
				     w->word);
		else
			memcpy((char *)object + o->offset, &w->value, sizeof(w->value));
		return;
	}
	report_word(ctx, o, node);
}

/* ---- texts ---- */

static void name_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		      void *object)
{
	const char *text = opt_text(ctx, o, node);

	if (text == NULL)
		return;
	if (!word_is_name(slice_of(text))) {
		opt_bad(ctx, o, node,
			"must be 1 to %d characters without spaces, invisible and control "
			"characters, / and |",
			WORD_NAME_MAX);
		return;
	}
	opt_set_string(ctx, (char **)(void *)((char *)object + o->offset), slice_of(text));
}

static void file_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		      void *object)
{
	const char *text = opt_text(ctx, o, node);
	_cleanup_(text_deinit) struct text path = TEXT_INIT;
	uint64_t max = UINT64_MAX;

	if (text == NULL)
		return;
	if (*text == '\0') {
		opt_bad(ctx, o, node, "must be a path");
		return;
	}
	char **file = (char **)(void *)((char *)object + o->offset);
	if ((o->flags & OPT_OFF) != 0 && strcmp(text, "off") == 0) {
		free(*file);
		*file = NULL;
		return;
	}
	const char *no_file = advice_file(o, text);
	if (*no_file != '\0') {
		opt_bad(ctx, o, node, "%s", no_file);
		return;
	}
	bool is_stream = strcmp(text, "stderr") == 0 || strcmp(text, "stdout") == 0;
	if (*text != '/' && !(is_stream && (o->flags & OPT_STREAM) != 0))
		text_addf(&path, "%s/", ctx->conf->dir);
	text_add(&path, slice_of(text));
	if (path.failed) {
		ctx->no_memory = true;
		return;
	}
	LB_ASSERT(path.p[0] == '/' || is_stream);
	if (o->max != NULL) {
		int r = parse_uint(slice_of(o->max), &max);
		LB_ASSERT(r == 0);
	}
	if (path.n > max) {
		opt_bad(ctx, o, node, "the path, %zu bytes from the root, must have at most %s",
			path.n, o->max);
		return;
	}
	opt_set_string(ctx, file, text_slice(&path));
}

bool opt_address(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		 struct addr *ret)
{
	char advice[ADVICE_TEXT_MAX];
	struct addr a;

	if (node->kind == YAML_MAP || node->kind == YAML_LIST) {
		opt_bad(ctx, o, node,
			"must be an address and a port in a single value, like 127.0.0.1:9001, not "
			"a %s",
			node->kind == YAML_MAP ? "map" : "list");
		return false;
	}
	const char *text = opt_text(ctx, o, node);
	if (text == NULL)
		return false;
	if (slice_starts_with(slice_of(text), SLICE("unix:"))) {
		opt_bad(ctx, o, node, "unix sockets are not supported yet");
		return false;
	}
	if (addr_parse(slice_of(text), &a) < 0) {
		opt_bad(ctx, o, node,
			"must be a numeric address and a port, like 127.0.0.1:9001 or "
			"\"[::1]:9001\"%s",
			advice_address(slice_of(text),
				       (o->flags & OPT_BIND) != 0 ? ADVICE_BIND : ADVICE_BACKEND,
				       advice));
		return false;
	}
	if (a.port == 0 && (o->flags & OPT_PORT_0) == 0) {
		opt_bad(ctx, o, node, "the port must be from 1 to 65535");
		return false;
	}
	*ret = a;
	return true;
}

/* ---- rows ---- */

static bool is_word_of(const struct opt *o, const char *text)
{
	const struct opt_word *w = o->words;

	while (w->word != NULL && (w->is_later || strcmp(w->word, text) != 0))
		w++;
	return w->word != NULL;
}

bool opt_fits(const struct opt *o, const char *text)
{
	struct addr addr;
	uint64_t v;

	switch (o->type) {
	case OPT_UINT:
	case OPT_COUNT:
	case OPT_DURATION:
	case OPT_SIZE:
	case OPT_FACTOR:
	case OPT_MODE: return opt_number(o, slice_of(text), &v);
	case OPT_WORD: return is_word_of(o, text);
	case OPT_FILE:
		return strchr(text, '/') != NULL ||
		       ((o->flags & OPT_STREAM) != 0 &&
			(strcmp(text, "stderr") == 0 || strcmp(text, "stdout") == 0));
	case OPT_ADDRESS: return addr_parse(slice_of(text), &addr) == 0;
	case OPT_NAME:
	case OPT_CALL: break;
	}
	return false;
}

void opt_read_value(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		    void *object)
{
	struct addr addr;

	LB_ASSERT((o->flags & OPT_LATER) == 0 && (o->type == OPT_CALL) == (o->read != NULL));
	if (node->kind == YAML_BAD)
		return;
	switch (o->type) {
	case OPT_UINT:
	case OPT_COUNT:
	case OPT_DURATION:
	case OPT_SIZE:
	case OPT_FACTOR:
	case OPT_MODE: number_read(ctx, o, node, object); break;
	case OPT_WORD: word_read(ctx, o, node, object); break;
	case OPT_NAME: name_read(ctx, o, node, object); break;
	case OPT_FILE: file_read(ctx, o, node, object); break;
	case OPT_ADDRESS:
		if (opt_address(ctx, o, node, &addr))
			memcpy((char *)object + o->offset, &addr, sizeof(addr));
		break;
	case OPT_CALL:
		if (node->is_null)
			(void)err_at(ctx->err, node->at, "\"%s\" has no value", o->key);
		else
			o->read(ctx, o, node, object);
		break;
	}
}

bool opt_format(const struct opt *o, const void *object, struct text *ret)
{
	const char *at = (const char *)object + o->offset, *string;
	char text[ADDR_TEXT_MAX];
	struct addr addr;
	uint64_t v64;
	uint32_t v32;
	int word;

	switch (o->type) {
	case OPT_COUNT: memcpy(&v64, at, sizeof(v64)); return opt_number_format(o, v64, ret);
	case OPT_UINT:
	case OPT_DURATION:
	case OPT_SIZE:
	case OPT_FACTOR:
	case OPT_MODE: memcpy(&v32, at, sizeof(v32)); return opt_number_format(o, v32, ret);
	case OPT_WORD:
		memcpy(&word, at, sizeof(word));
		text_add(ret, slice_of(opt_word_of(o->words, word)));
		return ret->n != 0;
	case OPT_NAME:
	case OPT_FILE:
		memcpy(&string, at, sizeof(string));
		text_add(ret, slice_of(string != NULL ? string : ""));
		return string != NULL;
	case OPT_ADDRESS:
		memcpy(&addr, at, sizeof(addr));
		if (addr.family == 0)
			return false;
		text_add(ret, slice_of(addr_format(&addr, text)));
		return true;
	case OPT_CALL: break; /* OPT_CALL rows have a write() */
	}
	LB_ASSERT(o->type != OPT_CALL);
	return false;
}

static bool is_same_string(const void *a, const void *b)
{
	const char *sa, *sb;

	memcpy(&sa, a, sizeof(sa));
	memcpy(&sb, b, sizeof(sb));
	if (sa == NULL || sb == NULL)
		return sa == sb;
	return strcmp(sa, sb) == 0;
}

bool opt_is_same(const struct opt *o, const void *a, const void *b)
{
	const char *at_a = (const char *)a + o->offset, *at_b = (const char *)b + o->offset;
	struct addr addr_a, addr_b;

	switch (o->type) {
	case OPT_UINT:
	case OPT_DURATION:
	case OPT_SIZE:
	case OPT_FACTOR:
	case OPT_MODE: return memcmp(at_a, at_b, sizeof(uint32_t)) == 0;
	case OPT_WORD: return memcmp(at_a, at_b, sizeof(int)) == 0;
	case OPT_COUNT: return memcmp(at_a, at_b, sizeof(uint64_t)) == 0;
	case OPT_NAME:
	case OPT_FILE: return is_same_string(at_a, at_b);
	case OPT_ADDRESS:
		memcpy(&addr_a, at_a, sizeof(addr_a));
		memcpy(&addr_b, at_b, sizeof(addr_b));
		return addr_eq(&addr_a, &addr_b);
	case OPT_CALL: break;
	}
	LB_ASSERT(o->type != OPT_CALL);
	return false;
}
