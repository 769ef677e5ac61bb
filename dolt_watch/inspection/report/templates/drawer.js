"use strict";
// One bead: why it is or isn't dispatched, its attempts, its decisions.

const conditionRows = (rule) => make("ul", { class: "conditions" }, ...rule.conditions.map(([name, good, value]) =>
  make("li", { class: good ? "good" : "bad" }, icon(good ? "tick" : "cross", good ? "green" : "red"),
    make("span", { class: "unseen" }, good ? "holds: " : "does not hold: "), make("code", {}, name), make("span", { class: "value" }, readable(value, now())))));

const conditionsPart = (view, one) => {
  if (view === undefined) {
    return [make("h3", {}, "Conditions"), make("p", { class: "soft" }, "This file has the conditions of the first open beads only. To see the conditions of this one, run:"), command(`dolt_watch why ${one.id}`)];
  }
  if (view === null) return [make("h3", {}, "Conditions"), make("p", { class: "soft" }, "Loading…")];
  if (view.error) return [make("h3", {}, "Conditions"), make("p", { class: "soft" }, `Could not read them: ${view.error}`)];
  return view.rules.flatMap((rule) => [
    make("h3", {}, `Conditions of rule ${rule.rule}`),
    conditionRows(rule),
  ]);
};

// What `why` says first: the verdict, and what must change.
const verdictPart = (view, one) => {
  const known = view && !view.error ? view : null;
  const deciding = known ? known.rules.filter((rule) => rule.matches) : [];
  const changes = known ? [...new Set((deciding.length ? deciding : known.rules).flatMap((rule) => rule.to_go))] : [];
  const said = known?.verdict || reason(one);
  return [
    said ? make("p", { class: `verdict ${look(one.state).tone}` }, readable(said, now())) : null,
    ...(changes.length ? [make("p", { class: "soft" }, "Before it can be dispatched:"), make("ul", { class: "changes" }, ...changes.map((text) => make("li", {}, readable(text, now()))))] : []),
    ...deciding.filter((rule) => rule.held && rule.to_go.length && !rule.to_go.some((text) => text.includes(rule.held))).map((rule) => make("p", { class: "soft" }, `Rule ${rule.rule} is held: ${readable(rule.held, now())}.`)),
    ...(known?.notes ?? []).map((note) => make("p", { class: "soft" }, `Note: ${readable(note, now())}`)),
  ];
};

const attemptRows = (one, end) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Attempts" }, make("table", { class: "small" },
  make("thead", {}, make("tr", {}, ...["#", "Started", "Took", "Outcome", "Reason", "Job"].map((head) => make("th", { scope: "col" }, head)))),
  make("tbody", {}, ...[...one.attempts].reverse().map((each) => make("tr", {},
    make("td", {}, String(each.number || "–")), make("td", { class: "tight" }, time(each.begin, near(each.begin, end))),
    make("td", { class: "tight" }, span((each.end ?? end) - each.begin)), make("td", { class: "tight" }, badge(each.outcome)),
    make("td", { class: "wide" }, readable(each.why, end)), make("td", { class: "tight" }, jobMark(each.job) ?? "–"))))));

// Phases and other entries of the ledger; on the live page, every commit that changed the bead.
const historyOf = (one, view) => {
  const told = one.lane.map((part) => ({ at: part.begin, what: part.phase, text: part.why, commit: part.commit, badge: true }));
  for (const each of one.entries) told.push({ at: each.at, what: each.kind, text: each.reason, commit: each.commit });
  const known = new Set(told.map(({ commit }) => commit));
  for (const [at, commit, who, text] of view?.life ?? []) if (!known.has(commit)) told.push({ at, what: who, text, commit });
  return told.sort((a, b) => b.at - a.at);
};
const historyRows = (one, view, end) => make("ol", { class: "history" }, ...historyOf(one, view).map((each) => make("li", {},
  time(each.at, near(each.at, end)), make("span", { class: "what" }, each.badge ? badge(each.what) : each.what), make("span", { class: "text" }, readable(each.text, end)), commitMark(each.commit) ?? make("span"))));

