// Prints the verdict of the libraries of the senders (npm) on each case of cases.json: `node peers.mjs`.
import { readFileSync } from "node:fs";
import { verify } from "@octokit/webhooks-methods";
import { Webhook } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as Svix } from "svix";

const now = 1_700_000_000;
Date.now = () => now * 1000;

const libraries = {
  standardwebhooks: ["standard", ({ secret, headers, body }) => new Webhook(secret).verify(body, headers)],
  svix: ["standard", ({ secret, headers, body }) => new Svix(secret).verify(body, headers)],
  stripe: [
    "stripe",
    ({ secret, headers, body }) => Stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret, 300, undefined, now * 1000),
  ],
  octokit: [
    "github",
    async ({ secret, headers, body }) => {
      if (!(await verify(secret, body, headers["x-hub-signature-256"]))) throw new Error("not valid");
    },
  ],
};
const cases = JSON.parse(readFileSync(new URL("cases.json", import.meta.url)));
for (const one of cases) {
  for (const [name, [format, check]] of Object.entries(libraries)) {
    if (format !== one.format) continue;
    let accepted = true;
    try {
      await check(one);
    } catch (error) {
      // The libraries also parse the body, which is not a part of the signature.
      accepted = error instanceof SyntaxError;
    }
    console.log(`${one.name}\t${name}\t${accepted}`);
  }
}
