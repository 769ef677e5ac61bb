"use strict";
// The report's data: decoded once, and updated by the live page.

const store = { data: {}, beads: new Map(), views: {}, places: new Map(), received: 0 };

// The database's time now: it runs on from the answer's, on a live page.
const live = Number(document.documentElement.dataset.refresh || 0);
const now = () => (live ? Math.max(store.data.now, Math.round(store.data.now + (Date.now() - store.received) / 1000)) : store.data.now);

const bead = ([id, title, rule, priority, state, group, since, why, attempt, job, gate, intervals, attempts, entries]) => {
  const lane = intervals.map(([phase, begin, end, reason, commit, number_, itsJob], at) => ({
    phase, begin, end: end === 0 ? intervals[at + 1][1] : end === -1 ? null : end, why: reason, commit, attempt: number_, job: itsJob ?? "",
  }));
  const one = { id, title: title || id, titled: Boolean(title), rule, priority, state, group, since, why, attempt, job, gate, lane };
  one.attempts = attempts.map(([number_, begin, end, outcome, ran, last, itsJob]) => ({
    bead: one, number: number_, begin, end, outcome, ran, why: lane[last]?.why ?? "", commit: lane[last]?.commit ?? "", job: itsJob,
  }));
  one.entries = entries.map(entry);
  one.hay = [id, title, rule, state, job, why, ...lane.flatMap(({ why: reason, commit, job: itsJob }) => [reason, commit, itsJob])].join(" ").toLowerCase();
  one.last = lane.length ? lane[lane.length - 1].begin : since;
  return one;
};
const entry = ([at, kind, attempt, rule, reason, commit, job]) => ({ at, kind, attempt, rule, reason, commit, job });

// Takes an answer of the server, or the data of the file.
const accept = (answer) => {
  if (answer.whole !== false) store.beads.clear();
  for (const id of answer.gone ?? []) store.beads.delete(id);
  for (const row of answer.rows) store.beads.set(row[0], bead(row));
  const { rows, gone, whole, ...rest } = answer;
  store.data = whole === false ? { ...store.data, ...rest } : rest;
  store.received = Date.now();
  if (rest.queues) {
    store.places.clear();
    for (const queue of Object.values(rest.queues)) queue.forEach((id, at) => store.places.set(id, [at + 1, queue.length]));
  }
};

const reason = (one) => {
  const place = store.places.get(one.id);
  return place && !one.why ? store.data.words.replace("{place}", place[0]).replace("{length}", place[1]) : one.why;
};
const link = (kind, value, text = value) => {
  const template = store.data.links[kind];
  if (!template || !value) return null;
  const marks = { bead: "{id}", job: "{job}", commit: "{commit}" };
  return make("a", { href: template.replaceAll(marks[kind], encodeURIComponent(value)), rel: "noreferrer", target: "_blank", class: "out" }, text);
};
const commitMark = (hash) => (hash ? make("span", { class: "mono hash" }, link("commit", hash, hash.slice(0, 8)) ?? hash.slice(0, 8), copyButton(hash, "", `Copy commit ${hash}`)) : null);
const jobMark = (job) => (job ? make("span", { class: "mono" }, link("job", job, job.length > 14 ? `${job.slice(0, 13)}…` : job) ?? (job.length > 14 ? `${job.slice(0, 13)}…` : job)) : null);
