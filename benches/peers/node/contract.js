// The contract of every server here. Its Rust counterpart is ../contract/src/lib.rs.

import { createSecretKey } from "node:crypto";
import { STATUS_CODES } from "node:http";

// JOB PORT LIMIT
const [, , name, port, limit] = process.argv;

export const job = name;
export const listen = { port: Number(port), host: "127.0.0.1" };
// The number of requests per minute that each client may make.
export const minute = 60_000;
export const max = Number(limit);

export const HELLO = "Hello, world!";
export const SECRET = "an example secret of 256 bits !!";
// A key that is created once: with a string, the libraries create one for each token.
export const key = createSecretKey(Buffer.from(SECRET));

// The number of middleware that pass every request on.
export const passes = { pass4: 4, pass16: 16 }[job] ?? 0;

export const member = ({ sub, roles }) => ({ sub, roles });

// The work of the handler.
export const created = ({ name, email }, by) => ({ id: email.length, name, by });

export const refusal = (status) => ({ error: STATUS_CODES[status] });
