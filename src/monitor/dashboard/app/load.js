// --- What carries the load, and where it ends ---

const WINDOWS = [["1s", "1 s"], ["1m", "1 min"], ["5m", "5 min"], ["start", "all"]];
const SUBJECTS_SHOWN = 12;
const CEILINGS = {
  fds: "Open files",
  connections: "Connections",
  subscriptions: "Subscriptions",
  queues: "All queues",
  memory: "Memory",
  pending: "Longest queue",
  certificate: "Certificate",
  ca: "CA certificate",
  crl: "Revocation list",
};
let topWindow = "1m";

function topzPath() {
  return `topz?sort=msgs&window=${topWindow}&n=${SUBJECTS_SHOWN}`;
}

function showTop(answer) {
  const section = part("subjects");
  const seconds = answer.seconds || 1;
  const publisher = { title: "Publisher", kind: "name", fill: named((row) => row.publisher, (row) => `cid ${row.publisher_cid}, account ${row.account}`), level: 2 };
  const subject = { title: "Subject", text: (row) => row.subject, kind: "subject" };
  showTop.table ||= table(section.querySelector("table"), [
    subject,
    publisher,
    { title: "Msgs/s", text: (row) => short(row.msgs / row.seconds), kind: "figure" },
    { title: "Bytes/s", text: (row) => bytes(row.bytes / row.seconds), kind: "figure" },
  ]);
  const add = (row) => ({ ...row, seconds });
  const rows = (answer.subjects || []).slice(0, SUBJECTS_SHOWN).map(add);
  showTop.table.update(rows, (row) => `${row.account} ${row.subject}`);
  setText(section.querySelector(".count"), rows.length ? "" : "none in this time");

  const nobody = part("nobody");
  const noInterest = (answer.no_interest || []).slice(0, SUBJECTS_SHOWN).map(add);
  showTop.nobody ||= table(nobody.querySelector("table"), [
    subject,
    publisher,
    { title: "Msgs", text: (row) => short(row.msgs), kind: "figure" },
    { title: "Bytes", text: (row) => bytes(row.bytes), kind: "figure" },
  ]);
  showTop.nobody.update(noInterest, (row) => `${row.account} ${row.subject}`);
  show(nobody.querySelector(".scroll"), noInterest.length > 0);
  show(nobody.querySelector(".empty"), noInterest.length === 0);
  show(nobody, true);
}

function prepareTop() {
  choice(part("subjects").querySelector(".choice"), WINDOWS, topWindow, (value) => {
    topWindow = value;
    refresh("topz");
  });
}

function showMemory(answer) {
  const ceilings = answer.ceilings || [];
  keyed(part("ceilings").querySelector(".meters"), ceilings, (one) => one.name, ceilingRow);
  const used = (name) => (ceilings.find((one) => one.name === name) || {}).used ?? null;
  if (plots && plots.queues) plots.queues.push(Date.parse(answer.now), [used("queues"), used("pending")]);
}

function ceilingRow() {
  const label = el("span", "label");
  const meter = el("meter", "");
  const figure = el("span", "figure");
  const end = el("span", "end");
  return {
    node: el("div", "", label, meter, figure, end),
    update(one) {
      const format = one.unit === "bytes" ? bytes : one.unit === "seconds" ? duration : short;
      setText(label, CEILINGS[one.name] || one.name);
      label.title = one.holder;
      const limited = one.limit > 0;
      meter.max = limited ? one.limit : 1;
      meter.low = meter.max * 0.75;
      meter.high = meter.max * 0.9;
      meter.optimum = 0;
      meter.value = limited ? one.used : 0;
      setText(figure, limited ? `${format(one.used)} of ${format(one.limit)}` : `${format(one.used)}, no limit`);
      const left = one.exhausted_in;
      const [soon, over] = one.unit === "seconds" ? ["ends in", "over"] : ["full in", "full"];
      setText(end, Number.isFinite(left) ? (left > 0 ? `${soon} ${duration(left)}` : over) : one.holder ? `most: ${one.holder}` : "");
      setClass(end, Number.isFinite(left) && left < 86400 ? "end soon" : "end");
    },
  };
}
