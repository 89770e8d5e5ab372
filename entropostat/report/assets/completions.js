"use strict";
/* Completions, tokens coloured by their entropy, with a search over prompts and completions. */

R.PAGE = 24;

R.completions = () => {
  const { rows, total } = R.data.completions;
  if (!rows.length) return null;
  const state = R.held("completions", () => ({ query: "", run: "", step: "" }));
  const entropies = rows.flatMap((row) => row.entropies || []).filter((value) => value !== null).sort((a, b) => a - b);
  const scale = entropies.length ? Math.max(entropies[Math.floor(0.98 * (entropies.length - 1))], 0.1) : null;
  const list = R.el("div", { id: "completion-list" });
  const count = R.el("span", { class: "quiet", role: "status" });
  const more = R.el("button", { type: "button" }, "Show more");
  let shown = R.PAGE;
  const texts = rows.map((row) => `${row.prompt}\n${R.saidBy(row)}`.toLowerCase());
  const update = () => {
    const query = state.query.toLowerCase();
    const fitting = rows.filter((row, i) => (state.run === "" || row.run === Number(state.run)) && (state.step === "" || String(row.step) === state.step) && texts[i].includes(query));
    list.replaceChildren(...fitting.slice(0, shown).map((row) => R.completion(row, scale, query)));
    count.textContent = `${fitting.length} of ${total} recorded${rows.length < total ? ` (${rows.length} in this report)` : ""}`;
    more.hidden = fitting.length <= shown;
  };
  const changed = (name) => (event) => {
    state[name] = event.target.value;
    shown = R.PAGE;
    update();
  };
  more.addEventListener("click", () => { shown += R.PAGE; update(); });
  const search = R.el("input", { type: "search", id: "completion-search", placeholder: "Search completions", "aria-label": "Search completions", value: state.query, on: { input: changed("query") } });
  const runs = R.data.runs.length > 1 ? R.pick("run", [["", "all runs"], ...R.data.runs.map((run, i) => [String(i), run.label])], state, changed) : null;
  const steps = [...new Set(rows.map((row) => row.step))].sort((a, b) => a - b);
  const pickStep = R.pick("step", [["", "all steps"], ...steps.map((step) => [String(step), `step ${step}`])], state, changed);
  const ramp = scale === null ? null : R.el("span", { class: "ramp" }, "token entropy 0", R.el("i", {}), `${R.short(scale)} nats`);
  update();
  return R.section("completions", "Completions", R.el("div", { class: "tools" }, search, runs, pickStep, count, ramp), list, more);
};

R.pick = (name, options, state, changed) => {
  const made = R.el("select", { "aria-label": name, on: { change: changed(name) } }, ...options.map(([value, text]) => R.el("option", { value }, text)));
  made.value = state[name];
  return made;
};

R.saidBy = (row) => (row.tokens ? row.tokens.join("") : row.text);

R.completion = (row, scale, query) => {
  const about = [R.data.runs.length > 1 ? R.data.runs[row.run].label : null, `step ${row.step}`];
  for (const [name, value] of Object.entries(row.rewards || {})) about.push(`${name} ${typeof value === "number" ? R.short(value) : value}`);
  if (typeof row.advantage === "number") about.push(`advantage ${R.short(row.advantage)}`);
  const said = R.el("div", { class: "said" }, R.el("span", { class: "prompt" }, ...R.marked(row.prompt, query)));
  if (!row.prompt.endsWith("\n")) said.append(" ");
  if (row.tokens) said.append(...R.tokens(row, scale, query));
  else said.append(...R.marked(row.text, query));
  if (row.cut) said.append(R.el("span", { class: "quiet" }, ` … ${row.cut} more ${row.tokens ? "tokens" : "characters"}`));
  return R.el("div", { class: "completion" }, R.el("div", { class: "about" }, ...about.filter(Boolean).map((text) => R.el("span", {}, text))), said);
};

/* A token is marked where the found text touches it. */
R.tokens = (row, scale, query) => {
  const whole = row.tokens.join("").toLowerCase();
  const hits = [];
  for (let at = query ? whole.indexOf(query) : -1; at >= 0; at = whole.indexOf(query, at + query.length)) hits.push([at, at + query.length]);
  let start = 0;
  return row.tokens.map((token, i) => {
    const entropy = row.entropies[i];
    const end = start + token.length;
    const hit = hits.some(([from, to]) => from < end && to > start);
    start = end;
    const made = R.el(hit ? "mark" : "span", { class: "token", title: entropy === null ? null : `${entropy} nats`, "data-entropy": entropy }, token);
    if (entropy) made.style.background = `rgba(var(--hot), ${(0.75 * Math.min(1, entropy / scale)).toFixed(3)})`;
    return made;
  });
};

R.marked = (text, query) => {
  if (!query) return [text];
  const low = text.toLowerCase();
  const out = [];
  let from = 0;
  for (let at = low.indexOf(query); at >= 0; at = low.indexOf(query, from)) {
    out.push(text.slice(from, at), R.el("mark", {}, text.slice(at, at + query.length)));
    from = at + query.length;
  }
  return [...out, text.slice(from)];
};
