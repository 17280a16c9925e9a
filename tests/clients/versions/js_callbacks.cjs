// Proves what a broker does for the npm package nats before 2.0, which works by callbacks.
//
// Usage: node js_callbacks.cjs PACKAGE VERSION; the rest is in the environment, see proof.cjs.

"use strict";

const assert = require("node:assert");
const proof = require("./proof.cjs");
const NATS = require(process.env.MODULE);

// Before 1.0 it ends its own connection when TLS begins, at least with Node.js 20.
const HAS_TLS = !process.argv[3].startsWith("0.");

function connect(url, options) {
  return new Promise((resolve, reject) => {
    const client = NATS.connect({ url, reconnect: false, ...options });
    client.on("error", reject);
    client.on("connect", () => resolve(client));
  });
}

const settle = (client) => new Promise((resolve) => client.flush(resolve));

/** A subscription whose messages are collected. */
async function listen(client, subject, options) {
  const received = [];
  received.waiting = () => {};
  client.subscribe(subject, options || {}, (message) => {
    received.push(message);
    received.waiting();
  });
  await settle(client);
  return received;
}

function filled(received, count) {
  return new Promise((resolve) => {
    received.waiting = () => received.length >= count && resolve(received);
    received.waiting();
  });
}

function withTwo(feature) {
  return async () => {
    const [client, other] = [await connect(proof.URL), await connect(proof.URL)];
    await feature(client, other);
    client.close();
    other.close();
  };
}

async function echo(url, tls) {
  const client = await connect(url, { tls });
  const received = await listen(client, "echo");
  client.publish("echo", "hello");
  assert.deepStrictEqual([...(await filled(received, 1))], ["hello"]);
  client.close();
}

proof.prove({
  messages: withTwo(async (client, other) => {
    const received = await listen(client, "js.*");
    proof.numbers(100).forEach((n) => other.publish("js.a", n));
    assert.deepStrictEqual([...(await filled(received, 100))], proof.numbers(100));
  }),

  request: withTwo(async (client, other) => {
    client.subscribe("double", (message, reply) => client.publish(reply, message + message));
    await settle(client);
    const answer = await new Promise((resolve) => other.request("double", "ab", { max: 1 }, resolve));
    assert.strictEqual(answer, "abab");
  }),

  queue_group: withTwo(async (client, other) => {
    const members = [];
    for (const each of [client, other]) members.push(await listen(each, "work", { queue: "workers" }));
    proof.numbers(200).forEach((n) => client.publish("work", n));
    await settle(client);
    await settle(other);
    members.forEach((member) => assert.ok(member.length > 0, "a member got nothing"));
    assert.deepStrictEqual(members.flat().sort(), proof.numbers(200));
  }),

  ...(HAS_TLS && {
    async tls() {
      await echo(proof.TLS_URL, proof.tls(proof.CA));
      await assert.rejects(connect(proof.TLS_URL, { tls: proof.tls(proof.OTHER_CA) }), (error) =>
        proof.isRefusedCertificate(error),
      );
    },

    async certificate() {
      await echo(proof.VERIFYING_URL, proof.tls(proof.CA, true));
    },
  }),

  async reconnect() {
    const options = { reconnect: true, reconnectTimeWait: 50, maxReconnectAttempts: -1 };
    const client = await connect(proof.URL, options);
    const received = await listen(client, "again");
    await proof.restartBroker();
    const publisher = await connect(proof.URL);
    const again = setInterval(() => publisher.publish("again", "after"), 20);
    assert.strictEqual((await filled(received, 1))[0], "after");
    clearInterval(again);
  },
});
