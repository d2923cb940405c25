/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Hash: a stable 64-bit hash of bytes, and a way to combine two hashes.
 *
 * The hash decides which backend a key goes to, so its values are part of lb's interface: the same
 * on every machine and in every version, with test vectors in docs/hash.md. The hash is no defence
 * against keys that are chosen to collide.
 *
 * The definition, in arithmetic modulo 2^64:
 *
 *   F(x):  x ^= x >> 30;  x *= 0xbf58476d1ce4e5b9;
 *          x ^= x >> 27;  x *= 0x94d049bb133111eb;
 *          x ^= x >> 31
 *   hash_bytes(p, n, seed):  h = 0xcbf29ce484222325 ^ F(seed)
 *          for each byte b, first to last:  h ^= b;  h *= 0x100000001b3
 *          the result is F(h)
 *   hash_mix(a, b):  F(F(a + 0x9e3779b97f4a7c15) + b)
 *
 * hash_bytes() is FNV-1a and then F, the finaliser of splitmix64, because the high bits of FNV-1a
 * alone are poor for short keys. The seed changes the start value of FNV-1a; F(0) is 0, so seed 0
 * keeps the published start value. F is a bijection.
 *
 * Thread: any (pure functions). Layer: util.
 */

#include <stddef.h>
#include <stdint.h>

/* The hash of `n` bytes; `p` may be NULL when n is 0. Hot. */
uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);

/* A hash of two values, whose order counts. For a fixed `a` the result is a bijection of `b`, and
 * for a fixed `b` a bijection of `a`. Hot. */
uint64_t hash_mix(uint64_t a, uint64_t b);
