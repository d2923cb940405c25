/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of words of other load balancers, and how it is searched.
 *
 * A row has a kind (a key, a value, a unit), the place where its words are found, the words, and
 * what lb has for them: `ours`, a key or a value of lb, and `advice`, text for a message. Words
 * are those of HAProxy, nginx, Envoy, Traefik, Caddy and others.
 *
 * synonym_find() compares the words of all rows of the kind and place one by one. That is slow, but
 * is done only for a word that is a mistake. synonym_hint() makes the end of a message from the
 * row.
 *
 * In the table words are in lower case and have "_" for "-"; plain() does the same to a letter of
 * the word that is looked up. A test compares `where` and `ours` with the tables of options, so
 * that no row can name a key or a value that does not exist.
 *
 * When lb has the key at another place, the message gives the whole place, as "pools.health" for a
 * key "check" of a backend. When lb has the key in the same map, the message gives its name alone
 * (name_below()). When lb has no such key or value, `ours` is NULL, and the advice says what to do
 * instead.
 */
#include "conf/synonym.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/assert.h"

#define KEY(at, given, lbs, help) \
	{ \
		.kind = SYNONYM_KEY, .where = (at), .words = (given), .ours = (lbs), \
		.advice = (help) \
	}
#define VALUE(at, given, lbs, help) \
	{ \
		.kind = SYNONYM_VALUE, .where = (at), .words = (given), .ours = (lbs), \
		.advice = (help) \
	}
#define UNIT(at, given, lbs) \
	{ \
		.kind = SYNONYM_UNIT, .where = (at), .words = (given), .ours = (lbs) \
	}

#define STICKY "for stickiness write \"balance: hash\" and \"hash: {key: cookie:NAME}\""
#define CERTIFICATES "as in {certificates: [{cert: FILE, key: FILE}]}"

