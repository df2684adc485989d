// A certified issuer, and two clients of it that send requests to an API. Prints one line of JSON for each request: its name and the status.
//
// node issuer.mjs PORT API, where API is the origin of the API

import http from 'node:http';

import * as jose from 'jose';
import * as oauth from 'oauth4webapi';
import Provider from 'oidc-provider';
import * as openid from 'openid-client';

const [port, api] = process.argv.slice(2);
const issuer = `http://localhost:${port}/op`;
const algorithms = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];
const insecure = { [oauth.allowInsecureRequests]: true };

/** A key pair, of which the issuer signs with the private key. */
async function key(alg, kid) {
  const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  return { ...(await jose.exportJWK(privateKey)), alg, kid, use: 'sig' };
}

function provider(keys) {
  const client = (id, grants) => ({
    client_id: id,
    client_secret: `the secret of ${id}, which is long`,
    grant_types: grants,
    redirect_uris: [],
    response_types: [],
  });
  return new Provider(issuer, {
    clients: [client('app', ['client_credentials']), client('api', [])],
    jwks: { keys },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      dPoP: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => {
          const alg = resource.split('/').pop();
          const format = alg === 'opaque' ? 'opaque' : 'jwt';
          const audience = resource.includes('other') ? 'https://other.example' : 'https://api.example';
          return {
            accessTokenFormat: format,
            accessTokenTTL: 600,
            audience,
            scope: 'read',
            ...(format === 'jwt' && { jwt: { sign: { alg } } }),
          };
        },
      },
    },
  });
}

let current;
// Keys that the issuer publishes beside its own.
let twins = [];

async function start(keys) {
  const fresh = provider(keys);
  fresh.on('server_error', (_, error) => console.error(error));
  current = { app: fresh.callback(), keys };
}

const server = http.createServer(async (req, res) => {
  if (req.url === '/op/jwks') {
    const open = ({ d, p, q, dp, dq, qi, ...rest }) => rest;
    res.setHeader('content-type', 'application/jwk-set+json');
    res.end(JSON.stringify({ keys: [...twins, ...current.keys.map(open)] }));
  } else if (req.url.startsWith('/op/')) {
    req.originalUrl = req.url;
    req.url = req.url.slice('/op'.length);
    current.app(req, res);
  } else {
    res.statusCode = 404;
    res.end();
  }
});

function report(name, status) {
  console.log(JSON.stringify({ name, status }));
}

// oauth4webapi

const app = { client_id: 'app' };
const auth = oauth.ClientSecretBasic('the secret of app, which is long');
let as;

async function token(resource, options = {}) {
  const parameters = { resource: `https://api.example/${resource}`, scope: 'read' };
  const request = () => oauth.clientCredentialsGrantRequest(as, app, auth, parameters, { ...options, ...insecure });
  return (await oauth.processClientCredentialsResponse(as, app, await request())).access_token;
}

/** A request with a plain token. */
async function get(name, path, bearer) {
  const response = await fetch(api + path, { headers: { authorization: `Bearer ${bearer}` } });
  report(name, response.status);
}

/** A request with a token and a proof, sent again with the nonce that the API requires. */
async function prove(name, path, bearer, DPoP) {
  const send = () =>
    oauth.protectedResourceRequest(bearer, 'GET', new URL(api + path), undefined, undefined, { DPoP, ...insecure });
  let requests = 1;
  try {
    const response = await send().catch((error) => {
      if (!oauth.isDPoPNonceError(error)) throw error;
      requests += 1;
      return send();
    });
    report(`${name} after ${requests}`, response.status);
  } catch (error) {
    report(`${name} after ${requests}`, error.response?.status ?? String(error));
  }
}

async function main() {
  await new Promise((resolve) => server.listen(port, 'localhost', resolve));
  const keys = await Promise.all(algorithms.map((alg) => key(alg, `first ${alg}`)));
  await start(keys);
  const discovered = await oauth.discoveryRequest(new URL(issuer), insecure);
  as = await oauth.processDiscoveryResponse(new URL(issuer), discovered);

  for (const alg of algorithms) await get(alg, '/jwt', await token(alg));
  await get('another audience', '/jwt', await token('other/ES256'));

  await get('opaque', '/opaque', await token('opaque'));
  await get('opaque, another audience', '/opaque', await token('other/opaque'));
  await get('opaque, unknown', '/opaque', 'unknown');
  await get('a JWT, introspected', '/opaque', await token('ES256'));
  await get('opaque, as a JWT', '/jwt', await token('opaque'));

  const pair = await oauth.generateKeyPair('ES256');
  const other = await oauth.generateKeyPair('ES256');
  const DPoP = oauth.DPoP(app, pair);
  const bound = await token('ES256', { DPoP });
  await prove('dpop', '/dpop', bound, DPoP);
  await prove('dpop again', '/dpop', bound, DPoP);
  await prove('dpop, nested', '/nested/dpop', bound, DPoP);
  await prove('dpop, another key', '/dpop', bound, oauth.DPoP(app, other));
  await get('dpop, as a bearer token', '/dpop', bound);
  await prove('dpop, not bound', '/dpop', await token('ES256'), DPoP);
  const opaque = await token('opaque', { DPoP });
  await prove('dpop, opaque', '/opaque-dpop', opaque, DPoP);
  await prove('dpop, opaque, another key', '/opaque-dpop', opaque, oauth.DPoP(app, other));
  await get('dpop, opaque, as a bearer token', '/opaque-dpop', opaque);

  // openid-client
  const execute = [openid.allowInsecureRequests];
  const config = await openid.discovery(new URL(issuer), 'app', undefined,
    openid.ClientSecretBasic('the secret of app, which is long'), { execute });
  const handle = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair('ES256'));
  const parameters = { resource: 'https://api.example/ES256', scope: 'read' };
  const granted = await openid.clientCredentialsGrant(config, parameters, { DPoP: handle });
  const response = await openid.fetchProtectedResource(config, granted.access_token, new URL(`${api}/dpop`), 'GET',
    undefined, undefined, { DPoP: handle });
  report('openid-client', response.status);

  // The keys change: a key that can't verify has the name of a good one; then a new key; then a restart that forgets all keys.
  const { publicKey } = await jose.generateKeyPair('ECDH-ES', { extractable: true });
  const twin = await jose.exportJWK(publicKey);
  twins = [{ ...twin, alg: 'ECDH-ES', kid: 'second', use: 'enc' }];
  const before = await token('ES256');
  await start([await key('ES256', 'second'), ...keys.filter((one) => one.alg !== 'ES256')]);
  await get('rotated, with a twin', '/jwt', await token('ES256'));
  twins = [];
  await start([await key('ES256', 'second'), await key('RS256', 'first RS256')]);
  await get('restarted', '/jwt', await token('ES256'));
  // Last, as tokens that no known key has signed cause two fetches in a row, and then one in 30 seconds.
  await get('the key before', '/jwt', before);
  const [header, payload, signature] = (await token('ES256')).split('.');
  await get('a changed signature', '/jwt', `${header}.${payload}.${[...signature].reverse().join('')}`);
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
