// Proves what a broker does for the npm package ts-nats.
//
// Usage: node js_ts_nats.cjs PACKAGE VERSION; the rest is in the environment, see proof.cjs.

"use strict";

const assert = require("node:assert");
const proof = require("./proof.cjs");
const { connect } = require(process.env.MODULE);

/** A subscription whose messages are collected. */
async function listen(client, subject, options) {
  const received = [];
  received.waiting = () => {};
  const take = (error, message) => {
    assert.ifError(error);
    received.push(message.data);
    received.waiting();
  };
  await client.subscribe(subject, take, options);
  await client.flush();
  return received;
}

function filled(received, count) {
  return new Promise((resolve) => {
    received.waiting = () => received.length >= count && resolve([...received]);
    received.waiting();
  });
}

function withTwo(feature) {
  return async () => {
    const options = { servers: [proof.URL], reconnect: false };
    const [client, other] = [await connect(options), await connect(options)];
    await feature(client, other);
    client.close();
    other.close();
  };
}

async function echo(url, tls) {
  const client = await connect({ servers: [url], tls, reconnect: false });
  const received = await listen(client, "echo");
  client.publish("echo", "hello");
  assert.deepStrictEqual(await filled(received, 1), ["hello"]);
  client.close();
}

proof.prove({
  messages: withTwo(async (client, other) => {
    const received = await listen(client, "ts.*");
    proof.numbers(100).forEach((n) => other.publish("ts.a", n));
    assert.deepStrictEqual(await filled(received, 100), proof.numbers(100));
  }),

  request: withTwo(async (client, other) => {
    await client.subscribe("double", (_, message) => client.publish(message.reply, message.data.repeat(2)));
    await client.flush();
    const answer = await other.request("double", proof.PATIENCE_MS, "ab");
    assert.strictEqual(answer.data, "abab");
  }),

  queue_group: withTwo(async (client, other) => {
    const members = [];
    for (const each of [client, other]) members.push(await listen(each, "work", { queue: "workers" }));
    proof.numbers(200).forEach((n) => client.publish("work", n));
    await client.flush();
    await other.flush();
    members.forEach((member) => assert.ok(member.length > 0, "a member got nothing"));
    assert.deepStrictEqual(members.flat().sort(), proof.numbers(200));
  }),

  async tls() {
    await echo(proof.TLS_URL, proof.tls(proof.CA));
    // It reports this as an event of a client that nobody has yet.
    const refused = new Promise((resolve) => process.once("uncaughtException", resolve));
    const connected = echo(proof.TLS_URL, proof.tls(proof.OTHER_CA)).then(() => "connected", (error) => error);
    const error = await Promise.race([refused, connected]);
    assert.ok(proof.isRefusedCertificate(error), error);
  },

  async certificate() {
    await echo(proof.VERIFYING_URL, proof.tls(proof.CA, true));
  },

  async reconnect() {
    const options = { servers: [proof.URL], reconnectTimeWait: 50, maxReconnectAttempts: -1 };
    const client = await connect(options);
    const received = await listen(client, "again");
    await proof.restartBroker();
    const publisher = await connect({ servers: [proof.URL] });
    const again = setInterval(() => publisher.publish("again", "after"), 20);
    assert.strictEqual((await filled(received, 1))[0], "after");
    clearInterval(again);
  },
});
