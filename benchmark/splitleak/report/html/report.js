// Table, charts, panel and gallery of the rows that the chosen threat model, goal, victim and search leave.
const content = JSON.parse(document.getElementById("content").textContent);
const { embed, Table } = window.splitleak;
const by = (id) => document.getElementById(id);
const at = Object.fromEntries(content.columns.map((name, i) => [name, i]));
const usual = content.goals.includes("inputs") ? "inputs" : content.goals[0] ?? "";
const state = { threat: "", goal: usual, source: "", victim: "", preset: "what leaks", search: "", row: "", columns: null };
const cell = (row, name) => (name in at ? content.rows[row][at[name]] : null);
const victim = (row) => content.victims[row];
const titled = (row) => `${cell(row, "defense")}, ${cell(row, "attack")} (${cell(row, "threat")})`;
const dark = matchMedia("(prefers-color-scheme: dark)");
const node = (tag, text, attributes = {}) => {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};
const number = (value) => (Number.isInteger(value) ? String(value) : Math.abs(value) >= 100 ? value.toPrecision(4) : value.toFixed(3));
const shown = (value) => (value === null || value === undefined ? "" : typeof value === "number" ? number(value) : String(value));

function readState() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    if (name === "columns") state.columns = value.split(",").filter((c) => c in at);
    else if (name in state) state[name] = value;
  }
}

function writeState() {
  const kept = Object.entries(state).filter(([name, value]) => value !== null && value !== (name === "goal" ? usual : ""));
  history.replaceState(null, "", "#" + new URLSearchParams(kept.map(([n, v]) => [n, Array.isArray(v) ? v.join(",") : v])));
}

const wanted = () => (state.columns ?? content.presets[state.preset] ?? content.columns).filter((name) => name in at);

function kept() {
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  return content.rows.map((_, i) => i).filter((i) =>
    (!state.threat || cell(i, "threat") === state.threat) && (!state.goal || cell(i, "goal") === state.goal) &&
    (!state.victim || victim(i) === state.victim) &&
    (!state.source || content.sources[i] === state.source) &&
    (!words.length || words.every((word) => content.rows[i].join(" ").toLowerCase().includes(word))));
}

let table = null;
function drawTable(rows) {
  const names = wanted();
  if (table) { table.destroy(); by("rows").replaceChildren(); }
  const text = (value, type) => (type === "display" ? escaped(shown(value)) : value ?? (type === "sort" ? -Infinity : ""));
  const open = { title: "row", orderable: false, data: null, render: (_, type, row) =>
    type === "display" ? `<button type="button" data-row="${row.id}" aria-label="Details of row ${row.id}">details</button>` : "" };
  const columns = names.map((name) => ({ title: name, data: name, className: rows.some((i) => typeof cell(i, name) === "number") ? "dt-body-right" : `of-${name}`, render: text }));
  const data = rows.map((i) => ({ id: i, ...Object.fromEntries(names.map((name) => [name, cell(i, name)])) }));
  const order = names.includes("advantage") ? [[names.indexOf("advantage") + 1, "desc"]] : [];
  table = new Table(by("rows"), { data, columns: [open, ...columns], order, pageLength: 25, searching: false, autoWidth: false, deferRender: true,
    createdRow: (line, row) => line.classList.toggle("chosen", String(row.id) === state.row), language: { emptyTable: "no row fits" } });
  by("count").textContent = `${rows.length} of ${content.rows.length} rows`;
}

const escaped = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const partial = (row) => !cell(row, "suite"); // no suite is complete: the worst case is of some attacks
function drawVerdicts(rows) {
  const goal = state.goal || usual;
  const those = rows.filter((i) => cell(i, "goal") === goal && cell(i, "threat") !== "oracle" && cell(i, "worst") !== null);
  const threats = content.threats.filter((threat) => those.some((i) => cell(i, "threat") === threat));
  const groups = Map.groupBy(those, victim), head = node("tr"), lines = [];
  for (const name of [...(groups.size > 1 ? ["victim"] : []), "defence", "accuracy", ...threats]) head.append(node("th", name, { scope: "col" }));
  for (const [name, own] of groups) {
    const defenses = Map.groupBy(own, (i) => cell(i, "defense"));
    for (const [defense, each] of defenses) {
      const line = node("tr"), first = defense === cell(own[0], "defense");
      if (groups.size > 1 && first) line.append(node("th", name, { scope: "rowgroup", rowspan: defenses.size }));
      line.append(node("th", defense, { scope: "row" }), node("td", shown(cell(each[0], "utility")), { class: "number" }));
      for (const threat of threats) {
        const here = each.filter((i) => cell(i, "threat") === threat);
        const worst = here.length ? Math.max(...here.map((i) => cell(i, "worst"))) : null;
        line.append(node("td", shown(worst) + (here.length && here.every(partial) ? " *" : ""), { class: "number" }));
      }
      lines.push(line);
    }
  }
  const where = groups.size === 1 ? `${victim(those[0])}. ` : "";
  const caption = node("caption", `${where}Goal ${goal}: worst case of each threat model. Empty: no attack was run, or none finished. * not all attacks of a suite were run`);
  by("verdicts").replaceChildren(caption, head, ...lines);
}

