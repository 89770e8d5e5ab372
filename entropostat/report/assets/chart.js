"use strict";
/* One panel as a uPlot chart. */

R.SMOOTH_FROM = 40;

/* All curves on the union of their steps. */
R.aligned = (curves) => {
  const axes = new Set(curves.map((curve) => curve.steps));
  const x = axes.size === 1 ? Array.from(curves[0].steps) : [...new Set([...axes].flatMap((steps) => Array.from(steps)))].sort((a, b) => a - b);
  const place = new Map(x.map((step, i) => [step, i]));
  const spread = (steps, y) => {
    const out = new Array(x.length).fill(null);
    steps.forEach((step, i) => (out[place.get(step)] = y[i]));
    return out;
  };
  const stages = R.stages().map((stage) => stage[1]);
  const data = [x];
  const series = [{}];
  const bands = [];
  for (const curve of curves) {
    if (curve.low) {
      const edge = { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true, edge: true };
      data.push(spread(curve.steps, curve.high), spread(curve.steps, curve.low));
      series.push({ ...edge }, { ...edge });
      bands.push({ series: [data.length - 2, data.length - 1], fill: R.mix(curve.colour, 0.16) });
    }
    const smooth = R.ui.smooth && curve.steps.length >= R.SMOOTH_FROM;
    const line = { spanGaps: true, dash: curve.dash, points: { show: curve.steps.length < 30, size: 5, fill: curve.colour } };
    if (smooth) {
      if (!curve.low) {
        data.push(spread(curve.steps, curve.y));
        series.push({ ...line, dash: [], stroke: R.mix(curve.colour, 0.28), width: 1, points: { show: false } });
      }
      data.push(spread(curve.steps, R.smoothed(curve.steps, curve.y, stages)));
    } else data.push(spread(curve.steps, curve.y));
    series.push({ ...line, stroke: curve.colour, width: 1.6 });
    curve.index = new Map(Array.from(curve.steps, (step, i) => [step, i]));
  }
  return { data, series, bands };
};

