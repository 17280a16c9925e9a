// --- What happened: pushed by the broker, asked for where that fails ---

const KEPT_PER_KIND = 100;
const EVENTS_SHOWN = 60;

// Gaps stand among the events, behind the last one that was seen.
const GAP = "gap";
const GAPS_KEPT = 20;

const events = { byKind: new Map(), gaps: [], muted: new Set(), lastId: 0, missed: 0, stream: null, failed: false, serverId: "" };

// A page of events, and from then on the stream.
function showEvents(answer) {
  if (events.serverId !== answer.server_id) {
    Object.assign(events, { byKind: new Map(), gaps: [], lastId: 0, missed: 0, serverId: answer.server_id });
  } else {
    keepGap(answer.missed);
  }
  (answer.events || []).forEach(keepEvent);
  events.lastId = Math.max(events.lastId, answer.last_id);
  drawEvents();
  if (!events.stream && !events.failed) followEvents();
}

function eventszPath() {
  return events.lastId ? `eventsz?since=${events.lastId}&limit=500` : "eventsz?limit=300";
}

function followEvents() {
  const stream = new EventSource(new URL(`eventsz?since=${events.lastId}`, BASE));
  events.stream = stream;
  const kinds = part("events").dataset.kinds.split(" ");
  for (const kind of kinds) {
    stream.addEventListener(kind, (message) => {
      keepEvent(JSON.parse(message.data, harmless));
      drawSoon();
    });
  }
  stream.addEventListener("gap", (message) => {
    keepGap(JSON.parse(message.data, harmless).missed || 0);
    drawSoon();
  });
  stream.addEventListener("error", () => {
    // The browser comes back by itself after a break, but not after a refusal.
    if (stream.readyState !== EventSource.CLOSED) return;
    events.stream = null;
    events.failed = true;
  });
}

function pauseEvents() {
  if (events.stream) events.stream.close();
  events.stream = null;
  events.failed = false;
}

function keepGap(missed) {
  if (!missed) return;
  events.missed += missed;
  events.gaps.push({ id: events.lastId + 0.5, type: GAP, time: new Date(now()).toISOString(), text: `${plural(count(missed), "event")} dropped before they were read` });
  if (events.gaps.length > GAPS_KEPT) events.gaps.shift();
}

function keepEvent(event) {
  const list = events.byKind.get(event.type) || [];
  if (list.some((known) => known.id === event.id)) return;
  list.push(event);
  if (list.length > KEPT_PER_KIND) list.shift();
  events.byKind.set(event.type, list);
  events.lastId = Math.max(events.lastId, event.id);
}

// Many events in one moment are one drawing.
function drawSoon() {
  if (drawSoon.timer) return;
  drawSoon.timer = setTimeout(() => {
    drawSoon.timer = 0;
    drawEvents();
  }, 250);
}

function drawEvents() {
  const section = part("events");
  const kinds = [...events.byKind.keys()].sort();
  keyed(section.querySelector(".chips"), kinds, (kind) => kind, eventChip);
  const shown = kinds.filter((kind) => !events.muted.has(kind)).flatMap((kind) => events.byKind.get(kind));
  shown.push(...events.gaps);
  shown.sort((a, b) => b.id - a.id);
  keyed(section.querySelector(".log"), shown.slice(0, EVENTS_SHOWN), (event) => event.id, eventRow);
  show(section.querySelector(".empty"), kinds.length === 0);
  const missed = events.missed ? `, ${count(events.missed)} not seen here` : "";
  setText(section.querySelector(".count"), events.lastId ? `${count(events.lastId)} since the start${missed}` : "");
}

function eventChip() {
  const button = el("button", "chip");
  button.type = "button";
  return {
    node: button,
    update(kind) {
      setText(button, kind);
      button.setAttribute("aria-pressed", String(!events.muted.has(kind)));
      button.onclick = () => {
        if (!events.muted.delete(kind)) events.muted.add(kind);
        drawEvents();
      };
    },
  };
}

function eventRow(event) {
  const time = el("time", "", clock(event.time));
  time.dateTime = event.time;
  time.title = event.time;
  const family = event.type.split(".")[0];
  const loud = ["auth", "slow", "storm", "worker", GAP].includes(family) ? " loud" : "";
  const text = el("span", "text", event.subject ? el("b", "", event.subject) : "", ` ${event.text}`);
  return { node: el("li", "", time, el("span", `kind${loud}`, event.type), text), update() {} };
}
