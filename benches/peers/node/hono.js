// The jobs on Hono, with its own middleware `jwt`, its validator for zod, its server for Node, and hono-rate-limiter.

import { serve } from "@hono/node-server";
import { getConnInfo } from "@hono/node-server/conninfo";
import { zValidator } from "@hono/zod-validator";
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import { jwt } from "hono/jwt";
import { rateLimiter } from "hono-rate-limiter";
import * as z from "zod";
import { HELLO, SECRET, created, job, listen, max, member, minute, passes, refusal } from "./contract.js";

const refuse = (c, status) => c.json(refusal(status), status);

const app = new Hono();
app.onError((error, c) => refuse(c, error instanceof HTTPException ? error.status : 500));
app.notFound((c) => refuse(c, 404));
for (let i = 0; i < passes; i++) app.use(async (c, next) => await next());

if (job === "jwt" || job === "post") {
  const usages = ["sign", "verify"];
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const secret = await crypto.subtle.importKey("raw", Buffer.from(SECRET), algorithm, false, usages);
  const authenticate = jwt({ secret, alg: "HS256" });
  if (job === "jwt") {
    app.get("/me", authenticate, (c) => c.json(member(c.get("jwtPayload"))));
  } else {
    const newUser = z.object({ name: z.string().min(1), email: z.email() });
    const limit = rateLimiter({
      windowMs: minute,
      limit: max,
      standardHeaders: false,
      keyGenerator: (c) => getConnInfo(c).remote.address,
      handler: (c) => refuse(c, 429),
    });
    const isJson = async (c, next) =>
      c.req.header("Content-Type")?.startsWith("application/json") ? await next() : refuse(c, 415);
    const small = bodyLimit({ maxSize: 1024 * 1024, onError: (c) => refuse(c, 413) });
    const validate = zValidator("json", newUser, (result, c) => {
      if (!result.success) return refuse(c, 422);
    });
    app.post("/api/users", limit, authenticate, isJson, small, validate, (c) =>
      c.json(created(c.req.valid("json"), c.get("jwtPayload").sub), 201),
    );
  }
} else {
  app.get("/hello", (c) => c.text(HELLO));
}
serve({ fetch: app.fetch, port: listen.port, hostname: listen.host });
