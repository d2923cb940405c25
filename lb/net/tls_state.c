/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_priv.h"

#define TO(name) (1u << TLS_IS_##name)
#define X(name, next) [TLS_IS_##name] = (next),
static const uint8_t next_states[TLS_N_STATES] = { TLS_STATES(X) };
#undef X
#undef TO

void tls_set_state(struct tls *t, enum tls_state to)
{
	LB_ASSERT(next_states[t->state] & 1u << to);
	t->state = (uint8_t)to;
}

static bool has_shake(const struct tls *t)
{
	return t->state == TLS_IS_SHAKE || t->state == TLS_IS_READY || t->state == TLS_IS_OPENSSL;
}

void tls_shake_free(struct tls *t)
{
	struct tls_shake *s = t->shake;

	LB_ASSERT(has_shake(t) && s != NULL);
	/* Its session stays good: a ticket may be used again. */
	SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(s->ssl);
	tls_watch_end(&s->watch);
	s->ctx = tls_ctx_unref(s->ctx);
	OPENSSL_free(s);
	t->shake = NULL;
}

void tls_break(struct tls *t, const char *why)
{
	LB_ASSERT(why != NULL);
	if (has_shake(t))
		tls_shake_free(t);
	else if (t->state == TLS_IS_HELLO)
		t->ctx = tls_ctx_unref(t->ctx);
	OPENSSL_cleanse(&t->rx, sizeof(t->rx));
	OPENSSL_cleanse(&t->tx, sizeof(t->tx));
	tls_set_state(t, TLS_IS_BROKEN);
	t->why = why;
	t->must_update = t->must_request = t->wants_compact = false;
}

enum tls_verdict tls_ssl_failed(struct tls *t)
{
	LB_ASSERT(has_shake(t));
	const struct tls_shake *s = t->shake;
	unsigned long e = ERR_peek_error();
	long verify = SSL_get_verify_result(s->ssl);
	/* OpenSSL's reason for an alert that has come is the alert's number and an offset. */
	bool is_alert = ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) >= SSL_AD_REASON_OFFSET;
	const char *why = ERR_reason_error_string(e);

	if (is_alert)
		why = tls_alert_name((uint8_t)(ERR_GET_REASON(e) - SSL_AD_REASON_OFFSET));
	else if (ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED && verify != X509_V_OK)
		why = X509_verify_cert_error_string(verify);
	ERR_clear_error();
	tls_break(t, why != NULL ? why : "unknown error");
	return is_alert ? TLS_RESET : TLS_FAILED;
}

bool tls_is_idle_too_long(struct tls *t)
{
	LB_ASSERT(t->n_idle <= TLS_IDLE_RECORDS_MAX);
	return t->n_idle++ == TLS_IDLE_RECORDS_MAX;
}
