// --- Connections, open and closed ---

const PAGE_LEN = 20;
// Most rows; a filter finds the others.
const SHOWN_MAX = 320;
// Most connections that a filter or an order by rate looks at.
const WIDE_LEN = 1024;
// A filter looks at all there are, if they are not more.
const FILTERED_LEN = 16384;
const TYPING_MS = 250;
const RECENT_SECONDS = 300;

const connections = {
  state: "open",
  sort: { open: "pending", closed: "stop" },
  shown: PAGE_LEN,
  filter: "",
  total: 0,
  table: null,
  // Totals by cid in the answer before, for rates.
  before: new Map(),
  beforeTime: 0,
};

const identityColumns = [
  { title: "Client", kind: "name", fill: fillClient },
  { title: "Address", text: (row) => `${row.ip}:${row.port}`, kind: "dim", level: 2 },
  { title: "User", text: (row) => row.authorized_user || row.account || "", kind: "dim clip", level: 3 },
  { title: "Library", text: (row) => [row.lang, row.version].filter(Boolean).join(" "), kind: "dim clip", level: 3 },
];
const openColumns = [
  ...identityColumns,
  { title: "Waiting", sort: "pending", kind: "figure", fill: fillWaiting, about: "Bytes in its queue" },
  { title: "In/s", sort: "rate_from", kind: "figure", level: 2, text: (row) => quiet(row.rate_from, short), about: "Messages received from it per second" },
  { title: "Out/s", sort: "rate_to", kind: "figure", text: (row) => quiet(row.rate_to, short), about: "Messages sent to it per second" },
  { title: "Bytes in", sort: "bytes_from", kind: "figure", level: 3, text: (row) => quiet(row.in_bytes, bytes), about: "Received from it in all" },
  { title: "Bytes out", sort: "bytes_to", kind: "figure", level: 3, text: (row) => quiet(row.out_bytes, bytes), about: "Sent to it in all" },
  { title: "Subs", sort: "subs", kind: "figure", level: 2, text: (row) => quiet(row.subscriptions, count), about: "Subscriptions" },
  { title: "RTT", sort: "rtt", kind: "figure", level: 3, text: (row) => duration(goSeconds(row.rtt)), about: "Round trip to the client" },
  { title: "Idle", sort: "idle", kind: "figure", level: 2, text: (row) => duration(goSeconds(row.idle)), about: "Since its last activity" },
  { title: "Up", sort: "uptime", kind: "figure", text: (row) => duration(goSeconds(row.uptime)) },
];
const closedColumns = [
  ...identityColumns,
  { title: "Reason", sort: "reason", text: (row) => row.reason, kind: "reason" },
  { title: "Closed", sort: "stop", kind: "figure", text: (row) => `${ago(row.stop)} ago` },
  { title: "Was up", sort: "uptime", kind: "figure", level: 2, text: (row) => duration(goSeconds(row.uptime)) },
  { title: "Unsent", sort: "pending", kind: "figure", level: 2, text: (row) => quiet(row.pending_bytes, bytes), about: "Bytes in its queue at the end" },
  { title: "Msgs in", sort: "msgs_from", kind: "figure", level: 3, text: (row) => quiet(row.in_msgs, short) },
  { title: "Msgs out", sort: "msgs_to", kind: "figure", level: 3, text: (row) => quiet(row.out_msgs, short) },
];

// A figure, or a dash in place of a zero.
function quiet(value, format) {
  if (value === undefined || Number.isNaN(value)) return "";
  return value > 0 ? format(value) : "\u2013";
}

function connzPath() {
  const sort = connections.sort[connections.state];
  const wide = connections.filter || sort.startsWith("rate_");
  const serverSort = { rate_from: "msgs_from", rate_to: "msgs_to" }[sort] || sort;
  const limit = connections.filter ? FILTERED_LEN : wide || connections.state === "closed" ? Math.max(WIDE_LEN, connections.shown) : connections.shown;
  return `connz?auth=1&state=${connections.state}&sort=${serverSort}&limit=${limit}`;
}

// What looks at many connections asks less often.
function connzEvery() {
  if (connections.filter && connections.total > WIDE_LEN) return 10000;
  return connzPath().includes(`limit=${connections.shown}`) ? 2000 : 4000;
}

function showConnections(answer) {
  const section = part("connections");
  addRates(answer);
  connections.total = answer.total;
  const found = filtered(answer.connections || []);
  const sort = connections.sort[connections.state];
  if (sort.startsWith("rate_")) found.sort((a, b) => b[sort] - a[sort]);
  const rows = found.slice(0, connections.shown);
  if (!connections.table) makeConnectionTable(section);
  keyed(section.querySelector("table"), rows, (row) => `${connections.state}${row.cid}`, connectionRow);
  setText(section.querySelector(".count"), `${count(answer.total)} ${connections.state === "open" ? "open" : "kept"}`);
  const seen = answer.connections.length;
  const shownNote = connections.filter ? `${count(found.length)} fit the filter` : rows.length < answer.total ? `${count(rows.length)} of ${count(answer.total)} shown` : "";
  const seenNote = (connections.filter || sort.startsWith("rate_")) && seen < answer.total ? `looked at ${count(seen)} of ${count(answer.total)}` : "";
  setText(section.querySelector(".more .note"), [rows.length ? shownNote : connections.filter ? "No connection fits the filter." : "No connections.", seenNote].filter(Boolean).join("; "));
  show(section.querySelector(".more button"), rows.length < SHOWN_MAX && (found.length > rows.length || (!connections.filter && seen < answer.total)));
  showReasons(section.querySelector(".tools .chips"), connections.state === "closed" ? answer.connections : []);
}

