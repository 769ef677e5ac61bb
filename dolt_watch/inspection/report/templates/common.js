"use strict";
// Shared by all pages: elements, times, copy buttons.

const SVG = "http://www.w3.org/2000/svg";
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Text stays text: nothing here is ever parsed as HTML.
const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
};
const make = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);
const put = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
const icon = (name, tone = "") =>
  draw("svg", { class: `icon ${tone}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    draw("use", { href: `#i-${name}` }));

const number = (value) => value.toLocaleString("en");
const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

// -- times -------------------------------------------------------------------------------------

const times = { zone: undefined }; // undefined: the reader's own; "UTC"
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (value) => String(value).padStart(2, "0");
const parts = (seconds) => {
  const at = new Date(seconds * 1000);
  return times.zone === "UTC"
    ? [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()]
    : [at.getFullYear(), at.getMonth(), at.getDate(), at.getHours(), at.getMinutes(), at.getSeconds()];
};
const day = (seconds) => {
  const [, month, date] = parts(seconds);
  return `${date} ${MONTHS[month]}`;
};
const clock = (seconds, precise = true) => {
  const [, , , hour, minute, second] = parts(seconds);
  return `${two(hour)}:${two(minute)}${precise ? `:${two(second)}` : ""}`;
};
const when = (seconds) => {
  const [year, month, date] = parts(seconds);
  return `${year}-${two(month + 1)}-${two(date)} ${clock(seconds)}`;
};
// The time alone on the day of `now`, else with its date.
const near = (seconds, now) => (day(seconds) === day(now) && Math.abs(now - seconds) < 86400
  ? clock(seconds) : `${day(seconds)} ${clock(seconds, false)}`);
const span = (length) => {
  const s = Math.max(0, Math.round(length));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
};
// One unit: for narrow columns.
const brief = (length) => {
  const s = Math.max(0, length);
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${s < 36000 ? Math.floor(s / 360) / 10 : Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
};
// A sentence has times as 2026-04-18T22:35:46Z: the reader sees them in the zone of the page. Of an
// answer whose JSON is only a message, the reader sees the message.
const STAMP = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g;
const ANSWER = /(HTTP \d{3}): (\{"(?:error|detail)": ?"(?:[^"\\]|\\.)*"\})/g;
const message = (whole, status, body) => {
  try {
    return `${status}: ${Object.values(JSON.parse(body))[0]}`;
  } catch {
    return whole;
  }
};
const readable = (text, now) => (text ?? "").replace(ANSWER, message).replace(STAMP, (stamp) => {
  const at = Date.parse(stamp) / 1000;
  return Number.isNaN(at) ? stamp : near(at, now);
});
const time = (seconds, text) =>
  make("time", { datetime: new Date(seconds * 1000).toISOString(), title: when(seconds) }, text);

// -- copy --------------------------------------------------------------------------------------

// Without a secure context (http on another host) navigator.clipboard is absent.
const copyText = async (text) => {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { /* no permission: the older way below */ }
  }
  const area = make("textarea", { class: "unseen", readonly: true });
  area.value = text;
  ($("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
};
const announce = (text) => {
  const said = $("#said");
  if (said) put(said, text);
};
const copyButton = (text, label, name = `Copy ${text}`) => {
  const button = make("button", { type: "button", class: "copy", "aria-label": name, title: name }, icon("copy"), label ?? "");
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    const done = await copyText(text);
    button.classList.toggle("done", done);
    announce(done ? `Copied ${text}` : "Could not copy");
    setTimeout(() => button.classList.remove("done"), 1500);
  });
  return button;
};
// A line breaks between words only, never at a hyphen of an option or an ID.
const command = (text) => make("span", { class: "command" },
  make("code", {}, ...text.split(" ").flatMap((word, at) => [at ? " " : "", make("span", { class: "word" }, word)])), copyButton(text));

// -- charts ------------------------------------------------------------------------------------

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// One panel over time. `series`: {label, color, fill, dash}; `data`: uPlot's columns.
const panel = (root, series, options = {}) => {
  const height = options.height ?? 150;
  let chart = null;
  let data = null;
  let view = null;
  let zoomed = false;
  const step = uPlot.paths.stepped({ align: 1 });
  const build = () => {
    chart?.destroy();
    const soft = color("soft"), line = color("line");
    const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
    chart = new uPlot({
      width: Math.max(200, root.clientWidth), height,
      tzDate: (at) => (times.zone === "UTC" ? uPlot.tzDate(new Date(at * 1000), "Etc/UTC") : new Date(at * 1000)),
      cursor: { sync: { key: options.sync ?? root.id }, drag: { x: true, y: false }, points: { size: 7 } },
      scales: {
        x: { time: true, range: (self, low, high) => (zoomed ? [low, high] : view ?? [low, high]) },
        y: { range: (self, low, high) => [0, Math.max(2, (high ?? 0) * 1.08)] },
      },
      axes: [
        { ...axis, space: 80, values: (self, marks, space, increment) => marks.map((at) => (increment >= 86400 || clock(at, false) === "00:00" ? day(at) : clock(at, increment < 60))) },
        { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000] },
      ],
      legend: { live: true },
      series: [
        { label: "Time", value: (self, at) => (at === null ? "–" : when(at)) },
        ...series.map((one) => ({
          label: one.label, stroke: color(one.color), width: 1.5, dash: one.dash, paths: step, points: { show: false }, spanGaps: true,
          fill: one.fill ? color(`${one.color}-wash`) : undefined,
          value: (self, value) => (value === null || value === undefined ? "–" : number(value)),
        })),
      ],
      hooks: {
        setSelect: [(self) => { if (self.select.width > 0) zoomed = true; }],
        ready: [(self) => self.over.addEventListener("dblclick", () => { zoomed = false; self.setData(data); }, true)],
      },
    }, data, root);
    chart.root.querySelector("canvas").setAttribute("aria-hidden", "true");
  };
  const show = (columns, begin, end, say) => {
    const moved = view === null || begin !== view[0];
    data = columns;
    if (moved && view !== null) zoomed = zoomed && Math.abs(begin - view[0]) < 60; // another range
    view = [begin, Math.max(end, begin + 1)];
    root.setAttribute("aria-label", say);
    if (chart === null) build();
    else {
      chart.setData(data, !zoomed);
      if (zoomed) chart.redraw();
    }
  };
  new ResizeObserver(() => { if (chart && root.clientWidth > 0 && root.clientWidth !== chart.width) chart.setSize({ width: root.clientWidth, height }); }).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (chart) build(); });
  return { show, rebuild: () => { if (chart) build(); } };
};
