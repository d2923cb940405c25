// SPDX-License-Identifier: Apache-2.0
//
// node client.js URL [deflate]: talks to an echoing server, prints "ok" and exits 0, or says on
// stderr what went wrong and exits 1. With `deflate` the server must agree to permessage-deflate
// and to a subprotocol.
"use strict";

const assert = require("node:assert");
const crypto = require("node:crypto");
const WebSocket = require("ws");

const [url, mode] = process.argv.slice(2);
const wantsDeflate = mode === "deflate";

const messages = [
	"",
	"hello",
	"\u00fcber \u{1f600}",
	"a".repeat(125),
	"b".repeat(126),
	"c".repeat(70000),
	Buffer.alloc(0),
	crypto.randomBytes(4096),
	crypto.randomBytes(1 << 20),
];

function fail(why) {
	console.error(why);
	process.exit(1);
}

const ws = new WebSocket(url, wantsDeflate ? ["v1.lb", "v2.lb"] : [], {
	perMessageDeflate: wantsDeflate,
});
let next = 0;

function sendNext() {
	if (next < messages.length)
		ws.send(messages[next]);
	else
		ws.ping("last");
}

ws.on("open", () => {
	if (wantsDeflate) {
		assert.match(ws.extensions, /permessage-deflate/);
		assert.strictEqual(ws.protocol, "v2.lb");
	}
	sendNext();
});
ws.on("message", (data, isBinary) => {
	const want = messages[next++];

	assert.strictEqual(isBinary, typeof want !== "string");
	assert.ok(Buffer.from(want).equals(data), `message ${next - 1} came back changed`);
	sendNext();
});
ws.on("pong", (data) => {
	assert.strictEqual(data.toString(), "last");
	ws.close(4002, "done");
});
ws.on("close", (code, reason) => {
	assert.strictEqual(next, messages.length);
	assert.strictEqual(code, 4002);
	assert.strictEqual(reason.toString(), "done");
	console.log("ok");
	process.exit(0);
});
ws.on("error", (e) => fail(e));
process.on("uncaughtException", (e) => fail(e));
setTimeout(() => fail(`no end; at message ${next}`), 30000);
