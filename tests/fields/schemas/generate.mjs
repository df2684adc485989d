// Schemas in zod 3.25.76 and yup 1.6.1, random inputs, and the pointers at which zod refuses each: one JSON text on a line of `cases.jsonl`.
//
//     npm install zod@3.25.76 yup@1.6.1
//     node generate.mjs > cases.jsonl
//
// It fails if yup refuses an input at other pointers.
import * as yup from "yup";
import { z } from "zod";

// The same numbers each time.
let seed = 5;
const random = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
const pick = (list) => list[Math.floor(random() * list.length)];
const time = /^\d\d:\d\d$/;

const inZod = {
  booking: z.object({
    hotelId: z.string().regex(/^[A-Z]{2}\d{4}$/),
    nights: z.number().int().min(1).max(30),
    guests: z.object({ adults: z.number().int().min(1).max(8), children: z.number().int().min(0).max(6).default(0) }),
    rooms: z.array(z.object({ roomType: z.enum(["single", "double", "suite"]), extraBed: z.boolean().nullish(), note: z.string().max(12).nullish() })).min(1).max(4),
    extras: z.array(z.enum(["breakfast", "parking", "late-checkout"])).max(3).nullish(),
    paidAmount: z.number().min(0).max(100000),
  }),
  profile: z.object({
    displayName: z.string().min(2).max(10),
    birthYear: z.number().int().min(1900).max(2020).nullish(),
    tags: z.array(z.string().min(1).max(6)).max(3).default([]),
    scores: z.record(z.string(), z.number().int().min(0).max(100)),
    links: z.record(z.string(), z.object({ url: z.string().min(5), label: z.string().max(8).nullish() })).nullish(),
    contact: z.object({ primaryEmail: z.string().email(), phones: z.array(z.object({ countryCode: z.number().int().min(1).max(999), number: z.string().regex(/^\d+$/) })).min(1) }),
  }),
  payment: z.object({
    orderRef: z.string().min(1),
    amount: z.number().positive(),
    currency: z.enum(["EUR", "USD", "GBP"]),
    method: z.discriminatedUnion("type", [
      z.object({ type: z.literal("card"), cardNumber: z.string().regex(/^\d{16}$/), expMonth: z.number().int().min(1).max(12), expYear: z.number().int().min(2024), holder: z.object({ firstName: z.string().min(1), lastName: z.string().min(1) }) }),
      z.object({ type: z.literal("bank-transfer"), iban: z.string().min(15).max(34), bic: z.string().min(8).nullish() }),
      z.object({ type: z.literal("invoice"), companyName: z.string().min(1), vatId: z.string().nullish() }),
    ]),
  }),
  survey: z.object({
    title: z.string().min(1).max(20),
    sections: z.array(z.object({
      heading: z.string().min(1),
      questions: z.array(z.discriminatedUnion("kind", [
        z.object({ kind: z.literal("text"), prompt: z.string().min(1), maxLength: z.number().int().min(1).max(500).nullish() }),
        z.object({ kind: z.literal("choice"), prompt: z.string().min(1), options: z.array(z.object({ id: z.number().int().min(0), text: z.string().min(1) })).min(2) }),
        z.object({ kind: z.literal("rating"), scaleMax: z.number().int().min(3).max(10) }),
      ])).min(1),
    })).min(1).max(3),
  }),
  settings: z.object({
    theme: z.enum(["light", "dark", "system"]).nullish(),
    fontSize: z.number().int().min(8).max(72).nullish(),
    notifications: z.object({ email: z.boolean().nullish(), push: z.boolean().nullish(), quietHours: z.object({ from: z.string().regex(time), to: z.string().regex(time) }).nullish() }).nullish(),
    position: z.tuple([z.number().min(-90).max(90), z.number().min(-180).max(180)]).nullish(),
    volume: z.number().min(0).max(1),
  }),
};
const yr = (s) => s.required();
const inYup = {
  booking: yup.object({
    hotelId: yup.string().matches(/^[A-Z]{2}\d{4}$/).required(),
    nights: yup.number().integer().min(1).max(30).required(),
    guests: yup.object({ adults: yup.number().integer().min(1).max(8).required(), children: yup.number().integer().min(0).max(6) }).default(undefined).required(),
    rooms: yup.array(yup.object({ roomType: yup.string().oneOf(["single", "double", "suite"]).required(), extraBed: yup.boolean().nullable(), note: yup.string().max(12).nullable() }).required()).min(1).max(4).required(),
    extras: yup.array(yup.string().oneOf(["breakfast", "parking", "late-checkout"]).required()).max(3).nullable(),
    paidAmount: yup.number().min(0).max(100000).required(),
  }),
};
const union = (map, tag) => yup.lazy((v) => (map[v?.[tag]] ?? yup.object({ [tag]: yup.string().oneOf(Object.keys(map)).required() })).default(undefined).required());
inYup.payment = yup.object({
  orderRef: yup.string().required(), amount: yup.number().moreThan(0).required(), currency: yup.string().oneOf(["EUR", "USD", "GBP"]).required(),
  method: union({
    card: yup.object({ type: yup.string().required(), cardNumber: yup.string().matches(/^\d{16}$/).required(), expMonth: yup.number().integer().min(1).max(12).required(), expYear: yup.number().integer().min(2024).required(), holder: yup.object({ firstName: yup.string().required(), lastName: yup.string().required() }).default(undefined).required() }),
    "bank-transfer": yup.object({ type: yup.string().required(), iban: yup.string().min(15).max(34).required(), bic: yup.string().min(8).nullable() }),
    invoice: yup.object({ type: yup.string().required(), companyName: yup.string().required(), vatId: yup.string().nullable() }),
  }, "type"),
});
inYup.survey = yup.object({
  title: yup.string().max(20).required(),
  sections: yup.array(yup.object({
    heading: yup.string().required(),
    questions: yup.array(union({
      text: yup.object({ kind: yup.string().required(), prompt: yup.string().required(), maxLength: yup.number().integer().min(1).max(500).nullable() }),
      choice: yup.object({ kind: yup.string().required(), prompt: yup.string().required(), options: yup.array(yup.object({ id: yup.number().integer().min(0).required(), text: yup.string().required() }).required()).min(2).required() }),
      rating: yup.object({ kind: yup.string().required(), scaleMax: yup.number().integer().min(3).max(10).required() }),
    }, "kind")).min(1).required(),
  }).required()).min(1).max(3).required(),
});
const valid = {
  booking: () => ({ hotelId: "AB1234", nights: 3, guests: { adults: 2, children: 1 }, rooms: [{ roomType: "double", extraBed: true, note: null }, { roomType: "suite", note: "quiet" }], extras: ["parking"], paidAmount: 99.5 }),
  profile: () => ({ displayName: "Ann Lee", birthYear: 1990, tags: ["a", "bc"], scores: { math: 90, art: 100 }, links: { home: { url: "https://a.de", label: "Home" } }, contact: { primaryEmail: "a@b.de", phones: [{ countryCode: 49, number: "123" }, { countryCode: 1, number: "5" }] } }),
  payment: () => ({ orderRef: "o1", amount: 10.5, currency: "EUR", method: pick([{ type: "card", cardNumber: "4111111111111111", expMonth: 12, expYear: 2030, holder: { firstName: "A", lastName: "B" } }, { type: "bank-transfer", iban: "DE89370400440532013000", bic: "DEUTDEFF" }, { type: "invoice", companyName: "ACME", vatId: null }]) }),
  survey: () => ({ title: "T", sections: [{ heading: "H", questions: [{ kind: "text", prompt: "p", maxLength: 5 }, { kind: "choice", prompt: "p", options: [{ id: 0, text: "a" }, { id: 1, text: "b" }] }] }, { heading: "I", questions: [{ kind: "rating", scaleMax: 5 }] }] }),
  settings: () => ({ theme: "dark", fontSize: 12, notifications: { email: true, push: false, quietHours: { from: "22:00", to: "06:00" } }, position: [50.1, 8.6], volume: 0.5 }),
};
function paths(v, p = []) {
  const out = p.length ? [p] : [];
  if (v && typeof v === "object") for (const k of Object.keys(v)) out.push(...paths(v[k], [...p, Array.isArray(v) ? Number(k) : k]));
  return out;
}
const values = ["", "x", "toolongtextfortheschema", 0, -1, 1.5, 101, 1e9, true, {}, [], null, "DELETE", "DELETE"];
function mutate(v) {
  const p = pick(paths(v)); if (!p) return v;
  const q = p.slice(0, -1), last = p.at(-1);
  let o = v; for (const s of q) o = o[s];
  const value = pick(values);
  if (value === "DELETE") { if (Array.isArray(o)) o.splice(last, 1); else delete o[last]; } else o[last] = structuredClone(value);
  return v;
}

const pointer = (path) => path.map((step) => `/${step}`).join("");
const unique = (pointers) => [...new Set(pointers)].sort();

function byZod(name, input) {
  const result = inZod[name].safeParse(input);
  return result.success ? [] : unique(result.error.issues.map((issue) => pointer(issue.path)));
}

function byYup(name, input) {
  try {
    inYup[name].validateSync(input, { abortEarly: false, strict: true });
    return [];
  } catch (error) {
    const inner = error.inner.length ? error.inner : [error];
    return unique(inner.map(({ path }) => path && `/${path.replace(/\[(\d+)\]/g, ".$1").replaceAll(".", "/")}`));
  }
}

for (const name of Object.keys(inZod)) {
  for (let count = 0; count < 40; count++) {
    let input = valid[name]();
    for (let changes = Math.floor(random() * 5); changes > 0; changes--) input = mutate(input);
    const found = byZod(name, input);
    if (inYup[name] && JSON.stringify(byYup(name, input)) !== JSON.stringify(found)) throw new Error(JSON.stringify(input));
    console.log(JSON.stringify([name, input, found]));
  }
}
