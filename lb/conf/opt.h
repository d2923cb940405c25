/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Options: the keys of lb.yaml as tables, one row per key.
 *
 * A row is the whole truth about its option: the parser, the hint at an unknown key, `lb check`,
 * the reload and the test of the man page read it and nothing else. A dotted key is a key of a map:
 * "timeouts.connect" is `timeouts: {connect: …}`. Rows of one map stand together.
 *
 * Thread: main. Layer: conf.
 */

#include <stdbool.h>
#include <stddef.h>

#include "conf/yaml.h"
#include "util/err.h"
#include "util/slice.h"
#include "util/sockaddr.h"

struct conf;
struct opt;
struct printer;
struct text;

/* What is read, and the type of the member it goes to. */
enum opt_type {
	OPT_UINT,     /* uint32_t */
	OPT_COUNT,    /* uint64_t */
	OPT_DURATION, /* uint32_t: milliseconds */
	OPT_SIZE,     /* uint32_t: bytes */
	OPT_FACTOR,   /* uint32_t: hundredths; off is 0 */
	OPT_MODE,     /* uint32_t: permission bits */
	OPT_WORD,     /* an enum: one of the row's words */
	OPT_NAME,     /* char *: of something; see word_is_name() */
	OPT_FILE,     /* char *: a path; a relative one starts at the file's folder */
	OPT_ADDRESS,  /* struct addr: numeric, with a port */
	OPT_CALL,     /* the row's read() knows */
};

enum {
	OPT_RELOAD = 1u << 0,   /* a reload applies it; else it takes effect at restart */
	OPT_REQUIRED = 1u << 1, /* must be there, if the map that holds it is; a list has items */
	OPT_LATER = 1u << 2,    /* refused as not supported yet */
	OPT_AUTO = 1u << 3,     /* a number may be `auto`, which is 0 */
	OPT_OFF = 1u << 4,      /* `off` is allowed: CONF_OFF, of a factor 0, of a file NULL */
	OPT_PORT_0 = 1u << 5,   /* the address' port may be 0 */
	OPT_STREAM = 1u << 6,   /* the file may be `stderr` or `stdout`, which stay words */
	OPT_BIND = 1u << 7,     /* the address is one to listen at */
};

struct opt_word {
	const char *word; /* NULL ends the list */
	int value;
	bool is_later; /* refused as not supported yet */
};

/* What a table is read into; all mistakes go to `err`. */
struct opt_ctx {
	struct err *err;
	struct conf *conf;              /* as far as it is read: for names and the file's folder */
	const struct opt_table *tables; /* borrowed: all of them, for hints; the top's is first */
	bool no_memory; /* something could not be allocated: the result is not to be used */
};

/* Reads `node`, which is neither BAD nor null, into `object`. Reports its own mistakes. */
typedef void (*opt_read_fn)(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			    void *object);

/* Writes the row's value in `object`, if there is one, by the functions of conf/print.h. */
typedef void (*opt_write_fn)(struct printer *p, const struct opt *o, const void *object);

/* Whether what the row says matters to `object` as it is. */
typedef bool (*opt_has_effect_fn)(const void *object);

/* What the value of an OPT_CALL row is, where it is no list of maps with a table of its own. */
enum opt_shape {
	SHAPE_TEXT,  /* a text of the row's pattern */
	SHAPE_TEXTS, /* a list of them */
	SHAPE_TEXT_OR_TEXTS,
	SHAPE_MAP_OF_TEXTS, /* a map of any keys and texts */
};

struct opt {
	const char *key; /* NULL ends the table */
	enum opt_type type;
	size_t offset;               /* of the member */
	const char *def, *min, *max; /* as the user would write them; a FILE's max is its length */
	const struct opt_word *words;
	opt_read_fn read;             /* of OPT_CALL */
	opt_write_fn write;           /* of OPT_CALL */
	opt_has_effect_fn has_effect; /* NULL: always; else the value is not printed where not */
	enum opt_shape shape;         /* of OPT_CALL */
	const char *pattern; /* of OPT_CALL: a regular expression (ECMA 262) of its texts, for
				editors */
	unsigned flags;
	const char *help; /* one sentence */
	const char *item; /* of a list: what an item looks like */
};

/* A table and the place in lb.yaml where its keys may stand: "", "pools", "pools.backends", … */
struct opt_table {
	const char *name;
	const struct opt *opts;
};

/* Sets every member that has a default. `object` is zeroed before. */
void opt_set_defaults(struct opt_ctx *ctx, const struct opt *table, void *object);

/* Reads a map into `object`, whose defaults are set: unknown, refused and missing keys too. */
void opt_read(struct opt_ctx *ctx, const struct opt *table, const struct yaml_node *map,
	      void *object);

/* Reads one value by its row. What is BAD is skipped. */
void opt_read_value(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		    void *object);

/* The value of a dotted key below `map`, or NULL. */
const struct yaml_node *opt_find(const struct yaml_node *map, const char *key);

/* The mark of a dotted key's value below `map`, or of `map` where the key is not given. */
struct mark opt_mark(const struct yaml_node *map, const char *key);

/*
 * Whether an unknown key in the map that should hold the table's dotted key stands for it: a word
 * of other load balancers, a slip, or the key without a space behind its colon. Its message names
 * the key already, so that the key is not missing, too.
 */
bool opt_is_meant(const struct opt_ctx *ctx, const struct opt *table, const char *key,
		  const struct yaml_node *map);

/* The row of a key, or NULL. */
const struct opt *opt_row(const struct opt *table, const char *key);

/* Whether a text looks like a value of the row: for hints. Never of OPT_NAME and OPT_CALL. */
bool opt_fits(const struct opt *o, const char *text);

/* Writes the value of a row that is not OPT_CALL as the file would; false where there is none. */
bool opt_format(const struct opt *o, const void *object, struct text *ret);

/* Whether two objects have the same value there. Not for OPT_CALL. */
bool opt_is_same(const struct opt *o, const void *a, const void *b);

/* ---- for the read() of OPT_CALL rows ---- */

/* Reports `"KEY" is "VALUE": TEXT`. */
void opt_bad(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
	     const char *fmt, ...) LB_PRINTF(4, 5);

/* The scalar's text, or NULL after it was reported that there is none. */
const char *opt_text(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node);

/* Whether the row's value is a number, with or without a unit. */
static inline bool opt_is_number(const struct opt *o)
{
	return o->type <= OPT_MODE;
}

/* How many items a list has; 0, too, after it was reported that it is none or must not be empty. */
size_t opt_list(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node);

/* An address with its port, as the row's flags allow it. False after a report. */
bool opt_address(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		 struct addr *ret);

/* Zeroed memory for `n` > 0 objects; NULL after ctx->no_memory was set. */
void *opt_alloc(struct opt_ctx *ctx, size_t n, size_t size);

/* Replaces the string *p, which is freed, by a copy. */
void opt_set_string(struct opt_ctx *ctx, char **p, struct slice s);

/* The word of a value, or "" */
const char *opt_word_of(const struct opt_word *words, int value);
