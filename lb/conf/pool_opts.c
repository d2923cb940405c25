/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of a pool's keys, and the functions that read and write values of OPT_CALL rows:
 *
 *   key            read                  written                 kept in
 *   hash.key       hash_key_read()       hash_key_write()        hash.key, hash.name
 *   health.path    health_path_read()    health_path_write()     health.path
 *   health.host    health_host_read()    health_host_write()     health.host
 *   health.status  status_read()         status_write()          health.status_min, status_max
 *   source         sources_read()        sources_write()         sources, sources_at
 *   backends       backend_opts_read()   backend_opts_write()    backends (backend_opts.c)
 *
 * pool_opts_read() makes one struct conf_pool for each item of the list `pools`: it sets the
 * defaults and reads the item by the table (pool_read()). All keys of the map `health` have
 * defaults, but when the pool does not have the key `health` itself, the pool has no checks.
 *
 * A read function takes the text of its node (opt_text()). When it does not accept the text, it
 * reports that by opt_bad() and leaves the member as it was. A source that could not be read
 * becomes an element with family 0, so that the array has one element for each item (tables.h).
 *
 * When other values can leave a row without effect, the row has a has_effect function. print.c does
 * not write a row without effect; check.c has the rules about such rows.
 */
#include <stdio.h>
#include <string.h>

#include "conf/advice.h"
#include "conf/conf.h"
#include "conf/print.h"
#include "conf/synonym.h"
#include "conf/tables.h"
#include "conf/word.h"
#include "util/nearest.h"
#include "util/parse.h"

#define POOL(member) offsetof(struct conf_pool, member)

static const struct opt_word balances[] = {
	{ "least_connections", CONF_BALANCE_LEAST, false },
	{ "round_robin", CONF_BALANCE_ROUND_ROBIN, false },
	{ "random", CONF_BALANCE_RANDOM, false },
	{ "hash", CONF_BALANCE_HASH, false },
	{ "first", CONF_BALANCE_FIRST, false },
	{ .word = NULL },
};

static const struct opt_word checks[] = {
	{ "tcp", CONF_CHECK_TCP, false },
	{ "http", CONF_CHECK_HTTP, false },
	{ "websocket", CONF_CHECK_WEBSOCKET, false },
	{ "agent", 0, true },
	{ .word = NULL },
};

static const struct opt_word splices[] = {
	{ "auto", CONF_SPLICE_AUTO, false },
	{ "always", CONF_SPLICE_ALWAYS, false },
	{ "never", CONF_SPLICE_NEVER, false },
	{ .word = NULL },
};

static const struct opt_word proxy_versions[] = {
	{ "off", CONF_PROXY_OFF, false },
	{ "v1", CONF_PROXY_V1, false },
	{ "v2", CONF_PROXY_V2, false },
	{ .word = NULL },
};

const char *conf_balance_name(enum conf_balance b)
{
	return opt_word_of(balances, (int)b);
}

const char *conf_check_name(enum conf_check c)
{
	return opt_word_of(checks, (int)c);
}

/* ---- hash.key: a word, or a word, a colon and a name ---- */

struct hash_word {
	const char *word;
	enum conf_hash_key key;
	bool (*is_name)(struct slice s); /* checks the name; NULL: no name allowed */
};

static const struct hash_word hash_words[] = {
	{ "source", CONF_HASH_SOURCE, NULL },
	{ "header", CONF_HASH_HEADER, word_is_token },
	{ "cookie", CONF_HASH_COOKIE, word_is_token },
	{ "query", CONF_HASH_QUERY, word_is_parameter },
	{ "path", CONF_HASH_PATH, NULL },
	{ "host", CONF_HASH_HOST, NULL },
};

/* The row of a word. When no row has the word, returns NULL, and `near` has the nearest word. */
static const struct hash_word *hash_word_find(struct slice s, struct nearest *near)
{
	nearest_init(near, s);
	for (size_t i = 0; i < ARRAY_SIZE(hash_words); i++) {
		if (slice_eq(slice_of(hash_words[i].word), s))
			return &hash_words[i];
		nearest_try(near, slice_of(hash_words[i].word));
	}
	return NULL;
}

