/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Options: the keys of lb.yaml as tables, one row per key.
 *
 * A row says all about its option: the parser, the hint at an unknown key, `lb check`, the reload
 * and the test of the man page read the row and nothing else. A dotted key is a key of a map:
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

/* What a row reads, and the type of the member that gets the value. */
enum opt_type {
	OPT_UINT,     /* uint32_t */
	OPT_COUNT,    /* uint64_t */
	OPT_DURATION, /* uint32_t: milliseconds */
	OPT_SIZE,     /* uint32_t: bytes */
	OPT_FACTOR,   /* uint32_t: hundredths; off is 0 */
	OPT_MODE,     /* uint32_t: permission bits */
	OPT_WORD,     /* an enum: one of the row's words */
	OPT_NAME,     /* char *: a name; see word_is_name() */
	OPT_FILE,     /* char *: a path; a relative one starts at the file's folder */
	OPT_ADDRESS,  /* struct addr: numeric, with a port */
	OPT_CALL,     /* what the row's read() makes of it */
};

enum {
	OPT_RELOAD = 1u << 0, /* a reload applies the value; else it takes effect at restart */
	OPT_REQUIRED =
		1u << 1,     /* if the map of the key is there, the key must be; a list has items */
	OPT_LATER = 1u << 2, /* refused as not supported yet */
	OPT_AUTO = 1u << 3,  /* a number may be `auto`, which is 0 */
	OPT_OFF = 1u << 4,   /* `off` is allowed: CONF_OFF, of a factor 0, of a file NULL */
	OPT_PORT_0 = 1u << 5, /* the address' port may be 0 */
	OPT_STREAM = 1u << 6, /* the file may be `stderr` or `stdout`, which stay words */
	OPT_BIND = 1u << 7,   /* the address is one to listen at */
};

struct opt_word {
	const char *word; /* NULL ends the list */
	int value;
	bool is_later; /* refused as not supported yet */
};

/* The state of reading one file. */
struct opt_ctx {
	struct err *err;   /* gets all mistakes */
	struct conf *conf; /* as far as it is read; rows look up its pools and its folder */
	const struct opt_table *tables; /* borrowed: all of them, for hints; the top's is first */
	bool no_memory; /* memory was short: members are missing, and conf must not be used */
};

/* Reads `node`, which is neither BAD nor null, into `object`, and reports mistakes. */
typedef void (*opt_read_fn)(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			    void *object);

/* Writes the row's value in `object`, if there is one, by the functions of conf/print.h. */
typedef void (*opt_write_fn)(struct printer *p, const struct opt *o, const void *object);

/* Whether the row's value has an effect, given the other values of `object`. */
typedef bool (*opt_has_effect_fn)(const void *object);

/* The form of an OPT_CALL row's value, when that is not a list of maps with their own table. */
enum opt_shape {
	SHAPE_TEXT,  /* a text of the row's pattern */
	SHAPE_TEXTS, /* a list of such texts */
	SHAPE_TEXT_OR_TEXTS,
	SHAPE_MAP_OF_TEXTS, /* a map of any keys and texts */
};

struct opt {
	const char *key; /* NULL ends the table */
	enum opt_type type;
	size_t offset;               /* of the member in the table's struct */
	const char *def, *min, *max; /* as in the file; of OPT_FILE, max is a number of bytes */
	const struct opt_word *words;
	opt_read_fn read;             /* of OPT_CALL */
	opt_write_fn write;           /* of OPT_CALL */
	opt_has_effect_fn has_effect; /* NULL: always has; a row without effect is not printed */
	enum opt_shape shape;         /* of OPT_CALL */
	const char *pattern; /* of OPT_CALL: what its texts match (ECMA 262), for editors */
	unsigned flags;
	const char *help; /* one sentence */
	const char *item; /* of a list: an example of an item */
};

/* A table and the place in lb.yaml where its keys may stand: "", "pools", "pools.backends", … */
struct opt_table {
	const char *name;
	const struct opt *opts;
};

/* Sets every member that has a default. `object` is zeroed before. */
void opt_set_defaults(struct opt_ctx *ctx, const struct opt *table, void *object);

/*
 * opt_read() - read a map into `object`, whose defaults are set
 *
 * Reports all mistakes of the map, those of unknown, unsupported and missing keys, too. ctx->tables
 * is set.
 */
void opt_read(struct opt_ctx *ctx, const struct opt *table, const struct yaml_node *map,
	      void *object);

/* Reads one value by its row. A BAD node was reported before and is skipped. */
void opt_read_value(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		    void *object);

/* The value of a dotted key below `map`, or NULL. */
const struct yaml_node *opt_find(const struct yaml_node *map, const char *key);

/* The mark of a dotted key's value below `map`, or of `map` where the key is not given. */
struct mark opt_mark(const struct yaml_node *map, const char *key);

/*
 * opt_is_meant() - whether some unknown key of `map` was meant to be the table's dotted key
 *
 * `map` is the map that should have the key. An unknown key is meant to be the key when it is a
 * word of other load balancers for the key, a misspelling, or the key without a space behind its
 * colon. The message about the unknown key names the key then, so that the key is not reported as
 * missing as well.
 */
bool opt_is_meant(const struct opt_ctx *ctx, const struct opt *table, const char *key,
		  const struct yaml_node *map);

/* The row of a key, or NULL. */
const struct opt *opt_row(const struct opt *table, const char *key);

/* Whether a text could be a value of the row, for hints. False for OPT_NAME and OPT_CALL. */
bool opt_fits(const struct opt *o, const char *text);

/* Adds the value of a row that is not OPT_CALL as the file would have it. False: no value. */
bool opt_format(const struct opt *o, const void *object, struct text *ret);

/* Whether two objects have the same value of a row that is not OPT_CALL. */
bool opt_is_same(const struct opt *o, const void *a, const void *b);

/* ---- for the read() of OPT_CALL rows ---- */

/* Reports `"KEY" is "VALUE": TEXT`. */
void opt_bad(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
	     const char *fmt, ...) LB_PRINTF(4, 5);

/* The text of a scalar, or NULL after a report that the node has none. */
const char *opt_text(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node);

/* Whether the row's value is a number, with or without a unit. */
static inline bool opt_is_number(const struct opt *o)
{
	return o->type <= OPT_MODE;
}

/* How many items a list has. 0 also after a report: no list, or empty but OPT_REQUIRED. */
size_t opt_list(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node);

/* Reads an address with its port, as the row's flags allow it. False after a report. */
bool opt_address(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		 struct addr *ret);

/* Zeroed memory for `n` > 0 objects; NULL after ctx->no_memory was set. */
void *opt_alloc(struct opt_ctx *ctx, size_t n, size_t size);

/* Replaces the string *p, which is freed, by a copy of `s`; on short memory by NULL. */
void opt_set_string(struct opt_ctx *ctx, char **p, struct slice s);

/* The word of a value, or "" when no word has the value. */
const char *opt_word_of(const struct opt_word *words, int value);
