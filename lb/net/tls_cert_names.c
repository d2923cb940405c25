/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_cert_names.h"

#include "net/tls_cert.h"

int tls_cert_names(struct tls_lib *l, const struct tls_cert_files *files, int64_t now_s,
		   tls_cert_names_fn fn, void *arg)
{
	_cleanup_(err_deinit) struct err known = ERR_INIT; /* told when the context was made */
	struct tls_cert cert = { 0 };
	int r = tls_cert_load(l, files->cert, files->key, now_s, &known, &cert);

	if (r < 0)
		return r;
	r = tls_cert_each_name(cert.leaf, fn, arg);
	tls_cert_deinit(&cert);
	return r;
}
