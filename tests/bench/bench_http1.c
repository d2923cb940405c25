/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing the heads of a WebSocket's handshake: ns a head. */
#include "micro.h"

#include "proto/http1.h"

#define N_HEADS 500u

static const char small[] = "GET /ws HTTP/1.1\r\n"
			    "Host: chat.example.com\r\n"
			    "Upgrade: websocket\r\n"
			    "Connection: Upgrade\r\n"
			    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
			    "Sec-WebSocket-Version: 13\r\n"
			    "\r\n";

/* What a browser sends. */
static const char large[] =
	"GET /socket/room/4711?token=0123456789abcdef0123456789abcdef&v=3 HTTP/1.1\r\n"
	"Host: chat.example.com\r\n"
	"Connection: Upgrade\r\n"
	"Pragma: no-cache\r\n"
	"Cache-Control: no-cache\r\n"
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
	"Chrome/120.0.0.0 Safari/537.36\r\n"
	"Upgrade: websocket\r\n"
	"Origin: https://chat.example.com\r\n"
	"Sec-WebSocket-Version: 13\r\n"
	"Accept-Encoding: gzip, deflate, br\r\n"
	"Accept-Language: en-GB,en;q=0.9\r\n"
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=2026-01-01\r\n"
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
	"\r\n";

static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n"
			     "Upgrade: websocket\r\n"
			     "Connection: Upgrade\r\n"
			     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
			     "\r\n";

struct head {
	const char *text;
	size_t len;
	bool is_response;
};

static void parse(void *arg, unsigned n)
{
	const struct head *in = arg;
	struct http1_head h;

	for (unsigned i = 0; i < n; i++) {
		if (in->is_response)
			http1_init_response(&h);
		else
			http1_init_request(&h);
		MICRO_CHECK(http1_parse(&h, (const uint8_t *)in->text, in->len) == HTTP1_OK &&
			    h.head_len == in->len);
	}
}

int main(int argc, char **argv)
{
	struct head s = { small, sizeof(small) - 1, false },
		    l = { large, sizeof(large) - 1, false },
		    a = { answer, sizeof(answer) - 1, true };

	micro_run("request, 5 fields", parse, &s, N_HEADS, argc, argv);
	micro_run("request, 13 fields as of a browser", parse, &l, N_HEADS, argc, argv);
	micro_run("response, 101", parse, &a, N_HEADS, argc, argv);
	return 0;
}
