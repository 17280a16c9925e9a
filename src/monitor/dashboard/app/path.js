// --- Where a message would go ---

const PATH_ROWS = 200;

function preparePath() {
  const section = part("path");
  if (!ENDPOINTS.has("/pathz")) return;
  const form = section.querySelector("form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    askPath(section, form);
  });
  show(section, true);
}

async function askPath(section, form) {
  const query = new URLSearchParams({ subject: form.elements.subject.value.trim(), limit: PATH_ROWS });
  const who = form.elements.who.value.trim();
  if (who) query.set(form.elements.as.value, who);
  const number = (askPath.number = (askPath.number || 0) + 1);
  const said = section.querySelector(".said");
  const rows = section.querySelector("table");
  let answer;
  try {
    const response = await fetch(new URL(`pathz?${query}`, BASE), { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
    const text = await response.text();
    if (!response.ok) throw new Error(text.replace(UNSEEN, "\ufffd"));
    answer = JSON.parse(text, harmless);
  } catch (error) {
    answer = { permission: error.message, ways: [] };
  }
  // A later question may have been answered first.
  if (number !== askPath.number) return;
  setText(said, pathVerdict(answer));
  askPath.table ||= table(rows, [
    { title: "Account, subject", text: (row) => row.place, kind: "subject" },
    { title: "Who", text: (row) => row.who, kind: "name" },
    { title: "Gets it", text: (row) => row.gets },
    { title: "Why", text: (row) => row.why, level: 2 },
  ]);
  const ways = answer.ways || [];
  const list = ways.flatMap((way) => pathRows(way, ways.some((other) => other.from === way.id && other.step === "mapping")));
  askPath.table.update(list, (row) => `${row.place} ${row.who}`);
  show(section.querySelector(".scroll"), list.length > 0);
  const left = answer.left_out ? [plural(count(answer.left_out), "further row")] : [];
  setText(section.querySelector(".note"), [...left, ...(answer.notes || [])].map(sentence).join(" "));
}

function pathVerdict(answer) {
  if (!answer.permitted) return sentence(answer.permission);
  const { receivers: least, receivers_max: most } = answer;
  const reached = most === 0 ? "nobody" : least === most ? plural(count(most), "receiver") : `${count(least)} to ${plural(count(most), "receiver")}`;
  return `Reaches ${reached}. ${sentence(answer.permission)}`;
}

function pathRows(way, mapped) {
  const subject = way.subject || "dropped";
  const place = `${way.account}: ${subject}`;
  const why = [way.rule, way.weight < 100 ? `${way.weight} %` : ""].filter(Boolean).join(", ");
  const rows = [];
  const add = (who, gets, reason) => rows.push({ place, who, gets, why: [reason, why].filter(Boolean).join("; ") });
  if (way.served_by_broker) add("the broker itself", "yes", "");
  const client = (row) => `cid ${row.cid} ${row.name}${row.account ? ` (account ${row.account})` : ""}`;
  for (const row of way.subscriptions || []) add(client(row), row.gets ? "yes" : "no", row.reason || `subscribed to ${row.subscribed}`);
  for (const queue of way.queues || []) {
    add(`queue group ${queue.queue}`, "one member", queue.rule);
    for (const row of queue.members) add(`${queue.queue}: ${client(row)}`, row.gets ? "maybe" : "no", row.reason || "");
    for (const peer of queue.peers || []) add(`${queue.queue}: broker ${peer.name}`, peer.candidate ? "maybe" : "no", plural(count(peer.weight), "member"));
  }
  for (const member of way.members || []) add(`broker ${member.name}`, member.gets ? "yes" : "no", member.reason || "has subscribers");
  if (!rows.length && !mapped) add("nobody", "", way.subject ? "no subscription" : "");
  return rows;
}
