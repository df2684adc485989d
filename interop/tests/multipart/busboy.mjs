// Reads `[[content type, body in base64], ..]` from stdin, and writes for each the parts that busboy finds, `[[name, file name, value in hex], ..]`,
// or "refused".
import { readFileSync } from "node:fs";
import busboy from "busboy";

function read(type, body) {
  return new Promise((resolve) => {
    const parts = [];
    const refuse = () => resolve("refused");
    let parser;
    try {
      // As browsers write names, and without a change of paths.
      parser = busboy({ headers: { "content-type": type }, defParamCharset: "utf8", preservePath: true });
    } catch {
      return refuse();
    }
    const hex = (value) => Buffer.from(value).toString("hex");
    // A part without a name is not a part of a form.
    const push = (part) => part[0] !== undefined && parts.push(part);
    parser.on("field", (name, value) => push([name, null, hex(value)]));
    parser.on("file", (name, stream, info) => {
      const part = [name, info.filename ?? null, ""];
      push(part);
      stream.on("data", (chunk) => (part[2] += hex(chunk)));
      stream.on("error", refuse);
    });
    parser.on("error", refuse);
    parser.on("close", () => resolve(parts));
    parser.end(body);
  });
}

const results = [];
for (const [type, body] of JSON.parse(readFileSync(0, "utf8"))) {
  results.push(await read(type, Buffer.from(body, "base64")));
}
process.stdout.write(JSON.stringify(results));
