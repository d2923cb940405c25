/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * CRC32C: the checksum with Castagnoli's polynomial (RFC 4960, appendix B; RFC 3720, 12.1).
 *
 * It finds accidents, not forgeries. Thread: any (pure functions). Layer: util.
 */

#include <stddef.h>
#include <stdint.h>

/*
 * crc32c_add() - the checksum of bytes behind others
 *
 * `crc` is the checksum of what came before, 0 for nothing: crc32c_add(crc32c_add(0, a), b) is the
 * checksum of a and b, one behind the other. `p` may be NULL when n is 0. It is made for headers,
 * not for streams: it takes four bits at a time.
 */
uint32_t crc32c_add(uint32_t crc, const void *p, size_t n);
