"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  // phase → colour, hatching: 0 none, 1 rising, 2 falling; moments have a shape instead
  const LOOK = {
    waiting: ["grey", 0], held: ["grey", 1], claimed: ["pale", 0], running: ["blue", 0], unknown: ["blue", 1],
    silent: ["amber", 0], backoff: ["amber", 1], reaped: ["red", 0], quarantined: ["red", 1], blocked: ["red", 2],
    done: ["green", 0], left: ["none", 0],
  };
  const MOMENTS = ["done", "left"];

  const SMALLEST = 3; // pixels: what was short is still seen

  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children); // text stays text: nothing here is ever parsed as HTML
    return node;
  };
  const SPOT = 12; // pixels that a moment takes
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const when = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
  const ago = (span) => {
    const s = Math.max(0, Math.floor(span));
    if (s < 60) return `${s}s`;
    if (s < 3600) return `${Math.floor(s / 60)}m`;
    if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
    return `${Math.floor(s / 86400)}d ${Math.floor((s % 86400) / 3600)}h`;
  };

  let data = JSON.parse($("#data").textContent);

  // -- colours -------------------------------------------------------------------------------------------------------

  const hatch = (id, turn) => draw("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${turn})` },
    draw("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: "hatch" }));
  document.body.append(draw("svg", { width: 0, height: 0, "aria-hidden": "true", style: "position:absolute" }, hatch("hatch-1", 45), hatch("hatch-2", -45)));

  const mark = (phase, x, middle) => phase === "done"
    ? draw("circle", { cx: x, cy: middle, r: 5.5, class: "fill-green" })
    : draw("circle", { cx: x, cy: middle, r: 4.5, class: "ring" });
  const block = (phase, x, y, width, height) => {
    const [colour, hatched] = LOOK[phase];
    const at = { x, y, width, height, rx: Math.min(2, width / 2) };
    const drawn = [draw("rect", { ...at, class: `fill-${colour}` })];
    if (hatched) drawn.push(draw("rect", { ...at, fill: `url(#hatch-${hatched})` }));
    return drawn;
  };
  const dot = (phase) => draw("svg", { class: "dot", viewBox: "0 0 12 12", "aria-hidden": "true" },
    ...(MOMENTS.includes(phase) ? [mark(phase, 6, 6)] : block(phase, 0, 0, 12, 12)));

  // -- tables --------------------------------------------------------------------------------------------------------

  const cell = (kind, ...children) => make("td", { class: kind }, ...children);
  const label = (text) => make("small", { class: "label" }, text); // in place of the head, where there is no room for one
  const moment = (at) => (at === null ? ["-"] : [when(at).slice(11), make("small", {}, when(at).slice(0, 10))]);
  const small = (text) => (text ? [make("small", {}, text)] : []);
  const TABLES = {
    queue: {
      heads: ["Bead", "Phase", "For", "Rule", "Why"], filters: { Phase: 2, Rule: 4 }, noun: "bead", size: 10,
      row: ([bead, title, phase, since, rule, why]) => [
        cell("wide", make("span", { class: "id" }, bead), ...small(title)), cell("tight", dot(phase), phase), cell("tight", ago(data.now - since)),
        cell("tight rule", rule), cell("wide", why),
      ],
    },
    audit: {
      heads: ["Time", "Decision", "Bead", "Rule", "What"], filters: { Decision: 3, Rule: 5 }, noun: "decision", size: 25,
      row: ([at, bead, version, kind, attempt, rule, what, commit]) => [
        cell("tight", when(at)), cell("tight", kind, ...small(attempt ? `version ${version}, attempt ${attempt}` : `version ${version}`)),
        cell("tight id", bead || "-"), cell("tight rule", rule),
        cell("wide", what, ...(commit ? [make("small", { class: "commit" }, commit)] : [])),
      ],
    },
    differs: {
      heads: ["Bead", "Decision", "Recorded", "What if", "Difference", "Rule"], filters: { Decision: 2, Difference: 3, Rule: 7 }, noun: "difference", size: 25,
      row: ([bead, title, decision, , recorded, whatIf, said, rule]) => [
        cell("wide", make("span", { class: "id" }, bead), ...small(title)), cell("tight", label("decision"), decision),
        cell("tight", label("recorded"), ...moment(recorded)), cell("tight", label("what if"), ...moment(whatIf)), cell("wide", said), cell("tight rule", rule),
      ],
    },
    waits: {
      heads: ["Bead", "Why"], filters: {}, noun: "bead", size: 10,
      row: ([bead, title, why]) => [cell("wide", make("span", { class: "id" }, bead), ...small(title)), cell("wide", why)],
    },
  };

  function table(name) {
    const { heads, filters, noun, row, size } = TABLES[name];
    const root = $(`#${name}`), body = $("tbody", root), input = $("input", root), status = $("[role=status]", root);
    const back = $(".back", root), on = $(".on", root), selects = [];
    let rows = [], found = [], page = 0;
    for (const head of heads) $("thead tr", root).append(make("th", { scope: "col", class: head.toLowerCase() }, head));
    for (const [label, column] of Object.entries(filters)) {
      const select = make("select");
      selects.push([select, column]);
      $(".filters", root).append(make("label", { class: label.toLowerCase() }, `${label} `, select));
      select.addEventListener("change", () => search());
    }
    const search = (kept = 0) => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      found = rows.filter(([text, one]) => words.every((word) => text.includes(word)) && selects.every(([select, column]) => !select.value || one[column] === select.value));
      page = kept;
      show();
    };
    const show = () => {
      const pages = Math.max(1, Math.ceil(found.length / size));
      page = Math.min(page, pages - 1);
      const from = page * size, part = found.slice(from, from + size);
      body.replaceChildren(...part.map(([, one]) => make("tr", {}, ...row(one))));
      $(".scroll", root).hidden = !found.length;
      $(".none", root).hidden = found.length > 0;
      back.disabled = page === 0;
      on.disabled = page >= pages - 1;
      back.hidden = on.hidden = pages === 1;
      const said = found.length ? `${from + 1} to ${from + part.length} of ${count(found.length, noun)}` : "";
      if (status.textContent !== said) status.textContent = said;
    };
    const turn = (by) => { page += by; show(); $(".scroll", root).scrollTop = 0; };
    input.addEventListener("input", () => search());
    back.addEventListener("click", () => turn(-1));
    on.addEventListener("click", () => turn(1));
    return () => {
      rows = data[name].map((one) => [one.join(" ").toLowerCase(), one]);
      for (const [select, column] of selects) {
        const values = ["", ...new Set(data[name].map((one) => one[column]).filter(Boolean))].sort(), value = select.value;
        if (String(values) === String([...select.options].map((option) => option.value)) && select.options.length) continue;
        select.replaceChildren(...values.map((each) => make("option", { value: each }, each || "all")));
        select.value = values.includes(value) ? value : "";
      }
      root.classList.toggle("one-rule", new Set(data[name].map((one) => one[filters.Rule]).filter(Boolean)).size < 2);
      $(".controls", root).hidden = !rows.length;
      search(page);
    };
  }

  // -- timeline ------------------------------------------------------------------------------------------------------

  function timeline() {
    const root = $("#timeline"), rows = $(".rows", root), more = $(".more", root), status = $("[role=status]", root), input = $("input", root), card = $(".card", root);
    const lanes = new Map(); // bead → {lane, track, chosen}
    let cap = data.cap, shown = [], current = "";
    const place = (at, width) => (Math.max(0, at - data.since) / Math.max(1, data.now - data.since)) * width;

    const words = ([phase, begin, end, why]) => {
      const how = MOMENTS.includes(phase) ? `${phase} at ${when(begin)}` : `${phase} for ${ago(end - begin)}, from ${when(begin)}`;
      return why ? `${how}: ${why}` : how;
    };
    const paint = (one) => {
      const width = one.track.clientWidth || 600, height = one.track.clientHeight, top = height / 2 - 9, drawn = [];
      one.lane[2].forEach(([phase, begin, end], number) => {
        const x = Math.min(place(begin, width), width - SMALLEST), long = Math.max(SMALLEST, place(end, width) - x);
        if (MOMENTS.includes(phase)) {
          drawn.push(mark(phase, Math.min(x, width - SPOT) + SPOT / 2, height / 2)); // beside what it ended
        } else {
          drawn.push(...block(phase, x, top, long, 18));
          if (!LOOK[phase][1] && long > phase.length * 7 + 8) drawn.push(draw("text", { x: x + 5, y: top + 13, class: `word word-${LOOK[phase][0]}` }, phase));
        }
        const from = MOMENTS.includes(phase) ? Math.min(x, width - SPOT) : x;
        if (number === one.chosen) drawn.push(draw("rect", { x: from - 2, y: top - 3, width: (MOMENTS.includes(phase) ? SPOT : long) + 4, height: 24, rx: 3, class: "chosen" }));
      });
      $("svg", one.track).replaceChildren(...drawn);
      fill(one.track, { "aria-valuemax": one.lane[2].length, "aria-valuenow": (one.chosen ?? one.lane[2].length - 1) + 1,
        "aria-valuetext": words(one.lane[2][one.chosen ?? one.lane[2].length - 1]) }, []);
    };
    const tell = (one) => {
      const [bead, title] = one.lane, stretch = one.lane[2][one.chosen], [phase, , , , commit, rule, attempt, job] = stretch;
      const facts = [rule && `rule ${rule}`, attempt && `attempt ${attempt}`, job && `job ${job}`].filter(Boolean).join(", ");
      card.replaceChildren(
        make("p", {}, dot(phase), make("strong", { class: "id" }, bead), ` ${title}`), make("p", {}, words(stretch)),
        ...(facts ? [make("p", { class: "facts" }, facts)] : []),
        ...(commit ? [make("p", { class: "facts" }, "commit ", make("span", { class: "commit" }, commit))] : []));
      card.hidden = false;
    };
    const quiet = (one) => { if (one && one.chosen !== null) { one.chosen = null; paint(one); } };
    const choose = (one, number) => {
      if (current !== one.lane[0]) { quiet(lanes.get(current)); hold(one.lane[0]); }
      if (one.chosen !== number) { one.chosen = number; paint(one); }
      tell(one);
    };
    const hold = (bead) => { // one stop of the Tab key for all lanes
      lanes.get(current)?.track.setAttribute("tabindex", "-1");
      current = bead;
      lanes.get(current)?.track.setAttribute("tabindex", "0");
    };
    const close = () => { quiet(lanes.get(current)); card.hidden = true; };
    const nearest = (one, x) => {
      const width = one.track.clientWidth;
      const far = ([phase, begin, end]) => { const from = place(begin, width), to = Math.max(from + (MOMENTS.includes(phase) ? SPOT : SMALLEST), place(end, width)); return x < from ? from - x : Math.max(0, x - to); };
      // of two at the same place the later one: a moment lies on the end of what it ended
      return one.lane[2].reduce((best, stretch, number, all) => (far(stretch) <= far(all[best]) ? number : best), 0);
    };
    const keys = (event, one) => {
      const last = one.lane[2].length - 1, at = one.chosen ?? last, move = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
      if (event.key === "Escape") return close();
      if (move !== undefined) {
        event.preventDefault();
        choose(one, Math.min(last, Math.max(0, move)));
      } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
        event.preventDefault();
        const next = lanes.get(shown[shown.indexOf(one.lane[0]) + (event.key === "ArrowUp" ? -1 : 1)]);
        if (next) next.track.focus();
      }
    };
    const added = (lane) => {
      const track = make("div", { class: "track", role: "slider", tabindex: "-1", "aria-label": lane[0], "aria-valuemin": 1 }, draw("svg", { "aria-hidden": "true" }));
      const one = { lane, track, chosen: null, name: make("div", { class: "name" }, make("span", { class: "id" }), make("span", { class: "title" })) };
      one.row = make("div", { class: "lane" }, one.name, track);
      const point = (event) => choose(one, nearest(one, event.clientX - track.getBoundingClientRect().left));
      track.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") point(event); });
      track.addEventListener("click", point);
      track.addEventListener("focus", () => { if (track.matches(":focus-visible")) choose(one, one.chosen ?? one.lane[2].length - 1); });
      track.addEventListener("keydown", (event) => keys(event, one));
      return one;
    };
    const redraw = () => {
      const word = input.value.trim().toLowerCase();
      const fit = data.lanes.filter(([bead, title]) => `${bead} ${title}`.toLowerCase().includes(word)), part = fit.slice(0, cap);
      shown = part.map(([bead]) => bead);
      const focused = document.activeElement?.closest?.(".lane") ? current : "";
      for (const lane of part) {
        const one = lanes.get(lane[0]) ?? added(lane);
        lanes.set(lane[0], one);
        one.lane = lane;
        if (one.chosen !== null) one.chosen = Math.min(one.chosen, lane[2].length - 1);
        one.name.firstChild.textContent = lane[0];
        one.name.lastChild.textContent = one.name.title = lane[1];
      }
      const wanted = shown.map((bead) => lanes.get(bead).row);
      if (wanted.length !== rows.children.length || wanted.some((row, number) => row !== rows.children[number])) rows.replaceChildren(...wanted);
      for (const bead of lanes.keys()) if (!shown.includes(bead)) lanes.delete(bead);
      if (!lanes.has(current)) { card.hidden = true; hold(shown[0] ?? ""); }
      for (const one of lanes.values()) paint(one);
      if (focused && lanes.has(focused)) lanes.get(focused).track.focus({ preventScroll: true });
      more.hidden = fit.length <= cap;
      $(".none", root).hidden = fit.length > 0;
      for (const part of $$(".legend, .controls, .lanes", root)) part.hidden = !data.lanes.length;
      const said = fit.length ? `${part.length} of ${count(fit.length, "bead")}` : "";
      if (status.textContent !== said) status.textContent = said;
    };
    more.addEventListener("click", () => { const first = cap; cap += data.cap; redraw(); if (more.hidden) lanes.get(shown[first])?.track.focus(); });
    input.addEventListener("input", () => { cap = data.cap; redraw(); });
    root.addEventListener("pointerleave", () => { if (!root.contains(document.activeElement)) close(); });
    new ResizeObserver(() => { for (const one of lanes.values()) paint(one); }).observe(rows);
    $(".legend", root).append(...Object.keys(LOOK).map((phase) => make("li", {}, dot(phase), phase)));
    return redraw;
  }

  const parts = Object.keys(TABLES).filter((name) => $(`#${name}`)).map(table);
  if ($("#timeline")) parts.push(timeline());
  const all = () => parts.forEach((part) => part());
  all();

  // -- live: the same page is asked for again; only text that nobody can stand in is exchanged -------------------------

  const every = Number(document.documentElement.dataset.refresh || 0);
  if (every) {
    const fresh = $("#fresh");
    const say = (text, stale) => { if (fresh.textContent !== text) fresh.textContent = text; fresh.classList.toggle("stale", stale); };
    say(`Refreshes itself every ${every} s.`, false);
    const ask = async () => {
      try {
        const answer = await fetch(location.pathname, { cache: "no-store" });
        if (!answer.ok) throw new Error((await answer.text()).trim() || `HTTP ${answer.status}`);
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        data = JSON.parse($("#data", page).textContent);
        for (const part of $$("[data-live]")) {
          const next = $(`[data-live="${part.dataset.live}"]`, page);
          if (next) part.replaceChildren(...next.childNodes);
        }
        all();
        say(`Refreshes itself every ${every} s.`, false);
      } catch (error) {
        say(`Not refreshed since ${when(data.now)}: ${error.message}`, true);
      }
    };
    setInterval(() => { if (!document.hidden) ask(); }, every * 1000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  }
})();