function worthDrawing(name, points) {
  if (!(name in content.compared)) return points.some((point) => point.utility !== null);
  const [what, same] = content.compared[name], places = {};
  for (const point of points.filter((one) => one[what] !== null)) {
    (places[same.map((field) => point[field]).join("\n")] ??= new Set()).add(point[what]);
  }
  return Object.values(places).some((those) => those.size > 1);
}

async function chart(parent, spec, values) {
  const title = spec.title.text ?? spec.title;
  const place = node("div", null, { class: "chart", role: "img", tabindex: "0", "aria-label": title });
  parent.append(place);
  const background = dark.matches ? "#161b22" : "#ffffff";
  const options = { actions: false, renderer: "svg", theme: dark.matches ? "dark" : undefined, config: { background } };
  await embed(place, { ...spec, data: { ...spec.data, values } }, options);
}

async function drawCharts(rows) {
  const ids = new Set(rows), goal = state.goal || usual;
  const points = content.points.filter((point) => ids.has(point.id) && point.goal === goal);
  by("charts-title").textContent = `Charts of these rows, goal ${goal}`;
  by("charts").replaceChildren();
  for (const [name, spec] of Object.entries(content.charts)) {
    if (worthDrawing(name, points)) await chart(by("charts"), spec, points);
  }
}

const AT_ONCE = 60; // pictures
function drawGallery(rows, shownMost = AT_ONCE) {
  const found = rows.filter((i) => content.pictures[i]);
  found.sort((a, b) => (cell(b, "advantage") ?? -Infinity) - (cell(a, "advantage") ?? -Infinity));
  by("gallery-section").hidden = !found.length;
  by("gallery").replaceChildren(...found.slice(0, shownMost).map((i) => {
    const figure = node("figure");
    figure.append(node("img", null, { src: content.pictures[i], alt: `Truth and guess: ${titled(i)}` }),
      node("figcaption", `${titled(i)}, advantage ${shown(cell(i, "advantage"))}`));
    return figure;
  }));
  if (found.length <= shownMost) return;
  const more = node("button", `Show all ${found.length} pictures`, { type: "button" });
  more.addEventListener("click", () => drawGallery(rows, found.length));
  by("gallery").append(more);
}

// reported | measured | best known: the advantage, and every figure that a paper has for this setting
function figuresOf(i) {
  const table = node("table", null, { class: "plain" }), head = node("tr");
  table.append(node("caption", "Reported by a paper, measured here, and the best of any record at hand"), head);
  for (const name of ["metric", "reported", "measured", "best known", "source"]) head.append(node("th", name, { scope: "col" }));
  const lines = [{ metric: "advantage", measured: cell(i, "advantage"), best: cell(i, "best_known") }, ...content.panels[i].published];
  for (const one of lines) {
    const line = node("tr"), numbers = [one.reported, one.measured, one.best];
    const source = one.source ?? (lines.length > 1 ? "" : "no paper's figure is kept for this setting");
    line.append(node("th", one.metric, { scope: "row" }), ...numbers.map((value) => node("td", shown(value) || "–", { class: "number" })), node("td", source));
    table.append(line);
  }
  return scrolling(table, "Reported, measured and best known");
}

function scrolling(table, name) {
  const around = node("div", null, { class: "scroll", tabindex: "0", role: "group", "aria-label": name });
  around.append(table);
  return around;
}

function listOf(lines) {
  const list = node("dl");
  for (const [name, value] of lines) {
    if (value !== null && value !== undefined && value !== "") list.append(node("dt", name), node("dd", value));
  }
  return list;
}

function curvesOf(told) {
  return (told.curves ?? []).flatMap((one) => one.value.map((value, i) => ({ of: one.of, seed: one.seed, at: one.at[i], value })));
}

