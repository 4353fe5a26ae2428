// An oidc-provider that grants client credentials. The resource asked for
// determines the access token: urn:e2e:RS256 is a JWT signed with RS256, and
// so on; urn:e2e:opaque is not a JWT. A URL is its own audience, with tokens
// signed with RS256. Prints its issuer when it listens, on the port of its first
// argument or a free one.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const PAIRS = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};

const keys = Object.entries(PAIRS).map(([alg, [type, options]]) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  kid: `key-${alg}`,
  alg,
  use: 'sig',
}));

const ODD_SECRET = 's p"a\'c:e%25+&=\\';
const CLIENTS = [
  ['machine', 'machine-secret', 'client_secret_basic'],
  ['odd: client', ODD_SECRET, 'client_secret_basic'],
  ['odd: poster', ODD_SECRET, 'client_secret_post'],
];

function resourceServer(_context, resource) {
  if (resource.startsWith('http')) {
    const common = { scope: 'invoke', audience: resource, accessTokenTTL: 600 };
    return { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } };
  }
  const alg = resource.slice('urn:e2e:'.length);
  const common = { scope: 'invoke', audience: 'https://api.example', accessTokenTTL: 600 };
  if (alg === 'opaque') {
    return { ...common, accessTokenFormat: 'opaque' };
  }
  return { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
}

const server = createServer();
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: CLIENTS.map(([client_id, client_secret, token_endpoint_auth_method]) => ({
      client_id,
      client_secret,
      token_endpoint_auth_method,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
    },
    jwks: { keys },
    scopes: ['invoke'],
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
