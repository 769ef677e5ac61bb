"use strict";
// The page of a what-if: tables with search and filters, and two charts.

const data = JSON.parse($("#data").textContent);
times.zone = "UTC";
const cell = (kind, ...children) => make("td", { class: kind }, ...children);
const label = (text) => make("small", { class: "label" }, text); // in place of the head, on a phone
const moment = (at) => (at === null ? ["-"] : [clock(at), make("small", {}, when(at).slice(0, 10))]);
const titled = (id, title) => cell("wide", ...(title ? [make("b", {}, title), make("small", { class: "mono id" }, id)] : [make("span", { class: "mono id" }, id)]));

const TABLES = {
  differs: {
    heads: ["Bead", "Decision", "Recorded", "What if", "Difference", "Rule"],
    filters: { Decision: 2, Difference: 3, Rule: 7 }, noun: "difference", size: 25,
    row: ([id, title, decision, , recorded, whatIf, said, rule]) => [
      titled(id, title), cell("tight", label("decision"), decision),
      cell("tight", label("recorded"), ...moment(recorded)), cell("tight", label("what if"), ...moment(whatIf)), cell("wide", said), cell("tight rule", rule),
    ],
  },
  waits: {
    heads: ["Bead", "Reason"], filters: {}, noun: "bead", size: 10,
    row: ([id, title, why]) => [titled(id, title), cell("wide", why)],
  },
};

const table = (name) => {
  const { heads, filters, noun, row, size } = TABLES[name];
  const root = $(`#${name}`), body = $("tbody", root), input = $("input", root), status = $("[role=status]", root);
  const back = $(".back", root), on = $(".on", root), selects = [];
  const rows = data[name].map((one) => [one.join(" ").toLowerCase(), one]);
  let found = rows, at = 0;
  $("thead tr", root).append(...heads.map((head) => make("th", { scope: "col", class: head.toLowerCase() }, head)));
  const show = () => {
    const last = Math.max(1, Math.ceil(found.length / size)), from = at * size, part = found.slice(from, from + size);
    body.replaceChildren(...part.map(([, one]) => make("tr", {}, ...row(one))));
    $(".scroll", root).hidden = !found.length;
    $(".none", root).hidden = found.length > 0;
    back.disabled = at === 0;
    on.disabled = at >= last - 1;
    back.hidden = on.hidden = last === 1;
    put(status, found.length ? `${from + 1} to ${from + part.length} of ${count(found.length, noun)}` : "");
  };
  const search = () => {
    const said = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = rows.filter(([text, one]) => said.every((word) => text.includes(word)) && selects.every(([select, column]) => !select.value || one[column] === select.value));
    at = 0;
    show();
  };
  for (const [title, column] of Object.entries(filters)) {
    const values = [...new Set(data[name].map((one) => one[column]).filter(Boolean))].sort();
    const select = make("select", {}, ...["", ...values].map((value) => make("option", { value }, value || "all")));
    selects.push([select, column]);
    $(".choices", root).append(make("label", { class: title.toLowerCase() }, `${title} `, select));
    select.addEventListener("change", search);
  }
  root.classList.toggle("one-rule", new Set(data[name].map((one) => one[filters.Rule])).size < 2);
  $(".filters", root).hidden = !rows.length;
  input.addEventListener("input", search);
  back.addEventListener("click", () => { at -= 1; show(); });
  on.addEventListener("click", () => { at += 1; show(); });
  show();
};
for (const name of Object.keys(TABLES)) if ($(`#${name}`)) table(name);

for (const [name, columns] of Object.entries(data.charts)) {
  const [, recorded, whatIf] = columns, peak = (values) => number(Math.max(0, ...values));
  panel($(`#chart-${name}`), [{ label: "Recorded", color: "grey", fill: true }, { label: "What if", color: "blue" }], { sync: "whatif" })
    .show(columns, data.begins, data.ends, `${name}: at most ${peak(recorded)} as recorded, ${peak(whatIf)} in the what-if`);
}