static void hash_key_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			  void *object)
{
	struct conf_hash *h = &((struct conf_pool *)object)->hash;
	const char *text = opt_text(ctx, o, node);
	char hint[NEAREST_TEXT_MAX], synonym[SYNONYM_TEXT_MAX];
	struct nearest near;

	if (text == NULL)
		return;
	struct slice word = { .p = text, .n = strcspn(text, ":") };
	bool has_name = text[word.n] == ':';
	struct slice name = slice_of(text + word.n + (has_name ? 1 : 0));
	if (slice_eq(word, SLICE("sni"))) {
		opt_bad(ctx, o, node, "sni is not supported yet");
		return;
	}
	const struct hash_word *w = hash_word_find(word, &near);
	if (w == NULL || has_name != (w->is_name != NULL)) {
		(void)synonym_hint(SYNONYM_VALUE, o->key, word, synonym);
		opt_bad(ctx, o, node,
			"must be one of source, header:NAME, cookie:NAME, query:NAME, path, host%s",
			*synonym != '\0' ? synonym
			: w == NULL      ? nearest_hint(&near, hint)
					 : "");
		return;
	}
	if (has_name && !w->is_name(name)) {
		opt_bad(ctx, o, node, "\"%s:\" must be followed by a name", w->word);
		return;
	}
	h->key = w->key;
	if (has_name)
		opt_set_string(ctx, &h->name, name);
}

/* ---- health ---- */

static void health_path_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			     void *object)
{
	struct conf_pool *p = object;
	const char *text = opt_text(ctx, o, node);

	if (text == NULL)
		return;
	if (!word_is_path_and_query(slice_of(text)))
		opt_bad(ctx, o, node, "must begin with / and have no spaces and #");
	else
		opt_set_string(ctx, &p->health.path, slice_of(text));
}

/* Reads a host, or a host and a port. The text is kept unchanged, for the Host field of checks. */
static void health_host_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			     void *object)
{
	struct conf_pool *p = object;
	const char *text = opt_text(ctx, o, node);
	uint64_t port = 0;

	if (text == NULL)
		return;
	struct slice host = slice_of(text);
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
	bool has_port = colon != NULL && (bracket == NULL || bracket < colon);
	if (has_port)
		host.n = (size_t)(colon - text);
	if (!word_is_host(host) ||
	    (has_port && (parse_uint(slice_of(colon + 1), &port) < 0 || port > UINT16_MAX)))
		opt_bad(ctx, o, node, "must be a host, or a host and a port");
	else
		opt_set_string(ctx, &p->health.host, slice_of(text));
}

/* Parses a status from 100 to 599. */
static bool parse_status(struct slice s, uint16_t *ret)
{
	uint64_t v;

	if (s.n != 3 || parse_uint(s, &v) < 0 || v < 100 || v > 599)
		return false;
	*ret = (uint16_t)v;
	return true;
}

/* Reads one status, as "200", or a range, as "200-399". */
static void status_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			void *object)
{
	struct conf_health *h = &((struct conf_pool *)object)->health;
	const char *text = opt_text(ctx, o, node);
	uint16_t min, max;

	if (text == NULL)
		return;
	struct slice s = slice_of(text);
	struct slice first = { .p = s.p, .n = strcspn(text, "-") };
	struct slice last = first.n == s.n ? s : slice_of(text + first.n + 1);
	if (!parse_status(first, &min) || !parse_status(last, &max) || min > max) {
		opt_bad(ctx, o, node, "must be a status from 100 to 599, or a range like 200-399");
		return;
	}
	LB_ASSERT(min >= 100 && max <= 599);
	h->status_min = min;
	h->status_max = max;
}

/* ---- source ---- */

