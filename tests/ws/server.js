// SPDX-License-Identifier: Apache-2.0
//
// node server.js PORT: an echoing server on 127.0.0.1 that agrees to permessage-deflate and to the
// subprotocol "v2.lb". Prints "listening" when it does.
"use strict";

const { WebSocketServer } = require("ws");

const server = new WebSocketServer({
	host: "127.0.0.1",
	port: Number(process.argv[2]),
	perMessageDeflate: { threshold: 0 },
	handleProtocols: (protocols) => (protocols.has("v2.lb") ? "v2.lb" : false),
});

server.on("connection", (ws) => {
	ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
	ws.on("error", (e) => console.error(e));
});
server.on("listening", () => console.log("listening"));
