// What the client programs in JavaScript share. js_*.cjs use it, which client_versions.rs starts:
// MODULE in the environment is where the library lies.

"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const readline = require("node:readline");

const PATIENCE_MS = 60000;
const env = process.env;

/** Files as options of TLS: the CA, and with `own` the client's certificate. */
function tls(caFile, own) {
  const options = { ca: [fs.readFileSync(caFile)], rejectUnauthorized: true };
  return own ? { ...options, cert: fs.readFileSync(env.CERT), key: fs.readFileSync(env.KEY) } : options;
}

/** Has the broker killed and started again. */
async function restartBroker() {
  const input = readline.createInterface({ input: process.stdin });
  console.log("restart");
  for await (const line of input) {
    assert.strictEqual(line, "restarted");
    break;
  }
  input.close();
}

/** Whether the client found that it does not know who signed the broker's certificate. */
function isRefusedCertificate(error) {
  for (let at = error; at; at = at.cause || at.chainedError) {
    const text = `${at.code} ${at.message}`;
    if (/certificate|UNABLE_TO_VERIFY|SELF_SIGNED|CERT_/.test(text)) return true;
  }
  return false;
}

function numbers(count) {
  return [...Array(count).keys()].map((number) => String(number).padStart(3, "0"));
}

/** Calls the features one after the other; the process ends with 1 at the first that fails. */
function prove(features) {
  setTimeout(() => {
    console.error("not done in time");
    process.exit(1);
  }, 2 * PATIENCE_MS).unref();
  const all = async () => {
    for (const [name, feature] of Object.entries(features)) {
      await feature();
      console.log(`${name}: ok`);
    }
  };
  all().then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = {
  CA: env.CA,
  CERT: env.CERT,
  KEY: env.KEY,
  OTHER_CA: env.OTHER_CA,
  PATIENCE_MS,
  TLS_URL: env.TLS_URL,
  URL: env.URL,
  VERIFYING_URL: env.VERIFYING_URL,
  WEBSOCKET_URL: env.WEBSOCKET_URL,
  WEBSOCKET_TLS_URL: env.WEBSOCKET_TLS_URL,
  isRefusedCertificate,
  numbers,
  prove,
  restartBroker,
  tls,
};
