"use strict";
/* The report's data, unpacked when it is looked at, and small helpers of all parts. */
const R = {
  data: null,
  ui: { bands: true, smooth: true, hidden: new Set(), query: "" },
  cache: new Map(),
};

R.load = (data) => {
  R.data = data;
  R.cache.clear();
};

R.kept = (name, make) => {
  if (!R.cache.has(name)) R.cache.set(name, make());
  return R.cache.get(name);
};

R.bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/* The upper three bytes of each float32. */
R.floats24 = (text) => {
  const packed = R.bytes(text);
  const out = new Uint8Array((packed.length / 3) * 4);
  for (let i = 0, j = 0; i < packed.length; i += 3, j += 4) out.set(packed.subarray(i, i + 3), j + 1);
  return new Float32Array(out.buffer);
};

R.axis = (index) => R.kept(`axis ${index}`, () => new Uint32Array(R.bytes(R.data.axes[index]).buffer));

/* {steps, values, mean, low, high} of a metric in a run, or null. values: recorded at these steps, bit for bit. */
R.series = (key, run) =>
  R.kept(`series ${run} ${key}`, () => {
    const packed = (R.data.series[key] || [])[run];
    if (!packed) return null;
    const steps = R.axis(packed.x);
    const values = "c" in packed ? new Float64Array(steps.length).fill(packed.c) : new Float64Array(R.bytes(packed.v).buffer);
    if (!packed.m) return { steps, values, mean: values, low: null, high: null };
    return { steps, values, mean: R.floats24(packed.m), low: R.floats24(packed.lo), high: R.floats24(packed.hi) };
  });

R.el = (tag, attributes, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, handler] of Object.entries(value)) made.addEventListener(event, handler);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

R.colour = (index) => getComputedStyle(document.documentElement).getPropertyValue(`--c${index % 8}`).trim();
R.tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

R.DASHES = [[], [6, 3], [2, 2], [9, 3, 2, 3], [12, 4], [4, 4], [1, 3]];

R.swatch = (colour, dash) => {
  const NS = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(NS, "svg");
  const line = document.createElementNS(NS, "line");
  const attributes = { x1: 0, x2: 16, y1: 4, y2: 4, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": (dash || []).join(" ") };
  for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
  svg.append(line);
  return svg;
};

/* Six digits for people. Where the exact number counts it stands in data-value. */
R.number = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  return String(Number(value.toPrecision(6)));
};

R.short = (value) => {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-3)) return value.toExponential(1).replace(".0e", "e").replace("e+", "e");
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  return String(Number(value.toPrecision(4)));
};
