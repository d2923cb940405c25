/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the keys at the top of lb.yaml, and conf_tables[], the list of all tables.
 *
 * A row says everything about its key: opt.h has the meaning of its members. The rows have the
 * order of lb.yaml(5). opt_read() reads keys in this order, and `lb check --print` writes them in
 * this order. So `pools` comes before `listeners`, whose items name pools. Keys of a map, as
 * log.level, stand together, because print.c opens a map once.
 *
 * Values are read by their type. The lists `pools` and `listeners` have tables of their own, in
 * pool_opts.c and listener_opts.c. Rows with OPT_LATER are keys that a later version will have:
 * their names are reserved, and for a file with such a key lb says that the key is not supported
 * yet.
 *
 * The values of rows without OPT_RELOAD take effect at restart; conf_restart_keys() finds the
 * values that differ.
 *
 * A new key needs a row here or in another table, a member in conf.h, a paragraph in lb.yaml(5),
 * which a test looks for, and, when its type is OPT_CALL, functions that read and write it. The
 * hints at unknown keys, `lb check --print`, the schema for editors and the reload follow from the
 * row.
 */
#include "conf/conf.h"
#include "conf/tables.h"
#include "util/log.h"

#define MAIN(member) offsetof(struct conf, member)

static const struct opt_word engines[] = {
	{ "auto", CONF_ENGINE_AUTO, false },
	{ "io_uring", CONF_ENGINE_URING, false },
	{ "epoll", CONF_ENGINE_EPOLL, false },
	{ .word = NULL },
};

static const struct opt_word levels[] = {
	{ "err", LOG_LEVEL_ERR, false },       { "warn", LOG_LEVEL_WARN, false },
	{ "notice", LOG_LEVEL_NOTICE, false }, { "info", LOG_LEVEL_INFO, false },
	{ "debug", LOG_LEVEL_DEBUG, false },   { .word = NULL },
};

static const struct opt_word formats[] = {
	{ "text", CONF_LOG_TEXT, false },
	{ "json", CONF_LOG_JSON, false },
	{ .word = NULL },
};

static bool has_access_log(const void *object)
{
	return ((const struct conf *)object)->access_log.is_on;
}

/* Keys at the top, in the order of lb.yaml(5). */
const struct opt main_opts[] = {
	{
		.key = "workers",
		.type = OPT_UINT,
		.offset = MAIN(workers),
		.def = "auto",
		.min = "1",
		.max = "256",
		.flags = OPT_AUTO,
		.help = "The number of threads that carry connections; auto is one for each CPU "
			"that the process may use, within the CPU quota of its control groups.",
	},
	{
		.key = "engine",
		.type = OPT_WORD,
		.offset = MAIN(engine),
		.def = "auto",
		.words = engines,
		.help = "The kernel interface for socket I/O; auto is io_uring when the kernel "
			"has what lb needs, otherwise epoll.",
	},
	{
		.key = "user",
		.type = OPT_NAME,
		.offset = MAIN(user),
		.help = "The user that lb switches to after it has bound its sockets.",
	},
	{
		.key = "stop_timeout",
		.type = OPT_DURATION,
		.offset = MAIN(stop_timeout_ms),
		.def = "30s",
		.min = "10ms",
		.max = "24h",
		.flags = OPT_RELOAD,
		.help = "How long a graceful stop waits for open connections to end.",
	},
	{
		.key = "stop_delay",
		.type = OPT_DURATION,
		.offset = MAIN(stop_delay_ms),
		.def = "0s",
		.min = "0s",
		.max = "1h",
		.flags = OPT_RELOAD,
		.help = "How long lb goes on accepting connections after a graceful stop has "
			"begun, while /healthz answers 503.",
	},
	{
		.key = "log.level",
		.type = OPT_WORD,
		.offset = MAIN(log.level),
		.def = "notice",
		.words = levels,
		.flags = OPT_RELOAD,
		.help = "The least severe level that is logged.",
	},
	{
		.key = "log.format",
		.type = OPT_WORD,
		.offset = MAIN(log.format),
		.def = "text",
		.words = formats,
		.flags = OPT_RELOAD,
		.help = "The format of log lines.",
	},
	{
		.key = "log.to",
		.type = OPT_FILE,
		.offset = MAIN(log.to),
		.def = "stderr",
		.flags = OPT_RELOAD | OPT_STREAM,
		.help = "Where lb writes its log: stderr, stdout, or the path of a file.",
	},
	{
		.key = "access_log.format",
		.type = OPT_WORD,
		.offset = MAIN(access_log.format),
		.def = "json",
		.words = formats,
		.flags = OPT_RELOAD,
		.has_effect = has_access_log,
		.help = "The format of the access log.",
	},
	{
		.key = "access_log.to",
		.type = OPT_FILE,
		.offset = MAIN(access_log.to),
		.flags = OPT_RELOAD | OPT_STREAM | OPT_REQUIRED,
		.has_effect = has_access_log,
		.help = "Where lb writes one line for every connection that has ended: stderr, "
			"stdout, or the path of a file.",
	},
	{
		.key = "admin.socket",
		.type = OPT_FILE,
		.offset = MAIN(admin.socket),
		.def = CONF_ADMIN_SOCKET,
		.max = "107", /* bytes of sun_path without the NUL */
		.flags = OPT_OFF,
		.help = "The path of the Unix socket for lbctl, or off for no such socket.",
	},
	{
		.key = "admin.mode",
		.type = OPT_MODE,
		.offset = MAIN(admin.mode),
		.def = "0600",
		.min = "0000",
		.max = "0777",
		.help = "The permission bits of the admin socket.",
	},
	{
		.key = "admin.http",
		.type = OPT_ADDRESS,
		.offset = MAIN(admin.http),
		.flags = OPT_PORT_0,
		.help = "The address on which lb answers GET /healthz, /metrics and /stats.",
	},
	{
		.key = "limits.connections",
		.type = OPT_COUNT,
		.offset = MAIN(max_conns),
		.def = "auto",
		.min = "1",
		.max = "100000000",
		.flags = OPT_AUTO | OPT_RELOAD,
		.help = "The maximum number of client connections at one time; auto is the number "
			"that the limit of open files allows.",
	},
	{
		.key = "limits.per_source",
		.flags = OPT_LATER,
		.help = "The maximum number of connections from one source address.",
	},
	{
		.key = "limits.accept_rate",
		.flags = OPT_LATER,
		.help = "The maximum number of connections that are accepted per second.",
	},
	{
		.key = "trusted_proxies",
		.flags = OPT_LATER,
		.help = "Networks of proxies whose X-Forwarded-For is kept and extended.",
	},
	{
		.key = "pools",
		.type = OPT_CALL,
		.read = pool_opts_read,
		.write = pool_opts_write,
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The list of pools; a pool is a group of backends that do the same work.",
		.item = "name: chat",
	},
	{
		.key = "listeners",
		.type = OPT_CALL,
		.read = listener_opts_read,
		.write = listener_opts_write,
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The list of listeners; a listener accepts connections on its addresses.",
		.item = "name: public",
	},
	{ .key = NULL },
};

const struct opt_table conf_tables[] = {
	{ "", main_opts },
	{ "listeners", listener_opts },
	{ "listeners.routes", route_opts },
	{ "listeners.tls.certificates", certificate_opts },
	{ "pools", pool_opts },
	{ "pools.backends", backend_opts },
	{ .name = NULL },
};
