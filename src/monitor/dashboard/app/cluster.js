// --- The mesh as this broker sees it ---

const ROW_HEIGHT = 46;
let routesShown = null;

function showRoutes(answer) {
  const section = part("routes");
  const peers = mergePeers(answer.routes || []);
  routesShown = { name: answer.server_name || (lastTotals && lastTotals.server_name) || "this broker", peers };
  setText(section.querySelector(".count"), peers.length ? `${peers.length} ${peers.length === 1 ? "broker" : "brokers"}, ${answer.num_routes} ${answer.num_routes === 1 ? "connection" : "connections"}` : "");
  show(section.querySelector(".empty"), peers.length === 0);
  show(section.querySelector(".mesh"), peers.length > 0);
  show(section.querySelector(".scroll"), peers.length > 0);
  showRoutes.table ||= table(section.querySelector("table"), [
    { title: "Broker", kind: "name", fill: named((row) => row.name, (row) => row.remote_id) },
    { title: "Address", text: (row) => row.address, kind: "dim", level: 2 },
    { title: "RTT", text: (row) => duration(row.rtt), kind: "figure" },
    { title: "Waiting", text: (row) => quiet(row.pending, bytes), kind: "figure" },
    { title: "Msgs in", text: (row) => quiet(row.in_msgs, short), kind: "figure", level: 2 },
    { title: "Msgs out", text: (row) => quiet(row.out_msgs, short), kind: "figure", level: 2 },
    { title: "Subs", text: (row) => quiet(row.subscriptions, count), kind: "figure", level: 2 },
    { title: "Up", text: (row) => duration(row.uptime), kind: "figure" },
  ]);
  showRoutes.table.update(peers, (row) => row.remote_id);
  drawMesh();
}

// One entry per broker: a nats-server keeps several connections to each.
function mergePeers(routes) {
  const peers = new Map();
  for (const route of routes) {
    const id = route.remote_id || `${route.ip}:${route.port}`;
    const peer = peers.get(id) || { remote_id: id, name: route.remote_name || id, address: `${route.ip}:${route.port}`, rtt: NaN, pending: 0, in_msgs: 0, out_msgs: 0, subscriptions: 0, uptime: 0, links: 0 };
    const rtt = goSeconds(route.rtt);
    if (!(peer.rtt <= rtt)) peer.rtt = Number.isNaN(rtt) ? peer.rtt : rtt;
    peer.pending += route.pending_size || 0;
    peer.in_msgs += route.in_msgs || 0;
    peer.out_msgs += route.out_msgs || 0;
    peer.subscriptions += route.subscriptions || 0;
    peer.uptime = Math.max(peer.uptime, goSeconds(route.uptime) || 0);
    peer.links += 1;
    peers.set(id, peer);
  }
  return [...peers.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

// This broker in the middle, the others in a column on each side; on a narrow
// screen on one side.
function drawMesh() {
  const parent = part("routes").querySelector(".mesh");
  const width = parent.clientWidth;
  if (!routesShown || !width) return;
  const { name, peers } = routesShown;
  const sides = width < 560 ? 1 : 2;
  const rows = Math.ceil(peers.length / sides);
  const height = Math.max(1, rows) * ROW_HEIGHT + 16;
  const box = Math.min(220, width * 0.38);
  const hub = { x: sides === 2 ? width / 2 : box / 2 + 1, y: height / 2 };
  const picture = svg("svg", { width, height, role: "img", "aria-label": `Routes of ${name}: ${peers.map((peer) => peer.name).join(", ")}` });
  const links = svg("g", {});
  picture.append(links);
  peers.forEach((peer, index) => {
    const right = sides === 1 || index % 2 === 0;
    const inColumn = sides === 1 ? peers.length : right ? Math.ceil(peers.length / 2) : Math.floor(peers.length / 2);
    const row = sides === 1 ? index : Math.floor(index / 2);
    const y = height / 2 + (row - (inColumn - 1) / 2) * ROW_HEIGHT;
    const x = right ? width - box / 2 - 1 : box / 2 + 1;
    const [from, to] = [hub.x + (right ? box / 2 : -box / 2), x + (right ? -box / 2 : box / 2)];
    const middle = (from + to) / 2;
    links.append(svg("path", { class: peer.pending > 65536 ? "link busy" : "link", d: `M${from} ${hub.y}C${middle} ${hub.y} ${middle} ${y} ${to} ${y}` }));
    picture.append(meshNode(x, y, box, peer.name, [duration(peer.rtt), peer.pending ? `${bytes(peer.pending)} waiting` : ""].filter(Boolean).join(", "), ""));
  });
  picture.append(meshNode(hub.x, hub.y, box, name, "this broker", " hub"));
  parent.replaceChildren(picture);
}

function meshNode(x, y, width, name, note, extra) {
  const most = Math.floor(width / 8);
  const label = name.length > most ? `${name.slice(0, most - 1)}…` : name;
  return svg("g", { class: `node${extra}`, transform: `translate(${x} ${y})` },
    svg("title", {}, name),
    svg("rect", { x: -width / 2, y: -18, width, height: 36, rx: 6 }),
    svg("text", { y: note ? -2 : 4, class: "label" }, label),
    svg("text", { y: 12, class: "about" }, note));
}

function prepareRoutes() {
  new ResizeObserver(drawMesh).observe(part("routes"));
}
