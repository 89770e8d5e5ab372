"use strict";
/* What curves a panel has: a metric in a run, or in all seeds of a recipe as mean and range. */

/* Who is drawn: runs, or families of seeds. {label, runs, colour index} */
R.subjects = () =>
  R.kept(`subjects ${R.ui.bands}`, () => {
    const families = new Map();
    R.data.runs.forEach((run, index) => {
      if (!families.has(run.family)) families.set(run.family, []);
      families.get(run.family).push(index);
    });
    if (!R.ui.bands) return R.data.runs.map((run, index) => ({ label: run.label, runs: [index], colour: index }));
    const names = [...families.values()].map((runs) => R.data.runs[runs[0]].recipe_name);
    return [...families.values()].map((runs, index) => {
      const first = R.data.runs[runs[0]];
      const clear = names.indexOf(first.recipe_name) === names.lastIndexOf(first.recipe_name);
      const label = runs.length === 1 ? first.label : `${clear ? first.recipe_name : first.label} (${runs.length} seeds)`;
      return { label, runs, colour: index };
    });
  });

R.hasSeeds = () => new Set(R.data.runs.map((run) => run.family)).size < R.data.runs.length;

/* {label, key, subject, steps, y, low, high, read(i)}; read: {value, low, high, count} recorded at steps[i]. */
R.curves = (panel, off) => {
  const subjects = R.subjects().filter((subject) => !R.ui.hidden.has(subject.label));
  const many = R.subjects().length > 1;
  const out = [];
  panel.metrics.forEach((metric, place) => {
    if (off.has(metric.key)) return;
    for (const subject of subjects) {
      const points = subject.runs.length > 1 ? R.merged(metric.key, subject.runs) : R.single(metric.key, subject.runs[0]);
      if (!points) continue;
      const label = many ? (panel.metrics.length > 1 ? `${subject.label} · ${metric.label}` : subject.label) : metric.label;
      const colour = R.colour(many ? subject.colour : place);
      out.push({ ...points, label, key: metric.key, subject, colour, dash: many ? R.DASHES[place % R.DASHES.length] : [] });
    }
  });
  return out;
};

R.single = (key, run) => {
  const found = R.series(key, run);
  if (!found) return null;
  const read = (i) => ({ value: found.values[i], low: found.low && found.low[i], high: found.high && found.high[i], count: 1 });
  return { steps: found.steps, y: found.mean, low: found.low, high: found.high, read };
};

R.merged = (key, runs) =>
  R.kept(`merged ${runs} ${key}`, () => {
    const found = runs.map((run) => R.series(key, run)).filter(Boolean);
    if (!found.length) return null;
    const at = new Map();
    for (const one of found)
      one.steps.forEach((step, i) => {
        if (!at.has(step)) at.set(step, []);
        at.get(step).push([one.mean[i], one.values[i]]);
      });
    const steps = [...at.keys()].sort((a, b) => a - b);
    const average = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
    const rows = steps.map((step) => at.get(step));
    const drawn = rows.map((row) => row.map((pair) => pair[0]));
    const read = (i) => {
      const values = rows[i].map((pair) => pair[1]);
      return { value: average(values), low: Math.min(...values), high: Math.max(...values), count: values.length };
    };
    return { steps, y: drawn.map(average), low: drawn.map((v) => Math.min(...v)), high: drawn.map((v) => Math.max(...v)), read };
  });

/* Centred running median, shorter at the ends and never across the edge of a stage: a change must not show early. */
R.smoothed = (steps, y, edges, half = 5) => {
  const stage = Array.from(steps, (step) => edges.filter((edge) => step > edge).length);
  return Array.from(y, (_, i) => {
    const near = [];
    for (let j = Math.max(0, i - half); j <= Math.min(y.length - 1, i + half); j++) if (stage[j] === stage[i]) near.push(y[j]);
    near.sort((a, b) => a - b);
    const middle = near.length >> 1;
    return near.length % 2 ? near[middle] : (near[middle - 1] + near[middle]) / 2;
  });
};

/* Stage edges of the shown runs: [[name, step], ...], each once. */
R.stages = () => {
  const seen = new Map();
  for (const subject of R.subjects())
    if (!R.ui.hidden.has(subject.label))
      for (const run of subject.runs) for (const [name, step] of R.data.runs[run].stages) seen.set(`${name} ${step}`, [name, step]);
  return [...seen.values()];
};
