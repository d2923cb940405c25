/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a connection is: which peers tell it by a PROXY header, and the header for a backend.
 *
 * Both addresses of a header that lb writes are from one place: from the PROXY header that the
 * client's connection began with, or from its socket. TLVs of that header are not passed on,
 * because lb does not know what they say of a connection to lb.
 *
 * Thread: owner worker.
 */
#include "proxy/origin.h"

#include "conf/conf.h"
#include "proto/proxy_header.h"
#include "proxy/exchange.h"
#include "proxy/head.h"
#include "proxy/session.h"
#include "proxy/tls_note.h"
#include "proxy/worker.h"

#define ID_DIGITS 20 /* of UINT64_MAX */

bool origin_is_announced(const struct conf_listener *l, const struct addr *peer)
{
	for (size_t i = 0; i < l->proxy.n_from; i++)
		if (cidr_contains(&l->proxy.from[i], peer))
			return true;
	return false;
}

/* The address that the client has connected to. Family 0: it is not known, because the client has
 * reset the connection. */
static struct addr destination(const struct session *s)
{
	struct sockaddr_storage sa;
	struct addr a = { 0 };

	if (s->x->proxy.src.family != 0)
		return s->x->proxy.dst;
	if (loop_sockname(s->worker->loop, s->conn[CLIENT]->fd, &sa) == 0)
		addr_from_sockaddr((struct sockaddr *)&sa, &a);
	return a;
}

/* Writes the id in decimal digits, as logs have it. */
static struct slice id_text(uint64_t id, char out[static ID_DIGITS])
{
	size_t at = ID_DIGITS;

	do {
		out[--at] = (char)('0' + id % 10);
		id /= 10;
	} while (id > 0);
	return (struct slice){ .p = out + at, .n = ID_DIGITS - at };
}

static struct proxy_ssl ssl_of(const struct tls_note *n)
{
	uint8_t client = PROXY_CLIENT_SSL;

	if (n->has_cert)
		client |= PROXY_CLIENT_CERT_SESS;
	if (n->has_cert && !n->is_resumed)
		client |= PROXY_CLIENT_CERT_CONN;
	return (struct proxy_ssl){
		.client = client,
		/* A certificate that is not valid has ended the handshake. PP, 2.2.6: without one
		 * the field is not zero. */
		.verify = n->has_cert ? 0 : 1,
		.version = slice_of(n->version),
		.cipher = slice_of(n->cipher),
	};
}

static size_t write_v2(const struct session *s, const struct addr *dst,
		       uint8_t out[PROXY_V2_WRITE_MAX])
{
	char id[ID_DIGITS];
	struct proxy_ssl ssl;
	struct proxy_info info = { .unique_id = id_text(s->id, id) };

	if (dst->family == s->client.family) {
		info.src = s->client;
		info.dst = *dst;
	}
	if (s->tls != NULL) {
		ssl = ssl_of(s->tls);
		info.ssl = &ssl;
		info.alpn = s->tls->alpn;
		info.authority = slice_of(s->tls->sni);
	}
	return proxy_v2_write(&info, out);
}

static size_t write_v1(const struct session *s, const struct addr *dst, uint8_t out[PROXY_V1_MAX])
{
	static const struct addr none = { 0 };
	bool is_known = dst->family == s->client.family;

	return proxy_v1_write(is_known ? &s->client : &none, is_known ? dst : &none, out);
}

struct buf *origin_header(const struct session *s)
{
	enum conf_proxy version = s->x->conf->proxy_protocol;
	struct buf *b = head_new(s->worker->loop->bufs, PROXY_V2_WRITE_MAX);
	struct addr dst = destination(s);

	_Static_assert(PROXY_V2_WRITE_MAX >= PROXY_V1_MAX, "the buffer does for both");
	LB_ASSERT(version == CONF_PROXY_V1 || version == CONF_PROXY_V2);
	if (b == NULL)
		return NULL;
	b->len = (uint32_t)(version == CONF_PROXY_V1 ? write_v1(s, &dst, b->data)
						     : write_v2(s, &dst, b->data));
	return b;
}
