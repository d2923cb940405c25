/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rows of a listener's `tls` are read by. The rows are in listener_opts.c; whether the
 * files are any good is found where they are read (daemon/tls_store.c).
 */
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/print.h"
#include "conf/tables.h"
#include "conf/word.h"

#define CERTIFICATE(member) offsetof(struct conf_certificate, member)

#define ALPN_MAX 255 /* bytes of a name (RFC 7301, 3.1) */

/* Keys of a `certificates:` entry, in the order of lb.yaml(5). */
const struct opt certificate_opts[] = {
	{
		.key = "cert",
		.type = OPT_FILE,
		.offset = CERTIFICATE(cert),
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The PEM file of the certificate, with its intermediate certificates "
			"behind it.",
	},
	{
		.key = "key",
		.type = OPT_FILE,
		.offset = CERTIFICATE(key),
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The PEM file of the certificate's private key, which may be the same "
			"file.",
	},
	{ .key = NULL },
};

/* ---- certificates ---------------------------------------------------------------------------- */

void certificate_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			   void *listener)
{
	struct conf_tls *t = &((struct conf_listener *)listener)->tls;
	size_t n = opt_list(ctx, o, node);

	t->certificates = n == 0 ? NULL : opt_alloc(ctx, n, sizeof(t->certificates[0]));
	if (t->certificates == NULL)
		return;
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
		struct conf_certificate *c = &t->certificates[t->n_certificates++];
		opt_read(ctx, certificate_opts, item, c);
		c->cert_at = opt_mark(item, "cert");
		c->key_at = opt_mark(item, "key");
	}
}

void certificate_opts_write(struct printer *p, const struct opt *o, const void *listener)
{
	const struct conf_tls *t = &((const struct conf_listener *)listener)->tls;

	print_list(p, o);
	for (size_t i = 0; i < t->n_certificates; i++)
		print_item(p, certificate_opts, &t->certificates[i]);
}

/* ---- lists in OpenSSL's words ---------------------------------------------------------------- */

static bool is_openssl_list(const char *text)
{
	static const char others[] = "._:+!@=-";

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		bool is_alnum = (*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') ||
				(*text >= 'A' && *text <= 'Z');
		if (!is_alnum && strchr(others, *text) == NULL)
			return false;
	}
	return true;
}

void openssl_list_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		       void *object)
{
	if (node->kind == YAML_LIST) {
		opt_bad(ctx, o, node,
			"must be one value with colons between the names, as OpenSSL has it, not "
			"a list");
		return;
	}
	const char *text = opt_text(ctx, o, node);
	if (text == NULL)
		return;
	if (!is_openssl_list(text)) {
		opt_bad(ctx, o, node,
			"must be names with colons between them, as OpenSSL has them%s",
			*text == '\0' ? "; leave the key out for lb's own" : "");
		return;
	}
	opt_set_string(ctx, (char **)(void *)((char *)object + o->offset), slice_of(text));
}

void openssl_list_write(struct printer *p, const struct opt *o, const void *object)
{
	const char *text;

	memcpy(&text, (const char *)object + o->offset, sizeof(text));
	if (text != NULL)
		print_text(p, o, slice_of(text));
}

/* ---- ALPN ------------------------------------------------------------------------------------ */

static bool is_alpn(const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return n > 0 && n <= ALPN_MAX;
}

static void alpn_add(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		     struct conf_tls *t)
{
	const char *text = opt_text(ctx, o, node);

	if (text == NULL)
		return;
	if (!is_alpn(text)) {
		opt_bad(ctx, o, node, "must be 1 to %d visible characters, as in http/1.1",
			ALPN_MAX);
		return;
	}
	opt_set_string(ctx, &t->alpn[t->n_alpn++], slice_of(text));
}

/* An empty list is one: no protocol is offered. */
void alpn_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
	       void *listener)
{
	struct conf_tls *t = &((struct conf_listener *)listener)->tls;
	size_t n = opt_list(ctx, o, node);

	t->alpn = n == 0 ? NULL : opt_alloc(ctx, n, sizeof(char *));
	if (t->alpn == NULL)
		return;
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next)
		alpn_add(ctx, o, item, t);
}

void alpn_write(struct printer *p, const struct opt *o, const void *listener)
{
	const struct conf_tls *t = &((const struct conf_listener *)listener)->tls;
	_cleanup_(text_deinit) struct text value = TEXT_INIT;

	text_add(&value, SLICE("["));
	for (size_t i = 0; i < t->n_alpn; i++) {
		text_add(&value, i == 0 ? SLICE("") : SLICE(", "));
		print_scalar(&value, slice_of(t->alpn[i]));
	}
	text_add(&value, SLICE("]"));
	print_yaml(p, o, &value);
}

/* ---- what follows ---------------------------------------------------------------------------- */

/* In mode http lb speaks one protocol, and says so. */
static void set_default_alpn(struct opt_ctx *ctx, struct conf_tls *t)
{
	t->alpn = opt_alloc(ctx, 1, sizeof(char *));
	if (t->alpn == NULL)
		return;
	opt_set_string(ctx, &t->alpn[t->n_alpn++], SLICE("http/1.1"));
}

void tls_opts_settle(struct opt_ctx *ctx, const struct yaml_node *listener, struct conf_listener *l)
{
	const struct yaml_node *node = lb_yaml_find(listener, SLICE("tls"));
	struct conf_tls *t = &l->tls;

	t->is_on = node != NULL;
	if (lb_yaml_find(node, SLICE("client")) == NULL)
		t->client.verify = CONF_VERIFY_NONE;
	if (node == NULL)
		return;
	t->at = node->key_at;
	t->records_at = opt_mark(listener, "tls.records");
	t->groups_at = opt_mark(listener, "tls.groups");
	t->ciphers_at = opt_mark(listener, "tls.ciphers");
	t->ciphersuites_at = opt_mark(listener, "tls.ciphersuites");
	t->client.ca_at = opt_mark(listener, "tls.client.ca");
	t->client.crl_at = opt_mark(listener, "tls.client.crl");
	t->tickets.file_at = opt_mark(listener, "tls.tickets.file");
	if (l->mode == CONF_MODE_HTTP && opt_find(listener, "tls.alpn") == NULL)
		set_default_alpn(ctx, t);
}
