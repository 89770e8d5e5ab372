"use strict";
/* Findings, the table of ends, differing recipe keys, facts. Text of a run goes into text nodes only. */

R.table = (head, rows) => R.el("div", { class: "scroll" }, R.el("table", { class: "wide-table" }, R.el("thead", {}, R.el("tr", {}, ...head)), R.el("tbody", {}, ...rows)));

R.runHeads = () => R.data.runs.map((run) => R.el("th", {}, run.label));

R.findings = () => {
  const known = R.data.runs.filter((run) => run.findings !== null);
  if (!known.length) return null;
  const cards = known.flatMap((run) => run.findings.map((found) => R.finding(run, found)));
  const shown = cards.length ? R.el("div", { class: "findings" }, ...cards) : R.el("p", { class: "quiet" }, "None: no rule of entropostat diagnose fired.");
  return R.section("findings", "Findings: what entropostat diagnose says", shown, ...known.map(R.notJudged).filter(Boolean));
};

/* What a log does not hold is not healthy: the rules that had no input, by what they wanted. */
R.notJudged = (run) => {
  const wanted = new Map();
  for (const [rule, lacks] of Object.entries(run.not_judged)) wanted.set(lacks, [...(wanted.get(lacks) || []), rule]);
  if (!wanted.size) return null;
  const rows = [...wanted].map(([lacks, rules]) => R.el("tr", {}, R.el("th", {}, lacks), R.el("td", { class: "text" }, rules.join(", "))));
  const whose = run.trainer ? `${run.label}, a log of ${run.trainer}` : run.label;
  return R.el("details", { class: "lacking" }, R.el("summary", {}, `Not judged in ${whose}, which lacks their metrics: ${Object.keys(run.not_judged).length} rules`), R.table([R.el("th", {}, "not logged"), R.el("th", {}, "rules that read it")], rows));
};

R.finding = (run, found) => {
  const steps = found.steps ? (found.steps[0] === found.steps[1] ? `step ${found.steps[0]}` : `steps ${found.steps[0]} to ${found.steps[1]}`) : "";
  const about = [found.severity, run.label, found.subject, steps].filter(Boolean).join(" · ");
  const head = R.el("div", {}, R.el("b", {}, found.rule), " ", R.el("span", { class: "quiet" }, about));
  const advice = found.advice ? R.el("details", {}, R.el("summary", {}, "what to change"), R.el("pre", {}, found.advice)) : null;
  const kind = ["critical", "warning", "info"].includes(found.severity) ? found.severity : "";
  return R.el("div", { class: `finding ${kind}` }, head, R.el("p", {}, found.evidence), found.cause ? R.el("p", { class: "quiet" }, found.cause) : null, advice);
};

/* Seeds of a recipe share a column: mean, and the standard deviation over n. */
R.endColumns = () => {
  const subjects = R.subjects();
  return subjects.map((subject) => ({
    label: subject.label,
    at: (values) => {
      const known = subject.runs.map((run) => values[run]).filter((value) => value !== null);
      if (!known.length) return null;
      const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
      const spread = known.length > 1 ? Math.sqrt(known.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (known.length - 1)) : null;
      return { mean, spread };
    },
  }));
};

R.ends = () => {
  if (!R.data.ends.length) return null;
  const columns = R.endColumns();
  const rows = R.data.ends.map((row) => {
    const last = columns.map((column) => column.at(row.last));
    const first = columns.map((column) => column.at(row.first));
    const known = last.filter(Boolean).map((value) => value.mean);
    const best = row.better === "up" ? Math.max(...known) : row.better === "down" ? Math.min(...known) : null;
    const cells = last.map((value, i) => {
      if (!value) return R.el("td", { class: "n" }, "–");
      const marked = best !== null && new Set(known).size > 1 && value.mean === best;
      const spread = value.spread === null ? null : R.el("small", {}, ` ± ${R.short(Number(value.spread.toPrecision(2)))}`);
      const cell = R.el("td", { class: marked ? "n best" : "n", "data-value": String(value.mean) }, R.short(value.mean), spread);
      cell.prepend(R.el("small", {}, first[i] ? `${R.short(first[i].mean)} → ` : ""));
      return cell;
    });
    const label = row.key.replace(/^evaluate\//, "");
    return R.el("tr", { "data-key": row.key, hidden: !row.main }, R.el("th", { title: `${row.key} ${row.meaning}`.trim() }, label), ...cells);
  });
  const head = [R.el("th", {}, "metric"), ...columns.map((column) => R.el("th", { class: "n" }, column.label))];
  const folded = rows.filter((row) => row.hidden);
  const all = R.el("button", { type: "button" }, `Show all ${rows.length}`);
  const state = R.held("ends", () => ({ open: false }));
  const open = () => {
    state.open = true;
    for (const row of folded) row.hidden = false;
    all.hidden = true;
  };
  all.addEventListener("click", open);
  if (state.open || !folded.length) open();
  return R.section("ends", "At the end: first → last; what is logged every step by the mean of its last tenth; best in bold", R.table(head, rows), all);
};

R.recipes = () => {
  if (!R.data.runs.some((run) => run.recipe)) return null;
  const parts = [];
  if (R.data.differences.length) {
    const rows = R.data.differences.map(([key, ...values]) => R.el("tr", {}, R.el("th", {}, key), ...values.map((value) => R.el("td", { class: "text" }, value === null ? "–" : value))));
    parts.push(R.table([R.el("th", {}, "key"), ...R.runHeads()], rows));
  } else if (R.data.runs.length > 1) parts.push(R.el("p", { class: "quiet" }, "The recipes are the same."));
  for (const run of R.data.runs) if (run.recipe) parts.push(R.el("details", {}, R.el("summary", {}, `recipe of ${run.label}`), R.el("pre", {}, run.recipe)));
  return R.section("recipes", R.data.runs.length > 1 ? "Recipes: where they differ" : "Recipe", ...parts);
};

R.facts = () => {
  const names = [...new Set(R.data.runs.flatMap((run) => run.facts.map((fact) => fact[0])))];
  if (!names.length) return null;
  const of = R.data.runs.map((run) => new Map(run.facts));
  const rows = names.map((name) => R.el("tr", {}, R.el("th", {}, name), ...of.map((facts) => R.el("td", { class: "text" }, facts.get(name) ?? "–"))));
  return R.section("facts", "Run facts", R.table([R.el("th", {}, ""), ...R.runHeads()], rows));
};
