// Proves the features of a broker with nats.js as a page of a browser uses it: over WebSocket.
//
// Usage: node --experimental-websocket nats_js_page.cjs ws://HOST:PORT
// Ends with 1 at the first feature that fails.

"use strict";

const assert = require("node:assert");
const { wsconnect, headers } = require("@nats-io/nats-core");

async function main(url) {
  const options = { servers: url, timeout: 10000, reconnect: false };
  const [client, other] = [await wsconnect(options), await wsconnect(options)];

  const subscription = client.subscribe("page.*", { max: 500 });
  await client.flush();
  for (let n = 0; n < 500; n++) other.publish("page.a", "x".repeat(n * 10));
  let count = 0;
  for await (const message of subscription) {
    assert.strictEqual(message.data.length, count * 10);
    count++;
  }
  assert.strictEqual(count, 500);

  client.subscribe("double", {
    callback: (_, message) => {
      const answer = headers();
      answer.set("kind", message.headers.get("kind"));
      message.respond(message.string().repeat(2), { headers: answer });
    },
  });
  await client.flush();
  const question = headers();
  question.set("kind", "test");
  const answer = await other.request("double", "ab", { timeout: 10000, headers: question });
  assert.strictEqual(answer.string(), "abab");
  assert.strictEqual(answer.headers.get("kind"), "test");

  const big = new Uint8Array(1000000).map((_, at) => at);
  const one = client.subscribe("big", { max: 1 });
  await client.flush();
  other.publish("big", big);
  for await (const message of one) assert.deepStrictEqual(message.data, big);

  await assert.rejects(other.request("nobody", "", { timeout: 10000 }));
  await client.drain();
  await other.close();
  console.log("all work");
}

main(process.argv[2]).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
