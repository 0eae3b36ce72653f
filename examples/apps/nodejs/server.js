import { app } from "./app.js";

const server = app();
const port = Number(process.env.PORT ?? 8080);

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => server.close());
}
await server.listen({ port, host: "::" });
