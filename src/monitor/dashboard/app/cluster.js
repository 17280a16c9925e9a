// --- The mesh: its members, the routes between them, and their traffic ---

// With more members the matrix alone is legible.
const DRAWN_MEMBERS = 8;
// So much waiting for a member is worth a look.
const BUSY_BYTES = 65536;

// What a member's view of another can be: class, how bad, and the word for a cell without a figure.
const SIGHTS = {
  itself: { tone: "itself", rank: 0, word: "" },
  unknown: { tone: "unknown", rank: 1, word: "?" },
  connected: { tone: "ok", rank: 2, word: "\u2713" },
  slow: { tone: "warning", rank: 3, word: "slow" },
  oneWay: { tone: "warning one-way", rank: 4, word: "blind" },
  apart: { tone: "critical apart", rank: 5, word: "none" },
};

let meshShown = null;

function showCluster(answer) {
  const section = part("cluster");
  const about = (code) => new Map((answer.disagreements || []).filter((one) => one.code === code).map((one) => [one.subject, one.text]));
  // A row of the answer leaves out the seer itself and keeps the order of the members.
  const members = (answer.members || []).map((member, place) => ({ ...member, place }));
  members.sort((a, b) => b.own - a.own || (a.name < b.name ? -1 : 1));
  const brief = briefNames(members);
  members.forEach((member, index) => (member.brief = brief[index]));
  meshShown = { members, own: members[0], slow: about("route-slow"), differ: about("members-differ") };
  const name = answer.cluster ? `${answer.cluster}: ` : "";
  setText(section.querySelector(".count"), members.length ? `${name}${answer.present} of ${answer.expected} there` : "");
  show(section.querySelector(".empty"), members.length === 0);
  show(section.querySelector(".mesh"), members.length > 0);
  drawMatrix(section.querySelector(".matrix table"));
  drawMesh();
}

// Host names without their domain, where that still distinguishes the members.
function briefNames(members) {
  const brief = members.map(({ name }) => (/^[\d.:[\]]+$/.test(name) ? name : name.split(".")[0]));
  return new Set(brief).size === brief.length ? brief : members.map(({ name }) => name);
}

function sightOf(seer, seen) {
  return seer.sees[seen.place - (seen.place > seer.place ? 1 : 0)];
}

function isThere(member) {
  return member.own || member.connected;
}

// How `seer` sees `seen`: one of SIGHTS, and the sight itself if there is one.
function cellOf(seer, seen) {
  if (seer === seen) return { kind: SIGHTS.itself };
  const sight = sightOf(seer, seen);
  if (!sight) return { kind: SIGHTS.unknown };
  if (sight.connected) {
    const slow = sight.pending > BUSY_BYTES || (seer.own && meshShown.slow.has(seen.name));
    return { kind: slow ? SIGHTS.slow : SIGHTS.connected, sight };
  }
  const back = sightOf(seen, seer);
  return { kind: back && back.connected && isThere(seen) ? SIGHTS.oneWay : SIGHTS.apart, sight };
}

function cellAbout(seer, seen, { kind, sight }) {
  if (kind === SIGHTS.itself) return `${seer.name} itself`;
  if (kind === SIGHTS.unknown) return `${seer.name} does not list its routes`;
  if (kind === SIGHTS.apart) return `${seer.name} has no route to ${seen.name}`;
  if (kind === SIGHTS.oneWay) return `${seen.name} has a route to ${seer.name}, but ${seer.name} has none to ${seen.name}`;
  const rtt = sight.rtt === undefined ? "" : `, round trip ${duration(sight.rtt)}`;
  return `${seer.name} has a route to ${seen.name}${rtt}${sight.pending ? `, ${bytes(sight.pending)} wait` : ""}${kind === SIGHTS.slow ? ": slow" : ""}`;
}

function stateOf(member) {
  if (member.own) return member.leaving ? ["info", "leaves"] : ["ok", "this broker"];
  if (member.leaving) return ["info", member.connected ? "leaves" : "left"];
  if (!member.connected) return ["critical", member.id ? "missing" : "never there"];
  if (meshShown.differ.has(member.name)) return ["warning", "differs"];
  return meshShown.slow.has(member.name) ? ["warning", "slow"] : ["ok", "there"];
}

// More about a member's state, in a few words.
function stateNote(member) {
  const time = member.since ? `for ${ago(member.since)}` : "";
  if (member.own) return "";
  if (!member.connected && !member.leaving) {
    return [time, member.error, member.tries > 1 ? plural(count(member.tries), "attempt") : ""].filter(Boolean).join(", ");
  }
  if (!meshShown.differ.has(member.name)) return time;
  return member.max_payload === meshShown.own.max_payload ? meshShown.differ.get(member.name) : `takes messages up to ${bytes(member.max_payload)}, this broker ${bytes(meshShown.own.max_payload)}`;
}

