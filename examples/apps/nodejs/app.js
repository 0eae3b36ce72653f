import { readFile } from "node:fs/promises";

import helmet from "@fastify/helmet";
import { parse } from "csv-parse/sync";
import Fastify from "fastify";

const tides = parse(await readFile(new URL("tides.csv", import.meta.url)), { columns: true });

// app gives the service, not yet listening.
export function app() {
  const service = Fastify({ logger: true });
  service.register(helmet);
  service.get("/", async (_, reply) => {
    reply.type("text/plain");
    return `chandler on Node.js ${process.versions.node}\nopenssl: ${process.versions.openssl}\nfastify: ${service.version}\n`;
  });
  service.get("/healthz", async () => "ok");
  service.get("/tides", async () => tides);
  return service;
}
