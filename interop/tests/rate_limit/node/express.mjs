// Runs express-rate-limit on the cases that it reads, and prints each response: its status and its header fields. The clock stands still, and is set for each
// request, so no case depends on the speed of this machine.
import { once } from 'node:events';

let now = Date.UTC(2026, 0, 5, 12, 0, 0);
const start = now;
const SystemDate = Date;
globalThis.Date = class extends SystemDate {
  constructor(...args) {
    if (args.length === 0) super(now);
    else super(...args);
  }

  static now() {
    return now;
  }
};

const { default: express } = await import('express');
const { rateLimit } = await import('express-rate-limit');

const FIELDS = [
  'retry-after', 'ratelimit', 'ratelimit-policy', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset',
  'x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset',
];

for (const { name, express: settings, requests } of JSON.parse(process.argv[2])) {
  const { keyHeader, skipPath, ...options } = settings;
  if (keyHeader) options.keyGenerator = (request) => request.get(keyHeader);
  if (skipPath) options.skip = (request) => request.path === skipPath;
  const app = express();
  app.set('trust proxy', 1);
  // One store for each case.
  app.use(rateLimit({ validate: false, ...options }));
  app.use((request, response) => response.status(Number(request.query.status ?? 200)).end());
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  for (const { at, client, path, headers } of requests) {
    now = start + at;
    const url = `http://127.0.0.1:${server.address().port}${path}`;
    const response = await fetch(url, { headers: { 'x-forwarded-for': client, ...headers } });
    await response.arrayBuffer();
    const found = {};
    for (const field of FIELDS) {
      const value = response.headers.get(field);
      // The time of the response is not a property of the limit: in seconds from now.
      if (value !== null) found[field] = field === 'x-ratelimit-reset' ? String(value - Math.floor(now / 1000)) : value;
    }
    console.log(JSON.stringify({ case: name, at, status: response.status, fields: found }));
  }
  server.close();
  server.closeAllConnections();
}
process.exit(0);
