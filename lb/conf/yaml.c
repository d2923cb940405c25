/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree from libyaml's events.
 *
 * lb_yaml_read() reads a file into memory, lb_yaml_parse() makes a tree of a text. A text is parsed
 * at least twice: libyaml cannot go on after a syntax error, which would hide all mistakes behind
 * it, so that easy ones are repaired first.
 *
 * The first passes (pass()) look for one syntax error that is easy to make: an unquoted
 * `*.example.com` or `&x`, which YAML reads as an alias or an anchor. repair() reports it,
 * overwrites the "*" or "&" in build.text, a copy of the text, and keeps the mark. Then another
 * pass looks for the next error of this kind. At most REPAIRS_MAX errors are repaired.
 *
 * The last pass (build()) makes the tree. on_event() gets libyaml's events one by one: on_scalar(),
 * on_container() and on_alias() make a node and attach it to the innermost container that is open.
 * A scalar in a map is a key when no key waits for its value: keep_key() keeps the scalar as the
 * key of the next node. A scalar at a repaired place becomes YAML_BAD, because repair() has
 * reported it.
 *
 * Mistakes that leave the structure clear (a key given twice, a tag, an anchor) are reported, and
 * building goes on. A mistake that leaves the structure unclear ends the building: a syntax error
 * (yaml_syntax.h makes the message), a list as a key, maps and lists nested too deep, a second
 * document.
 *
 * The depth of a tree is at most YAML_DEPTH_MAX, so that lb_yaml_free() may call itself.
 *
 * Thread: main.
 */
#include "conf/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "conf/word.h"
#include "conf/yaml_syntax.h"
#include "util/text.h"

/*
 * Each repair costs a pass over the text. After this many repairs, the next error of this kind is
 * reported as a syntax error.
 */
#define REPAIRS_MAX 32

struct build {
	yaml_parser_t parser;
	const char *file; /* borrowed: the file's name, for marks */
	struct err *err;
	struct text text; /* owns: a copy of the text, with its repairs */

	size_t n_repairs;
	struct mark repair[REPAIRS_MAX];

	struct yaml_node *root;                 /* owns */
	struct yaml_node *open[YAML_DEPTH_MAX]; /* borrows: the open containers, from the root on */
	unsigned depth;                         /* elements of `open` that are used */
	unsigned n_documents;

	bool has_key; /* `key` waits for its value */
	char *key;    /* owns */
	struct mark key_at;
};

static struct mark mark_of(const struct build *b, yaml_mark_t m)
{
	return (struct mark){ b->file, (uint32_t)m.line + 1, (uint32_t)m.column + 1 };
}

struct yaml_node *lb_yaml_free(struct yaml_node *n)
{
	if (n == NULL)
		return NULL;
	size_t n_children = 0;
	for (struct yaml_node *c = n->first, *next; c != NULL; c = next, n_children++) {
		next = c->next;
		lb_yaml_free(c); /* the calls nest at most YAML_DEPTH_MAX deep */
	}
	LB_ASSERT(n_children == n->n);
	free(n->text);
	free(n->key);
	free(n);
	return NULL;
}

const struct yaml_node *lb_yaml_find(const struct yaml_node *n, struct slice key)
{
	if (n == NULL || n->kind != YAML_MAP)
		return NULL;
	for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
		LB_ASSERT(c->key != NULL); /* attach() gives each child of a map its key */
		if (slice_eq(slice_of(c->key), key))
			return c;
	}
	return NULL;
}

const struct yaml_node *lb_yaml_items(const struct yaml_node *n, struct slice key)
{
	const struct yaml_node *list = lb_yaml_find(n, key);

	return list != NULL && list->kind == YAML_LIST ? list->first : NULL;
}

/* ---- the first passes ---- */

/*
 * The rest of the text from a mark on. libyaml also ends lines at characters other than \n, so that
 * the mark may be in a line that the text does not have; the rest is empty then.
 */
static struct slice source_at(const struct build *b, yaml_mark_t m)
{
	const char *p = b->text.p, *end = p + b->text.n;

	for (size_t line = 0; line < m.line; line++) {
		p = memchr(p, '\n', (size_t)(end - p));
		if (p == NULL)
			return SLICE("");
		p++;
	}
	/* a column is a character, which may have more than one byte in UTF-8 */
	for (size_t col = 0; col < m.column && p < end; col++) {
		do
			p++;
		while (p < end && ((unsigned char)*p & 0xc0) == 0x80);
	}
	return (struct slice){ .p = p, .n = (size_t)(end - p) };
}

