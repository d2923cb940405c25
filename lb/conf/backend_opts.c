/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of a backend's keys. backend_opts_read() makes a pool's backends from the list
 * `backends`, whose items are maps, or addresses as a short form; backend_opts_write() always
 * writes maps. Every backend has a name: when the file gives none, the name is the backend's
 * address.
 */
#include "conf/conf.h"
#include "conf/print.h"
#include "conf/tables.h"

#define BACKEND(member) offsetof(struct conf_backend, member)

/* Keys of a `backends:` entry that is a map, in the order of lb.yaml(5). */
const struct opt backend_opts[] = {
	{
		.key = "name",
		.type = OPT_NAME,
		.offset = BACKEND(name),
		.flags = OPT_RELOAD,
		.help = "The name of the backend in commands and statistics; without it, the "
			"backend's address.",
	},
	{
		.key = "address",
		.type = OPT_ADDRESS,
		.offset = BACKEND(addr),
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The address that lb connects to, with a port.",
	},
	{
		.key = "weight",
		.type = OPT_UINT,
		.offset = BACKEND(weight),
		.def = "1",
		.min = "0",
		.max = "256",
		.flags = OPT_RELOAD,
		.help = "The backend's share of new connections, relative to the other weights of "
			"the pool; a backend with weight 0 gets no new connections.",
	},
	{
		.key = "max_connections",
		.type = OPT_UINT,
		.offset = BACKEND(max_conns),
		.min = "1",
		.max = "100000000",
		.flags = OPT_RELOAD,
		.help = "The maximum number of connections to the backend at one time; without it "
			"there is no limit.",
	},
	{
		.key = "backup",
		.flags = OPT_LATER,
		.help = "Whether the backend is selected only when no other backend can be.",
	},
	{ .key = NULL },
};

/*
 * Reads one item of `backends`. When the item is an address, all other keys have their defaults.
 * When the file gives no name, the name is the address as addr_format() writes it. Such a name is
 * unique when the address is unique, and each lb with this backend hashes the same name, however
 * its file spells the address.
 */
static void backend_read(struct opt_ctx *ctx, const struct yaml_node *node, struct conf_backend *b)
{
	char text[ADDR_TEXT_MAX];

	b->at = node->at;
	opt_set_defaults(ctx, backend_opts, b);
	if (node->kind == YAML_SCALAR) {
		opt_read_value(ctx, opt_row(backend_opts, "address"), node, b);
	} else {
		opt_read(ctx, backend_opts, node, b);
	}
	bool is_named = lb_yaml_find(node, SLICE("name")) != NULL;
	if (!is_named && b->addr.family != 0)
		opt_set_string(ctx, &b->name, slice_of(addr_format(&b->addr, text)));
}

void backend_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		       void *pool)
{
	struct conf_pool *p = pool;
	size_t n = opt_list(ctx, o, node);

	LB_ASSERT(p->backends == NULL && p->n_backends == 0); /* opt_read() reads each key once */
	p->backends = n == 0 ? NULL : opt_alloc(ctx, n, sizeof(p->backends[0]));
	if (p->backends == NULL)
		return;
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next)
		backend_read(ctx, item, &p->backends[p->n_backends++]);
	LB_ASSERT(p->n_backends == n);
}

void backend_opts_write(struct printer *p, const struct opt *o, const void *pool)
{
	const struct conf_pool *c = pool;

	print_list(p, o);
	for (size_t i = 0; i < c->n_backends; i++)
		print_item(p, backend_opts, &c->backends[i]);
}
