/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * YAML: one document as a tree of nodes, each with its place in the file.
 *
 * Scalars are kept as texts, whatever type YAML would give them: what a text means is decided by
 * the row of its key (conf/opt.h). Aliases, anchors, tags, keys given twice and a second document
 * are mistakes.
 *
 * The functions here begin with lb_, because libyaml has functions of the same names without it: a
 * yaml_free() here would replace libyaml's own.
 *
 * Thread: main. Layer: conf.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"
#include "util/slice.h"

#define YAML_FILE_MAX (16u << 20) /* bytes of a file; a guess: 200,000 backends fit */
#define YAML_DEPTH_MAX 16         /* depth of maps and lists inside each other; lb.yaml needs 6 */
#define YAML_KEYS_MAX 1000        /* keys of one map, which are all compared with each other */

enum yaml_kind {
	YAML_SCALAR,
	YAML_LIST,
	YAML_MAP,
	YAML_BAD, /* a value whose mistake was reported; readers skip it */
};

struct yaml_node {
	enum yaml_kind kind;
	bool is_null;   /* an empty scalar without quotes, as the value of `backends:` alone */
	struct mark at; /* where the value begins */
	char *text;     /* owns: the text of a scalar, without NULs inside */

	char *key; /* owns: the key, if the parent is a map; else NULL */
	struct mark key_at;

	size_t n;                       /* number of children of a list or a map */
	struct yaml_node *first, *last; /* owns: the children, in the order of the file */
	struct yaml_node *next;         /* the parent's next child */
};

/*
 * lb_yaml_parse() - make a tree of a text
 *
 * `file` is the name in marks; the tree borrows it. Adds each mistake to `e`. When the text could
 * be read to its end, returns 0 and sets *ret to a tree, which the caller owns and which may have
 * mistakes in it. Else returns -EINVAL or -ENOMEM and leaves *ret alone.
 */
int lb_yaml_parse(struct slice text, const char *file, struct err *e,
		  struct yaml_node **ret) LB_MUST_CHECK;

/*
 * Does what lb_yaml_parse() does, with the text of a file. When the file cannot be read, reports
 * that and returns a negative errno.
 */
int lb_yaml_read(const char *file, struct err *e, struct yaml_node **ret) LB_MUST_CHECK;

/* Frees a node and all nodes below it. NULL is fine. Returns NULL. */
struct yaml_node *lb_yaml_free(struct yaml_node *n);

/* The value of `key`, or NULL when `n` is NULL, is no map, or does not have the key. */
const struct yaml_node *lb_yaml_find(const struct yaml_node *n, struct slice key);

/* The first item of the list at `key`, or NULL when there is no list, or an empty one. */
const struct yaml_node *lb_yaml_items(const struct yaml_node *n, struct slice key);