/* The word that `s` begins with, for a message that says how to quote it. */
static struct slice word_of(struct slice s)
{
	size_t n = 0;

	while (n < s.n && n < 100 && strchr(" \t\r\n,]}", s.p[n]) == NULL)
		n++;
	return (struct slice){ .p = s.p, .n = n };
}

/*
 * When the parser has stopped at a bad alias or anchor, reports the error, repairs it in b->text
 * and returns true.
 */
static bool repair(struct build *b)
{
	const yaml_parser_t *y = &b->parser;

	if (y->error != YAML_SCANNER_ERROR || y->context == NULL || b->n_repairs == REPAIRS_MAX)
		return false;
	bool is_alias = strcmp(y->context, "while scanning an alias") == 0;
	if (!is_alias && strcmp(y->context, "while scanning an anchor") != 0)
		return false;

	struct slice word = word_of(source_at(b, y->context_mark));
	if (word.n == 0 || word.p[0] != (is_alias ? '*' : '&'))
		return false;

	struct mark at = mark_of(b, y->context_mark);
	if (slice_starts_with(word, SLICE("*:")))
		(void)err_at(b->err, at,
			     "\"" SLICE_FMT "\" is no address; for all addresses of this machine "
			     "write \"0.0.0.0" SLICE_FMT "\"",
			     SLICE_ARG(word), (int)word.n - 1, word.p + 1);
	else
		(void)err_at(b->err, at,
			     "%s are not supported; if it is a text, quote it: \"" SLICE_FMT "\"",
			     is_alias ? "aliases" : "anchors", SLICE_ARG(word));
	LB_ASSERT(word.p >= b->text.p && word.p < b->text.p + b->text.n);
	LB_ASSERT(b->n_repairs < REPAIRS_MAX);
	b->text.p[word.p - b->text.p] = '_';
	b->repair[b->n_repairs++] = at;
	return true;
}

static bool parser_start(struct build *b)
{
	if (yaml_parser_initialize(&b->parser) == 0)
		return false;
	yaml_parser_set_input_string(&b->parser, (const unsigned char *)b->text.p, b->text.n);
	return true;
}

/* By how much an event changes the depth of nesting. */
static int depth_step(yaml_event_type_t type)
{
	if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
		return 1;
	return type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT ? -1 : 0;
}

/*
 * Parses up to the end of the text, the first error, or the depth at which build() gives up. A
 * greater depth is not parsed, because libyaml's time grows with the square of the depth. True when
 * an error was repaired, so that another pass may get further.
 */
static bool pass(struct build *b)
{
	bool is_repaired = false, at_end = false;
	int depth = 0;

	if (!parser_start(b))
		return false; /* memory is short, and build() will report that */
	while (!at_end) {
		yaml_event_t ev;
		if (yaml_parser_parse(&b->parser, &ev) == 0) {
			is_repaired = repair(b);
			break;
		}
		depth += depth_step(ev.type);
		at_end = ev.type == YAML_STREAM_END_EVENT || depth > YAML_DEPTH_MAX;
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&b->parser);
	return is_repaired;
}

/* ---- the last pass ---- */

static bool is_repaired_at(const struct build *b, struct mark at)
{
	for (size_t i = 0; i < b->n_repairs; i++) {
		if (b->repair[i].line == at.line && b->repair[i].col == at.col)
			return true;
	}
	return false;
}

/*
 * Adds a node to the innermost open container. When that is a map, the node gets b->key as its key.
 */
static void attach(struct build *b, struct yaml_node *n)
{
	LB_ASSERT(n->key == NULL && n->next == NULL);
	if (b->depth == 0) {
		LB_ASSERT(b->root == NULL); /* on_event() ends the reading at a second document */
		b->root = n;
		return;
	}

	struct yaml_node *parent = b->open[b->depth - 1];
	LB_ASSERT(parent->kind == YAML_MAP || (parent->kind == YAML_LIST && !b->has_key));
	if (parent->kind == YAML_MAP) {
		LB_ASSERT(b->has_key);
		n->key = take_ptr(b->key);
		n->key_at = b->key_at;
		b->has_key = false;
	}
	if (parent->last == NULL)
		parent->first = n;
	else
		parent->last->next = n;
	parent->last = n;
	parent->n++;
}

/* Whether the next scalar is a key. */
static bool wants_key(const struct build *b)
{
	return b->depth > 0 && b->open[b->depth - 1]->kind == YAML_MAP && !b->has_key;
}

