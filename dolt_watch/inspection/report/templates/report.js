"use strict";
// The page of a tracker: what needs a person, figures, beads, charts, decisions. What is shown is in
// the address, so that a view can be shared: #range=6h&group=queue&state=&rule=&q=&tz=utc&bead=ID.

const RANGES = ["1h", "6h", "24h", "7d", "all"];
const RANGE_WORDS = { "1h": "the last hour", "6h": "the last 6 hours", "24h": "the last 24 hours", "7d": "the last 7 days", all: "all of the history shown" };
const GROUPS = [["attention", "Needs you"], ["running", "Running"], ["queue", "Queue"], ["finished", "Finished"]];
const STATES = ["quarantined", "unknown", "held", "claimed", "running", "silent", "waiting", "backoff", "done", "left", "reaped", "blocked"];
const BATCH = 50; // rows of a group, and with each 'Show more'
const PROBLEMS = 8;
const DECISIONS = 12;

const page = (() => {
  const path = location.pathname.match(/^(.*\/)bead\/([^/]+)$/);
  const base = path && live ? path[1] : location.pathname.replace(/[^/]*$/, "");
  const blank = { range: "", group: "", state: "", rule: "", q: "", tz: "", bead: "" };
  let view = { ...blank };
  let shown = []; // IDs of the beads in the table, in its order
  const limits = { problems: PROBLEMS, decisions: DECISIONS };

  // -- the address -----------------------------------------------------------------------------

  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    const next = { ...blank };
    for (const name of Object.keys(blank)) next[name] = given.get(name) ?? "";
    const here = live && location.pathname.match(/\/bead\/([^/]+)$/);
    if (here && !next.bead) next.bead = decodeURIComponent(here[1]);
    if (!RANGES.includes(next.range)) next.range = "";
    return next;
  };
  const write = (replace) => {
    const given = new URLSearchParams(Object.entries(view).filter(([, value]) => value));
    const hash = given.toString();
    const address = `${live ? base : location.pathname}${location.search}${hash ? `#${hash}` : ""}`;
    // A file that is opened from some viewers has no address of its own to change.
    try { history[replace ? "replaceState" : "pushState"](null, "", address); } catch { /* the view stays as it is */ }
  };
  const go = (change, replace = false) => {
    view = { ...view, ...change };
    write(replace);
    render();
  };

  // -- what is shown ---------------------------------------------------------------------------

  const rangeData = () => store.data.ranges.find(({ name }) => name === rangeName()) ?? store.data.ranges[0];
  // Without a choice: the shortest range that has everything, at most a day.
  const rangeName = () => {
    if (view.range) return view.range;
    const age = now() - store.data.first;
    return age <= 3600 ? "1h" : age <= 21600 ? "6h" : "24h";
  };
  const bounds = () => {
    const { seconds } = rangeData(), end = now();
    const begin = Math.max(store.data.first, seconds ? end - seconds : store.data.first);
    return [begin, end];
  };
  const words = () => view.q.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (one, said) => said.every((word) => one.hay.includes(word) || reason(one).toLowerCase().includes(word));

  const order = {
    attention: (a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || a.since - b.since,
    running: (a, b) => a.since - b.since,
    queue: (a, b) => Number(Boolean(a.gate)) - Number(Boolean(b.gate)) || a.rule.localeCompare(b.rule) || (store.places.get(a.id)?.[0] ?? 0) - (store.places.get(b.id)?.[0] ?? 0) || a.since - b.since,
    finished: (a, b) => b.last - a.last,
  };
  const grouped = (begin) => {
    const said = words(), found = Object.fromEntries(GROUPS.map(([name]) => [name, []]));
    for (const one of store.beads.values()) {
      if (one.group === "finished" && one.last < begin) continue;
      if (view.state && one.state !== view.state) continue;
      if (view.rule && one.rule !== view.rule) continue;
      if (said.length && !fits(one, said)) continue;
      found[one.group].push(one);
    }
    for (const [name, list] of Object.entries(found)) list.sort((a, b) => order[name](a, b) || (a.id < b.id ? -1 : 1));
    return found;
  };

  // -- header ----------------------------------------------------------------------------------

  const needed = () => store.data.problems.reduce((sum, { beads }) => sum + Math.max(1, beads.length), 0);
  const condition = () => {
    const n = needed();
    if (store.stale) return ["red", "warn", "Not updated"];
    if (store.data.worker?.late) return ["red", "warn", `No worker${n > 1 ? `, ${n - 1} more need you` : ""}`];
    if (n) return ["red", "warn", `${number(n)} need${n === 1 ? "s" : ""} you`];
    if (store.data.paused.length) return ["amber", "pause", "Paused"];
    return ["green", "check", "All well"];
  };
  const header = () => {
    const { place, head } = store.data, [tone, name, text] = condition(), n = needed();
    put($("#tracker"), place.tracker || "dolt_watch");
    put($("#database"), place.database);
    const pill = $("#condition");
    if (pill.dataset.shown !== `${tone}${text}`) {
      pill.dataset.shown = `${tone}${text}`;
      pill.className = `pill ${tone}`;
      pill.replaceChildren(icon(name), text);
      document.title = `${n ? `(${n}) ` : ""}${place.tracker || "dolt_watch"}: ${text.toLowerCase()}`;
      const paint = { red: "#c5362b", amber: "#c8870c", green: "#1f7a45" }[tone];
      const inner = tone === "green" ? '<path d="M4.5 8.2l2.3 2.3 4.7-4.9" fill="none" stroke="#fff" stroke-width="1.8"/>' : tone === "amber" ? '<path d="M6 5v6M10 5v6" stroke="#fff" stroke-width="1.8"/>' : '<path d="M8 4v5M8 11v1.4" stroke="#fff" stroke-width="1.9"/>';
      $("link[rel=icon]").href = `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8" fill="${paint}"/>${inner}</svg>`)}`;
    }
    fresh();
    $("#head-commit").replaceChildren(...[head ? "History up to " : "", commitMark(head)].filter(Boolean));
    for (const button of $$("#ranges button")) button.setAttribute("aria-pressed", String(button.value === rangeName()));
    for (const button of $$("#zones button")) button.setAttribute("aria-pressed", String(button.value === view.tz));
    put($("#zone-words"), times.zone === "UTC" ? "Times are UTC." : `Times are local (${Intl.DateTimeFormat().resolvedOptions().timeZone}).`);
    const only = $("#only");
    only.hidden = !store.data.only.length;
    put(only, `Only ${store.data.only.join(", ")}`);
  };
  const fresh = () => {
    const box = $("#fresh");
    box.classList.toggle("stale", Boolean(store.stale));
    if (store.stale) put(box, `Not updated since ${when(store.data.now)}: ${store.stale}`);
    else if (live) put(box, `Updated ${brief((Date.now() - store.received) / 1000)} ago`);
    else put(box, `Written at ${when(store.data.now)}`);
  };

  // -- what needs a person ---------------------------------------------------------------------

  const KINDS = {
    worker: ["warn", "red", "no worker"], merge: ["warn", "red", "merge"], migration: ["warn", "red", "schema"],
    target: ["warn", "red", "unreachable"], stopped: ["block", "red", "stopped"], overdue: ["warn", "amber", "silent"],
  };
  const sentence = (text) => (text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}` : "");
  const beadLink = (id, withTitle = true) => {
    const one = store.beads.get(id);
    const anchor = make("a", { href: `#bead=${encodeURIComponent(id)}`, "data-bead": id }, ...(withTitle && one?.titled ? [one.title, " "] : []), make("span", { class: "mono id" }, id));
    return anchor;
  };
  const SUBJECTS = { worker: "No worker", merge: "Unfinished merge", migration: "Uncommitted migration", stopped: "Stopped rule" };
  const problemItem = (one, end) => {
    const [name, tone, word] = KINDS[one.kind] ?? [look(one.kind).icon, look(one.kind).tone, one.kind];
    const subject = one.beads.length
      ? [...one.beads.slice(0, 3).flatMap((id, at) => [at ? ", " : "", beadLink(id)]), one.beads.length > 3 ? ` and ${number(one.beads.length - 3)} more` : ""]
      : [one.subject ? `Target ${one.subject}` : SUBJECTS[one.kind] ?? one.kind];
    return make("li", {},
      make("span", { class: `badge ${tone}` }, icon(name), word),
      make("div", { class: "what" }, make("p", { class: "subject" }, ...subject),
        make("p", { class: "why" }, sentence(readable(one.reason, end)), one.since ? make("span", { class: "since" }, " Since ", time(one.since, near(one.since, end)), ` (${brief(end - one.since)}).`) : null)),
      one.command ? command(one.command) : make("span"));
  };
  let problemsShown = "";
  const problems = (end) => {
    const all = store.data.problems, box = $("#problems");
    const mark = JSON.stringify([all, limits.problems, times.zone, Math.floor(end / 60)]);
    box.hidden = !all.length;
    if (mark === problemsShown) return;
    problemsShown = mark;
    const beads = all.reduce((sum, { beads: ids }) => sum + ids.length, 0), others = all.filter(({ beads: ids }) => !ids.length).length;
    put($(".count", box), [beads && count(beads, "bead"), others && count(others, beads ? "other problem" : "problem")].filter(Boolean).join(" and "));
    keepFocus(box, () => $("ul", box).replaceChildren(...all.slice(0, limits.problems).map((one) => problemItem(one, end))));
    const more = $(".more", box);
    more.hidden = all.length <= limits.problems;
    put(more, `Show all ${all.length}`);
  };
  // Replaces elements, and focuses the one that has the place of the focused one.
  const keepFocus = (box, change) => {
    const focusable = () => $$("a, button, [tabindex]", box), at = focusable().indexOf(document.activeElement);
    change();
    if (at >= 0) (focusable()[at] ?? focusable()[0])?.focus({ preventScroll: true });
  };

  // -- worker, rules, targets ------------------------------------------------------------------

  const cell = (title, aside, ...body) => make("div", { class: "cell" }, make("p", { class: "top" }, make("span", {}, title), make("span", {}, aside)), make("p", { class: "main" }, ...body));
  let strip = "";
  const workers = () => {
    const { worker, rules, targets, paused } = store.data;
    const mark = JSON.stringify([worker, rules, targets, paused, times.zone]);
    if (mark === strip) return;
    strip = mark;
    const cells = [];
    if (worker) cells.push(cell("Worker", "", icon(worker.late ? "warn" : "dot", worker.late ? "red" : worker.leads ? "green" : "grey"), sentence(readable(worker.words, now())).replace(/\.$/, "")));
    for (const [name, target, slots, used, held] of rules) {
      const [, free, why, down, since] = targets.find(([each]) => each === target) ?? ["", null, "", false, null];
      const boxes = slots <= 12 ? make("span", { class: "slots", "aria-hidden": "true" }, ...Array.from({ length: slots }, (_, at) => make("i", { class: at < used ? "used" : "" }))) : null;
      const notes = [down ? `${target} is unreachable${since ? ` since ${near(since, now())}` : ""}` : free !== null ? `${target}: ${free} free` : "", !down && held && used < slots ? readable(held, now()) : ""].filter(Boolean).join("; ");
      cells.push(cell(`Rule ${name}`, target === name ? "" : `target ${target}`, boxes, make("b", { class: down ? "red" : "" }, used > slots ? `${number(used)} in use, limit ${number(slots)}` : `${number(used)} of ${number(slots)} in use`), notes ? make("span", { class: "soft" }, notes) : null, !down && why && free === 0 ? make("span", { class: "soft" }, readable(why, now())) : null));
    }
    $("#workers").replaceChildren(...cells);
    const box = $("#paused");
    box.hidden = !paused.length;
    $("ul", box).replaceChildren(...paused.map((text) => make("li", {}, icon("pause", "amber"), sentence(`paused: ${readable(text, now())}`))));
  };

  // -- figures ---------------------------------------------------------------------------------

  const spark = (values, bars = false) => {
    const known = values.filter((value) => value !== null), top = Math.max(...known, 0.000001), svg = draw("svg", { class: "spark", viewBox: `0 0 ${values.length * 4} 24`, preserveAspectRatio: "none", "aria-hidden": "true" });
    if (bars) {
      values.forEach((value, at) => { if (value) svg.append(draw("rect", { x: at * 4 + 0.5, y: 24 - (22 * value) / top, width: 3, height: (22 * value) / top, class: "spark-bar" })); });
      return svg;
    }
    let path = "", open = false;
    values.forEach((value, at) => {
      if (value === null) return;
      path += `${open ? "L" : "M"}${at * 4 + 2},${(23 - (21 * value) / top).toFixed(1)}`;
      open = true;
    });
    if (path) svg.append(draw("path", { d: path, class: "spark-line" }));
    return svg;
  };
  const open_ = (group) => [...store.beads.values()].filter((one) => one.group === group);
  const figures = (end) => {
    const range = rangeData(), { outcomes: by, curves } = range;
    const waiting = open_("queue"), running = open_("running");
    const bad = ["failed", "quarantined", "reaped", "requeued", "blocked"].filter((name) => by[name]).map((name) => `${number(by[name])} ${name}`).join(", ");
    const rate = range.per_hour;
    const oldest = (list) => (list.length ? `oldest ${brief(end - Math.min(...list.map(({ since }) => since)))}` : "");
    const duration = ([n, middle, high, longest], verb) => (n ? [span(middle), `p95 ${span(high)}, longest ${span(longest)}`] : ["–", `nothing ${verb} in this range`]);
    const [wait, waitNote] = duration(range.wait, "was claimed"), [run, runNote] = duration(range.run, "ended");
    const tiles = [
      ["waiting", "Waiting now", number(waiting.length), oldest(waiting), spark(curves.waiting), { group: "queue", state: "" }],
      ["running", "Running now", number(running.length), oldest(running), spark(curves.running), { group: "running", state: "" }],
      ["done", "Done", number(by.done ?? 0), `${number(range.dispatched)} dispatched`, spark(curves.done, true), { group: "finished", state: "done" }],
      ["success", "Success rate", range.success === null ? "–" : `${(range.success * 100).toFixed(range.success === 1 ? 0 : 1)} %`, bad || (range.success === null ? "no attempt ended" : "no failures"), spark(curves.success), null],
      ["throughput", "Throughput", rate >= 100 ? number(Math.round(rate)) : rate.toFixed(1), "done per hour", spark(curves.done, true), null],
      ["wait", "Median wait", wait, waitNote, spark(curves.wait), null],
      ["run", "Median run", run, runNote, spark(curves.run), null],
    ];
    put($("#range-words"), `${RANGE_WORDS[range.name]}${end - store.data.first < (range.seconds ?? Infinity) ? `, from ${near(store.data.first, end)}` : ""}`);
    const box = $("#figures");
    tiles.forEach(([key, name, value, note, curve, change], at) => {
      let tile = box.children[at];
      if (!tile) {
        tile = make("div", { class: "tile", "data-number": key }, make("dt", {}, change ? make("button", { type: "button", title: "Show these beads" }, name) : name), make("dd", {}, make("b"), make("small"), make("span", { class: "curve" })));
        if (change) $("button", tile).addEventListener("click", () => { go({ ...change, q: "", rule: "" }); $("#beads").scrollIntoView({ behavior: motion() }); });
        box.append(tile);
      }
      put($("b", tile), value);
      put($("small", tile), note);
      $(".curve", tile).replaceChildren(curve);
    });
  };
  const motion = () => (matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth");

  // -- beads -----------------------------------------------------------------------------------

  const rows = new Map(); // bead → its row, kept between updates
  const COLUMNS = 7;
  const added = (id) => {
    const anchor = make("a", { class: "title", href: `#bead=${encodeURIComponent(id)}`, "data-bead": id, tabindex: "-1" });
    const row = {
      anchor, mark: "", painted: "",
      place: make("td", { class: "c-place", role: "cell" }), meta: make("span", { class: "meta" }), state: make("td", { class: "c-state", role: "cell" }),
      lane: draw("svg", { class: "lane", role: "img" }), why: make("td", { class: "c-why", role: "cell" }),
      attempts: make("td", { class: "c-attempts", role: "cell" }), since: make("td", { class: "c-since", role: "cell" }),
    };
    row.node = make("tr", { role: "row", class: "bead", "data-row": id }, row.place, make("td", { class: "c-bead", role: "cell" }, anchor, row.meta), row.state,
      make("td", { class: "c-lane", role: "cell" }, row.lane), row.why, row.attempts, row.since);
    row.node.addEventListener("click", (event) => { if (!event.target.closest("a, button") && !String(getSelection())) go({ bead: id }); });
    row.lane.addEventListener("pointermove", (event) => hover(event, row, id));
    row.lane.addEventListener("pointerleave", unhover);
    return row;
  };
  const update = (row, one, begin, end, ticks) => {
    const place = store.places.get(one.id), said = reason(one);
    const mark = [one.title, one.rule, one.priority, one.state, said, one.attempt, place?.[0], times.zone].join("\u0000");
    if (mark !== row.mark) {
      row.mark = mark;
      row.node.className = `bead s-${one.state} g-${one.group}`;
      put(row.place, one.group === "queue" ? (place && !one.gate ? String(place[0]) : "–") : "");
      put(row.anchor, one.title);
      row.anchor.title = one.title;
      row.meta.replaceChildren(make("span", { class: "mono id" }, one.id), one.rule ? ` · ${one.rule}` : "", one.priority !== null ? ` · P${one.priority}` : "");
      row.state.replaceChildren(badge(one.state));
      put(row.why, readable(said, end));
      put(row.attempts, one.attempt ? String(one.attempt) : "–");
      row.attempts.title = one.attempt ? `attempt ${one.attempt}` : "";
    }
    const ago = brief(end - one.since);
    if (row.since.dataset.at !== `${one.since}${ago}${times.zone}`) {
      row.since.dataset.at = `${one.since}${ago}${times.zone}`;
      row.since.replaceChildren(time(one.since, `${ago} ago`));
    }
    const painted = `${begin}|${Math.floor(end / 5)}|${times.zone}`;
    if (row.painted !== painted || row.one !== one) {
      row.painted = painted;
      row.one = one;
      paintLane(row.lane, one, begin, end, ticks);
      row.lane.setAttribute("aria-label", laneWords(one, end));
    }
  };
  const hover = (event, row, id) => {
    const one = store.beads.get(id), tip = $("#tip"), box = row.lane.getBoundingClientRect();
    if (!one || !drawn) return;
    const [begin, end] = drawn, at = begin + ((event.clientX - box.left) / box.width) * (end - begin);
    const part = nearestPart(one, at, ((end - begin) / box.width) * 8);
    if (!part) return unhover();
    put(tip, partWords(part, end));
    tip.hidden = false;
    const wide = tip.offsetWidth;
    tip.style.left = `${Math.max(8, Math.min(innerWidth - wide - 8, event.clientX - wide / 2))}px`;
    tip.style.top = `${box.bottom + 6 + tip.offsetHeight > innerHeight ? box.top - tip.offsetHeight - 4 : box.bottom + 4}px`;
  };
  const unhover = () => { $("#tip").hidden = true; };
  addEventListener("scroll", unhover, { passive: true });

  let drawn = null, widest = {};
  const heldWords = () => store.data.rules.filter(([, , , , held]) => held).map(([name, , , , held]) => `${name}: ${readable(held, now())}`).join("; ");
  const beads = () => {
    const [from, end] = bounds(), groups = grouped(from), focused = document.activeElement?.closest?.("#beads [data-bead]")?.dataset.bead;
    const visible = GROUPS.filter(([name]) => !view.group || view.group === name);
    // The axis begins where the rows shown do.
    const firsts = visible.flatMap(([name]) => groups[name].slice(0, limits[name] ?? BATCH)).map((one) => one.lane[0]?.begin ?? end);
    const earliest = Math.max(from, Math.min(...firsts, end - 60));
    const begin = earliest - (end - earliest) * 0.03, ticks = ticksOf(begin, end);
    drawn = [begin, end];
    const axis = $("#axis");
    axis.replaceChildren(...ticks.map(({ left, text }) => { const tick = make("span", {}, text); tick.style.left = `${left}%`; return tick; }), make("span", { class: "end" }, live ? "now" : "end"));
    shown = [];
    for (const [name, title] of GROUPS) {
      const body = $(`#g-${name}`), list = visible.some(([each]) => each === name) ? groups[name] : [], limit = limits[name] ?? BATCH;
      const part = list.slice(0, limit), head = $(".group", body), foot = $(".rest", body);
      body.hidden = !list.length;
      put($(".name", head), title);
      put($(".number", head), number(list.length));
      put($(".aside", head), name === "queue" ? heldWords() : "");
      for (const one of part) {
        shown.push(one.id);
        if (!rows.has(one.id)) rows.set(one.id, added(one.id));
        update(rows.get(one.id), one, begin, end, ticks);
      }
      const wanted = part.map(({ id }) => rows.get(id).node), present = $$("tr.bead", body);
      if (wanted.length !== present.length || wanted.some((node, at) => node !== present[at])) {
        for (const node of present) if (!wanted.includes(node)) node.remove();
        wanted.forEach((node, at) => { if (body.children[at + 1] !== node) body.insertBefore(node, body.children[at + 1]); });
      }
      foot.hidden = list.length <= limit;
      put($("button", foot), `Show ${number(Math.min(BATCH * 2, list.length - limit))} more`);
      put($("span", foot), `${number(part.length)} of ${number(list.length)}`);
    }
    const kept = new Set(shown);
    for (const id of rows.keys()) if (!kept.has(id)) rows.delete(id);
    rove(kept.has(focused) ? focused : kept.has(stop) ? stop : shown[0]);
    if (focused && kept.has(focused) && document.activeElement !== rows.get(focused).anchor) rows.get(focused).anchor.focus({ preventScroll: true });
    const total = Object.values(groups).reduce((sum, list) => sum + list.length, 0);
    $("#no-beads").hidden = shown.length > 0;
    $("#table").hidden = !shown.length;
    put($("#no-beads"), store.beads.size ? "No bead fits this search." : "No bead has matched a rule in this time.");
    put($("#found"), count(visible.reduce((sum, [name]) => sum + groups[name].length, 0), "bead"));
    for (const button of $$("#groups button")) {
      const size = button.value ? groups[button.value].length : total;
      button.setAttribute("aria-pressed", String(button.value === view.group));
      put($("span", button), number(size));
    }
    options($("#states"), STATES.filter((state) => [...store.beads.values()].some((one) => one.state === state)), view.state, "All states");
    options($("#rules"), [...new Set([...store.beads.values()].map(({ rule }) => rule))].filter(Boolean).sort(), view.rule, "All rules");
    $("#rules").parentElement.hidden = $("#rules").options.length < 3 && !view.rule;
    if ($("#q").value !== view.q) $("#q").value = view.q;
    $("#clear").hidden = !(view.q || view.state || view.rule || view.group);
  };
  const options = (select, values, value, all) => {
    const every = ["", ...new Set([...values, value].filter(Boolean))];
    if (String(every) !== String([...select.options].map((option) => option.value)) || !select.options.length) select.replaceChildren(...every.map((each) => make("option", { value: each }, each || all)));
    if (select.value !== value) select.value = value;
  };
  // One stop of the Tab key for the whole table: the arrow keys move inside.
  let stop = "";
  const rove = (id) => {
    rows.get(stop)?.anchor.setAttribute("tabindex", "-1");
    stop = id ?? "";
    rows.get(stop)?.anchor.setAttribute("tabindex", "0");
  };
  const keys = (event) => {
    const id = event.target.dataset?.bead, at = shown.indexOf(id);
    if (at < 0) return;
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (next === undefined || !shown[next]) return;
    event.preventDefault();
    rove(shown[next]);
    rows.get(shown[next]).anchor.focus();
  };

  // -- charts, causes, decisions ---------------------------------------------------------------

  let charts = null;
  const depth = () => {
    const [begin, end] = bounds(), [steps, waiting, running, free] = store.data.depth;
    let at = 0;
    const x = (steps ?? []).map((one) => (at += one)), columns = [x, waiting ?? [], running ?? [], free ?? []].map((one) => [...one]);
    if (!x.length) { x.push(end); for (const one of columns) one.push(0); columns[0] = [end - 1]; }
    if (columns[0][columns[0].length - 1] < end) columns.forEach((one, column) => one.push(column ? one[one.length - 1] : end));
    const inside = (values) => values.filter((value, index) => value !== null && value !== undefined && (columns[0][index] >= begin || columns[0][index + 1] > begin));
    const most = (values) => Math.max(0, ...inside(values)), last = (values) => values[values.length - 1] ?? 0;
    const hasFree = columns[3].some((value) => value !== null && value !== undefined);
    charts ??= [
      panel($("#chart-waiting"), [{ label: "Waiting", color: "grey", fill: true }], { sync: "depth" }),
      panel($("#chart-running"), [{ label: "Running", color: "blue", fill: true }, ...(hasFree ? [{ label: "Free slots, as reported", color: "amber", dash: [5, 4] }] : [])], { sync: "depth", height: 130 }),
    ];
    const sayWaiting = `now ${number(last(columns[1]))}, at most ${number(most(columns[1]))}`, sayRunning = `now ${number(last(columns[2]))}, at most ${number(most(columns[2]))}`;
    put($("#say-waiting"), sayWaiting);
    put($("#say-running"), sayRunning);
    charts[0].show([columns[0], columns[1]], begin, end, `Beads waiting over time: ${sayWaiting}`);
    charts[1].show(hasFree ? [columns[0], columns[2], columns[3]] : [columns[0], columns[2]], begin, end, `Beads running over time: ${sayRunning}`);
  };

  const CAUSE_TONES = { quarantined: "red", reaped: "red", blocked: "red", failed: "amber", unknown: "purple" };
  let causesShown = "";
  const causes = (end) => {
    const { causes: found, name } = rangeData(), box = $("#causes");
    const mark = JSON.stringify([found, name, Math.floor(end / 60)]);
    if (mark === causesShown) return;
    causesShown = mark;
    const most = Math.max(1, ...found.map(([, kinds]) => Object.values(kinds).reduce((a, b) => a + b, 0)));
    const total = found.reduce((sum, [, kinds]) => sum + Object.values(kinds).reduce((a, b) => a + b, 0), 0);
    put($("#causes-words"), found.length ? `${count(total, "failure")}, ${count(found.length, "cause")}` : "");
    $("#no-causes").hidden = found.length > 0;
    keepFocus(box, () => box.replaceChildren(...found.map(([text, kinds, beads_, last]) => {
      const sum = Object.values(kinds).reduce((a, b) => a + b, 0);
      const bar = make("span", { class: "stack", "aria-hidden": "true" });
      for (const [kind, amount] of Object.entries(kinds)) { const piece = make("i", { class: CAUSE_TONES[kind] ?? "grey" }); piece.style.width = `${(100 * amount) / most}%`; bar.append(piece); }
      const button = make("button", { type: "button", title: "Show beads with this cause" }, text);
      const longest = text.split(/<[a-z]+>/).map((piece) => piece.trim()).sort((a, b) => b.length - a.length)[0];
      button.addEventListener("click", () => { go({ q: longest, group: "", state: "" }); $("#beads").scrollIntoView({ behavior: motion() }); });
      return make("li", { "data-cause": text }, make("div", { class: "line" }, button, make("b", {}, number(sum))), bar,
        make("small", {}, [Object.entries(kinds).map(([kind, amount]) => `${number(amount)} ${kind}`).join(", "), count(beads_, "bead"), last ? `last ${brief(end - last)} ago` : ""].filter(Boolean).join(" · ")));
    })));
  };

  const decisionList = () => {
    const [begin] = bounds(), said = words(), found = [];
    const plain = !view.state && !view.group;
    for (const one of store.beads.values()) {
      if (view.rule && one.rule !== view.rule) continue;
      if (view.state && one.state !== view.state) continue;
      if (view.group && one.group !== view.group) continue;
      if (said.length && !fits(one, said)) continue;
      for (const each of one.attempts) if ((each.end ?? Infinity) >= begin) found.push({ at: each.end ?? each.begin, outcome: each.outcome, one, attempt: each.number, took: each.end === null ? null : each.end - each.begin, begin: each.begin, why: each.why, commit: each.commit });
    }
    for (const each of store.data.decisions) {
      if (!plain || each[0] < begin || (view.rule && each[3] !== view.rule)) continue;
      const one = entry(each);
      if (said.length && !said.every((word) => `${one.kind} ${one.rule} ${one.reason} ${one.commit}`.toLowerCase().includes(word))) continue;
      found.push({ at: one.at, kind: one.kind, why: one.reason, commit: one.commit, rule: one.rule });
    }
    return found.sort((a, b) => b.at - a.at);
  };
  let decisionsShown = "";
  const decisions = (end) => {
    const found = decisionList(), part = found.slice(0, limits.decisions), box = $("#decisions");
    const mark = JSON.stringify([part.map(({ at, outcome, kind, one, attempt, commit, took }) => [at, outcome, kind, one?.id, one?.title, attempt, commit, took ?? Math.floor(end / 10)]), found.length, times.zone]);
    if (mark === decisionsShown) return;
    decisionsShown = mark;
    keepFocus(box, () => $("tbody", box).replaceChildren(...part.map((each) => make("tr", { role: "row" },
      make("td", { role: "cell", class: "tight" }, time(each.at, near(each.at, end))),
      make("td", { role: "cell", class: "tight" }, each.outcome ? badge(each.outcome) : make("span", { class: "badge grey" }, icon("dot"), each.kind)),
      make("td", { role: "cell", class: "wide" }, each.one ? beadLink(each.one.id) : make("span", { class: "soft" }, each.rule ? `rule ${each.rule}` : "all rules")),
      make("td", { role: "cell", class: "wide soft" }, readable(each.why, end)),
      make("td", { role: "cell", class: "tight num" }, each.attempt ? String(each.attempt) : "–"),
      make("td", { role: "cell", class: "tight num" }, each.one ? span(each.took ?? end - each.begin) : "–"),
      make("td", { role: "cell", class: "tight" }, commitMark(each.commit) ?? "–")))));
    $("#no-decisions").hidden = found.length > 0;
    $(".scroll", box).hidden = !found.length;
    const foot = $(".rest", box);
    foot.hidden = found.length <= limits.decisions;
    put($("button", foot), `Show ${Math.min(BATCH, found.length - limits.decisions)} more`);
    put($("span", foot), `${number(part.length)} of ${number(found.length)}`);
  };

  // -- downloads -------------------------------------------------------------------------------

  const exported = () => {
    const [begin] = bounds(), groups = grouped(begin), stamp = (at) => (at === null || at === undefined ? null : new Date(at * 1000).toISOString());
    return GROUPS.filter(([name]) => !view.group || view.group === name).flatMap(([name]) => groups[name]).map((one) => ({
      id: one.id, title: one.titled ? one.title : "", rule: one.rule, priority: one.priority, state: one.state, since: stamp(one.since), place: one.gate ? null : store.places.get(one.id)?.[0] ?? null,
      reason: reason(one), attempt: one.attempt, job: one.job,
      attempts: one.attempts.map((each) => ({ attempt: each.number, begin: stamp(each.begin), end: stamp(each.end), outcome: each.outcome, reason: each.why, job: each.job, commit: each.commit })),
    }));
  };
  // A cell that a spreadsheet would compute is text: =, +, -, @ and a tab begin a formula.
  const csvCell = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csv = (list) => {
    const names = ["id", "title", "rule", "priority", "state", "since", "place", "reason", "attempt", "job"];
    return `${[names, ...list.map((one) => names.map((name) => one[name]))].map((line) => line.map(csvCell).join(",")).join("\r\n")}\r\n`;
  };
  const save = (name, kind, text) => {
    const address = URL.createObjectURL(new Blob([text], { type: kind }));
    make("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };
  const fileName = (ending) => `${(store.data.place.tracker || "dolt_watch").replace(/[^\w.-]+/g, "-")}-${new Date(now() * 1000).toISOString().slice(0, 16).replaceAll(":", "")}.${ending}`;

  // -- all of it -------------------------------------------------------------------------------

  const draw_ = () => {
    const end = now();
    header();
    problems(end);
    workers();
    figures(end);
    beads();
    depth();
    causes(end);
    decisions(end);
  };
  const render = () => {
    const zone = view.tz === "utc" ? "UTC" : undefined;
    if (zone !== times.zone) {
      times.zone = zone;
      charts?.forEach((one) => one.rebuild());
    }
    draw_();
    drawer.show(view.bead);
  };
  const start = () => {
    view = read();
    $("#q").addEventListener("input", (event) => { for (const [name] of GROUPS) delete limits[name]; go({ q: event.target.value }, true); });
    $("#states").addEventListener("change", (event) => go({ state: event.target.value }));
    $("#rules").addEventListener("change", (event) => go({ rule: event.target.value }));
    for (const button of $$("#groups button")) button.addEventListener("click", () => go({ group: button.value, state: "" }));
    for (const button of $$("#ranges button")) button.addEventListener("click", () => go({ range: button.value }));
    for (const button of $$("#zones button")) button.addEventListener("click", () => go({ tz: button.value }));
    $("#clear").addEventListener("click", () => { go({ q: "", state: "", rule: "", group: "" }); $("#q").focus(); });
    $("#problems .more").addEventListener("click", () => { limits.problems = Infinity; render(); $$("#problems li a")[PROBLEMS]?.focus(); });
    for (const [name] of GROUPS) {
      $(`#g-${name} .rest button`).addEventListener("click", () => {
        const before = limits[name] ?? BATCH, known = new Set(shown);
        limits[name] = before + 2 * BATCH;
        beads();
        rows.get(shown.find((id) => !known.has(id)))?.anchor.focus();
      });
    }
    $("#decisions .rest button").addEventListener("click", () => { limits.decisions += BATCH; decisions(now()); });
    $("#save-csv").addEventListener("click", () => save(fileName("csv"), "text/csv", csv(exported())));
    $("#save-json").addEventListener("click", () => save(fileName("json"), "application/json", JSON.stringify(exported(), null, 1)));
    $("#beads").addEventListener("keydown", keys);
    $(".skip").addEventListener("click", (event) => { event.preventDefault(); $("#main").focus(); });
    document.addEventListener("click", (event) => {
      const anchor = event.target.closest?.("a[data-bead]");
      if (!anchor || event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      go({ bead: anchor.dataset.bead });
    });
    document.addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && !$("#bead").open) { event.preventDefault(); $("#q").focus(); $("#q").select(); }
      if (event.key === "Escape" && document.activeElement === $("#q") && view.q) go({ q: "" }, true);
    });
    addEventListener("popstate", () => { view = read(); render(); });
    addEventListener("hashchange", () => { const next = read(); if (JSON.stringify(next) !== JSON.stringify(view)) { view = next; render(); } });
    $("#legend").append(...LEGEND.map((state) => make("li", {}, legendMark(state), state === "backoff" ? "backoff: tried again later" : state === "left" ? "left the rule" : state === "silent" ? "running, silent" : state === "unknown" ? "outcome unknown" : state)));
    render();
  };
  const focusBead = (id) => (rows.get(id)?.anchor ?? $("#q")).focus({ preventScroll: true });
  return { base, go, start, render, fresh, focusBead, order: () => shown };
})();

accept(JSON.parse($("#data").textContent));
store.views = JSON.parse($("#views")?.textContent ?? "{}");
page.start();

// -- live: only what changed is asked for ---------------------------------------------------------

if (live) {
  const ask = async () => {
    try {
      const answer = await fetch(`${page.base}data.json?after=${store.data.tag}`, { cache: "no-store" });
      if (!answer.ok) throw new Error((await answer.text()).trim() || `HTTP ${answer.status}`);
      accept(await answer.json());
      store.stale = "";
    } catch (error) {
      store.stale = error.message;
    }
    page.render();
    drawer.refresh();
  };
  ask(); // the page may come from the browser's cache: its time is then old
  setInterval(() => { if (!document.hidden) ask(); }, live * 1000);
  setInterval(page.fresh, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
}