R.mix = (hex, alpha) => {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r}, ${g}, ${b}, ${alpha})`;
};

/* Set points of the loops that hold a metric of this panel: [{points, colour}]. */
R.targetsOf = (panel) => {
  const out = [];
  for (const subject of R.subjects()) {
    if (R.ui.hidden.has(subject.label)) continue;
    const held = R.data.runs[subject.runs[0]].targets;
    for (const metric of panel.metrics)
      if (held[metric.key]) {
        const points = R.series(held[metric.key], subject.runs[0]);
        if (points) out.push({ points, colour: R.subjects().length > 1 ? R.colour(subject.colour) : R.tone("mark"), key: held[metric.key] });
      }
  }
  return out;
};

/* ln V of the shown runs, for the panel of the entropy. */
R.ceilings = (panel) =>
  panel.metrics.some((metric) => metric.key === "entropy")
    ? [...new Set(R.data.runs.map((run) => run.ceiling).filter((value) => value !== null))]
    : [];

R.range = (log, least, targets, ceilings) => (u, low, high) => {
  if (low === null) return [0, 1];
  if (log) return uPlot.rangeLog(Math.max(low, least), high, 10, false);
  for (const { points } of targets)
    for (const value of points.values) {
      low = Math.min(low, value * 0.9, value * 1.1);
      high = Math.max(high, value * 0.9, value * 1.1);
    }
  for (const value of ceilings) if (value <= 1.6 * high) high = Math.max(high, value);
  if (low === high) return low === 0 ? [0, 1] : [low - 0.1 * Math.abs(low), high + 0.1 * Math.abs(high)];
  const pad = 0.06 * (high - low);
  // From zero, unless that would flatten the curve.
  return [low >= 0 && low < 0.6 * high ? 0 : low - pad, high <= 0 && high > 0.6 * low ? 0 : high + pad];
};

/* possible: most values are above zero. heavy: single values hide the rest, as stale tokens do in a KL estimate. */
R.tail = (curves) => {
  const all = curves.flatMap((curve) => Array.from(curve.y));
  const positive = all.filter((value) => value > 0).sort((a, b) => a - b);
  const possible = positive.length > 0.5 * all.length;
  return { possible, heavy: possible && positive.at(-1) > 100 * positive[positive.length >> 1], least: positive[Math.floor(0.01 * positive.length)] };
};

/* Of ten, at most about six. */
R.powers = (u, axis, low, high) => {
  const [from, to] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const stride = Math.max(1, Math.ceil((to - from) / 6));
  return Array.from({ length: Math.floor((to - from) / stride) + 1 }, (_, i) => 10 ** (from + i * stride));
};

R.chart = (card, width) => {
  const { panel, plot, state } = card;
  const curves = R.curves(panel, state.off);
  plot.textContent = "";
  if (!curves.length) return null;
  if (curves.every((curve) => curve.steps.length === 1)) return R.values(card, curves);
  const { data, series, bands } = R.aligned(curves);
  const targets = R.targetsOf(panel);
  const ceilings = R.ceilings(panel);
  card.note.textContent = targets.length ? "dotted: target, ± 10 %" : "";
  const tail = R.tail(curves);
  const log = tail.possible && (state.log ?? tail.heavy);
  card.logButton.hidden = !tail.possible;
  card.logButton.setAttribute("aria-pressed", String(log));
  const axis = (size, values) => ({
    stroke: R.tone("quiet"), font: "11px system-ui, sans-serif", size, gap: 4, values,
    grid: { stroke: R.tone("grid"), width: 1 }, ticks: { show: false },
  });
  const step = { ...axis(22, (u, at) => at.map((v) => (Number.isInteger(v) ? R.short(v) : ""))), space: 56 };
  const room = (u, texts) => Math.max(34, 12 + 6.3 * Math.max(...(texts || [""]).map((text) => String(text).length)));
  const y = { ...axis(room, (u, at) => at.map(R.short)), space: 32, ...(log ? { splits: R.powers, filter: (u, at) => at } : {}) };
  const made = new uPlot(
    {
      width, height: 186, padding: [8, 14, 0, 0], legend: { show: false },
      scales: { x: { time: false }, y: { range: R.range(log, tail.least, targets, ceilings), distr: log ? 3 : 1 } },
      axes: [step, y], series, bands,
      cursor: { sync: { key: "step", setSeries: false, scales: ["x", null] }, points: { size: 6 }, y: false, drag: { x: true, y: false } },
      hooks: {
        drawAxes: [(u) => R.drawTargets(u, targets, ceilings)],
        draw: [(u) => R.drawStages(u)],
        setCursor: [(u) => R.tip(card, u, curves)],
        setScale: [(u, name) => name === "x" && (state.zoom = u.scales.x.min > data[0][0] || u.scales.x.max < data[0].at(-1) ? [u.scales.x.min, u.scales.x.max] : null)],
      },
    },
    data,
    plot,
  );
  if (state.zoom) made.setScale("x", { min: state.zoom[0], max: state.zoom[1] });
  R.touch(card, made);
  return made;
};

/* What was logged once, as at the end of a run, is no curve. */
R.values = (card, curves) => {
  const rows = curves.map((curve) => {
    const { value } = curve.read(0);
    return R.el("tr", { "data-key": curve.key, "data-value": String(value) }, R.el("th", {}, curve.label), R.el("td", { class: "n" }, R.number(value)));
  });
  card.logButton.hidden = true;
  const table = R.el("div", { class: "values", tabindex: "0" }, R.el("table", { class: "wide-table" }, R.el("tbody", {}, ...rows)));
  card.plot.append(table);
  return { destroy: () => table.remove() };
};

/* A finger on the chart reads values; moving it up or down still scrolls the page. */
R.touch = (card, u) => {
  const over = u.over;
  over.style.touchAction = "pan-y";
  over.addEventListener("mouseenter", () => (card.hovered = true));
  over.addEventListener("mouseleave", () => { card.hovered = false; R.tip(card, u, []); });
  const move = (event) => {
    const box = over.getBoundingClientRect();
    card.hovered = true;
    u.setCursor({ left: event.touches[0].clientX - box.left, top: event.touches[0].clientY - box.top });
  };
  over.addEventListener("touchstart", move, { passive: true });
  over.addEventListener("touchmove", move, { passive: true });
};

R.tip = (card, u, curves) => {
  const at = u.cursor.idx;
  if (!card.hovered || at === null || at === undefined || !curves.length) return card.tip.replaceChildren(), (card.tip.hidden = true);
  const step = u.data[0][at];
  const read = curves.map((curve) => [curve, curve.index.get(step)]).filter((pair) => pair[1] !== undefined);
  const rows = read.slice(0, 16).map(([curve, i]) => {
    const { value, low, high, count } = curve.read(i);
    const range = low === null ? null : `${R.short(low)} to ${R.short(high)}${count > 1 ? `, ${count} seeds` : ""}`;
    const cell = R.el("td", { class: "n" }, R.number(value));
    const attributes = { "data-key": curve.key, "data-subject": curve.subject.label, "data-value": String(value) };
    return R.el("tr", attributes, R.el("td", {}, R.swatch(curve.colour, curve.dash)), R.el("td", {}, curve.label), cell, R.el("td", { class: "quiet" }, range));
  });
  const more = read.length > rows.length ? R.el("div", { class: "quiet" }, `and ${read.length - rows.length} more`) : null;
  card.tip.replaceChildren(R.el("div", { class: "quiet" }, `step ${step}`), R.el("table", {}, ...rows), ...(more ? [more] : []));
  card.tip.dataset.step = step;
  card.tip.hidden = false;
  const left = card.plot.offsetLeft + u.over.offsetLeft + u.valToPos(step, "x");
  const room = card.root.clientWidth - card.tip.offsetWidth;
  card.tip.style.left = `${Math.max(4, Math.min(left + 14 <= room ? left + 14 : left - 14 - card.tip.offsetWidth, room - 4))}px`;
  card.tip.style.top = `${card.plot.offsetTop + 6}px`;
};
