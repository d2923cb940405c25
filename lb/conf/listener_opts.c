/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of a listener's keys, and the functions that read and write values of OPT_CALL rows: of
 * `bind`, which is one address or a list (bind_read(), bind_write()), of the list of networks
 * `proxy_protocol.from` (proxy_from_read(), proxy_from_write()), and of the list `listeners` itself
 * (listener_opts_read(), listener_opts_write()).
 *
 * listener_opts_read() makes one struct conf_listener for each item of the list. It sets the
 * defaults, reads the item by the table, which reads the routes by route_opts.c, and last replaces
 * CONF_DOTS_AUTO, because the default of http.dot_segments depends on the routes.
 *
 * The name of a pool, in a listener and in its routes, is looked up in conf.pools (pool_ref.c).
 * Keys that have an effect in mode http only have has_effect = reads_requests, and check.c reports
 * them in mode tcp.
 *
 * conf_listener.binds has only the addresses that could be read. So this array may be shorter than
 * the YAML list, and each element has a mark of its own.
 *
 * Relies on main_opts, whose row `pools` comes before `listeners`, so that all pools are read
 * first. The rules about more than one value (a listener needs a pool or routes, and an address
 * that no other listener has) are in check.c.
 */
#include <stdio.h>

#include "conf/conf.h"
#include "conf/print.h"
#include "conf/tables.h"

#define LISTENER(member) offsetof(struct conf_listener, member)

static const struct opt_word modes[] = {
	{ "http", CONF_MODE_HTTP, false },
	{ "tcp", CONF_MODE_TCP, false },
	{ "tls_passthrough", 0, true },
	{ .word = NULL },
};

static const struct opt_word underscores[] = {
	{ "drop", CONF_UNDERSCORES_DROP, false },
	{ "pass", CONF_UNDERSCORES_PASS, false },
	{ "refuse", CONF_UNDERSCORES_REFUSE, false },
	{ .word = NULL },
};

static const struct opt_word dots[] = {
	{ "refuse", CONF_DOTS_REFUSE, false },
	{ "normalise", CONF_DOTS_NORMALISE, false },
	{ "pass", CONF_DOTS_PASS, false },
	{ .word = NULL },
};

static const struct opt_word targets[] = {
	{ "strict", CONF_TARGETS_STRICT, false },
	{ "relaxed", CONF_TARGETS_RELAXED, false },
	{ .word = NULL },
};

static const struct opt_word records[] = {
	{ "openssl", CONF_RECORDS_OPENSSL, false },
	{ "compact", CONF_RECORDS_COMPACT, false },
	{ .word = NULL },
};

static const struct opt_word versions[] = {
	{ "1.2", CONF_TLS_1_2, false },
	{ "1.3", CONF_TLS_1_3, false },
	{ .word = NULL },
};

static const struct opt_word booleans[] = {
	{ "true", CONF_YES, false },
	{ "false", CONF_NO, false },
	{ .word = NULL },
};

static const struct opt_word verifies[] = {
	{ "required", CONF_VERIFY_REQUIRED, false },
	{ "optional", CONF_VERIFY_OPTIONAL, false },
	{ .word = NULL },
};

static const struct opt_word proxy_versions[] = {
	{ "any", CONF_PROXY_ANY, false },
	{ "v1", CONF_PROXY_V1, false },
	{ "v2", CONF_PROXY_V2, false },
	{ .word = NULL },
};

const char *conf_mode_name(enum conf_mode m)
{
	return opt_word_of(modes, (int)m);
}

static void bind_add(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		     struct conf_listener *l)
{
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	if (node->kind == YAML_BAD || !opt_address(ctx, o, node, &addr))
		return;
	struct conf_bind *b = &l->binds[l->n_binds++];
	b->addr = addr;
	b->at = node->at;
	opt_set_string(ctx, &b->text, slice_of(addr_format(&addr, text)));
}

/* Reads one address or a list of addresses, and keeps those that could be read. */
static void bind_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		      void *object)
{
	struct conf_listener *l = object;
	size_t n = node->kind == YAML_LIST ? opt_list(ctx, o, node) : 1;

	if (n == 0)
		return;
	LB_ASSERT(l->binds == NULL && l->n_binds == 0); /* opt_read() reads each key once */
	l->binds = opt_alloc(ctx, n, sizeof(l->binds[0]));
	if (l->binds == NULL)
		return;
	if (node->kind != YAML_LIST) {
		bind_add(ctx, o, node, l);
		return;
	}
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next)
		bind_add(ctx, o, item, l);
	LB_ASSERT(l->n_binds <= n);
}

