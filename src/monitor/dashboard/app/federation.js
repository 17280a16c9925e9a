// --- The federation of the site: its upstream broker, and what is passed on ---

function showFederation(answer) {
  const section = part("federation");
  show(section, answer.enabled);
  if (!answer.enabled) return;
  const { upstream, requests, replies, round_trips: trips } = answer;
  setText(section.querySelector(".count"), answer.name);
  const badge = section.querySelector(".badge");
  setClass(badge, `badge ${upstream.connected ? "ok" : "critical"}`);
  setText(badge, upstream.connected ? "connected" : "not connected");
  setText(section.querySelector(".about"), upstream.connected ? aboutUpstream(upstream, trips) : `for ${ago(upstream.since)}: ${upstream.error || "it is being connected"}`);
  const passed = (traffic, ...more) => ({ shown: true, good: [["received", traffic.received], ["passed on", traffic.published], ...more], bad: [...Object.entries(traffic.refused_by_reason), ["dropped", traffic.dropped]] });
  const lists = [
    { title: "Requests", ...passed(requests, ["of these to nobody here", requests.without_receiver]) },
    { title: "Replies", ...passed(replies) },
  ];
  keyed(section.querySelector(".lists"), lists, (list) => list.title, outcomeList);
}

function aboutUpstream(upstream, trips) {
  const parts = [`to ${upstream.server_name || upstream.address} for ${ago(upstream.since)}`];
  if (upstream.rtt !== undefined) parts.push(`round trip ${duration(upstream.rtt)}`);
  if (upstream.pending) parts.push(`${bytes(upstream.pending)} wait`);
  if (trips.shortest !== undefined) parts.push(`nodes answer after ${duration(trips.shortest)}`);
  return parts.join(", ");
}
