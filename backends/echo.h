/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lb-echo: a WebSocket echo server for demos and tests, one thread, one loop.
 *
 * A connection begins with a request's head. When the request asks for a WebSocket, the answer is
 * 101 and its frames are echoed (ws.c); any other request gets a plain answer (http.c). conn.c
 * moves the bytes, and dispatch.c gives them to the protocol of the connection's phase:
 *
 *   recv --> dispatch.c --> http_take() / http_take_body() / ws_take() --> queue --> send
 *
 * Receiving stops while too many bytes wait to be sent. Thread: the loop's. Uses util, proto, ev
 * and net of lb/.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/loop.h"
#include "net/queue.h"
#include "proto/body.h"
#include "proto/http1.h"
#include "proto/ws_frame.h"
#include "util/list.h"
#include "util/slice.h"

struct slab;

/* Classes of tags. */
#define ECHO_CLASS_ACCEPT 2u
#define ECHO_CLASS_CONN 3u
#define ECHO_CLASS_SIGNAL 4u

#define ECHO_COMMAND_MAX 16u /* at least the length of the longest "lb:" command */

struct server {
	struct loop *loop;  /* owns */
	struct slab *conns; /* owns */
	struct list dead;   /* connections to free when the turn ends */
	struct slice name;  /* borrowed: from -n, or the default */

	/*
	 * Used while one piece of a head is judged. Between two pieces of a head only its bytes are
	 * kept (conn.head_buf).
	 */
	struct http1_head head;
};

#define CONN_REQUEST_MS 60000u /* time for a whole head, and for each piece of a body */

/* The kinds of a connection's operations, in their tags. */
enum conn_kind { CONN_RECV, CONN_SEND };

/* clang-format off */
enum conn_phase {
	CONN_HEAD,   /* the request's head is coming */
	CONN_BODY,   /* a plain request's body is coming and is echoed */
	CONN_TUNNEL, /* WebSocket frames */
	CONN_LINGER, /* the answer is queued: send the queue, half-close, drop what still comes */
};
/* clang-format on */

/* What a connection knows of the frame whose bytes come next from the client. */
struct ws_in {
	struct ws_head frame;
	uint64_t at;               /* how many payload bytes of `frame` have come */
	uint8_t head[WS_HEAD_MAX]; /* the part of a header that has come */
	uint8_t n_head;            /* bytes in head[] */
	bool is_in_payload;        /* `frame` is valid */
	bool is_collected;         /* the payload is kept in `small` and answered when whole */
	bool is_fragmented;        /* a message has begun and goes on in another frame */
	/* the payload of a control frame, or of what may be a command */
	uint8_t small[WS_CONTROL_MAX];
};

struct conn {
	struct server *server;
	struct list link; /* in server->dead */
	/* limits the time for the head, for a piece of the body, or for lingering */
	struct timer timer;
	struct queue out;     /* bytes to be sent */
	struct buf *head_buf; /* owns a reference: the part of the head that has come */
	char *head_text;      /* owns: a WebSocket's request head, for "lb:headers" */
	uint16_t n_head_text;
	int fd;
	uint8_t phase; /* enum conn_phase */
	bool is_receiving : 1;
	bool is_sending : 1;
	/* the connection is freed once the operations in flight have completed */
	bool is_ended : 1;
	bool saw_eof : 1;
	bool is_shut : 1;   /* a FIN was sent */
	bool must_wait : 1; /* the last send found no room, so the next send waits for room */
	union {
		struct body body; /* for CONN_BODY */
		struct ws_in ws;  /* for CONN_TUNNEL; zeros before that phase */
	};
};

_Static_assert(sizeof(struct conn) <= 400, "tens of thousands of them are held");

/* Takes over `fd`, an accepted socket. */
void conn_start(struct server *s, int fd);

/* The handler of ECHO_CLASS_CONN; `arg` is the server. */
void dispatch_on_completion(void *arg, const struct completion *c);

/* To be called when a send has completed. Drops the sent bytes from the queue. */
void conn_sent(struct conn *c, const struct completion *done);

/* Starts the operations that the connection needs next. */
void conn_advance(struct conn *c);

/*
 * When the connection has ended and no operation is in flight, puts it into the list of
 * conn_bury().
 */
void conn_free_if_quiet(struct conn *c);

/* Frees the connections that have ended: the loop's turn-end hook; `arg` is the server. */
void conn_bury(void *arg);

/* Ends the connection, which is closed once no operation is in flight. May be called again. */
void conn_end(struct conn *c);

/* Queues a copy of the bytes. When no buffer is free, ends the connection. */
void conn_write(struct conn *c, const void *p, size_t n);

/* Queues the buffer itself, without a copy. Takes over the reference. */
void conn_pass(struct conn *c, struct buf *b);

/* Begins CONN_LINGER. No more bytes may be queued. */
void conn_linger(struct conn *c);

/*
 * Takes the next piece of a request's head, and its reference. Returns the bytes behind the head,
 * which are for the phase that follows, or NULL.
 */
struct buf *http_take(struct conn *c, struct buf *b);

/* Takes the next piece of a plain request's body, and its reference. */
void http_take_body(struct conn *c, struct buf *b);

/* Takes the next piece of a tunnel's bytes, and its reference. */
void ws_take(struct conn *c, struct buf *b);
