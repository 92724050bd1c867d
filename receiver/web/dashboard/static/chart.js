// Draws figures over time with uPlot: bars for what was sent, lines for what came back, and what is not sure.

import { setText } from "./bind.js";
import * as format from "./format.js";
import { told } from "./series.js";

const HEIGHT_REM = 18.6;
const FONT_REM = 0.86;
const HATCH_PX = 7;
// Faint for a minute that is missing from a day, strong for the whole of it.
const HATCH_ALPHA = [0.22, 0.75];
// Narrower than this, a chart has no room for the names of its axes.
const ROOMY_PX = 520;
const LABEL_REM = 5.2;
const GAP_PX = 14;
const WIDTH_S = { hour: 3600, day: 86400, week: 604800 };
// Every so many buckets one is named, so that the labels of hours fall on the same ones each day.
const EVERY = { hour: [1, 2, 3, 6, 12, 24, 48, 96, 168, 336], day: [1, 2, 3, 4, 7, 14, 28, 56, 112], week: [1, 2, 4, 13, 26, 52] };

const dark = matchMedia("(prefers-color-scheme: dark)");
const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

// As wide as the longest of an axis' figures.
function widest(plot, texts, at) {
  plot.ctx.save();
  plot.ctx.font = plot.axes[at].font[0];
  const widths = (texts ?? []).map((text) => plot.ctx.measureText(text).width / devicePixelRatio);
  plot.ctx.restore();
  return Math.ceil(Math.max(0, ...widths)) + GAP_PX;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Chart {
  constructor(frame, readout) {
    this.frame = frame;
    this.readout = readout;
    this.plot = null;
    this.hatches = new Map();
    new ResizeObserver(() => this.resize()).observe(frame);
    dark.addEventListener("change", () => this.rows && this.draw(this.rows, this.view));
  }

  // `view`: interval, zone, and until when no retry can change a figure any more.
  draw(rows, view) {
    this.rows = rows.filter((row) => row.time !== null);
    this.view = view;
    const starts = this.rows.map((row) => Date.parse(row.time) / 1000);
    this.width = WIDTH_S[view.interval];
    const data = [
      starts.map((start) => start + this.width / 2),
      this.rows.map((row) => (row.lost ? (row.sent ?? 0) + row.lost : null)),
      this.rows.map((row) => row.sent),
      this.rows.map((row) => row.bounced),
      this.rows.map((row) => row.replied),
    ];
    const key = JSON.stringify([view.zone, view.interval, dark.matches, this.frame.clientWidth < ROOMY_PX, rem()]);
    if (this.plot && this.key === key) {
      this.plot.setData(data);
      return this.read(this.plot);
    }
    this.key = key;
    this.plot?.destroy();
    this.plot = new uPlot(this.options(), data, this.frame);
    this.read(this.plot);
  }

  resize() {
    const width = this.frame.clientWidth;
    if (!this.plot || !width || width === this.plot.width) return;
    if (width < ROOMY_PX !== this.plot.width < ROOMY_PX) this.draw(this.rows, this.view);
    else this.plot.setSize({ width, height: HEIGHT_REM * rem() });
  }

  // The middles of those buckets that are named below the chart; with hours, midnights are among them.
  named(plot) {
    const middles = plot.data[0];
    const fitting = Math.max(1, plot.bbox.width / devicePixelRatio / (LABEL_REM * rem()));
    const step = EVERY[this.view.interval].find((n) => middles.length / n <= fitting) ?? Math.ceil(middles.length / fitting);
    const midnight = this.view.interval === "hour" ? Math.max(0, this.rows.findIndex((row) => row.time.includes("T00:00"))) : middles.length - 1;
    return middles.filter((_, at) => (at - midnight) % step === 0);
  }

  options() {
    const quiet = colour("quiet");
    const line = colour("line");
    const font = `${FONT_REM * rem()}px system-ui, sans-serif`;
    const axis = { stroke: quiet, font, labelFont: font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const roomy = this.frame.clientWidth >= ROOMY_PX;
    const titled = (label) => (roomy ? { label, labelSize: 1.4 * rem(), size: widest } : { size: widest });
    const tick = (plot, middle) => format.tick(this.rows[plot.data[0].indexOf(middle)].time, this.view.interval);
    const bars = uPlot.paths.bars({ size: [0.72, 48] });
    const whole = (plot, splits) => splits.map((value) => (Number.isInteger(value) ? format.count(value) : ""));
    const fromZero = (plot, low, high) => [Math.min(0, low ?? 0), Math.max(4, (high ?? 0) * 1.12)];
    const point = (size, fill) => ({ show: this.rows.length < 120, size, fill, stroke: fill });
    return {
      width: this.frame.clientWidth || 600,
      height: HEIGHT_REM * rem(),
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { range: (plot, low, high) => [low - this.width / 2, high + this.width / 2] }, y: { range: fromZero }, back: { range: fromZero } },
      axes: [
        { ...axis, size: 2.4 * rem(), grid: { show: false }, splits: (plot) => this.named(plot), values: (plot, splits) => splits.map((middle) => tick(plot, middle)) },
        { ...axis, ...titled("Sent"), values: whole },
        { ...axis, ...titled("Bounced, replied"), scale: "back", side: 1, grid: { show: false }, values: whole },
      ],
      series: [
        {},
        { stroke: colour("bad"), fill: () => this.hatch(colour("bad"), 1), paths: bars, points: { show: false } },
        { fill: colour("accent-soft"), stroke: colour("accent"), width: 1, paths: bars, points: { show: false } },
        { scale: "back", stroke: colour("bad"), width: 2, points: point(5, colour("bad")) },
        { scale: "back", stroke: colour("good"), width: 2, dash: [6, 3], points: point(5, colour("good")) },
      ],
      hooks: { drawClear: [(plot) => this.shade(plot)], setCursor: [(plot) => this.read(plot)] },
    };
  }

  // From when on a retry may still change it is shaded; where we did not accept, or events are missing, is hatched.
  shade(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const right = bbox.left + bbox.width;
    this.band(ctx, bbox, plot.valToPos(Date.parse(this.view.settledUntil) / 1000, "x", true), right, colour("shade"));
    this.rows.forEach((row, at) => {
      const sure = Math.min(row.coverage ?? 1, row.receiver_up ?? 1);
      if (sure === 1) return;
      const [begin, end] = [-0.5, 0.5].map((half) => plot.valToPos(plot.data[0][at] + half * this.width, "x", true));
      const [least, most] = HATCH_ALPHA;
      this.band(ctx, bbox, begin, end, this.hatch(colour("warn"), least + (most - least) * (1 - sure)));
    });
    ctx.restore();
  }

  band(ctx, bbox, left, right, fill) {
    ctx.fillStyle = fill;
    ctx.fillRect(Math.max(left, bbox.left), bbox.top, Math.max(0, right - Math.max(left, bbox.left)), bbox.height);
  }

  hatch(stroke, alpha) {
    const key = `${stroke} ${alpha.toFixed(2)} ${devicePixelRatio}`;
    if (!this.hatches.has(key)) this.hatches.set(key, this.drawnHatch(stroke, alpha));
    return this.hatches.get(key);
  }

  drawnHatch(stroke, alpha) {
    const tile = document.createElement("canvas");
    const size = Math.round(HATCH_PX * devicePixelRatio);
    tile.width = tile.height = size;
    const ctx = tile.getContext("2d");
    ctx.strokeStyle = stroke;
    ctx.globalAlpha = alpha;
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
    setText(this.readout, row ? told(row, this.view.interval) : "");
  }
}