function filtered(list) {
  const words = connections.filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return list.slice();
  return list.filter((row) => {
    const text = [row.name, row.authorized_user, row.account, row.ip, row.port, row.lang, row.version, row.reason, `cid${row.cid}`].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

function addRates(answer) {
  const time = Date.parse(answer.now);
  const seconds = (time - connections.beforeTime) / 1000;
  const totals = new Map();
  for (const row of answer.connections) {
    const before = connections.before.get(row.cid);
    row.rate_from = before && seconds > 0 ? (row.in_msgs - before[0]) / seconds : NaN;
    row.rate_to = before && seconds > 0 ? (row.out_msgs - before[1]) / seconds : NaN;
    totals.set(row.cid, [row.in_msgs, row.out_msgs]);
  }
  connections.before = totals;
  connections.beforeTime = time;
}

// Why connections were closed lately, the most frequent first.
function showReasons(parent, closed) {
  const reasons = new Map();
  for (const row of closed) {
    if (since(row.stop) < RECENT_SECONDS) reasons.set(row.reason, (reasons.get(row.reason) || 0) + 1);
  }
  const ranked = [...reasons].sort((a, b) => b[1] - a[1]).slice(0, 6);
  parent.replaceChildren(...(ranked.length ? ["last 5 min: "] : []), ...ranked.map(([reason, number]) => el("span", "chip", `${reason} `, el("b", "", count(number)))));
}

function columns() {
  return connections.state === "open" ? openColumns : closedColumns;
}

function makeConnectionTable(section) {
  connections.table = table(section.querySelector("table"), columns(), {
    by: connections.sort[connections.state],
    choose(key) {
      connections.sort[connections.state] = key;
      connections.table.mark(key);
      refresh("connz");
    },
  });
  // Here every row is a body of its own.
  connections.table.body.remove();
}

// A body of its own, so that the details stay below their row.
function connectionRow() {
  const row = tableRow(columns());
  const node = el("tbody", "", row.node);
  let details = null;
  let latest = null;
  row.node.addEventListener("click", (event) => {
    if (!event.target.closest("button") && String(getSelection()) !== "") return;
    if (details) {
      details.remove();
      details = null;
    } else {
      details = connectionDetails(latest);
      node.append(details);
    }
    row.node.querySelector("button").setAttribute("aria-expanded", String(details !== null));
  });
  return {
    node,
    update(connection) {
      latest = connection;
      row.update(connection);
      setClass(row.node, slowness(connection));
    },
  };
}

function slowness(connection) {
  if (connections.state === "closed") return connection.reason.startsWith("Slow") ? "warning" : "";
  if (slowCids.has(connection.cid)) return "critical";
  return connection.pending_bytes > limitOf(connection) / 10 ? "warning" : "";
}

function limitOf(connection) {
  return connection.max_pending || (lastTotals && lastTotals.max_pending) || Infinity;
}

function fillClient(cell, row) {
  if (!cell.firstChild) {
    const button = el("button", "link");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    cell.append(button);
  }
  setText(cell.firstChild, row.name || `${row.ip}:${row.port}`);
  cell.title = `${row.name || "without a name"}\ncid ${row.cid}`;
}

function fillWaiting(cell, row) {
  if (!cell.firstChild) cell.append(el("meter", ""), el("span", ""));
  const [meter, text] = cell.children;
  const limit = limitOf(row);
  meter.max = Number.isFinite(limit) ? limit : 1;
  meter.value = row.pending_bytes;
  meter.high = meter.max / 2;
  meter.low = meter.max / 10;
  meter.optimum = 0;
  show(meter, row.pending_bytes > meter.max / 100);
  setText(text, quiet(row.pending_bytes, bytes));
}

// All that is known of one connection, its subscriptions included.
function connectionDetails(connection) {
  const facts = el("dl", "facts");
  const subjects = el("ul", "subjects");
  const cell = el("td", "details", facts, subjects);
  cell.colSpan = columns().length;
  const known = (entry) => Object.entries(entry)
    .filter(([name, value]) => typeof value !== "object" && !name.startsWith("rate_"))
    .map(([name, value]) => [name.replaceAll("_", " "), String(value)]);
  showFacts(facts, known(connection));
  ask(`connz?auth=1&subs=1&state=${connections.state}&cid=${connection.cid}`).then((answer) => {
    const entry = answer.connections[0];
    if (!entry) return;
    showFacts(facts, known(entry));
    const list = entry.subscriptions_list || [];
    subjects.replaceChildren(...list.slice(0, 100).map((subject) => el("li", "subject", subject)));
    if (list.length > 100) subjects.append(el("li", "", `and ${count(list.length - 100)} more`));
  }, () => {});
  return el("tr", "", cell);
}

function prepareConnections() {
  const section = part("connections");
  const buttons = section.querySelectorAll("[data-state]");
  buttons.forEach((button) => button.addEventListener("click", () => {
    buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    connections.state = button.dataset.state;
    connections.table = null;
    connections.shown = PAGE_LEN;
    connections.before = new Map();
    refresh("connz");
  }));
  section.querySelector("input").addEventListener("input", (event) => {
    // One request for a word, not one for each of its letters.
    clearTimeout(connections.typing);
    connections.typing = setTimeout(() => {
      connections.filter = event.target.value.trim();
      refresh("connz");
    }, TYPING_MS);
  });
  section.querySelector(".more button").addEventListener("click", () => {
    connections.shown = Math.min(SHOWN_MAX, connections.shown * 4);
    refresh("connz");
  });
}
