// A server of the Model Context Protocol with one tool, over streamable HTTP,
// without support for tokens. Prints its address when it listens.

import { createServer } from 'node:http';

import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';

function mcpServer() {
  const server = new McpServer({ name: 'e2e', version: '1.0.0' });
  server.registerTool('greet', { description: 'Says hello' }, (extra) => ({
    content: [{ type: 'text', text: `hello ${extra.requestInfo.headers['x-auth-subject']}` }],
  }));
  return server;
}

const http = createServer(async (request, response) => {
  // Without sessions every request has its own server.
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: undefined,
    enableJsonResponse: true,
  });
  response.on('close', () => transport.close());
  await mcpServer().connect(transport);
  await transport.handleRequest(request, response);
});
http.listen(0, '127.0.0.1', () => console.log(`127.0.0.1:${http.address().port}`));
