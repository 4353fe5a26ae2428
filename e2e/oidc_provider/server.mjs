// An oidc-provider that grants client credentials. The resource asked for
// decides how the access token is made: urn:e2e:RS256 is a JWT signed so, and
// so on; urn:e2e:opaque is no JWT. Prints its issuer when it listens.

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

function resourceServer(_context, resource) {
  const alg = resource.slice('urn:e2e:'.length);
  const common = { scope: 'invoke', audience: 'https://api.example', accessTokenTTL: 600 };
  if (alg === 'opaque') {
    return { ...common, accessTokenFormat: 'opaque' };
  }
  return { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'machine',
        client_secret: 'machine-secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
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
