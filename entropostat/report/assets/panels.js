"use strict";
/* Cards of the dashboard rows. A chart is drawn when its card comes near the window, and again when it has gone stale. */

R.cards = [];

R.watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const card = R.cards.find((one) => one.root === entry.target);
      if (!card) continue;
      card.near = entry.isIntersecting;
      R.refresh(card);
    }
  },
  { rootMargin: "150px" },
);

R.sizes = new ResizeObserver((entries) => {
  for (const entry of entries) {
    const card = R.cards.find((one) => one.plot === entry.target);
    if (card && card.made && entry.contentRect.width !== card.width) R.stale(card);
  }
});

R.refresh = (card) => {
  if (!card.near || !card.dirty || !card.plot.clientWidth) return;
  if (card.made) card.made.destroy();
  card.width = card.plot.clientWidth;
  card.dirty = false;
  card.tip.hidden = true;
  card.made = card.draw(card, card.width);
  card.root.classList.add("drawn");
};

R.stale = (card) => {
  card.dirty = true;
  R.refresh(card);
};

R.staleAll = () => R.cards.forEach(R.stale);

R.card = (title, draw, extra) => {
  const plot = R.el("div", { class: "plot" });
  const tip = R.el("div", { class: "tip", hidden: true });
  const head = R.el("header", {}, R.el("h4", { title }, title));
  const root = R.el("figure", { class: "card" }, head);
  const card = { root, head, plot, tip, draw, dirty: true, near: false, made: null, ...extra };
  R.cards.push(card);
  return card;
};

R.finish = (card) => {
  card.root.append(card.plot, card.tip);
  R.watcher.observe(card.root);
  R.sizes.observe(card.plot);
  return card.root;
};

/* Numbered curves, such as the entropy by position, of several runs: first, middle and last to begin with. */
R.leftOut = ({ metrics }) => {
  if (R.subjects().length < 2 || metrics.length < 5 || !metrics.every((metric) => /^\d+$/.test(metric.label))) return new Set();
  const kept = [0, metrics.length >> 1, metrics.length - 1];
  return new Set(metrics.filter((_, place) => !kept.includes(place)).map((metric) => metric.key));
};

R.panel = (panel) => {
  const state = R.held(`panel ${panel.knob} ${panel.title}`, () => ({ off: R.leftOut(panel), log: null, zoom: null }));
  const title = panel.title;
  const card = R.card(title, R.chart, { panel, state });
  const units = [...new Set(panel.metrics.map((metric) => metric.unit).filter((unit) => unit && unit !== "1"))];
  if (units.length === 1) card.head.append(R.el("span", { class: "quiet" }, units[0]));
  card.logButton = R.el("button", { class: "log", type: "button", title: "Logarithmic scale" }, "log");
  card.logButton.addEventListener("click", () => {
    state.log = card.logButton.getAttribute("aria-pressed") !== "true";
    R.stale(card);
  });
  card.note = R.el("span", { class: "quiet note" });
  card.head.append(card.note, card.logButton);
  card.root.dataset.keys = panel.metrics.map((metric) => metric.key).join(" ");
  card.text = `${title} ${panel.knob} ${panel.metrics.map((metric) => `${metric.key} ${metric.meaning}`).join(" ")}`.toLowerCase();
  if (panel.metrics.some((metric) => metric.key === "entropy")) card.root.classList.add("wide");
  if (panel.metrics.length === 1) {
    const [{ key, meaning }] = panel.metrics;
    if (meaning || key !== title) card.root.append(R.el("p", { class: "meaning", title: `${key}: ${meaning}` }, meaning || key));
  } else card.root.append(R.el("div", { class: "chips" }, ...panel.metrics.map((metric, place) => R.metricChip(card, metric, place))));
  return R.finish(card);
};

R.metricChip = (card, metric, place) => {
  const many = R.subjects().length > 1;
  const swatch = R.swatch(many ? "currentColor" : `var(--c${place % 8})`, many ? R.DASHES[place % R.DASHES.length] : []);
  const chip = R.el("button", { class: "chip", type: "button", "aria-pressed": String(!card.state.off.has(metric.key)), title: `${metric.key}: ${metric.meaning}` }, swatch, R.el("span", {}, metric.label));
  chip.addEventListener("click", () => {
    const off = card.state.off;
    if (!off.delete(metric.key)) off.add(metric.key);
    chip.setAttribute("aria-pressed", String(!off.has(metric.key)));
    R.stale(card);
  });
  return chip;
};

/* Of seeds that are drawn as one band the first stands for all. */
R.heatCards = () =>
  R.subjects().flatMap(({ runs: [first] }) => {
    const run = R.data.runs[first];
    return run.heat_maps.map((map) => {
      const title = `Histogram of ${map.key} over the steps`;
      const card = R.card(title, R.heat, { map });
      card.root.dataset.keys = map.key;
      card.text = `${title} ${run.label}`.toLowerCase();
      card.root.append(R.el("p", { class: "meaning" }, R.data.runs.length > 1 ? run.label : "share of tokens, darker is more"));
      return R.finish(card);
    });
  });

/* State of a panel outlives a refresh of the data. */
R.lasting = new Map();
R.held = (name, make) => {
  if (!R.lasting.has(name)) R.lasting.set(name, make());
  return R.lasting.get(name);
};

R.section = (id, title, ...children) => {
  const [head, ...rest] = title.split(": ");
  return R.el("section", { id, "data-name": head }, R.el("h2", {}, head, rest.length ? R.el("small", {}, rest.join(": ")) : null), ...children);
};

R.rowSections = () => {
  const heat = R.heatCards();
  const rows = R.data.rows;
  const home = (rows.find((row) => row.id === "state") || rows.at(-1) || {}).id;
  return rows.map((row) => {
    const parts = [];
    let grid = null;
    let knob = null;
    for (const panel of row.panels) {
      if (grid === null || panel.knob !== knob) {
        knob = panel.knob;
        if (knob) parts.push(R.el("h3", {}, knob));
        grid = R.el("div", { class: "grid" });
        parts.push(grid);
      }
      grid.append(R.panel(panel));
    }
    if (row.id === home) grid.append(...heat);
    return R.section(`row-${row.id}`, row.title, ...parts);
  });
};

/* The rows of the dashboard that no run has logged anything for: greyed, in one section at the end. */
R.absent = () => {
  if (!R.data.rows.length || !R.data.absent.length) return null;
  const lines = R.data.absent.map((row) => R.el("p", { class: "quiet absent" }, row.title));
  return R.section("absent", "Not logged: rows of the dashboard without a metric in these runs", ...lines);
};
