// --- Readers that fell behind, with their curves ---

const INCIDENTS_FEW = 6;
const INCIDENTS_MANY = 100;
const STATES = {
  ongoing: ["critical", "Behind now"],
  evicted: ["warning", "Cut off"],
  closed: ["info", "Closed"],
  recovered: ["ok", "Recovered"],
};
const CAUSES = {
  peer_not_reading: "The reader does not read.",
  network: "The network is the bottleneck.",
  midge: "The broker itself is late.",
  unknown: "The cause is unknown.",
};

let incidentsShown = INCIDENTS_FEW;
let incidentsAnswer = null;

// Ids of connections that are behind now.
let slowCids = new Set();

function showIncidents(answer) {
  incidentsAnswer = answer;
  const section = part("incidents");
  const incidents = answer.incidents || [];
  slowCids = new Set(incidents.filter((one) => one.state === "ongoing").map((one) => one.cid));
  keyed(section.querySelector(".cards"), incidents.slice(0, incidentsShown), (one) => one.id, incidentCard);
  show(section.querySelector(".empty"), incidents.length === 0);
  setText(section.querySelector(".count"), answer.total ? `${slowCids.size} now, ${count(answer.total)} since the start` : "");
  const most = Math.min(incidents.length, INCIDENTS_MANY);
  const more = section.querySelector(".more button");
  show(more.parentNode, most > INCIDENTS_FEW);
  setText(more, incidentsShown < most ? `Show all ${count(most)}` : "Show fewer");
}

function prepareIncidents() {
  part("incidents").querySelector(".more button").addEventListener("click", () => {
    incidentsShown = incidentsShown === INCIDENTS_FEW ? INCIDENTS_MANY : INCIDENTS_FEW;
    showIncidents(incidentsAnswer);
  });
}

function incidentCard(first) {
  const badge = el("span", "badge");
  const subject = el("b", "subject");
  const brief = el("span", "brief");
  const time = el("time", "");
  const evidence = el("p", "what");
  const picture = el("div", "picture");
  const scale = el("p", "scale");
  const facts = el("dl", "facts");
  const lists = el("div", "lists");
  const details = el("details", "", el("summary", "line", badge, subject, brief, el("span", "spring"), time), evidence, el("div", "split", el("div", "", picture, scale), facts), lists);
  details.open = first.state === "ongoing";
  const node = el("li", "card", details);
  let drawn = "";
  return {
    node,
    update(one) {
      const [tone, label] = STATES[one.state] || ["info", one.state];
      setClass(node, `card ${tone}`);
      setText(badge, label);
      setText(subject, who(one));
      setText(brief, incidentBrief(one));
      setText(time, one.state === "ongoing" ? `for ${duration(one.duration)}` : `${ago(one.end || one.start)} ago, for ${duration(one.duration)}`);
      time.dateTime = one.start;
      // An incident that is over does not change any more.
      const version = `${one.state} ${one.curve.length} ${one.pending_bytes}`;
      if (version === drawn || (drawn && !details.open)) return;
      drawn = version;
      setText(evidence, `${CAUSES[one.cause] || one.cause} ${sentence(one.evidence)}`);
      picture.replaceChildren(curve(one.curve.map((sample) => [sample.after, sample.pending_bytes]), one.limit));
      setText(scale, `${bytes(one.pending_max)} at most of ${bytes(one.limit)}; ${clock(one.start)} to ${one.end ? clock(one.end) : "now"}`);
      showFacts(facts, incidentFacts(one));
      lists.replaceChildren(...incidentLists(one));
    },
  };
}

function incidentBrief(one) {
  const lost = one.lost_msgs ? `${plural(count(one.lost_msgs), "message")} lost, ` : "";
  return `${lost}${bytes(one.pending_bytes)} waiting`;
}

function incidentFacts(one) {
  return [
    ["Connection", `cid ${one.cid}, ${one.kind.toLowerCase()}`],
    ["Address", one.address],
    ["User", one.user],
    ["Certificate", one.certificate],
    ["Library", one.library],
    ["Account", one.account],
    ["Lost", one.lost_msgs || one.lost_bytes ? `${plural(count(one.lost_msgs), "message")}, ${bytes(one.lost_bytes)}` : ""],
  ];
}

// Rows of a description list; those without a value are left out.
function showFacts(list, facts) {
  list.replaceChildren(...facts.filter(([, value]) => value).map(([label, value]) => el("div", "", el("dt", "", label), el("dd", "", value))));
}

function incidentLists(one) {
  const lists = [
    ["In its queue, by subject", one.subjects.map((entry) => [entry.subject, `${bytes(entry.bytes)}, ${plural(short(entry.msgs), "message")}`])],
    ["Published by", one.publishers.map((entry) => [entry.name || `cid ${entry.cid}`, bytes(entry.bytes)])],
    ["Publishers it held up", one.stalled.map((entry) => [entry.name || `cid ${entry.cid}`, `${duration(entry.seconds)} in ${plural(short(entry.count), "pause")}`])],
  ];
  return lists.filter(([, entries]) => entries.length).map(([title, entries]) =>
    el("div", "", el("h3", "", title), el("ul", "ranking", ...entries.slice(0, 8).map(([name, figure]) => el("li", "", el("span", "subject", name), el("span", "", figure))))));
}
