"use strict";
/* A histogram over the steps as a heat map: a column a step, darker where more of the tokens are. */

R.HEAT_HEIGHT = 186;
R.HEAT_LEFT = 46;
R.HEAT_FOOT = 22;

R.heat = (card, width) => {
  const { steps, edges, shares } = card.map;
  const ratio = devicePixelRatio;
  const canvas = R.el("canvas", { role: "img", "aria-label": `${card.map.key}: histogram over the steps` });
  canvas.width = width * ratio;
  canvas.height = R.HEAT_HEIGHT * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${R.HEAT_HEIGHT}px`;
  card.plot.replaceChildren(canvas);
  const ctx = canvas.getContext("2d");
  ctx.scale(ratio, ratio);
  const box = { left: R.HEAT_LEFT, top: 8, width: width - R.HEAT_LEFT - 8, height: R.HEAT_HEIGHT - R.HEAT_FOOT - 8 };
  const bins = edges.length - 1;
  const wide = box.width / steps.length;
  const high = box.height / bins;
  const hue = R.tone("heat");
  shares.forEach((column, i) =>
    column.forEach((share, j) => {
      if (!share) return;
      // The root lifts the thin tails, which are what a collapse takes first.
      ctx.fillStyle = `rgba(${hue}, ${Math.sqrt(share / 255)})`;
      ctx.fillRect(box.left + i * wide, box.top + box.height - (j + 1) * high, wide + 0.6, high + 0.4);
    }),
  );
  ctx.font = "11px system-ui, sans-serif";
  ctx.fillStyle = R.tone("quiet");
  ctx.textAlign = "right";
  const ticks = Math.min(4, bins);
  for (let n = 0; n <= ticks; n++) {
    const edge = Math.round((bins * n) / ticks);
    ctx.fillText(R.short(Number(edges[edge].toPrecision(2))), box.left - 6, Math.max(12, box.top + box.height - edge * high + (n ? 4 : 0)));
  }
  ctx.textAlign = "center";
  for (let n = 0; n <= 4; n++) {
    const i = Math.round(((steps.length - 1) * n) / 4);
    ctx.textAlign = n === 0 ? "left" : n === 4 ? "right" : "center";
    ctx.fillText(R.short(steps[i]), n === 4 ? box.left + box.width : box.left + (i + (n ? 0.5 : 0)) * wide, R.HEAT_HEIGHT - 6);
  }
  const point = (x, y) => {
    const i = Math.floor((x - box.left) / wide);
    const j = Math.floor((box.top + box.height - y) / high);
    if (!(i in steps) || j < 0 || j >= bins) return (card.tip.hidden = true);
    const share = (shares[i][j] / 255) * card.map.top;
    card.tip.dataset.step = steps[i];
    card.tip.textContent = `step ${steps[i]}: ${(100 * share).toPrecision(3)} % in ${R.short(edges[j])} to ${R.short(edges[j + 1])}`;
    card.tip.hidden = false;
    card.tip.style.left = `${Math.max(4, Math.min(x + 24, card.root.clientWidth - card.tip.offsetWidth - 4))}px`;
    card.tip.style.top = `${card.plot.offsetTop + 6}px`;
  };
  canvas.addEventListener("mousemove", (event) => point(event.offsetX, event.offsetY));
  canvas.addEventListener("mouseleave", () => (card.tip.hidden = true));
  canvas.addEventListener("touchstart", (event) => {
    const at = canvas.getBoundingClientRect();
    point(event.touches[0].clientX - at.left, event.touches[0].clientY - at.top);
  }, { passive: true });
  return { destroy: () => canvas.remove() };
};