static void sources_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			 void *object)
{
	struct conf_pool *p = object;
	size_t n = opt_list(ctx, o, node);
	char advice[ADVICE_TEXT_MAX];

	if (n == 0)
		return;
	LB_ASSERT(p->sources == NULL && p->n_sources == 0); /* opt_read() reads each key once */
	p->sources = opt_alloc(ctx, n, sizeof(p->sources[0]));
	p->sources_at = opt_alloc(ctx, n, sizeof(p->sources_at[0]));
	if (p->sources == NULL || p->sources_at == NULL)
		return;
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
		p->sources_at[p->n_sources] = item->at;
		struct addr *a = &p->sources[p->n_sources++];
		const char *text = opt_text(ctx, o, item);
		if (text != NULL && addr_parse_host(slice_of(text), a) < 0)
			opt_bad(ctx, o, item, "must be a numeric address without a port%s",
				advice_address(slice_of(text), ADVICE_HOST, advice));
	}
	LB_ASSERT(p->n_sources == n);
}

/* ---- writing ---- */

static bool is_hash(const void *object)
{
	return ((const struct conf_pool *)object)->balance == CONF_BALANCE_HASH;
}

static bool has_checks(const void *object)
{
	return ((const struct conf_pool *)object)->health.type != CONF_CHECK_NONE;
}

static bool judges_status(const void *object)
{
	return ((const struct conf_pool *)object)->health.type == CONF_CHECK_HTTP;
}

static bool asks_for_path(const void *object)
{
	return judges_status(object) ||
	       ((const struct conf_pool *)object)->health.type == CONF_CHECK_WEBSOCKET;
}

static void hash_key_write(struct printer *p, const struct opt *o, const void *object)
{
	const struct conf_hash *h = &((const struct conf_pool *)object)->hash;
	_cleanup_(text_deinit) struct text key = TEXT_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(hash_words); i++) {
		if (hash_words[i].key != h->key)
			continue;
		LB_ASSERT((h->name != NULL) == (hash_words[i].is_name != NULL));
		text_addf(&key, "%s%s%s", hash_words[i].word, h->name != NULL ? ":" : "",
			  h->name != NULL ? h->name : "");
	}
	print_text(p, o, text_slice(&key));
	p->out->failed = p->out->failed || key.failed;
}

static void sources_write(struct printer *p, const struct opt *o, const void *object)
{
	const struct conf_pool *c = object;
	_cleanup_(text_deinit) struct text value = TEXT_INIT;
	char text[ADDR_TEXT_MAX];

	if (c->n_sources == 0)
		return;
	for (size_t i = 0; i < c->n_sources; i++) {
		text_add(&value, i == 0 ? SLICE("[") : SLICE(", "));
		print_scalar(&value, slice_of(addr_format_host(&c->sources[i], text)));
	}
	text_add(&value, SLICE("]"));
	print_yaml(p, o, &value);
}

static void health_path_write(struct printer *p, const struct opt *o, const void *object)
{
	print_text(p, o, slice_of(((const struct conf_pool *)object)->health.path));
}

static void health_host_write(struct printer *p, const struct opt *o, const void *object)
{
	const char *host = ((const struct conf_pool *)object)->health.host;

	if (host != NULL)
		print_text(p, o, slice_of(host));
}

static void status_write(struct printer *p, const struct opt *o, const void *object)
{
	const struct conf_health *h = &((const struct conf_pool *)object)->health;
	char text[16];

	(void)snprintf(text, sizeof(text), h->status_min == h->status_max ? "%u" : "%u-%u",
		       (unsigned)h->status_min, (unsigned)h->status_max);
	print_text(p, o, slice_of(text));
}

