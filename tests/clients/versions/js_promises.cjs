// Proves what a broker does for the npm packages nats from 2.0 on, @nats-io/transport-node, and by
// WebSocket nats.ws.
//
// Usage: node js_promises.cjs PACKAGE VERSION; the rest is in the environment, see proof.cjs. Over
// WebSocket Node.js takes the CA from NODE_EXTRA_CA_CERTS, which it reads at its start.

"use strict";

const assert = require("node:assert");
const { spawnSync } = require("node:child_process");
const proof = require("./proof.cjs");
const { connect, headers } = require(process.env.MODULE);

const IS_WEBSOCKET = process.argv[2] === "nats.ws";
const PLAIN = IS_WEBSOCKET ? proof.WEBSOCKET_URL : proof.URL;
const TLS = IS_WEBSOCKET ? proof.WEBSOCKET_TLS_URL : proof.TLS_URL;
const text = (message) => Buffer.from(message.data).toString();

function open(servers, options) {
  return connect({ servers, reconnect: false, timeout: proof.PATIENCE_MS, ...options });
}

async function collect(subscription, count) {
  const received = [];
  for await (const message of subscription) {
    received.push(message);
    if (received.length === count) break;
  }
  return received;
}

function withTwo(feature) {
  return async () => {
    const [client, other] = [await open(PLAIN), await open(PLAIN)];
    await feature(client, other);
    await client.close();
    await other.close();
  };
}

async function echo(url, options) {
  const client = await open(url, options);
  const subscription = client.subscribe("echo");
  client.publish("echo", Buffer.from("hello"));
  assert.deepStrictEqual((await collect(subscription, 1)).map(text), ["hello"]);
  await client.close();
}

/** Whether a Node.js that does not know the CA refuses the broker. */
function refusesUnknown() {
  const run = spawnSync(process.execPath, [...process.execArgv, ...process.argv.slice(1), "echo"], {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: proof.OTHER_CA },
    encoding: "utf8",
  });
  assert.strictEqual(run.status, 3, run.stdout + run.stderr);
}

if (process.argv[4] === "echo") {
  echo(TLS).then(
    () => process.exit(0),
    () => process.exit(3),
  );
} else {
  proof.prove({
    messages: withTwo(async (client, other) => {
      const subscription = client.subscribe("js.*");
      await client.flush();
      proof.numbers(100).forEach((n) => other.publish("js.a", Buffer.from(n)));
      assert.deepStrictEqual((await collect(subscription, 100)).map(text), proof.numbers(100));
    }),

    request: withTwo(async (client, other) => {
      client.subscribe("double", {
        callback: (_, message) => message.respond(Buffer.from(text(message).repeat(2))),
      });
      await client.flush();
      const answer = await other.request("double", Buffer.from("ab"), { timeout: proof.PATIENCE_MS });
      assert.strictEqual(text(answer), "abab");
    }),

    queue_group: withTwo(async (client, other) => {
      const members = [client, other].map((each) => each.subscribe("work", { queue: "workers" }));
      await client.flush();
      await other.flush();
      proof.numbers(200).forEach((n) => client.publish("work", Buffer.from(n)));
      await client.flush();
      await other.flush();
      const received = [];
      for (const member of members) {
        const collected = collect(member);
        await member.drain();
        const messages = await collected;
        assert.ok(messages.length > 0, "a member got nothing of 200 messages");
        received.push(...messages.map(text));
      }
      assert.deepStrictEqual(received.sort(), proof.numbers(200));
    }),

    headers: withTwo(async (client, other) => {
      const subscription = client.subscribe("headers");
      await client.flush();
      const sent = headers();
      sent.append("Kind", "test");
      other.publish("headers", Buffer.from("body"), { headers: sent });
      const [message] = await collect(subscription, 1);
      assert.strictEqual(text(message), "body");
      assert.strictEqual(message.headers.get("Kind"), "test");
    }),

    async tls() {
      if (IS_WEBSOCKET) {
        await echo(TLS);
        return refusesUnknown();
      }
      await echo(TLS, { tls: { caFile: proof.CA } });
      await assert.rejects(echo(TLS, { tls: { caFile: proof.OTHER_CA } }), (error) =>
        proof.isRefusedCertificate(error),
      );
    },

    ...(IS_WEBSOCKET || {
      async certificate() {
        const tls = { caFile: proof.CA, certFile: proof.CERT, keyFile: proof.KEY };
        await echo(proof.VERIFYING_URL, { tls });
      },
    }),

    async reconnect() {
      const options = { reconnect: true, reconnectTimeWait: 50, maxReconnectAttempts: -1 };
      const client = await open(PLAIN, options);
      const received = collect(client.subscribe("again"), 1);
      await client.flush();
      await proof.restartBroker();
      const publisher = await open(PLAIN);
      const again = setInterval(() => publisher.publish("again", Buffer.from("after")), 20);
      assert.strictEqual(text((await received)[0]), "after");
      clearInterval(again);
    },
  });
}