function drawMatrix(element) {
  const { members } = meshShown;
  const head = el("tr", "", el("th", "", "Member"), el("th", "", "State"), el("th", "version", "Version"));
  head.append(...members.map((member, index) => {
    const cell = el("th", "cell", String(index + 1));
    cell.title = `seen: ${member.name}`;
    return cell;
  }));
  head.querySelectorAll("th").forEach((cell) => (cell.scope = "col"));
  const rows = members.map((member, index) => {
    const label = el("th", "member", el("span", "number", `${index + 1}\u00a0\u00a0`), el("span", member.brief === member.name ? "" : "whole", member.name));
    if (member.brief !== member.name) label.append(el("span", "brief", member.brief));
    label.scope = "row";
    label.title = `${member.name}\n${member.address}`;
    const [tone, word] = stateOf(member);
    const state = el("td", "state", el("span", `badge ${tone}`, word), el("span", "dim", ` ${stateNote(member)}`));
    const version = el("td", "dim version", member.midge ? `midge\u00a0${member.midge}` : member.version ? `nats-server\u00a0${member.version}` : "");
    return el("tr", "", label, state, version, ...members.map((seen) => {
      const found = cellOf(member, seen);
      const figure = found.sight && found.sight.connected && found.sight.rtt !== undefined ? duration(found.sight.rtt) : found.kind.word;
      const cell = el("td", `cell ${found.kind.tone}`, figure);
      cell.title = cellAbout(member, seen, found);
      return cell;
    }));
  });
  element.replaceChildren(el("thead", "", head), el("tbody", "", ...rows));
}

// The members on an ellipse, and between each two the worse of how they see each other.
function drawMesh() {
  const parent = part("cluster").querySelector(".picture");
  if (!meshShown) return;
  const { members } = meshShown;
  const drawn = members.length > 1 && members.length <= DRAWN_MEMBERS;
  show(parent, drawn);
  const width = Math.min(parent.clientWidth, 460);
  if (!drawn || !width) return;
  const box = Math.min(136, width * 0.3);
  const height = members.length === 2 ? 90 : members.length < 5 ? 200 : 270;
  const places = members.map((_, index) => {
    // Two stand side by side, more begin at the top.
    const turn = (index / members.length) * 2 * Math.PI + (members.length === 2 ? Math.PI : -Math.PI / 2);
    return { x: width / 2 + Math.cos(turn) * (width - box - 2) / 2, y: height / 2 + Math.sin(turn) * (height - 44) / 2 };
  });
  const picture = svg("svg", { width, height, role: "img", "aria-label": members.map((member) => `${member.name}: ${stateOf(member)[1]}`).join(", ") });
  members.forEach((one, index) => members.slice(index + 1).forEach((other, further) => {
    const found = [[one, other], [other, one]].map(([seer, seen]) => ({ ...cellOf(seer, seen), seer, seen }));
    const worse = found[0].kind.rank >= found[1].kind.rank ? found[0] : found[1];
    // Where one of the two does not report its routes, the other's report counts.
    const shown = worse.kind === SIGHTS.unknown ? found.find((cell) => cell.kind !== SIGHTS.unknown) || worse : worse;
    const [from, to] = [places[index], places[index + 1 + further]];
    picture.append(svg("path", { class: `edge ${shown.kind.tone}`, d: `M${from.x} ${from.y}L${to.x} ${to.y}` }, svg("title", {}, cellAbout(shown.seer, shown.seen, shown))));
  }));
  members.forEach((member, index) => picture.append(meshNode(places[index], box, `${index + 1}  ${member.brief}`, member.name, stateOf(member))));
  parent.replaceChildren(picture);
}

function meshNode({ x, y }, width, text, name, [tone, word]) {
  const most = Math.floor(width / 7.6);
  const label = text.length > most ? `${text.slice(0, most - 1)}…` : text;
  return svg("g", { class: `node ${tone}`, transform: `translate(${x} ${y})` },
    svg("title", {}, name),
    svg("rect", { x: -width / 2, y: -20, width, height: 40, rx: 6 }),
    svg("text", { y: -3, class: "label" }, label),
    svg("text", { y: 13, class: "about" }, word));
}

function showRoutes(answer) {
  const peers = mergePeers(answer.routes || []);
  const element = part("cluster").querySelector(".traffic");
  show(element, peers.length > 0);
  showRoutes.table ||= table(element.querySelector("table"), [
    { title: "Route to", kind: "name", fill: named((row) => row.name, (row) => row.remote_id) },
    { title: "Address", text: (row) => row.address, kind: "dim", level: 2 },
    { title: "RTT", text: (row) => duration(row.rtt), kind: "figure" },
    { title: "Waiting", text: (row) => quiet(row.pending, bytes), kind: "figure" },
    { title: "Msgs in", text: (row) => quiet(row.in_msgs, short), kind: "figure", level: 2 },
    { title: "Msgs out", text: (row) => quiet(row.out_msgs, short), kind: "figure", level: 2 },
    { title: "Subs", text: (row) => quiet(row.subscriptions, count), kind: "figure", level: 2 },
    { title: "Up", text: (row) => duration(row.uptime), kind: "figure" },
  ]);
  showRoutes.table.update(peers, (row) => row.remote_id);
}

// One entry per broker: a nats-server keeps several connections to each.
function mergePeers(routes) {
  const peers = new Map();
  for (const route of routes) {
    const id = route.remote_id || `${route.ip}:${route.port}`;
    const peer = peers.get(id) || { remote_id: id, name: route.remote_name || id, address: `${route.ip}:${route.port}`, rtt: NaN, pending: 0, in_msgs: 0, out_msgs: 0, subscriptions: 0, uptime: 0 };
    const rtt = goSeconds(route.rtt);
    if (!(peer.rtt <= rtt)) peer.rtt = Number.isNaN(rtt) ? peer.rtt : rtt;
    peer.pending += route.pending_size || 0;
    peer.in_msgs += route.in_msgs || 0;
    peer.out_msgs += route.out_msgs || 0;
    peer.subscriptions += route.subscriptions || 0;
    peer.uptime = Math.max(peer.uptime, goSeconds(route.uptime) || 0);
    peers.set(id, peer);
  }
  return [...peers.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function prepareCluster() {
  new ResizeObserver(drawMesh).observe(part("cluster"));
}
