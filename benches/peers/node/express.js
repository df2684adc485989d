// The jobs on Express 5, with jsonwebtoken, express-rate-limit and yup.

import express from "express";
import { rateLimit } from "express-rate-limit";
import jsonwebtoken from "jsonwebtoken";
import * as yup from "yup";
import { HELLO, created, job, key, listen, max, member, minute, passes, refusal } from "./contract.js";

const newUser = yup.object({ name: yup.string().min(1).required(), email: yup.string().email().required() });

const refuse = (res, status) => res.status(status).json(refusal(status));

const authenticate = (req, res, next) => {
  const [scheme, token] = req.get("Authorization")?.split(" ") ?? [];
  if (scheme !== "Bearer") return refuse(res, 401);
  try {
    req.user = jsonwebtoken.verify(token, key, { algorithms: ["HS256"] });
  } catch {
    return refuse(res, 401);
  }
  next();
};

const limit = rateLimit({
  windowMs: minute,
  limit: max,
  standardHeaders: false,
  legacyHeaders: false,
  handler: (req, res) => refuse(res, 429),
});

const isJson = (req, res, next) => (req.is("application/json") ? next() : refuse(res, 415));

const validate = async (req, res, next) => {
  try {
    req.body = await newUser.validate(req.body);
  } catch {
    return refuse(res, 422);
  }
  next();
};

const app = express();
app.disable("x-powered-by");
for (let i = 0; i < passes; i++) app.use((req, res, next) => next());
if (job === "jwt") {
  app.get("/me", authenticate, (req, res) => res.json(member(req.user)));
} else if (job === "post") {
  app.post("/api/users", limit, authenticate, isJson, express.json(), validate, (req, res) => {
    res.status(201).json(created(req.body, req.user.sub));
  });
} else {
  app.get("/hello", (req, res) => res.type("text/plain").send(HELLO));
}
app.use((req, res) => refuse(res, 404));
app.use((error, req, res, next) => refuse(res, error.status ?? 500));
app.listen(listen.port, listen.host);