async function drawPanel(focus) {
  const panel = by("panel"), i = Number(state.row);
  panel.hidden = state.row === "" || !content.rows[i];
  if (panel.hidden) return;
  const told = content.panels[i], curves = curvesOf(told), flags = Object.entries(told.flags);
  const close = node("button", "Close", { type: "button" });
  close.addEventListener("click", () => { state.row = ""; draw(); by("board").focus(); });
  panel.replaceChildren(node("h2", "Details of a row"), close, listOf([
    ["attack", `${cell(i, "attack")} by ${cell(i, "threat")}`],
    ["defence", cell(i, "defense")],
    ["victim", victim(i)],
    ["settings", cell(i, "settings")],
    ["from", content.sources[i]],
    ["worst case of this threat model", shown(cell(i, "worst"))],
    ["null channel: advantage on messages without information", shown(cell(i, "null_advantage"))],
    ["control: advantage on strangers, who trained nobody", shown(cell(i, "control_advantage"))],
    ["task", `${cell(i, "utility_metric") ?? "utility"} ${shown(cell(i, "utility"))}`],
    ...(told.seeds ?? []).map((seed) => [`seed ${seed.seed}`, `${seed.status} ${seed.why ?? shown(seed.advantage)}`]),
    ["what it read", (told.read ?? []).join(", ")],
  ]), figuresOf(i));
  panel.append(node("h3", flags.length ? "What its flags mean" : "No flag was raised"), listOf(flags));
  if (content.pictures[i]) panel.append(node("h3", "Truth and guess"), node("img", null, { src: content.pictures[i], alt: `Truth and guess: ${titled(i)}` }));
  const drawn = node("div");
  panel.append(drawn);
  if (told.repeat) panel.append(node("p", "To repeat it, save this as cell.toml and run: splitleak run cell.toml"), node("pre", told.repeat, { tabindex: "0" }));
  if (focus) panel.focus();
  if (curves.length) await chart(drawn, content.curves, curves);
}

function drawChoices() {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const chosen = tab.dataset.threat === state.threat;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  for (const name of ["goal", "source", "victim", "preset", "search"]) by(name).value = state[name];
  const names = new Set(wanted());
  for (const box of by("columns").querySelectorAll("input")) box.checked = names.has(box.value);
}

function draw() {
  const rows = kept();
  drawChoices();
  drawVerdicts(rows);
  drawTable(rows);
  drawGallery(rows);
  writeState();
  return Promise.all([drawPanel(false), drawCharts(rows)]);
}

function csv() {
  const plain = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    const safe = typeof value !== "number" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [content.columns, ...kept().map((i) => content.rows[i])].map((row) => row.map(plain).join(","));
  const link = node("a", "", { href: "data:text/csv;charset=utf-8," + encodeURIComponent(lines.join("\r\n")), download: "rows.csv" });
  link.click();
}

function listen() {
  by("threats").addEventListener("click", (event) => { if (event.target.dataset.threat !== undefined) { state.threat = event.target.dataset.threat; draw(); } });
  by("threats").addEventListener("keydown", (event) => {
    const tabs = [...document.querySelectorAll("[role=tab]")], here = tabs.indexOf(document.activeElement);
    const place = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: -1 }[event.key];
    if (place === undefined) return;
    event.preventDefault();
    const next = tabs[(place + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  for (const name of ["goal", "source", "victim", "search"]) by(name).addEventListener("input", (event) => { state[name] = event.target.value; draw(); });
  by("preset").addEventListener("input", (event) => { state.preset = event.target.value; state.columns = null; draw(); });
  by("columns").addEventListener("change", () => {
    const chosen = new Set([...by("columns").querySelectorAll("input:checked")].map((box) => box.value));
    state.columns = content.columns.filter((name) => chosen.has(name));
    draw();
  });
  by("rows").addEventListener("click", (event) => {
    const row = event.target.dataset.row;
    if (row !== undefined) { state.row = row; drawPanel(true); writeState(); }
  });
  by("rows").addEventListener("keydown", (event) => { // DataTables sorts with Enter alone
    if (event.key === " " && event.target.matches("thead [role=button]")) { event.preventDefault(); event.target.click(); }
  });
  by("csv").addEventListener("click", csv);
  window.addEventListener("hashchange", () => { readState(); draw(); });
}

for (const name of new Set(content.rows.map((_, i) => victim(i)))) by("victim").append(node("option", name));
for (const name of new Set(content.sources)) by("source").append(node("option", name));
for (const name of content.columns) {
  const label = node("label"), box = node("input", null, { type: "checkbox", value: name });
  label.append(box, ` ${name}`);
  by("columns").append(label);
}
const follow = () => document.documentElement.classList.toggle("dark", dark.matches); // what DataTables looks at
dark.addEventListener("change", () => { follow(); draw(); });
follow();
readState();
listen();
draw().then(() => document.body.setAttribute("data-ready", String(Math.round(performance.now()))));
