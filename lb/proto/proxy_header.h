/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * PROXY header: what a proxy sends in front of a connection to say whose it is, read and written
 * (HAProxy's proxy-protocol.txt, cited as PP; versions 1 and 2).
 *
 *   version 1   PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n
 *   version 2   [signature, 12][version, command][family][length, 2][addresses][TLVs]
 *
 * The caller keeps the bytes of the connection contiguous in a buffer that only grows and may move.
 * proxy_header_parse() is called again with every piece, and continues where it stopped. A verdict
 * other than PROXY_MORE is given at the byte that decides it, and is final.
 *
 * Whether a header is there is never guessed (PP, 5): the caller knows from which peers one is
 * required, and refuses a connection of theirs that begins with anything else.
 *
 * Thread: the owner's. Layer: proto. Includes util/ only. No allocation, no I/O.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"
#include "util/slice.h"
#include "util/sockaddr.h"

#define PROXY_V1_MAX 107u /* bytes of a line, with its CRLF (PP, 2.1) */
/* Bytes of a header of version 2. A guess: TLVs may hold a client's certificate. */
#define PROXY_HEADER_MAX (16u << 10)
#define PROXY_UNIQUE_ID_MAX 128u /* bytes (PP, 2.2.5) */
#define PROXY_TEXT_MAX 255u      /* bytes of another text that is written */

enum proxy_verdict {
	PROXY_MORE,      /* not whole yet, nothing wrong so far */
	PROXY_OK,        /* whole and right: `size` bytes */
	PROXY_BAD,       /* no header, or a malformed one */
	PROXY_TOO_LARGE, /* more than PROXY_V1_MAX, or PROXY_HEADER_MAX */
};

/* The versions that are accepted. */
enum {
	PROXY_TAKES_V1 = 1u << 0,
	PROXY_TAKES_V2 = 1u << 1,
	PROXY_TAKES_ANY = PROXY_TAKES_V1 | PROXY_TAKES_V2,
};

/* What was found is whole when the verdict is PROXY_OK. */
struct proxy_header {
	const char *why; /* static text: what is wrong; NULL before an error */
	/* The ends of the client's connection: both IPv4, or both IPv6. Family 0: the header names
	 * none (LOCAL, UNKNOWN, unspecified, a datagram or a unix socket), and the addresses of the
	 * connection itself count. */
	struct addr src, dst;
	uint16_t size;   /* bytes of the header; what came with it begins here */
	uint8_t version; /* 1, 2; 0: not known yet */
	bool is_local;   /* LOCAL: the proxy's own connection, such as a health check */
	bool has_crc32c; /* the header had a checksum, and it is right */

	/* private to proxy_header.c */
	uint8_t takes;    /* PROXY_TAKES_* */
	uint8_t verdict;  /* enum proxy_verdict */
	uint16_t pos;     /* how many bytes have been judged */
	uint16_t tlv_off; /* where TLVs begin; `size` where there are none */
};

/* Prepares `h` for a new connection; `takes` is of PROXY_TAKES_*. To be called before any other
 * function. */
void proxy_header_init(struct proxy_header *h, unsigned takes);

/*
 * proxy_header_parse() - judge a header as far as it has come
 *
 * `buf` has `len` bytes: the bytes of the calls before, at the same offsets, and more; what follows
 * the header may be among them. Returns PROXY_MORE until the verdict is certain; any other verdict
 * is final. The work is linear in the bytes, in whatever pieces they arrive.
 *
 * Version 1 (PP, 2.1) is a line as the text says: single spaces, addresses of the family that it
 * names, ports without leading zeros, CRLF. What follows UNKNOWN is ignored, up to the CRLF.
 *
 * Version 2 (PP, 2.2): LOCAL is skipped by its length, whatever is in it. So is PROXY where family
 * or transport are unspecified, because nothing says then how long the addresses are. Otherwise
 * unassigned families, addresses that are cut, TLVs that end beyond the header, a unique id of more
 * than 128 bytes, and a checksum that is wrong or comes twice are refused.
 *
 * Where both addresses are IPv4-mapped IPv6, as sockets for both families tell them, they are
 * returned as IPv4, so that networks and hashes see one client as one.
 */
enum proxy_verdict proxy_header_parse(struct proxy_header *h, const uint8_t *buf,
				      size_t len) LB_MUST_CHECK;

/* ---- TLVs of a whole header (PP, 2.2); slices borrow from `buf` ---------------------------------
 */

/* The types that lb knows; any other may come. */
enum proxy_type {
	PROXY_TYPE_ALPN = 0x01,
	PROXY_TYPE_AUTHORITY = 0x02,
	PROXY_TYPE_CRC32C = 0x03,
	PROXY_TYPE_NOOP = 0x04,
	PROXY_TYPE_UNIQUE_ID = 0x05,
	PROXY_TYPE_SSL = 0x20,
	PROXY_TYPE_SSL_VERSION = 0x21, /* these five: within the value of PROXY_TYPE_SSL */
	PROXY_TYPE_SSL_CN = 0x22,
	PROXY_TYPE_SSL_CIPHER = 0x23,
	PROXY_TYPE_SSL_SIG_ALG = 0x24,
	PROXY_TYPE_SSL_KEY_ALG = 0x25,
	PROXY_TYPE_NETNS = 0x30,
};

struct proxy_tlv {
	uint8_t type; /* enum proxy_type, or another */
	struct slice value;
};

/* What is left of the TLVs. */
struct proxy_tlvs {
	struct slice rest; /* private to proxy_header.c */
};

/* Begins a walk over the TLVs, in their order. A line has none, nor has a header that was skipped
 * by its length. */
struct proxy_tlvs proxy_header_tlvs(const struct proxy_header *h, const uint8_t *buf);

/* The next TLV. Returns false and leaves *ret alone at the end. */
bool proxy_tlv_next(struct proxy_tlvs *it, struct proxy_tlv *ret);

/* The value of the first TLV of a type. Returns false and leaves *ret alone where there is none. */
bool proxy_header_find(const struct proxy_header *h, const uint8_t *buf, uint8_t type,
		       struct slice *ret);

/* Bits of proxy_ssl.client. */
enum {
	PROXY_CLIENT_SSL = 0x01,       /* the client uses TLS */
	PROXY_CLIENT_CERT_CONN = 0x02, /* it gave a certificate on this connection */
	PROXY_CLIENT_CERT_SESS = 0x04, /* it gave one in this session */
};

/* A value of PROXY_TYPE_SSL (PP, 2.2.6). A text that is missing has n 0. */
struct proxy_ssl {
	uint8_t client;
	uint32_t verify;      /* 0: the client gave a certificate, and it is valid */
	struct slice version; /* "TLSv1.3" */
	struct slice cn;      /* of the client's certificate, UTF-8 */
	struct slice cipher;  /* "ECDHE-RSA-AES128-GCM-SHA256" */
	struct slice sig_alg; /* of lb's certificate: "RSA-SHA256" */
	struct slice key_alg; /* of its key: "RSA2048" */
};

/* Reads a value of PROXY_TYPE_SSL; proxy_header_parse() has judged those of a whole header. Returns
 * false and leaves *ret alone when it is malformed. */
bool proxy_ssl_read(struct slice value, struct proxy_ssl *ret) LB_MUST_CHECK;

/* ---- writing --------------------------------------------------------------------------------- */

/* Bytes of the longest header that proxy_v2_write() writes: 16, addresses, a TLV of each kind, of
 * SSL with five texts. */
#define PROXY_V2_WRITE_MAX \
	(16u + 36u + 2u * (3u + PROXY_TEXT_MAX) + 3u + PROXY_UNIQUE_ID_MAX + 3u + 5u + \
	 5u * (3u + PROXY_TEXT_MAX) + 7u)

/* What a header of version 2 says. Texts are borrowed; one with n 0 is left out. */
struct proxy_info {
	struct addr src, dst;        /* of one family; family 0: unknown */
	struct slice alpn;           /* the protocol that was agreed on */
	struct slice authority;      /* the host name that the client asked for: SNI */
	struct slice unique_id;      /* at most PROXY_UNIQUE_ID_MAX bytes */
	const struct proxy_ssl *ssl; /* NULL: the client does not use TLS */
	bool has_crc32c;             /* a checksum is written, too */
};

/*
 * proxy_v1_write() - write a line: TCP4, TCP6, or UNKNOWN where src has family 0
 *
 * `src` and `dst` are of one family. Returns how many bytes. There is no LOCAL in version 1: a
 * health check names the ends of its own connection (PP, 2.1).
 */
size_t proxy_v1_write(const struct addr *src, const struct addr *dst, uint8_t out[PROXY_V1_MAX]);

/*
 * proxy_v2_write() - write a header for a client's connection
 *
 * The command is PROXY. Where src has family 0 it is LOCAL, behind which a receiver takes the
 * addresses of the connection itself, and may skip the TLVs: HAProxy writes the same, and resets a
 * connection whose header has the command PROXY and no addresses.
 *
 * A text of more than PROXY_TEXT_MAX bytes, which only a peer's certificate may have, is left out:
 * cut, it would name another. Returns how many bytes.
 */
size_t proxy_v2_write(const struct proxy_info *info, uint8_t out[PROXY_V2_WRITE_MAX]);

#define PROXY_V2_LOCAL_BYTES 16u

/* Writes a header with the command LOCAL, for a health check; returns how many bytes. */
size_t proxy_v2_write_local(uint8_t out[PROXY_V2_LOCAL_BYTES]);
