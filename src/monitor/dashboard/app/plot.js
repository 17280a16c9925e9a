// --- Plots over the last minutes, drawn as SVG in the colours of the style sheet ---

const HISTORY_MS = 10 * 60 * 1000;
// So much time is shown while there is little history.
const RANGE_MIN_MS = 2 * 60 * 1000;
// A longer silence (a hidden tab, a stopped broker) is a gap in the line.
const GAP_MS = 15 * 1000;
const PLOT = { left: 4, right: 4, top: 14, bottom: 18, height: 148 };

// A plot of `series`, [{name, tone}]; `format` writes a value. With `log` the
// axis is logarithmic. Values are added by `push(time, values)`.
function plot(parent, title, series, format, log) {
  const samples = [];
  let width = 0;
  let pointer = null;
  const picture = svg("svg", { class: "plot", role: "img", height: PLOT.height });
  const figures = series.map(() => el("b", ""));
  const legend = el("p", "legend", ...series.map((one, index) => el("span", `tone-${one.tone}`, el("i", ""), `${one.name} `, figures[index])));
  const moment = el("span", "moment");
  const node = el("figure", "", el("figcaption", "", el("span", "", title), moment), picture, legend);
  parent.append(node);

  picture.addEventListener("pointermove", (event) => {
    pointer = event.clientX - picture.getBoundingClientRect().left;
    draw();
  });
  picture.addEventListener("pointerleave", () => {
    pointer = null;
    draw();
  });
  new ResizeObserver(() => {
    width = picture.clientWidth;
    draw();
  }).observe(picture);

  function draw() {
    if (width === 0) return;
    const end = samples.length ? samples[samples.length - 1].time : now();
    const range = Math.max(RANGE_MIN_MS, samples.length ? end - samples[0].time : 0);
    const x = (time) => PLOT.left + (1 - (end - time) / range) * (width - PLOT.left - PLOT.right);
    const axis = log ? logAxis(samples) : linearAxis(samples, format);
    const y = (value) => PLOT.top + (1 - axis.place(value)) * (PLOT.height - PLOT.top - PLOT.bottom);
    const shapes = axis.ticks.map((tick) => gridline(y(tick), format(tick).replace(/\.0+(?=\D)|(\.\d*[1-9])0+(?=\D)/, "$1")));
    const minutes = range > 6 * 60000 ? 5 : range > 3 * 60000 ? 2 : 1;
    for (let back = minutes * 60000; back <= range; back += minutes * 60000) {
      shapes.push(timeMark(x(end - back), `\u2212${back / 60000} min`));
    }
    shapes.push(timeMark(width - PLOT.right, "now", "end"));
    series.forEach((one, index) => {
      shapes.push(svg("path", { class: `line tone-${one.tone}`, d: linePath(samples, index, x, y) }));
    });
    const shown = pointer === null ? samples[samples.length - 1] : nearest(samples, pointer, x);
    if (shown && pointer !== null) shapes.push(svg("line", { class: "cursor", x1: x(shown.time), x2: x(shown.time), y1: PLOT.top, y2: PLOT.height - PLOT.bottom }));
    picture.replaceChildren(...shapes);
    figures.forEach((figure, index) => setText(figure, shown && shown.values[index] !== null ? format(shown.values[index]) : "\u2013"));
    setText(moment, shown && pointer !== null ? clock(shown.time) : "");
    picture.setAttribute("aria-label", `${title}: ${legend.textContent}`);
  }

  function gridline(at, label) {
    return svg("g", { class: "grid" },
      svg("line", { x1: PLOT.left, x2: width - PLOT.right, y1: at, y2: at }),
      svg("text", { x: PLOT.left, y: at - 3 }, label));
  }

  function timeMark(at, label, anchor) {
    return svg("text", { class: "time", x: at, y: PLOT.height - 4, "text-anchor": anchor || (at < 20 ? "start" : "middle") }, label);
  }

  return {
    node,
    push(time, values) {
      samples.push({ time, values });
      while (samples.length && samples[0].time < time - HISTORY_MS) samples.shift();
      draw();
    },
    clear() {
      samples.length = 0;
      draw();
    },
  };
}

function linePath(samples, index, x, y) {
  let path = "";
  let last = -Infinity;
  for (const { time, values } of samples) {
    if (values[index] === null) continue;
    path += `${time - last > GAP_MS ? "M" : "L"}${x(time).toFixed(1)} ${y(values[index]).toFixed(1)}`;
    last = time;
  }
  return path;
}

function nearest(samples, pointer, x) {
  let best = samples[0];
  for (const sample of samples) {
    if (Math.abs(x(sample.time) - pointer) < Math.abs(x(best.time) - pointer)) best = sample;
  }
  return best;
}

function largest(samples) {
  return samples.reduce((most, sample) => Math.max(most, ...sample.values), 0);
}

// Ends at a round number of the unit that `format` writes.
function linearAxis(samples, format) {
  const most = largest(samples) || 1;
  const unit = format === bytes ? 1024 ** Math.max(0, Math.floor(Math.log(most) / Math.log(1024))) : 1;
  const power = 10 ** Math.floor(Math.log10(most / unit)) * unit;
  const top = [1, 2, 4, 6, 8, 10].map((factor) => factor * power).find((candidate) => candidate >= most);
  return { ticks: [0, top / 2, top], place: (value) => value / top };
}

// From the decade of the smallest value to that of the largest; zero is at the bottom.
function logAxis(samples) {
  const smallest = samples.reduce((least, sample) => Math.min(least, ...sample.values.filter((value) => value > 0)), Infinity);
  const low = Math.floor(Math.log10(Number.isFinite(smallest) ? smallest : 1e-5));
  const high = Math.max(low + 1, Math.ceil(Math.log10(largest(samples) || 1e-4)));
  const step = Math.ceil((high - low) / 4);
  const ticks = [];
  for (let power = low; power <= high; power += step) ticks.push(10 ** power);
  const place = (value) => (value > 0 ? Math.max(0, Math.min(1, (Math.log10(value) - low) / (high - low))) : 0);
  return { ticks, place };
}

// A small curve of [x, value] with a limit, without axes.
function curve(points, limit) {
  const [width, height] = [360, 84];
  const end = points.length ? points[points.length - 1][0] : 0;
  const highest = points.reduce((most, [, value]) => Math.max(most, value), 1);
  const top = limit && limit < highest * 3 ? Math.max(limit, highest) * 1.08 : highest * 1.15;
  const x = (at) => (end > 0 ? (at / end) * width : width);
  const y = (value) => height - (value / top) * height;
  const line = points.map(([at, value], index) => `${index ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const picture = svg("svg", { class: "curve", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": "Bytes waiting over time" });
  if (points.length) picture.append(svg("path", { class: "area", d: `${line}L${x(end)} ${height}L0 ${height}Z` }), svg("path", { class: "line", d: line }));
  if (limit && limit <= top) picture.append(svg("line", { class: "limit", x1: 0, x2: width, y1: y(limit), y2: y(limit) }));
  return picture;
}