/* Keeps a scalar as the key of the next node. Frees `n`. */
static int keep_key(struct build *b, struct yaml_node *n)
{
	LB_ASSERT(b->key == NULL && b->depth > 0);
	struct yaml_node *map = b->open[b->depth - 1];
	const struct yaml_node *twin = lb_yaml_find(map, slice_of(n->text));
	char shown[WORD_SHOWN_MAX];
	int r = 0;

	if (twin != NULL)
		(void)err_at(b->err, n->at, "key \"%s\" is given twice (first in line %u)",
			     word_show(n->text, shown), twin->key_at.line);
	if (strstr(n->text, "\xc2\xa0") != NULL)
		(void)err_at(b->err, n->at,
			     "a no-break space stands in this key; write plain spaces");
	if (map->n == YAML_KEYS_MAX)
		r = err_at(b->err, n->at, "more than %d keys in one map", YAML_KEYS_MAX);

	b->key = take_ptr(n->text);
	b->key_at = n->at;
	b->has_key = true;
	lb_yaml_free(n);
	return r;
}

static struct yaml_node *node_new(enum yaml_kind kind, struct mark at)
{
	struct yaml_node *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	n->kind = kind;
	n->at = at;
	return n;
}

static int on_container(struct build *b, enum yaml_kind kind, struct mark at)
{
	if (wants_key(b))
		return err_at(
			b->err, at,
			"a key must be a text; a text that begins with \"[\" or \"{\" must be "
			"quoted, as \"[::1]:8080\"");
	if (b->depth == YAML_DEPTH_MAX)
		return err_at(b->err, at, "nested more than %d deep", YAML_DEPTH_MAX);

	struct yaml_node *n = node_new(kind, at);
	if (n == NULL)
		return -ENOMEM;
	attach(b, n);
	b->open[b->depth++] = n;
	return 0;
}

/* Whether a tag is `!include`, with which some programs read another file. */
static bool is_include(const void *tag)
{
	return tag != NULL && strcmp(tag, "!include") == 0;
}

static void judge_tag(struct build *b, const void *tag, struct mark at)
{
	if (is_include(tag))
		(void)err_at(b->err, at,
			     "there is one file, without includes: write the value here");
	else if (tag != NULL)
		(void)err_at(b->err, at,
			     "tags are not supported: leave \"%.60s\" out, or quote a text that "
			     "begins with !",
			     (const char *)tag);
}

static int on_scalar(struct build *b, const yaml_event_t *ev, struct mark at)
{
	const char *value = (const char *)ev->data.scalar.value;
	size_t len = ev->data.scalar.length;
	bool is_plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

	struct yaml_node *n = node_new(YAML_SCALAR, at);
	if (n != NULL)
		n->text = strndup(value, len);
	if (n == NULL || n->text == NULL) {
		lb_yaml_free(n);
		return -ENOMEM;
	}
	n->is_null = is_plain && len == 0;

	if (memchr(value, '\0', len) != NULL) {
		(void)err_at(b->err, at, "a text must not contain a NUL");
		n->kind = YAML_BAD;
	}
	judge_tag(b, ev->data.scalar.tag, at);
	if (ev->data.scalar.anchor != NULL)
		(void)err_at(
			b->err, at,
			"anchors are not supported: write the value where it is used; if it is "
			"a text, quote it: \"&%.100s\"",
			(const char *)ev->data.scalar.anchor);
	bool is_marked = ev->data.scalar.tag != NULL || ev->data.scalar.anchor != NULL;
	if ((is_marked && n->is_null) || is_include(ev->data.scalar.tag) || is_repaired_at(b, at))
		n->kind = YAML_BAD;
	if (wants_key(b))
		return keep_key(b, n);
	attach(b, n);
	return 0;
}

static int on_alias(struct build *b, const yaml_event_t *ev, struct mark at)
{
	/* In `<<: *x`, only the key `<<` is reported, as unknown. */
	bool is_merge = b->has_key && strcmp(b->key, "<<") == 0;
	if (!is_merge)
		(void)err_at(b->err, at,
			     "aliases are not supported: write the value out; if it is a text, "
			     "quote it: \"*%.100s\"",
			     (const char *)ev->data.alias.anchor);
	if (wants_key(b))
		return -EINVAL;
	struct yaml_node *n = node_new(YAML_BAD, at);
	if (n == NULL)
		return -ENOMEM;
	attach(b, n);
	return 0;
}

/* Reports an anchor or a tag of a container. The container is then read as if it had neither. */
static void judge_container(struct build *b, const void *anchor, const void *tag, struct mark at)
{
	if (anchor != NULL)
		(void)err_at(b->err, at,
			     "anchors are not supported: write the keys where they are used");
	judge_tag(b, tag, at);
}

