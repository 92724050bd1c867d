// Draws figures over time with uPlot: bars for what was sent, lines for what came back, and what is not sure.

import { setText } from "./bind.js";
import { told } from "./series.js";

const HEIGHT = 260;
const HATCH_PX = 7;
const HATCH_ALPHA = 0.5;

const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Chart {
  constructor(frame, readout) {
    this.frame = frame;
    this.readout = readout;
    this.plot = null;
    new ResizeObserver(() => this.resize()).observe(frame);
    dark.addEventListener("change", () => this.rows && this.draw(this.rows, this.zone));
  }

  draw(rows, zone) {
    this.rows = rows.filter((row) => row.time !== null);
    const starts = this.rows.map((row) => Date.parse(row.time) / 1000);
    this.width = starts.length > 1 ? starts[1] - starts[0] : 3600;
    const data = [
      starts.map((start) => start + this.width / 2),
      this.rows.map((row) => (row.lost ? (row.sent ?? 0) + row.lost : null)),
      this.rows.map((row) => row.sent),
      this.rows.map((row) => row.bounced),
      this.rows.map((row) => row.replied),
    ];
    const key = `${zone} ${dark.matches} ${this.width}`;
    if (this.plot && this.key === key) {
      this.plot.setData(data);
      return this.read(this.plot);
    }
    this.key = key;
    this.zone = zone;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(zone), data, this.frame);
    this.read(this.plot);
  }

  resize() {
    const width = this.frame.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  options(zone) {
    const quiet = colour("quiet");
    const line = colour("line");
    const font = "12px system-ui, sans-serif";
    const axis = { stroke: quiet, font, labelFont: font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const bars = uPlot.paths.bars({ size: [0.72, 48] });
    const whole = (plot, splits) => splits.map((value) => (Number.isInteger(value) ? value.toLocaleString() : ""));
    const fromZero = (plot, low, high) => [Math.min(0, low ?? 0), Math.max(4, (high ?? 0) * 1.12)];
    const point = (size, fill) => ({ show: this.rows.length < 120, size, fill, stroke: fill });
    return {
      width: this.frame.clientWidth || 600,
      height: HEIGHT,
      tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1000), zone),
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { range: (plot, low, high) => [low - this.width / 2, high + this.width / 2] }, y: { range: fromZero }, back: { range: fromZero } },
      axes: [
        { ...axis, grid: { show: false } },
        { ...axis, label: "Sent", labelSize: 20, size: 56, values: whole },
        { ...axis, label: "Bounced, replied", labelSize: 20, size: 46, scale: "back", side: 1, grid: { show: false }, values: whole },
      ],
      series: [
        {},
        { stroke: colour("bad"), fill: () => this.hatch(colour("bad")), paths: bars, points: { show: false } },
        { fill: colour("accent-soft"), stroke: colour("accent"), width: 1, paths: bars, points: { show: false } },
        { scale: "back", stroke: colour("bad"), width: 2, points: point(5, colour("bad")) },
        { scale: "back", stroke: colour("good"), width: 2, dash: [6, 3], points: point(5, colour("good")) },
      ],
      hooks: { drawClear: [(plot) => this.shade(plot)], setCursor: [(plot) => this.read(plot)] },
    };
  }

  // What may still change is shaded; where we did not accept, or events are missing, is hatched.
  shade(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    this.rows.forEach((row, at) => {
      const middle = plot.data[0][at];
      const left = plot.valToPos(middle - this.width / 2, "x", true);
      const right = plot.valToPos(middle + this.width / 2, "x", true);
      const unsure = (row.coverage !== null && row.coverage < 1) || (row.receiver_up !== null && row.receiver_up < 1);
      if (row.settled === false) this.band(ctx, bbox, left, right, colour("shade"));
      if (unsure) this.band(ctx, bbox, left, right, this.hatch(colour("warn")));
    });
    ctx.restore();
  }

  band(ctx, bbox, left, right, fill) {
    ctx.fillStyle = fill;
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }

  hatch(stroke) {
    const tile = document.createElement("canvas");
    const size = Math.round(HATCH_PX * devicePixelRatio);
    tile.width = tile.height = size;
    const ctx = tile.getContext("2d");
    ctx.strokeStyle = stroke;
    ctx.globalAlpha = HATCH_ALPHA;
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    for (const shift of [-size, 0, size]) {
      ctx.moveTo(shift, size);
      ctx.lineTo(shift + size, 0);
    }
    ctx.stroke();
    return ctx.createPattern(tile, "repeat");
  }

  read(plot) {
    const row = this.rows[plot.cursor.idx ?? this.rows.length - 1];
    setText(this.readout, row ? told(row) : "");
  }
}
