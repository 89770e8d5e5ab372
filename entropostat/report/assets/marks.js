"use strict";
/* What lies behind and over the curves: set points as a band of 10 % either side, the ceiling ln V, the edges of stages. */

R.clipped = (u, draw) => {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  draw(ctx, bbox);
  ctx.restore();
};

R.drawTargets = (u, targets, ceilings) =>
  R.clipped(u, (ctx, box) => {
    const x = (step) => u.valToPos(step, "x", true);
    const y = (value) => u.valToPos(value, "y", true);
    for (const { points, colour } of targets) {
      const { steps, values } = points;
      const path = (scale, back) => {
        for (let n = 0; n < steps.length; n++) {
          const i = back ? steps.length - 1 - n : n;
          ctx.lineTo(x(steps[i]), y(values[i] * scale));
        }
      };
      ctx.beginPath();
      path(1.1, false);
      path(0.9, true);
      ctx.fillStyle = R.mix(colour, 0.13);
      ctx.fill();
      ctx.beginPath();
      path(1, false);
      ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.lineWidth = 1.4 * devicePixelRatio;
      ctx.strokeStyle = colour;
      ctx.stroke();
    }
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.lineWidth = devicePixelRatio;
    ctx.strokeStyle = ctx.fillStyle = R.tone("mark");
    ctx.textAlign = "right";
    ceilings.forEach((value, i) => {
      const inside = value <= u.scales.y.max;
      if (inside) {
        ctx.beginPath();
        ctx.moveTo(box.left, y(value));
        ctx.lineTo(box.left + box.width, y(value));
        ctx.stroke();
      }
      const text = `ln V = ${R.short(value)}${inside ? "" : " ↑"}`;
      ctx.fillText(text, box.left + box.width - 4 * devicePixelRatio, inside ? y(value) + 13 * devicePixelRatio : box.top + (12 + 14 * i) * devicePixelRatio);
    });
  });

R.drawStages = (u) =>
  R.clipped(u, (ctx, box) => {
    ctx.strokeStyle = ctx.fillStyle = R.tone("mark");
    ctx.lineWidth = devicePixelRatio;
    ctx.textAlign = "left";
    ctx.setLineDash([]);
    for (const [name, step] of R.stages()) {
      const left = Math.round(u.valToPos(step, "x", true)) + 0.5;
      ctx.beginPath();
      ctx.moveTo(left, box.top);
      ctx.lineTo(left, box.top + box.height);
      ctx.stroke();
      ctx.fillText(name, left + 4 * devicePixelRatio, box.top + 11 * devicePixelRatio);
    }
  });
