// --- Findings: what is wrong, who, since when, why, what to do ---

const SEVERITIES = { critical: "Critical", warning: "Warning", info: "Notice" };

function showFindings(answer) {
  const section = part("findings");
  const findings = answer.findings || [];
  keyed(section.querySelector(".cards"), findings, (finding) => `${finding.code} ${finding.subject} ${finding.cid}`, findingCard);
  const well = section.querySelector(".all-well");
  show(well, findings.length === 0);
  setText(well, "Nothing is wrong.");
  const worst = findings.some((one) => one.severity === "critical") ? "critical" : findings.some((one) => one.severity === "warning") ? "warning" : "ok";
  const count = findings.filter((one) => one.severity !== "info").length;
  document.title = `${count ? `(${count}) ` : ""}${part("live").dataset.name} · midge`;
  part("live").dataset.status = worst;
}

function findingCard() {
  const badge = el("span", "badge");
  const subject = el("b", "subject");
  const code = el("code", "");
  const time = el("time", "");
  const text = el("p", "what");
  const cause = el("dd", "");
  const remedy = el("dd", "");
  const causeRow = el("div", "", el("dt", "", "Why"), cause);
  const remedyRow = el("div", "", el("dt", "", "What to do"), remedy);
  const node = el("li", "card", el("p", "line", badge, subject, el("span", "spring"), code, time), text, el("dl", "because", causeRow, remedyRow));
  return {
    node,
    update(finding) {
      const severity = finding.severity in SEVERITIES ? finding.severity : "info";
      setClass(node, `card ${severity}`);
      setText(badge, SEVERITIES[severity]);
      setText(subject, finding.subject || "this broker");
      setText(code, finding.code);
      setText(time, finding.since ? `since ${clock(finding.since)}, ${ago(finding.since)}` : "");
      time.dateTime = finding.since;
      setText(text, finding.text);
      setText(cause, finding.cause);
      show(causeRow, Boolean(finding.cause));
      setText(remedy, finding.remedy);
      show(remedyRow, Boolean(finding.remedy));
      code.title = finding.link;
    },
  };
}
