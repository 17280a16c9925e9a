"use strict";
// The live part of the page. What the broker answers (names, subjects, texts)
// is a stranger's input: it becomes text nodes, never markup.

const BASE = new URL(".", document.currentScript.src);

// The broker links what it has; nothing else is asked.
const ENDPOINTS = new Set(Array.from(document.querySelectorAll(".endpoints a"), (link) => link.textContent));

// Milliseconds by which the broker's clock is ahead of this one.
let skew = 0;

const part = (id) => document.getElementById(id);
const now = () => Date.now() + skew;

// An element with a class and children: strings and elements.
function el(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  made.append(...children);
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

// --- Lists that keep their elements, so that focus and open parts stay ---

const kept = new WeakMap();

// Clients choose their names: what could turn a line around, hide in it or command
// something is shown as a mark. For JSON.parse, so that all texts pass here. The
// characters are those of monitor_client::text::UNSAFE, which a test compares.
const UNSEEN =
  /[\u{0}-\u{1f}\u{7f}-\u{9f}\u{ad}-\u{ad}\u{34f}-\u{34f}\u{600}-\u{605}\u{61c}-\u{61c}\u{6dd}-\u{6dd}\u{70f}-\u{70f}\u{890}-\u{891}\u{8e2}-\u{8e2}\u{115f}-\u{1160}\u{17b4}-\u{17b5}\u{180b}-\u{180f}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2060}-\u{206f}\u{3164}-\u{3164}\u{e000}-\u{f8ff}\u{fe00}-\u{fe0f}\u{feff}-\u{feff}\u{ffa0}-\u{ffa0}\u{fff0}-\u{fffb}\u{110bd}-\u{110bd}\u{110cd}-\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}\u{f0000}-\u{10ffff}]/gu;
function harmless(_key, value) {
  return typeof value === "string" ? value.replace(UNSEEN, "\ufffd") : value;
}

// Shows one element per item, in order. `create` makes {node, update} once per key.
function keyed(parent, items, keyOf, create) {
  const before = kept.get(parent) || new Map();
  const after = new Map();
  for (const item of items) {
    let key = keyOf(item);
    while (after.has(key)) key += "+";
    after.set(key, item);
  }
  for (const [key, entry] of before) if (!after.has(key)) entry.node.remove();
  let cursor = parent.querySelector(":scope > :not(thead)");
  for (const [key, item] of after) {
    const entry = before.get(key) || create(item);
    entry.update(item);
    if (entry.node === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(entry.node, cursor);
    after.set(key, entry);
  }
  kept.set(parent, after);
}

// A table. A column is {title, text(row) or fill(cell, row), kind, level, sort};
// level 2 and 3 hide on narrow screens. `sort` holds {by, choose(key)}.
function table(element, columns, sort) {
  const head = el("tr", "");
  for (const column of columns) {
    const cell = el("th", cellClass(column));
    cell.scope = "col";
    if (column.about) cell.title = column.about;
    if (sort && column.sort) {
      const button = el("button", "sort", column.title);
      button.type = "button";
      button.addEventListener("click", () => sort.choose(column.sort));
      cell.append(button);
      column.mark = (by) => cell.setAttribute("aria-sort", by === column.sort ? "other" : "none");
      column.mark(sort.by);
    } else {
      cell.append(column.title);
    }
    head.append(cell);
  }
  kept.delete(element);
  element.replaceChildren(el("thead", "", head));
  const body = el("tbody", "");
  element.append(body);
  return {
    body,
    mark: (by) => columns.forEach((column) => column.mark && column.mark(by)),
    update: (rows, keyOf) => keyed(body, rows, keyOf, () => tableRow(columns)),
  };
}

function tableRow(columns) {
  const node = el("tr", "");
  const cells = columns.map((column) => el("td", cellClass(column)));
  node.append(...cells);
  return {
    node,
    update: (row) =>
      columns.forEach((column, index) => {
        if (column.fill) column.fill(cells[index], row);
        else setText(cells[index], column.text(row));
      }),
  };
}

function cellClass(column) {
  return [column.kind || "", column.level ? `level${column.level}` : ""].join(" ").trim();
}

// A row of buttons of which one is pressed.
function choice(parent, options, chosen, choose) {
  const buttons = options.map(([value, label]) => {
    const button = el("button", "", label);
    button.type = "button";
    button.setAttribute("aria-pressed", String(value === chosen));
    button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      choose(value);
    });
    return button;
  });
  parent.replaceChildren(...buttons);
}

