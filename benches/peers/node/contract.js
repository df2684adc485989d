// What every server here answers. The Rust side of it is ../contract/src/lib.rs.

import { createSecretKey } from "node:crypto";
import { STATUS_CODES } from "node:http";

// JOB PORT LIMIT
const [, , name, port, limit] = process.argv;

export const job = name;
export const listen = { port: Number(port), host: "127.0.0.1" };
// How many requests a client may make in a minute.
export const minute = 60_000;
export const max = Number(limit);

export const HELLO = "Hello, world!";
export const SECRET = "an example secret of 256 bits !!";
// A key that is made once: given the text, the libraries make one for each token.
export const key = createSecretKey(Buffer.from(SECRET));

// How many middleware that let everything pass.
export const passes = { pass4: 4, pass16: 16 }[job] ?? 0;

export const member = ({ sub, roles }) => ({ sub, roles });

// The work of the handler.
export const created = ({ name, email }, by) => ({ id: email.length, name, by });

export const refusal = (status) => ({ error: STATUS_CODES[status] });