/* clang-format off */
const struct synonym synonyms[] = {
	/* ---- keys at the top ---- */
	KEY("", "frontend frontends server listen listener entrypoint entrypoints bind ports", "listeners", NULL),
	KEY("", "backend backends upstream upstreams cluster clusters services pool servers loadbalancer", "pools", NULL),
	KEY("", "routes routers rules location locations virtual_hosts", "listeners.routes", NULL),
	KEY("", "http stream tcp static_resources providers events apps", NULL, "listeners and pools stand at the top of the file"),
	KEY("", "global defaults default main settings config", NULL, "its keys stand at the top of the file, and each has a default"),
	KEY("", "nbthread nbproc threads nthreads worker_processes concurrency processes", "workers", NULL),
	KEY("", "maxconn maxconnections max_connections worker_connections max_conns connections", "limits.connections", NULL),
	KEY("", "rlimit_nofile ulimit_n worker_rlimit_nofile maxsock", NULL, "lb raises the limit of open files by itself, see lb doctor"),
	KEY("", "log_level loglevel", "log.level", NULL),
	KEY("", "error_log logging logs", "log", NULL),
	KEY("", "accesslog access_logs", "access_log", NULL),
	KEY("", "stats metrics prometheus api dashboard", "admin.http", NULL),
	KEY("", "socket stats_socket", "admin.socket", NULL),
	KEY("", "group", NULL, "lb takes the groups of \"user\""),
	KEY("", "uid username", "user", NULL),
	KEY("", "daemon pid pidfile", NULL, "lb runs in the foreground, under systemd or another supervisor"),
	KEY("", "include includes", NULL, "there is one file, without includes"),
	KEY("", "version", NULL, "the file has no version"),
	KEY("", "shutdown_timeout grace hard_stop_after drain_timeout graceful_timeout", "stop_timeout", NULL),
	KEY("", "certificates ssl certresolvers", "listeners.tls", CERTIFICATES),
	KEY("", "resolvers resolver dns", NULL, "names are not resolved yet: backends are numeric addresses"),

	/* ---- keys of listeners ---- */
	KEY("listeners", "listen address addresses addr port ports socket_address host ip", "listeners.bind", NULL),
	KEY("listeners", "default_backend backend upstream cluster service proxy_pass reverse_proxy use_backend target backends pools", "listeners.pool", NULL),
	KEY("listeners", "location locations rules rule paths acl acls virtual_hosts routers route filters", "listeners.routes", NULL),
	KEY("listeners", "protocol type proto", "listeners.mode", NULL),
	KEY("listeners", "ssl https certificates certificate cert crt ssl_certificate", "listeners.tls", CERTIFICATES),
	KEY("listeners", "accept_proxy proxyprotocol", "listeners.proxy_protocol", "as in {from: [10.0.0.0/8]}"),
	KEY("listeners", "send_proxy send_proxy_v2", NULL, "\"proxy_protocol\" is a key of pools, too"),
	KEY("listeners", "server_name hostname hosts domain domains path websocket header", "listeners.routes", "which has the conditions"),
	KEY("listeners", "maxconn max_connections limits", "limits.connections", NULL),
	KEY("listeners", "timeout_client client_timeout timeout_http_request client_header_timeout handshake_timeout", "listeners.timeouts.handshake", NULL),
	KEY("listeners", "id", "listeners.name", NULL),
	KEY("listeners", "balance health", NULL, "it is a key of pools"),

	KEY("listeners.timeouts", "client http_request header head request client_header read", "listeners.timeouts.handshake", NULL),

	/* ---- keys of TLS ---- */
	KEY("listeners.tls", "cert crt certificate ssl_certificate key certs keys pem cert_file key_file certificate_file", "listeners.tls.certificates", "as in [{cert: FILE, key: FILE}]"),
	KEY("listeners.tls", "protocols ssl_protocols ssl_min_ver min_protocol minimum_version tls_min_version version versions", "listeners.tls.min_version", NULL),
	KEY("listeners.tls", "max_version maximum_version ssl_max_ver", NULL, "the newest version is always allowed; \"min_version\" is the oldest"),
	KEY("listeners.tls", "curves curve ecdh_curve ssl_ecdh_curve curve_preferences", "listeners.tls.groups", NULL),
	KEY("listeners.tls", "cipher cipher_suites ssl_ciphers", "listeners.tls.ciphers", "of TLS 1.2; \"ciphersuites\" are those of TLS 1.3"),
	KEY("listeners.tls", "ticket session_tickets ticket_keys tls_ticket_keys ssl_session_ticket_key session_ticket_keys", "listeners.tls.tickets", NULL),
	KEY("listeners.tls", "verify ca ca_file client_ca client_auth clientauth ssl_client_certificate crl mtls", "listeners.tls.client", "as in {ca: FILE, verify: required}"),
	KEY("listeners.tls", "sni sni_strict snistrict", "listeners.tls.strict_sni", NULL),
	KEY("listeners.tls", "alpn_protocols protos", "listeners.tls.alpn", NULL),
	KEY("listeners.tls.certificates", "certificate crt pem fullchain chain cert_file certfile certificate_chain", "listeners.tls.certificates.cert", NULL),
	KEY("listeners.tls.certificates", "private_key key_file keyfile certificate_key", "listeners.tls.certificates.key", NULL),
	KEY("listeners.tls.certificates", "name names domain host server_name sni", NULL, "the names are read from the certificate"),
	KEY("listeners.tls.client", "ca_file cafile ca_certificate certificate trusted_ca", "listeners.tls.client.ca", NULL),
	KEY("listeners.tls.client", "crl_file crlfile", "listeners.tls.client.crl", NULL),
	KEY("listeners.tls.client", "mode auth type", "listeners.tls.client.verify", NULL),
	KEY("listeners.tls.tickets", "keys key key_file path", "listeners.tls.tickets.file", NULL),
	KEY("listeners.tls.tickets", "interval every rotation lifetime", "listeners.tls.tickets.rotate", NULL),

	/* ---- keys of routes ---- */
	KEY("listeners.routes", "hostname hostnames hosts server_name domain domains authority", "listeners.routes.host", NULL),
	KEY("listeners.routes", "prefix path_prefix pathprefix path_beg location url uri paths", "listeners.routes.path", "where /ws/* is a prefix"),
	KEY("listeners.routes", "regex path_regex path_reg regexp", NULL, "there are no regular expressions; \"path\" takes /ws or /ws/*"),
	KEY("listeners.routes", "backend use_backend upstream cluster service proxy_pass reverse_proxy target to", "listeners.routes.pool", NULL),
	KEY("listeners.routes", "ws upgrade is_websocket", "listeners.routes.websocket", NULL),
	KEY("listeners.routes", "hdr", "listeners.routes.header", NULL),
	KEY("listeners.routes", "match if conditions condition when matches rule", NULL, "the conditions are keys of the route: host, path, websocket, header"),
	KEY("listeners.routes", "redirect respond return rewrite strip_prefix", NULL, "a route can only lead to a pool yet"),
	KEY("listeners.routes", "priority weight", NULL, "the first route that matches wins"),

	/* ---- keys of pools ---- */
	KEY("pools", "servers server targets target members endpoints nodes upstreams hosts addresses instances load_assignment to", "pools.backends", NULL),
	KEY("pools", "algorithm policy lb_policy lb lb_method load_balancing load_balancer loadbalancer strategy scheduler", "pools.balance", NULL),
	KEY("pools", "check checks healthcheck health_check health_checks healthchecks httpchk option_httpchk probe health_uri", "pools.health", NULL),
	KEY("pools", "sticky sticky_session sticky_sessions stickiness session_affinity affinity persistence cookie stick_table stick_on ip_hash sticky_cookie", NULL, STICKY),
	KEY("pools", "hash_key hash_on hash_policy consistent_hash url_param", "pools.hash.key", "with \"balance: hash\""),
	KEY("pools", "hash_type", NULL, "\"balance: hash\" is always consistent"),
	KEY("pools", "timeout_connect connect_timeout proxy_connect_timeout dial_timeout", "pools.timeouts.connect", NULL),
	KEY("pools", "timeout_tunnel idle_timeout proxy_read_timeout stream_idle_timeout tunnel_timeout", "pools.timeouts.idle", NULL),
	KEY("pools", "timeout_server server_timeout response_timeout", "pools.timeouts.response", NULL),
	KEY("pools", "maxconn max_conns max_connections weight", NULL, "a backend has it, as in {address: 10.0.0.1:9000, weight: 2, max_connections: 20000}"),
	KEY("pools", "max_retries retry proxy_next_upstream_tries lb_retries", "pools.retries", NULL),
	KEY("pools", "bind_address proxy_bind source_address local_address", "pools.source", NULL),
	KEY("pools", "max_fails", "pools.health.fall", NULL),
	KEY("pools", "buffer_size proxy_buffer_size bufsize", "pools.relay.buffer", NULL),
	KEY("pools", "ssl tls https", NULL, "TLS to the backends is not supported yet"),
	KEY("pools", "keepalive keep_alive", NULL, "connections to backends are not reused yet"),
	KEY("pools", "mode protocol type", NULL, "\"mode\" is a key of listeners, and a check's kind is \"health.type\""),
	KEY("pools", "id", "pools.name", NULL),
	KEY("pools", "address port", "pools.backends", NULL),

	KEY("pools.hash", "on by header cookie source type", "pools.hash.key", "as in {key: cookie:NAME}"),
	KEY("pools.hash", "balance_factor hash_balance_factor factor bounded", "pools.hash.load_factor", NULL),

	KEY("pools.health", "uri url endpoint http_path", "pools.health.path", NULL),
	KEY("pools.health", "inter period every", "pools.health.interval", NULL),
	KEY("pools.health", "protocol kind mode proto", "pools.health.type", NULL),
	KEY("pools.health", "hostname authority", "pools.health.host", NULL),
	KEY("pools.health", "expect expect_status expected_status expected_statuses codes expected_codes", "pools.health.status", NULL),
	KEY("pools.health", "healthy_threshold passes success_threshold rises", "pools.health.rise", NULL),
	KEY("pools.health", "unhealthy_threshold fails failure_threshold max_fails falls retries", "pools.health.fall", NULL),
	KEY("pools.health", "port", NULL, "a check goes to the backend's own port"),
	KEY("pools.health", "method headers body", NULL, "a check is a GET without fields of its own"),
	KEY("pools.health", "enabled", NULL, "without \"health\" there are no checks"),

	KEY("pools.timeouts", "tunnel client_idle stream", "pools.timeouts.idle", NULL),
	KEY("pools.timeouts", "server read request header", "pools.timeouts.response", NULL),
	KEY("pools.timeouts", "dial", "pools.timeouts.connect", NULL),
	KEY("pools.timeouts", "client_fin server_fin fin", "pools.timeouts.half_closed", NULL),
	KEY("pools.timeouts", "tcp_user_timeout tcp_ut", "pools.timeouts.user", NULL),
	KEY("pools.timeouts", "client http_request", "listeners.timeouts.handshake", NULL),
	KEY("pools.timeouts", "check", "pools.health.timeout", NULL),
	KEY("pools.timeouts", "queue", NULL, "there is no queue yet: where all backends are full a request gets 503"),

	/* ---- keys of backends ---- */
	KEY("pools.backends", "port", NULL, "the port is part of \"address\", as in 10.0.0.1:9000"),
	KEY("pools.backends", "addr host hostname server url uri ip target endpoint dial bind", "pools.backends.address", "as in 10.0.0.1:9000"),
	KEY("pools.backends", "maxconn max_conns", "pools.backends.max_connections", NULL),
	KEY("pools.backends", "check health inter rise fall max_fails fail_timeout", "pools.health", "for all backends of a pool"),
	KEY("pools.backends", "id", "pools.backends.name", NULL),
	KEY("pools.backends", "down disabled enabled", NULL, "a backend with \"weight: 0\" takes no new connection, and lbctl has drain and maint"),
	KEY("pools.backends", "ssl tls", NULL, "TLS to the backends is not supported yet"),
	KEY("pools.backends", "cookie", NULL, STICKY),

	/* ---- other maps ---- */
	KEY("log", "file path output target destination", "log.to", NULL),
	KEY("log", "severity verbosity", "log.level", NULL),
	KEY("access_log", "file path output target destination", "access_log.to", NULL),
	KEY("admin", "listen bind address metrics stats port", "admin.http", NULL),
	KEY("admin", "path file unix", "admin.socket", NULL),
	KEY("limits", "maxconn max_connections max_conns", "limits.connections", NULL),

	KEY(NULL, "<<", NULL, "merge keys are not supported: write the keys out"),

	/* ---- values ---- */
	VALUE("balance", "leastconn least_conn least_connection leastconnections least_request least_requests lc wlc fewest", "least_connections", NULL),
	VALUE("balance", "roundrobin rr wrr static_rr weighted_round_robin weighted_roundrobin round", "round_robin", NULL),
	VALUE("balance", "p2c power_of_two_choices two_random_choices rand random_two", "random", NULL),
	VALUE("balance", "ip_hash iphash source source_ip ip src client_ip_hash", "hash", "with \"hash: {key: source}\", the default"),
	VALUE("balance", "uri uri_hash url path", "hash", "with \"hash: {key: path}\""),
	VALUE("balance", "url_param query", "hash", "with \"hash: {key: query:NAME}\""),
	VALUE("balance", "hdr header", "hash", "with \"hash: {key: header:NAME}\""),
	VALUE("balance", "sticky sticky_session sticky_sessions cookie", "hash", "with \"hash: {key: cookie:NAME}\""),
	VALUE("balance", "consistent consistent_hash consistent_hashing ring_hash maglev hash_ring chash rendezvous", "hash", "which is consistent"),
	VALUE("balance", "failover priority ordered backup", "first", NULL),

	VALUE("mode", "https tls ssl wss", "http", "with \"tls\" beside it for TLS"),
	VALUE("mode", "ws websocket websockets http1 http/1.1 h1", "http", "which relays WebSockets"),
	VALUE("mode", "http2 h2 h2c grpc http3 h3 quic", NULL, "http is HTTP/1.1 here; tcp relays the bytes of any protocol"),
	VALUE("mode", "udp", NULL, "UDP is not supported"),
	VALUE("mode", "stream l4 raw layer4", "tcp", NULL),
	VALUE("mode", "l7 layer7", "http", NULL),

	VALUE("tls.min_version", "tlsv1.2 tls1.2 tls_1.2 tlsv1_2 tls12", "1.2", NULL),
	VALUE("tls.min_version", "tlsv1.3 tls1.3 tls_1.3 tlsv1_3 tls13", "1.3", NULL),
	VALUE("tls.min_version", "1.0 1.1 tlsv1 tlsv1.0 tlsv1.1 tls10 tls11 sslv3", NULL, "older versions of TLS are not supported"),
	VALUE("tls.records", "ktls kernel", NULL, "lb does not use TLS of the kernel"),
	VALUE("tls.client.verify", "require on true yes require_and_verify verify_peer", "required", NULL),
	VALUE("tls.client.verify", "request if_given verify_if_given", "optional", NULL),
	VALUE("tls.client.verify", "off false no none", NULL, "leave \"client\" out for none"),
	VALUE("tls.strict_sni", "yes on 1 y", "true", NULL),
	VALUE("tls.strict_sni", "no off 0 n", "false", NULL),

	VALUE("health.type", "ws wss", "websocket", NULL),
	VALUE("health.type", "httpchk http_get get", "http", NULL),
	VALUE("health.type", "https ssl tls grpc", NULL, "checks over TLS are not supported yet"),
	VALUE("health.type", "l4 connect tcp_connect", "tcp", NULL),
	VALUE("health.type", "none off false no disabled", NULL, "without \"health\" there are no checks"),

	VALUE("hash.key", "ip client_ip remote_addr src source_ip client_addr", "source", NULL),
	VALUE("hash.key", "uri url request_uri", "path", NULL),
	VALUE("hash.key", "header hdr", "header:NAME", NULL),
	VALUE("hash.key", "cookie", "cookie:NAME", NULL),
	VALUE("hash.key", "query url_param arg param", "query:NAME", NULL),
	VALUE("hash.key", "authority hostname", "host", NULL),

	VALUE("log.level", "error crit critical fatal emerg alert", "err", NULL),
	VALUE("log.level", "warning", "warn", NULL),
	VALUE("log.level", "trace verbose all", "debug", NULL),
	VALUE("log.level", "information", "info", NULL),
	VALUE("log.format", "plain txt logfmt", "text", NULL),
	VALUE("access_log.format", "plain txt logfmt common combined", "text", NULL),

	VALUE("engine", "uring iouring", "io_uring", NULL),
	VALUE("engine", "kqueue poll select", NULL, "lb runs on Linux"),

	VALUE("relay.splice", "on true yes", "always", "or auto, where it is cheaper"),
	VALUE("relay.splice", "off false no", "never", NULL),

	VALUE("websocket", "yes on 1 y", "true", NULL),
	VALUE("websocket", "no off 0 n", "false", NULL),

	/* ---- units ---- */
	UNIT("duration", "ms msec msecs milli millis millisecond milliseconds", "1 ms"),
	UNIT("duration", "s sec secs second seconds", "1 s"),
	UNIT("duration", "m min mins minute minutes", "1 m"),
	UNIT("duration", "h hr hrs hour hours", "1 h"),
	UNIT("duration", "d day days", "1 d"),
	UNIT("duration", "w week weeks", "7 d"),
	UNIT("size", "b byte bytes", "1 "),
	UNIT("size", "k kb kib kbyte kbytes", "1 KiB"),
	UNIT("size", "m mb mib mbyte mbytes", "1 MiB"),
	UNIT("size", "g gb gib", "1024 MiB"),
};
/* clang-format on */