static void bind_write(struct printer *p, const struct opt *o, const void *object)
{
	const struct conf_listener *l = object;
	_cleanup_(text_deinit) struct text value = TEXT_INIT;

	if (l->n_binds == 1) {
		print_text(p, o, slice_of(l->binds[0].text));
		return;
	}
	for (size_t i = 0; i < l->n_binds; i++) {
		text_add(&value, i == 0 ? SLICE("[") : SLICE(", "));
		print_scalar(&value, slice_of(l->binds[i].text));
	}
	text_add(&value, SLICE("]"));
	print_yaml(p, o, &value);
}

/* ---- proxy_protocol -------------------------------------------------------------------------- */

static void network_add(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			struct conf_listener *l)
{
	const char *text = opt_text(ctx, o, node);
	struct cidr c;

	if (text == NULL)
		return;
	if (slice_eq(slice_of(text), SLICE("unix"))) {
		opt_bad(ctx, o, node, "unix sockets are not supported yet");
		return;
	}
	if (cidr_parse(slice_of(text), &c) < 0) {
		opt_bad(ctx, o, node, "must be a network such as 10.0.0.0/8, or an address alone");
		return;
	}
	l->proxy.from[l->proxy.n_from++] = c;
}

static void proxy_from_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			    void *object)
{
	struct conf_listener *l = object;
	size_t n = opt_list(ctx, o, node);

	if (n == 0)
		return;
	LB_ASSERT(l->proxy.from == NULL && l->proxy.n_from == 0); /* a key is read once */
	l->proxy.from = opt_alloc(ctx, n, sizeof(l->proxy.from[0]));
	if (l->proxy.from == NULL)
		return;
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next)
		network_add(ctx, o, item, l);
}

static void proxy_from_write(struct printer *p, const struct opt *o, const void *object)
{
	const struct conf_listener *l = object;
	_cleanup_(text_deinit) struct text value = TEXT_INIT;
	char host[ADDR_TEXT_MAX], network[ADDR_TEXT_MAX + sizeof("/128")];

	for (size_t i = 0; i < l->proxy.n_from; i++) {
		const struct cidr *c = &l->proxy.from[i];
		(void)snprintf(network, sizeof(network), "%s/%u", addr_format_host(&c->net, host),
			       (unsigned)c->bits);
		text_add(&value, i == 0 ? SLICE("[") : SLICE(", "));
		print_scalar(&value, slice_of(network));
	}
	text_add(&value, SLICE("]"));
	print_yaml(p, o, &value);
}

/* ---- which rows have an effect --------------------------------------------------------------- */

static bool reads_requests(const void *object)
{
	return ((const struct conf_listener *)object)->mode == CONF_MODE_HTTP;
}

static bool has_tls(const void *object)
{
	return ((const struct conf_listener *)object)->tls.is_on;
}

static bool reads_proxy_headers(const void *object)
{
	return ((const struct conf_listener *)object)->proxy.n_from > 0;
}

static bool waits_for_client(const void *object)
{
	return reads_requests(object) || has_tls(object) || reads_proxy_headers(object);
}

static bool verifies_clients(const void *object)
{
	return ((const struct conf_listener *)object)->tls.client.verify != CONF_VERIFY_NONE;
}

static bool rotates_tickets(const void *object)
{
	return has_tls(object) && ((const struct conf_listener *)object)->tls.tickets.file == NULL;
}