const drawer = (() => {
  const box = $("#bead");
  let shown = "", drawn = "";
  const asked = new Map(); // bead → [answer, tag of the data it belongs to]

  const ask = async (id) => {
    if (!live) return;
    const tag = store.data.tag, kept = asked.get(id);
    if (kept && (kept[1] === tag || kept[0] === null)) return;
    if (!kept) asked.set(id, [null, tag]);
    let view;
    try {
      const answer = await fetch(`${page.base}why.json?bead=${encodeURIComponent(id)}`, { cache: "no-store" });
      view = answer.ok ? await answer.json() : { error: (await answer.text()).trim() };
    } catch (error) {
      view = { error: error.message };
    }
    asked.set(id, [view, tag]);
    if (shown === id) render();
  };
  const viewOf = (id) => (live ? (asked.has(id) ? asked.get(id)[0] : null) : store.views[id]);

  const render = () => {
    const one = store.beads.get(shown), body = $(".body", box), end = now();
    if (!one) {
      body.replaceChildren(make("h2", { id: "bead-title" }, shown), make("p", { class: "soft" }, "This bead is not in the report: it has not matched a rule in this time. To see its life, run:"), command(`dolt_watch why ${shown}`));
      return;
    }
    const view = viewOf(shown);
    const mark = JSON.stringify([one.lane, one.state, reason(one), view, times.zone, Math.floor(end / 60)]);
    if (mark === drawn) return;
    drawn = mark;
    const fix = store.data.commands[one.state];
    const begin = one.lane.length ? Math.max(store.data.since, one.lane[0].begin) : store.data.since;
    const until = one.group === "finished" ? Math.min(end, one.last + Math.max(60, (one.last - begin) * 0.05)) : end;
    const axis = ticksOf(begin, until);
    const lane = draw("svg", { class: "lane", role: "img", "aria-label": laneWords(one, end) });
    paintLane(lane, one, begin, until, axis);
    const last = one.lane[one.lane.length - 1];
    const links = [link("bead", one.id, "Open the bead"), link("job", one.job, "Open the job"), link("commit", last?.commit, "Open the last commit")].filter(Boolean);
    const scrolled = body.scrollTop, open = body.contains(document.activeElement);
    body.replaceChildren(...[
      make("h2", { id: "bead-title" }, one.title),
      make("p", { class: "facts" }, badge(one.state), ...[one.rule && `rule ${one.rule}`, one.priority !== null && `priority ${one.priority}`, one.attempt && `attempt ${one.attempt}`].filter(Boolean).map((text) => make("span", {}, text)), make("span", {}, "since ", time(one.since, near(one.since, end)), `, ${span(end - one.since)}`)),
      ...verdictPart(view, one),
      fix ? command(fix.replace("{id}", one.id)) : null,
      links.length ? make("p", { class: "links" }, ...links) : null,
      make("h3", {}, "Timeline"),
      make("div", { class: "axis", "aria-hidden": "true" }, ...axis.map(({ left, text }) => { const mark_ = make("span", {}, text); mark_.style.left = `${left}%`; return mark_; })),
      lane,
      ...(one.group === "finished" && !live && view === undefined ? [] : conditionsPart(view, one)),
      ...(one.attempts.length ? [make("h3", {}, "Attempts"), attemptRows(one, end)] : []),
      make("h3", {}, live ? "Life" : "Decisions"),
      historyRows(one, view, end),
    ].filter(Boolean));
    body.scrollTop = scrolled;
    if (open) $(".close", box).focus();
  };

  const step = (by) => {
    const order = page.order(), at = order.indexOf(shown), next = order[at + by];
    if (next) page.go({ bead: next }, true);
  };
  const show = (id) => {
    if (!id) {
      if (box.open) box.close();
      shown = drawn = "";
      return;
    }
    if (shown !== id) drawn = "";
    shown = id;
    put($(".which", box), id);
    const order = page.order(), at = order.indexOf(id);
    $(".earlier", box).disabled = at <= 0;
    $(".later", box).disabled = at < 0 || at >= order.length - 1;
    render();
    ask(id);
    if (!box.open) {
      box.showModal();
      $(".body", box).scrollTop = 0;
    }
  };
  box.addEventListener("close", () => {
    if (!shown) return;
    const id = shown;
    shown = drawn = "";
    page.go({ bead: "" });
    page.focusBead(id);
  });
  box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
  $(".close", box).addEventListener("click", () => box.close());
  $(".earlier", box).addEventListener("click", () => step(-1));
  $(".later", box).addEventListener("click", () => step(1));
  $(".copy-link", box).addEventListener("click", async () => {
    const address = live ? new URL(`${page.base}bead/${encodeURIComponent(shown)}`, location.href).href : location.href;
    announce((await copyText(address)) ? "Copied the link" : "Could not copy");
    put($(".copy-link span", box), "Copied");
    setTimeout(() => put($(".copy-link span", box), "Copy link"), 1500);
  });
  return { show, refresh: () => { if (shown) { render(); ask(shown); } } };
})();
