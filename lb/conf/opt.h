/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Options: the keys of lb.yaml as tables, one row per key.
 *
 * A row says everything about its key: the parser, the hints for unknown keys, `lb check`, the
 * reload and the test of the man page need nothing but the row. A dotted key is a key of an inner
 * map: "timeouts.connect" is `timeouts: {connect: …}`. Rows of one map stand together.
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
	OPT_FACTOR,   /* uint32_t: hundredths; 0 is `off` */
	OPT_MODE,     /* uint32_t: permission bits */
	OPT_WORD,     /* an enum: one of the row's words */
	OPT_NAME,     /* char *: a name; see word_is_name() */
	OPT_FILE,     /* char *: a path; a relative one starts at the file's folder */
	OPT_ADDRESS,  /* struct addr: numeric, with a port */
	OPT_CALL,     /* the row's read() stores it */
};

enum {
	OPT_RELOAD = 1u << 0, /* a reload applies the value; without the flag, a restart does */
	/* a map that can have the key must have it; if the value is a list, it must have an item */
	OPT_REQUIRED = 1u << 1,
	OPT_LATER = 1u << 2,  /* lb refuses the key as not supported yet */
	OPT_AUTO = 1u << 3,   /* the number may be `auto`, stored as 0 */
	OPT_OFF = 1u << 4,    /* `off` is allowed, stored as CONF_OFF; factors: 0; files: NULL */
	OPT_PORT_0 = 1u << 5, /* the port of the address may be 0 */
	OPT_STREAM = 1u << 6, /* the file may be `stderr` or `stdout`, which are no paths */
	OPT_BIND = 1u << 7,   /* the address is for a listening socket */
};

struct opt_word {
	const char *word; /* NULL ends the list */
	int value;
	bool is_later; /* lb refuses the word as not supported yet */
};

/* The state of reading one file. */
struct opt_ctx {
	struct err *err;   /* gets all mistakes */
	struct conf *conf; /* what has been read so far; rows use its pools and its folder */
	const struct opt_table *tables; /* borrowed: all tables, for hints; main_opts first */
	bool no_memory; /* memory was short: `conf` lacks members and must not be used */
};

/* Reads `node`, which is not YAML_BAD and not null, into `object`, and reports mistakes. */
typedef void (*opt_read_fn)(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			    void *object);

/* Writes the value that `object` has for the row, if any, with the functions of conf/print.h. */
typedef void (*opt_write_fn)(struct printer *p, const struct opt *o, const void *object);

/* Whether the row's value has an effect, given the other values of `object`. */
typedef bool (*opt_has_effect_fn)(const void *object);

/* The form of an OPT_CALL row's value. Not used for a list of maps that have a table. */
enum opt_shape {
	SHAPE_TEXT,  /* a text that matches the row's pattern */
	SHAPE_TEXTS, /* a list of such texts */
	SHAPE_TEXT_OR_TEXTS,
	SHAPE_MAP_OF_TEXTS, /* a map of any keys and texts */
};

struct opt {
	const char *key; /* NULL ends the table */
	enum opt_type type;
	size_t offset; /* bytes from the start of the table's struct to the row's member */
	/* default and limits, as the file would have them; `max` of OPT_FILE: bytes of the path */
	const char *def, *min, *max;
	const struct opt_word *words;
	opt_read_fn read;   /* OPT_CALL only */
	opt_write_fn write; /* OPT_CALL only */
	/* NULL: the row always has an effect; conf_print() leaves out a row without effect */
	opt_has_effect_fn has_effect;
	enum opt_shape shape; /* OPT_CALL only */
	/* OPT_CALL only: what its texts match, a regular expression (ECMA 262) for the schema */
	const char *pattern;
	unsigned flags;
	const char *help; /* what the key does, in one sentence */
	const char *item; /* for a list: an example of an item */
};

/* A table and the place in lb.yaml where its keys may stand: "", "pools", "pools.backends", … */
struct opt_table {
	const char *name;
	const struct opt *opts;
};

/* Sets each member of `object` whose row has a default. The caller has zeroed `object`. */
void opt_set_defaults(struct opt_ctx *ctx, const struct opt *table, void *object);

/*
 * opt_read() - read a map into `object`
 *
 * Reports all mistakes of the map, also unknown, unsupported and missing keys. The caller has set
 * ctx->tables and the defaults.
 */
void opt_read(struct opt_ctx *ctx, const struct opt *table, const struct yaml_node *map,
	      void *object);

/* Reads one value by its row. Skips a YAML_BAD node, because yaml.c has reported it. */
void opt_read_value(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		    void *object);

/* The value of a dotted key below `map`, or NULL. */
const struct yaml_node *opt_find(const struct yaml_node *map, const char *key);

/* The mark of a dotted key's value below `map`. When the key is not there, the mark of `map`. */
struct mark opt_mark(const struct yaml_node *map, const char *key);

/*
 * opt_is_meant() - whether an unknown key of `map` was probably meant to be `key`
 *
 * `key` is a dotted key of the table, and `map` is the map that should have it. An unknown key was
 * probably meant to be `key` when it is another load balancer's word for `key`, a misspelling of
 * `key`, or `key` without a space behind its colon. The message about such an unknown key names
 * `key`, so that `key` need not be reported as missing, too.
 */
bool opt_is_meant(const struct opt_ctx *ctx, const struct opt *table, const char *key,
		  const struct yaml_node *map);

/* The row of a dotted key, or NULL. */
const struct opt *opt_row(const struct opt *table, const char *key);

/*
 * Whether a text could be a value of the row. For hints only: always false for OPT_NAME and
 * OPT_CALL.
 */
bool opt_fits(const struct opt *o, const char *text);

/*
 * Adds the value of a row as the file would have it. False when `object` has no value for the row.
 * Not for OPT_CALL.
 */
bool opt_format(const struct opt *o, const void *object, struct text *ret);

/* Whether two objects have the same value of a row. Not for OPT_CALL. */
bool opt_is_same(const struct opt *o, const void *a, const void *b);

/* ---- for the read() of OPT_CALL rows ---- */

/* Reports `"KEY" is "VALUE": TEXT`. */
void opt_bad(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
	     const char *fmt, ...) LB_PRINTF(4, 5);

/*
 * The text of a scalar. When `node` has no text that lb could use (a map, a list, no value, a
 * variable), reports that and returns NULL.
 */
const char *opt_text(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node);

/* Whether the row's value is a number, with or without a unit. */
static inline bool opt_is_number(const struct opt *o)
{
	return o->type <= OPT_MODE;
}

/*
 * The number of items of a list. When `node` is no list, or is empty where the row is OPT_REQUIRED,
 * reports that and returns 0.
 */
size_t opt_list(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node);

/*
 * Reads an address with its port. When the row's flags do not allow the address, or `node` is none,
 * reports that and returns false.
 */
bool opt_address(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		 struct addr *ret);

/*
 * Zeroed memory for `n` > 0 objects of `size` bytes. When memory is short, sets ctx->no_memory and
 * returns NULL.
 */
void *opt_alloc(struct opt_ctx *ctx, size_t n, size_t size);

/*
 * Frees the string *p and sets *p to a copy of `s`. When memory is short, sets *p to NULL and
 * ctx->no_memory.
 */
void opt_set_string(struct opt_ctx *ctx, char **p, struct slice s);

/* The word for a value, or "" when no word stands for the value. */
const char *opt_word_of(const struct opt_word *words, int value);
