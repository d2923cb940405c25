/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Prom: a snapshot as Prometheus reads it (text format 0.0.4).
 *
 * Each metric is typed once, before its samples, and no two samples have the same labels: backends
 * of one name in a pool (the file gave it another address, and the old one still has connections)
 * are summed.
 *
 * Thread: main. Layer: admin.
 */

#include "admin/status.h"
#include "util/text.h"

void prom_print(const struct status *s, struct text *out);
