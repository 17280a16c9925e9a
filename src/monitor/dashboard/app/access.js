// --- Who gets in: certificates, handshakes, logins ---

const SOON_DAYS = 30;
const URGENT_DAYS = 7;
const TERMS = [
  ["Certificate", "cert", "ends"],
  ["CA", "ca", "ends"],
  ["Revocation list", "crl", "next is due"],
];

function showAccess(varz) {
  const tls = varz.tls;
  const ofRoutes = (varz.cluster || {}).tls;
  show(part("certificates"), Boolean(tls || ofRoutes));
  show(part("access"), Boolean(tls || varz.logins));
  if (tls || ofRoutes) showCertificates(varz, tls, ofRoutes);
  const logins = varz.logins || {};
  const refused = Object.entries(logins.refused || {});
  const handshakes = tls ? [["finished", tls.handshakes], ["of these resumed", tls.resumed], ["under way", tls.unfinished]] : [];
  const parent = part("access").querySelector(".lists");
  const lists = [
    { title: "TLS handshakes", none: "Clients connect without TLS.", shown: Boolean(tls), good: handshakes, bad: Object.entries(tls ? tls.failed : {}) },
    { title: "Logins", none: "No login is required.", shown: varz.auth_required || logins.accepted > 0 || refused.some(([, number]) => number), good: [["accepted", logins.accepted], ["refusals delayed", logins.delayed]], bad: refused },
  ];
  keyed(parent, lists, (list) => list.title, outcomeList);
}

function terms(tls, notAfter, of) {
  if (!tls) return [];
  const ends = { cert: notAfter, ca: tls.ca_not_after, crl: tls.crl_next_update };
  return TERMS.filter(([, key]) => ends[key]).map(([title, key, verb]) => ({ title: title + of, verb, end: ends[key], days: tls[`${key}_days_left`], name: tls[`${key}_name`] }));
}

function showCertificates(varz, ofClients, ofRoutes) {
  const rows = terms(ofClients, varz.tls_cert_not_after, "").concat(terms(ofRoutes, (varz.cluster || {}).tls_cert_not_after, " of routes"));
  showCertificates.table ||= table(part("certificates").querySelector("table"), [
    { title: "", text: (row) => row.title },
    { title: "Days left", kind: "figure", fill: fillDays },
    { title: "Until", text: (row) => row.end.slice(0, 16).replace("T", " "), kind: "dim" },
    { title: "Subject", text: (row) => row.name || "", kind: "subject", level: 2 },
  ]);
  showCertificates.table.update(rows, (row) => row.title);
  const tls = ofClients || ofRoutes;
  const refused = tls.refused_files || (ofRoutes || {}).refused_files;
  const note = part("certificates").querySelector(".note");
  show(note, Boolean(refused || tls.crl_next_update));
  setClass(note, refused ? "note bad" : "note");
  setText(note, refused ? `Changed files cannot be used: ${refused}` : `${count(tls.revoked)} revoked${tls.revoked_closed ? `, ${plural(count(tls.revoked_closed), "connection")} of theirs closed` : ""}`);
}

function fillDays(cell, row) {
  const left = row.days;
  setText(cell, left < 0 ? `over for ${duration(-left * 86400)}` : left < 2 ? duration(left * 86400) : count(Math.floor(left)));
  setClass(cell, `figure ${left < URGENT_DAYS ? "bad" : left < SOON_DAYS ? "soon" : ""}`.trim());
}

// What went well, and what did not by cause, the most frequent first.
function outcomeList() {
  const list = el("ul", "ranking");
  const heading = el("h3", "");
  const row = () => {
    const [name, figure] = [el("span", ""), el("span", "")];
    return {
      node: el("li", "", name, figure),
      update([label, number, tone]) {
        setText(name, label.replaceAll("_", " "));
        setText(figure, count(number || 0));
        setClass(figure, tone && number ? "bad" : "");
      },
    };
  };
  return {
    node: el("div", "", heading, list),
    update(outcome) {
      setText(heading, outcome.title);
      const bad = outcome.bad.filter(([, number]) => number).sort((a, b) => b[1] - a[1]).map(([label, number]) => [label, number, true]);
      const sum = bad.reduce((total, [, number]) => total + number, 0);
      const rows = outcome.shown ? [...outcome.good, ["refused", sum, true], ...bad.map(([label, number]) => [`\u2014 ${label}`, number, true])] : [];
      keyed(list, rows, ([label]) => label, row);
      show(list, outcome.shown);
      setText(heading, outcome.shown ? outcome.title : `${outcome.title}: ${outcome.none}`);
    },
  };
}
