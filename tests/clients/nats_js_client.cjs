// Proves the features of a broker with the nats.js client.
//
// Usage: node nats_js_client.cjs nats://HOST:PORT
// Prints a line per feature; ends with 1 at the first that fails.

"use strict";

const assert = require("node:assert");
const { connect, headers, RequestError } = require("@nats-io/transport-node");

const PATIENCE_MS = 10000;

async function collect(subscription, count) {
  const received = [];
  if (count === 0) return received;
  for await (const message of subscription) {
    received.push(message);
    if (received.length === count) break;
  }
  return received;
}

function numbers(count) {
  return [...Array(count).keys()].map(String);
}

const features = {
  async publish_subscribe(client, other) {
    const subscription = client.subscribe("js.*");
    await client.flush();
    numbers(100).forEach((n) => other.publish("js.a", n));
    const received = await collect(subscription, 100);
    assert.deepStrictEqual(received.map((m) => m.string()), numbers(100));
  },

  async request_reply(client, other) {
    client.subscribe("double", {
      callback: (_, message) => message.respond(message.string().repeat(2)),
    });
    await client.flush();
    const answer = await other.request("double", "ab", { timeout: PATIENCE_MS });
    assert.strictEqual(answer.string(), "abab");
  },

  async queue_group(client, other) {
    const members = [client, other].map((c) => c.subscribe("work", { queue: "workers" }));
    await client.flush();
    await other.flush();
    numbers(200).forEach((n) => client.publish("work", n));
    await client.flush();
    await other.flush();
    const received = [];
    for (const member of members) {
      const collected = collect(member);
      await member.drain();
      const messages = await collected;
      assert.ok(messages.length > 0, "a member got nothing of 200 messages");
      received.push(...messages.map((m) => m.string()));
    }
    assert.deepStrictEqual(received.sort(), numbers(200).sort());
  },

  async headers(client, other) {
    const subscription = client.subscribe("headers");
    await client.flush();
    const sent = headers();
    sent.append("Kind", "test");
    other.publish("headers", "body", { headers: sent });
    const [message] = await collect(subscription, 1);
    assert.strictEqual(message.string(), "body");
    assert.strictEqual(message.headers.get("Kind"), "test");
  },

  async no_responders(client) {
    await assert.rejects(client.request("nobody", "?", { timeout: PATIENCE_MS }), (error) =>
      error instanceof RequestError && error.isNoResponders());
  },

  async unsubscribe_after(client, other) {
    const subscription = client.subscribe("limited", { max: 3 });
    await client.flush();
    numbers(5).forEach((n) => other.publish("limited", n));
    const received = await collect(subscription);
    assert.deepStrictEqual(received.map((m) => m.string()), numbers(3));
  },

  async large_payload(client, other) {
    const subscription = client.subscribe("large");
    await client.flush();
    const payload = Buffer.alloc(client.info.max_payload, "x");
    other.publish("large", payload);
    const [message] = await collect(subscription, 1);
    assert.ok(payload.equals(Buffer.from(message.data)));
  },

  async drain(client, other) {
    const subscription = client.subscribe("drain");
    await client.flush();
    numbers(100).forEach((n) => other.publish("drain", n));
    await other.flush();
    await client.flush();
    const collected = collect(subscription);
    await client.drain();
    assert.strictEqual((await collected).length, 100);
    assert.ok(client.isClosed());
  },
};

async function main(servers) {
  for (const [name, feature] of Object.entries(features)) {
    const options = { servers, reconnect: false };
    const [client, other] = [await connect(options), await connect(options)];
    await feature(client, other);
    console.log(`${name}: ok`);
    await client.close();
    await other.close();
  }
}

setTimeout(() => {
  console.error("not done in time");
  process.exit(1);
}, 6 * PATIENCE_MS).unref();

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
