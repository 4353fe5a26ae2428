// An MCP client that knows only a server's URL (first argument) and its own
// client id and secret. Prints what it discovers and a tool's result.

import {
  discoverAuthorizationServerMetadata,
  discoverOAuthProtectedResourceMetadata,
  extractWWWAuthenticateParams,
} from '@modelcontextprotocol/sdk/client/auth.js';
import { ClientCredentialsProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const serverUrl = process.argv[2];

const refused = await fetch(serverUrl, { method: 'POST' });
const challenge = extractWWWAuthenticateParams(refused);
const resource = await discoverOAuthProtectedResourceMetadata(serverUrl, {
  resourceMetadataUrl: challenge.resourceMetadataUrl,
});
const guessed = await discoverOAuthProtectedResourceMetadata(serverUrl);
const issuer = await discoverAuthorizationServerMetadata(resource.authorization_servers[0]);

const authProvider = new ClientCredentialsProvider({
  clientId: 'machine',
  clientSecret: 'machine-secret',
  // This provider requests the scope that it is given, not the challenge's.
  scope: challenge.scope,
  expectedIssuer: issuer.issuer,
});
const client = new Client({ name: 'e2e', version: '1.0.0' });
await client.connect(new StreamableHTTPClientTransport(new URL(serverUrl), { authProvider }));
const { content } = await client.callTool({ name: 'greet' });
await client.close();

console.log(
  JSON.stringify({
    status: refused.status,
    challenge,
    resource,
    guessed,
    tokenEndpoint: issuer.token_endpoint,
    said: content[0].text,
  }),
);
