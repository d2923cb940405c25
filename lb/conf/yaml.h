/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * YAML: one document as a tree of nodes, each with its place in the file.
 *
 * Scalars are text, whatever YAML would make of them; what a text means is its key's business
 * (conf/opt.h). Aliases, anchors, tags, keys given twice and a second document are mistakes.
 *
 * Functions carry lb_ here: libyaml has a yaml_free() of its own that it would find replaced by
 * ours.
 *
 * Thread: main. Layer: conf.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"
#include "util/slice.h"

#define YAML_FILE_MAX (16u << 20) /* bytes of a file; a guess: 200,000 backends fit */
#define YAML_DEPTH_MAX 16         /* nested maps and lists; lb.yaml needs 6 */
#define YAML_KEYS_MAX 1000        /* in one map; looked at pair by pair */

enum yaml_kind {
	YAML_SCALAR,
	YAML_LIST,
	YAML_MAP,
	YAML_BAD, /* a mistake that is reported already: to be skipped in silence */
};

struct yaml_node {
	enum yaml_kind kind;
	bool is_null;   /* a scalar that is not there: `backends:` and nothing behind it */
	struct mark at; /* of the value */
	char *text;     /* owns: a scalar's, without NULs inside */

	char *key; /* owns: where the parent is a map, else NULL */
	struct mark key_at;

	size_t n;                       /* children of a list or a map, in the order of the file */
	struct yaml_node *first, *last; /* owns */
	struct yaml_node *next;         /* the parent's next child */
};

/*
 * lb_yaml_parse() - make a tree of a text
 *
 * `file` is what marks name; the tree borrows it. Adds each mistake to `e`. Returns 0 and sets *ret
 * (the caller owns it) where there is a whole tree, though perhaps with mistakes in it; else
 * -EINVAL or -ENOMEM, and leaves *ret alone.
 */
int lb_yaml_parse(struct slice text, const char *file, struct err *e,
		  struct yaml_node **ret) LB_MUST_CHECK;

/* The same for a file, which is opened as `file`. A negative errno where it cannot be read. */
int lb_yaml_read(const char *file, struct err *e, struct yaml_node **ret) LB_MUST_CHECK;

/* NULL is fine. Returns NULL. */
struct yaml_node *lb_yaml_free(struct yaml_node *n);

/* The value of `key`, or NULL where `n` is no map (NULL is fine) or lacks it. */
const struct yaml_node *lb_yaml_find(const struct yaml_node *n, struct slice key);

/* The first item of the list at `key`, or NULL where there is no list with an item. */
const struct yaml_node *lb_yaml_items(const struct yaml_node *n, struct slice key);
