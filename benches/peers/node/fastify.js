// The jobs on Fastify 5, with its own plugins: @fastify/jwt, @fastify/rate-limit, and its schemas for requests and responses.
// Middleware that passes every request on is a hook.

import Fastify from "fastify";
import { HELLO, SECRET, created, job, listen, max, member, minute, passes, refusal } from "./contract.js";

const app = Fastify();
app.setErrorHandler((error, request, reply) => {
  const status = error.validation ? 422 : (error.statusCode ?? 500);
  reply.code(status).send(refusal(status));
});
app.setNotFoundHandler((request, reply) => reply.code(404).send(refusal(404)));
for (let i = 0; i < passes; i++) app.addHook("onRequest", async () => {});

const string = { type: "string" };
const object = (properties) => ({ type: "object", required: Object.keys(properties), properties });
const authenticate = async (request) => await request.jwtVerify();

if (job === "jwt" || job === "post") await app.register(import("@fastify/jwt"), { secret: SECRET });
if (job === "jwt") {
  const schema = { response: { 200: object({ sub: string, roles: { type: "array", items: string } }) } };
  app.get("/me", { onRequest: [authenticate], schema }, async (request) => member(request.user));
} else if (job === "post") {
  const silent = { "x-ratelimit-limit": false, "x-ratelimit-remaining": false, "x-ratelimit-reset": false };
  await app.register(import("@fastify/rate-limit"), {
    max,
    timeWindow: minute,
    addHeaders: { ...silent, "retry-after": false },
    addHeadersOnExceeding: silent,
  });
  const schema = {
    body: object({ name: { type: "string", minLength: 1 }, email: { type: "string", format: "email" } }),
    response: { 201: object({ id: { type: "integer" }, name: string, by: string }) },
  };
  app.post("/api/users", { onRequest: [authenticate], schema }, async (request, reply) => {
    reply.code(201);
    return created(request.body, request.user.sub);
  });
} else {
  app.get("/hello", async () => HELLO);
}
await app.listen(listen);