// --- Figures as text ---

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

// An exact number.
function count(value) {
  return GROUPED.format(value).replaceAll(",", "\u202f");
}

// A number as text with its noun: 1 message, 2 messages.
function plural(shown, noun) {
  return `${shown} ${noun}${shown === "1" ? "" : "s"}`;
}

// A number in few characters: 1.25 M.
function short(value) {
  const units = ["", "k", "M", "G", "T"];
  let index = 0;
  let rest = Math.abs(value || 0);
  while (rest >= 999.5 && index < units.length - 1) {
    rest /= 1000;
    index += 1;
  }
  const digits = index === 0 && (rest >= 10 || Number.isInteger(rest)) ? 0 : rest >= 99.95 ? 0 : rest >= 9.995 ? 1 : 2;
  const figure = (value < 0 ? "\u2212" : "") + rest.toFixed(digits);
  return units[index] ? `${figure}\u00a0${units[index]}` : figure;
}

// A size by the rule of monitor_client::text::bytes, which a test compares: 64 MiB.
function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let index = 0;
  let rest = Math.max(0, value || 0);
  while (rest >= 1023.5 && index < units.length - 1) {
    rest /= 1024;
    index += 1;
  }
  const digits = index === 0 || rest >= 99.95 ? 0 : rest >= 9.995 ? 1 : 2;
  return `${Number(rest.toFixed(digits))}\u00a0${units[index]}`;
}

// Seconds, from nanoseconds to days.
function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  if (seconds <= 0) return "0\u00a0s";
  for (const [unit, size] of [["ns", 1e-9], ["µs", 1e-6], ["ms", 1e-3]]) {
    if (seconds < size * 999.5) {
      const figure = seconds / size;
      return `${figure.toFixed(figure < 9.95 && unit !== "ns" ? 1 : 0)}\u00a0${unit}`;
    }
  }
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)}\u00a0s`;
  const steps = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = Math.max(0, steps.findIndex(([, size]) => seconds >= size));
  const [unit, size] = steps[first];
  const whole = Math.floor(seconds / size);
  const [nextUnit, nextSize] = steps[first + 1] || ["s", 1];
  const rest = Math.floor((seconds - whole * size) / nextSize);
  return `${whole}\u00a0${unit}${rest && whole < 100 ? `\u00a0${rest}\u00a0${nextUnit}` : ""}`;
}

// A Go duration such as 1.2ms, 242µs or 1h2m3s, in seconds; NaN for none.
function goSeconds(text) {
  const units = { ns: 1e-9, us: 1e-6, "µs": 1e-6, "μs": 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86400, y: 31536000 };
  let sum = NaN;
  for (const [, figure, unit] of (text || "").matchAll(/([\d.]+)(ns|us|µs|μs|ms|[smhdy])/g)) {
    sum = (Number.isNaN(sum) ? 0 : sum) + Number(figure) * units[unit];
  }
  return sum;
}

// Seconds since a time of the broker's clock.
function since(time) {
  return Math.max(0, (now() - Date.parse(time)) / 1000);
}

// Whole seconds, for what is read while it passes.
function ago(time) {
  const seconds = since(time);
  return seconds < 60 ? `${Math.floor(seconds)}\u00a0s` : duration(seconds);
}

function clock(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  const day = now() - date < 72e6 ? "" : `${date.toISOString().slice(0, 10)} `;
  return day + date.toLocaleTimeString("en-GB");
}

// A text of the broker's as a sentence of its own.
function sentence(text) {
  return text && `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

// Who a connection is, in one word.
function who(connection) {
  return connection.name || connection.authorized_user || connection.user || `${connection.ip || connection.address || "?"}`;
}
