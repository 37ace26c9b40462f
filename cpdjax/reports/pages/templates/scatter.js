// Numbers come as the text of their bytes; see `_packed` of `cpdjax/reports/pages/scatter.py`.
const unpacked = (text, kind) =>
  new kind(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
const data = JSON.parse(document.getElementById("data").textContent);
const COUNT = data.molecules.formula.length;
const CARRIES = [0, 114, 178], COSTS = [213, 94, 0], NEITHER = [190, 195, 200];
const by_id = (id) => document.getElementById(id);

for (const target of data.targets) {
  for (const name of ["value", "composition", "mean"]) target[name] = unpacked(target[name], Float64Array);
}
for (const channel of data.channels) {
  for (const score of channel.scores) {
    for (const name of ["prediction", "contribution"]) score[name] = unpacked(score[name], Float64Array);
  }
}

// What is shown: a score, its points in the units of the axes, their order, the chosen molecule.
const now = { target: null, score: null, x: [], y: [], labels: ["", ""], order: [], chosen: -1, marked: new Set() };

function signed(value, digits = 3) {
  if (!Number.isFinite(value)) return "undefined";
  return (value < 0 ? "−" : "") + Math.abs(value).toPrecision(digits).replace("e+", "e").replace("e-", "e−");
}

function fitted(canvas) {
  const scale = window.devicePixelRatio || 1, { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((s) => s >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return found.map((value) => [value, value.toFixed(digits).replace("-", "−")]);
}

function colour(contribution, reach) {
  const share = Math.min(Math.abs(contribution) / reach, 1) ** 0.6, end = contribution > 0 ? CARRIES : COSTS;
  const mixed = NEITHER.map((from, i) => Math.round(from + share * (end[i] - from)));
  return `rgb(${mixed.join(" ")})`;
}

const frame = { left: 62, right: 14, top: 12, bottom: 46 };
let place = () => [0, 0];

// The axes reach from the middle 90 % of the values by 1.5 times their span; the rest lies beyond.
function reach(values) {
  const known = [...values].filter(Number.isFinite).sort((a, b) => a - b);
  if (!known.length) return [0, 1];
  const at = (share) => known[Math.round(share * (known.length - 1))];
  const span = 1.5 * (at(0.95) - at(0.05));
  const [low, high] = [Math.max(at(0), at(0.05) - span), Math.min(at(1), at(0.95) + span)];
  const room = 0.04 * (high - low) || Math.abs(high) || 1;
  return [low - room, high + room];
}

// Where the point of a molecule is, at the edge where it lies beyond the axes, and in which direction.
function spot(i) {
  const { width, height } = by_id("points").getBoundingClientRect();
  const [x, y] = place(now.x[i], now.y[i]);
  const u = Math.min(Math.max(x, frame.left + 5), width - frame.right - 5);
  const v = Math.min(Math.max(y, frame.top + 5), height - frame.bottom - 5);
  const beyond = Math.hypot(x - u, y - v) > 8;
  return { u: beyond ? u : x, v: beyond ? v : y, beyond, angle: Math.atan2(y - v, x - u) };
}

function draw_points() {
  const { pen, width, height } = fitted(by_id("points"));
  const [[x0, x1], [y0, y1]] = [reach(now.x), reach(now.y)];
  place = (x, y) => [
    frame.left + ((x - x0) / (x1 - x0)) * (width - frame.left - frame.right),
    height - frame.bottom - ((y - y0) / (y1 - y0)) * (height - frame.top - frame.bottom),
  ];
  draw_axes(pen, width, height, [x0, x1], [y0, y1]);
  const sizes = [...now.score.contribution].map(Math.abs).filter(Number.isFinite).sort((a, b) => a - b);
  const strongest = sizes[Math.floor(0.98 * (sizes.length - 1))] || 1;
  const radius = COUNT > 1500 ? 2.4 : 3.2;
  // The strongest come last, so that none hides them.
  const order = [...now.order].sort((a, b) => Math.abs(now.score.contribution[a]) - Math.abs(now.score.contribution[b]));
  const beyond = order.filter((i) => spot(i).beyond).length;
  by_id("beyond").textContent = beyond ? `▲ ${beyond} beyond the axes` : "";
  for (const i of order) disc(pen, i, radius, colour(now.score.contribution[i], strongest));
  for (const i of now.marked) ring(pen, i, radius + 2, "#1b1f24", 1);
  if (now.chosen >= 0) ring(pen, now.chosen, radius + 4, "#000000", 2);
}

function draw_axes(pen, width, height, [x0, x1], [y0, y1]) {
  const bottom = height - frame.bottom, right = width - frame.right;
  pen.font = "12px system-ui, sans-serif";
  pen.lineWidth = 1;
  pen.fillStyle = "#57606a";
  pen.strokeStyle = "#eaeef2";
  pen.textAlign = "center";
  for (const [value, text] of ticks(x0, x1)) {
    const [x] = place(value, y0);
    line(pen, x, frame.top, x, bottom);
    pen.fillText(text, x, bottom + 16);
  }
  pen.textAlign = "right";
  for (const [value, text] of ticks(y0, y1)) {
    const [, y] = place(x0, value);
    line(pen, frame.left, y, right, y);
    pen.fillText(text, frame.left - 6, y + 4);
  }
  pen.save();
  pen.beginPath();
  pen.rect(frame.left, frame.top, right - frame.left, bottom - frame.top);
  pen.clip();
  pen.strokeStyle = "#8c959f";
  pen.setLineDash([5, 4]);
  const [low, high] = [Math.min(x0, y0), Math.max(x1, y1)];
  line(pen, ...place(low, low), ...place(high, high));
  pen.restore();
  pen.strokeStyle = "#8c959f";
  line(pen, frame.left, frame.top, frame.left, bottom);
  line(pen, frame.left, bottom, right, bottom);
  pen.fillStyle = "#1b1f24";
  pen.textAlign = "center";
  pen.fillText(now.labels[0], (frame.left + right) / 2, height - 8);
  pen.save();
  pen.translate(14, (frame.top + bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText(now.labels[1], 0, 0);
  pen.restore();
}

function line(pen, x0, y0, x1, y1) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

function disc(pen, i, radius, fill) {
  const { u, v, beyond, angle } = spot(i);
  pen.fillStyle = fill;
  pen.beginPath();
  if (beyond) {
    for (const [far, side] of [[2.4, 0], [1.6, 2.3], [1.6, -2.3]]) {
      pen.lineTo(u + far * radius * Math.cos(angle + side), v + far * radius * Math.sin(angle + side));
    }
  } else {
    pen.arc(u, v, radius, 0, 2 * Math.PI);
  }
  pen.fill();
}

function ring(pen, i, radius, stroke, width) {
  const { u, v } = spot(i);
  pen.beginPath();
  pen.arc(u, v, radius, 0, 2 * Math.PI);
  pen.strokeStyle = stroke;
  pen.lineWidth = width;
  pen.stroke();
}

// The molecule whose point is nearest to a place on the canvas, or −1.
function nearest(event, within) {
  const { left, top } = by_id("points").getBoundingClientRect();
  let [found, least] = [-1, within];
  for (let i = 0; i < COUNT; i++) {
    const { u, v } = spot(i);
    const distance = Math.hypot(u - (event.clientX - left), v - (event.clientY - top));
    if (distance < least) [found, least] = [i, distance];
  }
  return found;
}
