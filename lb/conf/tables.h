/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Tables: the tables of lb.yaml's keys, one for each kind of map, and the functions that read and
 * write the lists of such maps.
 *
 * Each table is in a file of its own, *_opts.c, together with the functions that only its rows use.
 *
 * Thread: main. Layer: conf.
 */

#include "conf/opt.h"

struct conf_listener;

extern const struct opt main_opts[];        /* keys of struct conf */
extern const struct opt listener_opts[];    /* keys of struct conf_listener */
extern const struct opt route_opts[];       /* keys of struct conf_route */
extern const struct opt pool_opts[];        /* keys of struct conf_pool */
extern const struct opt backend_opts[];     /* keys of struct conf_backend */
extern const struct opt certificate_opts[]; /* keys of struct conf_certificate */

/* Patterns that OPT_CALL rows of several tables have. */
#define PATTERN_ADDRESS "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$"
#define PATTERN_NETWORK \
	"^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?$"
#define PATTERN_OPENSSL_LIST "^[A-Za-z0-9._:+!@=-]+$"
#define PATTERN_NAME "^[^\\u0000-\\u0020/|\\u007f]{1,63}$"

/*
 * All tables with their places in the file. The first is that of the file's top; a NULL name ends
 * the list.
 */
extern const struct opt_table conf_tables[];

/*
 * The opt_read_fn of the lists of maps. Each function makes an array with one element for every
 * item of the list, in the order of the list. An item with mistakes has its element, too: a value
 * that could not be read has its default or is zero.
 */
void listener_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			void *conf);
void route_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		     void *listener);
void pool_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		    void *conf);
void backend_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		       void *pool);
void certificate_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			   void *listener);

/* The opt_write_fn of the lists of maps. */
void listener_opts_write(struct printer *p, const struct opt *o, const void *conf);
void route_opts_write(struct printer *p, const struct opt *o, const void *listener);
void pool_opts_write(struct printer *p, const struct opt *o, const void *conf);
void backend_opts_write(struct printer *p, const struct opt *o, const void *pool);
void certificate_opts_write(struct printer *p, const struct opt *o, const void *listener);

/* The listener's list of ALPN names. */
void alpn_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
	       void *listener);
void alpn_write(struct printer *p, const struct opt *o, const void *listener);

/* A list in OpenSSL's words into a char *, as "X25519:P-256". */
void openssl_list_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		       void *object);
void openssl_list_write(struct printer *p, const struct opt *o, const void *object);

/* What follows from the keys below a listener's `tls` being there, or not. */
void tls_opts_settle(struct opt_ctx *ctx, const struct yaml_node *listener,
		     struct conf_listener *l);

/*
 * Reads a pool's name, and stores the pool's index in conf.pools as a size_t. All pools have to be
 * read before.
 */
void pool_ref_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		   void *object);

/* Writes the name of the pool whose index the row's member has, unless that is CONF_NO_POOL. */
void pool_ref_write(struct printer *p, const struct opt *o, const void *object);
