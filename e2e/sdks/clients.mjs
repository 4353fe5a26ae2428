// Asks an LLM gateway through one of the official TypeScript SDKs, which the
// argument names. Reads a list of cases from stdin, `{base_url, token,
// max_retries}` each, and prints the list of results.

import { text } from 'node:stream/consumers';

const messages = [{ role: 'user', content: 'hello' }];

const sdks = {
  async openai({ base_url, token, max_retries }) {
    const { default: OpenAI } = await import('openai');
    const client = new OpenAI({ baseURL: `${base_url}/v1`, apiKey: token, maxRetries: max_retries });
    const completion = await client.chat.completions.create({ model: 'double', messages });
    return completion.choices[0].message.content;
  },
  async anthropic({ base_url, token, max_retries }) {
    const { default: Anthropic } = await import('@anthropic-ai/sdk');
    const client = new Anthropic({ baseURL: base_url, apiKey: token, maxRetries: max_retries });
    const message = await client.messages.create({ model: 'double', max_tokens: 16, messages });
    return message.content[0].text;
  },
};

const ask = sdks[process.argv[2]];

async function outcome(test) {
  const started = performance.now();
  const told = {};
  try {
    told.text = await ask(test);
  } catch (error) {
    if (error.status === undefined) {
      throw error;
    }
    // OpenAI's SDK takes the object out of `error`, Anthropic's does not.
    const parsed = error.error?.error ?? error.error ?? {};
    told.raised = error.constructor.name;
    told.status = error.status;
    told.shown = error.message;
    told.message = parsed.message;
    told.type = parsed.type;
    told.code = parsed.code;
  }
  return { ...told, seconds: (performance.now() - started) / 1000 };
}

const outcomes = [];
for (const test of JSON.parse(await text(process.stdin))) {
  outcomes.push(await outcome(test));
}
console.log(JSON.stringify(outcomes));