/* Keys of a `listeners:` entry, in the order of lb.yaml(5). */
const struct opt listener_opts[] = {
	{
		.key = "name",
		.type = OPT_NAME,
		.offset = LISTENER(name),
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The name of the listener in logs and statistics.",
	},
	{
		.key = "bind",
		.type = OPT_CALL,
		.read = bind_read,
		.write = bind_write,
		.shape = SHAPE_TEXT_OR_TEXTS,
		.pattern = PATTERN_ADDRESS,
		.flags = OPT_RELOAD | OPT_REQUIRED | OPT_PORT_0 | OPT_BIND,
		.help = "The address to listen on, with a port, or a list of addresses.",
		.item = "0.0.0.0:8080",
	},
	{
		.key = "mode",
		.type = OPT_WORD,
		.offset = LISTENER(mode),
		.def = "http",
		.words = modes,
		.flags = OPT_RELOAD,
		.help = "http reads the HTTP request and can route by it; tcp relays bytes "
			"without reading them.",
	},
	{
		.key = "pool",
		.type = OPT_CALL,
		.offset = LISTENER(pool),
		.read = pool_ref_read,
		.write = pool_ref_write,
		.pattern = PATTERN_NAME,
		.flags = OPT_RELOAD,
		.help = "The name of the pool for requests that match no route.",
	},
	{
		.key = "routes",
		.type = OPT_CALL,
		.read = route_opts_read,
		.write = route_opts_write,
		.flags = OPT_RELOAD,
		.help = "The list of routes; the first route that matches a request decides which "
			"pool gets the request.",
		.item = "{path: /ws/*, pool: chat}",
	},
	{
		.key = "timeouts.handshake",
		.type = OPT_DURATION,
		.offset = LISTENER(handshake_ms),
		.def = "10s",
		.min = "10ms",
		.max = "10m",
		.flags = OPT_RELOAD,
		.has_effect = waits_for_client,
		.help = "How long a client may take for the PROXY header and the TLS handshake, if "
			"there are any, and to send the complete head of its request.",
	},
	{
		.key = "http.underscores",
		.type = OPT_WORD,
		.offset = LISTENER(http.underscores),
		.def = "drop",
		.words = underscores,
		.flags = OPT_RELOAD,
		.has_effect = reads_requests,
		.help = "What lb does with header fields and trailers of a request that have an "
			"underscore in their names.",
	},
	{
		.key = "http.dot_segments",
		.type = OPT_WORD,
		.offset = LISTENER(http.dots),
		.words = dots,
		.flags = OPT_RELOAD,
		.has_effect = reads_requests,
		.help = "What lb does with a request that has a . or .. segment in its path; "
			"without this key, refuse when a route has a path, otherwise pass.",
	},
	{
		.key = "http.targets",
		.type = OPT_WORD,
		.offset = LISTENER(http.targets),
		.def = "strict",
		.words = targets,
		.flags = OPT_RELOAD,
		.has_effect = reads_requests,
		.help = "strict accepts only what the grammar of request targets allows; relaxed "
			"also accepts UTF-8 that is not percent-encoded.",
	},
	{
		.key = "tls.certificates",
		.type = OPT_CALL,
		.read = certificate_opts_read,
		.write = certificate_opts_write,
		.has_effect = has_tls,
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The list of certificates, each a file and the file of its key; the first "
			"one answers a client that names no server, or an unknown one.",
		.item = "{cert: chat.pem, key: chat.key}",
	},
	{
		.key = "tls.records",
		.type = OPT_WORD,
		.offset = LISTENER(tls.records),
		.def = "openssl",
		.words = records,
		.flags = OPT_RELOAD,
		.has_effect = has_tls,
		.help = "What carries the records after the handshake: openssl, or lb's own record "
			"layer, compact, which needs much less memory.",
	},
	{
		.key = "tls.min_version",
		.type = OPT_WORD,
		.offset = LISTENER(tls.min_version),
		.def = "1.2",
		.words = versions,
		.flags = OPT_RELOAD,
		.has_effect = has_tls,
		.help = "The oldest version of TLS that clients may use.",
	},
	{
		.key = "tls.groups",
		.type = OPT_CALL,
		.offset = LISTENER(tls.groups),
		.def = "X25519:P-256",
		.read = openssl_list_read,
		.write = openssl_list_write,
		.pattern = PATTERN_OPENSSL_LIST,
		.flags = OPT_RELOAD,
		.has_effect = has_tls,
		.help = "The groups for the key exchange, in the order of preference.",
	},
	{
		.key = "tls.alpn",
		.type = OPT_CALL,
		.read = alpn_read,
		.write = alpn_write,
		.shape = SHAPE_TEXTS,
		.pattern = "^[!-~]{1,255}$",
		.flags = OPT_RELOAD,
		.has_effect = has_tls,
		.help = "The protocols that lb offers by ALPN; without this key, http/1.1 in mode "
			"http, and none in mode tcp.",
		.item = "http/1.1",
	},
	{
		.key = "tls.ciphers",
		.type = OPT_CALL,
		.offset = LISTENER(tls.ciphers),
		.read = openssl_list_read,
		.write = openssl_list_write,
		.pattern = PATTERN_OPENSSL_LIST,
		.flags = OPT_RELOAD,
		.has_effect = has_tls,
		.help = "The cipher suites of TLS 1.2, as OpenSSL names them; without this key, "
			"ECDHE with AES-GCM or ChaCha20-Poly1305.",
	},
	{
		.key = "tls.ciphersuites",
		.type = OPT_CALL,
		.offset = LISTENER(tls.ciphersuites),
		.read = openssl_list_read,
		.write = openssl_list_write,
		.pattern = PATTERN_OPENSSL_LIST,
		.flags = OPT_RELOAD,
		.has_effect = has_tls,
		.help = "The cipher suites of TLS 1.3, as OpenSSL names them; without this key, "
			"AES-GCM and ChaCha20-Poly1305.",
	},
	{
		.key = "tls.max_handshakes",
		.type = OPT_UINT,
		.offset = LISTENER(tls.max_handshakes),
		.def = "2000",
		.min = "1",
		.max = "1000000",
		.flags = OPT_RELOAD,
		.has_effect = has_tls,
		.help = "The maximum number of handshakes that are under way on a worker at one "
			"time.",
	},
	{
		.key = "tls.strict_sni",
		.type = OPT_WORD,
		.offset = LISTENER(tls.strict_sni),
		.def = "false",
		.words = booleans,
		.flags = OPT_RELOAD,
		.has_effect = has_tls,
		.help = "true refuses a client that names a server whose name no certificate "
			"bears; false answers it with the first certificate.",
	},
	{
		.key = "tls.client.ca",
		.type = OPT_FILE,
		.offset = LISTENER(tls.client.ca),
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.has_effect = verifies_clients,
		.help = "The file of the CA certificates by which clients' certificates are "
			"verified.",
	},
	{
		.key = "tls.client.crl",
		.type = OPT_FILE,
		.offset = LISTENER(tls.client.crl),
		.flags = OPT_RELOAD,
		.has_effect = verifies_clients,
		.help = "The file of the revocation lists of those CAs.",
	},
	{
		.key = "tls.client.verify",
		.type = OPT_WORD,
		.offset = LISTENER(tls.client.verify),
		.def = "required",
		.words = verifies,
		.flags = OPT_RELOAD,
		.has_effect = verifies_clients,
		.help = "required refuses a client without a certificate; optional lets it in. A "
			"certificate that is sent must be good in both cases.",
	},
	{
		.key = "tls.tickets.rotate",
		.type = OPT_DURATION,
		.offset = LISTENER(tls.tickets.rotate_ms),
		.def = "12h",
		.min = "1m",
		.max = "72h",
		.flags = OPT_RELOAD,
		.has_effect = rotates_tickets,
		.help = "How often lb makes a new key for session tickets; the two keys before it "
			"still decrypt.",
	},
	{
		.key = "tls.tickets.file",
		.type = OPT_FILE,
		.offset = LISTENER(tls.tickets.file),
		.flags = OPT_RELOAD,
		.has_effect = has_tls,
		.help = "The file of the keys of session tickets, for several lbs that share them; "
			"lb then makes none.",
	},
	{
		.key = "proxy_protocol.from",
		.type = OPT_CALL,
		.read = proxy_from_read,
		.write = proxy_from_write,
		.shape = SHAPE_TEXTS,
		.pattern = PATTERN_NETWORK,
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.has_effect = reads_proxy_headers,
		.help = "The networks from which each connection must begin with a PROXY protocol "
			"header; from other networks no header is read.",
		.item = "10.0.0.0/8",
	},
	{
		.key = "proxy_protocol.version",
		.type = OPT_WORD,
		.offset = LISTENER(proxy.version),
		.def = "any",
		.words = proxy_versions,
		.flags = OPT_RELOAD,
		.has_effect = reads_proxy_headers,
		.help = "The version of the PROXY protocol that is accepted: v1, v2, or any of the "
			"two.",
	},
	{
		.key = "trusted_proxies",
		.flags = OPT_LATER,
		.help = "Networks of proxies whose X-Forwarded-For is kept and extended.",
	},
	{ .key = NULL },
};

