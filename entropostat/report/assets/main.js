"use strict";
/* Puts the page together, and keeps it current. */

R.$ = (id) => document.getElementById(id);

R.remember = (name, value) => {
  try {
    if (value === undefined) return localStorage.getItem(`entropostat ${name}`);
    localStorage.setItem(`entropostat ${name}`, value);
  } catch { /* a file: page may have no storage */ }
  return null;
};

R.setTheme = (theme) => {
  document.documentElement.dataset.theme = theme;
  R.$("theme").textContent = theme === "dark" ? "Light" : "Dark";
  R.legend();
  R.staleAll();
};

R.legend = () => {
  const chips = R.subjects().map((subject) => {
    const swatch = R.subjects().length > 1 ? R.swatch(`var(--c${subject.colour % 8})`) : null;
    const chip = R.el("button", { class: "chip", type: "button", "aria-pressed": String(!R.ui.hidden.has(subject.label)), title: "Show or hide" }, swatch, R.el("span", {}, subject.label));
    chip.addEventListener("click", () => {
      if (!R.ui.hidden.delete(subject.label)) R.ui.hidden.add(subject.label);
      chip.setAttribute("aria-pressed", String(!R.ui.hidden.has(subject.label)));
      R.staleAll();
    });
    return chip;
  });
  const steps = Math.max(...R.data.runs.map((run) => run.last_step));
  R.$("legend").replaceChildren(...chips, R.el("span", { class: "quiet" }, `${steps} steps`));
};

R.filter = () => {
  const words = R.ui.query.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const card of R.cards) {
    card.root.hidden = !words.every((word) => card.text.includes(word));
    shown += !card.root.hidden;
  }
  for (const grid of document.querySelectorAll("main .grid")) {
    const empty = ![...grid.children].some((child) => !child.hidden);
    grid.hidden = empty;
    if (grid.previousElementSibling && grid.previousElementSibling.tagName === "H3") grid.previousElementSibling.hidden = empty;
  }
  for (const section of document.querySelectorAll("main section")) {
    const grids = [...section.querySelectorAll(".grid")];
    section.hidden = words.length > 0 && (!grids.length || grids.every((grid) => grid.hidden));
  }
  R.$("found").textContent = words.length ? `${shown} of ${R.cards.length} charts` : "";
};

R.build = () => {
  for (const card of R.cards) if (card.made) card.made.destroy();
  R.cards = [];
  R.watcher.disconnect();
  R.sizes.disconnect();
  R.legend();
  const sections = [R.findings(), R.ends(), ...R.rowSections(), R.absent(), R.completions(), R.recipes(), R.facts()].filter(Boolean);
  if (!R.data.rows.length) sections.unshift(R.el("p", { class: "quiet" }, "Nothing has been logged yet."));
  R.$("main").replaceChildren(...sections);
  R.$("nav").replaceChildren(...sections.filter((one) => one.id).map((one) => R.el("a", { href: `#${one.id}` }, one.dataset.name)));
  R.$("buckets").textContent = R.data.buckets;
  R.$("seeds").hidden = !R.hasSeeds();
  R.filter();
};

R.press = (id, value) => R.$(id).setAttribute("aria-pressed", String(value));

/* The server answers 304 until a run has grown. */
R.follow = () => {
  let tag = "";
  const ask = async () => {
    try {
      const answer = await fetch("data.json", { headers: tag ? { "If-None-Match": tag } : {} });
      if (answer.status === 200) {
        const first = tag === "";
        tag = answer.headers.get("ETag") || "";
        const data = await answer.json();
        if (!first || JSON.stringify(data) !== JSON.stringify(R.data)) R.renew(data);
      }
      document.body.dataset.live = "on";
    } catch {
      document.body.dataset.live = "off"; // the server has stopped: what is shown stays
    }
    setTimeout(ask, 2000);
  };
  ask();
};

/* New data: the place on the page, zoom, hidden runs and searches stay. */
R.renew = (data) => {
  const same = JSON.stringify([data.rows, data.runs.map((run) => run.label)]) === JSON.stringify([R.data.rows, R.data.runs.map((run) => run.label)]);
  R.load(data);
  if (!same) return R.build();
  R.legend();
  R.staleAll();
  for (const make of ["findings", "ends", "completions"]) {
    const old = R.$(make);
    const made = R[make]();
    if (old && made && !old.contains(document.activeElement)) old.replaceWith(made);
  }
  R.filter();
};

R.start = () => {
  const element = R.$("data");
  R.load(JSON.parse(element.textContent));
  element.textContent = "";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => R.remember("theme") || (system.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme();
  R.build();
  R.setTheme(theme());
  system.addEventListener("change", () => R.setTheme(theme()));
  R.$("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    R.remember("theme", next);
    R.setTheme(next);
  });
  R.$("smooth").addEventListener("click", () => {
    R.press("smooth", (R.ui.smooth = !R.ui.smooth));
    R.staleAll();
  });
  R.$("seeds").addEventListener("click", () => {
    R.press("seeds", (R.ui.bands = !R.ui.bands));
    R.ui.hidden.clear();
    R.build();
  });
  R.$("search").addEventListener("input", (event) => {
    R.ui.query = event.target.value;
    R.filter();
  });
  if (element.dataset.live === "true") R.follow();
};

R.start();
