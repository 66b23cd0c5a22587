// Table, charts, panel and gallery of the rows that the chosen threat model, goal, victim and search leave.
const content = JSON.parse(document.getElementById("content").textContent);
const { embed, Table } = window.splitleak;
const by = (id) => document.getElementById(id);
const at = Object.fromEntries(content.columns.map((name, i) => [name, i]));
const usual = content.goals.includes("inputs") ? "inputs" : content.goals[0] ?? "";
const state = { threat: "", goal: usual, source: "", victim: "", preset: "what leaks", search: "", row: "", columns: null };
const cell = (row, name) => (name in at ? content.rows[row][at[name]] : null);
const victim = (row) => [cell(row, "dataset"), cell(row, "model"), `cut ${cell(row, "cut") ?? "-"}`, cell(row, "protocol")].join(" / ");
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
  const columns = names.map((name) => ({ title: name, data: name, className: rows.some((i) => typeof cell(i, name) === "number") ? "dt-body-right" : "", render: text }));
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
  const those = rows.filter((i) => cell(i, "goal") === goal && cell(i, "threat") !== "oracle");
  const threats = content.threats.filter((threat) => those.some((i) => cell(i, "threat") === threat));
  const several = new Set(those.map(victim)).size > 1, head = node("tr");
  for (const name of [...(several ? ["victim"] : []), "defence", "accuracy", ...threats]) head.append(node("th", name, { scope: "col" }));
  const lines = [...new Set(those.map((i) => `${victim(i)}\n${cell(i, "defense")}`))].map((key) => {
    const own = those.filter((i) => `${victim(i)}\n${cell(i, "defense")}` === key), line = node("tr");
    const utility = own.map((i) => cell(i, "utility")).find((value) => value !== null);
    if (several) line.append(node("td", victim(own[0])));
    line.append(node("th", cell(own[0], "defense"), { scope: "row" }), node("td", shown(utility), { class: "number" }));
    for (const threat of threats) {
      const here = own.filter((i) => cell(i, "threat") === threat && cell(i, "worst") !== null);
      const worst = here.length ? Math.max(...here.map((i) => cell(i, "worst"))) : null;
      line.append(node("td", shown(worst) + (here.some(partial) ? " *" : ""), { class: "number" }));
    }
    return line;
  });
  const where = several || !those.length ? "" : `${victim(those[0])}. `;
  const caption = node("caption", `${where}Goal ${goal}: worst case of each threat model. * not all attacks of a suite were run`);
  by("verdicts").replaceChildren(caption, head, ...lines);
}

function worthDrawing(name, points) {
  const known = (field, those) => new Set(those.map((point) => point[field]).filter((value) => value !== null));
  if (name === "by_cut") return known("cut", points).size > 1;
  if (name === "by_level") return [...known("family", points)].some((f) => known("level", points.filter((p) => p.family === f)).size > 1);
  return known("utility", points).size > 0;
}

async function drawCharts(rows) {
  const ids = new Set(rows), goal = state.goal || usual;
  const points = content.points.filter((point) => ids.has(point.id) && point.goal === goal);
  by("charts-title").textContent = `Charts of these rows, goal ${goal}`;
  by("charts").replaceChildren();
  for (const [name, spec] of Object.entries(content.charts).filter(([name]) => worthDrawing(name, points))) {
    const place = node("div", null, { class: "chart", role: "img", "aria-label": `${spec.title}; the same numbers are in the table` });
    by("charts").append(place);
    await embed(place, { ...spec, data: { ...spec.data, values: points } }, { actions: false, renderer: "svg" });
  }
}

function drawGallery(rows) {
  const found = rows.filter((i) => content.pictures[i]);
  by("gallery-section").hidden = !found.length;
  by("gallery").replaceChildren(...found.slice(0, 60).map((i) => {
    const figure = node("figure");
    const name = `${cell(i, "defense")}, ${cell(i, "attack")} (${cell(i, "threat")})`;
    figure.append(node("img", null, { src: content.pictures[i], alt: `Truth and guess: ${name}`, loading: "lazy" }), node("figcaption", name));
    return figure;
  }));
}

function drawPanel(focus) {
  const panel = by("panel"), i = Number(state.row);
  panel.hidden = state.row === "" || !content.rows[i];
  if (panel.hidden) return;
  const told = content.panels[i];
  const list = node("dl");
  const line = (name, value) => value !== null && value !== undefined && value !== "" && list.append(node("dt", name), node("dd", value));
  line("attack", `${cell(i, "attack")} by ${cell(i, "threat")}`);
  line("defence", cell(i, "defense"));
  line("victim", victim(i));
  line("from", content.sources[i]);
  line("measured | strongest here | best known", [cell(i, "advantage"), cell(i, "worst"), cell(i, "best_known")].map(shown).join(" | "));
  line("on a channel without information", shown(cell(i, "null_advantage")));
  line("of strangers", shown(cell(i, "control_advantage")));
  line("accuracy", shown(cell(i, "utility")));
  for (const [flag, meaning] of Object.entries(told.flags)) line(flag, meaning);
  for (const seed of told.seeds ?? []) line(`seed ${seed.seed}`, `${seed.status} ${seed.why ?? shown(seed.advantage)}`);
  line("what it read", (told.read ?? []).join(", "));
  panel.replaceChildren(node("h2", "Details of a row"), list);
  if (content.pictures[i]) panel.append(node("img", null, { src: content.pictures[i], alt: "Truth and guess" }));
  if (told.curve) panel.append(node("p", `advantage while it ran: ${told.curve.map(([step, value]) => `${step}: ${value.toFixed(3)}`).join(", ")}`));
  if (told.repeat) panel.append(node("p", "To repeat it, save this as cell.toml and run: splitleak run cell.toml"), node("pre", told.repeat, { tabindex: "0" }));
  const close = node("button", "Close", { type: "button" });
  close.addEventListener("click", () => { state.row = ""; draw(); by("board").focus(); });
  panel.append(close);
  if (focus) panel.focus();
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
  drawPanel(false);
  writeState();
  return drawCharts(rows);
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
    const tabs = [...document.querySelectorAll("[role=tab]")], step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
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
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark", dark.matches); // what DataTables looks at
dark.addEventListener("change", follow);
follow();
readState();
listen();
draw().then(() => document.body.setAttribute("data-ready", String(Math.round(performance.now()))));