const size_t n_synonyms = ARRAY_SIZE(synonyms);

/* A character as the table writes it: a letter in lower case, and "_" for "-". */
static char plain(char c)
{
	if (c == '-')
		return '_';
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_word(struct slice word, const char *p, size_t n)
{
	if (word.n != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (plain(word.p[i]) != p[i])
			return false;
	}
	return true;
}

/* Whether the word is one of `words`, which are separated by spaces. */
static bool is_among(struct slice word, const char *words)
{
	for (const char *p = words; *p != '\0';) {
		size_t n = strcspn(p, " ");
		if (is_word(word, p, n))
			return true;
		p += n + (p[n] == ' ' ? 1 : 0);
	}
	return false;
}

/* Whether a row is for words at the place `where`. */
static bool is_there(const struct synonym *s, const char *where)
{
	return s->where == NULL || strcmp(s->where, where) == 0;
}

/* Cuts "hdr(host)" of HAProxy and "Host(...)" of Traefik to "hdr" and "Host". */
static struct slice without_arguments(struct slice word)
{
	const char *open = word.n == 0 ? NULL : memchr(word.p, '(', word.n);

	if (open == NULL || word.p[word.n - 1] != ')')
		return word;
	return (struct slice){ .p = word.p, .n = (size_t)(open - word.p) };
}

const struct synonym *synonym_find(enum synonym_kind kind, const char *where, struct slice word)
{
	if (kind == SYNONYM_VALUE)
		word = without_arguments(word);
	for (size_t i = 0; i < n_synonyms; i++) {
		const struct synonym *s = &synonyms[i];
		if (s->kind == kind && is_there(s, where) && is_among(word, s->words))
			return s;
	}
	return NULL;
}

/* Cuts `where` off the front of `ours`, the place of a key, when the key is below `where`. */
static const char *name_below(const char *where, const char *ours)
{
	size_t n = strlen(where);

	if (n != 0 && strncmp(ours, where, n) == 0 && ours[n] == '.')
		return ours + n + 1;
	return ours;
}

const char *synonym_hint(enum synonym_kind kind, const char *where, struct slice word,
			 char out[SYNONYM_TEXT_MAX])
{
	const struct synonym *s = synonym_find(kind, where, word);

	LB_ASSERT(kind != SYNONYM_UNIT);
	LB_ASSERT(s == NULL || s->ours != NULL || s->advice != NULL);
	out[0] = '\0';
	if (s == NULL)
		return out;
	if (s->ours == NULL)
		(void)snprintf(out, SYNONYM_TEXT_MAX, "; %s", s->advice);
	else
		(void)snprintf(out, SYNONYM_TEXT_MAX, "; in lb it is \"%s\"%s%s",
			       kind == SYNONYM_KEY ? name_below(where, s->ours) : s->ours,
			       s->advice != NULL ? ", " : "", s->advice != NULL ? s->advice : "");
	return out;
}
