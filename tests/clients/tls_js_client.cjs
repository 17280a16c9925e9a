// Sends itself a message over TLS with the nats.js client.
//
// Usage: node tls_js_client.cjs PORT CA_FILE [CERT_FILE KEY_FILE]
// Says `served`, or ends with 1.

"use strict";

const assert = require("node:assert");
const { connect } = require("@nats-io/transport-node");

async function main(port, caFile, certFile, keyFile) {
  const own = certFile ? { certFile, keyFile } : {};
  const client = await connect({
    servers: `tls://localhost:${port}`,
    tls: { caFile, ...own },
    reconnect: false,
    timeout: 10000,
  });
  const subscription = client.subscribe("echo", { max: 1 });
  client.publish("echo", "hello");
  await client.flush();
  for await (const message of subscription) {
    assert.strictEqual(message.string(), "hello");
  }
  await client.close();
  console.log("served");
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
