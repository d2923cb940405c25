/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Conf: the configuration, lb.yaml, read, checked and frozen.
 *
 * A struct conf is not changed after conf_load() has returned it. Its references are counted; all
 * threads share it, and the last reference frees it. Run-time objects (backends, pools, listeners)
 * copy what they need, or hold a reference for as long as they point into the configuration.
 *
 * Thread: load on main; read on any.
 *
 * Layer: conf.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"
#include "util/ref.h"
#include "util/sockaddr.h"

struct text;

/* The default of admin.socket. lb makes the folder of this path when it is missing. */
#define CONF_ADMIN_SOCKET "/run/lb/admin.sock"

/* A timeout that never fires (`off`). */
#define CONF_OFF UINT32_MAX

enum conf_engine { CONF_ENGINE_AUTO, CONF_ENGINE_URING, CONF_ENGINE_EPOLL };
enum conf_log_format { CONF_LOG_TEXT, CONF_LOG_JSON };
enum conf_mode { CONF_MODE_HTTP, CONF_MODE_TCP };
enum conf_balance {
	CONF_BALANCE_LEAST,
	CONF_BALANCE_ROUND_ROBIN,
	CONF_BALANCE_RANDOM,
	CONF_BALANCE_HASH,
	CONF_BALANCE_FIRST,
};
enum conf_hash_key {
	CONF_HASH_SOURCE,
	CONF_HASH_HEADER,
	CONF_HASH_COOKIE,
	CONF_HASH_QUERY,
	CONF_HASH_PATH,
	CONF_HASH_HOST,
};
enum conf_check { CONF_CHECK_NONE, CONF_CHECK_TCP, CONF_CHECK_HTTP, CONF_CHECK_WEBSOCKET };
enum conf_splice { CONF_SPLICE_AUTO, CONF_SPLICE_ALWAYS, CONF_SPLICE_NEVER };
enum conf_underscores { CONF_UNDERSCORES_DROP, CONF_UNDERSCORES_PASS, CONF_UNDERSCORES_REFUSE };
enum conf_dots { CONF_DOTS_AUTO, CONF_DOTS_REFUSE, CONF_DOTS_NORMALISE, CONF_DOTS_PASS };
enum conf_targets { CONF_TARGETS_STRICT, CONF_TARGETS_RELAXED };
enum conf_tristate { CONF_ANY, CONF_NO, CONF_YES };
enum conf_records { CONF_RECORDS_OPENSSL, CONF_RECORDS_COMPACT };
enum conf_tls_version { CONF_TLS_1_2, CONF_TLS_1_3 };
enum conf_verify { CONF_VERIFY_NONE, CONF_VERIFY_OPTIONAL, CONF_VERIFY_REQUIRED };
/* Of a PROXY header: which one lb sends, or which ones it accepts. */
enum conf_proxy { CONF_PROXY_OFF, CONF_PROXY_V1, CONF_PROXY_V2, CONF_PROXY_ANY };

/* Where log lines go. */
struct conf_log {
	bool is_on; /* false: the file has no `access_log` */
	int level;  /* enum log_level (util/log.h) */
	enum conf_log_format format;
	char *to; /* owns: "stderr", "stdout" or an absolute path */
	struct mark at;
};

struct conf_backend {
	char *name; /* owns: unique in the pool; when the file gives no name: `addr` as text */
	struct addr addr;
	uint32_t weight;    /* 0 to 256 */
	uint32_t max_conns; /* 0: no limit */
	struct mark at;
};

struct conf_hash {
	enum conf_hash_key key;
	char *name;            /* owns: of the header, cookie or query parameter; else NULL */
	uint32_t load_percent; /* hash.load_factor * 100; 0: off */
};

struct conf_health {
	enum conf_check type;            /* CONF_CHECK_NONE: backends are always up */
	char *path;                      /* owns: "/" by default */
	char *host;                      /* owns: for the Host field; NULL: the backend's address */
	uint16_t status_min, status_max; /* 200 to 399 by default; a single status is min == max */
	uint32_t interval_ms, timeout_ms, rise, fall;
};

struct conf_pool {
	char *name; /* owns */
	enum conf_balance balance;
	struct conf_hash hash;
	size_t n_backends;
	struct conf_backend *backends; /* owns */
	size_t n_sources;
	struct addr *sources;    /* owns: addresses to connect from, with port 0 */
	struct mark *sources_at; /* owns: the mark of each source */
	struct conf_health health;
	enum conf_proxy proxy_protocol; /* what is sent first to a backend; not CONF_PROXY_ANY */
	uint32_t retries;
	uint32_t connect_ms, upgrade_ms, response_ms, body_ms;
	uint32_t idle_ms; /* CONF_OFF (the default): never */
	uint32_t half_closed_ms;
	uint32_t user_ms; /* TCP_USER_TIMEOUT; CONF_OFF: not set */
	enum conf_splice splice;
	uint32_t buffer_bytes; /* limit for each direction of a session */
	struct mark at;
};

struct conf_header_cond {
	char *name;  /* owns */
	char *value; /* owns */
};

struct conf_route {
	char *name; /* owns: when the file gives no name: the route's number, from 1 */
	char *host; /* owns: in lower case; NULL: any host; for "*.x" it is ".x" */
	bool host_is_suffix;
	char *path; /* owns: NULL: any path; a prefix is kept without its star */
	bool path_is_prefix;
	enum conf_tristate websocket;
	size_t n_headers;
	struct conf_header_cond *headers; /* owns */
	size_t pool;                      /* index into conf.pools */
	struct mark at;
};

