// Clients that obey `Retry-After`, with their own settings: each sends four requests one after another, and prints the status of each.
import axios from 'axios';
import axiosRetry from 'axios-retry';
import got from 'got';
import ky from 'ky';

const url = process.argv[2];
const retried = axios.create();
axiosRetry(retried, {
  retries: 3,
  // Its default repeats network errors and 5xx alone. Its default delay is that of `Retry-After`.
  retryCondition: (error) => error.response?.status === 429,
});

const clients = {
  'axios-retry': async (headers) => (await retried.get(url, { headers })).status,
  got: async (headers) => (await got(url, { headers })).statusCode,
  ky: async (headers) => (await ky(url, { headers })).status,
  // A client that reads `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10) and sends no request before it may.
  RateLimit: async (headers) => {
    const response = await fetch(url, { headers });
    const [, remaining, reset] = /;r=(\d+);t=(\d+)/.exec(response.headers.get('ratelimit'));
    if (remaining === '0') await new Promise((done) => setTimeout(done, reset * 1000));
    return response.status;
  },
};

await Promise.all(Object.entries(clients).map(async ([name, send]) => {
  for (let count = 0; count < 4; count += 1) {
    console.log(JSON.stringify({ name, status: await send({ 'x-client': name }) }));
  }
}));
