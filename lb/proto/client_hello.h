/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ClientHello: what a TLS client asks for in its first message, read without decrypting anything
 * (RFC 8446, 4.1.2 and 5.1; RFC 5246, 7.4.1.2).
 *
 * The caller keeps the bytes of the connection contiguous in a buffer that only grows. The buffer
 * may move, because a hello holds offsets. client_hello_parse() is called again with every piece,
 * and continues where it stopped. A verdict other than CLIENT_HELLO_MORE is given at the byte that
 * decides it, and is final.
 *
 * A hello may be cut into records anywhere, also in the middle of a name:
 *
 *   [16 03 01 len][01 len version ... exam] [16 03 01 len][ple.com ...]
 *    record header   handshake message       record header   its rest
 *
 * The bytes are not put together, because they are sent on, or given to OpenSSL, as they came. So a
 * text of the hello is a place, not a slice; when the text is asked for and lies in one record, the
 * result borrows from the buffer, otherwise it is copied to the caller's scratch.
 *
 * A name in an extension encrypted_client_hello cannot be read: the host is the outer name then,
 * the one of the server that decrypts the inner name.
 *
 * Thread: the owner's. Layer: proto. Includes util/ only. No allocation, no I/O.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"
#include "util/slice.h"

/* Bytes of the message, its own header included. Chromium's with a post-quantum key has 1.9 KiB. */
#define CLIENT_HELLO_MESSAGE_MAX (16u << 10)
/* Bytes of all records of a hello: with 1 KiB of record headers, and a receive behind them, they
 * fit a buffer of BUF_HEAD_BYTES (ev/buf.h). */
#define CLIENT_HELLO_MAX (17u << 10)
#define CLIENT_HELLO_TEXT_MAX 255u /* bytes of the longest text: a host has 253, a protocol 255 */
#define CLIENT_HELLO_ALERT_BYTES 7u

enum client_hello_verdict {
	CLIENT_HELLO_MORE,      /* not whole yet, nothing wrong so far */
	CLIENT_HELLO_OK,        /* whole and right: `size` bytes */
	CLIENT_HELLO_BAD,       /* malformed */
	CLIENT_HELLO_TOO_LARGE, /* more than CLIENT_HELLO_MESSAGE_MAX, or CLIENT_HELLO_MAX */
	CLIENT_HELLO_NOT_TLS,   /* its first bytes begin no handshake of TLS: perhaps HTTP */
};

/* Bytes of the message that may go on in another record. */
struct client_hello_place {
	uint16_t off;       /* of the first byte, in the buffer */
	uint16_t in_record; /* so many bytes, from `off` on, are left of its record */
	uint16_t len;       /* 0: none */
};

/* What was found is whole when the verdict is CLIENT_HELLO_OK. */
struct client_hello {
	const char *why;         /* static text: what is wrong; NULL before an error */
	uint16_t size;           /* bytes of the hello; what came with it begins here */
	uint16_t legacy_version; /* of the message: 0x0303 in TLS 1.2 and 1.3 */
	/* The highest version offered: of supported_versions (values of TLS only), or else the
	 * legacy version. 0: supported_versions names none of TLS. */
	uint16_t max_version;
	uint8_t alert;         /* the AlertDescription (RFC 8446, 6) that answers an error */
	bool offers_tls13;     /* supported_versions lists 0x0304 */
	bool has_ech;          /* encrypted_client_hello: the host is the outer name */
	bool has_address_name; /* the name is a literal address: there is no host */

	/* private to client_hello.c */
	uint8_t verdict;
	uint8_t n_head;                 /* bytes of `head` that have come */
	uint8_t head[4];                /* of the message: type and length */
	uint16_t pos;                   /* how many bytes of the buffer have been judged */
	uint16_t in_record;             /* so many bytes of the current record are to come */
	uint16_t n_message;             /* bytes of the message, up to `pos` */
	struct client_hello_place host; /* len 0: none */
	struct client_hello_place alpn; /* the list, without its length; len 0: none */
};

_Static_assert(sizeof(struct client_hello) <= 48, "one is in every connection that waits for one");

/* Prepares `h` for a new connection. To be called before any other function. */
void client_hello_init(struct client_hello *h);

/*
 * client_hello_parse() - judge a hello as far as it has come
 *
 * `buf` has `len` bytes: the bytes of the calls before, at the same offsets, and more; what follows
 * the hello may be among them. Returns CLIENT_HELLO_MORE until the verdict is certain; any other
 * verdict is final. Record framing is judged as it comes, the message once it is whole; so the work
 * is linear in the bytes, in whatever pieces and records they arrive.
 *
 * Refused are, beside lengths that do not agree: records of another type and empty records before
 * the end of the hello (RFC 8446, 5.1), bytes behind it in its last record, an extension that comes
 * twice (4.2), and a server_name that is not one host name (RFC 6066, 3): letters, digits, '-' and
 * '_' in labels of 1 to 63, together at most 253, without a trailing dot. A hyphen may stand
 * anywhere in a label, because such names are in use. A literal address, which RFC 6066 forbids and
 * small devices send all the same, is passed as no name (has_address_name).
 *
 * Which versions, suites, groups and other extensions make sense is judged by the endpoint.
 */
enum client_hello_verdict client_hello_parse(struct client_hello *h, const uint8_t *buf,
					     size_t len) LB_MUST_CHECK;

/* ---- what is in a whole hello; slices borrow from `buf` or from `scratch` ---------------------
 */

/*
 * client_hello_host() - the host name of server_name (RFC 6066, 3), as it was sent
 *
 * Compare it without regard to case. n is 0 where there is none.
 */
struct slice client_hello_host(const struct client_hello *h, const uint8_t *buf,
			       char scratch[CLIENT_HELLO_TEXT_MAX]);

/* What is left of a list of protocols. */
struct client_hello_alpn {
	struct client_hello_place rest; /* private to client_hello.c */
};

/* Whether the client offers protocols by ALPN (RFC 7301, 3.1). The list has one at least. */
static inline bool client_hello_has_alpn(const struct client_hello *h)
{
	return h->alpn.len != 0;
}

/* Begins a walk over the protocols, in the client's order of preference. */
static inline struct client_hello_alpn client_hello_alpn(const struct client_hello *h)
{
	return (struct client_hello_alpn){ .rest = h->alpn };
}

/*
 * client_hello_alpn_next() - the next protocol: 1 to 255 bytes of any value
 *
 * Returns false and leaves *ret alone at the end of the list. A slice in `scratch` lasts until the
 * next call with it.
 */
bool client_hello_alpn_next(struct client_hello_alpn *it, const uint8_t *buf,
			    char scratch[CLIENT_HELLO_TEXT_MAX], struct slice *ret);

/* Whether the client offers this protocol, byte for byte. It walks the list, which may have
 * thousands of protocols: to compare many, walk it once. */
bool client_hello_offers(const struct client_hello *h, const uint8_t *buf, struct slice protocol);

/*
 * client_hello_refuse() - write the fatal alert that answers a hello, in a record of its own
 *
 * For a connection that has no TLS object. `alert` is an AlertDescription (RFC 8446, 6), for
 * example that of an error. Returns how many bytes: always CLIENT_HELLO_ALERT_BYTES.
 */
size_t client_hello_refuse(uint8_t alert, uint8_t out[CLIENT_HELLO_ALERT_BYTES]);
