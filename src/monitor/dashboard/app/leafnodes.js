// --- Leafnodes of this broker, and the hubs whose leafnode it is ---

function showLeafnodes(answer) {
  const section = part("leafnodes");
  const away = (answer.remotes || []).filter((hub) => !hub.connected && !hub.disabled);
  const rows = [...away.map(missingHub), ...(answer.leafs || []).map(leafRow)];
  show(section, rows.length > 0);
  setText(section.querySelector(".count"), rows.length ? count(rows.length) : "");
  showLeafnodes.table ||= table(section.querySelector("table"), [
    { title: "Broker", kind: "name", fill: named((row) => row.name, (row) => row.address) },
    { title: "", fill: fillLeafState },
    { title: "Account", text: (row) => row.account, kind: "dim", level: 2 },
    { title: "RTT", text: (row) => duration(row.rtt), kind: "figure" },
    { title: "Waiting", text: (row) => quiet(row.pending, bytes), kind: "figure" },
    { title: "Msgs in", text: (row) => quiet(row.in_msgs, short), kind: "figure", level: 2 },
    { title: "Msgs out", text: (row) => quiet(row.out_msgs, short), kind: "figure", level: 2 },
    { title: "Subs", text: (row) => quiet(row.subscriptions, count), kind: "figure", level: 2 },
    { title: "Up", text: (row) => duration(row.uptime), kind: "figure" },
  ]);
  showLeafnodes.table.update(rows, (row) => row.key);
}

function leafRow(leaf) {
  return { key: String(leaf.id), name: leaf.name, address: `${leaf.ip}:${leaf.port}`, account: leaf.account, state: leaf.is_spoke ? "hub" : "leafnode", bad: false, rtt: goSeconds(leaf.rtt), pending: leaf.pending_size, in_msgs: leaf.in_msgs, out_msgs: leaf.out_msgs, subscriptions: leaf.subscriptions, uptime: goSeconds(leaf.uptime) };
}

function missingHub(hub) {
  return { key: `hub ${hub.urls} ${hub.account}`, name: hub.name || hub.url, address: hub.url, account: hub.account, state: `hub, not connected for ${duration(hub.age)}: ${hub.last_error || "it is being dialled"}`, bad: true, rtt: NaN, pending: 0, in_msgs: 0, out_msgs: 0, subscriptions: 0, uptime: NaN };
}

function fillLeafState(cell, row) {
  setText(cell, row.state);
  setClass(cell, row.bad ? "bad" : "dim");
}
