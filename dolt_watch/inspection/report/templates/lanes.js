"use strict";
// A bead's phases on the axis of time. Height shows activity: a thick bar means that an agent may
// be working, a thin line that the bead waits. An end is a mark, not a bar that grows.

const LOOKS = {
  waiting: { icon: "clock", tone: "grey", line: true },
  backoff: { icon: "again", tone: "amber", line: true, dash: "2 3" },
  claimed: { icon: "dot", tone: "blue", bar: "claimed" },
  running: { icon: "play", tone: "blue", bar: "running" },
  silent: { icon: "warn", tone: "amber", bar: "silent", hatched: true },
  unknown: { icon: "ask", tone: "purple", bar: "unknown", hatched: true },
  held: { icon: "pause", tone: "grey", mark: true, tail: true },
  quarantined: { icon: "cross", tone: "red", mark: true, tail: true },
  reaped: { icon: "stop", tone: "red", mark: true },
  blocked: { icon: "block", tone: "red", mark: true },
  done: { icon: "check", tone: "green", mark: true },
  left: { icon: "left", tone: "grey", mark: true },
  failed: { icon: "cross", tone: "amber" },
  requeued: { icon: "stop", tone: "red" },
  refused: { icon: "block", tone: "red" },
  stopped: { icon: "stop", tone: "grey" },
  ended: { icon: "left", tone: "grey" },
  busy: { icon: "again", tone: "grey" },
  released: { icon: "again", tone: "grey" },
  returned: { icon: "again", tone: "grey" },
};
const LEGEND = ["waiting", "backoff", "claimed", "running", "silent", "unknown", "quarantined", "held", "reaped", "blocked", "done", "left"];
const look = (state) => LOOKS[state] ?? { icon: "dot", tone: "grey" };
const badge = (state) => make("span", { class: `badge ${look(state).tone}` }, icon(look(state).icon), state);

const STEPS = [1, 5, 15, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000];
// At most five round moments, in the zone of the page.
const ticksOf = (begin, end) => {
  const step = STEPS.find((one) => (end - begin) / one <= 5) ?? STEPS[STEPS.length - 1];
  const offset = times.zone === "UTC" ? 0 : -new Date(end * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((begin + offset) / step) * step - offset; at <= end && found.length < 8; at += step) {
    const left = (100 * (at - begin)) / (end - begin);
    if (left >= 3 && left <= 86) found.push({ left, text: step >= 86400 || clock(at, false) === "00:00" ? day(at) : clock(at, step < 60) });
  }
  return found;
};

const legendMark = (state) => {
  const one = look(state);
  const box = draw("svg", { class: "swatch", viewBox: "0 0 22 16", "aria-hidden": "true" });
  if (one.line) box.append(draw("line", { x1: 0, x2: 22, y1: 8, y2: 8, class: `thin ${one.tone}`, "stroke-dasharray": one.dash }));
  else if (one.bar) box.append(draw("rect", { x: 1, y: 2, width: 20, height: 12, rx: 2, class: `bar ${one.bar}` }), ...(one.hatched ? [draw("rect", { x: 1, y: 2, width: 20, height: 12, class: "over" })] : []));
  else box.append(draw("use", { href: `#m-${one.icon}`, x: 11, y: 8, class: one.tone }));
  return box;
};

// Fills the element `svg` with the phases of `one` between `begin` and `end`.
const paintLane = (svg, one, begin, end, ticks) => {
  const width = Math.max(1, end - begin);
  const place = (at) => Math.min(100, Math.max(0, (100 * (at - begin)) / width));
  const percent = (value) => `${Math.round(value * 100) / 100}%`;
  const bars = [], marks = [];
  for (const { left } of ticks) bars.push(draw("line", { x1: percent(left), x2: percent(left), y1: 0, y2: 24, class: "grid" }));
  for (const part of one.lane) {
    const until = part.end ?? end, shown = look(part.phase);
    if (until < begin || part.begin > end) continue;
    const from = place(part.begin), to = Math.max(from + 0.3, place(until));
    if (shown.bar) {
      bars.push(draw("rect", { x: percent(from), y: 6, width: percent(to - from), height: 12, rx: 2, class: `bar ${shown.bar}` }));
      if (shown.hatched) bars.push(draw("rect", { x: percent(from), y: 6, width: percent(to - from), height: 12, rx: 2, class: "over" }));
    } else if (shown.line) {
      bars.push(draw("line", { x1: percent(from), x2: percent(to), y1: 12, y2: 12, class: `thin ${shown.tone}`, "stroke-dasharray": shown.dash }));
    } else {
      if (shown.tail && part.end === null) bars.push(draw("line", { x1: percent(from), x2: percent(to), y1: 12, y2: 12, class: `tail ${shown.tone}` }));
      if (part.begin >= begin) marks.push(draw("use", { href: `#m-${shown.icon}`, x: percent(Math.min(99.2, from)), y: 12, class: shown.tone }));
    }
  }
  svg.replaceChildren(...bars, ...marks);
};

// What a lane says in words: for screen readers, and under the pointer.
const partWords = (part, end) => {
  const until = part.end ?? end;
  const how = part.end === part.begin ? `${part.phase} at ${when(part.begin)}` : `${part.phase} for ${span(until - part.begin)}, from ${when(part.begin)}`;
  return part.why ? `${how}: ${readable(part.why, end)}` : how;
};
const laneWords = (one, end) => {
  const last = one.lane[one.lane.length - 1];
  return last ? `${one.lane.length > 1 ? `${one.lane.length} phases; last: ` : ""}${last.phase} since ${when(last.begin)}` : "no history in this range";
};
const nearestPart = (one, at, slack) => {
  const far = (part) => (at < part.begin ? part.begin - at : part.end !== null && at > part.end ? at - part.end : 0);
  let best = null;
  for (const part of one.lane) if (best === null || far(part) <= far(best)) best = part;
  return best && far(best) <= slack ? best : null;
};