/* A certificate with its chain, and its key: two files. */
struct conf_certificate {
	char *cert, *key; /* own: absolute paths */
	struct mark cert_at, key_at;
};

/* What a listener does with TLS. Without is_on everything else is unset or a default. */
struct conf_tls {
	bool is_on;
	size_t n_certificates;
	struct conf_certificate *certificates; /* owns; at least one */
	enum conf_records records;
	struct mark records_at;
	enum conf_tls_version min_version;
	char *groups, *ciphers, *ciphersuites; /* own, in OpenSSL's words; NULL: lb's own */
	struct mark groups_at, ciphers_at, ciphersuites_at;
	size_t n_alpn;
	char **alpn; /* owns, in the order of preference */
	uint32_t max_handshakes;
	enum conf_tristate strict_sni; /* CONF_NO or CONF_YES */
	struct {
		enum conf_verify verify; /* frozen: CONF_VERIFY_NONE without a CA */
		char *ca, *crl;          /* own: absolute paths, or NULL */
		struct mark ca_at, crl_at;
	} client;
	struct {
		uint32_t rotate_ms;
		char *file; /* owns: an absolute path; NULL: keys are made and rotated by lb */
		struct mark file_at;
	} tickets;
	struct mark at;
};

struct conf_bind {
	struct addr addr;
	char *text; /* owns: as addr_format() writes it */
	struct mark at;
};

#define CONF_NO_POOL SIZE_MAX

struct conf_listener {
	char *name; /* owns */
	enum conf_mode mode;
	size_t n_binds;
	struct conf_bind *binds; /* owns; at least one */
	size_t pool;             /* index into conf.pools, or CONF_NO_POOL */
	size_t n_routes;
	struct conf_route *routes; /* owns */
	uint32_t handshake_ms;
	struct {
		/* what to do with fields whose names have underscores */
		enum conf_underscores underscores;
		/* what to do with dot segments in paths; never AUTO after conf_load() */
		enum conf_dots dots;
		enum conf_targets targets;
	} http;
	struct {
		size_t n_from;
		struct cidr *from; /* owns: peers whose connections begin with a PROXY header */
		enum conf_proxy version; /* not CONF_PROXY_OFF; without effect where n_from is 0 */
	} proxy;
	struct conf_tls tls;
	struct mark at;
};

struct conf {
	/* private to conf.c */
	struct ref refs;

	char *file;       /* owns: the path that conf_load() got; marks borrow it */
	char *dir;        /* owns: the file's folder, an absolute path; relative paths start here */
	uint32_t workers; /* 0: auto */
	enum conf_engine engine;
	char *user; /* owns; NULL: the file has no `user` */
	struct mark user_at;
	uint32_t stop_timeout_ms, stop_delay_ms;
	struct conf_log log;
	struct conf_log access_log;
	struct {
		char *socket; /* owns: an absolute path; NULL is none */
		struct mark socket_at;
		uint32_t mode; /* permission bits of the socket */
		bool has_http;
		struct addr http;
		char *http_text; /* owns */
		struct mark at;  /* where the file has `http` */
	} admin;
	uint64_t max_conns; /* limits.connections; 0: auto */
	size_t n_listeners;
	struct conf_listener *listeners; /* owns */
	size_t n_pools;
	struct conf_pool *pools; /* owns */
	/* owns the array: n_pools pointers, sorted by the pools' names */
	const struct conf_pool **pools_by_name;
};

/*
 * conf_load() - read, check and freeze one file
 *
 * Adds every mistake of the file to `e`, in the order of their places. When the file has no
 * mistake, its warnings are added to `e`. Returns 0 and sets *ret to a configuration with one
 * reference, or returns a negative errno and leaves *ret alone: -EINVAL for mistakes in the file,
 * else the reason why the file could not be read, which is in `e`, too.
 */
int conf_load(const char *path, struct err *e, struct conf **ret) LB_MUST_CHECK;

/* Takes one more reference, and returns `c`. Thread: any. */
struct conf *conf_ref(struct conf *c);

/* Drops a reference; the last one frees `c`. NULL is fine. Returns NULL. Thread: any. */
struct conf *conf_unref(struct conf *c);

/*
 * conf_restart_keys() - the changed keys that a reload does not apply
 *
 * Sets ret[] to those of "workers", "engine", "user" and "admin" that differ between the two
 * configurations, and returns the number of these keys. The strings are constant.
 */
size_t conf_restart_keys(const struct conf *old, const struct conf *new, const char *ret[4]);

/* The pool of this name, which belongs to `c`, or NULL. */
const struct conf_pool *conf_find_pool(const struct conf *c, const char *name);

/* How many addresses all listeners bind together. */
size_t conf_n_binds(const struct conf *c);

/*
 * conf_print() - write a configuration as YAML, with all of its values
 *
 * Adds a text to `out` from which conf_load() reads the same configuration. Returns 0 or -ENOMEM.
 */
int conf_print(const struct conf *c, struct text *out) LB_MUST_CHECK;

/* Whether a listener has TLS. */
bool conf_has_tls(const struct conf *c);

/*
 * The word that stands for an enum's value in the file: "least_connections", "hash", "websocket", …
 */
const char *conf_balance_name(enum conf_balance b);
const char *conf_check_name(enum conf_check c);
const char *conf_mode_name(enum conf_mode m);
