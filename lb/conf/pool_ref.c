/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key "pool" of listeners and routes: a pool's name in the file, an index of conf.pools in the
 * frozen configuration. Relies on main_opts, whose row "pools" comes before "listeners", so that
 * all pools are read when a name is looked up.
 */
#include <string.h>

#include "conf/conf.h"
#include "conf/print.h"
#include "conf/tables.h"
#include "conf/word.h"
#include "util/nearest.h"

void pool_ref_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		   void *object)
{
	const char *text = opt_text(ctx, o, node);
	char shown[WORD_SHOWN_MAX], hint[NEAREST_TEXT_MAX];
	const struct conf *c = ctx->conf;
	struct nearest near;
	/*
	 * Whether a pool, or the name of a pool, is missing here because of a mistake that was
	 * reported. `text` may be the missing name, so that it is not reported as unknown.
	 */
	bool has_unnamed = c->n_pools == 0;

	if (text == NULL)
		return;
	nearest_init(&near, slice_of(text));
	for (size_t i = 0; i < c->n_pools; i++) {
		const char *name = c->pools[i].name;
		if (name == NULL) {
			has_unnamed = true;
			continue;
		}
		if (strcmp(name, text) == 0) {
			memcpy((char *)object + o->offset, &i, sizeof(i));
			return;
		}
		nearest_try(&near, slice_of(name));
	}
	if (!has_unnamed)
		(void)err_at(ctx->err, node->at, "unknown pool \"%s\"%s", word_show(text, shown),
			     nearest_hint(&near, hint));
}

void pool_ref_write(struct printer *p, const struct opt *o, const void *object)
{
	size_t index;

	memcpy(&index, (const char *)object + o->offset, sizeof(index));
	LB_ASSERT(index == CONF_NO_POOL || index < p->conf->n_pools);
	if (index != CONF_NO_POOL)
		print_text(p, o, slice_of(p->conf->pools[index].name));
}
