// Prints the verdict of `jose` (npm) on each case of cases.json: `node jose.mjs`.
import { readFileSync } from "node:fs";
import { createLocalJWKSet, jwtVerify } from "jose";

const cases = JSON.parse(readFileSync(new URL("cases.json", import.meta.url)));
for (const { name, jwks, algorithms, token } of cases) {
  let accepted = true;
  try {
    const options = { algorithms, issuer: "https://issuer.example", audience: "api", clockTolerance: 60, requiredClaims: ["exp"] };
    await jwtVerify(token, createLocalJWKSet(jwks), options);
  } catch {
    accepted = false;
  }
  console.log(`${name}\tjose\t${accepted}`);
}