static int on_event(struct build *b, const yaml_event_t *ev)
{
	struct mark at = mark_of(b, ev->start_mark);

	switch (ev->type) {
	case YAML_SCALAR_EVENT: return on_scalar(b, ev, at);
	case YAML_ALIAS_EVENT: return on_alias(b, ev, at);
	case YAML_SEQUENCE_START_EVENT:
		judge_container(b, ev->data.sequence_start.anchor, ev->data.sequence_start.tag, at);
		return on_container(b, YAML_LIST, at);
	case YAML_MAPPING_START_EVENT:
		judge_container(b, ev->data.mapping_start.anchor, ev->data.mapping_start.tag, at);
		return on_container(b, YAML_MAP, at);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		LB_ASSERT(b->depth > 0 && !b->has_key);
		b->depth--;
		return 0;
	case YAML_DOCUMENT_START_EVENT:
		if (b->n_documents++ == 0)
			return 0;
		return err_at(b->err, at, "a second document begins here; only one is read");
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT: return 0;
	}
	return 0;
}

static int syntax_error(struct build *b)
{
	const yaml_parser_t *y = &b->parser;

	if (y->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (y->error == YAML_READER_ERROR)
		return strstr(y->problem, "control characters") != NULL
			       ? yaml_control_report(b->err, b->file, text_slice(&b->text),
						     y->problem_offset, y->problem_value)
			       : yaml_utf8_report(b->err, b->file, text_slice(&b->text),
						  y->problem_offset, y->problem_value);
	return yaml_syntax_report(b->err, text_slice(&b->text),
				  &(struct yaml_problem){
					  .problem = y->problem != NULL ? y->problem : "",
					  .context = y->context,
					  .at = mark_of(b, y->problem_mark),
					  .from = mark_of(b, y->context_mark),
				  });
}

static int build(struct build *b)
{
	bool at_end = false;
	int r = 0;

	if (!parser_start(b))
		return -ENOMEM;
	while (r == 0 && !at_end) {
		yaml_event_t ev;
		if (yaml_parser_parse(&b->parser, &ev) == 0) {
			r = syntax_error(b);
			break;
		}
		at_end = ev.type == YAML_STREAM_END_EVENT;
		r = on_event(b, &ev);
		yaml_event_delete(&ev);
	}
	yaml_parser_delete(&b->parser);
	if (r == 0 && (b->root == NULL || b->root->is_null))
		r = err_at(b->err, (struct mark){ b->file, 0, 0 }, "the file is empty");
	return r;
}

int lb_yaml_parse(struct slice text, const char *file, struct err *e, struct yaml_node **ret)
{
	struct build b = { .file = file, .err = e, .text = TEXT_INIT };
	int r = -ENOMEM;

	if (slice_starts_with(text, SLICE("\xff\xfe")) ||
	    slice_starts_with(text, SLICE("\xfe\xff")))
		return err_at(e, (struct mark){ file, 1, 1 },
			      "the file is a text in UTF-16; save it in UTF-8");
	text_add(&b.text, text);
	/* The newline ends the last line, and makes b.text.p non-NULL for an empty text. */
	text_pad(&b.text, '\n', 1);
	if (!b.text.failed) {
		while (pass(&b))
			;
		r = build(&b);
	}
	LB_ASSERT(r != 0 || (b.depth == 0 && !b.has_key));
	if (r == 0)
		*ret = take_ptr(b.root);
	else if (r == -ENOMEM)
		(void)err_at(e, (struct mark){ file, 0, 0 }, "%s", strerror(ENOMEM));
	lb_yaml_free(b.root);
	free(b.key);
	text_deinit(&b.text);
	return r;
}

/* ---- the file ---- */

static int read_all(int fd, struct text *ret)
{
	char chunk[16384];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text_add(ret, (struct slice){ .p = chunk, .n = (size_t)n });
		if (ret->failed)
			return -ENOMEM;
		if (ret->n > YAML_FILE_MAX)
			return -EFBIG;
	}
	return 0;
}

int lb_yaml_read(const char *file, struct err *e, struct yaml_node **ret)
{
	_cleanup_(text_deinit) struct text text = TEXT_INIT;

	int fd = open(file, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : read_all(fd, &text);
	if (fd >= 0)
		(void)close(fd);
	if (r < 0) {
		(void)err_at(e, (struct mark){ file, 0, 0 }, "cannot be read: %s", strerror(-r));
		return r;
	}
	return lb_yaml_parse(text_slice(&text), file, e, ret);
}
