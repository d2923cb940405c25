/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Callbacks of OpenSSL's that count and note.
 *
 * The keylog callback runs in TLS 1.3 at the moment when a direction's keys change to those of the
 * secret that it is given, so a count begins there. In TLS 1.2 the keys change behind a
 * ChangeCipherSpec record.
 */
#include "net/tls_watch.h"

#include <errno.h>
#include <string.h>

#define MSG_KEY_UPDATE 24

static struct tls_watch *watch_of(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "LABEL RANDOM SECRET", the latter two in lower-case hexadecimal digits. */
static void on_keylog(const SSL *ssl, const char *line)
{
	struct tls_watch *w = watch_of(ssl);
	bool is_clients = strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0;
	const char *p = strrchr(line, ' ');

	if (w == NULL || p == NULL ||
	    (!is_clients && strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) != 0))
		return;
	bool is_tx = is_clients != (SSL_is_server(ssl) == 1);
	uint8_t *out = is_tx ? w->tx.bytes : w->rx.bytes, n = 0;
	for (p++; n < TLS_SECRET_MAX; n++, p += 2) {
		int high = hex_value(p[0]), low = high < 0 ? -1 : hex_value(p[1]);
		if (low < 0)
			break;
		out[n] = (uint8_t)(high << 4 | low);
	}
	LB_ASSERT(n > 0 && !w->is_established);
	*(is_tx ? &w->tx.n : &w->rx.n) = n;
	*(is_tx ? &w->n_tx : &w->n_rx) = 0;
}

static void on_handshake_message(struct tls_watch *w, const uint8_t *p, int version, bool is_sent)
{
	if (version >= TLS1_3_VERSION && p[0] == MSG_KEY_UPDATE) {
		w->saw_update = true;
		*(is_sent ? &w->n_tx : &w->n_rx) = 0;
		w->n_idle += !is_sent && w->n_idle < UINT8_MAX;
	} else if (version < TLS1_3_VERSION && !is_sent && w->is_established) {
		w->saw_renegotiation = true;
	}
}

static void on_message(int is_sent, int version, int content_type, const void *buf, size_t n,
		       SSL *ssl, void *arg)
{
	struct tls_watch *w = watch_of(ssl);
	const uint8_t *p = buf;

	(void)version;
	(void)arg;
	if (w == NULL || n == 0)
		return;
	if (content_type == SSL3_RT_HEADER) {
		uint64_t *count = is_sent ? &w->n_tx : &w->n_rx;
		*count = p[0] == TLS_TYPE_CCS ? 0 : *count + 1;
	} else if (content_type == SSL3_RT_HANDSHAKE) {
		on_handshake_message(w, p, SSL_version(ssl), is_sent);
	}
}

/* A client was given a session: 1 keeps the reference. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_watch *w = watch_of(ssl);

	if (w == NULL)
		return 0;
	LB_ASSERT(SSL_is_server(ssl) == 0);
	SSL_SESSION_free(w->session);
	w->session = session;
	return 1;
}

void tls_watch_ctx(SSL_CTX *ctx)
{
	SSL_CTX_set_keylog_callback(ctx, on_keylog);
	SSL_CTX_set_msg_callback(ctx, on_message);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
}

int tls_watch_start(struct tls_watch *w, SSL *ssl)
{
	LB_ASSERT(w->session == NULL && w->n_rx == 0 && w->n_tx == 0);
	return SSL_set_app_data(ssl, w) == 1 ? 0 : -ENOMEM;
}

void tls_watch_forget(struct tls_watch *w)
{
	OPENSSL_cleanse(&w->rx, sizeof(w->rx));
	OPENSSL_cleanse(&w->tx, sizeof(w->tx));
}

void tls_watch_end(struct tls_watch *w)
{
	SSL_SESSION_free(w->session);
	OPENSSL_cleanse(w, sizeof(*w));
}
