// Gets a token that is bound to a key by DPoP (RFC 9449): ENDPOINT ID SECRET.
// Prints the endpoint's response.

import { createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';

const [endpoint, id, secret] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const jwk = createPublicKey(privateKey).export({ format: 'jwk' });

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const header = part({ typ: 'dpop+jwt', alg: 'ES256', jwk });
const claims = part({
  jti: randomUUID(),
  htm: 'POST',
  htu: endpoint,
  iat: Math.floor(Date.now() / 1000),
});
const signature = sign('sha256', Buffer.from(`${header}.${claims}`), {
  key: privateKey,
  dsaEncoding: 'ieee-p1363',
});

const answer = await fetch(endpoint, {
  method: 'POST',
  headers: { DPoP: `${header}.${claims}.${signature.toString('base64url')}` },
  body: new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: id,
    client_secret: secret,
  }),
});
console.log(await answer.text());