/* Keys of a `pools:` entry, in the order of lb.yaml(5). */
const struct opt pool_opts[] = {
	{
		.key = "name",
		.type = OPT_NAME,
		.offset = POOL(name),
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The name of the pool in listeners, routes, commands and statistics.",
	},
	{
		.key = "balance",
		.type = OPT_WORD,
		.offset = POOL(balance),
		.def = "least_connections",
		.words = balances,
		.flags = OPT_RELOAD,
		.help = "The policy that selects a backend for a new connection.",
	},
	{
		.key = "hash.key",
		.type = OPT_CALL,
		.def = "source",
		.read = hash_key_read,
		.write = hash_key_write,
		.has_effect = is_hash,
		.pattern = "^(source|path|host|(header|cookie|query):.+)$",
		.flags = OPT_RELOAD,
		.help = "The value that is hashed to select a backend; only valid with balance: "
			"hash.",
	},
	{
		.key = "hash.load_factor",
		.type = OPT_FACTOR,
		.offset = POOL(hash.load_percent),
		.def = "off",
		.min = "1.05",
		.max = "10",
		.flags = OPT_RELOAD | OPT_OFF,
		.has_effect = is_hash,
		.help = "The maximum load of a backend, as a multiple of the mean load of the "
			"pool; only valid with balance: hash.",
	},
	{
		.key = "backends",
		.type = OPT_CALL,
		.read = backend_opts_read,
		.write = backend_opts_write,
		.pattern = PATTERN_ADDRESS,
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The list of backends, each an address or a map.",
		.item = "10.0.0.11:9001",
	},
	{
		.key = "source",
		.type = OPT_CALL,
		.read = sources_read,
		.write = sources_write,
		.shape = SHAPE_TEXTS,
		.pattern = "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$",
		.flags = OPT_RELOAD,
		.help = "Local IP addresses from which lb connects to the backends.",
		.item = "10.0.0.5",
	},
	{
		.key = "proxy_protocol",
		.type = OPT_WORD,
		.offset = POOL(proxy_protocol),
		.def = "off",
		.words = proxy_versions,
		.flags = OPT_RELOAD,
		.help = "The version of the PROXY protocol header, with the client's address, that "
			"lb sends first on each connection to a backend.",
	},
	{
		.key = "health.type",
		.type = OPT_WORD,
		.offset = POOL(health.type),
		.def = "tcp",
		.words = checks,
		.flags = OPT_RELOAD,
		.has_effect = has_checks,
		.help = "The check that decides whether a backend is up.",
	},
	{
		.key = "health.path",
		.type = OPT_CALL,
		.def = "/",
		.read = health_path_read,
		.write = health_path_write,
		.has_effect = asks_for_path,
		.pattern = "^/[^ #]*$",
		.flags = OPT_RELOAD,
		.help = "The path that an http or websocket check requests.",
	},
	{
		.key = "health.host",
		.type = OPT_CALL,
		.read = health_host_read,
		.write = health_host_write,
		.has_effect = asks_for_path,
		.pattern = "^([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$",
		.flags = OPT_RELOAD,
		.help = "The Host header of an http or websocket check; without it, the backend's "
			"address.",
	},
	{
		.key = "health.status",
		.type = OPT_CALL,
		.def = "200-399",
		.read = status_read,
		.write = status_write,
		.has_effect = judges_status,
		.pattern = "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$",
		.flags = OPT_RELOAD,
		.help = "The status, or range of statuses, with which an http check passes.",
	},
	{
		.key = "health.interval",
		.type = OPT_DURATION,
		.offset = POOL(health.interval_ms),
		.def = "2s",
		.min = "10ms",
		.max = "1h",
		.flags = OPT_RELOAD,
		.has_effect = has_checks,
		.help = "The time from the start of one check of a backend to the start of its "
			"next check.",
	},
	{
		.key = "health.timeout",
		.type = OPT_DURATION,
		.offset = POOL(health.timeout_ms),
		.def = "1s",
		.min = "10ms",
		.max = "5m",
		.flags = OPT_RELOAD,
		.has_effect = has_checks,
		.help = "How long a check may take.",
	},
	{
		.key = "health.rise",
		.type = OPT_UINT,
		.offset = POOL(health.rise),
		.def = "2",
		.min = "1",
		.max = "100",
		.flags = OPT_RELOAD,
		.has_effect = has_checks,
		.help = "How many checks in a row must pass before a backend that is down counts "
			"as up.",
	},
	{
		.key = "health.fall",
		.type = OPT_UINT,
		.offset = POOL(health.fall),
		.def = "3",
		.min = "1",
		.max = "100",
		.flags = OPT_RELOAD,
		.has_effect = has_checks,
		.help = "How many checks in a row must fail before a backend that is up counts as "
			"down.",
	},
	{
		.key = "retries",
		.type = OPT_UINT,
		.offset = POOL(retries),
		.def = "2",
		.min = "0",
		.max = "100",
		.flags = OPT_RELOAD,
		.help = "How many other backends lb tries when it cannot connect to the selected "
			"one.",
	},
	{
		.key = "timeouts.connect",
		.type = OPT_DURATION,
		.offset = POOL(connect_ms),
		.def = "3s",
		.min = "10ms",
		.max = "5m",
		.flags = OPT_RELOAD,
		.help = "How long a backend may take to accept a connection before lb tries "
			"another backend.",
	},
	{
		.key = "timeouts.upgrade",
		.type = OPT_DURATION,
		.offset = POOL(upgrade_ms),
		.def = "10s",
		.min = "10ms",
		.max = "10m",
		.flags = OPT_RELOAD,
		.help = "How long a backend may take to answer an upgrade request.",
	},
	{
		.key = "timeouts.response",
		.type = OPT_DURATION,
		.offset = POOL(response_ms),
		.def = "60s",
		.min = "10ms",
		.max = "24h",
		.flags = OPT_RELOAD,
		.help = "How long a backend may take to send the head of its response to a plain "
			"request, once lb has sent the backend the whole request.",
	},
	{
		.key = "timeouts.body",
		.type = OPT_DURATION,
		.offset = POOL(body_ms),
		.def = "60s",
		.min = "10ms",
		.max = "24h",
		.flags = OPT_RELOAD,
		.help = "How long no data may move while a plain request or its response is being "
			"transferred.",
	},
	{
		.key = "timeouts.idle",
		.type = OPT_DURATION,
		.offset = POOL(idle_ms),
		.def = "off",
		.min = "10ms",
		.max = "168h",
		.flags = OPT_RELOAD | OPT_OFF,
		.help = "Close a tunnel (a WebSocket, or a connection with mode tcp) after this "
			"long without data in either direction.",
	},
	{
		.key = "timeouts.half_closed",
		.type = OPT_DURATION,
		.offset = POOL(half_closed_ms),
		.def = "30s",
		.min = "10ms",
		.max = "24h",
		.flags = OPT_RELOAD,
		.help = "When one side of a tunnel has closed, close the whole tunnel after this "
			"long without data.",
	},
	{
		.key = "timeouts.user",
		.type = OPT_DURATION,
		.offset = POOL(user_ms),
		.def = "120s",
		.min = "10ms",
		.max = "24h",
		.flags = OPT_RELOAD | OPT_OFF,
		.help = "TCP_USER_TIMEOUT: close a connection when the peer, for this long, has "
			"not acknowledged data that was sent, or has accepted none of the data "
			"that waits for it.",
	},
	{
		.key = "relay.splice",
		.type = OPT_WORD,
		.offset = POOL(splice),
		.def = "auto",
		.words = splices,
		.flags = OPT_RELOAD,
		.help = "Use splice(2) for large transfers in tunnels: auto, when it is cheaper; "
			"always; never.",
	},
	{
		.key = "relay.buffer",
		.type = OPT_SIZE,
		.offset = POOL(buffer_bytes),
		.def = "64KiB",
		.min = "4KiB",
		.max = "1MiB",
		.flags = OPT_RELOAD,
		.help = "How many bytes lb buffers in each direction for a peer that does not "
			"read.",
	},
	{ .key = NULL },
};

static void pool_read(struct opt_ctx *ctx, const struct yaml_node *node, struct conf_pool *p)
{
	p->at = node->at;
	opt_set_defaults(ctx, pool_opts, p);
	opt_read(ctx, pool_opts, node, p);
	if (lb_yaml_find(node, SLICE("health")) == NULL)
		p->health.type = CONF_CHECK_NONE;
}

void pool_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		    void *conf)
{
	struct conf *c = conf;
	size_t n = opt_list(ctx, o, node);

	LB_ASSERT(c->pools == NULL && c->n_pools == 0); /* opt_read() reads each key once */
	c->pools = n == 0 ? NULL : opt_alloc(ctx, n, sizeof(c->pools[0]));
	if (c->pools == NULL)
		return;
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next)
		pool_read(ctx, item, &c->pools[c->n_pools++]);
	LB_ASSERT(c->n_pools == n);
}

void pool_opts_write(struct printer *p, const struct opt *o, const void *conf)
{
	const struct conf *c = conf;

	print_list(p, o);
	for (size_t i = 0; i < c->n_pools; i++)
		print_item(p, pool_opts, &c->pools[i]);
}