/*
 * The default of http.dot_segments: refuse when a route compares paths, else pass. Without such a
 * route, dot segments are no risk; with one, a backend that removes the segments could serve
 * another path than the one that the route has matched.
 */
static enum conf_dots default_dots(const struct conf_listener *l)
{
	for (size_t i = 0; i < l->n_routes; i++)
		if (l->routes[i].path != NULL)
			return CONF_DOTS_REFUSE;
	return CONF_DOTS_PASS;
}

void listener_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			void *conf)
{
	struct conf *c = conf;
	size_t n = opt_list(ctx, o, node);

	LB_ASSERT(c->listeners == NULL && c->n_listeners == 0); /* opt_read() reads each key once */
	c->listeners = n == 0 ? NULL : opt_alloc(ctx, n, sizeof(c->listeners[0]));
	if (c->listeners == NULL)
		return;
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
		struct conf_listener *l = &c->listeners[c->n_listeners++];
		l->at = item->at;
		l->pool = CONF_NO_POOL;
		opt_set_defaults(ctx, listener_opts, l);
		opt_read(ctx, listener_opts, item, l);
		if (l->http.dots == CONF_DOTS_AUTO)
			l->http.dots = default_dots(l);
		tls_opts_settle(ctx, item, l);
	}
	LB_ASSERT(c->n_listeners == n);
}

void listener_opts_write(struct printer *p, const struct opt *o, const void *conf)
{
	const struct conf *c = conf;

	print_list(p, o);
	for (size_t i = 0; i < c->n_listeners; i++)
		print_item(p, listener_opts, &c->listeners[i]);
}
