// An Express and a Fastify application, and a plain server that uses the URL
// parser. Prints the address of each as one line of JSON.
import http from "node:http";
import express from "express";
import Fastify from "fastify";
import methodOverride from "method-override";

const ran = (name) => (request, response) => {
  response.setHeader("x-ran", name);
  response.end(`${name}\n`);
};

const application = express();
// Express's documented way for clients that can't send every method.
application.use(methodOverride("X-HTTP-Method-Override"));
application.use("/open", ran("open"));
application.use("/admin", ran("admin"));
application.all("/exact", ran("exact"));
application.get("/read", ran("read"));
application.use(ran("other"));

const fastify = Fastify();
const reply = (name) => async (request, answer) => answer.header("x-ran", name).send(`${name}\n`);
for (const name of ["open", "admin"]) {
  fastify.all(`/${name}`, reply(name));
  fastify.all(`/${name}/*`, reply(name));
}
fastify.all("/exact", reply("exact"));
fastify.get("/read", reply("read"));
fastify.all("/tenants/:id/keys", reply("keys"));
fastify.setNotFoundHandler(reply("other"));

const plain = (request, response) => {
  let path;
  try {
    path = new URL(request.url, "http://h").pathname;
  } catch {
    response.writeHead(400).end();
    return;
  }
  const first = path.split("/")[1];
  const one = path === `/${first}`;
  const known = ["open", "admin"].includes(first) || (one && first === "exact");
  ran(known ? first : "other")(request, response);
};

await fastify.ready();
const servers = {
  express: http.createServer(application),
  fastify: fastify.server,
  "node-url": http.createServer(plain),
};
const addresses = Object.entries(servers).map(async ([name, server]) => {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return [name, `127.0.0.1:${server.address().port}`];
});
console.log(JSON.stringify(Object.fromEntries(await Promise.all(addresses))));
