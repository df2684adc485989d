// The five schemas in zod and in yup. Reads `[[name, input], ..]` from stdin, and writes the pointers at which each library refuses each input.
import { readFileSync } from "node:fs";
import * as yup from "yup";
import { z } from "zod";

const postalCodes = { US: /^\d{5}$/, GB: /^[A-Z0-9 ]{5,8}$/ };

const inZod = {
  signUp: z
    .object({
      userName: z.string().min(3).max(20),
      email: z.string().email(),
      age: z.number().int().min(18),
      password: z.string().min(8),
      confirmPassword: z.string(),
      newsletter: z.boolean(),
      role: z.enum(["user", "admin"]),
    })
    .refine((user) => user.password === user.confirmPassword, { path: ["confirmPassword"] }),
  address: z.object({
    name: z.string().min(1),
    address: z
      .object({
        street: z.string().min(1),
        country: z.enum(["US", "GB"]),
        postalCode: z.string(),
        state: z.string().length(2).nullish(),
      })
      .superRefine((address, context) => {
        if (!postalCodes[address.country].test(address.postalCode)) {
          context.addIssue({ code: "custom", path: ["postalCode"] });
        }
        if (address.country === "US" && !address.state) {
          context.addIssue({ code: "custom", path: ["state"] });
        }
      }),
  }),
  order: z.object({
    orderId: z.string().min(1),
    lines: z
      .array(
        z.object({
          sku: z.string().regex(/^[A-Z]{3}\d+$/),
          qty: z.number().int().min(1).max(99),
          price: z.number().positive(),
        }),
      )
      .min(1)
      .max(3),
    note: z.string().max(10).nullish(),
  }),
  shape: z.object({
    id: z.number().int().min(0),
    shape: z.discriminatedUnion("type", [
      z.object({ type: z.literal("circle"), radius: z.number().positive() }),
      z.object({ type: z.literal("rect"), width: z.number().positive(), height: z.number().positive() }),
    ]),
  }),
  search: z.object({
    page: z.coerce.number().int().min(1).default(1),
    perPage: z.coerce.number().int().min(1).max(100).optional(),
    sort: z.enum(["asc", "desc"]).optional(),
    q: z.string().min(2).optional(),
    tag: z.array(z.string().min(1)).max(3).optional(),
  }),
};

const positive = () => yup.number().moreThan(0).required();
const shapes = {
  circle: yup.object({ type: yup.string().required(), radius: positive() }),
  rect: yup.object({ type: yup.string().required(), width: positive(), height: positive() }),
};

const inYup = {
  signUp: yup.object({
    userName: yup.string().min(3).max(20).required(),
    email: yup.string().email().required(),
    age: yup.number().integer().min(18).required(),
    password: yup.string().min(8).required(),
    confirmPassword: yup.string().oneOf([yup.ref("password")]).required(),
    newsletter: yup.boolean().required(),
    role: yup.string().oneOf(["user", "admin"]).required(),
  }),
  address: yup.object({
    name: yup.string().required(),
    address: yup
      .object({
        street: yup.string().required(),
        country: yup.string().oneOf(["US", "GB"]).required(),
        postalCode: yup
          .string()
          .required()
          .when("country", ([country], schema) =>
            postalCodes[country] ? schema.matches(postalCodes[country]) : schema,
          ),
        state: yup
          .string()
          .length(2)
          .nullable()
          .when("country", { is: "US", then: (schema) => schema.required() }),
      })
      .default(undefined)
      .required(),
  }),
  order: yup.object({
    orderId: yup.string().required(),
    lines: yup
      .array(
        yup
          .object({
            sku: yup.string().matches(/^[A-Z]{3}\d+$/).required(),
            qty: yup.number().integer().min(1).max(99).required(),
            price: positive(),
          })
          .required(),
      )
      .min(1)
      .max(3)
      .required(),
    note: yup.string().max(10).nullable(),
  }),
  shape: yup.object({
    id: yup.number().integer().min(0).required(),
    shape: yup.lazy((value) =>
      (
        shapes[value?.type] ?? yup.object({ type: yup.string().oneOf(Object.keys(shapes)).required() })
      )
        .default(undefined)
        .required(),
    ),
  }),
  search: yup.object({
    page: yup.number().integer().min(1).default(1),
    perPage: yup.number().integer().min(1).max(100),
    sort: yup.string().oneOf(["asc", "desc"]),
    q: yup.string().min(2),
    tag: yup.array(yup.string().required()).max(3),
  }),
};

function byZod(name, input) {
  const result = inZod[name].safeParse(input);
  return result.success ? [] : result.error.issues.map((issue) => issue.path.map((step) => `/${step}`).join(""));
}

function byYup(name, input) {
  try {
    // Only the values of a query are texts that are coerced.
    inYup[name].validateSync(input, { abortEarly: false, strict: name !== "search" });
    return [];
  } catch (error) {
    return error.inner.concat(error.inner.length ? [] : [error]).map((inner) => {
      const path = inner.path ?? "";
      return path && `/${path.replace(/\[(\d+)\]/g, ".$1").replaceAll(".", "/")}`;
    });
  }
}

const unique = (pointers) => [...new Set(pointers)].sort();
const inputs = JSON.parse(readFileSync(0, "utf8"));
const results = inputs.map(([name, input]) => ({
  zod: unique(byZod(name, input)),
  yup: unique(byYup(name, input)),
}));
process.stdout.write(JSON.stringify(results));
