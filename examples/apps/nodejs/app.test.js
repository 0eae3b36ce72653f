import assert from "node:assert/strict";
import test from "node:test";

import { app } from "./app.js";

test("it tells what it is made of", async () => {
  const answer = await app().inject("/");
  assert.equal(answer.statusCode, 200);
  assert.ok(answer.body.includes(process.versions.openssl));
});

test("it reads the tide table", async () => {
  const answer = await app().inject("/tides");
  assert.equal(answer.json()[0].port, "Bristol");
});
