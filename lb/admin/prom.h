/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Prom: a snapshot in Prometheus' text format 0.0.4.
 *
 * Each metric has its # HELP and # TYPE lines once, before its samples, and no two samples of a
 * metric have the same labels. When two backends of a pool have one name (the file gave the name
 * another address, and the backend with the old address still has connections), the samples have
 * the sums of their figures.
 *
 * Thread: main. Layer: admin.
 */

#include "admin/status.h"
#include "util/text.h"

/* Adds the whole page to `out`. When memory is short, out->failed is set. */
void prom_print(const struct status *s, struct text *out);
