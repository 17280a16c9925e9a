// --- Key figures and plots ---

// Rates are differences of totals between two answers of one run of the broker.
let lastTotals = null;
let plots = null;
const tiles = new Map();

function makePlots() {
  const parent = part("traffic").querySelector(".plots");
  const both = [{ name: "in", tone: "a" }, { name: "out", tone: "b" }];
  plots = {
    messages: plot(parent, "Messages per second", both, short),
    bytes: plot(parent, "Bytes per second", both, bytes),
  };
  if (ENDPOINTS.has("/latencyz")) {
    plots.latency = plot(parent, "Time in the broker, last minute", [{ name: "half within", tone: "a" }, { name: "99 of 100", tone: "b" }], duration, true);
  }
  if (ENDPOINTS.has("/memz")) {
    plots.queues = plot(parent, "Bytes waiting in queues", [{ name: "all readers", tone: "a" }, { name: "longest", tone: "b" }], bytes);
  }
}

function showVarz(varz) {
  const time = Date.parse(varz.now);
  skew = time - Date.now();
  if (!plots) makePlots();
  if (lastTotals && lastTotals.server_id !== varz.server_id) {
    Object.values(plots).forEach((one) => one.clear());
    lastTotals = null;
  }
  const seconds = lastTotals ? (time - Date.parse(lastTotals.now)) / 1000 : 0;
  const rate = (name) => (seconds > 0 ? Math.max(0, varz[name] - lastTotals[name]) / seconds : null);
  const rates = ["in_msgs", "out_msgs", "in_bytes", "out_bytes"].map(rate);
  if (seconds > 0) {
    plots.messages.push(time, rates.slice(0, 2));
    plots.bytes.push(time, rates.slice(2));
  }
  lastTotals = varz;
  showTiles(varz, rates);
  showAccess(varz);
  part("live").dataset.name = varz.server_name;
}

function showTiles(varz, [inMsgs, outMsgs, inBytes, outBytes]) {
  const perSecond = (value, format) => (value === null ? "\u2013" : `${format(value)}/s`);
  const limit = varz.max_connections > 0 ? `of ${count(varz.max_connections)}` : "";
  tile("Received", perSecond(inMsgs, short), perSecond(inBytes, bytes), `${plural(count(varz.in_msgs), "message")}, ${bytes(varz.in_bytes)} since the start`);
  tile("Delivered", perSecond(outMsgs, short), perSecond(outBytes, bytes), `${plural(count(varz.out_msgs), "message")}, ${bytes(varz.out_bytes)} since the start`);
  tile("Connections", count(varz.connections), limit, `${count(varz.total_connections)} since the start`);
  tile("Subscriptions", count(varz.subscriptions), "");
  tile("Slow consumers", count(varz.slow_consumers), varz.stalled_clients ? plural(short(varz.stalled_clients), "pause") : "", "Clients closed since the start because they read too slowly; pauses of publishers for slow readers", varz.slow_consumers > 0);
  tile("CPU", `${varz.cpu.toFixed(varz.cpu < 10 ? 1 : 0)}\u00a0%`, `of ${varz.cores * 100}\u00a0%`, "100 % is one core");
  tile("Memory", bytes(varz.mem), "resident");
  tile("Up", duration(since(varz.start)), `since ${clock(varz.start)}`, varz.start);
}

function tile(label, figure, addition, about, alarming) {
  let entry = tiles.get(label);
  if (!entry) {
    entry = { figure: el("b", ""), addition: el("span", "") };
    entry.node = el("div", "tile", el("dt", "", label), el("dd", "", entry.figure, entry.addition));
    part("traffic").querySelector(".tiles").append(entry.node);
    tiles.set(label, entry);
  }
  setText(entry.figure, figure);
  setText(entry.addition, addition);
  setClass(entry.node, alarming ? "tile alarming" : "tile");
  if (about) entry.node.title = about;
}

function showLatency(answer) {
  const recent = answer.total.last_minute;
  if (plots && plots.latency) {
    plots.latency.push(Date.parse(answer.now), recent.count ? [recent.p50, recent.p99] : [null, null]);
  }
  const section = part("latency");
  const rows = answer.worst || [];
  show(section.querySelector(".empty"), rows.length === 0);
  show(section.querySelector(".scroll"), rows.length > 0);
  showLatency.table ||= table(section.querySelector("table"), [
    { title: "Reader", kind: "name", fill: named((row) => row.name, (row) => `cid ${row.cid}, account ${row.account}`) },
    { title: "Subject", text: (row) => row.subject, kind: "subject", level: 2 },
    { title: "Longest", text: (row) => duration(row.max), kind: "figure" },
    { title: "Deliveries", text: (row) => short(row.count), kind: "figure" },
  ]);
  showLatency.table.update(rows.slice(0, 12), (row) => `${row.cid} ${row.subject}`);
  showServices(section.querySelector(".services"), answer.by_service || []);
}

// How long services take that their exports have measured.
function showServices(section, services) {
  const failed = (row) => Object.entries(row.requests).filter(([status]) => status !== "200").map(([status, n]) => `${status}: ${short(n)}`);
  showServices.table ||= table(section.querySelector("table"), [
    { title: "Service", text: (row) => `${row.account}: ${row.service}`, kind: "subject" },
    { title: "Median", text: (row) => (row.latency.last_minute.count ? duration(row.latency.last_minute.p50) : ""), kind: "figure" },
    { title: "99 %", text: (row) => (row.latency.last_minute.count ? duration(row.latency.last_minute.p99) : ""), kind: "figure" },
    { title: "Answered", text: (row) => short(row.requests[200] || 0), kind: "figure" },
    { title: "Failed", text: (row) => failed(row).join(", "), kind: "figure", level: 2 },
  ]);
  showServices.table.update(services, (row) => `${row.account} ${row.service}`);
  show(section, services.length > 0);
}

// Fills a cell with a name and, on hover, more about it.
function named(text, about) {
  return (cell, row) => {
    setText(cell, text(row));
    cell.title = `${text(row)}\n${about(row)}`;
  };
}
