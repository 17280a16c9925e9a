// --- Asking, and showing what comes ---

const REQUEST_TIMEOUT_MS = 10000;
// So long without any answer, and the figures are old.
const STALE_MS = 7000;

// What is asked how often. `section` appears with the first answer.
const SOURCES = [
  { name: "varz", path: () => "varz", every: () => 2000, section: "traffic", take: showVarz },
  { name: "explainz", path: () => "explainz", every: () => 2000, section: "findings", take: showFindings },
  { name: "slowz", path: () => "slowz", every: () => 2000, section: "incidents", take: showIncidents },
  { name: "connz", path: connzPath, every: connzEvery, section: "connections", take: showConnections },
  { name: "latencyz", path: () => "latencyz", every: () => 4000, section: "latency", take: showLatency },
  { name: "topz", path: topzPath, every: () => 4000, section: "subjects", take: showTop },
  { name: "memz", path: () => "memz", every: () => 4000, section: "ceilings", take: showMemory },
  { name: "clusterz", path: () => "clusterz", every: () => 4000, section: "cluster", take: showCluster },
  { name: "routez", path: () => "routez", every: () => 4000, section: "cluster", take: showRoutes },
  { name: "leafz", path: () => "leafz", every: () => 4000, section: "leafnodes", take: showLeafnodes },
  { name: "federationz", path: () => "federationz", every: () => 4000, section: "federation", take: showFederation },
  { name: "eventsz", path: eventszPath, every: () => (events.stream ? 30000 : 2000), section: "events", take: showEvents },
];

let lastAnswer = 0;

async function ask(path) {
  const response = await fetch(new URL(path, BASE), { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${path.split("?")[0]}: HTTP status ${response.status}`);
  return JSON.parse(await response.text(), harmless);
}

// Asks one source now and again, one request of it at a time.
async function poll(source) {
  clearTimeout(source.timer);
  if (source.busy) {
    source.again = true;
    return;
  }
  source.busy = true;
  source.again = false;
  const path = source.path();
  try {
    const answer = await ask(path);
    lastAnswer = Date.now();
    // The question may have changed while the answer was on its way.
    if (path === source.path() || source.name === "eventsz") {
      show(part(source.section), true);
      source.take(answer);
      source.failure = "";
    }
  } catch (error) {
    source.failure = error.message;
  }
  source.busy = false;
  showLive();
  if (document.hidden) return;
  source.timer = setTimeout(() => poll(source), source.again ? 0 : source.every());
}

function refresh(name) {
  const source = sources.find((one) => one.name === name);
  if (source) poll(source);
}

function showLive() {
  const live = part("live");
  const silent = Date.now() - lastAnswer;
  const failure = sources.map((source) => source.failure).find(Boolean);
  const stale = silent > STALE_MS;
  document.body.classList.toggle("stale", stale);
  live.classList.toggle("failing", Boolean(stale || failure));
  const words = { critical: "critical", warning: "warning", ok: "all well" };
  setText(live, stale ? `no answer for ${duration(Math.round(silent / 1000))}` : failure ? failure : words[live.dataset.status] || "live");
}

function onVisibility() {
  if (document.hidden) {
    sources.forEach((source) => clearTimeout(source.timer));
    pauseEvents();
  } else {
    sources.forEach(poll);
  }
}

const sources = SOURCES.filter((source) => ENDPOINTS.has(`/${source.name}`));

function start() {
  document.documentElement.classList.add("scripted");
  const missing = SOURCES.filter((source) => !sources.includes(source)).map((source) => `/${source.name}`);
  show(part("unanswered"), missing.length > 0);
  setText(part("unanswered"), `This broker does not answer ${missing.join(", ")}; what they would show is left out.`);
  show(part("live"), true);
  lastAnswer = Date.now();
  prepareIncidents();
  prepareConnections();
  prepareTop();
  prepareCluster();
  preparePath();
  document.addEventListener("visibilitychange", onVisibility);
  setInterval(showLive, 1000);
  sources.forEach(poll);
}

start();
