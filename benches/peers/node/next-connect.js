// The jobs on next-connect 1, on node:http. As in its documentation, missing middleware is that of Express: express-rate-limit and
// body-parser; jsonwebtoken and yup are used for the rest. One router for one path, as in Next.js, where the files are the paths.

import { createServer } from "node:http";
import bodyParser from "body-parser";
import { rateLimit } from "express-rate-limit";
import jsonwebtoken from "jsonwebtoken";
import { createRouter, expressWrapper } from "next-connect";
import * as yup from "yup";
import { HELLO, created, job, key, listen, max, member, minute, passes, refusal } from "./contract.js";

const newUser = yup.object({ name: yup.string().min(1).required(), email: yup.string().email().required() });

const json = (res, status, value) => {
  res.statusCode = status;
  res.setHeader("Content-Type", "application/json");
  res.end(JSON.stringify(value));
};

const authenticate = (req, res, next) => {
  const [scheme, token] = req.headers.authorization?.split(" ") ?? [];
  if (scheme !== "Bearer") return json(res, 401, refusal(401));
  try {
    req.user = jsonwebtoken.verify(token, key, { algorithms: ["HS256"] });
  } catch {
    return json(res, 401, refusal(401));
  }
  return next();
};

const limit = rateLimit({
  windowMs: minute,
  limit: max,
  standardHeaders: false,
  legacyHeaders: false,
  keyGenerator: (req) => req.socket.remoteAddress,
  handler: (req, res) => json(res, 429, refusal(429)),
  validate: false,
});

const isJson = (req, res, next) =>
  req.headers["content-type"]?.startsWith("application/json") ? next() : json(res, 415, refusal(415));

const validate = async (req, res, next) => {
  try {
    req.body = await newUser.validate(req.body);
  } catch {
    return json(res, 422, refusal(422));
  }
  return next();
};

const router = createRouter();
let path = "/hello";
for (let i = 0; i < passes; i++) router.use(async (req, res, next) => await next());
if (job === "jwt") {
  path = "/me";
  router.use(authenticate).get((req, res) => json(res, 200, member(req.user)));
} else if (job === "post") {
  path = "/api/users";
  router
    .use(expressWrapper(limit))
    .use(authenticate)
    .use(isJson)
    .use(expressWrapper(bodyParser.json()))
    .use(validate)
    .post((req, res) => json(res, 201, created(req.body, req.user.sub)));
} else {
  router.get((req, res) => {
    res.setHeader("Content-Type", "text/plain; charset=utf-8");
    res.end(HELLO);
  });
}

const handler = router.handler({
  onError: (error, req, res) => json(res, error.status ?? 500, refusal(error.status ?? 500)),
  onNoMatch: (req, res) => json(res, 404, refusal(404)),
});
createServer((req, res) => (req.url === path ? handler(req, res) : json(res, 404, refusal(404)))).listen(listen);
