/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A note is one allocation: the struct, and behind it the texts that it points to.
 *
 * The names in a certificate are whatever its authority has signed, so in field lines each byte but
 * letters, digits and a few marks is percent-encoded (RFC 3986, 2.1). A comma is encoded, too: no
 * receiver takes one value for two.
 *
 * Thread: owner worker.
 */
#include "proxy/tls_note.h"

#include <stdlib.h>
#include <string.h>

#include "net/tls_info.h"
#include "util/assert.h"
#include "util/text.h"

/* A longer text of a certificate is left out: a request's head has to fit into one buffer. */
#define VALUE_MAX 1024u

static bool is_plain(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       strchr("-._~=/:@ ", c) != NULL;
}

static void add_field(struct text *to, const char *name, const char *value)
{
	if (strlen(value) > VALUE_MAX)
		return;
	text_addf(to, "X-Client-Cert-%s: ", name);
	for (const char *p = value; *p != '\0'; p++)
		if (is_plain((unsigned char)*p))
			text_addf(to, "%c", *p);
		else
			text_addf(to, "%%%02X", (unsigned char)*p);
	text_addf(to, "\r\n");
}

static void add_fields(struct text *to, const struct tls_peer *p)
{
	if (p->subject == NULL) {
		add_field(to, "Verify", "NONE");
		return;
	}
	add_field(to, "Verify", "SUCCESS");
	add_field(to, "Subject", p->subject);
	add_field(to, "Issuer", p->issuer);
	add_field(to, "Serial", p->serial);
	add_field(to, "Sha256", p->sha256);
}

/* Copies `n` bytes to *at, with a NUL behind them, and moves *at behind that. */
static const char *keep(char **at, const void *p, size_t n)
{
	char *text = *at;

	if (n > 0)
		memcpy(text, p, n);
	text[n] = '\0';
	*at += n + 1;
	return text;
}

static struct tls_note *build(const struct tls_info *info, const struct tls_peer *peer,
			      const struct text *fields)
{
	size_t n_subject = peer->subject != NULL ? strlen(peer->subject) : 0;
	size_t size = info->server_name.n + 1 + info->alpn.n + 1 + n_subject + 1 + fields->n + 1;
	struct tls_note *n = calloc(1, sizeof(*n) + size);
	if (n == NULL)
		return NULL;

	char *at = n->text;
	n->version = info->version;
	n->cipher = info->cipher;
	n->sni = keep(&at, info->server_name.p, info->server_name.n);
	n->alpn = (struct slice){ .p = keep(&at, info->alpn.p, info->alpn.n), .n = info->alpn.n };
	n->has_cert = info->has_peer_cert;
	n->is_resumed = info->is_resumed;
	n->subject = keep(&at, peer->subject, n_subject);
	n->fields = (struct slice){ .p = keep(&at, fields->p, fields->n), .n = fields->n };
	LB_ASSERT(at == n->text + size);
	return n;
}

struct tls_note *tls_note_new(const struct tls *t, bool wants_cert)
{
	struct tls_peer peer = { 0 };
	struct text fields = { 0 };
	struct tls_info info;
	struct tls_note *n = NULL;

	tls_info_get(t, &info);
	int r = info.has_peer_cert ? tls_peer_get(t, &peer) : 0;
	if (r == 0 && wants_cert)
		add_fields(&fields, &peer);
	if (r == 0 && !fields.failed)
		n = build(&info, &peer, &fields);
	text_deinit(&fields);
	tls_peer_deinit(&peer);
	return n;
}

struct tls_note *tls_note_free(struct tls_note *n)
{
	free(n);
	return NULL;
}
