/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A build without `records: compact` (-Dtls_compact=disabled): stands in for tls_compact.c,
 * tls_extract.c and tls_check.c. No keys are taken out of an SSL object, so that every end stays
 * with its own, and tls_check_compact() says why before a configuration is accepted.
 */
#include <errno.h>

#include "net/tls_check.h"
#include "net/tls_priv.h"

bool tls_is_between_records(const struct tls *t)
{
	(void)t;
	return true;
}

bool tls_extract(struct tls_ends *es, struct tls *t)
{
	(void)es;
	(void)t;
	return false;
}

/* No end is COMPACT. */
enum tls_verdict tls_compact_open(struct tls_ends *es, struct tls *t, struct queue *out)
{
	(void)es;
	(void)out;
	LB_ASSERT(t->state != TLS_IS_COMPACT);
	return TLS_FAILED;
}

enum tls_verdict tls_compact_seal(struct tls_ends *es, struct tls *t, struct queue *in)
{
	(void)es;
	(void)in;
	LB_ASSERT(t->state != TLS_IS_COMPACT);
	return TLS_FAILED;
}

enum tls_verdict tls_compact_close(struct tls_ends *es, struct tls *t)
{
	(void)es;
	LB_ASSERT(t->state != TLS_IS_COMPACT);
	return TLS_FAILED;
}

int tls_check_compact(struct tls_lib *l, struct err *e)
{
	(void)l;
	return err_add(e, -ENOTSUP,
		       "records: compact is not in this build of lb; use records: openssl");
}
